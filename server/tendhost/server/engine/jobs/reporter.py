"""The protocol by which a running step reports events, facts, output and progress."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tendhost.server.domain.events import EventBody
from tendhost.server.domain.operations.log_limit import LogLimit
from tendhost.server.domain.operations.operation import JobProgress, JobRecord, Operation, StepFacts
from tendhost.server.domain.operations.permission import ChangeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutput:
    """Output of a job."""

    data: bytes = b""
    skipped: int = 0
    """Bytes before `data` that were left out."""


NOTHING = JobOutput()


class StepReporter(Protocol):
    """Stores what a running step reports, and knows the operation as it is now."""

    async def save_facts(self, facts: StepFacts) -> None:
        """Store facts now, before the change that they announce."""
        ...

    async def begin_job(self, kind: ChangeKind) -> Operation:
        """Store a new job now, before it starts; the operation with that job."""
        ...

    @property
    def log_limit(self) -> LogLimit:
        """The bound of the operation's log."""
        ...

    async def wait_for_room(self) -> None:
        """Return once there is room for more output: while the store is unavailable, only a bounded part of the
        output is read into memory."""
        ...

    def add_output(
        self, job: JobRecord, *, output: JobOutput = NOTHING, progress: Sequence[JobProgress] = ()
    ) -> None:
        """Add output of a job, and how far it is read; stored soon, and together.

        The latest progress is stored in the operation, and milestones become events.
        """
        ...

    @property
    def operation(self) -> Operation:
        """The operation as it is now, which may have changed since the step began."""
        ...

    def require_lease(self) -> None:
        """Raise LeaseLost if another replica may drive the operation by now."""
        ...

    def require_permission(self) -> None:
        """Raise Cancelled or DeadlineExceeded if nothing more may start on the host."""
        ...

    def add_event(self, body: EventBody) -> None:
        """Add an event; it is stored soon."""
        ...
