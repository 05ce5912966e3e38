"""What tests may need of the machine, and the rule that under CI nothing is missing."""

import os
import shutil
import signal
import sys
from collections.abc import Generator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import Scheduling

from tests.scheduling import WaitingBesideComputing, in_order
from tests.tools import why_missing
from tests.turns import measured_turns

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools" / "bin"
CI = os.environ.get("CI") == "true"
LONGEST_TURN_SECONDS = 1.0
"""Twenty times what a server is meant to need: a busy machine makes a thread's CPU time longer, too."""
COST_OF_COVERAGE = 2.2
"""So many times as much CPU do the tests of domain and engine need where coverage is measured (Python 3.11)."""
ANOTHERS_LOOP = ("tests/e2e/", "tests/faults/", "tests/fleet_selftest/")
"""Where the server runs in a process of its own, and what the test's loop does is the test's affair."""
"""CPU time of a thread, so that a busy machine makes no difference."""

# `make tools` builds programs there; tests find them by name.
os.environ["PATH"] = os.pathsep.join([str(TOOLS), os.environ.get("PATH", os.defpath)])

# How long an example takes is the machine's business: what is slow is found by the benchmarks.
settings.register_profile(
    "unhurried", settings.get_profile(settings.get_current_profile_name()), deadline=None
)
settings.load_profile("unhurried")

# A runner in the background may have set these to be ignored, which every child would inherit; the
# commands under test are to behave as they do for a user.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips, with the reason, what this machine cannot run."""
    for item in items:
        for marker, why_not in WHY_NOT.items():
            if item.get_closest_marker(marker) and (reason := why_not()):
                item.add_marker(pytest.mark.skip(reason=reason))
        commands = [name for marker in item.iter_markers("needs") for name in marker.args]
        if reasons := [reason for name in commands if (reason := why_missing(name))]:
            item.add_marker(pytest.mark.skip(reason="; ".join(reasons)))
    if "PYTEST_XDIST_WORKER" in os.environ:
        items[:] = in_order(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Has the tests of `make test` distributed as tests/scheduling.py says."""
    return WaitingBesideComputing(config, log) if config.getvalue("dist") == "loadfile" else None


@cache
def why_no_fleet() -> str | None:
    """Why a fleet of real hosts cannot run here; None where it can."""
    if os.environ.get("FLEET") == "simulated":
        return "no fleet of real hosts: FLEET=simulated"
    from tests.fleet.requirements import missing_requirements

    missing = missing_requirements()
    return f"no fleet of real hosts: {'; '.join(missing)}" if missing else None


@cache
def why_no_grpcurl() -> str | None:
    """Why grpcurl cannot be run; None where it can."""
    return None if shutil.which("grpcurl") else "no grpcurl: `make tools` builds it"


@cache
def why_no_cluster() -> str | None:
    """Why a database cluster cannot run here; None where it can."""
    from tests.cluster.programs import missing_programs

    names = " ".join(missing_programs())
    return f"no database cluster: `apt-get install {names}` brings it" if names else None


WHY_NOT = {"fleet": why_no_fleet, "cluster": why_no_cluster, "grpcurl": why_no_grpcurl}
"""What a marker asks for, and why it is not to be had."""


def longest_turn_seconds() -> float:
    """What one turn of an event loop may take, where coverage slows it down, too."""
    return LONGEST_TURN_SECONDS * (COST_OF_COVERAGE if sys.gettrace() is not None else 1.0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fails a test in which one turn of an event loop took very long: nobody was served during it.

    A server is meant to need 50 ms at most. What a test does itself between two awaits counts as well.
    """
    with measured_turns() as longest:
        yield
    excused = item.nodeid.startswith(ANOTHERS_LOOP) or item.get_closest_marker("long_turns")
    bound = longest_turn_seconds()
    if longest.seconds > bound and not excused:
        words = f"one turn of the event loop took {longest.seconds:.2f} s of CPU: {longest.what}"
        pytest.fail(f"{words}; it may take {bound} s", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI nothing is skipped, but for what says that it depends on the machine."""
    report = yield
    allowed = item.get_closest_marker("may_skip") is not None
    if CI and not allowed and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"must not be skipped under CI: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Under CI a module that skips itself fails: its tests' markers were never seen."""
    report = yield
    if CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"must not be skipped under CI: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    match report.longrepr:
        case (_, _, str(reason)):
            return reason.removeprefix("Skipped: ")
        case other:
            return str(other)
