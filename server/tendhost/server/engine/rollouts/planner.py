"""Plans of rollouts, made over the whole fleet in the thread for surveys."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol, TypeVar

from tendhost.server.clock import Clock
from tendhost.server.domain.policy.availability import Availability
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument, RolloutEmpty
from tendhost.server.domain.rollouts.budgets import BoundBudget, scopes
from tendhost.server.domain.rollouts.plan import (
    Exclusion,
    HostSummary,
    RolloutPlan,
    plan_rollout,
    require_sound_spec,
)
from tendhost.server.domain.rollouts.prerequisites import prerequisites_of
from tendhost.server.domain.rollouts.rollout import (
    Member,
    MemberStatus,
    Rollout,
    RolloutProgress,
    RolloutSpec,
    Wave,
)
from tendhost.server.engine.fleet.availability import HostAvailability
from tendhost.server.engine.fleet.selections import Selections
from tendhost.server.engine.ids import Ids
from tendhost.server.engine.rollouts.changes import change_of
from tendhost.server.store.protocols.hosts import FleetStore
from tendhost.server.store.protocols.operations import OperationStore
from tendhost.server.store.records import Change

T = TypeVar("T")


class PlanningStore(FleetStore, OperationStore, Protocol):
    """The fleet, and which hosts are busy."""


class Planner:
    """Plans rollouts."""

    def __init__(
        self,
        *,
        store: PlanningStore,
        host_availability: HostAvailability,
        selections: Selections,
        clock: Clock,
        ids: Ids,
        at_once: int,
    ) -> None:
        self._store = store
        self._host_availability = host_availability
        self._selections = selections
        self._clock = clock
        self._ids = ids
        self._at_once = at_once

    async def planned(
        self,
        spec: RolloutSpec,
        make: Callable[[RolloutPlan, Sequence[HostSummary]], T],
        *,
        retry: frozenset[str] = frozenset(),
        strictly: bool = True,
    ) -> T:
        """The result of `make` for the plan of a rollout that starts now, and for the fleet.

        `make` runs in the thread, too. `retry` are the hosts that are planned in FAILED, too; with `strictly` every
        host, tag and group of the filter must exist. Raises InvalidArgument, SelectionNotFound, RolloutEmpty,
        and what `make` raises.
        """
        require_sound_spec(spec)
        if strictly:
            await self._require_matched(spec)
        spec = replace(spec, filter=await self._selections.resolved(spec.filter))
        now = self._clock.now()
        id, at_once = self._ids.next(), self._at_once
        closed = self._host_availability.closed_at(now)
        busy = await self._store.busy_hosts()

        def survey(summaries: Iterable[HostSummary]) -> T:
            fleet = tuple(one for one in summaries if _in_reach(spec, one))
            availability: Mapping[str, Availability] = {}
            if not (spec.dry_run or spec.window_override_reason):
                availability = closed(fleet)
            plan = plan_rollout(
                spec,
                fleet,
                id=id,
                now=now,
                at_once=at_once,
                availability=availability,
                busy=busy,
                retry=retry,
            )
            if not plan.hosts:
                raise RolloutEmpty(excluded=[f"{h.name}: {h.detail}" for h in plan.excluded])
            return make(plan, fleet)

        return await self._store.survey(survey)

    async def _require_matched(self, spec: RolloutSpec) -> None:
        found = await self._selections.unmatched(spec.filter, scope=spec.bound_to)
        if found:
            raise InvalidArgument(
                *(FieldViolation(f"spec.filter.{one.field}", one.description) for one in found)
            )


def _in_reach(spec: RolloutSpec, host: HostSummary) -> bool:
    """Whether a rollout may reach the host: of hosts that it may not, a plan does not even tell the number."""
    reach = spec.bound_to
    return reach is None or reach.has_labels(groups=host.groups, tags=host.tags)


def with_scopes(
    budgets: Sequence[BoundBudget],
) -> Callable[[RolloutPlan, Sequence[HostSummary]], tuple[RolloutPlan, Sequence[str]]]:
    """Makes of a plan the plan, and the scopes in which its hosts count, in the order of `budgets`."""

    def made(plan: RolloutPlan, fleet: Sequence[HostSummary]) -> tuple[RolloutPlan, Sequence[str]]:
        taken = {host.name for host in plan.hosts}
        tags = {host.tags for host in fleet if host.name in taken}
        found: dict[str, None] = {}
        for bound in budgets:
            counted = {scope for each in tags for scope in scopes(bound.budget, each)}
            found.update(dict.fromkeys(sorted(counted)))
        return plan, list(found)

    return made


def rollout_of(
    plan: RolloutPlan, *, id: str, by: str, now: datetime, retry_of: str, retry: frozenset[str]
) -> tuple[Rollout, Change]:
    """The rollout of a plan, and the change that stores it with its waves and members.

    `retry` are the failed hosts of the rollout `retry_of`, which go on where they failed.
    """
    skipped = [host for host in plan.excluded if host.why is not Exclusion.EXCLUDED]
    total, excluded = len(plan.hosts) + len(skipped), len(skipped)
    rollout = Rollout(
        id=id,
        spec=plan.spec,
        created_at=now,
        created_by=by,
        retry_of=retry_of,
        progress=RolloutProgress(total_hosts=total, pending=len(plan.hosts), skipped=excluded),
        waves=len(plan.waves),
        expected_rest=plan.expected - plan.waves[0].expected,
        expected_end=now + plan.expected,
        notes=plan.notes,
        prerequisites=prerequisites_of(
            (host.dependence for host in plan.hosts), (host.dependence for host in skipped)
        ),
    )
    waves = [
        Wave(
            rollout=rollout.id,
            number=number,
            stage=wave.stage,
            progress=RolloutProgress(total_hosts=wave.hosts, pending=wave.hosts),
            expected=wave.expected,
        )
        for number, wave in enumerate(plan.waves)
    ]
    # Excluded hosts are stored with the last wave, so that every count is the sum over the waves.
    last = waves[-1]
    left = RolloutProgress(total_hosts=excluded, pending=0, skipped=excluded)
    waves[-1] = replace(last, progress=last.progress + left)
    members = [
        Member(
            rollout=rollout.id,
            host=host.name,
            wave=host.wave,
            position=position,
            retry=host.name in retry,
            registered_at=host.registered_at,
            dependence=host.dependence,
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
            dependence=host.dependence,
        )
        for position, host in enumerate(skipped, start=len(plan.hosts))
    )
    return rollout, change_of(rollout, now, waves=waves, members=members)
