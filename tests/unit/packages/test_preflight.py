"""What recorded preflights mean."""

import pytest

from tendhost.server.packages.errors import (
    DatabaseBroken,
    LockHeld,
    NoPackageManager,
    NotPrivileged,
)
from tendhost.server.packages.query import Preflight, parse_preflight
from tests.unit.packages.recordings import recorded


def preflight(name: str) -> Preflight:
    return parse_preflight(recorded(name))


@pytest.mark.parametrize(
    "name", ["debian12/preflight", "debian12/preflight-sudo", "ubuntu24.04/preflight"]
)
def test_a_sound_host_has_no_problems(name: str) -> None:
    result = preflight(name)
    assert result.problems == ()


def test_free_space_is_known_where_packages_go() -> None:
    disks = {disk.path: disk for disk in preflight("debian12/preflight").facts.disks}
    assert disks["/var/cache/apt/archives"].mount == "/"
    assert disks["/"].free_bytes > 10**9


def test_a_user_without_privilege_is_a_problem() -> None:
    (problem,) = preflight("debian12/preflight-unprivileged").problems
    assert isinstance(problem, NotPrivileged)


def test_the_holder_of_dpkgs_lock_is_named() -> None:
    (problem,) = preflight("debian12/preflight-locked").problems
    assert isinstance(problem, LockHeld)
    assert str(problem) == "process 76 (hold-lock.pl) holds /var/lib/dpkg/lock-frontend"


@pytest.mark.parametrize("name", ["after-failing", "interrupted", "half-installed"])
def test_what_configuring_may_mend_is_one_repairable_problem(name: str) -> None:
    (problem,) = preflight(f"debian12/preflight-{name}").problems
    assert isinstance(problem, DatabaseBroken)
    assert problem.repairable


@pytest.mark.parametrize("name", ["half-lost", "unmet", "unreadable"])
def test_what_configuring_cannot_mend_is_one_problem_for_a_person(name: str) -> None:
    (problem,) = preflight(f"debian12/preflight-{name}").problems
    assert isinstance(problem, DatabaseBroken)
    assert not problem.repairable


def test_a_half_installed_package_that_apt_can_reinstall_is_no_problem() -> None:
    result = preflight("debian12/preflight-half-repaired")
    assert result.problems == ()


def test_a_host_without_apt_is_a_problem() -> None:
    (problem,) = preflight("debian12/preflight-no-apt").problems
    assert isinstance(problem, NoPackageManager)
