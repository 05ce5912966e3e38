"""Drives one operation to its end: asks what comes next, performs it, saves, asks again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from tendhost.server.clock import Clock
from tendhost.server.domain.course import Course, stepped
from tendhost.server.domain.errors import (
    Interrupted,
    OperationNotCancellable,
    StoreUnavailable,
    Unexpected,
    WorkError,
)
from tendhost.server.domain.events import UpdateProgress
from tendhost.server.domain.host import Problem
from tendhost.server.domain.operation import (
    REPEATABLE,
    Findings,
    Operation,
    Outcome,
    StepName,
    next_step,
)
from tendhost.server.engine.calls import Call, Replayed
from tendhost.server.engine.session import Session
from tendhost.server.engine.steps import Performer
from tendhost.server.store.protocol import (
    AuditRecord,
    Change,
    InventoryRecord,
    LogChunk,
    RequestRecord,
    Store,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

FLUSH_INTERVAL = timedelta(milliseconds=500)
"""How long progress and log output gather before they are stored together."""

LOOKING = frozenset({StepName.LIST})
"""Steps before which nothing is saved: they only look, and a look can be repeated."""
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=30)
"""Between tries to write to a store that cannot be written."""


class Driver:
    """One running operation.

    Everything that is saved of the operation while it runs goes through here, one change at a time,
    so that the operation in memory and the stored one never part.
    """

    def __init__(
        self,
        course: Course,
        *,
        store: Store,
        session: Session,
        performer: Performer,
        clock: Clock,
        resumed: bool,
    ) -> None:
        self._course = course
        self._saved_host = course.host
        self._store = store
        self._session = session
        self._performer = performer
        self._clock = clock
        self._resumed = resumed
        self._saving = asyncio.Lock()
        self._progress: list[UpdateProgress] = []
        self._output: list[bytes] = []

    @property
    def operation(self) -> Operation:
        """The operation as it stands."""
        return self._course.operation

    async def run(self) -> None:
        """Perform steps until none is left. Cancelling this leaves the operation as it is stored."""
        try:
            await self._perform_steps()
        finally:
            await self._session.close()

    async def _perform_steps(self) -> None:
        flushing = asyncio.create_task(self._flush_forever())
        try:
            while (step := next_step(self.operation)) is not None:
                outcome = await self._outcome_of(step)
                self._resumed = False
                if self._progress or self._output:
                    await self._flush()
                await self._end_step(outcome)
        finally:
            flushing.cancel()
            await asyncio.gather(flushing, return_exceptions=True)

    async def cancel(self, call: Call[Operation]) -> Operation:
        """Ask the operation to stop where that is sound.

        Raises OperationNotCancellable (it has ended in the meantime), Replayed.
        """
        async with self._saving:
            operation = self.operation
            if operation.status.ended:
                raise OperationNotCancellable(operation=operation.id, status=str(operation.status))
            now = self._clock.now()
            marked = replace(operation, cancel_requested_by=call.principal)
            replayed = await self._save(
                replace(self._course, operation=marked).step_told(now),
                audit=call.audit(marked.id, now),
                request=call.record(lambda revision: replace(marked, revision=revision)),
            )
            if replayed is not None:
                raise Replayed(replayed)
            return self.operation

    async def record(self, findings: Findings) -> None:
        """Store findings in the middle of a step, before what they announce is done."""
        async with self._saving:
            operation = replace(self.operation, findings=findings)
            told = replace(self._course, operation=operation).step_told(self._clock.now())
            await self._save(told)

    def progressed(self, progress: Sequence[UpdateProgress]) -> None:
        """Note progress, to be stored with the next flush."""
        self._progress.extend(progress)

    def printed(self, output: bytes) -> None:
        """Note log output, to be stored with the next flush."""
        self._output.append(output)

    async def _outcome_of(self, step: StepName) -> Outcome:
        host = self._course.host.name
        if self._resumed and step not in REPEATABLE:
            return _failure(Interrupted(host=host, step=str(step)))
        try:
            return await self._patiently(
                lambda: self._performer.perform(step, self._course, self._session, self)
            )
        except WorkError as error:
            return _failure(error)
        except Exception:
            logger.exception(
                "a step failed unexpectedly",
                extra={"host": host, "run": self.operation.id, "step": str(step)},
            )
            return _failure(Unexpected(host=host, step=str(step)))

    async def _end_step(self, outcome: Outcome) -> None:
        async with self._saving:
            course = stepped(self._course, outcome, self._clock.now())
            seen = outcome.observed
            inventories: tuple[InventoryRecord, ...] = ()
            if seen is not None:
                inventories = (
                    InventoryRecord(
                        host=course.host.name, inventory=seen.inventory, pending=seen.pending
                    ),
                )
            if course.operation.current is not None and course.operation.current.name in LOOKING:
                # What follows changes nothing on the host, so nothing has to be on record before it:
                # told with the next flush, or, where that comes first, with the step's own end.
                self._course = course
            else:
                await self._save(course, inventories=inventories)

    async def _flush_forever(self) -> None:
        while True:
            await self._clock.sleep(FLUSH_INTERVAL)
            await self._flush()

    async def _flush(self) -> None:
        async with self._saving:
            progress, output = tuple(self._progress), b"".join(self._output)
            if not progress and not output and not self._course.events:
                return
            course, log = self._grown(progress, output)
            await self._save(course, log=log)
            # Taken away only now: what could not be stored is tried again with the next flush.
            del self._progress[: len(progress)]
            self._output = _without_first(self._output, len(output))

    def _grown(
        self, progress: tuple[UpdateProgress, ...], output: bytes
    ) -> tuple[Course, tuple[LogChunk, ...]]:
        now = self._clock.now()
        course = self._course
        for further in progress:
            course = course.told(further, now)
        if not output:
            return course, ()
        operation = course.operation
        chunk = LogChunk(operation=operation.id, offset=operation.log_size, data=output)
        grown = replace(operation, log_size=operation.log_size + len(output))
        course = replace(course, operation=grown)
        return course if progress else course.step_told(now), (chunk,)

    async def _save(
        self,
        course: Course,
        *,
        inventories: tuple[InventoryRecord, ...] = (),
        log: tuple[LogChunk, ...] = (),
        audit: AuditRecord | None = None,
        request: RequestRecord | None = None,
    ) -> bytes | None:
        host_changed = course.host != self._saved_host
        change = Change(
            events=course.events,
            hosts=(course.host,) if host_changed else (),
            operations=(course.operation,),
            inventories=inventories,
            log=log,
            audit=audit,
            request=request,
        )
        committed = await self._patiently(lambda: self._store.commit(change))
        if committed.replayed is not None:
            return committed.replayed
        revision = committed.revision
        host = replace(course.host, revision=revision) if host_changed else course.host
        self._course = Course(operation=replace(course.operation, revision=revision), host=host)
        self._saved_host = host
        return None

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        # What happened on a host is true whether or not it can be written down at once. Of the steps
        # only those that may be repeated use the store.
        pause = FIRST_PAUSE
        while True:
            try:
                return await work()
            except StoreUnavailable as error:
                logger.warning(
                    "an operation waits for the store",
                    extra={"run": self.operation.id, "cause": error.cause},
                )
                await self._clock.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)


def _without_first(chunks: list[bytes], size: int) -> list[bytes]:
    rest = b"".join(chunks)[size:]
    return [rest] if rest else []


def _failure(error: WorkError) -> Outcome:
    return Outcome(problem=Problem.of(error), needs_person=error.needs_person)
