"""What goes wrong on a host and ends an operation: each error with its reason, its facts and its words."""

from tendhost.server.domain.errors import TendhostError


class WorkError(TendhostError):
    """What ended an operation on a host.

    `needs_person` says that the host ends in FAILED even where nothing was changed on it, because
    every later try would end the same way until somebody has looked. `transient` says that the same
    step may well succeed a little later without anybody touching the host.
    """

    needs_person = False
    transient = False


class SshError(WorkError):
    """The way to the host does not work."""

    reason = "SSH_ERROR"

    def __init__(self, *, host: str, address: str, problem: str) -> None:
        self.host, self.address, self.problem = host, address, problem
        super().__init__(f"{host} ({address}): {problem}")


class Unreachable(SshError):
    """Nothing answers at the address: it does not resolve, refuses, or stays silent."""

    reason = "HOST_UNREACHABLE"
    transient = True


class LinkLost(SshError):
    """The connection broke while something ran over it."""

    reason = "LINK_LOST"
    transient = True


class AuthenticationRefused(SshError):
    """The host does not accept the key."""

    reason = "AUTHENTICATION_REFUSED"
    needs_person = True


class KeyUnusable(SshError):
    """The private key that the host's configuration names cannot be read or used."""

    reason = "KEY_UNUSABLE"
    needs_person = True


class HostKeyChanged(SshError):
    """The host shows another key than the one pinned at enrolment. Never accepted silently."""

    reason = "HOST_KEY_CHANGED"
    needs_person = True

    def __init__(self, *, host: str, address: str, pinned: str, shown: str) -> None:
        self.pinned, self.shown = pinned, shown
        super().__init__(
            host=host,
            address=address,
            problem=f"host key changed: pinned {pinned}, shown {shown or 'another'}",
        )


class PrivilegeMissing(WorkError):
    """The user is neither root nor allowed to use `sudo -n`."""

    reason = "PRIVILEGE_MISSING"

    def __init__(self, *, host: str, user: str, problem: str) -> None:
        self.host, self.user, self.problem = host, user, problem
        super().__init__(f"{host}: user {user!r} cannot become root with sudo -n: {problem}")


class WorkTimeout(WorkError):
    """Something took longer than it was given."""

    reason = "TIMEOUT"

    def __init__(self, *, host: str, what: str, seconds: float) -> None:
        self.host, self.what, self.seconds = host, what, seconds
        super().__init__(f"{host}: {what} did not end within {seconds:g} s")


class OutputTooLarge(WorkError):
    """A command on the host printed more than it may."""

    reason = "OUTPUT_TOO_LARGE"

    def __init__(self, *, host: str, limit: int) -> None:
        self.host, self.limit = host, limit
        super().__init__(f"{host}: a command printed more than {limit} bytes")


class PackageFailed(WorkError):
    """The package manager failed; the message holds its own words."""

    reason = "PACKAGE_ERROR"

    def __init__(self, *, host: str, problem: str, exit_status: int | None = None) -> None:
        self.host, self.problem, self.exit_status = host, problem, exit_status
        super().__init__(problem)


class PackageDatabaseBroken(PackageFailed):
    """The package database is damaged and could not be repaired."""

    reason = "PACKAGE_DATABASE_BROKEN"
    needs_person = True


class PackageManagerMissing(PackageFailed):
    """The host has no package manager that tendhost knows."""

    reason = "PACKAGE_MANAGER_MISSING"


class PackageManagerLocked(PackageFailed):
    """Another process holds the package manager's lock: transient, and not the host's fault."""

    reason = "PACKAGE_MANAGER_LOCKED"
    transient = True


class RefreshFailed(PackageFailed):
    """The package lists could not be refreshed."""

    reason = "REFRESH_FAILED"
    transient = True


class ArchiveUntrusted(RefreshFailed):
    """What an archive offers is not signed by a key that the host knows, or is out of date."""

    reason = "ARCHIVE_UNTRUSTED"
    transient = False


class DiskFull(PackageFailed):
    """Too little free space on the host."""

    reason = "DISK_FULL"


class InventoryFailed(WorkError):
    """What the host printed could not be understood."""

    reason = "INVENTORY_ERROR"

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: inventory failed: {problem}")


class PlanChanged(WorkError):
    """What is pending is not what was agreed to, and exactly that was to be done."""

    reason = "PLAN_CHANGED"

    def __init__(self, *, host: str, differences: str) -> None:
        self.host, self.differences = host, differences
        super().__init__(
            f"{host}: what is pending is not what was agreed to: {differences}; nothing was changed"
        )


class PlanConflict(WorkError):
    """The wanted updates cannot be had without changing what is excluded."""

    reason = "PLAN_CONFLICT"

    def __init__(self, *, host: str, packages: str) -> None:
        self.host, self.packages = host, packages
        super().__init__(
            f"{host}: the wanted updates would also change {packages}, which is excluded; nothing was"
            " changed"
        )


class SnapshotFailed(WorkError):
    """A snapshot is required before a change, and none could be made."""

    reason = "SNAPSHOT_FAILED"

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: no snapshot, so nothing was changed: {problem}")


class ComposeFailed(WorkError):
    """A compose project could not be updated."""

    reason = "COMPOSE_ERROR"
    needs_person = True

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: {problem}")


class ComposePutBack(ComposeFailed):
    """A compose project was not healthy with its new images, and runs the former ones again."""

    reason = "COMPOSE_PUT_BACK"


class HookFailed(WorkError):
    """A hook ended with an exit status that is not allowed, or did not end in its time.

    `exit_status` is empty where it has none, because it was ended; `output` is the last that it said.
    """

    reason = "HOOK_FAILED"

    def __init__(self, *, host: str, problem: str, exit_status: int | None, output: str) -> None:
        self.host, self.problem, self.exit_status, self.output = host, problem, exit_status, output
        said = f": {output}" if output else ""
        super().__init__(f"{host}: {self._which} {problem}{said}")

    _which = "the hook"


