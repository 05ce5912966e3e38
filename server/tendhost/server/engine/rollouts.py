"""Rollouts are started and steered here, and each unfinished one is carried forward in a task.

What to do is decided by `domain.rollout.advance` alone. Everything here can be repeated: a member's
operation is created in the transaction that marks the member as begun, and what became of it is read
from the operation.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.errors import (
    HostBusy,
    HostHasFailed,
    HostNotFound,
    RequestError,
    RolloutEmpty,
    RolloutNotSteerable,
    StoreUnavailable,
)
from tendhost.server.domain.events import Event, RolloutChanged
from tendhost.server.domain.operation import Operation, OperationKind, OperationStatus, Order
from tendhost.server.domain.rollout import (
    Member,
    MemberStatus,
    Progress,
    Rollout,
    RolloutSpec,
    RolloutStatus,
    Save,
    SkipRest,
    Start,
    Wait,
    advance,
    batch_of,
)
from tendhost.server.engine.calls import Call, carried_out
from tendhost.server.engine.ids import new_id
from tendhost.server.engine.operations import Operations, Work
from tendhost.server.engine.retrying import on_conflict_again
from tendhost.server.store.protocol import Change, Conflict, Store

logger = logging.getLogger(__name__)

PAGE = 1000
STORE_PAUSE = timedelta(seconds=5)
"""Before a rollout that met an unusable store tries again."""

_OUTCOMES = {
    OperationStatus.SUCCEEDED: MemberStatus.COMPLETED,
    OperationStatus.FAILED: MemberStatus.FAILED,
    OperationStatus.CANCELLED: MemberStatus.SKIPPED,
}

_WORDS = {
    RolloutStatus.PAUSED: "paused",
    RolloutStatus.RUNNING: "resumed",
    RolloutStatus.CANCELLED: "cancelled",
}
"""What is asked of a rollout that is to get this status."""


class Rollouts:
    """Every rollout of the fleet."""

    def __init__(
        self, *, store: Store, operations: Operations, clock: Clock, tasks: asyncio.TaskGroup
    ) -> None:
        self._store = store
        self._operations = operations
        self._clock = clock
        self._tasks = tasks
        self._wakes: dict[str, asyncio.Event] = {}
        self._running: set[asyncio.Task[None]] = set()
        operations.on_end(self._operation_ended)

    # --- what users ask ---------------------------------------------------------------------------

    async def start(self, spec: RolloutSpec, call: Call[Rollout]) -> Rollout:
        """Begin a rollout over the hosts that are selected now. Raises RolloutEmpty, Replayed."""
        names = await self._selected(spec)
        if not names:
            raise RolloutEmpty
        now = self._clock.now()
        rollout = Rollout(
            id=new_id(now),
            spec=spec,
            created_at=now,
            created_by=call.principal,
            progress=Progress(total_hosts=len(names), pending=len(names)),
            batches=batch_of(len(names) - 1, spec.batch_size) + 1,
        )
        members = tuple(
            Member(rollout=rollout.id, host=name, batch=batch_of(position, spec.batch_size))
            for position, name in enumerate(names)
        )
        change = replace(
            self._change(rollout, members),
            audit=call.audit(rollout.id, now),
            request=call.record(lambda revision: replace(rollout, revision=revision)),
        )
        saved = await carried_out(
            self._store, change, lambda revision: replace(rollout, revision=revision)
        )
        self._take_up(saved.id)
        return saved

    async def pause(self, id: str, call: Call[Rollout]) -> Rollout:
        """Start nothing new. Raises RolloutNotFound, RolloutNotSteerable, Replayed."""
        return await self._steer(id, (RolloutStatus.RUNNING,), RolloutStatus.PAUSED, call)

    async def resume(self, id: str, call: Call[Rollout]) -> Rollout:
        """Go on with a paused rollout. Raises RolloutNotFound, RolloutNotSteerable, Replayed."""
        return await self._steer(id, (RolloutStatus.PAUSED,), RolloutStatus.RUNNING, call)

    async def cancel(self, id: str, call: Call[Rollout]) -> Rollout:
        """Start nothing new any more. Raises RolloutNotFound, RolloutNotSteerable, Replayed."""
        steerable = (RolloutStatus.RUNNING, RolloutStatus.PAUSED)
        return await self._steer(id, steerable, RolloutStatus.CANCELLED, call)

    @on_conflict_again
    async def _steer(
        self, id: str, origins: Sequence[RolloutStatus], to: RolloutStatus, call: Call[Rollout]
    ) -> Rollout:
        rollout = await self._store.rollout(id)
        if rollout.over or rollout.status not in origins:
            raise RolloutNotSteerable(rollout=id, status=str(rollout.status), wanted=_WORDS[to])
        steered = replace(rollout, status=to)
        change = replace(
            self._change(steered),
            audit=call.audit(id, self._clock.now()),
            request=call.record(lambda revision: replace(steered, revision=revision)),
        )
        saved = await carried_out(
            self._store, change, lambda revision: replace(steered, revision=revision)
        )
        self._wake(id)
        return saved

    # --- what the engine asks ---------------------------------------------------------------------

    async def take_up_unfinished(self) -> int:
        """Carry forward again whatever a former server left; how many rollouts that is."""
        count, before = 0, ""
        while True:
            page = await self._store.rollouts(before=before, limit=PAGE)
            for rollout in page.items:
                if not rollout.over:
                    self._take_up(rollout.id)
                    count += 1
            if not page.more:
                return count
            before = page.items[-1].id

    async def stop(self) -> None:
        """Let go of every rollout; each stays as it is stored."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    # --- inside -----------------------------------------------------------------------------------

    def _operation_ended(self, operation: Operation) -> None:
        if operation.rollout:
            self._wake(operation.rollout)

    def _wake(self, id: str) -> None:
        if id in self._wakes:
            self._wakes[id].set()

    def _take_up(self, id: str) -> None:
        self._wakes[id] = asyncio.Event()
        task = self._tasks.create_task(self._carry(id))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _carry(self, id: str) -> None:
        try:
            while not await self._advance(id):
                pass
        except Exception:
            logger.exception("a rollout was let go of", extra={"rollout": id})
        finally:
            del self._wakes[id]

    async def _advance(self, id: str) -> bool:
        """One turn; whether the rollout is over."""
        wake = self._wakes[id]
        wake.clear()
        try:
            rollout = await self._store.rollout(id)
            if rollout.over:
                return True
            batch = await self._store.batch(id, rollout.batch)
            if await self._collect(rollout, batch):
                return False
            decision = advance(rollout, batch, self._clock.now())
            match decision:
                case Start(hosts=hosts):
                    await self._start_members(rollout, [m for m in batch if m.host in hosts])
                case Save(rollout=moved):
                    await self._store.commit(self._change(moved))
                case SkipRest():
                    await self._skip_rest(rollout)
                case Wait(until=until):
                    await self._wait(wake, until - self._clock.now() if until else None)
        except Conflict:
            return False  # steered in between: read again, decide again
        except StoreUnavailable as error:
            logger.warning("a rollout waits", extra={"rollout": id, "cause": error.cause})
            await self._clock.sleep(STORE_PAUSE)
        return False

    async def _wait(self, wake: asyncio.Event, duration: timedelta | None) -> None:
        if duration is None:
            await wake.wait()
            return
        sleeping = asyncio.ensure_future(self._clock.sleep(duration))
        waking = asyncio.ensure_future(wake.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()
            await asyncio.gather(sleeping, waking, return_exceptions=True)

    async def _collect(self, rollout: Rollout, batch: Iterable[Member]) -> bool:
        """Note the members whose operation has ended; whether there were any."""
        moved = []
        for member in batch:
            if member.status is not MemberStatus.IN_PROGRESS:
                continue
            operation = await self._store.operation(member.operation)
            if operation.status.ended:
                detail = operation.problem.message if operation.problem else ""
                moved.append(replace(member, status=_OUTCOMES[operation.status], detail=detail))
        if moved:
            await self._store.commit(self._moved(rollout, batch, moved))
        return bool(moved)

    async def _start_members(self, rollout: Rollout, members: Sequence[Member]) -> None:
        for member in members:
            rollout = await self._start_member(rollout, member)

    async def _start_member(self, rollout: Rollout, member: Member) -> Rollout:
        work = Work(
            host=member.host,
            kind=OperationKind.UPDATE,
            dry_run=rollout.spec.dry_run,
            order=Order(scope=rollout.spec.scope),
            queue=True,
        )
        operation = self._operations.new(work, by=rollout.created_by, rollout=rollout.id)
        try:
            host = await self._store.host(member.host)
            course = await self._operations.begun_or_queued(operation, host)
        except (HostNotFound, HostHasFailed) as error:
            return await self._skipped(rollout, member, error)
        begun = replace(member, status=MemberStatus.IN_PROGRESS, operation=operation.id)
        change = self._moved(rollout, (member,), (begun,))
        work_change = self._operations.change_of(course, host)
        change = replace(
            change,
            events=(*work_change.events, *change.events),
            hosts=work_change.hosts,
            operations=work_change.operations,
        )
        try:
            committed = await self._store.commit(change)
        except HostBusy:
            raise Conflict(what=f"host {member.host}") from None
        revision = committed.revision
        changed = course.host != host
        self._operations.take_up(
            replace(
                course,
                operation=replace(course.operation, revision=revision),
                host=replace(course.host, revision=revision) if changed else host,
            )
        )
        return replace(change.rollouts[0], revision=revision)

    async def _skipped(self, rollout: Rollout, member: Member, why: RequestError) -> Rollout:
        skipped = replace(member, status=MemberStatus.SKIPPED, detail=str(why))
        change = self._moved(rollout, (member,), (skipped,))
        committed = await self._store.commit(change)
        return replace(change.rollouts[0], revision=committed.revision)

    async def _skip_rest(self, rollout: Rollout) -> None:
        for number in range(rollout.batch, rollout.batches):
            batch = await self._store.batch(rollout.id, number)
            rest = [
                replace(m, status=MemberStatus.SKIPPED, detail="the rollout was cancelled")
                for m in batch
                if m.status is MemberStatus.PENDING
            ]
            if rest:
                change = self._moved(rollout, batch, rest)
                committed = await self._store.commit(change)
                rollout = replace(change.rollouts[0], revision=committed.revision)

    def _moved(self, rollout: Rollout, former: Iterable[Member], moved: Sequence[Member]) -> Change:
        origins = {member.host: member.status for member in former}
        progress = rollout.progress
        for member in moved:
            progress = progress.moved(origins[member.host], member.status)
        return self._change(replace(rollout, progress=progress), moved)

    def _change(self, rollout: Rollout, members: Sequence[Member] = ()) -> Change:
        told = RolloutChanged(
            status=rollout.status,
            progress=rollout.progress,
            batch=rollout.batch,
            batches=rollout.batches,
        )
        event = Event(at=self._clock.now(), body=told, rollout=rollout.id)
        return Change(events=(event,), rollouts=(rollout,), members=members)

    async def _selected(self, spec: RolloutSpec) -> list[str]:
        names: list[str] = []
        while True:
            after = names[-1] if names else ""
            page = await self._store.hosts(spec.filter, after=after, limit=PAGE)
            names.extend(host.name for host in page.items)
            if not page.more:
                return names
