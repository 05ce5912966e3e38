"""What fails on a host and ends an operation: each error with its reason, its facts and its message."""

from dataclasses import field
from typing import ClassVar

from tendhost.server.domain.errors import TendhostError


class HostError(TendhostError):
    """What ended an operation on a host.

    `needs_person`: the host ends in FAILED even where nothing was changed on it, because every later try would
    fail in the same way until a person acts. `transient`: the same step may succeed a little later without
    anybody touching the host.
    """

    needs_person: ClassVar[bool] = False
    transient: ClassVar[bool] = False

    host: str

    @property
    def may_pass(self) -> bool:
        """Whether this error may pass by itself: a transient one may, unless it is known to last."""
        return self.transient


class SshError(HostError):
    """The SSH connection to the host fails."""

    address: str
    problem: str
    template = "{host} ({address}): {problem}"


class HostUnreachable(SshError):
    """The address does not resolve, refuses the connection, or does not answer."""

    transient = True


class LinkLost(SshError):
    """The connection broke while a command ran over it."""

    transient = True


class ChannelRefused(SshError):
    """The host is connected, and opens no channel for a command, although no other command runs over the connection."""

    transient = True


class AuthenticationRefused(SshError):
    """The host does not accept the key."""

    needs_person = True
    template = (
        "{host} ({address}): {problem}; to use another key or user: tendhost host set {host} --ssh-key PATH"
        " --user USER"
    )


class SecondFactorWanted(AuthenticationRefused):
    """The host accepts the key, and wants a second factor that only a person can give."""

    user: str
    template = (
        "{host} ({address}): {problem}; let this user log in with the key alone (Match User {user},"
        " AuthenticationMethods publickey, in the host's sshd_config), or use another user: tendhost host set {host}"
        " --user USER"
    )


class KeyUnusable(SshError):
    """The private key that the host's configuration names cannot be read or used."""

    needs_person = True
    template = "{host} ({address}): {problem}; use a key file on the server: tendhost host set {host} --ssh-key PATH"


class HostKeyChanged(SshError):
    """The host shows a host key that differs from the pinned one. It is never accepted automatically."""

    needs_person = True

    problem: str = field(init=False)
    pinned: str
    shown: str
    template = (
        "{host} ({address}): {problem}; if the host was reinstalled, pin its new key: tendhost host set {host}"
        " --accept-new-host-key"
    )

    def __post_init__(self) -> None:
        self.problem = f"host key changed: pinned {self.pinned}, shown {self.shown or 'another'}"
        super().__post_init__()


class JumpFailed(SshError):
    """The host cannot be reached through its jump until a person acts, and nothing was sent to the host.

    The jump refuses the login, shows another host key, does not forward connections, is not registered, or leads back
    to the host. `jump` is the jump at which it failed. A jump that is only down leads to HOST_UNREACHABLE.
    """

    needs_person = True

    jump: str
    template = "{host} ({address}): not reached, because of jump {jump}: {problem}"


class HostCertificateRefused(SshError):
    """The host shows no certificate of its host authority that is valid now and names the host."""

    needs_person = True
    template = (
        "{host} ({address}): {problem}; sign its host key again (ssh-keygen -s CA -h -n NAMES), or pin its key:"
        " tendhost host set {host} --repin --host-key KEY"
    )


class PrivilegeMissing(HostError):
    """The user is neither root nor allowed to use `sudo -n`."""

    user: str
    problem: str
    template = (
        "{host}: user '{user}' cannot become root with sudo -n: {problem}; install the sudoers file that tendhost host"
        " sudoers {host} prints, or use another user: tendhost host set {host} --user USER"
    )


class ShellUnusable(HostError):
    """The login works, but does not run commands: no shell, a forced command, a menu, an expired password.

    `problem` has the words of the host and its exit status.
    """

    needs_person = True

    user: str
    problem: str
    template = (
        "{host}: a login as '{user}' does not run commands: {problem}; give the user a login shell, no forced command"
        " and a valid password, or use another user: tendhost host set {host} --user USER"
    )


