"""deploy/Containerfile: what hadolint says of it, and what hadolint does not look at.

No engine builds it here; `tests/e2e/test_image.py` runs its instructions in a chroot.
"""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from tendhost.server.config import Settings
from tendhost.server.remote.private_keys import CREDENTIAL
from tests.containerfile import in_context, read_stages

ROOT = Path(__file__).resolve().parent.parent.parent
CONTAINERFILE = ROOT / "deploy" / "Containerfile"
TEXT = CONTAINERFILE.read_text(encoding="utf-8")
STAGES = read_stages(TEXT)
FINAL = STAGES[-1]


def tracked() -> list[str]:
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()


# --- the file -------------------------------------------------------------------------------------


def test_linter__finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("no hadolint: `make dev` installs it")
    done = subprocess.run([hadolint, CONTAINERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_image__is_made_in_a_stage_of_its_own_and_runs_without_tools():
    assert [bool(stage.name) for stage in STAGES] == [True, False]
    for stage in STAGES:
        assert re.fullmatch(r"debian:[a-z]+-slim", stage.base)
    run = " ".join(each.text for each in FINAL.all_of("RUN"))
    assert not re.search(r"\b(pip|venv|hatchling|gcc|curl|git)\b", run)
    copied = [(each.flags, each.text) for each in FINAL.all_of("COPY")]
    assert copied == [({"from": STAGES[0].name}, "/opt/tendhost /opt/tendhost")]


def test_image__runs_as_a_user_with_a_number_that_is_not_root():
    (user,) = FINAL.all_of("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user.text)
    number = user.text.partition(":")[0]
    assert f"useradd --uid {number} --gid {number}" in FINAL.all_of("RUN")[0].text
    # Whatever comes after it runs as it.
    assert not any(each.keyword == "RUN" for each in FINAL.instructions[-4:])


def test_image__writes_to_its_volumes_only():
    (volume,) = FINAL.all_of("VOLUME")
    environment = FINAL.environment()
    socket = Path(environment["TENDHOST_LISTEN"].removeprefix("unix:"))
    assert volume.words == [environment["TENDHOST_STATE_DIR"], str(socket.parent)]
    assert environment["TENDHOST_SERVER"] == environment["TENDHOST_LISTEN"]
    names = {name.removeprefix("TENDHOST_").lower() for name in environment if "TENDHOST_" in name}
    assert names - {"server"} <= {field.name for field in fields(Settings)}
    (entrypoint,) = FINAL.all_of("ENTRYPOINT")
    assert entrypoint.text.startswith("[")  # without a shell, which would keep signals to itself


def test_every_package__is_one_that_a_lock_file_names_with_its_hashes():
    commands = [
        command
        for stage in STAGES
        for each in stage.all_of("RUN")
        for command in each.text.split("&&")
        if "/pip " in command
    ]
    assert len(commands) == 3
    for command in commands:
        assert "--require-hashes" in command or "--no-index --no-deps" in command


def test_context__has_what_is_copied_and_no_more():
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    sent = set(in_context(ignore, tracked()))
    copied = [
        source
        for stage in STAGES
        for each in stage.all_of("COPY")
        if not each.flags
        for source in each.words[:-1]
    ]
    for source in copied:
        assert any(f"{path}/".startswith(f"{source}/") for path in sent), source
    for path in sent:
        assert any(f"{path}/".startswith(f"{source}/") for source in copied), path


def test_secret__is_found_where_engines_put_secrets():
    guide = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    assert FINAL.environment()["CREDENTIALS_DIRECTORY"] == "/run/secrets"
    assert f"--secret tendhost-ssh-key,target={CREDENTIAL}," in guide


# --- the reader -----------------------------------------------------------------------------------


def test_reader__joins_lines_and_leaves_comments_out():
    text = "# a\nFROM a:1 AS b\nRUN one \\\n    # why\n    && two\n\nFROM c\nCOPY --from=b /x /y\n"
    first, second = read_stages(text)
    assert (first.base, first.name, second.base, second.name) == ("a:1", "b", "c", "")
    assert first.instructions[0].words == ["one", "&&", "two"]
    assert second.instructions[0].flags == {"from": "b"}
    assert second.instructions[0].words == ["/x", "/y"]


@pytest.mark.parametrize(
    "text",
    [
        *("RUN before", "FROM a\nADD x y", "FROM a\nRUN <<E\nrm\nE", "FROM a\nONBUILD RUN x"),
        *("FROM a\nCOPY --chmod=1 x y", "FROM a\nrun x"),
    ],
)
def test_reader__refuses_what_it_would_read_wrongly(text: str):
    with pytest.raises(ValueError, match=r"not known here|comes before FROM"):
        read_stages(text)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        *(("a", True), ("b", False), ("d/x", True), ("d/e/x.pyc", False), ("d/e/x", True)),
        *(("z/a", False), ("d/secret", False)),
    ],
)
def test_ignored_files__are_those_that_the_last_matching_line_keeps_out(path: str, sent: bool):
    ignore = "# all\n*\n!a\n!d\n**/*.pyc\nd/secret\n"
    assert (in_context(ignore, [path]) == [path]) is sent
