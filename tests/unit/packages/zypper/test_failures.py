"""Why recorded upgrades failed, what their logs show of progress, and any piece of a log."""

import pytest

from tendhost.server.packages.failures import FailureKind
from tendhost.server.packages.progress import Phase
from tests.unit.packages.recordings import RECORDED
from tests.unit.packages.zypper.recordings import SYSTEM, ZYPPER, exit_status, log

LOGS = {path.stem: path.read_text() for path in sorted((RECORDED / SYSTEM).glob("*.log"))}
FAILED = {
    "restore-gone": (FailureKind.OTHER, "No provider of 'tb-simple=0.5-1' found."),
    "upgrade-away": (FailureKind.FETCH_FAILED, "is not a directory"),
    "upgrade-badpost": (
        FailureKind.SCRIPT_FAILED,
        "tb-badpost: post-install script failed (exit status 1):"
        " tb-badpost: cannot migrate database",
    ),
    "upgrade-conflict": (FailureKind.OTHER, "conflicts with file from package"),
    "upgrade-forbidden": (FailureKind.OTHER, "(HTTP 403)"),
    "upgrade-missing": (FailureKind.FETCH_FAILED, "not found on medium"),
    "upgrade-unknown-key": (FailureKind.OTHER, "Signatures public key is not available"),
    "upgrade-unsigned": (FailureKind.OTHER, "File is unsigned"),
    "upgrade-broken": (FailureKind.DATABASE_UNREADABLE, "cannot open Packages index"),
    "upgrade-gone": (FailureKind.OTHER, "No provider of 'tb-simple=9.9-1' found."),
    "upgrade-held": (FailureKind.UNMET_DEPENDENCIES, "conflicting requests"),
    "upgrade-killed": (FailureKind.KILLED, "killed by signal 9"),
    "upgrade-locked": (FailureKind.LOCK_HELD, "(zypper) holds zypp's lock"),
    "upgrade-removals": (FailureKind.SCRIPT_FAILED, "cannot migrate database"),
    "upgrade-rpm-killed": (FailureKind.KILLED, "Command was killed by signal 9 (Killed)."),
    "upgrade-terminated": (FailureKind.KILLED, "Installing: tb-slow-2.0-1.noarch"),
    "upgrade-unreachable": (FailureKind.FETCH_FAILED, "Download (curl) error"),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_recorded_command_failed_for_its_reason_or_not_at_all(name):
    failure = ZYPPER.failure(exit_status(name), LOGS[name])
    if name not in FAILED:
        assert failure is None
        return
    kind, words = FAILED[name]
    assert failure is not None
    assert failure.kind is kind
    assert words in failure.reason


def test_the_packages_whose_scripts_failed_are_named():
    failure = ZYPPER.failure(8, log("upgrade-removals"))
    assert failure is not None
    assert failure.packages == ("tb-badpost", "tb-badpre")


def test_a_failed_pre_install_script_is_told_with_its_words():
    text = log("upgrade-removals").partition("tb-badpre-2.0-1.noarch failed:")[2]
    failure = ZYPPER.failure(8, text)
    assert failure is not None
    assert failure.reason == (
        "tb-badpre: pre-install script failed (exit status 1): tb-badpre: not on this host"
    )


@pytest.mark.parametrize("status", [0, 100, 101, 102, 103])
def test_news_in_the_exit_status_are_no_failure(status):
    assert ZYPPER.failure(status, log("upgrade")) is None


@pytest.mark.parametrize(
    ("status", "output", "kind"),
    [
        (5, "Root privileges are required to run this command.", FailureKind.NOT_PRIVILEGED),
        (6, "", FailureKind.OTHER),
        (7, "", FailureKind.LOCK_HELD),
        (105, "", FailureKind.KILLED),
        (143, "", FailureKind.KILLED),
        (8, "error: unpacking of archive failed: No space left on device", FailureKind.DISK_FULL),
        (
            8,
            "installing package tb-1-1 needs 2MB more space on the / filesystem",
            FailureKind.DISK_FULL,
        ),
        (
            106,
            "Skipping repository 'Fleet' because of the above error.",
            FailureKind.FETCH_FAILED,
        ),
        (
            8,
            "tb.rpm (fleet): Signature verification failed [6-File is unsigned]",
            FailureKind.OTHER,
        ),
        (
            4,
            "Problem: nothing provides libx needed by tb-2-1.noarch\n"
            "Choose from above solutions by number or cancel [1/2/c/d/?] (c): c",
            FailureKind.UNMET_DEPENDENCIES,
        ),
    ],
)
def test_other_exit_statuses_and_words_have_their_kinds(status, output, kind):
    failure = ZYPPER.failure(status, output)
    assert failure is not None
    assert failure.kind is kind


def test_a_local_configuration_file_that_was_kept_is_named():
    assert ZYPPER.kept_conffiles(log("upgrade")) == ("/etc/tb-conf.conf",)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_progress_is_read_from_the_log_in_pieces_of_any_size(size):
    data = log("upgrade").encode()
    parser = ZYPPER.progress_parser()
    steps = [step for at in range(0, len(data), size) for step in parser.feed(data[at : at + size])]
    assert parser.held == 0
    downloads = [step for step in steps if step.phase is Phase.DOWNLOAD]
    unpacked = [(step.package, step.percent) for step in steps if step.phase is Phase.UNPACK]
    assert [step.percent for step in downloads] == [12.5 * number for number in range(1, 9)]
    assert unpacked[0] == ("kernel-default", 12.5)
    assert unpacked[-1] == ("tb-newdep", 100.0)
    assert len(unpacked) == 8


def test_the_lines_of_newer_zyppers_are_progress_too():
    lines = b"Retrieving: tb-1-1.noarch (Fleet) (2/4),   6.0 KiB\n( 1/10) Removing: tb-1-1.noarch [..done]\n"
    fetched, removed = ZYPPER.progress_parser().feed(lines)
    assert (fetched.phase, fetched.percent) == (Phase.DOWNLOAD, 50.0)
    assert (removed.phase, removed.package, removed.percent) == (Phase.REMOVE, "tb", 10.0)


def test_a_package_that_could_not_be_installed_is_progress_of_an_error():
    steps = ZYPPER.progress_parser().feed(log("upgrade-removals").encode())
    assert [step.package for step in steps if step.phase is Phase.ERROR] == ["tb-badpre"]
