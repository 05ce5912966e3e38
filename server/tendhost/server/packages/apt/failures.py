"""Why apt or dpkg failed (a lock that is held, a full disk, a script), from its exit status and its last output.

What apt and dpkg print stands between what maintainer scripts and hooks print, who may run apt and dpkg
themselves. So words count only where nobody else's can be:

* before dpkg changes the first package, all of the output is apt's, but for that of a hook that fails;
* from then on, dpkg's are the messages about those packages that the status channel (`pmerror`) or dpkg's
  closing list ("Errors were encountered while processing:") names, and apt's are the errors at the very end.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tendhost.server.packages.failures import (
    FailureKind,
    LockHolder,
    PackageFailure,
    killed_by_signal,
    line_signs,
    one_line,
)
from tendhost.server.packages.progress import TransactionProgress

_HELD = re.compile(r"Could not get lock (\S+?)\.? It is held by process (\d+) \(([^)\n]*)\)")
_BUSY = re.compile(r"(?:Could not get lock|Unable to lock directory) (\S+)")
# dpkg: error: dpkg frontend lock was locked by another process with pid 75
# dpkg: error: dpkg database lock was locked by /usr/bin/perl process with pid 78      (since 1.22)
_DPKG_HELD = re.compile(r"lock was locked by (?:another|(\S+)) process with pid (\d{1,10})")


def lock_holder(output: str) -> LockHolder | None:
    """The lock that apt or dpkg could not get, or None. The words must be apt's or dpkg's own."""
    if match := _HELD.search(output):
        return LockHolder(path=match[1], pid=int(match[2][:10]), command=match[3])
    if match := _BUSY.search(output):
        return LockHolder(path=match[1].rstrip("."))
    if match := _DPKG_HELD.search(output):
        command = (match[1] or "").rpartition("/")[2]
        return LockHolder(path="/var/lib/dpkg/lock", pid=int(match[2]), command=command)
    return None


# dpkg: error processing package tb-failing (--configure):
#  installed tb-failing package post-installation script subprocess returned error exit status 1
_PROCESSING = re.compile(
    r"(?:^|\? )dpkg: error processing (?:package|archive) (\S+) \(--[a-z-]+\):\n (.*)$",
    re.MULTILINE,
)
_SCRIPT = re.compile(
    r"(?:installed|new|old) (\S+) package ([a-z-]+) script subprocess"
    r" (?:(?:returned error|failed with) exit (?:status|code) (\d+)|was killed by signal \(([^)]*)\))"
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
_ERROR = re.compile(r"^(?:E: |Error: |dpkg: error: )(.*)$", re.MULTILINE)


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
    (FailureKind.HASH_MISMATCH, "Hash Sum mismatch|File has unexpected size"),
    (FailureKind.FETCH_FAILED, "E: (?:Failed to fetch|Unable to fetch|The repository)"),
)
_CONFFILE = re.compile(r"end of file on stdin at conffile prompt")

# What dpkg prints when it begins with the packages, in any of its runs.
_BEGAN = re.compile(
    r"^\(Reading database |dpkg: error processing |^Preparing to unpack \S+ \.\.\.$"
    r"|^(?:Unpacking|Setting up|Removing|Processing triggers for) \S+ \([^)\n]*\)",
    re.MULTILINE,
)
_DPKG_DIED = re.compile(
    r"^(?:E|Error): (Sub-process \S*dpkg (?:received .*|exited unexpectedly.*))$", re.MULTILINE
)
_DPKG_ENDED = re.compile(
    r"^(?:E|Error): Sub-process \S*dpkg returned an error code \((\d+)\)", re.M
)
# E: Problem executing scripts DPkg::Post-Invoke 'apt-get install -y tb-simple'
# E: Failure running script /usr/sbin/apt-listbugs apt
_HOOK = re.compile(
    r"^(?:E|Error): (?:Problem executing scripts (?P<event>\S+) '(?P<command>.*)'"
    r"|Failure running script (?P<script>.*))$",
    re.MULTILINE,
)
# dpkg: unrecoverable fatal error, aborting:
#  unable to flush /var/lib/dpkg/updates/tmp.i after padding: No space left on device
_FATAL = re.compile(
    r"^dpkg: (?:error: |unrecoverable fatal error, aborting:\n )(?P<message>.*)$", re.MULTILINE
)


def diagnose(
    exit_status: int, output: str, errors: Sequence[TransactionProgress] = ()
) -> PackageFailure:
    """Why a command that ended with `exit_status` failed; `output` is its last output.

    `errors`: what it reported as such on its status channel, as far as they were read. It expects the
    C locale. Made for failures: an exit status of 0 gives kind OTHER.
    """
    if killed := killed_by_signal(exit_status):
        return killed
    closing = closing_errors(output)
    if died := _DPKG_DIED.search(closing):
        return PackageFailure(kind=FailureKind.KILLED, reason=_message(died[1]), began=True)
    began = bool(errors) or _BEGAN.search(output) is not None
    if began or _DPKG_ENDED.search(closing):
        failure = (
            _package_failure(output, _failed_packages(output, closing, errors))
            or _fatal_error(output, closing)
            or hook_failure(output)
            or _last_words(exit_status, closing or output)
        )
        return replace(failure, began=began)
    return hook_failure(output) or _before_changes(exit_status, output)


def hook_failure(output: str) -> PackageFailure | None:
    """The hook of apt's configuration that failed, or None; what it printed is its own, and not looked at."""
    match = _HOOK.search(closing_errors(output))
    if match is None:
        return None
    name = f"hook {match['event']}" if match["event"] else "hook DPkg::Pre-Install-Pkgs"
    command = match["command"] or match["script"]
    return PackageFailure(
        kind=FailureKind.HOOK_FAILED, reason=_message(f"apt's {name} failed: {command}")
    )


