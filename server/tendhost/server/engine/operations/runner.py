"""Runs one operation to its end: asks for the next step, executes it, saves, and repeats."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from tendhost.server.clock import Clock
from tendhost.server.domain.events import (
    EventBody,
    HostConnected,
    HostDisconnected,
    UpdateProgress,
)
from tendhost.server.domain.host_errors import (
    Cancelled,
    DeadlineExceeded,
    HostError,
    HostUnreachable,
    LinkLost,
    Unexpected,
)
from tendhost.server.domain.hosts.host import Duplicate, Problem
from tendhost.server.domain.inventory.inventory import Observation
from tendhost.server.domain.leases import Held
from tendhost.server.domain.operations.backoff import Backoff
from tendhost.server.domain.operations.cancellation import with_cancellation
from tendhost.server.domain.operations.log_limit import LogLimit
from tendhost.server.domain.operations.milestones import Milestones
from tendhost.server.domain.operations.operation import (
    JobProgress,
    JobRecord,
    Operation,
    Outcome,
    StepFacts,
)
from tendhost.server.domain.operations.past_steps import has_changed
from tendhost.server.domain.operations.permission import ChangeKind
from tendhost.server.domain.operations.step_sequence import next_step
from tendhost.server.domain.operations.step_traits import (
    BEFORE_CHANGE,
    READING,
    STEP_OF_JOB,
    STEP_TRAITS,
    UNINTERRUPTIBLE,
    StepName,
)
from tendhost.server.domain.request_errors import OperationEnded
from tendhost.server.domain.transitions import OperationState, after_retry, after_step
from tendhost.server.engine.concurrency import Slot
from tendhost.server.engine.connection import Session
from tendhost.server.engine.jobs.folders import remove_finished_job
from tendhost.server.engine.jobs.reporter import NOTHING, JobOutput
from tendhost.server.engine.operations.changes import operation_change
from tendhost.server.engine.operations.unsaved import Unsaved
from tendhost.server.engine.replica import ReplicaLease
from tendhost.server.engine.requests import AlreadyProcessed, MutationContext, at_revision
from tendhost.server.engine.steps.executor import StepExecutor
from tendhost.server.engine.waiting import retry_while_unavailable, sleep_until_called
from tendhost.server.failpoints import reached
from tendhost.server.store.protocols.operations import HostWorkStore
from tendhost.server.store.records import (
    Change,
    Conflict,
    InventoryRecord,
    LeaseLost,
    LogChunk,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

FLUSH_INTERVAL = timedelta(milliseconds=500)
"""Interval at which progress and log output are stored."""

MOST_UNSAVED = 256 * 1024
"""Bytes of output in memory; nothing more is read until they are stored."""
MOST_CONNECTIONS = 32
"""Most events of one operation about a lost and restored connection. Even, so that the last one is good."""

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=30)
"""Between attempts to use a store that is unavailable."""


class OperationRunner:
    """One running operation.

    Everything that is stored of the operation while it runs goes through here, one change at a time, so that the
    operation in memory and the stored one never differ. The exception is a cancellation, which any replica stores:
    it is adopted.
    """

    def __init__(
        self,
        state: OperationState,
        *,
        store: HostWorkStore,
        session: Session,
        executor: StepExecutor,
        clock: Clock,
        slot: Slot,
        lease: ReplicaLease,
        held: Held,
        retry: Backoff,
        gone_timeout: timedelta,
        log_limit: LogLimit,
        resumed_after: str = "",
    ) -> None:
        """`resumed_after`: the cause of the resumption, as text; empty: the operation is new."""
        self._lease = lease
        self._held = held
        self._committing = False
        self._state = state
        self._saved_host = state.host
        self._store = store
        self._session = session
        self._executor = executor
        self._clock = clock
        self._slot = slot
        self._retry = retry
        self._resumed_after = resumed_after
        self._saving = asyncio.Lock()
        self.cancelled = asyncio.Event()
        """Set once the operation is cancelled."""
        if state.operation.cancel_requested_by:
            self.cancelled.set()
        self._overdue_at: timedelta | None = None
        self._gone_timeout = gone_timeout
        self._away_since: timedelta | None = None
        self._unsaved = Unsaved()
        self._taken = Unsaved()
        """What the change holds that is being stored."""
        self._log_limit = log_limit
        self._crowded = asyncio.Event()
        """Set by a wait for room: unsaved output is stored at once."""
        self._roomy = asyncio.Event()
        self._connections = 0
        self._milestones = Milestones()
        self._behind = False
        """Whether the stored operation differs from the one in memory."""

    @property
    def operation(self) -> Operation:
        """The operation as it is now."""
        return self._state.operation

    async def run(self) -> None:
        """Execute steps until none is left. Cancelling this leaves the operation as it is stored."""
        if self.operation.waits_for_slot:
            # The time limit counts from here on; this is stored with the first change.
            operation = replace(self.operation, slot_at=self._clock.now())
            self._state = replace(self._state, operation=operation)
        self._overdue_at = self._deadline()
        try:
            if self._resumed_after:
                await self._take_over()
            await self._perform_steps()
        finally:
            await self._session.close()

    async def _perform_steps(self) -> None:
        # A flush that fails is a fault like any other: the operation does not continue unrecorded.
        async with asyncio.TaskGroup() as tasks:
            flushing = tasks.create_task(self._flush_forever())
            while (step := next_step(self.operation)) is not None:
                reached("step.begun")
                outcome = await self._outcome_of(step)
                reached("step.performed")
                pause = self._pause_before_retry(outcome)
                if pause is None:
                    self._away_since = None
                    await self._end_step(outcome)
                    reached("step.stored")
                else:
                    await self._retry_step(step, outcome, pause)
            reached("operation.stored")
            await self._remove_last_job()
            flushing.cancel()

    async def _remove_last_job(self) -> None:
        """Remove the folder of the last job from the host, if no later step does so."""
        job = self.operation.job
        if job is None or not STEP_TRAITS[STEP_OF_JOB[job.kind]].job_folder_stays:
            return
        try:
            await remove_finished_job(self._session, self._state.host, self.operation)
        except HostError as error:
            # It is removed with others after a month.
            logger.info(
                "a job's folder was left on its host",
                extra={"host": self._state.host.name, "cause": str(error)},
            )

    async def require_current(self) -> None:
        """Adopt a cancellation; raise Conflict if anything else but this runner has changed the stored operation."""
        async with self._saving:
            await self._adopt()

    @property
    def sees_commit(self) -> bool:
        """Whether a commit that touches the operation is this runner's own, as far as can be told."""
        return self._committing

    async def _store_change(self, store: Callable[[], Awaitable[None]]) -> None:
        """Call `store`, which makes a change and commits it; once more if a cancellation was stored before it."""
        async with self._saving:
            try:
                await store()
            except Conflict:
                self._unsaved, self._taken = self._taken.followed_by(self._unsaved), Unsaved()
                await self._adopt()
                await store()

    async def _adopt(self) -> None:
        """Take over what others have stored of the operation: a cancellation. Raises Conflict for all else."""
        stored = await self._store.operation(self.operation.id)
        mine = self.operation
        if (stored.revision, stored.quiet_writes) == (mine.revision, mine.quiet_writes):
            return
        adopted = with_cancellation(mine, stored)
        if adopted is None:
            raise Conflict(what=f"operation {stored.id}")
        self._state = replace(self._state, operation=adopted)
        self.cancelled.set()

    async def cancel(self, call: MutationContext[Operation]) -> Operation:
        """Cancel the operation: it ends where that is sound.

        Raises OperationEnded (it has ended in the meantime), AlreadyProcessed.
        """

        async def mark() -> None:
            operation = self.operation
            if operation.status.ended:
                raise OperationEnded(operation=operation.id, status=str(operation.status))
            now = self._clock.now()
            marked = replace(operation, cancel_requested_by=call.principal)
            state = replace(self._state, operation=marked).with_progress(now)
            change = replace(
                operation_change(state, self._saved_host), at=now
            )  # events of before may go with it
            await self._commit(state, call.recorded(change, at_revision(marked), subject=marked.id))
            self.cancelled.set()

        await self._store_change(mark)
        return self.operation

    # --- what a step reports: StepReporter -----------------------------------------------------

    async def save_facts(self, facts: StepFacts) -> None:
        """See StepReporter."""

        async def save() -> None:
            operation = replace(self.operation, facts=facts)
            await self._save(replace(self._state, operation=operation))

        await self._store_change(save)

    async def begin_job(self, kind: ChangeKind) -> Operation:
        """See StepReporter."""

        async def begin() -> None:
            state, log = self._with_unsaved()
            operation = state.operation
            number = operation.jobs_begun + 1
            job = JobRecord(
                operation=operation.id, kind=kind, number=number, log_start=operation.log_size
            )
            begun = replace(operation, job=job, jobs_begun=number, epoch=operation.epoch + 1)
            await self._save(replace(state, operation=begun), log=log)

        await self._store_change(begin)
        return self.operation

    @property
    def log_limit(self) -> LogLimit:
        """See StepReporter."""
        return self._log_limit

    async def wait_for_room(self) -> None:
        """See StepReporter."""
        while self._unsaved.size > MOST_UNSAVED:
            self._roomy.clear()
            self._crowded.set()
            await self._roomy.wait()

    def add_output(
        self, job: JobRecord, *, output: JobOutput = NOTHING, progress: Sequence[JobProgress] = ()
    ) -> None:
        """See StepReporter."""
        for step in progress:
            milestones = self._milestones.after(step)
            if milestones is not None:
                self._milestones = milestones
                self.add_event(
                    UpdateProgress(package=step.package, percent=step.percent, phase=step.phase)
                )
        self._unsaved = self._unsaved.with_output(job, output, progress)

    def require_lease(self) -> None:
        """See StepReporter."""
        self._lease.require(self._held)

    def require_permission(self) -> None:
        """See StepReporter."""
        if self.operation.cancel_requested_by:
            raise Cancelled(host=self._state.host.name)
        if self._is_overdue:
            limit = self.operation.time_limit or timedelta()
            raise DeadlineExceeded(host=self._state.host.name, seconds=limit.total_seconds())

    def add_event(self, body: EventBody) -> None:
        """See StepReporter."""
        if isinstance(body, HostDisconnected | HostConnected):
            self._connections += 1
            # The events of an unstable connection are bounded; they alternate, so the last one is connected.
            if self._connections > MOST_CONNECTIONS:
                return
        self._unsaved = replace(self._unsaved, events=(*self._unsaved.events, body))

    # --- inside -----------------------------------------------------------------------------------

    def _deadline(self) -> timedelta | None:
        """The reading of the monotonic clock at which the time limit ends; None: there is none.

        The time that another server has spent is known by the date only.
        """
        operation = self.operation
        began = operation.slot_at or operation.started_at
        if operation.time_limit is None or began is None:
            return None
        spent = max(timedelta(), self._clock.now() - began)
        return self._clock.elapsed() + max(timedelta(), operation.time_limit - spent)

    async def _take_over(self) -> None:
        """Store that another server acts from now on, before it does."""

        async def resume() -> None:
            operation = replace(self.operation, epoch=self.operation.epoch + 1)
            words = f"resumed after {self._resumed_after}"
            await self._save(_with_operation(self._state, operation, self._clock.now(), words))

        await self._store_change(resume)

    def _may_end(self, step: StepName) -> bool:
        """Whether a cancellation can end the operation now, for nothing has changed on the host."""
        operation = self.operation
        untouched = step in BEFORE_CHANGE and not has_changed(operation)
        return untouched and operation.resume_at not in UNINTERRUPTIBLE

    async def _outcome_of(self, step: StepName) -> Outcome:
        host = self._state.host.name
        if step is StepName.CONNECT and self.operation.cancel_requested_by and self._may_end(step):
            # It may have been cancelled while it waited for a slot, and has none.
            return replace(_failure(Cancelled(host=host)), cancelled=True)
        try:
            async with asyncio.timeout(self._seconds_left(step)):
                outcome = await self._retry_while_unavailable(
                    lambda: self._executor.execute(step, self._state, self._session, self)
                )
        except TimeoutError:
            limit = self.operation.time_limit or timedelta()
            return _failure(DeadlineExceeded(host=host, seconds=limit.total_seconds()))
        except Cancelled as error:
            return replace(_failure(error), cancelled=True)
        except HostError as error:
            return _failure(error)
        except LeaseLost:
            raise
        except Exception:
            logger.exception(
                "a step failed unexpectedly",
                extra={"host": host, "run": self.operation.id, "step": str(step)},
            )
            return _failure(Unexpected(host=host, step=str(step)))
        return replace(outcome, overdue=self._is_overdue)

    @property
    def _is_overdue(self) -> bool:
        return self._overdue_at is not None and self._clock.elapsed() >= self._overdue_at

    def _seconds_left(self, step: StepName) -> float | None:
        """The rest of the time limit for a step that only reads; None for every other step: it is never cut short.

        A preflight may be repairing the host, which must not be interrupted.
        """
        reads_only = step in READING and not has_changed(self.operation)
        if self._overdue_at is None or not reads_only:
            return None
        return max(0.0, (self._overdue_at - self._clock.elapsed()).total_seconds())

    def _pause_before_retry(self, outcome: Outcome) -> timedelta | None:
        current = self.operation.current
        if not outcome.transient or self.operation.cancel_requested_by or current is None:
            return None
        chance = random.random()  # noqa: S311 (no secret)
        if self._is_waited_for(outcome):
            return replace(self._retry, attempts=current.attempts + 1).pause(
                current.attempts, chance
            )
        pause = self._retry.pause(current.attempts, chance)
        if pause is None or self._overdue_at is None:
            return pause
        return pause if self._clock.elapsed() + pause < self._overdue_at else None

    def _is_waited_for(self, outcome: Outcome) -> bool:
        """Whether a host became unreachable after a change, and not for longer than `gone_timeout`."""
        operation = self.operation
        changed = has_changed(operation) or operation.resume_at is not None
        lost = (HostUnreachable.reason, LinkLost.reason)
        if not changed or outcome.problem is None or outcome.problem.reason not in lost:
            return False
        if self._away_since is None:
            self._away_since = self._clock.elapsed()
        return self._clock.elapsed() - self._away_since < self._gone_timeout

    async def _retry_step(self, step: StepName, outcome: Outcome, pause: timedelta) -> None:
        problem = outcome.problem
        assert problem is not None, "only a step with a problem is retried"

        async def note() -> None:
            state, log = self._with_unsaved()
            state = after_retry(state, problem, pause, self._clock.now())
            await self._save(state, log=log)

        await self._store_change(note)
        # The connection is not trusted any more, and the slot is free for another operation during the pause.
        await self._session.close()
        await self._slot.released_while(
            sleep_until_called(self._clock, pause, self.cancelled),
            unreachable=step is StepName.CONNECT,
            stop=self.cancelled if self._may_end(step) else None,
        )
        if self.operation.cancel_requested_by and self._may_end(step):
            await self._end_step(replace(outcome, cancelled=True))

    async def _end_step(self, outcome: Outcome) -> None:
        seen = outcome.observed

        async def end() -> None:
            found = outcome
            if seen is not None:
                found = replace(outcome, duplicates=await self._duplicates(seen))
            state, log = self._with_unsaved()
            state = after_step(state, found, self._clock.now())
            inventories: tuple[InventoryRecord, ...] = ()
            if seen is not None:
                inventories = (
                    InventoryRecord(
                        host=state.host.name, inventory=seen.inventory, pending=seen.pending
                    ),
                )
            current = state.operation.current
            if current is not None and current.name in READING and not log:
                # The next step changes nothing on the host, so nothing has to be stored before it: this is stored
                # with the next flush or with the end of that step, whichever comes first.
                self._state, self._behind, self._taken = state, True, Unsaved()
            else:
                await self._save(state, inventories=inventories, log=log)

        await self._store_change(end)

    async def _duplicates(self, seen: Observation) -> tuple[Duplicate, ...]:
        """Other hosts that are, or may be, the queried machine."""
        host = self._state.host.observed(seen, self._clock.now())
        return await self._retry_while_unavailable(lambda: self._store.duplicates(host))

    async def _flush_forever(self) -> None:
        while True:
            await sleep_until_called(self._clock, FLUSH_INTERVAL, self._crowded)
            self._crowded.clear()
            await self._flush()

    async def _flush(self) -> None:
        async def flush() -> None:
            if not self._unsaved and not self._behind and not self._job_begins:
                return
            ended = self._unsaved.job
            state, log = self._with_unsaved()
            if ended is not None and ended.concluded:
                # The end of the job is stored with its result. Otherwise a server that resumes the operation in
                # between would start it again.
                job = replace(ended, concluded=False)
                state = replace(state, operation=replace(state.operation, job=job))
                self._unsaved = Unsaved(job=ended)
            await self._save(state, log=log)

        await self._store_change(flush)

    @property
    def _job_begins(self) -> bool:
        """Whether the job was seen to have begun, which is not stored yet."""
        seen, stored = self._unsaved.job, self.operation.job
        return seen is not None and seen.begun and not (stored is not None and stored.begun)

    def _with_unsaved(self) -> tuple[OperationState, tuple[LogChunk, ...]]:
        """The state with what was reported since the last save, which the caller stores."""
        now = self._clock.now()
        unsaved, self._unsaved = self._unsaved, Unsaved()
        self._taken = self._taken.followed_by(unsaved)
        state = self._state
        for body in unsaved.events:
            state = state.with_event(body, now)
        operation = replace(
            state.operation,
            job=unsaved.job or state.operation.job,
            progress=unsaved.progress or state.operation.progress,
        )
        chunks = unsaved.chunks(operation.id, operation.log_size)
        if chunks:
            size = chunks[-1].offset + len(chunks[-1].data)
            chunks[-1] = replace(chunks[-1], cut=self._log_limit.cut(size))
            operation = replace(operation, log_size=size)
        return replace(state, operation=operation), tuple(chunks)

    async def _save(
        self,
        state: OperationState,
        *,
        inventories: tuple[InventoryRecord, ...] = (),
        log: tuple[LogChunk, ...] = (),
    ) -> None:
        change = replace(
            operation_change(state, self._saved_host), inventories=inventories, log=log
        )
        await self._commit(state, change)

    async def _commit(self, state: OperationState, change: Change) -> None:
        """Commit `change`, which stores `state`. Raises AlreadyProcessed, and what Store.commit raises."""
        change = replace(change, held=(self._held,))
        self._committing = True
        try:
            committed = await self._retry_while_unavailable(lambda: self._store.commit(change))
        finally:
            self._committing = False
        if committed.replayed is not None:
            raise AlreadyProcessed(committed.replayed)
        self._behind, self._taken = False, Unsaved()
        self._roomy.set()
        if state.events:
            self._state = state.at(committed.revision, former=self._saved_host)
        else:
            operation = state.operation
            quiet = replace(operation, quiet_writes=operation.quiet_writes + 1)
            self._state = OperationState(operation=quiet, host=state.host)
        self._saved_host = self._state.host

    async def _retry_while_unavailable(self, work: Callable[[], Awaitable[T]]) -> T:
        # What happened on a host is true even if it cannot be stored at once. Only steps that can be repeated
        # use the store.
        return await retry_while_unavailable(
            work,
            sleep=self._clock.sleep,
            logger=logger,
            waiting="an operation waits for the store",
            pause=FIRST_PAUSE,
            longest=LONGEST_PAUSE,
            run=self.operation.id,
        )


def _with_operation(
    state: OperationState, operation: Operation, now: datetime, message: str = ""
) -> OperationState:
    """The state with `operation` in place of its own, and an event of it."""
    return replace(state, operation=operation).with_progress(now, message)


def _failure(error: HostError) -> Outcome:
    return Outcome(
        problem=Problem.of(error), needs_person=error.needs_person, transient=error.may_pass
    )
