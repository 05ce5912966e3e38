"""The scripts in every shell that a host may have as sh, and for real on the machine at hand."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from tendhost.server.packages.apt import (
    UpgradeOptions,
    dry_run_command,
    parse_dry_run,
    repair_command,
    upgrade_command,
)
from tendhost.server.packages.query import (
    parse_preflight,
    parse_query,
    preflight_script,
    query_script,
)

WAIT = timedelta(seconds=1)
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "ash": ["busybox", "ash"]}
SCRIPTS = {
    "query": query_script(refresh=True, lock_timeout=WAIT),
    "after": query_script(refresh=False, lock_timeout=WAIT),
    "preflight": preflight_script(lock_timeout=WAIT),
    "dry run": dry_run_command(UpgradeOptions()),
    "upgrade": upgrade_command(UpgradeOptions(packages=("a", "b"))),
    "repair": repair_command(),
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    command = SHELLS[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return command


def run(shell: list[str], script: str) -> bytes:
    # As on a host: one command line, nothing on stdin, hardly any environment.
    return subprocess.run(
        [*shell, "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
        user=65534 if _root() else None,
        cwd="/",
    ).stdout


def _root() -> bool:
    return subprocess.run(["id", "-u"], capture_output=True, check=True).stdout == b"0\n"


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_is_well_formed(shell: list[str], name: str) -> None:
    command = [*shell, "-n", "-c", SCRIPTS[name]]
    checked = subprocess.run(command, check=True, capture_output=True, text=True)
    assert checked.stderr == ""


def test_a_query_without_privilege_runs_on_this_machine(shell: list[str]) -> None:
    result = parse_query(run(shell, SCRIPTS["after"]), at=datetime(2026, 1, 1, tzinfo=UTC))
    assert result.facts.system.kernel
    assert result.facts.system.boot_id
    assert result.facts.system.uptime is not None
    assert result.facts.init_started
    assert {disk.path for disk in result.facts.disks} >= {"/", "/usr"}


def test_a_preflight_without_privilege_runs_on_this_machine(shell: list[str]) -> None:
    assert parse_preflight(run(shell, SCRIPTS["preflight"])).facts.system.architecture


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt-get here")
def test_a_dry_run_without_privilege_runs_on_this_machine() -> None:
    planned = parse_dry_run(run(["sh"], SCRIPTS["dry run"]))
    assert planned.failure is None
    assert planned.download_bytes is not None
