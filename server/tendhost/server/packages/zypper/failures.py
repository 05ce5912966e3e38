"""Why zypper or rpm failed (a lock that is held, a full disk, a script), from its exit status and its last output.

Once a package is installed or removed, the output of scriptlets stands between zypper's own. From there on
only rpm's and zypper's lines of errors count, and none of them makes a failure one that passes by itself.
"""

import re
from dataclasses import replace
from html import unescape

from tendhost.server.packages.failures import (
    FailureKind,
    LockHolder,
    PackageFailure,
    killed_by_signal,
    line_signs,
)
from tendhost.server.packages.rpm.causes import file_conflict, one_reason, untrusted_packages
from tendhost.server.packages.rpm.failures import rpm_errors, scriptlet_failure

LOCKED = 7
"""ZYPPER_EXIT_ZYPP_LOCKED."""
NO_REPOSITORIES = 6
RESTARTED = 103
"""The update of the package manager itself is done, and the rest waits for the new one."""
SKIPPED = 106
"""Repositories were left out for this time, because they could not be refreshed."""
_DONE = (0, 100, 101, 102, RESTARTED)
_ON_SIGNAL = 105

_HELD = re.compile(r"locked by the application with pid (\d{1,10})(?: \(([^)\n]*)\))?")
_FAILED = re.compile(r"^(?:Installation|Removal) of (\S+)-[^-\s]+-[^-\s]+ failed:", re.MULTILINE)
_BEGAN = re.compile(r"^\( *\d+/\d+\) (?:Installing|Removing)", re.MULTILINE)
_RPM_FAILED = re.compile(r"^.*?RPM failed: ")


# In the order of precedence: the cause before what follows from it.
_SIGNS = line_signs(
    (FailureKind.NOT_PRIVILEGED, "Root privileges are required"),
    (
        FailureKind.DISK_FULL,
        r"No space left on device|needs \S+ (?:more space )?on the \S+ filesystem"
              "|not enough (?:disk |free )?space|Disk (?:full|space)",
    ),
    (
        FailureKind.DATABASE_UNREADABLE,
        "rpmdb open failed|[Ff]ailed to initialize (?:the )?(?:RPM )?database|error: rpmdb:"
              "|cannot open Packages|database disk image is malformed|Target initialization failed",
    ),
    (
        FailureKind.OTHER,
        "[Ss]ignature verification failed|Package is not signed|is signed with an unknown key"
              "|Signatures public key is not available",
    ),
    # A zypper that is told to end says no more than that what it was at failed.
    (FailureKind.KILLED, r"was killed by signal|^\( *\d+/\d+\) .*error\]\s*\Z"),
    (
        FailureKind.HASH_MISMATCH,
        "wrong checksum|[Dd]igest verification failed|has a wrong digest|checksum mismatch"
              "|Wrong digest",
    ),
    (
        FailureKind.FETCH_FAILED,
        r"Download \(curl\) error|is temporarily unaccessible"
              "|Valid metadata not found|Problem retrieving|not found on medium"
              "|Skipping repository|Failed to provide Package|Can't provide"
              "|Specified path '.*' is not a directory",
    ),
    (FailureKind.UNMET_DEPENDENCIES, r"^Problem: |nothing provides|conflicting requests"),
)  # fmt: skip
# The last alternative: what zypper asked a question about, to which there was nobody to answer.
_ERROR = re.compile(
    r"^(?:error: |Error: |No provider of |The flag ).*$|^.+$(?=\n+Abort, retry, ignore\?)",
    re.MULTILINE,
)
_TAG = re.compile(r"</?[a-z?][^<>]{0,2000}>")


def said(text: str) -> str:
    """What zypper says to people, with or without --xmlout."""
    return unescape(_TAG.sub("", text)) if "<stream" in text or "<message" in text else text


def lock_holder(output: str) -> LockHolder | None:
    """Who holds zypp's lock, as zypper names it; None where it names nobody."""
    match = _HELD.search(output)
    if match is None:
        return None
    return LockHolder(path="/run/zypp.pid", pid=int(match[1]), command=match[2] or "")


def diagnose(exit_status: int, output: str) -> PackageFailure | None:
    """Why a command failed; None: it did not. A failed %post leaves zypper's exit status at 0 or 107."""
    output = said(output)
    if killed := killed_by_signal(exit_status):
        return killed
    if exit_status == LOCKED:
        holder = lock_holder(output)
        who = f"process {holder.pid} ({holder.command})" if holder else "another process"
        return PackageFailure(kind=FailureKind.LOCK_HELD, reason=f"{who} holds zypp's lock")
    began = _BEGAN.search(output) is not None
    if failure := scriptlet_failure(output, last_message=_last_message):
        return replace(failure, began=began)
    if exit_status in _DONE:
        return None
    if exit_status == NO_REPOSITORIES:
        return PackageFailure(kind=FailureKind.OTHER, reason="no repositories are defined")
    if exit_status == _ON_SIGNAL:
        return PackageFailure(kind=FailureKind.KILLED, reason="zypper was told by a signal to end")
    failure = _from_words(exit_status, _without_scriptlets(output))
    packages = tuple(dict.fromkeys(_FAILED.findall(output)))
    return replace(failure, packages=failure.packages or packages, began=began)


