"""What recorded queries mean."""

from datetime import timedelta

import pytest

from tendhost.server.domain.inventory.inventory import PendingPackage, Reboot, RebootNeed, Withheld
from tendhost.server.packages.apt.commands import parse_plan
from tendhost.server.packages.errors import (
    DatabaseBroken,
    LockHeld,
    NoPackageManager,
    NotPrivileged,
    NotRefreshed,
    PackageCommandFailed,
    PackageError,
    SourceUntrusted,
)
from tendhost.server.packages.facts import Privilege
from tendhost.server.packages.query import QueryResult, parse_preflight
from tests.unit.packages.recordings import ASKED_AT, names, query, recorded


def only_problem(result: QueryResult) -> PackageError:
    (problem,) = result.problems
    return problem


def test_a_debian_host_tells_its_system() -> None:
    result = query("debian12/query")
    system = result.facts.system
    assert (system.os_id, system.os_version) == ("debian", "12")
    assert system.os_name == "Debian GNU/Linux 12 (bookworm)"
    assert (system.kernel, system.architecture) == ("6.18.44", "x86_64")
    assert result.facts.kernel_build == "#1 SMP PREEMPT_DYNAMIC @0"
    assert len(system.boot_id) == 36
    assert system.uptime is not None
    assert system.uptime < timedelta(minutes=1)
    assert system.package_manager == "apt"
    assert not system.container
    assert result.facts.init_started.isdigit()
    assert result.facts.privilege is Privilege.ROOT
    assert result.inventory.system == system
    assert result.inventory.collected_at == ASKED_AT
    assert result.problems == ()


def test_the_pending_packages_are_told_apart_from_those_withheld() -> None:
    pending = query("debian12/query").pending
    assert pending.queried_at == ASKED_AT
    assert {p.name: p.withheld for p in pending.packages if p.withheld is not Withheld.NO} == {
        "tb-held": Withheld.HELD,
        "tb-kept": Withheld.KEPT_BACK,
    }
    assert [p.name for p in pending.packages] == sorted(p.name for p in pending.packages)
    assert (pending.count, pending.security_count) == (9, 1)


def test_a_pending_package_has_its_versions_and_origin() -> None:
    packages = {p.name: p for p in query("debian12/query").pending.packages}
    assert packages["tb-secure"] == PendingPackage(
        name="tb-secure",
        from_version="1.0-1",
        to_version="1.0-1+deb12u1",
        architecture="all",
        origin="Debian-Security:stable-security",
        security=True,
    )
    assert packages["tb-extra"] == PendingPackage(
        name="tb-extra",
        from_version="",
        to_version="2.0-1",
        architecture="all",
        origin="Debian:stable",
    )
    assert packages["tb-held"] == PendingPackage(
        name="tb-held",
        from_version="1.0-1",
        to_version="2.0-1",
        architecture="amd64",
        origin="bookworm/main",
        withheld=Withheld.HELD,
    )


def test_the_inventory_names_foreign_packages_with_their_architecture() -> None:
    installed = dict(query("debian12/query").inventory.installed)
    assert installed["tb-foreign:i386"] == "1.0-1"
    assert installed["libc6"].startswith("2.36-")
    assert list(installed) == sorted(installed)


def test_a_query_with_sudo_learns_what_root_learns() -> None:
    as_root, with_sudo = query("debian12/query"), query("debian12/query-sudo")
    assert with_sudo.facts.privilege is Privilege.SUDO
    assert with_sudo.facts.user == "deploy"
    assert with_sudo.pending == as_root.pending
    assert with_sudo.problems == ()


def test_a_query_without_privilege_lists_from_the_old_lists_and_says_so() -> None:
    result = query("debian12/query-unprivileged")
    problem = only_problem(result)
    assert isinstance(problem, NotPrivileged)
    assert (problem.user, problem.text) == ("plain", "sudo: a password is required")
    assert result.pending.count == 9


