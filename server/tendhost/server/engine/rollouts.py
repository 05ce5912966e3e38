"""Rollouts are planned, started and steered here; each unfinished one is carried forward in a task.

What a rollout does by itself is in engine/carrying.py. Whatever a user asks is one transaction, upon
which that task decides anew.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace

from tendhost.server.clock import Clock
from tendhost.server.domain.budgets import overspent, require_sound_failures
from tendhost.server.domain.errors import (
    FleetChanged,
    HostNotSkippable,
    NotAnApprover,
    NothingToRetry,
    NotInRollout,
    RolloutBudgetSpent,
    RolloutEmpty,
    RolloutNotSteerable,
    WaveNotWaiting,
)
from tendhost.server.domain.opening import Opening
from tendhost.server.domain.operation import Operation
from tendhost.server.domain.rollout import (
    HaltCause,
    Member,
    MemberStatus,
    Progress,
    Rollout,
    RolloutSpec,
    RolloutStatus,
    Wave,
)
from tendhost.server.domain.rollout_plan import (
    Glance,
    LeftOut,
    RolloutPlan,
    plan_changes,
    plan_rollout,
    require_sound_spec,
)
from tendhost.server.domain.selection import HostFilter
from tendhost.server.domain.waves import HostOrder
from tendhost.server.engine.admission import Admission
from tendhost.server.engine.calls import Call, carried_out
from tendhost.server.engine.carrying import Carrier
from tendhost.server.engine.ids import new_id
from tendhost.server.engine.openings import Openings
from tendhost.server.engine.operations import Operations
from tendhost.server.engine.retrying import on_conflict_again
from tendhost.server.engine.rollout_changes import change_of, tallied
from tendhost.server.engine.selections import Selections
from tendhost.server.engine.wave_hooks import WaveHooks
from tendhost.server.store.protocol import Change, Store

PAGE = 1000
_STEERABLE = (
    RolloutStatus.RUNNING,
    RolloutStatus.PAUSED,
    RolloutStatus.HALTED,
    RolloutStatus.AWAITING_APPROVAL,
)
_RETRIABLE = (MemberStatus.FAILED, MemberStatus.ROLLED_BACK)


Beside = Callable[[Rollout, Change], Change]
"""Adds to the change that creates a rollout, so that both are stored or neither."""


class Rollouts:
    """Every rollout of the fleet."""

    def __init__(
        self,
        *,
        store: Store,
        operations: Operations,
        openings: Openings,
        selections: Selections,
        wave_hooks: WaveHooks,
        clock: Clock,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._store = store
        self._operations = operations
        self._clock = clock
        self._tasks = tasks
        self._openings = openings
        self._selections = selections
        self._wave_hooks = wave_hooks
        self._admission = Admission(store=store, clock=clock, openings=openings)
        self._carriers: dict[str, Carrier] = {}
        self._running: set[asyncio.Task[None]] = set()
        operations.on_end(self._operation_ended)

    # --- what users ask ---------------------------------------------------------------------------

    async def plan(self, spec: RolloutSpec) -> RolloutPlan:
        """What a rollout would do now; kept, so that it can be started by its id.

        Raises InvalidArgument, SelectionNotFound, RolloutEmpty.
        """
        plan, fleet = await self._planned(_seeded(spec))
        # In a thread, as the plan itself.
        tags = await asyncio.to_thread(_tags_of, plan, fleet)
        plan = replace(plan, warnings=tuple(await self._admission.full(plan.spec, tags)))
        await self._store.keep_plan(plan)
        return plan

    async def start(
        self, spec: RolloutSpec, call: Call[Rollout], *, beside: Beside | None = None
    ) -> Rollout:
        """Begin a rollout over the hosts that are selected now.

        `beside` adds to the transaction that creates it. Raises InvalidArgument, SelectionNotFound,
        RolloutEmpty, Replayed, and, with `beside`, Conflict.
        """
        plan, _ = await self._planned(_seeded(spec))
        return await self._begun(plan, call, beside=beside)

    async def start_planned(self, id: str, call: Call[Rollout]) -> Rollout:
        """Begin the rollout of a plan.

        Raises PlanNotFound, SelectionNotFound, FleetChanged (it would be another one by now), RolloutEmpty, Replayed.
        """
        former = await self._store.plan(id)
        current, _ = await self._planned(former.spec)
        changes = plan_changes(former, current)
        if changes:
            raise FleetChanged(plan=id, changes="; ".join(changes))
        return await self._begun(current, call)

    async def pause(self, id: str, call: Call[Rollout]) -> Rollout:
        """Start nothing new. Raises RolloutNotFound, RolloutNotSteerable, Replayed."""
        origins = (RolloutStatus.RUNNING, RolloutStatus.AWAITING_APPROVAL)
        return await self._steer(id, origins, RolloutStatus.PAUSED, "paused", call)

    @on_conflict_again
    async def resume(self, id: str, call: Call[Rollout], *, max_failures: str = "") -> Rollout:
        """Go on with a rollout that is paused or halted, with another failure budget if one is given.

        Raises RolloutNotFound, RolloutNotSteerable, RolloutBudgetSpent, InvalidArgument, Replayed.
        """
        rollout = await self._steerable(id, (RolloutStatus.PAUSED, RolloutStatus.HALTED), "resumed")
        require_sound_failures(max_failures)
        if max_failures:
            rollout = replace(rollout, spec=replace(rollout.spec, max_failures=max_failures))
        limit = rollout.spec.max_failures
        if rollout.progress.not_begun and overspent(limit, rollout.progress):
            raise RolloutBudgetSpent(
                rollout=id, failures=rollout.progress.failures, max_failures=limit
            )
        going = replace(rollout, status=RolloutStatus.RUNNING, halt=None, settling=None)
        return await self._steered(going, f"resumed by {call.principal}", call)

    async def cancel(self, id: str, call: Call[Rollout]) -> Rollout:
        """Start nothing new any more. Raises RolloutNotFound, RolloutNotSteerable, Replayed."""
        return await self._steer(id, _STEERABLE, RolloutStatus.CANCELLED, "cancelled", call)

    @on_conflict_again
    async def approve(self, id: str, wave: int, call: Call[Rollout]) -> Rollout:
        """Let the wave of this number, from 0, begin.

        Raises RolloutNotFound, RolloutNotSteerable (none waits), NotAnApprover, WaveNotWaiting, Replayed.
        """
        rollout = await self._steerable(id, (RolloutStatus.AWAITING_APPROVAL,), "approved")
        approvers = rollout.spec.approvers
        if approvers and call.user not in approvers:
            raise NotAnApprover(rollout=id, by=call.user, approvers=approvers)
        waiting = rollout.wave + 1
        if wave != waiting:
            raise WaveNotWaiting(rollout=id, wave=wave + 1, waiting=waiting + 1)
        following = await self._store.wave(id, waiting)
        approved = replace(following, approved_by=call.principal, approved_at=self._clock.now())
        going = replace(
            rollout,
            status=RolloutStatus.RUNNING,
            approval_until=None,
            approved_wave=waiting,
        )
        words = f"wave {waiting + 1} approved by {call.principal}"
        return await self._steered(going, words, call, waves=(approved,))

    @on_conflict_again
    async def skip(self, id: str, host: str, call: Call[Rollout]) -> Rollout:
        """Leave out a host that has not begun.

        Raises RolloutNotFound, NotInRollout, HostNotSkippable, RolloutNotSteerable, Replayed.
        """
        rollout = await self._steerable(id, _STEERABLE, "changed")
        member = await self._store.member(id, host)
        if member is None:
            raise NotInRollout(rollout=id, host=host)
        if member.status.begun:
            raise HostNotSkippable(rollout=id, host=host, status=str(member.status))
        tally = await tallied(self._store, rollout, (member,))
        tally.move(member, MemberStatus.SKIPPED, detail=f"skipped by {call.principal}")
        words = f"{host} skipped by {call.principal}"
        return await self._steered(
            tally.rollout, words, call, waves=tally.waves, members=tally.members
        )

    @on_conflict_again
    async def retry(self, id: str, call: Call[Rollout]) -> Rollout:
        """Try the hosts again that failed, each from the step that failed.

        While the rollout has not ended, in it, as a part of its current wave; that takes it out of
        HALTED. Else in a new one. Raises RolloutNotFound, NothingToRetry, RolloutNotSteerable (it is
        being wound up), Replayed.
        """
        rollout = await self._store.rollout(id)
        failed = [member async for member in self._members(id, _RETRIABLE)]
        if not failed:
            raise NothingToRetry(rollout=id)
        if rollout.over:
            return await self._retried_anew(rollout, failed, call)
        rollout = await self._steerable(id, _STEERABLE, "retried")
        tally = await tallied(self._store, rollout, failed)
        for member in failed:
            tally.move(member, MemberStatus.PENDING, wave=rollout.wave, retry=True, detail="")
        current = next(wave for wave in tally.waves if wave.number == rollout.wave)
        tally.change(replace(current, ended_at=None, settled_at=None))
        spent = rollout.halt is not None and rollout.halt.cause is HaltCause.FAILURES
        at_rest = rollout.status is RolloutStatus.PAUSED or (rollout.halt and not spent)
        going = replace(
            tally.rollout,
            status=rollout.status if at_rest else RolloutStatus.RUNNING,
            halt=None if spent else rollout.halt,
            next_wave_at=None,
            settling=None,
            approval_until=None,
        )
        words = f"{len(failed)} failed hosts retried by {call.principal}"
        return await self._steered(going, words, call, waves=tally.waves, members=tally.members)

    # --- what the engine asks ---------------------------------------------------------------------

    async def take_up_unfinished(self) -> int:
        """Carry forward again whatever a former server left; how many rollouts that is."""
        unfinished: list[Rollout] = []
        before, more = "", True
        while more:
            page = await self._store.rollouts(before=before, limit=PAGE)
            unfinished.extend(rollout for rollout in page.items if not rollout.over)
            more = page.more
            before = page.items[-1].id if page.items else before
        # The budgets of each bind all of them, so all are known before the first goes on.
        for rollout in unfinished:
            self._admission.hold(rollout)
        for rollout in unfinished:
            self._take_up(rollout)
        return len(unfinished)

    async def stop(self) -> None:
        """Let go of every rollout; each stays as it is stored."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    # --- inside -----------------------------------------------------------------------------------

    def look_anew(self, host: str) -> None:
        """Hear that windows or freeze periods have changed for a host; empty: for any number of them."""
        for carrier in self._carriers.values():
            carrier.look_anew(host)

    def _operation_ended(self, operation: Operation) -> None:
        for carrier in self._carriers.values():
            carrier.operation_ended(operation)

    def _take_up(self, rollout: Rollout) -> None:
        carrier = Carrier(
            rollout.id,
            store=self._store,
            operations=self._operations,
            admission=self._admission,
            wave_hooks=self._wave_hooks,
            clock=self._clock,
        )
        self._carriers[rollout.id] = carrier
        task = self._tasks.create_task(self._carry(carrier))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _carry(self, carrier: Carrier) -> None:
        try:
            await carrier.run()
        finally:
            del self._carriers[carrier.id]
            self._admission.release(carrier.id)

    async def _planned(
        self, spec: RolloutSpec, *, retry: bool = False
    ) -> tuple[RolloutPlan, Sequence[Glance]]:
        """The plan of a rollout that begins now, and the fleet that it was made for."""
        require_sound_spec(spec)
        spec = replace(spec, filter=await self._selections.resolved(spec.filter))
        now = self._clock.now()
        fleet = await self._store.glances()
        openings = await self._closed(spec, fleet)
        busy = await self._store.busy_hosts()
        # In a thread: a large fleet takes a second, in which everybody else is to be served.
        plan = await asyncio.to_thread(
            plan_rollout,
            spec,
            fleet,
            id=new_id(now),
            now=now,
            at_once=self._operations.at_once,
            openings=openings,
            busy=busy,
            retry=retry,
        )
        if not plan.hosts:
            raise RolloutEmpty(left_out=[f"{h.name}: {h.detail}" for h in plan.left_out])
        return plan, fleet

    async def _closed(self, spec: RolloutSpec, fleet: Sequence[Glance]) -> Mapping[str, Opening]:
        """The hosts that may not be changed now."""
        if spec.dry_run or spec.window_override:
            return {}
        return await self._openings.closed(fleet, self._clock.now())

    async def _begun(
        self,
        plan: RolloutPlan,
        call: Call[Rollout],
        *,
        retry_of: str = "",
        beside: Beside | None = None,
    ) -> Rollout:
        rollout, change = self._of_plan(plan, call, retry_of=retry_of)
        if beside is not None:
            change = beside(rollout, change)
        # From the moment at which it is on record its budgets bind every rollout.
        async with self._admission.lock:
            saved = await carried_out(
                self._store, change, lambda revision: replace(rollout, revision=revision)
            )
            self._admission.hold(saved)
        self._take_up(saved)
        return saved

    def _of_plan(
        self, plan: RolloutPlan, call: Call[Rollout], *, retry_of: str
    ) -> tuple[Rollout, Change]:
        now = self._clock.now()
        skipped = [host for host in plan.left_out if host.why is not LeftOut.EXCLUDED]
        total, left_out = len(plan.hosts) + len(skipped), len(skipped)
        rollout = Rollout(
            id=new_id(now),
            spec=plan.spec,
            created_at=now,
            created_by=call.principal,
            retry_of=retry_of,
            progress=Progress(total_hosts=total, pending=len(plan.hosts), skipped=left_out),
            waves=len(plan.waves),
            expected_rest=plan.expected - plan.waves[0].expected,
            expected_end=now + plan.expected,
        )
        waves = [
            Wave(
                rollout=rollout.id,
                number=number,
                stage=wave.stage,
                progress=Progress(total_hosts=wave.hosts, pending=wave.hosts),
                expected=wave.expected,
            )
            for number, wave in enumerate(plan.waves)
        ]
        # Who is left out is on record with the last wave, so that every count is a sum of the waves'.
        last = waves[-1]
        left = Progress(total_hosts=left_out, pending=0, skipped=left_out)
        waves[-1] = replace(last, progress=last.progress + left)
        members = [
            Member(
                rollout=rollout.id,
                host=host.name,
                wave=host.wave,
                position=position,
                retry=bool(retry_of),
            )
            for position, host in enumerate(plan.hosts)
        ]
        members.extend(
            Member(
                rollout=rollout.id,
                host=host.name,
                wave=last.number,
                position=position,
                status=MemberStatus.SKIPPED,
                detail=host.detail,
            )
            for position, host in enumerate(skipped, start=len(plan.hosts))
        )
        change = replace(
            change_of(rollout, now, waves=waves, members=members),
            audit=call.audit(rollout.id, now),
            request=call.record(lambda revision: replace(rollout, revision=revision)),
        )
        return rollout, change

    async def _retried_anew(
        self, rollout: Rollout, failed: Sequence[Member], call: Call[Rollout]
    ) -> Rollout:
        division = replace(rollout.spec.division, stages=(), dependencies=())
        again = replace(
            rollout.spec,
            filter=HostFilter(names=tuple(member.host for member in failed)),
            division=division,
        )
        plan, _ = await self._planned(again, retry=True)
        return await self._begun(plan, call, retry_of=rollout.id)

    @on_conflict_again
    async def _steer(
        self,
        id: str,
        origins: Sequence[RolloutStatus],
        to: RolloutStatus,
        wanted: str,
        call: Call[Rollout],
    ) -> Rollout:
        rollout = await self._steerable(id, origins, wanted)
        steered = replace(rollout, status=to, halt=None, approval_until=None, expected_end=None)
        return await self._steered(steered, f"{wanted} by {call.principal}", call)

    async def _steerable(self, id: str, origins: Sequence[RolloutStatus], wanted: str) -> Rollout:
        rollout = await self._store.rollout(id)
        if rollout.over or rollout.status not in origins:
            raise RolloutNotSteerable(rollout=id, status=str(rollout.status), wanted=wanted)
        return rollout

    async def _steered(
        self,
        rollout: Rollout,
        words: str,
        call: Call[Rollout],
        *,
        waves: Sequence[Wave] = (),
        members: Sequence[Member] = (),
    ) -> Rollout:
        now = self._clock.now()
        change = replace(
            change_of(rollout, now, message=words, waves=waves, members=members),
            audit=call.audit(rollout.id, now),
            request=call.record(lambda revision: replace(rollout, revision=revision)),
        )
        saved = await carried_out(
            self._store, change, lambda revision: replace(rollout, revision=revision)
        )
        if rollout.id in self._carriers:
            self._carriers[rollout.id].wake()
        return saved

    async def _members(self, id: str, statuses: Sequence[MemberStatus]) -> AsyncIterator[Member]:
        after = -1
        while True:
            page = await self._store.members(id, statuses=statuses, after=after, limit=PAGE)
            for member in page.items:
                yield member
            if not page.more:
                return
            after = page.items[-1].position


def _tags_of(plan: RolloutPlan, fleet: Sequence[Glance]) -> Sequence[str]:
    """The tags of the hosts that have their place in a plan, in order."""
    taken = {host.name for host in plan.hosts}
    return sorted({tag for host in fleet if host.name in taken for tag in host.tags})


def _seeded(spec: RolloutSpec) -> RolloutSpec:
    """The spec with the seed that its order is drawn with, for whoever wants the same order again."""
    division = spec.division
    if division.order is not HostOrder.RANDOM or division.seed:
        return spec
    seed = random.SystemRandom().randrange(1, 2**31)
    return replace(spec, division=replace(division, seed=seed))
