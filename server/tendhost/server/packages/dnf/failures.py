"""Why dnf or rpm failed (a lock that is held, a full disk, a script), from its exit status and its last output.

Once the transaction runs, the output of scriptlets stands between dnf's own. From there on only rpm's lines
of errors count, and none of them makes a failure one that passes by itself.
"""

import re
from dataclasses import replace

from tendhost.server.packages.failures import (
    FailureKind,
    PackageFailure,
    killed_by_signal,
    line_signs,
)
from tendhost.server.packages.rpm.causes import (
    file_conflict,
    one_reason,
    refused_download,
    unmet_dependency,
    untrusted_packages,
    with_details,
    without_noise,
)
from tendhost.server.packages.rpm.failures import rpm_errors, script_name, scriptlet_failure

LOCKED = 200
"""dnf's exit status where exit_on_lock is set and somebody holds a lock."""

# Error in POSTIN scriptlet in rpm package tb-badpost
_IN_PACKAGE = re.compile(r"Error in ([A-Z]+) scriptlet in rpm package (\S+)")
_FAILED = re.compile(r"^Failed:\n((?: +\S.*\n?)+)", re.MULTILINE)
_ERROR = re.compile(
    r"^(?:\S*error: |Error: |Failed to |Transaction failed: |\[Errno [0-9]+\] ).*$",
    re.MULTILINE | re.IGNORECASE,
)


_BEGAN = re.compile(r"^Running transaction\s*$", re.MULTILINE)


# In the order of precedence: the cause before what follows from it. What is wrong with packages themselves comes
# between the two tables.
_SIGNS_OF_THE_HOST = line_signs(
    (
        FailureKind.NOT_PRIVILEGED,
        "has to be run with superuser privileges|requires superuser|are not root",
    ),
    (
        FailureKind.DISK_FULL,
        r"No space left on device|At least \S+ more space needed|installing package .* needs"
        r" \S+ (?:more space )?on the",
    ),
    (
        FailureKind.DATABASE_UNREADABLE,
        "rpmdb open failed|cannot open Packages|database disk image is malformed"
        "|error: rpmdb:|Unable to open sqlite database",
    ),
)
_SIGNS_OF_ARCHIVES = line_signs(
    (FailureKind.HASH_MISMATCH, "checksum doesn't match|Checksum error|checksum mismatch"),
    (
        FailureKind.FETCH_FAILED,
        "Failed to download|Cannot download|All mirrors were (?:already )?tried"
              "|Curl error|No more mirrors to try",
    ),
    (FailureKind.UNMET_DEPENDENCIES, r"nothing provides|conflicting requests|Problem: "),
)  # fmt: skip
# What each of them leaves behind is the cause, and the line of the sign only what dnf concludes from it.
_CAUSES = {
    FailureKind.FETCH_FAILED: refused_download,
    FailureKind.UNMET_DEPENDENCIES: unmet_dependency,
}


def diagnose(exit_status: int, output: str, *, marked: bool = False) -> PackageFailure | None:
    """Why a command failed; None: it did not. dnf ends with 0 although a scriptlet failed.

    `marked`: the output of scriptlets is marked, as dnf 5 does.
    """
    if exit_status == LOCKED:
        return PackageFailure(
            kind=FailureKind.LOCK_HELD, reason="dnf's lock is held by another process"
        )
    if killed := killed_by_signal(exit_status):
        return killed
    began = _BEGAN.search(output) is not None
    if failure := _scriptlet(output):
        return replace(failure, began=began)
    if exit_status == 0:
        return None
    told = without_noise(_own_words(output, began=began, marked=marked))
    for kind, sign in _SIGNS_OF_THE_HOST:
        if match := sign.search(told):
            return _failure(kind, match[0], output, began=began)
    if cause := untrusted_packages(told) or file_conflict(told):
        return PackageFailure(
            kind=FailureKind.OTHER, reason=cause.reason, packages=cause.packages, began=began
        )
    for kind, sign in _SIGNS_OF_ARCHIVES:
        if match := sign.search(told):
            cause = _CAUSES[kind](told) if kind in _CAUSES else None
            return _failure(kind, cause.reason if cause else match[0], output, began=began)
    return replace(_last_words(exit_status, without_noise(output)), began=began)


def _own_words(output: str, *, began: bool, marked: bool) -> str:
    """What dnf and rpm say, without what scriptlets print."""
    if not began:
        return output
    lines = (line for line in output.split("\n") if marked and not line.startswith(">>> "))
    return "\n".join((*lines, rpm_errors(output)))


def _failure(kind: FailureKind, reason: str, output: str, *, began: bool) -> PackageFailure:
    return PackageFailure(kind=kind, reason=_message(reason), packages=_failed(output), began=began)


def _last_words(exit_status: int, output: str) -> PackageFailure:
    errors = list(_ERROR.finditer(output))
    last = with_details(output, errors[-1]) if errors else output.rstrip().rpartition("\n")[2]
    reason = _message(last) or f"it ended with exit status {exit_status}"
    return PackageFailure(kind=FailureKind.OTHER, reason=reason, packages=_failed(output))


def _scriptlet(output: str) -> PackageFailure | None:
    if failure := scriptlet_failure(output, last_message=_last_message):
        return failure
    named = _IN_PACKAGE.findall(output)
    if not named:
        return None
    script, package = named[0]
    return PackageFailure(
        kind=FailureKind.SCRIPT_FAILED,
        reason=f"{package}: {script_name(script.lower())} script failed",
        packages=tuple(dict.fromkeys(name for _, name in named)),
    )


def _last_message(output: str) -> str:
    """What a scriptlet printed before the line that begins at the end of `output`."""
    output = output.rstrip().removesuffix("warning:").removesuffix("error:")
    line = output.removesuffix("[RPM]").rstrip().rpartition("\n")[2].strip()
    return "" if line.startswith(_CHATTER) else line


_CHATTER = ("Running scriptlet", "Installing", "Upgrading", "Cleanup", "Downgrading", "[", ">>>")


def _failed(output: str) -> tuple[str, ...]:
    match = _FAILED.search(output)
    if match is None:
        return ()
    names = (word.rsplit("-", 2)[0] for word in match[1].split())
    return tuple(dict.fromkeys(names))


def _message(text: str) -> str:
    return one_reason(_PREFIX.sub("", text.strip()))


_PREFIX = re.compile(r"\A(?:Error: ?|\S*error: |\[Errno [0-9]+\] )", re.IGNORECASE)