def test_apt_before_2_7_shows_a_phased_package_by_its_policy() -> None:
    packages = {p.name: p for p in query("debian12/query-phased").pending.packages}
    assert packages["tb-phased"].withheld is Withheld.PHASED
    assert packages["tb-phased"].to_version == "2.0-1"
    assert packages["tb-kept"].withheld is Withheld.KEPT_BACK


def test_ubuntu_tells_phased_held_and_kept_back_apart() -> None:
    pending = query("ubuntu24.04/query").pending
    withheld = {p.name: p.withheld for p in pending.packages if p.withheld is not Withheld.NO}
    assert withheld == {
        "curl": Withheld.HELD,
        "libcurl4t64": Withheld.KEPT_BACK,
        "linux-image-virtual": Withheld.KEPT_BACK,
        "libpam-systemd": Withheld.PHASED,
        "libsystemd-shared": Withheld.PHASED,
        "libsystemd0": Withheld.PHASED,
        "libudev1": Withheld.PHASED,
        "systemd": Withheld.PHASED,
        "systemd-dev": Withheld.PHASED,
        "systemd-sysv": Withheld.PHASED,
    }
    phased = next(p for p in pending.packages if p.name == "systemd")
    assert (phased.from_version, phased.to_version) == ("255.4-1ubuntu8.18", "255.4-1ubuntu8.19")
    assert not phased.security


def test_a_security_update_counts_though_an_ordinary_one_has_overtaken_it() -> None:
    packages = {p.name: p for p in query("ubuntu24.04/query").pending.packages}
    # Its candidate is in noble-updates alone; the one before it was in noble-security.
    assert packages["libsqlite3-0"].origin == "Ubuntu:24.04/noble-updates"
    assert packages["libsqlite3-0"].security
    assert packages["openssl"].origin == "Ubuntu:24.04/noble-updates, Ubuntu:24.04/noble-security"
    assert packages["openssl"].security
    assert not packages["base-files"].security


def test_packages_that_would_be_new_are_pending_without_a_version() -> None:
    pending = query("ubuntu24.04/query").pending
    new = [p.name for p in pending.packages if not p.from_version]
    assert len(new) == 11
    assert {"grub-common", "libpng16-16t64"} <= set(new)
    assert (pending.count, pending.security_count) == (159, 99)


def test_a_failed_package_is_in_the_health_and_may_be_repaired() -> None:
    result = query("debian12/query-after-failing")
    problem = only_problem(result)
    assert isinstance(problem, DatabaseBroken)
    assert problem.repairable
    assert str(problem) == "packages are installed but not configured: tb-failing"
    assert dict(result.inventory.installed)["tb-failing"] == "2.0-1"


def test_an_interrupted_dpkg_is_noticed_and_may_be_repaired() -> None:
    result = query("debian12/query-interrupted")
    problem = only_problem(result)
    assert isinstance(problem, DatabaseBroken)
    assert problem.repairable
    assert problem.packages == ("tb-conf", "tb-failing", "tb-half", "tb-simple", "tb-slow")


def test_a_half_installed_package_that_apt_can_reinstall_is_no_problem() -> None:
    result = query("debian12/query-half-repaired")
    assert result.problems == ()
    assert "tb-half" in {p.name for p in result.pending.packages}


def test_a_half_installed_package_without_an_archive_needs_a_person() -> None:
    result = query("debian12/query-half-lost")
    problem = only_problem(result)
    assert isinstance(problem, DatabaseBroken)
    assert not problem.repairable
    assert "The package tb-half needs to be reinstalled" in str(problem)
    assert result.pending.queried_at is None


def test_unmet_dependencies_need_a_person() -> None:
    problem = only_problem(query("debian12/query-unmet"))
    assert isinstance(problem, DatabaseBroken)
    assert not problem.repairable
    assert problem.packages == ("tb-needy", "tb-newdep")


def test_an_unreadable_database_leaves_the_rest_known() -> None:
    result = query("debian12/query-unreadable")
    assert all(isinstance(p, DatabaseBroken) for p in result.problems)
    assert "near line" in str(result.problems[-1])
    assert result.inventory.installed == ()
    assert result.facts.system.os_id == "debian"
    assert result.reboot.need is RebootNeed.UNKNOWN


