"""What stands against a change of a SUSE host's packages, by recorded preflights."""

import pytest

from tendhost.server.packages.errors import DatabaseBroken, LockHeld, NotPrivileged
from tests.unit.packages.zypper.recordings import preflight


@pytest.mark.parametrize(
    "name",
    [
        "preflight",
        "preflight-repaired",
        "preflight-after-failing",
        "preflight-no-repositories",
    ],
)
def test_a_sound_host_is_fit(name):
    assert preflight(name).problems == ()


def test_an_interrupted_transaction_is_repairable_and_its_packages_are_named():
    (problem,) = preflight("preflight-interrupted").problems
    assert isinstance(problem, DatabaseBroken)
    assert problem.repairable
    assert problem.packages == ("tb-slow",)


def test_a_transaction_under_way_is_a_lock_and_no_damage():
    (problem,) = preflight("preflight-locked").problems
    assert isinstance(problem, LockHeld)
    assert (problem.path, problem.command) == ("/run/zypp.pid", "zypper")


def test_a_broken_database_is_not_repairable():
    (problem,) = preflight("preflight-broken").problems
    assert isinstance(problem, DatabaseBroken)
    assert not problem.repairable


def test_who_may_not_become_root_cannot_change_packages():
    (problem,) = preflight("preflight-unprivileged").problems
    assert isinstance(problem, NotPrivileged)
