"""Starts, queues, retries and cancels operations, and resumes those that a former server left."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from tendhost.server.clock import Clock
from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.host_errors import HostUnreachable
from tendhost.server.domain.hosts.host import LOCAL, Host
from tendhost.server.domain.inventory.hardware import InventoryPart
from tendhost.server.domain.leases import Held, LeaseKind
from tendhost.server.domain.operations.approved_plan import hold_to_pending, hold_to_plan
from tendhost.server.domain.operations.backoff import Backoff
from tendhost.server.domain.operations.log_limit import LogLimit
from tendhost.server.domain.operations.operation import (
    Operation,
    OperationKind,
    OperationOptions,
    OperationStatus,
)
from tendhost.server.domain.operations.resumption import resume
from tendhost.server.domain.request_errors import (
    HostBusy,
    HostNotFound,
    InvalidTransition,
    InventoryNotFound,
    OperationEnded,
    OperationNotFound,
    PlanUnusable,
    RebootNotAllowed,
    StoreUnavailable,
    TooManyOperations,
    TooManyQueued,
)
from tendhost.server.domain.transitions import OperationState, queued, started
from tendhost.server.engine.concurrency import OperationLimits, Slot
from tendhost.server.engine.connection import HostConnector, Session
from tendhost.server.engine.ids import Ids
from tendhost.server.engine.operations.changes import operation_change
from tendhost.server.engine.operations.queues import HostQueues
from tendhost.server.engine.operations.runner import OperationRunner
from tendhost.server.engine.replica import ReplicaLease
from tendhost.server.engine.requests import MutationContext, at_revision, retried_on_conflict
from tendhost.server.engine.steps.executor import StepExecutor
from tendhost.server.engine.supervision import FAULT, Supervisor
from tendhost.server.engine.tasks import TaskSet
from tendhost.server.engine.waiting import repeat_every
from tendhost.server.store.protocols.hosts import InventoryStore
from tendhost.server.store.protocols.leases import LeaseStore
from tendhost.server.store.protocols.operations import HostWorkStore
from tendhost.server.store.protocols.rollouts import RolloutStore
from tendhost.server.store.records import Change, Conflict, LeaseLost, Touched

logger = logging.getLogger(__name__)


RECENT = 1000
"""Number of failed operations of a host among which the one that failed it is looked for."""


RESTART = "a restart of the server"
ANOTHER_REPLICA = "the end of another replica"
"""The causes of a resumption, as text."""
SWEEP = timedelta(minutes=5)
"""Interval of the search for operations without a runner, where no other replica leaves any. It should never find
one."""
QUEUES = frozenset({"operation_changed"})
"""Kinds of the events with which operations are queued."""
AT_A_TIME = 64
"""Operations that a replica takes from others at once: several replicas share what one has left."""


class OperationManagerStore(HostWorkStore, InventoryStore, RolloutStore, LeaseStore, Protocol):
    """Hosts and operations, what is pending, who drives what, and the rollouts that share their ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRequest:
    """A request for an operation on one host."""

    host: str
    kind: OperationKind
    dry_run: bool = False
    options: OperationOptions = OperationOptions()
    parts: tuple[InventoryPart, ...] = ()
    """Of a QUERY; see Operation.parts."""
    plan: str = ""
    """The dry run whose plan is to be executed; empty: none."""
    queue: bool = False
    """Wait for the operation that the host is busy with; else the request is refused."""
    bound_to: Scope | None = None
    """The scope of the caller, or of the rollout; see Operation.bound_to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetriedHost:
    """A host that a retry took out of FAILED, and the operation of the retry."""

    host: Host
    operation: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationSettings:
    """Settings of operations."""

    at_once: int = 64
    """Number of slots: how many operations run at the same time. Operations that were at work when a former server
    stopped continue even without a slot."""
    in_flight: int = 10_000
    """Number of unfinished operations, without those that are queued or of a rollout, with which no user starts
    another one."""
    queued_per_host: int = 16
    """Number of queued operations of a host with which no user queues another one."""
    time_limit: timedelta = timedelta(hours=6)
    """For a whole operation; see Operation.time_limit."""
    retry: Backoff = Backoff(first=timedelta(seconds=2), longest=timedelta(minutes=1), attempts=4)
    """For a step that failed with a transient error."""
    gone_timeout: timedelta = timedelta(minutes=30)
    """For a host to answer again that became unreachable after a change."""
    log_limit: LogLimit = LogLimit()
    """Bound of the log of one operation."""


class Operations:
    """The operations of the fleet; the running ones run in tasks of `tasks`."""

    def __init__(
        self,
        *,
        store: OperationManagerStore,
        connector: HostConnector,
        executor: StepExecutor,
        clock: Clock,
        lease: ReplicaLease,
        tasks: asyncio.TaskGroup,
        settings: OperationSettings,
    ) -> None:
        self._store = store
        self._lease = lease
        self._connector = connector
        self._executor = executor
        self._clock = clock
        self._settings = settings
        self.ids = Ids(clock)
        """Makes the ids of operations, rollouts and plans."""
        self._limits = OperationLimits(settings.at_once)
        self._runners: dict[str, tuple[OperationRunner, Slot]] = {}
        self._of_users: set[str] = set()
        """Those of `_runners` whose operation is of no rollout."""
        self._supervisor = Supervisor(store=store, clock=clock, run=self._run)
        self._running: TaskSet[None] = TaskSet(tasks.create_task)
        self._queues = HostQueues(
            store=store,
            clock=clock,
            begun=self.begun,
            take_up=self.take_up,
        )
        lease.on_loss(self.stop)
        self._stop_listening = store.listen(self._hear)

    @property
    def at_once(self) -> int:
        """How many operations run at the same time."""
        return self._settings.at_once

    # --- what users ask ---------------------------------------------------------------------------

    @retried_on_conflict
    async def start(self, work: OperationRequest, call: MutationContext[Operation]) -> Operation:
        """Start `work`, or queue it.

        Raises HostNotFound, HostBusy, OnlyJump, HostFailed, RebootNotAllowed, PlanUnusable, TooManyOperations,
        TooManyQueued, AlreadyProcessed.
        """
        host = await self._store.host(work.host)
        _require_within(work.bound_to, host)
        if work.kind is OperationKind.REBOOT:
            _require_named(host)
        work = replace(work, options=await self._with_approved_plan(work, host))
        state = await self._new_state(self.new(work, by=call.principal), host, queue=work.queue)
        if state.operation.status is OperationStatus.QUEUED:
            await self._require_short_queue(host.name)
        else:
            self._require_few_in_flight()
        change = self.begun(operation_change(state, host))
        begun = await call.commit(
            self._store, change, at_revision(state.operation), subject=host.name
        )
        self.take_up(state.at(begun.revision, former=host), change.taken)
        return begun

    @retried_on_conflict
    async def retry(
        self, name: str, call: MutationContext[RetriedHost], *, bound_to: Scope | None = None
    ) -> RetriedHost:
        """Take a host out of FAILED and continue the operation that failed: see domain/operations/resumption.

        `bound_to` is the caller's scope, and not that of whoever started the operation that failed.

        Raises HostNotFound, InvalidTransition (the host is not in FAILED), RebootNotAllowed, TooManyOperations,
        AlreadyProcessed.
        """
        failed = await self._store.host(name)
        _require_within(bound_to, failed)
        state = await self.resumption(failed, by=call.principal, bound_to=bound_to)
        self._require_few_in_flight()

        def value_at(revision: int) -> RetriedHost:
            at = state.at(revision, former=failed)
            return RetriedHost(host=at.host, operation=at.operation)

        change = self.begun(operation_change(state, failed))
        retried = await call.commit(self._store, change, value_at, subject=name)
        begun = OperationState(operation=retried.operation, host=retried.host)
        self.take_up(begun, change.taken)
        return retried

    @retried_on_conflict
    async def cancel(self, id: str, call: MutationContext[Operation]) -> Operation:
        """Cancel an operation, whichever replica drives it: it ends at the next point at which that is sound.

        Raises OperationNotFound, OperationEnded (it has ended), AlreadyProcessed.
        """
        operation = await self._store.operation(id)
        if operation.status.ended:
            raise OperationEnded(operation=id, status=str(operation.status))
        if id in self._runners:
            return await self._runners[id][0].cancel(call)
        if operation.status is OperationStatus.RUNNING:
            return await self._mark_cancelled(operation, call)
        now = self._clock.now()
        ended = replace(
            operation,
            cancel_requested_by=call.principal,
            status=OperationStatus.CANCELLED,
            ended_at=now,
        )
        host = await self._store.host(operation.host)
        state = queued(ended, host, now)
        change = operation_change(state, host)
        return await call.commit(self._store, change, at_revision(ended), subject=id)

    # --- what the rest of the engine asks ---------------------------------------------------------

    def new(self, work: OperationRequest, *, by: str, rollout: str = "") -> Operation:
        """An operation that is not stored yet."""
        now = self._clock.now()
        return Operation(
            id=self.ids.next(),
            host=work.host,
            kind=work.kind,
            created_at=now,
            created_by=by,
            rollout=rollout,
            bound_to=work.bound_to,
            dry_run=work.dry_run,
            options=work.options,
            parts=work.parts,
            time_limit=self._settings.time_limit,
        )

    async def resumption(
        self,
        failed: Host,
        *,
        by: str,
        rollout: str = "",
        bound_to: Scope | None = None,
        update: OperationRequest | None = None,
    ) -> OperationState:
        """The state of an operation that continues the one which failed a host in FAILED.

        With `update` it is an update in any case: `update` itself, if another kind of operation failed the host,
        and with the window override of `update`. Raises InvalidTransition (the host is not in FAILED),
        RebootNotAllowed, HostFailed (`update` is a dry run, which repairs nothing that failed), HostOutOfScope.
        """
        now = self._clock.now()
        last = await self._store.operations(
            host=failed.name, statuses=(OperationStatus.FAILED,), limit=RECENT
        )
        # Operations without steps were refused because of the failure; they are not its cause. If that is not
        # stored any more, a query of the host is a sound start.
        cause = failed.status.failure.operation if failed.status.failure else ""
        began = [operation for operation in last.items if operation.steps]
        former = next((operation for operation in began if operation.id == cause), None)
        if update is not None and update.dry_run and former is not None and former.may_change:
            failed.require_not_failed()
        if update is not None and not _is_of_the_kind(former, update):
            former, work = None, update
        else:
            work = OperationRequest(
                host=failed.name,
                kind=former.kind if former else OperationKind.QUERY,
                dry_run=former.dry_run if former else False,
                options=former.options if former else OperationOptions(),
                parts=former.parts if former else (),
                bound_to=bound_to,
            )
        operation = self.new(work, by=by, rollout=rollout)
        if former is not None:
            operation = resume(former, operation)
        operation = replace(operation, retried=failed.status.failure)
        if update is not None:
            # The failed operation may have had another window override.
            options = replace(
                operation.options, window_override_reason=update.options.window_override_reason
            )
            operation = replace(operation, options=options)
        if operation.kind is OperationKind.REBOOT and operation.resume_at is None:
            _require_named(failed)  # its policy may have changed since
        freed = OperationState(operation=operation, host=failed).retried(now)
        begun = started(operation, freed.host, now)
        return replace(begun, events=(*freed.events, *begun.events))

    def begun(self, change: Change) -> Change:
        """`change` with the operations in it that begin to run taken by this server."""
        new = (o.id for o in change.operations if o.status is OperationStatus.RUNNING)
        taken = (held for id in new for held in self._lease.first(LeaseKind.OPERATION, id))
        return replace(change, taken=(*change.taken, *taken))

    def take_up(self, state: OperationState, taken: Iterable[Held]) -> None:
        """Run a stored operation that is among `taken`; a queued one, once its host is free."""
        operation = state.operation
        if operation.status is OperationStatus.QUEUED:
            # The operation that it was queued behind may have ended in the meantime.
            self._running.start(self._queues.start_next(operation.host))
        for held in taken:
            # What this server may not drive is free, and somebody claims it.
            if held.id == operation.id and self._lease.holds(held):
                # At once, so that a cancellation finds its runner.
                self._runners[operation.id] = self._new_runner(state, held, "")
                self._running.start(self._supervise(held, operation.host, state))

    async def take_up_unfinished(self) -> int:
        """Resume every operation that nobody drives; how many there are."""
        self.ids.follow(one.id for one in (await self._store.operations(limit=1)).items)
        self.ids.follow(one.id for one in (await self._store.rollouts(limit=1)).items)
        return await self._take_up_free(RESTART)

    async def keep(self) -> None:
        """Look for stored operations that nobody drives, and resume them, until cancelled.

        One of this server's own that is found twice in a row without a runner is resumed: between its commit and
        its runner lies a moment.
        """
        suspects: frozenset[str] = frozenset()
        interval = self._lease.interval or SWEEP
        cause = FAULT if self._lease.interval is None else ANOTHER_REPLICA

        async def sweep() -> None:
            nonlocal suspects
            if not self._lease.owner:
                return
            suspects = await self._sweep(suspects)
            with suppress(LeaseLost):
                await self._take_up_free(cause)

        await self._clock.sleep(interval)
        failed = "operations were not checked"
        await repeat_every(interval, sweep, clock=self._clock, logger=logger, failed=failed)

    async def _sweep(self, suspects: frozenset[str]) -> frozenset[str]:
        """This server's operations without a runner; those that were among `suspects` are free from now on."""
        owner = self._lease.owner
        owned = await self._store.owned(LeaseKind.OPERATION, owner)
        found = frozenset(id for id in owned if id not in self._supervisor)
        for id in sorted(found & suspects):
            logger.warning("an operation without a runner is resumed", extra={"run": id})
            await self._store.release(LeaseKind.OPERATION, id, owner)
        return found

    async def _take_up_free(self, cause: str) -> int:
        """Take the operations that nobody drives and resume them after `cause`; start the queues that nobody has."""
        operations: list[tuple[Operation, Held]] = []
        waiting = await self._store.idle_queues()
        more = True
        while more:
            claimed = await self._store.claim(
                LeaseKind.OPERATION, self._lease.owner, limit=AT_A_TIME
            )
            for held in claimed:
                operations.append((await self._store.operation(held.id), held))
            # Where there are other replicas, the next round is as good, and leaves them their share.
            more = len(claimed) == AT_A_TIME and self._lease.interval is None
        # Those that were at work on their hosts come before those that wait for a slot.
        for operation, held in sorted(operations, key=lambda found: found[0].waits_for_slot):
            if held.id not in self._supervisor:
                self._running.start(self._supervise(held, operation.host, None, cause))
        for host in waiting:
            self._running.start(self._queues.start_next(host))
        return len(operations) + len(waiting)

    async def stop(self) -> None:
        """Stop running operations; each stays as it is stored."""
        await self._running.cancel()

    def close(self) -> None:
        """Hear of no further commits."""
        self._stop_listening()

    def _hear(self, touched: Touched) -> None:
        """Have a runner look at what was stored of its operation by somebody else, such as a cancellation."""
        if QUEUES & touched.kinds:
            # What is queued begins in the order of ids, also where the clocks of replicas differ.
            self.ids.follow(touched.operations)
        for id in touched.operations & self._runners.keys():
            runner, _ = self._runners[id]
            if not runner.sees_commit:
                self._running.start(self._look_again(runner))

    async def _look_again(self, runner: OperationRunner) -> None:
        with suppress(Conflict, OperationNotFound, StoreUnavailable):
            await runner.require_current()

    # --- inside -----------------------------------------------------------------------------------

    def _require_few_in_flight(self) -> None:
        """Raise TooManyOperations. Rollouts bound their operations themselves: these neither count nor are refused."""
        if len(self._of_users) >= self._settings.in_flight:
            raise TooManyOperations(limit=self._settings.in_flight)

    async def _require_short_queue(self, host: str) -> None:
        """Raise TooManyQueued."""
        most = self._settings.queued_per_host
        waiting = await self._store.operations(
            host=host, statuses=(OperationStatus.QUEUED,), limit=most
        )
        if len(waiting.items) >= most:
            raise TooManyQueued(host=host, limit=most)

    async def _with_approved_plan(self, work: OperationRequest, host: Host) -> OperationOptions:
        """The options with the approved plan. Raises OperationNotFound, PlanUnusable."""
        if work.plan:
            former = await self._store.operation(work.plan)
            return hold_to_plan(former, work.options, host=work.host)
        if work.options.exact:
            try:
                record = await self._store.inventory(work.host)
            except InventoryNotFound:
                problem = "the host has never been queried"
                raise PlanUnusable(host=work.host, operation="", problem=problem) from None
            policy = host.config.policy.scope
            return hold_to_pending(record.pending, work.options, policy, host=work.host)
        return work.options

    async def _new_state(self, operation: Operation, host: Host, *, queue: bool) -> OperationState:
        running = await self._store.running_operation(host.name)
        now = self._clock.now()
        if running is not None:
            if not queue:
                raise HostBusy(host=host.name, operation=running.id)
            return queued(operation, host, now)
        try:
            return started(operation, host, now)
        except InvalidTransition as stale:
            # No operation runs on the host, so it was read before the last one had ended.
            raise Conflict(what=f"host {host.name}") from stale

    async def _supervise(
        self, held: Held, host: str, state: OperationState | None, resumed_after: str = ""
    ) -> None:
        await self._supervisor.run_until_end(held, state, resumed_after)
        self._running.start(self._queues.start_next(host))

    async def _run(self, state: OperationState, held: Held, resumed_after: str) -> Operation:
        """Run an operation to its end. See Supervisor."""
        id = state.operation.id
        if id not in self._runners:
            self._runners[id] = self._new_runner(state, held, resumed_after)
        runner, slot = self._runners[id]
        try:
            async with slot:
                await runner.run()
        finally:
            del self._runners[id]
            self._of_users.discard(id)
        return runner.operation

    def _new_runner(
        self, state: OperationState, held: Held, resumed_after: str
    ) -> tuple[OperationRunner, Slot]:
        if not state.operation.rollout:
            self._of_users.add(state.operation.id)
        slot = Slot(
            self._limits,
            clock=self._clock,
            waits=state.operation.waits_for_slot,
            unreachable=_unreachable(state.host),
        )
        runner = OperationRunner(
            state,
            store=self._store,
            session=Session(self._connector),
            executor=self._executor,
            clock=self._clock,
            slot=slot,
            lease=self._lease,
            held=held,
            retry=self._settings.retry,
            gone_timeout=self._settings.gone_timeout,
            log_limit=self._settings.log_limit,
            resumed_after=resumed_after,
        )
        slot.check_while_waiting(runner.require_current)
        slot.stop_waiting_on(runner.cancelled)
        return runner, slot

    async def _mark_cancelled(
        self, operation: Operation, call: MutationContext[Operation]
    ) -> Operation:
        """Store the cancellation of a running operation without a runner here.

        It pauses after a fault, or another replica drives it, which adopts the cancellation. Whoever takes it up finds
        it stored. Raises Conflict for one that has changed meanwhile.
        """
        now = self._clock.now()
        marked = replace(operation, cancel_requested_by=call.principal)
        state = OperationState(operation=marked, host=await self._store.host(operation.host))
        change = operation_change(state.with_progress(now), state.host)
        saved = await call.commit(self._store, change, at_revision(marked), subject=marked.id)
        self._supervisor.wake(operation.id)
        return saved


def _is_of_the_kind(former: Operation | None, update: OperationRequest) -> bool:
    """Whether `former` has the kind of `update`: a dry run does not continue an update, nor does a download."""
    if former is None or former.kind is not update.kind:
        return False
    return former.dry_run is update.dry_run and (
        former.options.download_only is update.options.download_only
    )


def _require_within(scope: Scope | None, host: Host) -> None:
    """Raise HostNotFound for a host outside: it has left the scope since the call was admitted."""
    if scope is not None and not scope.has(host):
        raise HostNotFound(host=host.name)


def _require_named(host: Host) -> None:
    """Raise RebootNotAllowed for the server's own machine unless its policy allows reboots."""
    if host.config.address == LOCAL and not host.config.may_reboot:
        raise RebootNotAllowed(host=host.name)


def _unreachable(host: Host) -> bool:
    problem = host.status.last_problem
    return problem is not None and problem.reason == HostUnreachable.reason
