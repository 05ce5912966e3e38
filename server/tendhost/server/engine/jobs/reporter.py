"""What a step may tell of itself while it is under way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tendhost.server.domain.events import EventBody
from tendhost.server.domain.operations.log_limit import LogLimit
from tendhost.server.domain.operations.operation import JobProgress, JobRecord, Operation, StepFacts
from tendhost.server.domain.operations.permission import ChangeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutput:
    """What a job printed, after so many bytes that were passed over."""

    data: bytes = b""
    skipped: int = 0


NOTHING = JobOutput()


class StepReporter(Protocol):
    """Where a step's progress goes."""

    async def save_facts(self, facts: StepFacts) -> None:
        """Store facts now, before what they announce is done."""
        ...

    async def begin_job(self, kind: ChangeKind) -> Operation:
        """Put a new job on record now, before it begins; the operation with that job."""
        ...

    @property
    def log_limit(self) -> LogLimit:
        """How much of the operation's log is kept."""
        ...

    async def wait_for_room(self) -> None:
        """Return once there is room for more output: while the store is out of reach nothing is read that
        would have to be kept in memory."""
        ...

    def add_output(
        self, job: JobRecord, *, output: JobOutput = NOTHING, progress: Sequence[JobProgress] = ()
    ) -> None:
        """Note how far a job's output is read, and what it said; stored soon, and together.

        Of the progress the latest is stored in the operation, and the milestones become events.
        """
        ...

    @property
    def operation(self) -> Operation:
        """The operation as it stands now, which may not be what it was when the step began."""
        ...

    def require_permission(self) -> None:
        """Raise Cancelled or DeadlineExceeded where nothing more is to be begun on the host."""
        ...

    def add_event(self, body: EventBody) -> None:
        """Note an event; it is stored soon."""
        ...