class PreHookFailed(HookFailed):
    """The hook before the change failed, so nothing was changed."""

    reason = "PRE_HOOK_FAILED"
    _which = "the hook before the change"


class PostHookFailed(HookFailed):
    """The hook after the change failed."""

    reason = "POST_HOOK_FAILED"
    needs_person = True
    _which = "the hook after the change"


class ServicesFailed(WorkError):
    """Services could not be restarted."""

    reason = "RESTART_FAILED"
    needs_person = True

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: services were not restarted: {problem}")


class RollbackFailed(WorkError):
    """The changes could not be taken back."""

    reason = "ROLLBACK_FAILED"
    needs_person = True

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: the changes could not be taken back: {problem}")


class NotPermitted(WorkError):
    """What was about to change the host may not begin: nothing of it was sent to the host."""


class WindowClosed(NotPermitted):
    """The host may not be changed now: none of its maintenance windows is open, or it is frozen."""

    reason = "WINDOW_CLOSED"

    def __init__(self, *, host: str, problem: str, opens: str) -> None:
        self.host, self.problem, self.opens = host, problem, opens
        super().__init__(f"{host}: {problem}")


class Interrupted(WorkError):
    """What changed the host was killed, or the host went down under it, before it had ended."""

    reason = "INTERRUPTED"
    needs_person = True

    def __init__(self, *, host: str, step: str, cause: str) -> None:
        self.host, self.step, self.cause = host, step, cause
        super().__init__(f"{host}: {step} was interrupted: {cause}")


class HostGone(WorkError):
    """The host has not answered for too long while a job ran on it; the job may well have ended.

    A retry goes back to that very job.
    """

    reason = "HOST_GONE"
    needs_person = True

    def __init__(self, *, host: str, step: str, seconds: float, problem: str) -> None:
        self.host, self.step, self.seconds, self.problem = host, step, seconds, problem
        super().__init__(
            f"{host}: gone for {seconds:g} s during {step}, whose end is not known: {problem}"
        )


class JobRefused(WorkError):
    """The host could not keep or begin a job: its own words."""

    reason = "JOB_REFUSED"
    needs_person = True

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: the job could not be carried out: {problem}")


class Superseded(WorkError):
    """Another server has taken the operation over on its host, so this one may not act on it."""

    reason = "SUPERSEDED"

    def __init__(self, *, host: str, epoch: int, recorded: str) -> None:
        self.host, self.epoch, self.recorded = host, epoch, recorded
        super().__init__(f"{host}: epoch {epoch} may not act any more, the host knows {recorded}")


class GivenUp(NotPermitted):
    """The operation was cancelled before what it was about to do had begun."""

    reason = "GIVEN_UP"

    def __init__(self, *, host: str) -> None:
        self.host = host
        super().__init__(f"{host}: cancelled before it began")


class DeadlineExceeded(NotPermitted):
    """The operation as a whole took longer than it was given; nothing more is changed."""

    reason = "DEADLINE_EXCEEDED"

    def __init__(self, *, host: str, seconds: float) -> None:
        self.host, self.seconds = host, seconds
        super().__init__(f"{host}: the operation was given {seconds:g} s, and they are over")


class RebootFailed(WorkError):
    """A reboot that did not do what a reboot does. `problem` says which way it went wrong."""

    reason = "REBOOT_FAILED"
    needs_person = True

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: {problem}")


class RebootRefused(RebootFailed):
    """The host refused the order to reboot, so it still runs as it did."""

    reason = "REBOOT_REFUSED"
    needs_person = False


class NeverReturned(RebootFailed):
    """The host did not come back from its reboot within the bound."""

    reason = "REBOOT_NEVER_RETURNED"


class RebootIgnored(RebootFailed):
    """The host took the order to reboot and went on as before: its link never dropped."""

    reason = "REBOOT_NEVER_BEGAN"


class SameBoot(RebootFailed):
    """The host was away and is back, with the boot id that it had before the reboot was ordered."""

    reason = "REBOOT_SAME_BOOT_ID"


class Unhealthy(WorkError):
    """The host does not pass its checks."""

    reason = "UNHEALTHY"
    needs_person = True

    def __init__(self, *, host: str, problem: str) -> None:
        self.host, self.problem = host, problem
        super().__init__(f"{host}: unhealthy: {problem}")


class Restored(WorkError):
    """The operation was unfinished in the copy that the database was restored from.

    Whether it has ended since is not known. `copied_at` is in ISO 8601.
    """

    reason = "DATABASE_RESTORED"

    def __init__(self, *, host: str, copied_at: str) -> None:
        self.host, self.copied_at = host, copied_at
        super().__init__(
            f"the database was restored from a copy of {copied_at}; what became of this operation"
            " since is not known, and it is not run again by itself"
        )


class Unexpected(WorkError):
    """A fault of tendhost itself; the server's log has the rest."""

    reason = "UNEXPECTED"
    needs_person = True

    def __init__(self, *, host: str, step: str) -> None:
        self.host, self.step = host, step
        super().__init__(f"{host}: an unexpected fault in {step!r}; see the server's log")


class BookkeepingFailed(WorkError):
    """What an operation came to could not be put on record, however often it was taken up again."""

    reason = "BOOKKEEPING_FAILED"
    needs_person = True

    def __init__(self, *, host: str, step: str, attempts: int) -> None:
        self.host, self.step, self.attempts = host, step, attempts
        super().__init__(
            f"{host}: the server failed {attempts} times to put step {step!r} on record (its log says"
            f" why); look at the host, then retry it: tendhost retry {host}"
        )
