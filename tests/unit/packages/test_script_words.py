"""What maintainer scripts, scriptlets and hooks print is theirs: it makes no failure of the package manager's.

They may run package managers themselves, restart services and fetch files, so their words are often those that
a package manager has for a failure that passes by itself.
"""

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tendhost.server.packages.apt.apt import Apt
from tendhost.server.packages.apt.failures import diagnose, package_name
from tendhost.server.packages.detection import package_manager
from tendhost.server.packages.failures import FailureKind, PackageFailure
from tendhost.server.packages.progress import Phase, TransactionProgress
from tests.unit.packages.recordings import RECORDED, exit_status, log, names, progress

SCRIPT, OTHER, HOOK = FailureKind.SCRIPT_FAILED, FailureKind.OTHER, FailureKind.HOOK_FAILED
KILLED, LOCK, FULL = FailureKind.KILLED, FailureKind.LOCK_HELD, FailureKind.DISK_FULL

REASONS: dict[str, tuple[FailureKind, tuple[str, ...], str]] = {
    "repair-dpkg-segv": (KILLED, (), "killed by signal 11"),
    "repair-locked": (LOCK, (), "lock /var/lib/dpkg/lock held by process 78 (perl)"),
    "repair-nested-apt": (
        SCRIPT,
        ("tb-nested",),
        "tb-nested: post-install script failed (exit 100): E: Unable to acquire the dpkg frontend lock"
        " (/var/lib/dpkg/lock-frontend), is another process using it?",
    ),
    "upgrade-denied": (
        SCRIPT,
        ("tb-denied",),
        "tb-denied: post-install script failed (exit 1): nginx: [emerg] open()"
        ' "/var/log/nginx/error.log" failed (13: Permission denied)',
    ),
    "upgrade-dpkg-full": (
        FULL,
        (),
        "unable to flush /var/lib/dpkg/updates/tmp.i after padding: No space left on device",
    ),
    "upgrade-dpkg-killed": (KILLED, (), "Sub-process /usr/bin/dpkg exited unexpectedly"),
    "upgrade-dpkg-segv": (KILLED, (), "Sub-process /usr/bin/dpkg received a segmentation fault."),
    "upgrade-install-hook": (
        HOOK,
        (),
        "apt's hook DPkg::Pre-Install-Pkgs failed: echo \"E: Could not get lock /var/lib/bugs. It is"
        ' held by process 3 (apt-get)"; exit 10',
    ),
    "upgrade-nested-apt": (
        SCRIPT,
        ("tb-nested",),
        "tb-nested: post-install script failed (exit 100): E: Unable to acquire the dpkg frontend lock"
        " (/var/lib/dpkg/lock-frontend), is another process using it?",
    ),
    "upgrade-nested-dpkg": (
        SCRIPT,
        ("tb-locked",),
        "tb-locked: post-install script failed (exit 2): and the entire system. See"
        " <https://wiki.debian.org/Teams/Dpkg/FAQ#db-lock>.",
    ),
    "upgrade-nested-system": (
        SCRIPT,
        ("tb-chroot",),
        "tb-chroot: post-install script failed (exit 3):"
        " E: Sub-process /usr/bin/dpkg returned an error code (1)",
    ),
    "upgrade-post-invoke": (
        HOOK,
        (),
        "apt's hook DPkg::Post-Invoke failed: apt-get install -y tb-simple",
    ),
    "upgrade-pre-invoke": (
        HOOK,
        (),
        "apt's hook DPkg::Pre-Invoke failed: apt-get install -y tb-simple",
    ),
    "upgrade-script-full": (
        SCRIPT,
        ("tb-full",),
        "tb-full: post-install script failed (exit 1): gzip: stdout: No space left on device",
    ),
    "upgrade-script-hash": (
        SCRIPT,
        ("tb-hash",),
        "tb-hash: post-install script failed (exit 1): E: Failed to fetch http://x/y Hash Sum mismatch",
    ),
    "upgrade-unpack-batch": (
        OTHER,
        ("tb-lib-7",),
        "tb-lib-7: unable to create '/usr/share/tb-lib-7/version.dpkg-new' (while processing"
        " './usr/share/tb-lib-7/version'): Read-only file system",
    ),
}


