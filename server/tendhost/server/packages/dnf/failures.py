"""Why dnf or rpm failed, told in one line from its exit status and what it printed last."""

import re

from tendhost.server.packages.failures import FailureKind, PackageFailure

LOCKED = 200
"""dnf's exit status where exit_on_lock is set and somebody holds a lock."""

# warning: %post(tb-badpost-2.0-1.noarch) scriptlet failed, exit status 1
# Error in POSTIN scriptlet in rpm package tb-badpost
# [RPM] %post(tb-badpost-2.0-1.noarch) scriptlet failed, exit status 1     (dnf 5)
_SCRIPTLET = re.compile(
    r"%(?P<script>[a-z]+)\((?P<package>[^()\s]+)-[^-()\s]+-[^-()\s]+\) scriptlet failed,"
    r" (?P<how>exit status [0-9]+|signal [0-9]+)"
)
_IN_PACKAGE = re.compile(r"Error in ([A-Z]+) scriptlet in rpm package (\S+)")
_SCRIPTS = {
    "prein": "pre-install",
    "pre": "pre-install",
    "post": "post-install",
    "postin": "post-install",
    "preun": "pre-remove",
    "postun": "post-remove",
    "pretrans": "pre-transaction",
    "posttrans": "post-transaction",
}
_FAILED = re.compile(r"^Failed:\n((?: +\S.*\n?)+)", re.MULTILINE)
_ERROR = re.compile(
    r"^(?:\S*error: |Error: |Failed to |\[Errno [0-9]+\] )(.*)$", re.MULTILINE | re.IGNORECASE
)


def _sign(words: str) -> re.Pattern[str]:
    return re.compile(rf"^.*(?:{words}).*$", re.MULTILINE)


# In the order of precedence: the cause before what follows from it.
_SIGNS = (
    (
        FailureKind.NOT_PRIVILEGED,
        _sign("has to be run with superuser privileges|requires superuser|are not root"),
    ),
    (
        FailureKind.DISK_FULL,
        _sign(r"No space left on device|At least \S+ more space needed|installing package .* needs"
              r" \S+ (?:more space )?on the"),
    ),
    (
        FailureKind.DATABASE_UNREADABLE,
        _sign("rpmdb open failed|cannot open Packages|database disk image is malformed"
              "|error: rpmdb:|Unable to open sqlite database"),
    ),
    (FailureKind.HASH_MISMATCH, _sign("checksum doesn't match|Checksum error|checksum mismatch")),
    (
        FailureKind.FETCH_FAILED,
        _sign("Failed to download|Cannot download|All mirrors were (?:already )?tried"
              "|Curl error|No more mirrors to try"),
    ),
    (FailureKind.UNMET_DEPENDENCIES, _sign(r"nothing provides|conflicting requests|Problem: ")),
)  # fmt: skip


def diagnose(exit_status: int, output: str) -> PackageFailure | None:
    """Why a command failed; None: it did not. dnf ends with 0 although a scriptlet failed."""
    if exit_status == LOCKED:
        return PackageFailure(
            kind=FailureKind.LOCK_HELD, reason="dnf's lock is held by another process"
        )
    if failure := _scriptlet(output):
        return failure
    if exit_status == 0:
        return None
    for kind, sign in _SIGNS:
        if match := sign.search(output):
            return PackageFailure(kind=kind, reason=_words(match[0]))
    errors = _ERROR.findall(output)
    if exit_status > 128 and not errors:
        reason = f"killed by signal {exit_status - 128}"
        return PackageFailure(kind=FailureKind.KILLED, reason=reason)
    last = errors[-1] if errors else output.rstrip().rpartition("\n")[2]
    reason = _words(last) or f"it ended with exit status {exit_status}"
    return PackageFailure(kind=FailureKind.OTHER, reason=reason, packages=_failed(output))


def _scriptlet(output: str) -> PackageFailure | None:
    matches = list(_SCRIPTLET.finditer(output))
    if not matches:
        named = _IN_PACKAGE.findall(output)
        if not named:
            return None
        script, package = named[0]
        which = _SCRIPTS.get(script.lower(), script.lower())
        return PackageFailure(
            kind=FailureKind.SCRIPT_FAILED,
            reason=f"{package}: {which} script failed",
            packages=tuple(dict.fromkeys(name for _, name in named)),
        )
    first = matches[0]
    which = _SCRIPTS.get(first["script"], first["script"])
    said = output[: first.start()].rstrip().removesuffix("warning:").removesuffix("error:")
    said = said.removesuffix("[RPM]").rstrip().rpartition("\n")[2].strip()
    words = f": {said}" if said and not said.startswith(_CHATTER) else ""
    return PackageFailure(
        kind=FailureKind.SCRIPT_FAILED,
        reason=_words(f"{first['package']}: {which} script failed ({first['how']}){words}"),
        packages=tuple(dict.fromkeys(match["package"] for match in matches)),
    )


_CHATTER = ("Running scriptlet", "Installing", "Upgrading", "Cleanup", "Downgrading", "[", ">>>")


def _failed(output: str) -> tuple[str, ...]:
    match = _FAILED.search(output)
    if match is None:
        return ()
    names = (word.rsplit("-", 2)[0] for word in match[1].split())
    return tuple(dict.fromkeys(names))


def _words(text: str) -> str:
    return " ".join(text.removeprefix("Error: ").split())[:500]
