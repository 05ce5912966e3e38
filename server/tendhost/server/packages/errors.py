"""What can go wrong with a host's packages, as errors that carry facts and word themselves."""


class PackageError(Exception):
    """The root of this package's errors.

    `transient` says that the same work may well succeed later without anybody touching the host.
    """

    transient = False


class NoPackageManager(PackageError):
    """The host has no package manager that tendhost can drive."""

    def __init__(self, *, os_name: str, found: tuple[str, ...] = ()) -> None:
        self.os_name, self.found = os_name, found
        has = f"it has {', '.join(found)}, which tendhost cannot drive" if found else "it has none"
        system = os_name or "unknown system"
        super().__init__(f"no package manager that tendhost knows ({system}): {has}")


class NotPrivileged(PackageError):
    """The user is neither root nor allowed to use `sudo -n`; `words` are sudo's."""

    def __init__(self, *, user: str, words: str) -> None:
        self.user, self.words = user, words
        super().__init__(f"user {user!r} cannot become root with sudo -n: {words}")


class PackageDatabaseBroken(PackageError):
    """dpkg was interrupted, packages are half installed, or dependencies are unmet.

    `repairable` says that `dpkg --configure -a` is expected to mend it.
    """

    def __init__(self, *, words: str, packages: tuple[str, ...] = (), repairable: bool) -> None:
        self.words, self.packages, self.repairable = words, packages, repairable
        named = f": {', '.join(packages)}" if packages else ""
        super().__init__(f"{words}{named}")


class RefreshFailed(PackageError):
    """The package lists could not be refreshed; `sources` are the addresses that failed."""

    transient = True

    def __init__(self, *, sources: tuple[str, ...], words: str) -> None:
        self.sources, self.words = sources, words
        which = f" from {', '.join(sources)}" if sources else ""
        super().__init__(f"the package lists could not be refreshed{which}: {words}")


class ArchiveUntrusted(RefreshFailed):
    """The archive answered, and what it offers is not signed by a known key, or is out of date."""

    transient = False


class LockHeld(PackageError):
    """Another process holds a lock of the package manager. `pid` is 0 where it is not known."""

    transient = True

    def __init__(self, *, path: str, pid: int, command: str) -> None:
        self.path, self.pid, self.command = path, pid, command
        holder = f"process {pid} ({command})" if pid else "another process"
        super().__init__(f"{holder} holds {path}")


class DiskFull(PackageError):
    """The host has too little free space; `words` are the package manager's."""

    def __init__(self, *, words: str) -> None:
        self.words = words
        super().__init__(words)


class PackageCommandFailed(PackageError):
    """The package manager refused for a reason that has no error of its own."""

    def __init__(self, *, command: str, exit_status: int, words: str) -> None:
        self.command, self.exit_status, self.words = command, exit_status, words
        super().__init__(f"{command} failed (exit {exit_status}): {words or 'it said nothing'}")


class ParseFailed(PackageError):
    """A host printed something that cannot be understood: which part of the script, which line."""

    def __init__(self, *, part: str, line: str) -> None:
        self.part, self.line = part, line[:200]
        super().__init__(f"the part {part!r} has a line that cannot be understood: {self.line!r}")


class PartMissing(ParseFailed):
    """The output of a script ends before the part, or within it."""

    def __init__(self, *, part: str) -> None:
        super().__init__(part=part, line="")
        self.args = (f"the output ends without the part {part!r}",)