def errors_of(name: str) -> tuple[TransactionProgress, ...]:
    """The errors that a recorded command reported on its status channel; a repair has none."""
    if not (RECORDED / f"{name}.status").exists():
        return ()
    return tuple(step for step in progress(name) if step.phase is Phase.ERROR)


def seen(failure: PackageFailure) -> tuple[FailureKind, tuple[str, ...], str]:
    return failure.kind, failure.packages, failure.reason


def test_every_recording_of_debian_13__has_its_reason_here() -> None:
    assert {name.partition("/")[2] for name in names("debian13/*.rc")} == set(REASONS)


@pytest.mark.parametrize("name", REASONS)
def test_failure__is_told_by_the_status_channel_and_the_exit_status(name: str) -> None:
    path = f"debian13/{name}"
    assert seen(diagnose(exit_status(path), log(path), errors_of(path))) == REASONS[name]


@pytest.mark.parametrize("name", REASONS)
def test_failure__is_told_by_dpkgs_closing_list_where_the_status_was_not_read(name: str) -> None:
    """A server that was restarted in the middle of the job has not read all of the status."""
    path = f"debian13/{name}"
    assert seen(diagnose(exit_status(path), log(path))) == REASONS[name]


@pytest.mark.parametrize("path", [path for path in names("debian12/*.rc") if exit_status(path)])
def test_status_channel__and_log_tell_the_same(path: str) -> None:
    told = diagnose(exit_status(path), log(path), errors_of(path))
    assert told == diagnose(exit_status(path), log(path))


def test_failure__passes_by_itself_only_where_dpkg_itself_did_not_get_its_lock() -> None:
    paths = [f"debian13/{name}" for name in REASONS]
    transient = {path for path in paths if diagnose(exit_status(path), log(path)).transient}
    assert transient == {"debian13/repair-locked"}


# --- any words, in any place where a script can print them -------------------------------------------

ALARMING = (
    "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)",
    "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)",
    "dpkg: error: dpkg frontend lock was locked by another process with pid 7",
    "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
    "E: Failed to fetch http://deb.example.org/x.deb  404  Not Found",
    "E: Failed to fetch http://deb.example.org/x.deb  Hash Sum mismatch",
    "E: Sub-process /usr/bin/dpkg received a segmentation fault.",
    "E: Sub-process /usr/bin/dpkg exited unexpectedly",
    "E: Problem executing scripts DPkg::Post-Invoke 'false'",
    "E: Unmet dependencies. Try 'apt --fix-broken install' with no packages (or specify a solution).",
    "E: The package x needs to be reinstalled, but I can't find an archive for it.",
    "nginx: open() failed (13: Permission denied)",
    "mkdir: cannot create directory (30: Read-only file system)",
    "tar: write error: No space left on device",
    "Setting up tb-inner (2.0-1) ...",
    "dpkg: error processing package tb-inner (--configure):\n installed tb-inner package"
    " post-installation script subprocess returned error exit status 9",
    "Errors were encountered while processing:\n tb-inner",
    "Error: Failed to download metadata for repo 'x': Cannot download repomd.xml",
    "Curl error (6): Couldn't resolve host name for https://example.org/x",
    "Download (curl) error for 'https://example.org/x': Error code: Connection failed",
    "System management is locked by the application with pid 7 (zypper).",
    "Error: Failed to synchronize cache for repo 'x'",
    "Command was killed by signal 9 (Killed).",
    "wrong checksum; checksum doesn't match; Digest verification failed",
    "Problem: nothing provides libx needed by x-1-1.noarch",
)
WORDS = st.lists(st.sampled_from(ALARMING), min_size=1, max_size=6).map("\n".join)
Test = TypeVar("Test", bound=Callable[..., None])


def with_each_alone(test: Test) -> Test:
    """The property, of each of the words for certain."""
    for words in ALARMING:
        test = example(words=words)(test)
    return test


def in_post_install(words: str) -> str:
    return log("debian12/upgrade-failing").replace(
        "Setting up tb-failing (2.0-1) ...\n", f"Setting up tb-failing (2.0-1) ...\n{words}\n"
    )


def in_an_earlier_script(words: str) -> str:
    return log("debian12/upgrade-failing").replace(
        "Setting up tb-kernel (2.0-1) ...\n", f"Setting up tb-kernel (2.0-1) ...\n{words}\n"
    )


def in_a_pre_install(words: str) -> str:
    return log("debian12/upgrade-failing").replace(
        "Unpacking tb-conf (2.0-1)", f"{words}\nUnpacking tb-conf (2.0-1)"
    )


