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
    one_line,
)
from tendhost.server.packages.rpm.failures import rpm_errors, script_name, scriptlet_failure

LOCKED = 200
"""dnf's exit status where exit_on_lock is set and somebody holds a lock."""

# Error in POSTIN scriptlet in rpm package tb-badpost
_IN_PACKAGE = re.compile(r"Error in ([A-Z]+) scriptlet in rpm package (\S+)")
_FAILED = re.compile(r"^Failed:\n((?: +\S.*\n?)+)", re.MULTILINE)
_ERROR = re.compile(
    r"^(?:\S*error: |Error: |Failed to |\[Errno [0-9]+\] )(.*)$", re.MULTILINE | re.IGNORECASE
)


_BEGAN = re.compile(r"^Running transaction\s*$", re.MULTILINE)


# In the order of precedence: the cause before what follows from it.
_SIGNS = line_signs(
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
    (FailureKind.HASH_MISMATCH, "checksum doesn't match|Checksum error|checksum mismatch"),
    (
        FailureKind.FETCH_FAILED,
        "Failed to download|Cannot download|All mirrors were (?:already )?tried"
              "|Curl error|No more mirrors to try",
    ),
    (FailureKind.UNMET_DEPENDENCIES, r"nothing provides|conflicting requests|Problem: "),
)  # fmt: skip


def diagnose(exit_status: int, output: str) -> PackageFailure | None:
    """Why a command failed; None: it did not. dnf ends with 0 although a scriptlet failed."""
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
    own = rpm_errors(output) if began else output
    for kind, sign in _SIGNS:
        if match := sign.search(own):
            reason = _message(match[0])
            return PackageFailure(kind=kind, reason=reason, packages=_failed(output), began=began)
    return replace(_last_words(exit_status, output), began=began)


def _last_words(exit_status: int, output: str) -> PackageFailure:
    errors = _ERROR.findall(output)
    last = errors[-1] if errors else output.rstrip().rpartition("\n")[2]
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
    return one_line(text.removeprefix("Error: "))
