"""What goes wrong on a host and ends an operation: each error with its reason, its facts and its words."""

from tendhost.server.domain.errors import TendhostError


class HostError(TendhostError):
    """What ended an operation on a host.

    `needs_person` says that the host ends in FAILED even where nothing was changed on it, because
    every later try would end the same way until somebody has looked. `transient` says that the same
    step may well succeed a little later without anybody touching the host.
    """

    needs_person = False
    transient = False


class SshError(HostError):
    """The way to the host does not work."""

    def __init__(self, *, host: str, address: str, problem: str) -> None:
        self.host, self.address, self.problem = host, address, problem
        super().__init__(f"{host} ({address}): {problem}")


class HostUnreachable(SshError):
    """Nothing answers at the address: it does not resolve, refuses, or stays silent."""

    transient = True


class LinkLost(SshError):
    """The connection broke while something ran over it."""

    transient = True


class AuthenticationRefused(SshError):
    """The host does not accept the key."""

    needs_person = True


class KeyUnusable(SshError):
    """The private key that the host's configuration names cannot be read or used."""

    needs_person = True


class HostKeyChanged(SshError):
    """The host shows another key than the one pinned at enrolment. Never accepted silently."""

    needs_person = True

    def __init__(self, *, host: str, address: str, pinned: str, shown: str) -> None:
        self.pinned, self.shown = pinned, shown
        super().__init__(
            host=host,
            address=address,
            problem=f"host key changed: pinned {pinned}, shown {shown or 'another'}",
        )


class PrivilegeMissing(HostError):
    """The user is neither root nor allowed to use `sudo -n`."""

    def __init__(self, *, host: str, user: str, problem: str) -> None:
        self.host, self.user, self.problem = host, user, problem
        super().__init__(f"{host}: user {user!r} cannot become root with sudo -n: {problem}")


class Timeout(HostError):
    """Something took longer than it was given."""

    def __init__(self, *, host: str, what: str, seconds: float) -> None:
        self.host, self.what, self.seconds = host, what, seconds
        super().__init__(f"{host}: {what} did not end within {seconds:g} s")


class OutputTooLarge(HostError):
    """A command on the host printed more than it may."""

    def __init__(self, *, host: str, limit: int) -> None:
        self.host, self.limit = host, limit
        super().__init__(f"{host}: a command printed more than {limit} bytes")


class PackageFailed(HostError):
    """The package manager failed; the message holds its own words."""

    def __init__(self, *, host: str, problem: str, exit_status: int | None = None) -> None:
        self.host, self.problem, self.exit_status = host, problem, exit_status
        super().__init__(problem)


class PackageDatabaseBroken(PackageFailed):
    """The package database is damaged and could not be repaired."""

    needs_person = True


class PackageManagerMissing(PackageFailed):
    """The host has no package manager that tendhost knows."""


class PackageManagerLocked(PackageFailed):
    """Another process holds the package manager's lock: transient, and not the host's fault."""

    transient = True


class RefreshFailed(PackageFailed):
    """The package lists could not be refreshed."""

    transient = True


class ArchiveUntrusted(RefreshFailed):
    """What an archive offers is not signed by a key that the host knows, or is out of date."""

    transient = False


class DiskFull(PackageFailed):
    """Too little free space on the host."""


class InventoryFailed(HostError):
    """What the host printed could not be understood."""

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: inventory failed: {problem}")


class PlanChanged(HostError):
    """What is pending is not what was agreed to, and exactly that was to be done."""

    def __init__(self, *, host: str, differences: str) -> None:
        self.host, self.differences = host, differences
        super().__init__(
            f"{host}: what is pending is not what was agreed to: {differences}; nothing was changed"
        )


class PlanConflict(HostError):
    """The wanted updates cannot be had without changing what is excluded."""

    def __init__(self, *, host: str, packages: str) -> None:
        self.host, self.packages = host, packages
        super().__init__(
            f"{host}: the wanted updates would also change {packages}, which is excluded; nothing was"
            " changed"
        )


class SnapshotFailed(HostError):
    """A snapshot is required before a change, and none could be made."""

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: no snapshot, so nothing was changed: {problem}")


class ComposeFailed(HostError):
    """A compose project could not be updated."""

    needs_person = True

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: {problem}")


class ComposeRolledBack(ComposeFailed):
    """A compose project was not healthy with its new images, and runs the former ones again."""


class HookFailed(HostError):
    """A hook ended with an exit status that is not allowed, or did not end in its time.

    `exit_status` is empty where it has none, because it was ended; `output` is the last that it said.
    """

    def __init__(self, *, host: str, problem: str, exit_status: int | None, output: str) -> None:
        self.host, self.problem, self.exit_status, self.output = host, problem, exit_status, output
        said = f": {output}" if output else ""
        super().__init__(f"{host}: {self._which} {problem}{said}")

    _which = "the hook"


