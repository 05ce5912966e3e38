"""Why apt or dpkg failed (a lock that is held, a full disk, a script), from its exit status and its last output."""

import re

from tendhost.server.packages.failures import (
    FailureKind,
    LockHolder,
    PackageFailure,
    line_signs,
    one_line,
)

_HELD = re.compile(r"Could not get lock (\S+?)\.? It is held by process (\d+) \(([^)\n]*)\)")
_BUSY = re.compile(r"(?:Could not get lock|Unable to lock directory) (\S+)")
_DPKG_HELD = re.compile(r"lock was locked by another process with pid (\d{1,10})")


def lock_holder(output: str) -> LockHolder | None:
    """The lock that apt or dpkg could not get, or None."""
    if match := _HELD.search(output):
        return LockHolder(path=match[1], pid=int(match[2][:10]), command=match[3])
    if match := _BUSY.search(output):
        return LockHolder(path=match[1].rstrip("."))
    if match := _DPKG_HELD.search(output):
        return LockHolder(path="/var/lib/dpkg/lock", pid=int(match[1]))
    return None


# dpkg: error processing package tb-failing (--configure):
#  installed tb-failing package post-installation script subprocess returned error exit status 1
_PROCESSING = re.compile(
    r"(?:^|\? )dpkg: error processing (?:package|archive) (\S+) \(--[a-z-]+\):\n (.*)$",
    re.MULTILINE,
)
_SCRIPT = re.compile(
    r"(?:installed|new|old) (\S+) package ([a-z-]+) script subprocess"
    r" (?:returned error exit status (\d+)|was killed by signal \(([^)]*)\))"
)
_SCRIPT_NAMES = {
    "pre-installation": "pre-install",
    "post-installation": "post-install",
    "pre-removal": "pre-remove",
    "post-removal": "post-remove",
}
_UNMET = re.compile(
    r"^ (\S+) : (?:Depends|PreDepends|Pre-Depends|Breaks|Conflicts): ", re.MULTILINE
)
_ERROR = re.compile(r"^(?:E: |dpkg: error: )(.*)$", re.MULTILINE)


READ_ONLY = "(30: Read-only file system)"
"""What apt says of each file that it cannot write there."""
# In the order of precedence: the cause before what follows from it.
_SIGNS = line_signs(
    (
        FailureKind.NOT_PRIVILEGED,
        r"are you root\?|requires superuser privilege|\(13: Permission denied\)",
    ),
    (FailureKind.INTERRUPTED, "dpkg was interrupted"),
    (FailureKind.DATABASE_UNREADABLE, "Unable to parse package file /var/lib/dpkg/status"),
    (
        FailureKind.REINSTALL_IMPOSSIBLE,
        "needs to be reinstalled, but I can't find an archive",
    ),
    (FailureKind.OTHER, re.escape(READ_ONLY)),
    (FailureKind.DISK_FULL, "No space left on device|don't have enough free space"),
    (
        FailureKind.KILLED,
        r"Sub-process \S*dpkg (?:received signal \d+|exited unexpectedly)",
    ),
    (FailureKind.HASH_MISMATCH, "Hash Sum mismatch|File has unexpected size"),
    (FailureKind.FETCH_FAILED, "E: (?:Failed to fetch|Unable to fetch|The repository)"),
)
_CONFFILE = re.compile(r"end of file on stdin at conffile prompt")


def diagnose(exit_status: int, output: str) -> PackageFailure:
    """Why a command that ended with `exit_status` failed; `output` is its last output.

    It expects the C locale. Made for failures: an exit status of 0 gives kind OTHER.
    """
    holder = lock_holder(output)
    if holder is not None and "(13: Permission denied)" not in output:
        who = f"process {holder.pid}" if holder.pid else "another process"
        name = f" ({holder.command})" if holder.command else ""
        return PackageFailure(
            kind=FailureKind.LOCK_HELD, reason=f"lock {holder.path} held by {who}{name}"
        )
    for kind, sign in _SIGNS:
        if lines := sign.findall(output):
            # The summary after "E:" names the file, the report while it happens may not.
            line = next((line for line in lines if line.startswith("E: ")), lines[0])
            return PackageFailure(kind=kind, reason=_message(line), packages=_processed(output))
    if failure := _package_failure(output):
        return failure
    if "Unmet dependencies" in output or "unmet dependencies" in output:
        packages = tuple(dict.fromkeys(_UNMET.findall(output)))
        named = f": {', '.join(packages)}" if packages else ""
        return PackageFailure(
            kind=FailureKind.UNMET_DEPENDENCIES,
            reason=f"unmet dependencies{named}",
            packages=packages,
        )
    errors = _ERROR.findall(output)
    if exit_status > 128 and not errors:
        return PackageFailure(
            kind=FailureKind.KILLED, reason=f"killed by signal {exit_status - 128}"
        )
    last = errors[0] if errors else output.rstrip().rpartition("\n")[2]
    return PackageFailure(
        kind=FailureKind.OTHER, reason=_message(last) or f"it ended with exit status {exit_status}"
    )


def _package_failure(output: str) -> PackageFailure | None:
    """The first package that dpkg could not process, with the last message of its script."""
    match = _PROCESSING.search(output)
    if match is None:
        return None
    package, problem = package_name(match[1]), match[2]
    script = _SCRIPT.search(problem)
    packages = _processed(output)
    if script is None:
        conffile = _CONFFILE.search(problem) is not None
        return PackageFailure(
            kind=FailureKind.CONFFILE_PROMPT if conffile else FailureKind.OTHER,
            reason=_message(f"{package}: {problem}"),
            packages=packages,
        )
    which = _SCRIPT_NAMES.get(script[2], script[2])
    how = f"exit {script[3]}" if script[3] else f"killed: {script[4]}"
    said = output[: match.start()].rstrip().rpartition("\n")[2]
    message = f": {said}" if said and not said.startswith(_DPKG_CHATTER) else ""
    return PackageFailure(
        kind=FailureKind.SCRIPT_FAILED,
        reason=_message(f"{package}: {which} script failed ({how}){message}"),
        packages=packages,
    )


_DPKG_CHATTER = ("Setting up ", "Unpacking ", "Preparing to unpack ", "Removing ", "(Reading ")


def _processed(output: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(package_name(m[0]) for m in _PROCESSING.findall(output)))


def package_name(argument: str) -> str:
    """The package that dpkg names by itself or by its archive, "…/tb-simple_2.0-1_all.deb"."""
    return argument.rpartition("/")[2].partition("_")[0]


def _message(text: str) -> str:
    return one_line(text.removeprefix("E: ").removeprefix("W: "))
