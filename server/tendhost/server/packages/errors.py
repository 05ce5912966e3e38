"""What can be wrong with a host's packages: found in the output of its commands, as a value or raised.

`engine/steps/package_errors.py` makes of each the error that ends an operation.
"""

from tendhost.server.domain.errors import StructuredError


class PackageError(StructuredError):
    """The root of this package's errors. `text` is what the host's command printed, or says what is wrong."""


class NoPackageManager(PackageError):
    """The host has no package manager that tendhost supports; `found` are those that it has."""

    os_name: str
    found: tuple[str, ...] = ()

    def message(self) -> str:
        system = self.os_name or "unknown system"
        has = ", ".join(self.found) or "none"
        return f"no supported package manager ({system}); found: {has}"


class ImmutableSystem(PackageError):
    """The packages of the host are not updated one by one; `instead` is how the system is updated."""

    why: str
    instead: str
    template = "packages cannot be updated: {why}; instead: {instead}"


class NotPrivileged(PackageError):
    """The user is neither root nor allowed to use `sudo -n`; `text` is sudo's."""

    user: str
    text: str
    template = "user {user!r} cannot become root with sudo -n: {text}"


class DatabaseBroken(PackageError):
    """A transaction was interrupted, packages are half installed, or dependencies are unmet.

    `repairable`: the package manager's repair command is expected to fix it.
    """

    text: str
    packages: tuple[str, ...] = ()
    repairable: bool

    def message(self) -> str:
        return f"{self.text}: {', '.join(self.packages)}" if self.packages else self.text


class NotRefreshed(PackageError):
    """The package lists could not be refreshed; `sources` are the addresses that failed.

    `lasting`: a later refresh fails in the same way until somebody changes the host or the archive.
    `fetched`: all lists were fetched, and only what the host runs afterwards failed. `has_lists`: the host is
    known to have lists all the same, older ones where it did not fetch them.
    """

    sources: tuple[str, ...]
    text: str
    lasting: bool = False
    fetched: bool = False
    has_lists: bool = False

    def message(self) -> str:
        if self.fetched:
            return f"the package lists were downloaded, but {self.text}"
        which = f" from {', '.join(self.sources)}" if self.sources else ""
        kept = "; the lists that the host had are still there" if self.has_lists else ""
        return f"the package lists could not be refreshed{which}: {self.text}{kept}"


class SourceUntrusted(NotRefreshed):
    """The lists of an archive are not signed by a key that the host knows, or have expired."""


class LockHeld(PackageError):
    """Another process holds a lock of the package manager. `pid` is 0 where it is unknown."""

    path: str
    pid: int
    command: str

    def message(self) -> str:
        holder = f"process {self.pid} ({self.command})" if self.pid else "another process"
        return f"{holder} holds {self.path}"


class NoSpaceLeft(PackageError):
    """The host has too little free disk space; `text` is the package manager's."""

    text: str
    template = "{text}"


class PackageCommandFailed(PackageError):
    """A command failed for a reason that has no error of its own."""

    command: str
    exit_status: int
    text: str

    def message(self) -> str:
        return f"{self.command} failed (exit {self.exit_status}): {self.text or 'no error output'}"


class ParseFailed(PackageError):
    """A line that a host printed cannot be parsed; `part` is the part of the script that printed it."""

    part: str
    line: str
    template = "the part {part!r} has a line that cannot be parsed: {line!r}"

    def __post_init__(self) -> None:
        self.line = self.line[:200]
        super().__post_init__()


class PartMissing(ParseFailed):
    """The output of a script ends before the part, or within it."""

    line: str = ""
    template = "the output ends without the part {part!r}"