@pytest.mark.parametrize("place", [in_post_install, in_an_earlier_script, in_a_pre_install])
@with_each_alone
@given(words=WORDS)
def test_words_of_a_debian_script__change_neither_the_kind_nor_the_package(
    place: Callable[[str], str], words: str
) -> None:
    failure = diagnose(100, place(words))
    assert (failure.kind, failure.packages) == (SCRIPT, ("tb-failing",))
    assert not failure.transient
    assert not failure.interrupted


APT_LOGS = [log(name) for name in names("debian1*/*.log")]


@given(inner=st.sampled_from(APT_LOGS))
def test_whole_run_of_apt_in_a_script__is_the_scripts(inner: str) -> None:
    failure = diagnose(100, in_post_install(inner))
    assert (failure.kind, failure.packages) == (SCRIPT, ("tb-failing",))


@with_each_alone
@given(words=WORDS)
def test_words_of_a_script__do_not_hide_that_dpkg_died(words: str) -> None:
    text = log("debian13/upgrade-dpkg-segv").replace(
        "Setting up tb-segv (2.0-1) ...\n", f"Setting up tb-segv (2.0-1) ...\n{words}\n"
    )
    assert diagnose(100, text).kind is KILLED
    repaired = log("debian13/repair-dpkg-segv") + words
    for signal in (1, 6, 7, 9, 11, 15, 64):
        assert diagnose(128 + signal, repaired).reason == f"killed by signal {signal}"


@given(words=WORDS.filter(lambda words: "Sub-process" not in words))
def test_words_of_a_hook__are_the_hooks(words: str) -> None:
    """But for those of a dpkg that died: where nobody can tell whose it was, the host is looked at."""
    for name in ("upgrade-pre-invoke", "upgrade-post-invoke"):
        text = log(f"debian13/{name}").replace("E: Problem exec", f"{words}\nE: Problem exec")
        failure = diagnose(100, text)
        assert (failure.kind, failure.transient) == (HOOK, False)


@pytest.mark.parametrize(
    ("manager", "name", "after", "package"),
    [
        ("dnf", "fedora40-dnf4/upgrade-badpre", "Running transaction\n", "tb-badpre"),
        ("zypper", "opensuse-leap15.6/upgrade-removals", "[......done]\n", "tb-badpost"),
    ],
)
@with_each_alone
@given(words=WORDS)
def test_words_of_a_scriptlet__change_neither_the_kind_nor_the_package(
    manager: str, name: str, after: str, package: str, words: str
) -> None:
    chosen = package_manager(manager)
    assert chosen is not None
    text = log(name).replace(after, f"{after}Additional rpm output:\n{words}\n\n\n", 1)
    failure = chosen.failure(exit_status(name), text)
    assert failure is not None
    assert failure.kind is SCRIPT
    assert failure.packages[0] == package
    assert not failure.transient


CPIO = "unpacking of archive failed on file /usr/share/tb/x;6743f1: cpio: rename failed - Is a directory"
DNF_FAILED = f"""Running transaction
  Preparing        :                                                        1/1
  Upgrading        : tb-noisy-2.0-1.noarch                                  1/4
  Running scriptlet: tb-noisy-2.0-1.noarch                                  1/4
WORDS
  Upgrading        : tb-simple-2.0-1.noarch                                 2/4
error: {CPIO}
error: tb-simple-2.0-1.noarch: install failed

Failed:
  tb-simple-1.0-1.noarch                 tb-simple-2.0-1.noarch

Error: Transaction failed
"""
ZYPPER_FAILED = f"""( 1/2) Installing: tb-noisy-2.0-1.noarch [....done]
Additional rpm output:
WORDS


( 2/2) Installing: tb-simple-2.0-1.noarch [...error]
Installation of tb-simple-2.0-1.noarch failed:
Error: Subprocess failed. Error: RPM failed: WORDS
error: {CPIO}
error: tb-simple-2.0-1.noarch: install failed

Abort, retry, ignore? [a/r/i] (a): a
Problem occurred during or after installation or removal of packages:
Installation has been aborted as directed.
Please see the above error message for a hint.
"""


