"""Rollouts: planned, started and changed by users; each unfinished one has a controller in a task.

engine/rollouts/controller.py is what a rollout does without users. Each change by a user is one transaction,
after which the controller starts a new round.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from tendhost.server.clock import Clock
from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.leases import Held, LeaseKind
from tendhost.server.domain.request_errors import (
    FleetChanged,
    HostNotInRollout,
    HostNotSkippable,
    InvalidRolloutStatus,
    NotAnApprover,
    NothingToRetry,
    RolloutBudgetSpent,
    RolloutEmpty,
    TooManyRollouts,
    WaveNotWaiting,
)
from tendhost.server.domain.rollouts.budgets import overspent, require_sound_failures
from tendhost.server.domain.rollouts.plan import HostSummary, RolloutPlan, plan_changes
from tendhost.server.domain.rollouts.retries import another_chance
from tendhost.server.domain.rollouts.rollout import (
    HaltCause,
    Member,
    MemberStatus,
    Rollout,
    RolloutSpec,
    RolloutStatus,
)
from tendhost.server.domain.rollouts.rollout_update import RolloutUpdate
from tendhost.server.domain.rollouts.waves import HostOrder
from tendhost.server.engine.fleet.availability import HostAvailability
from tendhost.server.engine.fleet.selections import Selections
from tendhost.server.engine.operations.manager import Operations
from tendhost.server.engine.replica import ReplicaLease
from tendhost.server.engine.requests import MutationContext, at_revision, retried_on_conflict
from tendhost.server.engine.rollouts.admission import AFTER, Admission
from tendhost.server.engine.rollouts.changes import RolloutWorkStore, RolloutWriter
from tendhost.server.engine.rollouts.controller import RolloutController
from tendhost.server.engine.rollouts.planner import Planner, rollout_of, with_scopes
from tendhost.server.engine.rollouts.wave_hooks import WaveHooks
from tendhost.server.engine.tasks import TaskSet
from tendhost.server.engine.waiting import repeat_every
from tendhost.server.store.paging import every_member
from tendhost.server.store.protocols.hosts import FleetStore
from tendhost.server.store.protocols.leases import LeaseStore
from tendhost.server.store.protocols.rollouts import PlanStore
from tendhost.server.store.records import Change, LeaseLost, Touched

logger = logging.getLogger(__name__)

_STEERABLE = (
    RolloutStatus.RUNNING,
    RolloutStatus.PAUSED,
    RolloutStatus.HALTED,
    RolloutStatus.AWAITING_APPROVAL,
)
_RETRIABLE = (MemberStatus.FAILED, MemberStatus.ROLLED_BACK)


Beside = Callable[[Rollout, Change], Change]
"""Adds to the change that creates a rollout, so that both are stored or neither."""


AT_A_TIME = 16
"""Rollouts that a replica takes from others at once: several replicas share what one has left."""


class RolloutManagerStore(RolloutWorkStore, PlanStore, FleetStore, LeaseStore, Protocol):
    """Rollouts, who drives them, and the plans and the fleet that they begin from."""


class Rollouts:
    """All rollouts."""

    def __init__(
        self,
        *,
        store: RolloutManagerStore,
        operations: Operations,
        host_availability: HostAvailability,
        selections: Selections,
        wave_hooks: WaveHooks,
        clock: Clock,
        lease: ReplicaLease,
        tasks: asyncio.TaskGroup,
        held_up_after: timedelta,
        most_unfinished: int,
    ) -> None:
        """`most_unfinished`: with so many unfinished rollouts no further one starts, by a schedule neither."""
        self._store = store
        self._lease = lease
        self._most_unfinished = most_unfinished
        self._held_up_after = held_up_after
        self._operations = operations
        self._clock = clock
        self._planner = Planner(
            store=store,
            host_availability=host_availability,
            selections=selections,
            clock=clock,
            ids=operations.ids,
            at_once=operations.at_once,
        )
        self._writer = RolloutWriter(store=store, operations=operations, clock=clock)
        self._wave_hooks = wave_hooks
        self._admission = Admission(store=store, clock=clock, host_availability=host_availability)
        self._controllers: dict[str, RolloutController] = {}
        self._running: TaskSet[None] = TaskSet(tasks.create_task)
        lease.on_loss(self.stop)
        self._stop_listening = store.listen(self._hear)

    # --- changes by users ---------------------------------------------------------------------------

    async def plan(self, spec: RolloutSpec) -> RolloutPlan:
        """The plan of a rollout that would start now, stored so that it can be started by its id.

        Raises InvalidArgument, SelectionNotFound, RolloutEmpty.
        """
        budgets = await self._admission.budgets_with(spec)
        plan, scopes = await self._planner.planned(_seeded(spec), with_scopes(budgets))
        warnings = await self._admission.spent_budgets(budgets, scopes, named=spec.bound_to is None)
        plan = replace(plan, warnings=tuple(warnings))
        await self._store.save_plan(plan)
        return plan

    async def start(
        self, spec: RolloutSpec, call: MutationContext[Rollout], *, beside: Beside | None = None
    ) -> Rollout:
        """Start a rollout over the hosts that are selected now.

        `beside` adds to the transaction that creates it. Raises InvalidArgument, SelectionNotFound,
        RolloutEmpty, TooManyRollouts, AlreadyProcessed, and, with `beside`, Conflict.
        """
        return await self._start(_seeded(spec), call, beside=beside)

    async def start_planned(self, id: str, call: MutationContext[Rollout]) -> Rollout:
        """Start the rollout of a plan.

        Raises PlanNotFound, SelectionNotFound, FleetChanged (the plan would be another one now), RolloutEmpty,
        TooManyRollouts, AlreadyProcessed.
        """
        former = await self._store.plan(id)
        return await self._start(former.spec, call, former=former)

    async def pause(self, id: str, call: MutationContext[Rollout]) -> Rollout:
        """Pause a rollout: nothing new starts until it is resumed.

        Raises RolloutNotFound, InvalidRolloutStatus, AlreadyProcessed.
        """
        origins = (RolloutStatus.RUNNING, RolloutStatus.AWAITING_APPROVAL)
        return await self._steer(id, origins, RolloutStatus.PAUSED, "paused", call)

    @retried_on_conflict
    async def resume(
        self,
        id: str,
        call: MutationContext[Rollout],
        *,
        max_failures: str = "",
        ignore_reboots_left: bool = False,
    ) -> Rollout:
        """Resume a rollout that is paused or halted, with another failure budget if one is given, and without
        the reboots that were left if those are to be ignored.

        Raises RolloutNotFound, InvalidRolloutStatus, RolloutBudgetSpent, InvalidArgument, AlreadyProcessed.
        """
        rollout = await self._steerable(id, (RolloutStatus.PAUSED, RolloutStatus.HALTED), "resumed")
        require_sound_failures(max_failures)
        if max_failures:
            rollout = replace(rollout, spec=replace(rollout.spec, max_failures=max_failures))
        if ignore_reboots_left:
            rollout = replace(rollout, spec=replace(rollout.spec, require_rebooted=False))
        limit = rollout.spec.max_failures
        if overspent(limit, rollout.progress):
            raise RolloutBudgetSpent(
                rollout=id, failures=rollout.progress.failures, max_failures=limit
            )
        resumed = replace(rollout, status=RolloutStatus.RUNNING, halt=None, settling=None)
        return await self._commit(
            RolloutUpdate(resumed, message=f"resumed by {call.principal}"), call
        )

    async def cancel(self, id: str, call: MutationContext[Rollout]) -> Rollout:
        """Cancel a rollout: nothing new starts. Raises RolloutNotFound, InvalidRolloutStatus, AlreadyProcessed."""
        return await self._steer(id, _STEERABLE, RolloutStatus.CANCELLED, "cancelled", call)

    @retried_on_conflict
    async def approve(self, id: str, wave: int, call: MutationContext[Rollout]) -> Rollout:
        """Approve the wave of this number, from 0.

        Raises RolloutNotFound, InvalidRolloutStatus (none waits), NotAnApprover, WaveNotWaiting, AlreadyProcessed.
        """
        rollout = await self._steerable(id, (RolloutStatus.AWAITING_APPROVAL,), "approved")
        approvers = rollout.spec.approvers
        if approvers and call.user not in approvers:
            raise NotAnApprover(rollout=id, by=call.user, approvers=approvers)
        waiting = rollout.wave + 1
        if wave != waiting:
            raise WaveNotWaiting(rollout=id, wave=wave + 1, waiting=waiting + 1)
        approved = replace(
            rollout,
            status=RolloutStatus.RUNNING,
            approval_until=None,
            approved_wave=waiting,
        )
        message = f"wave {waiting + 1} approved by {call.principal}"
        update = RolloutUpdate(approved, message=message)
        update.change_wave(waiting, approved_by=call.principal, approved_at=self._clock.now())
        return await self._commit(update, call)

    @retried_on_conflict
    async def skip(self, id: str, host: str, call: MutationContext[Rollout]) -> Rollout:
        """Skip a host that has not started.

        Raises RolloutNotFound, HostNotInRollout, HostNotSkippable, InvalidRolloutStatus, AlreadyProcessed.
        """
        rollout = await self._steerable(id, _STEERABLE, "changed")
        member = await self._store.member(id, host)
        if member is None:
            raise HostNotInRollout(rollout=id, host=host)
        if member.status.begun:
            raise HostNotSkippable(rollout=id, host=host, status=str(member.status))
        update = RolloutUpdate(rollout, message=f"{host} skipped by {call.principal}")
        update.move(member, MemberStatus.SKIPPED, detail=f"skipped by {call.principal}")
        return await self._commit(update, call)

    @retried_on_conflict
    async def retry(self, id: str, call: MutationContext[Rollout]) -> Rollout:
        """Retry the failed hosts, each from the step that failed.

        In a rollout that has not ended they join its current wave, which ends a halt for failures. After its
        end a new rollout retries them. Hosts that were skipped because the retried ones had to succeed before
        them come with them, if no other host that had to succeed before them stays without success.

        Raises RolloutNotFound, NothingToRetry, InvalidRolloutStatus (it is cancelled or expired), RolloutEmpty
        (it has ended, and no failed host is registered any longer), TooManyRollouts, AlreadyProcessed.
        """
        rollout = await self._store.rollout(id)
        failed = [m async for m in every_member(self._store, id, statuses=_RETRIABLE)]
        if not failed:
            raise NothingToRetry(rollout=id)
        if rollout.over:
            return await self._retried_in_new_rollout(rollout, failed, call)
        rollout = await self._steerable(id, _STEERABLE, "retried")
        spent = rollout.halt is not None and rollout.halt.cause is HaltCause.FAILURES
        at_rest = rollout.status is RolloutStatus.PAUSED or (rollout.halt and not spent)
        retried = replace(
            rollout,
            status=rollout.status if at_rest else RolloutStatus.RUNNING,
            halt=None if spent else rollout.halt,
            next_wave_at=None,
            settling=None,
            approval_until=None,
        )
        message = f"{len(failed)} failed hosts retried by {call.principal}"
        update = RolloutUpdate(retried, message=message)
        for member in failed:
            update.move(member, MemberStatus.PENDING, wave=rollout.wave, retry=True, detail="")
        for member in another_chance(rollout, failed, await self._dependents(id)):
            update.move(member, MemberStatus.PENDING, wave=rollout.wave, detail="")
        update.change_wave(rollout.wave, ended_at=None, settled_at=None)
        return await self._commit(update, call)

    # --- calls of the engine ---------------------------------------------------------------------

    async def take_up_unfinished(self) -> int:
        """Start a controller for every unfinished rollout that nobody drives; returns their number."""
        number, more = 0, True
        while more:
            claimed = await self._store.claim(LeaseKind.ROLLOUT, self._lease.owner, limit=AT_A_TIME)
            for held in claimed:
                self._take_up(held)
            number += len(claimed)
            # Where there are other replicas, the next round is as good, and leaves them their share.
            more = len(claimed) == AT_A_TIME and self._lease.interval is None
        return number

    async def keep(self) -> None:
        """Take up what other replicas leave, until cancelled or where there are none."""
        interval = self._lease.interval
        if interval is None:
            return

        async def take_up() -> None:
            if self._lease.owner:
                with suppress(LeaseLost):
                    await self.take_up_unfinished()

        failed = "rollouts were not checked"
        await repeat_every(interval, take_up, clock=self._clock, logger=logger, failed=failed)

    async def stop(self) -> None:
        """Stop every controller; each rollout stays as it is stored."""
        await self._running.cancel()

    def close(self) -> None:
        """Hear of no further commits."""
        self._stop_listening()

    # --- inside -----------------------------------------------------------------------------------

    def recheck_host(self, host: str) -> None:
        """Decide again about a host whose windows or freeze periods have changed; empty: about all hosts."""
        for controller in self._controllers.values():
            controller.recheck_host(host)

    def _hear(self, touched: Touched) -> None:
        """Wake the controllers to which a commit matters, whichever replica has made it."""
        for id in touched.rollouts & self._controllers.keys():
            self._controllers[id].rollout_changed()
        for operation in touched.ended:
            for controller in self._controllers.values():
                controller.operation_ended(operation)

    def _take_up(self, held: Held) -> None:
        if held.id in self._controllers or not self._lease.holds(held):
            return  # what this server may not drive is free, and somebody claims it
        controller = RolloutController(
            held,
            store=self._store,
            operations=self._operations,
            admission=self._admission,
            lease=self._lease,
            wave_hooks=self._wave_hooks,
            clock=self._clock,
            held_up_after=self._held_up_after,
        )
        self._controllers[held.id] = controller
        self._running.start(self._run(controller))

    async def _run(self, controller: RolloutController) -> None:
        try:
            await controller.run()
        finally:
            del self._controllers[controller.id]

    async def _start(
        self,
        spec: RolloutSpec,
        call: MutationContext[Rollout],
        *,
        former: RolloutPlan | None = None,
        retry_of: str = "",
        retry: frozenset[str] = frozenset(),
        beside: Beside | None = None,
    ) -> Rollout:
        """Start the rollout that is planned now; it must be equal to the plan `former`, if that is given.

        `retry` are the failed hosts of the ended rollout `retry_of`.
        """
        if len(await self._store.unfinished_rollouts()) >= self._most_unfinished:
            raise TooManyRollouts(limit=self._most_unfinished)
        now, id = self._clock.now(), self._operations.ids.next()

        def made(plan: RolloutPlan, fleet: Sequence[HostSummary]) -> tuple[Rollout, Change]:
            if former is not None:
                _require_same(former, plan, fleet)
            return rollout_of(
                plan, id=id, by=call.principal, now=now, retry_of=retry_of, retry=retry
            )

        # Schedules warn in place of this: the fleet may have changed since they were created.
        strictly = beside is None and not retry_of
        rollout, change = await self._planner.planned(spec, made, retry=retry, strictly=strictly)
        if beside is not None:
            change = beside(rollout, change)
        change = replace(change, taken=self._lease.first(LeaseKind.ROLLOUT, id))
        # Its budgets apply to every rollout from the moment at which it is stored.
        async with self._admission.lock:
            saved = await call.commit(self._store, change, at_revision(rollout), subject=id)
        for held in change.taken:
            self._take_up(held)
        return saved

    async def _retried_in_new_rollout(
        self, rollout: Rollout, failed: Sequence[Member], call: MutationContext[Rollout]
    ) -> Rollout:
        # A host that was registered again since is another one, which has not failed.
        reach = rollout.spec.bound_to
        left = await self._registered(failed, reach)
        if not left and reach is not None:
            raise RolloutEmpty
        if not left:
            why = "it was removed, and another host may have its name since"
            raise RolloutEmpty(excluded=[f"{member.host}: {why}" for member in failed])
        dependents = await self._registered(await self._dependents(rollout.id), reach)
        retried = (*left, *another_chance(rollout, left, dependents))
        # Hosts that must succeed before others still must.
        strict = tuple(d for d in rollout.spec.division.dependencies if d.only_if_succeeded)
        division = replace(rollout.spec.division, stages=(), dependencies=strict)
        again = replace(
            rollout.spec,
            filter=HostFilter(names=tuple(member.host for member in retried)),
            division=division,
        )
        # Those that come with them have not begun: where one is in FAILED, that has another cause.
        names = frozenset(member.host for member in left)
        return await self._start(again, call, retry_of=rollout.id, retry=names)

    async def _dependents(self, id: str) -> Sequence[Member]:
        """Members that were skipped because hosts that must succeed before them did not."""
        skipped = every_member(self._store, id, statuses=(MemberStatus.SKIPPED,))
        return [member async for member in skipped if member.blocked_by.startswith(AFTER)]

    async def _registered(self, members: Sequence[Member], reach: Scope | None) -> Sequence[Member]:
        """Those of `members` whose host is still registered, and in reach of the rollout."""
        found = [(member, await self._store.find_host(member.host)) for member in members]
        return [
            member
            for member, host in found
            if host is not None
            and member.is_of(host.registered_at)
            and (reach is None or reach.has(host))
        ]

    @retried_on_conflict
    async def _steer(
        self,
        id: str,
        origins: Sequence[RolloutStatus],
        to: RolloutStatus,
        wanted: str,
        call: MutationContext[Rollout],
    ) -> Rollout:
        rollout = await self._steerable(id, origins, wanted)
        steered = replace(rollout, status=to, halt=None, approval_until=None)
        return await self._commit(
            RolloutUpdate(steered, message=f"{wanted} by {call.principal}"), call
        )

    async def _steerable(self, id: str, origins: Sequence[RolloutStatus], wanted: str) -> Rollout:
        rollout = await self._store.rollout(id)
        if rollout.over or rollout.status not in origins:
            raise InvalidRolloutStatus(rollout=id, status=str(rollout.status), wanted=wanted)
        return rollout

    async def _commit(self, update: RolloutUpdate, call: MutationContext[Rollout]) -> Rollout:
        """Store what a user has changed, and have the controller go on from it."""
        change = await self._writer.change_of(update)
        (rollout,) = change.rollouts
        saved = await call.commit(self._store, change, at_revision(rollout), subject=rollout.id)
        if rollout.id in self._controllers:
            self._controllers[rollout.id].wake()
        return saved


def _require_same(former: RolloutPlan, plan: RolloutPlan, fleet: Sequence[HostSummary]) -> None:
    """Raise FleetChanged unless `plan`, made over `fleet`, is equal to the plan `former`."""
    changes = plan_changes(former, plan)
    if changes and plan.spec.bound_to is not None:
        # Hosts that have left the scope are not named.
        within = {host.name for host in fleet}
        left = tuple(host for host in former.hosts if host.name in within)
        changes = plan_changes(replace(former, hosts=left), plan) or ("hosts are no longer in it",)
    if changes:
        raise FleetChanged(plan=former.id, changes="; ".join(changes))


def _seeded(spec: RolloutSpec) -> RolloutSpec:
    """The spec with the seed of its random order, so that the same order can be requested again."""
    division = spec.division
    if division.order is not HostOrder.RANDOM or division.seed:
        return spec
    seed = random.SystemRandom().randrange(1, 2**31)
    return replace(spec, division=replace(division, seed=seed))