def test_the_holder_of_the_lists_lock_is_named() -> None:
    result = query("debian12/query-lists-locked")
    problem = only_problem(result)
    assert isinstance(problem, LockHeld)
    assert problem.path == "/var/lib/apt/lists/lock"
    assert (problem.pid, problem.command) == (75, "hold-lock.pl")
    assert result.pending.count == 9


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("query-unreachable", "Connection refused"),
        ("query-unresolvable", "Temporary failure resolving 'deb.example.org'"),
        ("query-no-release", "404"),
    ],
)
def test_a_failed_refresh_names_its_sources(name: str, words: str) -> None:
    problem = only_problem(query(f"debian12/{name}"))
    assert isinstance(problem, NotRefreshed)
    assert len(problem.sources) == 2
    assert all(source.startswith("http://deb.example.org/") for source in problem.sources)
    assert words in problem.text


def test_a_failed_refresh_still_lists_from_the_old_lists() -> None:
    assert query("debian12/query-unreachable").pending.count == 9


def test_without_any_list_it_is_not_known_what_is_pending() -> None:
    result = query("debian12/query-no-lists")
    assert isinstance(only_problem(result), SourceUntrusted)
    assert (result.pending.packages, result.pending.queried_at) == ((), None)
    assert "pending" not in result.inventory.sources
    assert dict(result.inventory.installed)["tb-simple"] == "1.0-1"


def test_a_read_only_disk_is_not_taken_for_an_archive_that_lacks_something() -> None:
    result = query("debian12/query-read-only")
    problem = only_problem(result)
    assert isinstance(problem, PackageCommandFailed)
    assert "Read-only file system" in problem.text
    assert not problem.text.startswith("W:")
    assert result.pending.count == 8


def test_a_host_without_apt_still_tells_its_system() -> None:
    result = query("debian12/query-no-apt")
    problem = only_problem(result)
    assert isinstance(problem, NoPackageManager)
    assert problem.found == ()
    assert "Debian GNU/Linux 12 (bookworm)" in str(problem)
    assert result.facts.system.package_manager == ""
    assert result.facts.system.kernel == "6.18.44"
    assert result.pending.queried_at is None
    assert result.reboot.need is RebootNeed.UNKNOWN


def test_a_package_that_asks_for_a_reboot_is_named() -> None:
    assert query("debian12/query-after").reboot == Reboot(
        need=RebootNeed.NEEDED, reason="tb-kernel asks for it"
    )


def test_ubuntus_kernel_packages_ask_for_a_reboot() -> None:
    assert query("ubuntu24.04/query-after").reboot == Reboot(
        need=RebootNeed.NEEDED, reason="linux-base asks for it"
    )


def test_a_host_whose_kernel_comes_from_outside_is_not_rebooted_for_a_packaged_one() -> None:
    reboot = query("debian12/query-needrestart").reboot
    assert reboot.need is RebootNeed.UNKNOWN
    assert reboot.reason == "running 6.18.44, which is of no installed kernel's kind"


@pytest.mark.parametrize("name", names("*/query*.out"))
def test_every_recorded_query_is_understood(name: str) -> None:
    assert query(name).facts.system.kernel == "6.18.44"


def test_apt_3__lists_and_plans_as_apt_2_does() -> None:
    result = query("debian13/query")
    assert result.problems == ()
    assert result.facts.system.os_name == "Debian GNU/Linux 13 (trixie)"
    pending = {package.name: package for package in result.pending.packages}
    assert {name for name, package in pending.items() if package.security} == {"tb-secure"}
    assert pending["tb-held"].withheld is Withheld.HELD
    assert pending["tb-conflict"].withheld is Withheld.KEPT_BACK
    planned = parse_plan(recorded("debian13/dry-run"))
    assert planned.failure is None
    free = {name for name, package in pending.items() if package.withheld is Withheld.NO}
    assert {package.name for package in planned.changes} == free
    assert parse_preflight(recorded("debian13/preflight")).problems == ()