def _before_changes(exit_status: int, output: str) -> PackageFailure:
    """Why a command failed before it changed a package; all of `output` is apt's or dpkg's."""
    holder = lock_holder(output)
    if holder is not None and "(13: Permission denied)" not in output:
        return _lock_held(holder)
    for kind, sign in _SIGNS:
        if lines := sign.findall(output):
            # The summary after "E:" names the file, the report while it happens may not.
            line = next((line for line in lines if line.startswith("E: ")), lines[0])
            return PackageFailure(kind=kind, reason=_message(line))
    if "Unmet dependencies" in output or "unmet dependencies" in output:
        packages = tuple(dict.fromkeys(_UNMET.findall(output)))
        named = f": {', '.join(packages)}" if packages else ""
        return PackageFailure(
            kind=FailureKind.UNMET_DEPENDENCIES,
            reason=f"unmet dependencies{named}",
            packages=packages,
        )
    return _last_words(exit_status, output)


def _lock_held(holder: LockHolder) -> PackageFailure:
    who = f"process {holder.pid}" if holder.pid else "another process"
    name = f" ({holder.command})" if holder.command else ""
    return PackageFailure(
        kind=FailureKind.LOCK_HELD, reason=f"lock {holder.path} held by {who}{name}"
    )


def _last_words(exit_status: int, output: str) -> PackageFailure:
    messages = _ERROR.findall(output)
    last = messages[0] if messages else output.rstrip().rpartition("\n")[2]
    return PackageFailure(
        kind=FailureKind.OTHER, reason=_message(last) or f"it ended with exit status {exit_status}"
    )


_CLOSING_LINE = re.compile(r"(?:[EWN]|Error|Warning|Notice): ")


def closing_errors(output: str) -> str:
    """The errors and warnings with which apt ends, after all that others print; empty where there are none."""
    lines = output.rstrip().split("\n")
    first = len(lines)
    for at in range(len(lines) - 1, -1, -1):
        if _CLOSING_LINE.match(lines[at]):
            first = at
        elif not lines[at].startswith(" "):  # the further lines of a message are indented
            break
    return "\n".join(lines[first:])


# --- dpkg's own messages --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _FailedPackage:
    name: str
    problem: str
    """What dpkg says of it, on one line."""


_CLOSING_LIST = "Errors were encountered while processing:\n"


