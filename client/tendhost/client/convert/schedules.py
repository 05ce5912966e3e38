"""Conversion of schedules."""

from google.protobuf.duration_pb2 import Duration

from tendhost.client.convert import rollouts as convert_rollouts
from tendhost.client.convert import selections as convert_selections
from tendhost.client.convert.changes import field_changes
from tendhost.client.convert.enums import enum_names, instant, moment, numbers, reading, span
from tendhost.client.models import schedules as values
from tendhost.client.models.events import ScheduleChanged
from tendhost.v1 import event_pb2
from tendhost.v1 import schedule_pb2 as pb

_MISSED = enum_names(values.MissedRuns, pb.MissedRuns)
_MISSED_NUMBERS = numbers(_MISSED)

_missed = reading(_MISSED, values.MissedRuns.UNRECOGNIZED)
_status = reading(
    enum_names(values.ScheduleStatus, pb.ScheduleStatus), values.ScheduleStatus.UNRECOGNIZED
)
_outcome = reading(enum_names(values.RunOutcome, pb.RunOutcome), values.RunOutcome.UNRECOGNIZED)
_change = reading(
    enum_names(values.ScheduleChange, event_pb2.ScheduleChange), values.ScheduleChange.UNRECOGNIZED
)


def spec_message(spec: values.ScheduleSpec) -> pb.ScheduleSpec:
    """What is asked, for a request."""
    message = pb.ScheduleSpec(
        name=spec.name,
        cron=spec.cron,
        rrule=spec.rrule,
        time_zone=spec.time_zone,
        offset_days=spec.offset_days,
        missed=_MISSED_NUMBERS[spec.missed],
        grace=Duration(),
        rollout=convert_rollouts.spec_message(spec.rollout),
    )
    message.grace.FromTimedelta(spec.grace)
    if spec.starts_at is not None:
        message.starts_at.FromDatetime(spec.starts_at)
    return message


def spec(message: pb.ScheduleSpec) -> values.ScheduleSpec:
    """What was asked."""
    return values.ScheduleSpec(
        name=message.name,
        cron=message.cron,
        rrule=message.rrule,
        time_zone=message.time_zone,
        starts_at=instant(message, "starts_at"),
        offset_days=message.offset_days,
        missed=_missed(message.missed),
        grace=span(message.grace),
        rollout=convert_rollouts.spec(message.rollout),
    )


def schedule(message: pb.Schedule) -> values.Schedule:
    """A schedule."""
    last = message.last_rollout if message.HasField("last_rollout") else None
    return values.Schedule(
        spec=spec(message.spec),
        status=_status(message.status),
        next_runs=tuple(moment(at) for at in message.next_runs),
        last_run=_run(message.last_run) if message.HasField("last_run") else None,
        last_rollout=convert_rollouts.rollout(last) if last is not None else None,
        created_by=message.created_by,
        created_at=instant(message, "created_at"),
        revision=message.revision,
        etag=message.etag,
        warnings=tuple(message.warnings),
        bound_to=convert_selections.host_filter(message.bound_to)
        if message.HasField("bound_to")
        else None,
        incomplete=message.incomplete,
    )


def _run(message: pb.ScheduledRun) -> values.ScheduledRun:
    return values.ScheduledRun(
        due_at=instant(message, "due_at"),
        at=instant(message, "at"),
        outcome=_outcome(message.outcome),
        rollout_id=message.rollout_id,
        detail=message.detail,
    )


def schedule_changed(message: event_pb2.ScheduleChanged) -> ScheduleChanged:
    """A change of a schedule as clients see it."""
    return ScheduleChanged(
        schedule=message.schedule,
        change=_change(message.change),
        next_at=instant(message, "next_at"),
        message=message.message,
        by=message.by,
        changes=field_changes(message.changes),
    )
