"""Why recorded commands failed, in one line."""

import pytest

from tendhost.server.packages.apt.failures import diagnose, lock_holder
from tendhost.server.packages.apt.problems import apt_problem
from tendhost.server.packages.errors import LockHeld, NoSpaceLeft, PackageCommandFailed
from tendhost.server.packages.failures import FailureKind, LockHolder, PackageFailure
from tests.unit.packages.recordings import exit_status, log, names

REASONS = {
    "upgrade-failing": (
        FailureKind.SCRIPT_FAILED,
        "tb-failing: post-install script failed (exit 1): tb-failing: cannot migrate database",
    ),
    "upgrade-failing-again": (
        FailureKind.SCRIPT_FAILED,
        "tb-failing: post-install script failed (exit 1): tb-failing: cannot migrate database",
    ),
    "repair-failing": (
        FailureKind.SCRIPT_FAILED,
        "tb-failing: post-install script failed (exit 1): tb-failing: cannot migrate database",
    ),
    "upgrade-locked": (
        FailureKind.LOCK_HELD,
        "lock /var/lib/dpkg/lock-frontend held by process 76 (hold-lock.pl)",
    ),
    "upgrade-archives-locked": (
        FailureKind.LOCK_HELD,
        "lock /var/cache/apt/archives/lock held by process 81 (hold-lock.pl)",
    ),
    "repair-locked": (FailureKind.LOCK_HELD, "lock /var/lib/dpkg/lock held by process 75"),
    "upgrade-killed": (FailureKind.KILLED, "killed by signal 9"),
    "upgrade-interrupted": (
        FailureKind.INTERRUPTED,
        "dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
    ),
    "upgrade-half-installed": (
        FailureKind.INTERRUPTED,
        "dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
    ),
    "upgrade-half-lost": (
        FailureKind.REINSTALL_IMPOSSIBLE,
        "The package tb-half needs to be reinstalled, but I can't find an archive for it.",
    ),
    "upgrade-disk-full": (
        FailureKind.DISK_FULL,
        "Failed to fetch http://deb.example.org/pool/tb-extra_2.0-1_all.deb"
        " Error writing to file - write (28: No space left on device) [IP: 192.0.2.1 80]",
    ),
    "upgrade-disk-full-unpack": (
        FailureKind.DISK_FULL,
        "tb-simple: cannot copy extracted data for './usr/share/tb-simple/version' to"
        " '/usr/share/tb-simple/version.dpkg-new': failed to write (No space left on device)",
    ),
    "upgrade-hash-mismatch": (
        FailureKind.HASH_MISMATCH,
        "Failed to fetch http://deb.example.org/pool/tb-conf_2.0-1_all.deb Hash Sum mismatch",
    ),
    "upgrade-unreachable": (
        FailureKind.FETCH_FAILED,
        "Failed to fetch http://deb.example.org/pool/tb-conf_2.0-1_all.deb Could not connect to"
        " deb.example.org:80 (192.0.2.1). - connect (111: Connection refused)",
    ),
    "upgrade-unmet": (
        FailureKind.UNMET_DEPENDENCIES,
        "unmet dependencies: tb-needy, tb-newdep",
    ),
    "conffile-prompt": (
        FailureKind.CONFFILE_PROMPT,
        "tb-conf: end of file on stdin at conffile prompt",
    ),
}


def diagnosed(name: str) -> PackageFailure:
    return diagnose(exit_status(f"debian12/{name}"), log(f"debian12/{name}"))


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_one_line_in_the_package_managers_words(name: str) -> None:
    failure = diagnosed(name)
    assert (failure.kind, failure.reason) == REASONS[name]


def test_every_recorded_failure_has_its_reason_here() -> None:
    failed = {name.split("/")[1] for name in names("debian12/*.rc") if exit_status(name)}
    assert failed == set(REASONS)


def test_only_what_passes_by_itself_is_transient() -> None:
    transient = {name for name in REASONS if diagnosed(name).transient}
    assert transient == {
        "upgrade-locked",
        "upgrade-archives-locked",
        "repair-locked",
        "upgrade-hash-mismatch",
        "upgrade-unreachable",
    }


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("upgrade-failing", ("tb-failing",)),
        ("upgrade-disk-full-unpack", ("tb-simple",)),
        ("conffile-prompt", ("tb-conf",)),
        ("upgrade-unmet", ("tb-needy", "tb-newdep")),
    ],
)
def test_the_packages_at_fault_are_named(name: str, packages: tuple[str, ...]) -> None:
    assert diagnosed(name).packages == packages


def test_the_last_words_of_a_script_that_said_nothing_are_left_out() -> None:
    output = (
        "Setting up quiet (1.0) ...\n"
        "dpkg: error processing package quiet (--configure):\n"
        " installed quiet package post-installation script subprocess returned error exit status 3\n"
    )
    assert diagnose(100, output).reason == "quiet: post-install script failed (exit 3)"


def test_a_script_that_was_killed_is_told_from_one_that_failed() -> None:
    output = (
        "dpkg: error processing package slow (--configure):\n"
        " installed slow package post-installation script subprocess was killed by signal (Killed)\n"
    )
    assert diagnose(100, output).reason == "slow: post-install script failed (killed: Killed)"


def test_a_lock_that_may_not_be_opened_is_a_matter_of_privilege() -> None:
    output = (
        "E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)\n"
        "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?\n"
    )
    assert diagnose(100, output).kind is FailureKind.NOT_PRIVILEGED


def test_silence_still_gives_a_reason() -> None:
    assert diagnose(100, "").reason == "it ended with exit status 100"


def test_a_lock_without_a_known_holder_is_still_named() -> None:
    output = "E: Could not get lock /var/lib/apt/lists/lock. It is held by another one"
    assert lock_holder(output) == LockHolder(path="/var/lib/apt/lists/lock")
    assert lock_holder("all is well") is None
    assert str(apt_problem("apt-get update", 100, output)) == (
        "another process holds /var/lib/apt/lists/lock"
    )


def test_errors_carry_what_was_recorded() -> None:
    full = apt_problem("apt-get update", 100, log("debian12/upgrade-disk-full"))
    assert isinstance(full, NoSpaceLeft)
    locked = apt_problem("apt-get check", 100, log("debian12/upgrade-locked"))
    assert isinstance(locked, LockHeld)
    assert locked.pid == 76
    other = apt_problem("apt-get check", 100, "E: Something new")
    assert isinstance(other, PackageCommandFailed)
    assert str(other) == "apt-get check failed (exit 100): Something new"
