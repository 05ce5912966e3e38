"""Conversion of rollouts and their plans."""

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from tendhost.client.convert import selections as convert_selections
from tendhost.client.convert.enums import enum_names, instant, numbers, reading, span
from tendhost.client.models import rollouts as values
from tendhost.v1 import rollout_pb2 as pb

_ORDERS = enum_names(values.HostOrder, pb.HostOrder)
_ORDER_NUMBERS = numbers(_ORDERS)

status = reading(
    enum_names(values.RolloutStatus, pb.RolloutStatus), values.RolloutStatus.UNRECOGNIZED
)
_host_status = reading(
    enum_names(values.RolloutHostStatus, pb.RolloutHostStatus),
    values.RolloutHostStatus.UNRECOGNIZED,
)
_waiting_for = reading(enum_names(values.WaitingFor, pb.WaitingFor), values.WaitingFor.UNRECOGNIZED)
_order = reading(_ORDERS, values.HostOrder.UNRECOGNIZED)
_halt_cause = reading(enum_names(values.HaltCause, pb.HaltCause), values.HaltCause.UNRECOGNIZED)
_exclusion = reading(enum_names(values.Exclusion, pb.Exclusion), values.Exclusion.UNRECOGNIZED)
_condition = reading(
    enum_names(values.PlannedHostCondition, pb.PlannedHostCondition),
    values.PlannedHostCondition.UNRECOGNIZED,
)


def spec_message(spec: values.RolloutSpec) -> pb.RolloutSpec:
    """What is asked, for a request."""
    return pb.RolloutSpec(
        filter=convert_selections.filter_message(spec.filter),
        waves=spec.waves,
        stages=[pb.RolloutStage(tag=stage.tag, waves=stage.waves) for stage in spec.stages],
        dependencies=[
            pb.RolloutDependency(
                before=pair.before, after=pair.after, only_if_succeeded=pair.only_if_succeeded
            )
            for pair in spec.dependencies
        ],
        order=_ORDER_NUMBERS[spec.order],
        seed=spec.seed,
        delay_between_waves=_duration(spec.delay_between_waves),
        settle=_duration(spec.settle),
        max_failures=spec.max_failures,
        max_unavailable=[
            pb.DisruptionBudget(limit=budget.limit, per_tag=budget.per_tag)
            for budget in spec.max_unavailable
        ],
        ignore_earlier_failures=spec.ignore_earlier_failures,
        approve_waves=spec.approve_waves,
        approvers=spec.approvers,
        approval_timeout=_duration(spec.approval_timeout),
        expires_after=_duration(spec.expires_after),
        window_override_reason=spec.window_override_reason,
        dry_run=spec.dry_run,
        scope=convert_selections.override_message(spec.scope) if spec.scope is not None else None,
        require_rebooted=spec.require_rebooted,
    )


def spec(message: pb.RolloutSpec) -> values.RolloutSpec:
    """What was asked."""
    return values.RolloutSpec(
        filter=convert_selections.host_filter(message.filter),
        waves=tuple(message.waves),
        stages=tuple(
            values.RolloutStage(tag=stage.tag, waves=tuple(stage.waves)) for stage in message.stages
        ),
        dependencies=tuple(
            values.RolloutDependency(
                before=pair.before, after=pair.after, only_if_succeeded=pair.only_if_succeeded
            )
            for pair in message.dependencies
        ),
        order=_order(message.order),
        seed=message.seed,
        delay_between_waves=span(message.delay_between_waves),
        settle=_lasting(message, "settle"),
        max_failures=message.max_failures,
        max_unavailable=tuple(
            values.DisruptionBudget(limit=budget.limit, per_tag=budget.per_tag)
            for budget in message.max_unavailable
        ),
        ignore_earlier_failures=message.ignore_earlier_failures,
        approve_waves=message.approve_waves,
        approvers=tuple(message.approvers),
        approval_timeout=_lasting(message, "approval_timeout"),
        expires_after=_lasting(message, "expires_after"),
        window_override_reason=message.window_override_reason,
        dry_run=message.dry_run,
        scope=convert_selections.scope_override(message.scope)
        if message.HasField("scope")
        else None,
        require_rebooted=message.require_rebooted,
    )