def _failed_packages(
    output: str, closing: str, errors: Sequence[TransactionProgress]
) -> tuple[_FailedPackage, ...]:
    """The packages that dpkg could not process, in order: by the status channel, else by its closing list."""
    if errors:
        return tuple(_FailedPackage(name=error.package, problem=error.text) for error in errors)
    ended = _DPKG_ENDED.search(closing)
    if closing and (ended is None or ended[1] != "1"):
        return ()  # dpkg did not come to its list, so that one in the output is another's
    problems = {match[1]: match[2] for match in _PROCESSING.finditer(output)}
    listed = output.rpartition(_CLOSING_LIST)
    # Without its list the output was cut off, and all that is left of it counts.
    entries = _indented(listed[2]) if listed[1] else tuple(problems)
    return tuple(
        _FailedPackage(
            name=package_name(entry), problem=problems.get(entry, "dpkg could not process it")
        )
        for entry in entries
    )


def _indented(text: str) -> tuple[str, ...]:
    """The indented lines with which the text begins, without their indentation."""
    lines = itertools.takewhile(lambda line: line.startswith(" "), text.split("\n"))
    return tuple(line.strip() for line in lines)


def _package_failure(output: str, failed: tuple[_FailedPackage, ...]) -> PackageFailure | None:
    """The failure of the first of these packages, with the last message of its script; None without any."""
    if not failed:
        return None
    first = failed[0]
    packages = tuple(dict.fromkeys(package.name for package in failed))
    script = _SCRIPT.search(first.problem)
    if script is None:
        kind = FailureKind.OTHER
        if _CONFFILE.search(first.problem):
            kind = FailureKind.CONFFILE_PROMPT
        elif "No space left on device" in first.problem:
            kind = FailureKind.DISK_FULL
        reason = _message(f"{first.name}: {first.problem}")
        return PackageFailure(kind=kind, reason=reason, packages=packages)
    which = _SCRIPT_NAMES.get(script[2], script[2])
    how = f"exit {script[3]}" if script[3] else f"killed: {script[4]}"
    said = _said_before(output, first)
    message = f": {said}" if said else ""
    return PackageFailure(
        kind=FailureKind.SCRIPT_FAILED,
        reason=_message(f"{first.name}: {which} script failed ({how}){message}"),
        packages=packages,
    )


_DPKG_CHATTER = (
    *("Setting up ", "Unpacking ", "Preparing to unpack ", "Removing ", "(Reading ", "Selecting "),
    *("Processing triggers for ", "Purging configuration files for ", " ==> ", "dpkg: "),
)


def _said_before(output: str, failed: _FailedPackage) -> str:
    """The last line that a script printed before dpkg's message about its failure; empty: it said nothing."""
    ends = [m.start() for m in _PROCESSING.finditer(output) if package_name(m[1]) == failed.name]
    if not ends:
        return ""
    said = output[: ends[-1]].rstrip().rpartition("\n")[2]
    return "" if said.startswith(_DPKG_CHATTER) else said


def _fatal_error(output: str, closing: str) -> PackageFailure | None:
    """Why dpkg gave up altogether, or None: its exit status is 2 then, and its message the last of its kind."""
    ended = _DPKG_ENDED.search(closing)
    if closing and (ended is None or ended[1] != "2"):
        return None
    messages = list(_FATAL.finditer(output))
    if not messages:
        return None
    message = messages[-1]["message"]
    if holder := lock_holder(message):
        return _lock_held(holder)
    full = "No space left on device" in message
    kind = FailureKind.DISK_FULL if full else FailureKind.OTHER
    return PackageFailure(kind=kind, reason=_message(message))


_NUMBERED = re.compile(r"apt-dpkg-install-[^/]*/\d+-")


def package_name(argument: str) -> str:
    """The package that dpkg names by itself or by its archive, "…/tb-simple_2.0-1_all.deb".

    apt numbers the archives that it has dpkg unpack together: "/tmp/apt-dpkg-install-2V5q3b/09-lib-7_2.0_all.deb".
    """
    argument = _NUMBERED.sub("/", argument)
    return argument.rpartition("/")[2].partition("_")[0]


def _message(text: str) -> str:
    return one_line(text.removeprefix("E: ").removeprefix("W: "))