# As zypper 1.14.89 prints it, of Debian 13; with the message that rpm has for this fault.
NEW_ZYPPER_FAILED = f"""(1/2) Installing: tb-noisy-2.0-1.noarch [..
WORDS
done]
(2/2) Installing: tb-simple-2.0-1.noarch [..
WORDS
error: {CPIO}
error: tb-simple-2.0-1.noarch: install failed
error: tb-simple-1.0-1.noarch: erase skipped
error]
Installation of tb-simple-2.0-1.noarch failed:
Error: Subprocess failed. Error: RPM failed: Command exited with status 1.
Abort, retry, ignore? [a/r/i] (a): a
Problem occurred during or after installation or removal of packages:
Installation has been aborted as directed.
Please see the above error message for a hint.
"""


@pytest.mark.parametrize(
    ("manager", "status", "text"),
    [("dnf", 1, DNF_FAILED), ("zypper", 8, ZYPPER_FAILED), ("zypper", 8, NEW_ZYPPER_FAILED)],
)
@with_each_alone
@given(words=WORDS)
def test_words_of_a_scriptlet_that_succeeds__are_not_why_another_package_fails(
    manager: str, status: int, text: str, words: str
) -> None:
    chosen = package_manager(manager)
    assert chosen is not None
    failure = chosen.failure(status, text.replace("WORDS", words))
    assert failure is not None
    assert failure.kind is OTHER
    assert "tb-simple" in failure.packages
    assert not failure.transient
    killed = chosen.failure(139, text.replace("WORDS", words))
    assert killed is not None
    assert killed.kind is KILLED


@pytest.mark.parametrize(
    ("manager", "text"),
    [("dnf", DNF_FAILED), ("zypper", ZYPPER_FAILED), ("zypper", NEW_ZYPPER_FAILED)],
)
def test_full_disk__is_told_by_rpms_own_line(manager: str, text: str) -> None:
    chosen = package_manager(manager)
    assert chosen is not None
    text = text.replace("WORDS", "busy")
    text = text.replace("rename failed - Is a directory", "write failed - No space left on device")
    failure = chosen.failure(1, text)
    assert failure is not None
    assert failure.kind is FULL


def test_scriptlet__is_told_with_its_words_as_zypper_1_14_89_prints_them() -> None:
    zypper = package_manager("zypper")
    assert zypper is not None
    text = (
        "(1/2) Installing: tb-badpre-2.0-1.noarch [..\n"
        "tb-badpre: not on this host\n"
        "error: %prein(tb-badpre-2.0-1.noarch) scriptlet failed, exit status 1\n"
        "error: tb-badpre-2.0-1.noarch: install failed\n"
        "error: tb-badpre-1.0-1.noarch: erase skipped\n"
        "error]\n"
        "Installation of tb-badpre-2.0-1.noarch failed:\n"
        "Error: Subprocess failed. Error: RPM failed: Command exited with status 1.\n"
        "Abort, retry, ignore? [a/r/i] (a): a\n"
    )
    failure = zypper.failure(8, text)
    assert failure is not None
    assert failure.reason == (
        "tb-badpre: pre-install script failed (exit status 1): tb-badpre: not on this host"
    )


# --- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("/tmp/apt-dpkg-install-2V5q3b/09-lib-7_2.0_all.deb", "lib-7"),
        ("/tmp/apt-dpkg-install-2V5q3b/0-tb-conf_2.0-1_all.deb", "tb-conf"),
        ("/tmp/apt-dpkg-install-2V5q3b/137-0ad_1%3a2_amd64.deb", "0ad"),
        ("/var/tmp/apt-dpkg-install-x/00-9mount_1_amd64.deb", "9mount"),
        ("/var/cache/apt/archives/7-zip_1_amd64.deb", "7-zip"),
        ("/var/cache/apt/archives/tb-simple_2.0-1_all.deb", "tb-simple"),
        ("libc6:i386", "libc6:i386"),
        ("09-lib", "09-lib"),
    ],
)
def test_archive__is_named_by_its_package_and_not_by_apts_number(argument: str, name: str) -> None:
    assert package_name(argument) == name


def test_status_channel__names_the_package_of_a_numbered_archive() -> None:
    (error,) = errors_of("debian13/upgrade-unpack-batch")
    assert error.package == "tb-lib-7"


def test_success__is_no_failure_whatever_a_script_printed() -> None:
    for name in names("debian1*/*.log"):
        assert Apt().failure(0, log(name)) is None