class PreHookFailed(HookFailed):
    """The hook before the change failed, so nothing was changed."""

    _which = "the hook before the change"


class PostHookFailed(HookFailed):
    """The hook after the change failed."""

    needs_person = True
    _which = "the hook after the change"


class RestartFailed(HostError):
    """Services could not be restarted."""

    needs_person = True

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: services were not restarted: {problem}")


class RollbackFailed(HostError):
    """The changes could not be taken back."""

    needs_person = True

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: the changes could not be taken back: {problem}")


class NotPermitted(HostError):
    """What was about to change the host may not begin: nothing of it was sent to the host."""


class WindowClosed(NotPermitted):
    """The host may not be changed now: none of its maintenance windows is open, or it is frozen."""

    def __init__(self, *, host: str, problem: str, opens: str) -> None:
        self.host, self.problem, self.opens = host, problem, opens
        super().__init__(f"{host}: {problem}")


class Interrupted(HostError):
    """What changed the host was killed, or the host went down under it, before it had ended."""

    needs_person = True

    def __init__(self, *, host: str, step: str, cause: str) -> None:
        self.host, self.step, self.cause = host, step, cause
        super().__init__(f"{host}: {step} was interrupted: {cause}")


class HostGone(HostError):
    """The host has not answered for too long while a job ran on it; the job may well have ended.

    A retry goes back to that very job.
    """

    needs_person = True

    def __init__(self, *, host: str, step: str, seconds: float, problem: str) -> None:
        self.host, self.step, self.seconds, self.problem = host, step, seconds, problem
        super().__init__(
            f"{host}: gone for {seconds:g} s during {step}, whose end is not known: {problem}"
        )


class JobRefused(HostError):
    """The host could not keep or begin a job: its own words."""

    needs_person = True

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: the job could not be carried out: {problem}")


class Superseded(HostError):
    """Another server has taken the operation over on its host, so this one may not act on it."""

    def __init__(self, *, host: str, epoch: int, recorded: str) -> None:
        self.host, self.epoch, self.recorded = host, epoch, recorded
        super().__init__(f"{host}: epoch {epoch} may not act any more, the host knows {recorded}")


class Cancelled(NotPermitted):
    """The operation was cancelled before what it was about to do had begun."""

    def __init__(self, *, host: str) -> None:
        self.host = host
        super().__init__(f"{host}: cancelled before it began")


class DeadlineExceeded(NotPermitted):
    """The operation as a whole took longer than it was given; nothing more is changed."""

    def __init__(self, *, host: str, seconds: float) -> None:
        self.host, self.seconds = host, seconds
        super().__init__(f"{host}: the operation was given {seconds:g} s, and they are over")


class RebootFailed(HostError):
    """A reboot that did not do what a reboot does. `problem` says which way it went wrong."""

    needs_person = True

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: {problem}")


class RebootRefused(RebootFailed):
    """The host refused the order to reboot, so it still runs as it did."""

    needs_person = False


class RebootNeverReturned(RebootFailed):
    """The host did not come back from its reboot within the bound."""


class RebootNeverBegan(RebootFailed):
    """The host took the order to reboot and went on as before: its link never dropped."""


class RebootSameBootId(RebootFailed):
    """The host was away and is back, with the boot id that it had before the reboot was ordered."""


class Unhealthy(HostError):
    """The host does not pass its checks."""

    needs_person = True

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: unhealthy: {problem}")


class DatabaseRestored(HostError):
    """The operation was unfinished in the copy that the database was restored from.

    Whether it has ended since is not known. `copied_at` is in ISO 8601.
    """

    def __init__(self, *, host: str, copied_at: str) -> None:
        self.host, self.copied_at = host, copied_at
        super().__init__(
            f"the database was restored from a copy of {copied_at}; what became of this operation"
            " since is not known, and it is not run again by itself"
        )


class Unexpected(HostError):
    """A fault of tendhost itself; the server's log has the rest."""

    needs_person = True

    def __init__(self, *, host: str, step: str) -> None:
        self.host, self.step = host, step
        super().__init__(f"{host}: an unexpected fault in {step!r}; see the server's log")


class BookkeepingFailed(HostError):
    """What an operation came to could not be put on record, however often it was taken up again."""

    needs_person = True

    def __init__(self, *, host: str, step: str, attempts: int) -> None:
        self.host, self.step, self.attempts = host, step, attempts
        super().__init__(
            f"{host}: the server failed {attempts} times to put step {step!r} on record (its log says"
            f" why); look at the host, then retry it: tendhost retry {host}"
        )
