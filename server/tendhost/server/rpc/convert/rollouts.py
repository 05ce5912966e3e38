"""Rollouts and their plans, between messages and domain values."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from tendhost.server.domain.bounds import LARGEST_COUNT, text
from tendhost.server.domain.rollouts.plan import (
    ExcludedHost,
    Exclusion,
    PlannedHost,
    PlannedHostCondition,
    PlanOutline,
)
from tendhost.server.domain.rollouts.rollout import (
    DisruptionBudget,
    Halt,
    HaltCause,
    Member,
    MemberStatus,
    Rollout,
    RolloutProgress,
    RolloutSpec,
    RolloutStatus,
    WaitingFor,
    Wave,
)
from tendhost.server.domain.rollouts.waves import (
    DEFAULT_WAVES,
    Dependency,
    Division,
    HostOrder,
    Stage,
)
from tendhost.server.rpc.convert.common import duration, numbers, timestamp
from tendhost.server.rpc.convert.selections import (
    filter_message,
    host_filter,
    override_message,
    scope_override,
)
from tendhost.server.rpc.convert.whole import whole
from tendhost.v1 import rollout_pb2 as pb
from tendhost.v1.host_pb2 import HostFilter as HostFilterMessage

SHOWN_WAVES = 1000
"""Of a plan."""

STATUS = numbers(RolloutStatus, pb.RolloutStatus)
_STATUS_OF = {number: status for status, number in STATUS.items()}
_MEMBER_STATUS = numbers(MemberStatus, pb.RolloutHostStatus)
_WAITING_FOR = numbers(WaitingFor, pb.WaitingFor)
_NOTHING = pb.WAITING_FOR_UNSPECIFIED
_HALT_CAUSE = numbers(HaltCause, pb.HaltCause)
_ORDER = numbers(HostOrder, pb.HostOrder)
_ORDER_OF = {number: order for order, number in _ORDER.items()}
_EXCLUSION = numbers(Exclusion, pb.Exclusion)
_CONDITION = numbers(PlannedHostCondition, pb.PlannedHostCondition)


def rollout_spec(message: pb.RolloutSpec) -> RolloutSpec:
    """A validated request for a rollout, its defaults filled in."""
    spec = RolloutSpec(
        filter=host_filter(message.filter),
        division=Division(
            waves=tuple(message.waves) or DEFAULT_WAVES,
            stages=tuple(Stage(tag=s.tag, waves=tuple(s.waves)) for s in message.stages),
            dependencies=tuple(
                Dependency(before=d.before, after=d.after, only_if_succeeded=d.only_if_succeeded)
                for d in message.dependencies
            ),
            order=_ORDER_OF.get(message.order, HostOrder.NAME),
            seed=message.seed,
        ),
        max_failures=message.max_failures,
        budgets=tuple(
            DisruptionBudget(limit=b.limit, per_tag=b.per_tag) for b in message.max_unavailable
        ),
        ignore_earlier_failures=message.ignore_earlier_failures,
        approve_waves=message.approve_waves,
        approvers=tuple(message.approvers),
        window_override_reason=message.window_override_reason.strip(),
        dry_run=message.dry_run,
        scope=scope_override(message.scope) if message.HasField("scope") else None,
        require_rebooted=message.require_rebooted,
    )
    if message.HasField("delay_between_waves"):
        spec = replace(spec, delay_between_waves=message.delay_between_waves.ToTimedelta())
    if message.HasField("settle"):
        spec = replace(spec, settle=message.settle.ToTimedelta())
    if message.HasField("approval_timeout"):
        spec = replace(spec, approval_timeout=message.approval_timeout.ToTimedelta())
    if message.HasField("expires_after"):
        spec = replace(spec, expires_after=message.expires_after.ToTimedelta())
    return spec


def spec_message(spec: RolloutSpec) -> pb.RolloutSpec:
    """A definition as clients see it."""
    division = spec.division
    return pb.RolloutSpec(
        filter=filter_message(spec.filter),
        waves=division.waves,
        stages=[pb.RolloutStage(tag=s.tag, waves=s.waves) for s in division.stages],
        dependencies=[
            pb.RolloutDependency(
                before=d.before, after=d.after, only_if_succeeded=d.only_if_succeeded
            )
            for d in division.dependencies
        ],
        order=_ORDER[division.order],
        seed=division.seed,
        delay_between_waves=_duration(spec.delay_between_waves),
        settle=_duration(spec.settle or None),
        max_failures=spec.max_failures,
        max_unavailable=[
            pb.DisruptionBudget(limit=b.limit, per_tag=b.per_tag) for b in spec.budgets
        ],
        ignore_earlier_failures=spec.ignore_earlier_failures,
        approve_waves=spec.approve_waves,
        approvers=spec.approvers,
        approval_timeout=_duration(spec.approval_timeout) if spec.approve_waves else None,
        expires_after=_duration(spec.expires_after),
        window_override_reason=spec.window_override_reason,
        dry_run=spec.dry_run,
        scope=override_message(spec.scope) if spec.scope is not None else None,
        require_rebooted=spec.require_rebooted,
    )


def bound_to_message(spec: RolloutSpec) -> HostFilterMessage | None:
    """The hosts that a rollout never reaches beyond, as clients see them."""
    return None if spec.bound_to is None else filter_message(spec.bound_to.filter)


def rollout_statuses(numbers: Iterable[int]) -> tuple[RolloutStatus, ...]:
    """Validated statuses."""
    return tuple(_STATUS_OF[number] for number in numbers)


def _unread_rollout(rollout: Rollout | str, why: str) -> pb.Rollout:
    id = rollout if isinstance(rollout, str) else rollout.id
    return pb.Rollout(id=text(id), incomplete=why)


@whole(_unread_rollout)
def rollout_message(rollout: Rollout) -> pb.Rollout:
    """A rollout as clients see it."""
    return pb.Rollout(
        id=rollout.id,
        spec=spec_message(rollout.spec),
        status=STATUS[rollout.status],
        progress=progress_message(rollout.progress),
        wave=rollout.wave + 1,
        wave_count=rollout.waves,
        next_wave_at=timestamp(rollout.next_wave_at),
        created_by=rollout.created_by,
        created_at=timestamp(rollout.created_at),
        ended_at=timestamp(rollout.ended_at),
        revision=rollout.revision,
        halt=_halt_message(rollout.halt) if rollout.halt is not None else None,
        approval_until=timestamp(rollout.approval_until),
        expires_at=timestamp(rollout.expires_at),
        expected_end=timestamp(rollout.expected_end),
        retry_of=rollout.retry_of,
        settling_since=timestamp(rollout.settling.since) if rollout.settling else None,
        held_up=rollout.held_up,
        notes=rollout.notes,
        reboots_left_count=rollout.reboots_left,
        bound_to=bound_to_message(rollout.spec),
        opens_at=timestamp(rollout.opens_at if rollout.status is RolloutStatus.RUNNING else None),
    )


def _halt_message(halt: Halt) -> pb.Halt:
    return pb.Halt(
        cause=_HALT_CAUSE[halt.cause],
        message=halt.message,
        at=timestamp(halt.at),
        hosts=halt.hosts,
    )


def progress_message(progress: RolloutProgress) -> pb.RolloutProgress:
    """Number of hosts in each status, as clients see it."""
    return pb.RolloutProgress(
        total_hosts=progress.total_hosts,
        pending=progress.pending,
        waiting=progress.waiting,
        in_progress=progress.in_progress,
        completed=progress.completed,
        failed=progress.failed,
        rolled_back=progress.rolled_back,
        skipped=progress.skipped,
    )


def _unread_wave(wave: Wave | str, why: str) -> pb.RolloutWave:
    number = int(wave) if isinstance(wave, str) else wave.number
    return pb.RolloutWave(number=min(max(number, 0), LARGEST_COUNT) + 1, incomplete=why)


@whole(_unread_wave)
def wave_message(wave: Wave) -> pb.RolloutWave:
    """One wave of a rollout as clients see it."""
    return pb.RolloutWave(
        number=wave.number + 1,
        stage=wave.stage,
        progress=progress_message(wave.progress),
        expected_duration=_duration(wave.expected),
        started_at=timestamp(wave.started_at),
        ended_at=timestamp(wave.ended_at),
        approved_by=wave.approved_by,
        approved_at=timestamp(wave.approved_at),
        settled_at=timestamp(wave.settled_at),
    )


def _unread_member(member: Member | str, why: str) -> pb.RolloutHost:
    host = member if isinstance(member, str) else member.host
    return pb.RolloutHost(host=text(host), incomplete=why)


@whole(_unread_member)
def member_message(member: Member) -> pb.RolloutHost:
    """One host of a rollout as clients see it."""
    waiting = member.waiting
    return pb.RolloutHost(
        host=member.host,
        wave=member.wave + 1,
        status=_MEMBER_STATUS[member.status],
        operation_id=member.operation,
        detail=member.detail,
        waiting_for=_WAITING_FOR[waiting] if waiting is not None else _NOTHING,
        opens_at=timestamp(member.not_before),
        reboot_left=member.reboot_left,
    )


def _unread_plan(plan: PlanOutline | str, why: str) -> pb.RolloutPlan:
    return pb.RolloutPlan(id=text(plan if isinstance(plan, str) else plan.id), incomplete=why)


@whole(_unread_plan)
def plan_message(plan: PlanOutline) -> pb.RolloutPlan:
    """A plan without its hosts, as clients see it."""
    return pb.RolloutPlan(
        id=plan.id,
        created_at=timestamp(plan.created_at),
        spec=spec_message(plan.spec),
        waves=[
            pb.RolloutWave(
                number=number,
                stage=wave.stage,
                progress=pb.RolloutProgress(total_hosts=wave.hosts, pending=wave.hosts),
                expected_duration=_duration(wave.expected),
            )
            for number, wave in enumerate(plan.waves[:SHOWN_WAVES], start=1)
        ],
        wave_count=len(plan.waves),
        host_count=plan.host_count,
        excluded_count=plan.excluded_count,
        not_selected_count=plan.not_selected,
        expected_duration=_duration(plan.expected),
        known_duration_count=plan.known_durations,
        warnings=plan.warnings,
        notes=plan.notes,
        bound_to=bound_to_message(plan.spec),
    )


def _unread_planned(host: PlannedHost | ExcludedHost | str, why: str) -> pb.PlannedHost:
    return pb.PlannedHost(host=text(host if isinstance(host, str) else host.name), detail=why)


@whole(_unread_planned)
def planned_host_message(host: PlannedHost | ExcludedHost) -> pb.PlannedHost:
    """One host of a plan as clients see it."""
    if isinstance(host, ExcludedHost):
        return pb.PlannedHost(host=host.name, exclusion=_EXCLUSION[host.why], detail=host.detail)
    return pb.PlannedHost(
        host=host.name,
        wave=host.wave + 1,
        conditions=[_CONDITION[condition] for condition in host.conditions],
        opens_at=timestamp(host.opens_at),
        detail=host.detail,
    )


def _duration(span: timedelta | None) -> Duration | None:
    return None if span is None else duration(span)
