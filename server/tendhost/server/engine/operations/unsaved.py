"""What a running step has reported and the store does not have yet: events, output, progress."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tendhost.server.domain.events import EventBody
from tendhost.server.domain.operations.operation import JobProgress, JobRecord
from tendhost.server.engine.jobs.reporter import JobOutput
from tendhost.server.store.records import LogChunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsaved:
    """What a step has reported since the last flush, to be stored together."""

    events: tuple[EventBody, ...] = ()
    output: tuple[JobOutput, ...] = ()
    progress: JobProgress | None = None
    job: JobRecord | None = None

    def __bool__(self) -> bool:
        # The read position of a job is not worth a commit of its own: the output can be read again.
        return bool(self.events or self.output or self.progress)

    @property
    def size(self) -> int:
        """Bytes of output."""
        return sum(len(part.data) for part in self.output)

    def chunks(self, operation: str, offset: int) -> list[LogChunk]:
        """The output as chunks of a log that ends at `offset`: one chunk, unless some output was left out."""
        found: list[LogChunk] = []
        parts: list[bytes] = []
        for part in (*self.output, JobOutput(skipped=1)):
            if part.skipped and parts:
                data = b"".join(parts)
                found.append(LogChunk(operation=operation, offset=offset, data=data))
                offset, parts = offset + len(data), []
            offset += part.skipped
            parts.append(part.data)
        return found

    def followed_by(self, later: "Unsaved") -> "Unsaved":
        """With what was reported after it."""
        return Unsaved(
            events=(*self.events, *later.events),
            output=(*self.output, *later.output),
            progress=later.progress or self.progress,
            job=later.job or self.job,
        )

    def with_output(
        self, job: JobRecord, output: JobOutput, progress: Sequence[JobProgress]
    ) -> "Unsaved":
        """With what a job has printed since, and how far it is."""
        more = (output,) if output.data else ()
        latest = progress[-1] if progress else self.progress
        return replace(self, output=(*self.output, *more), progress=latest, job=job)