def rollout(message: pb.Rollout) -> values.Rollout:
    """A rollout."""
    return values.Rollout(
        id=message.id,
        spec=spec(message.spec),
        status=status(message.status),
        progress=progress(message.progress),
        wave=message.wave,
        wave_count=message.wave_count,
        next_wave_at=instant(message, "next_wave_at"),
        created_by=message.created_by,
        created_at=instant(message, "created_at"),
        ended_at=instant(message, "ended_at"),
        revision=message.revision,
        halt=_halt(message.halt) if message.HasField("halt") else None,
        approval_until=instant(message, "approval_until"),
        expires_at=instant(message, "expires_at"),
        expected_end=instant(message, "expected_end"),
        retry_of=message.retry_of,
        settling_since=instant(message, "settling_since"),
        held_up=message.held_up,
        notes=tuple(message.notes),
        reboots_left_count=message.reboots_left_count,
        opens_at=instant(message, "opens_at"),
        bound_to=convert_selections.host_filter(message.bound_to)
        if message.HasField("bound_to")
        else None,
        incomplete=message.incomplete,
    )


def _halt(message: pb.Halt) -> values.Halt:
    return values.Halt(
        cause=_halt_cause(message.cause),
        message=message.message,
        at=instant(message, "at"),
        hosts=tuple(message.hosts),
    )


def progress(message: pb.RolloutProgress) -> values.Progress:
    """Number of hosts in each status, as clients see it."""
    return values.Progress(
        total_hosts=message.total_hosts,
        pending=message.pending,
        in_progress=message.in_progress,
        completed=message.completed,
        failed=message.failed,
        skipped=message.skipped,
        waiting=message.waiting,
        rolled_back=message.rolled_back,
    )


def wave(message: pb.RolloutWave) -> values.RolloutWave:
    """One wave of a rollout."""
    return values.RolloutWave(
        number=message.number,
        stage=message.stage,
        progress=progress(message.progress),
        expected_duration=span(message.expected_duration),
        started_at=instant(message, "started_at"),
        ended_at=instant(message, "ended_at"),
        approved_by=message.approved_by,
        approved_at=instant(message, "approved_at"),
        settled_at=instant(message, "settled_at"),
        incomplete=message.incomplete,
    )


def rollout_host(message: pb.RolloutHost) -> values.RolloutHost:
    """One host of a rollout."""
    return values.RolloutHost(
        host=message.host,
        wave=message.wave,
        status=_host_status(message.status),
        operation_id=message.operation_id,
        detail=message.detail,
        waiting_for=_waiting_for(message.waiting_for) if message.waiting_for else None,
        opens_at=instant(message, "opens_at"),
        reboot_left=message.reboot_left,
        incomplete=message.incomplete,
    )


def plan(message: pb.RolloutPlan) -> values.RolloutPlan:
    """A plan as a whole."""
    return values.RolloutPlan(
        id=message.id,
        created_at=instant(message, "created_at"),
        spec=spec(message.spec),
        waves=tuple(wave(part) for part in message.waves),
        wave_count=message.wave_count,
        host_count=message.host_count,
        excluded_count=message.excluded_count,
        not_selected_count=message.not_selected_count,
        expected_duration=span(message.expected_duration),
        known_duration_count=message.known_duration_count,
        warnings=tuple(message.warnings),
        notes=tuple(message.notes),
        bound_to=convert_selections.host_filter(message.bound_to)
        if message.HasField("bound_to")
        else None,
        incomplete=message.incomplete,
    )


def planned_host(message: pb.PlannedHost) -> values.PlannedHost:
    """One host of a plan."""
    return values.PlannedHost(
        host=message.host,
        wave=message.wave,
        exclusion=_exclusion(message.exclusion) if message.exclusion else None,
        conditions=tuple(_condition(number) for number in message.conditions),
        opens_at=instant(message, "opens_at"),
        detail=message.detail,
    )


def _duration(duration: timedelta | None) -> Duration | None:
    if duration is None:
        return None
    message = Duration()
    message.FromTimedelta(duration)
    return message


def _lasting(message: pb.RolloutSpec, field: str) -> timedelta | None:
    if not message.HasField(field):  # type: ignore[arg-type]
        return None
    duration: Duration = getattr(message, field)
    return span(duration)