LOGIN_ERRORS = frozenset(
    error.reason
    for error in (
        SshError,
        HostUnreachable,
        LinkLost,
        ChannelRefused,
        ShellUnusable,
        AuthenticationRefused,
        SecondFactorWanted,
        KeyUnusable,
        HostKeyChanged,
        JumpFailed,
        HostCertificateRefused,
    )
)
"""Reasons of errors with which nothing can be run on a host."""


class Timeout(HostError):
    """A command or job exceeded its time limit."""

    what: str
    seconds: float
    template = "{host}: {what} did not end within {seconds} s"


class OutputTooLarge(HostError):
    """A command on the host printed more than its limit."""

    limit: int
    template = "{host}: a command printed more than {limit} bytes"


class PackageFailed(HostError):
    """The package manager failed; the message is its own."""

    problem: str
    exit_status: int | None = None
    template = "{problem}"


class PackageDatabaseBroken(PackageFailed):
    """The package database is damaged and could not be repaired."""

    needs_person = True


class PackageManagerMissing(PackageFailed):
    """The host has no package manager that tendhost supports."""


class SystemImmutable(HostError):
    """The packages of the host are part of an image, or of a root that is read-only or volatile."""

    why: str
    instead: str
    template = "{host}: packages cannot be updated: {why}; instead: {instead}"


class PackageManagerLocked(PackageFailed):
    """Another process on the host holds the package manager's lock."""

    transient = True


class RefreshFailed(PackageFailed):
    """The package lists could not be refreshed.

    `lasting`: not for the network or the archive of the moment; a later try fails in the same way until somebody
    changes the host or the archive.
    """

    transient = True

    lasting: bool = False

    @property
    def may_pass(self) -> bool:
        """See HostError."""
        return self.transient and not self.lasting


class ArchiveUntrusted(RefreshFailed):
    """The lists of an archive are not signed by a key that the host knows, or have expired."""

    transient = False


class DiskFull(PackageFailed):
    """The host has too little free disk space."""


class InventoryFailed(HostError):
    """The output of a command on the host could not be parsed."""

    problem: str
    template = "{host}: inventory failed: {problem}"


class PlanChanged(HostError):
    """The pending updates differ from the approved plan, and only that plan may be applied."""

    differences: str
    template = "{host}: the pending updates differ from the approved plan: {differences}; nothing was changed"


class UpdateIncomplete(HostError):
    """The package manager reported success, and a part of the planned changes did not happen."""

    undone: int
    planned: int
    changes: str
    template = (
        "{host}: the package manager reported success, but {undone} of {planned} planned changes did not happen:"
        " {changes}; see the operation's log, and try again with tendhost retry {host}"
    )


class PlanConflict(HostError):
    """The update would also change packages that are excluded."""

    packages: str
    template = (
        "{host}: the update would also change {packages}, which is excluded; nothing was changed"
    )


class SnapshotFailed(HostError):
    """A snapshot is required before a change and could not be made."""

    problem: str
    template = "{host}: no snapshot could be made, so nothing was changed: {problem}"


class ComposeFailed(HostError):
    """A compose project could not be updated."""

    needs_person = True

    problem: str
    template = "{host}: {problem}"


class ComposeRolledBack(ComposeFailed):
    """A compose project was unhealthy with its new images and runs its former images again."""


class HookFailed(HostError):
    """A hook exceeded its time limit or ended with an exit status that is not allowed.

    `exit_status` is empty where the server killed the hook; `output` is the end of what it printed.
    """

    which: ClassVar[str] = "the hook"

    problem: str
    exit_status: int | None
    output: str

    def message(self) -> str:
        output = f": {self.output}" if self.output else ""
        return f"{self.host}: {self.which} {self.problem}{output}"


