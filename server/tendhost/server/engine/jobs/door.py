"""The door: the only way by which a command that changes a host gets there, and where permission is asked.

Between the decision to change a host and the change may lie a lost link, a dead server and many hours. So
permission is asked each time that a command is given, right before it, also when it is given again.
What a job's folder is looked at, made and removed by (`remote/job.py`) changes nothing that a host runs,
and does not pass here; the order to begin the job does.
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
    """The way of one operation's changing commands to its host."""

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
        """Give `command` to the host if that is permitted at this moment.

        Raises NotPermitted, with which nothing has been sent, and what Remote.run raises.
        """
        assert permission in PERMISSIONS[command.kind], (
            f"{command.kind} asks for another permission"
        )
        self.require(permission)
        return await run_change(remote, command, timeout=timeout, input=input)

    def require(self, permission: Permission) -> None:
        """Raise NotPermitted (Cancelled, DeadlineExceeded, WindowClosed) unless `permission` holds now."""
        if permission is Permission.FINISH:
            return
        self.reporter.require_permission()
        if permission is Permission.CHANGE:
            self.require_window()

    def require_window(self, planned: timedelta = timedelta()) -> None:
        """Raise WindowClosed unless a change that may take `planned` may begin at this moment."""
        if self.operation.only_prepares or self.operation.order.window_override_reason:
            return
        availability = self.policies.of(self.host.config).open_times.availability(
            self.clock.now(), planned
        )
        if availability is None:
            return
        opens = availability.until.isoformat() if availability.until else ""
        raise WindowClosed(host=self.host.name, problem=availability.message, opens=opens)
