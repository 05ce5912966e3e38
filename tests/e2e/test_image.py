"""The image of deploy/Containerfile, made and run in chroots over the Debian that it names; no engine is there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containerfile import read_stages
from tests.fleet.base import ensure_base
from tests.fleet.families import checked_release

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = [pytest.mark.fleet, pytest.mark.long, pytest.mark.timeout(1200)]


def test_image__is_made_of_pinned_packages_and_serves_on_a_read_only_root():
    stages = read_stages((ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8"))
    (release,) = {stage.base.removeprefix("debian:").removesuffix("-slim") for stage in stages}
    base = ensure_base().of(checked_release(release)).folder
    namespaces = ["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    done = subprocess.run(
        [
            *("unshare", *namespaces, "--propagation", "private"),
            *(sys.executable, "-m", "tests.e2e.image", str(ROOT)),
            *(str(base / "debian"), str(base / "mirror")),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["ready"].endswith("listening on unix:/run/tendhost/tendhostd.sock\n")
    assert found["info"][0] == 0, found["info"]
    assert found["identity"] == "65532:65532"
    rights = dict(line.split(":\t") for line in found["rights"].splitlines())
    assert rights == {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1"}
    assert found["written"] == ["/tmp", "/var/lib/tendhostd", "/run/tendhost"]
    assert found["tools"] == []
    assert found["pip"] != 0
    assert "tendhost.db" in found["database"]
    assert found["end"] == 0  # SIGTERM, which reaches the server because no shell is in between