class PreHookFailed(HookFailed):
    """The hook before the change failed, so nothing was changed."""

    which = "the hook before the change"


class PostHookFailed(HookFailed):
    """The hook after the change failed."""

    needs_person = True
    which = "the hook after the change"


class RestartFailed(HostError):
    """Services could not be restarted."""

    needs_person = True

    problem: str
    template = "{host}: services could not be restarted: {problem}"


class RollbackFailed(HostError):
    """The changes could not be rolled back."""

    needs_person = True

    problem: str
    template = "{host}: the changes could not be rolled back: {problem}"


class NotPermitted(HostError):
    """A change that may not start. Nothing of it was sent to the host."""


class WindowClosed(NotPermitted):
    """The host may not be changed now: none of its maintenance windows is open, or it is frozen."""

    problem: str
    opens: str
    template = "{host}: {problem}"


class Interrupted(HostError):
    """A change was killed before it ended, or the host went down while it ran."""

    needs_person = True

    step: str
    cause: str
    template = "{host}: {step} was interrupted: {cause}"


class HostGone(HostError):
    """The host has not answered for too long while a job ran on it. The job may have ended.

    A retry resumes the same job.
    """

    needs_person = True

    step: str
    seconds: float
    problem: str
    template = "{host}: no answer for {seconds} s during {step}, which may have ended: {problem}; a retry resumes it"


class JobRefused(HostError):
    """The host could not store or start a job; the message is the host's own."""

    needs_person = True

    problem: str
    template = "{host}: the job could not be started: {problem}"


class Superseded(HostError):
    """Another server has taken over the operation on its host, so this server may not continue it."""

    epoch: int
    recorded: str
    template = "{host}: another server has taken over the operation: its epoch is {recorded}, this server's {epoch}"


class Cancelled(NotPermitted):
    """The operation was cancelled before its next change started."""

    template = "{host}: cancelled before it started"


class HostOutOfScope(NotPermitted):
    """The host has left the scope of the caller that started or queued the operation, before the operation began."""

    scope: str
    template = (
        "{host}: not started: the host has left the scope that the operation is bound to ({scope})"
    )


class DeadlineExceeded(NotPermitted):
    """The operation exceeded its time limit. It changes nothing more."""

    seconds: float
    template = "{host}: the operation exceeded its time limit of {seconds} s"


class RebootFailed(HostError):
    """A reboot failed; the message says how."""

    needs_person = True

    problem: str
    template = "{host}: {problem}"


class RebootRefused(RebootFailed):
    """The host refused the reboot command, so it still runs as before."""

    needs_person = False


class RebootNeverReturned(RebootFailed):
    """The host did not come back from its reboot within the time limit."""


class RebootNeverBegan(RebootFailed):
    """The host accepted the reboot command and kept running: its connection never dropped."""


class RebootSameBootId(RebootFailed):
    """The host went away and came back with the boot id that it had before the reboot command."""


class Unhealthy(HostError):
    """The host fails its health checks."""

    needs_person = True

    problem: str
    template = "{host}: unhealthy: {problem}"


class DatabaseRestored(HostError):
    """The operation was unfinished in the copy that the database was restored from.

    What the operation did after that copy is unknown. `copied_at` is in ISO 8601.
    """

    copied_at: str
    template = (
        "the database was restored from a copy of {copied_at}; what this operation did after that is unknown, and"
        " it is not run again automatically"
    )


class Unexpected(HostError):
    """An unexpected error of tendhost itself; the server's log has the details."""

    needs_person = True

    step: str
    template = "{host}: unexpected error in step {step!r}; see the server's log"


class BookkeepingFailed(HostError):
    """The server could not save the outcome of a step after several attempts."""

    needs_person = True

    step: str
    attempts: int
    command: str
    """The command that goes on from here."""
    template = (
        "{host}: the server failed {attempts} times to save step {step!r} (see its log); check the host, then run:"
        " {command}"
    )
