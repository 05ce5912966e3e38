"""deploy/constraints.txt and deploy/build-constraints.txt: what they pin, and how a stale or unsafe one is found."""

import json
import re
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.lock import DEVELOPMENT, LockFile, lock_files, pins, problems

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = lock_files(PROJECT)
HASH = f"--hash=sha256:{'0' * 64}"
LOCK = LockFile(path="deploy/x.txt", requirements=("one>=2,<3", "two"))
GOOD = f"{LOCK.heading()}one==2.5 \\\n    {HASH} \\\n    {HASH}\ntwo==1 ; os_name == 'nt' \\\n    {HASH}\n"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.path)
def test_lock_file__is_what_pyproject_asks_for(lock: LockFile):
    assert problems(lock, (ROOT / lock.path).read_text(encoding="utf-8")) == []


def test_lock_files__hold_every_extra_but_those_of_developers():
    extras = PROJECT["project"]["optional-dependencies"]
    assert extras.keys() >= DEVELOPMENT
    for name in extras.keys() - DEVELOPMENT:
        assert set(extras[name]) <= set(LOCKS[0].requirements)
    assert LOCKS[1].requirements == tuple(PROJECT["build-system"]["requires"])


def test_good_lock_file__has_no_problem():
    assert problems(LOCK, GOOD) == []
    assert [(pin.requirement.name, pin.hashes) for pin in pins(GOOD)] == [("one", 2), ("two", 1)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "run `make lock`"),
        (GOOD.replace("one==2.5", "one>=2.5"), "no pin with sha256 hashes: one>=2.5"),
        (GOOD.replace("one==2.5", "one==3"), "one<3,>=2 is not met by 3"),
        (GOOD.replace("one==2.5", "uno==2.5"), "one<3,>=2 is not met by any pin"),
        (GOOD.replace("sha256", "md5"), "no pin with sha256 hashes"),
        (GOOD.replace("0" * 64, "0" * 63), "no pin with sha256 hashes"),
        (GOOD + "three==3\n", "three has no hash"),
        (GOOD + f"four @ https://e.example/four.whl {HASH}\n", "no pin with sha256 hashes"),
        ("--index-url x\n", "deploy/x.txt"),
        (GOOD + "# from https://index.example\n", "names an address"),
    ],
)
def test_bad_lock_file__is_told(text: str, said: str):
    found = problems(LOCK, text)
    assert any(said in problem for problem in found), found
    assert all(problem.startswith("deploy/x.txt: ") for problem in found)


@pytest.mark.parametrize("requirements", [("one>=2,<3",), ("one>=2,<3", "two", "three"), ("two",)])
def test_stale_lock_file__is_told_whatever_was_changed(requirements: tuple[str, ...]):
    stale = replace(LOCK, requirements=requirements)
    assert "asks for something else now" in problems(stale, GOOD)[0]
    reordered = replace(LOCK, requirements=LOCK.requirements[::-1])
    assert problems(reordered, GOOD) == []


@pytest.mark.long
@pytest.mark.timeout(600)
def test_bill_of_materials__lists_what_is_pinned_with_licences():
    subprocess.run(["make", "sbom"], cwd=ROOT, check=True)
    bill = json.loads((ROOT / "dist" / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    listed = {
        (part["name"].lower().replace("_", "-"), part["version"]) for part in bill["components"]
    }
    here = pins((ROOT / LOCKS[0].path).read_text("utf-8"))
    wanted = {
        (pin.requirement.name, str(pin.requirement.specifier).removeprefix("=="))
        for pin in here
        if pin.requirement.marker is None or pin.requirement.marker.evaluate()
    }
    assert wanted <= listed
    assert {name for name, _ in listed - wanted} <= {"tendhost"}
    assert all(part.get("licenses") for part in bill["components"])
    assert not re.search(r"file://", json.dumps(bill))
