"""The door: the only way on which a command that changes a host gets there, and where permission is asked.

A lost connection, a crashed server and many hours may lie between the decision to change a host and the change.
So the door asks for permission each time a command is sent, right before it, also when it is sent again.
The scripts that read, create and remove a job's folder (`remote/job.py`) change nothing that a host runs, and
do not pass the door; the start command of a job does.
"""

from dataclasses import dataclass
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.host_errors import WindowClosed
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.operations.operation import Operation
from tendhost.server.domain.operations.permission import PERMISSIONS, ChangingCommand, Permission
from tendhost.server.engine.fleet.policies import Policies
from tendhost.server.engine.jobs.reporter import StepReporter
from tendhost.server.remote.changes import run_change
from tendhost.server.remote.protocol import Completed, Remote


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Sends the changing commands of one operation to its host."""

    operation: Operation
    host: Host
    reporter: StepReporter
    policies: Policies
    clock: Clock

    async def give(
        self,
        remote: Remote,
        command: ChangingCommand,
        permission: Permission,
        *,
        timeout: timedelta,
        input: bytes = b"",
    ) -> Completed:
        """Send `command` to the host if it is permitted at this moment.

        Raises NotPermitted and LeaseLost, in which case nothing was sent, and what Remote.run raises.
        """
        assert permission in PERMISSIONS[command.kind], (
            f"{command.kind} asks for another permission"
        )
        self.require(permission)
        return await run_change(remote, command, timeout=timeout, input=input)

    def require(self, permission: Permission) -> None:
        """Raise NotPermitted (Cancelled, DeadlineExceeded, WindowClosed) unless `permission` holds now.

        Raises LeaseLost where another replica may drive the operation: it does what is left to do.
        """
        self.reporter.require_lease()
        if permission is Permission.FINISH:
            return
        self.reporter.require_permission()
        if permission is Permission.CHANGE:
            self.require_window()

    def require_window(self, planned: timedelta = timedelta()) -> None:
        """Raise WindowClosed unless a change that may take `planned` may begin at this moment."""
        if self.operation.only_prepares or self.operation.options.window_override_reason:
            return
        availability = self.policies.of(self.host.config).open_times.availability(
            self.clock.now(), planned
        )
        if availability is None:
            return
        opens = availability.until.isoformat() if availability.until else ""
        raise WindowClosed(host=self.host.name, problem=availability.message, opens=opens)
