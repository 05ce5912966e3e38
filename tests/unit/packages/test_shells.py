"""The scripts in every shell that a host may have as sh, and for real on the machine at hand."""

import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from tendhost.server.domain.inventory.inventory import PackageChange, PendingPackage
from tendhost.server.packages.detection import PACKAGE_MANAGERS, package_manager
from tendhost.server.packages.facts import AS_ROOT
from tendhost.server.packages.login import login_script
from tendhost.server.packages.package_manager import Transaction
from tendhost.server.packages.query import (
    EVERYTHING,
    QueryOptions,
    parse_preflight,
    parse_query,
    preflight_script,
    query_script,
)
from tests.tools import SHELLS, needs

WAIT = timedelta(seconds=1)
SCRIPTS = {
    "query": query_script(
        QueryOptions(parts=EVERYTHING, refresh=True, lock_timeout=WAIT, osquery=True)
    ),
    "after": query_script(QueryOptions()),
    "preflight": preflight_script(lock_timeout=WAIT),
    "login": login_script(),
}
NAMED = Transaction(
    packages=(PendingPackage(name="a b", from_version="1", to_version="2"),), exact=True
)
UNDONE = (
    PackageChange(name="it's", from_version="1:0~x", to_version="2"),
    PackageChange(name="new", from_version="", to_version="1"),
)
for known in PACKAGE_MANAGERS:
    SCRIPTS |= {
        f"{known.name} plan": known.plan_script(NAMED),
        f"{known.name} upgrade": known.upgrade_command(NAMED),
        f"{known.name} repair": known.repair_command(),
        f"{known.name} restore": known.restore_command(UNDONE, lock_timeout=timedelta(minutes=5)),
    }


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return list(request.param)


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


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script__becomes_root_in_one_way(name: str) -> None:
    assert "sudo " not in SCRIPTS[name].replace(AS_ROOT, "")


def test_a_query_without_privilege_runs_on_this_machine(shell: list[str]) -> None:
    result = parse_query(run(shell, SCRIPTS["after"]), at=datetime(2026, 1, 1, tzinfo=UTC))
    assert result.facts.system.kernel
    assert result.facts.system.boot_id
    assert result.facts.system.uptime is not None
    assert result.facts.init_started
    assert {disk.path for disk in result.facts.disks} >= {"/", "/usr"}


def test_a_preflight_without_privilege_runs_on_this_machine(shell: list[str]) -> None:
    assert parse_preflight(run(shell, SCRIPTS["preflight"])).facts.system.architecture


@needs("apt-get")
def test_a_dry_run_without_privilege_runs_on_this_machine() -> None:
    apt = package_manager("apt")
    assert apt is not None
    planned = apt.parse_plan(run(["sh"], apt.plan_script(Transaction())))
    assert planned.failure is None
    assert planned.download_bytes is not None