def _from_words(exit_status: int, output: str) -> PackageFailure:
    """The failure that zypper's and rpm's own words tell."""
    if cause := file_conflict(output) or untrusted_packages(output):
        return PackageFailure(kind=FailureKind.OTHER, reason=cause.reason, packages=cause.packages)
    for kind, sign in _SIGNS:
        if match := sign.search(output):
            reason = _curl_error(output) or match[0] if kind is _FETCH_FAILED else match[0]
            return PackageFailure(kind=kind, reason=_message(reason))
    errors = _ERROR.search(output)
    last = _FORBIDDEN.sub(r"\g<0> (HTTP 403)", errors[0] if errors else _last_line(output))
    reason = _message(last) or f"it ended with exit status {exit_status}"
    return PackageFailure(kind=FailureKind.OTHER, reason=reason)


_FETCH_FAILED = FailureKind.FETCH_FAILED
# What libzypp makes of the status 403 (MediaForbiddenException).
_FORBIDDEN = re.compile(r"^Permission to access '.*' denied\.?$", re.MULTILINE)
# Download (curl) error for 'https://cdn.example/repodata/repomd.xml':
# Error code: Connection failed
# Error message: Could not resolve host: cdn.example
_CURL_ERROR = re.compile(
    r"^(Download \(curl\) error for '.*?'):?\n(?:Error code: (.*)\n)?(?:Error message: (.*))?",
    re.MULTILINE,
)


def _curl_error(output: str) -> str:
    match = _CURL_ERROR.search(output)
    if match is None:
        return ""
    return f"{match[1]}: {'; '.join(filter(None, (match[2], match[3])))}".removesuffix(": ")


_HINTS = (
    "Please see the above error",
    "Please check if the URIs",
    "Problem occurred during or after",
    "Installation has been aborted",
    "Could not refresh the repositories",
    "History:",
    "- ABORT request",
    "Continue? [",
    "Abort, retry, ignore?",
)
"""Beginnings of lines that point to others."""


def _last_line(output: str) -> str:
    """The last line that says something of its own."""
    lines = [line.strip() for line in output.split("\n")]
    return next((line for line in reversed(lines) if line and not line.startswith(_HINTS)), "")


_NEXT = r"(?=^\( *\d+/\d+\) |^Abort, retry|^Problem occurred|\n\n\n|\Z)"
_SCRIPTLET_OUTPUT = re.compile(rf"^Additional rpm output:\n.*?{_NEXT}", re.M | re.S)
# (1/2) Installing: tb-badpost-2.0-1.noarch [..
# tb-badpost: cannot migrate database
# done]      (since 1.14.60 or so)
_WITHIN_STEP = re.compile(
    r"^(\( *\d+/\d+\) [A-Z][^\n]*\[\.*)\n(.*?)(?=^\.*(?:done|error)\]|^\( *\d+/\d+\) |\Z)",
    re.M | re.S,
)
_RPM_OUTPUT = re.compile(rf"^[^\n]*RPM failed: .*?{_NEXT}", re.M | re.S)


def _without_scriptlets(output: str) -> str:
    """What is left of the output without that of scriptlets; of the output of an rpm that failed its errors."""
    told = _SCRIPTLET_OUTPUT.sub("", output)
    told = _WITHIN_STEP.sub(lambda match: f"{match[1]}\n{rpm_errors(match[2])}\n", told)
    return _RPM_OUTPUT.sub(lambda match: _errors_of_rpm(match[0]), told)


def _errors_of_rpm(output: str) -> str:
    last = output.rstrip().rpartition("\n")[2]
    if "Command was killed by signal" in last:  # what zypper adds, when rpm prints no more
        return last
    return rpm_errors(output) or output.partition("\n")[0]


def _last_message(output: str) -> str:
    """What a scriptlet printed before the line that begins at the end of `output`."""
    line = output.rpartition("\n")[0].rstrip().rpartition("\n")[2]
    message = _RPM_FAILED.sub("", line).strip()
    return "" if message.startswith(_CHATTER) else message


_CHATTER = ("(", "Additional rpm output", "Retrieving", "Checking for", "In cache")


def _message(text: str) -> str:
    return one_reason(_RPM_FAILED.sub("", text).removeprefix("Error: "))
