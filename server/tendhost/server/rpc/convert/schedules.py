"""Schedules, between messages and domain values."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.server.domain.bounds import text
from tendhost.server.domain.events import ScheduleChange, ScheduleChanged
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.domain.schedules.schedule import (
    GRACE,
    MissedRuns,
    RunOutcome,
    ScheduledRun,
    ScheduleRequest,
    ScheduleSpec,
    ScheduleStatus,
)
from tendhost.server.engine.schedules import ScheduleView
from tendhost.server.rpc.convert.changes import change_messages
from tendhost.server.rpc.convert.common import duration, numbers, timestamp
from tendhost.server.rpc.convert.rollouts import (
    bound_to_message,
    rollout_message,
    rollout_spec,
    spec_message,
)
from tendhost.server.rpc.convert.whole import whole
from tendhost.v1 import event_pb2
from tendhost.v1 import schedule_pb2 as pb

_MISSED = numbers(MissedRuns, pb.MissedRuns)
_MISSED_OF = {number: missed for missed, number in _MISSED.items()}
_STATUS = numbers(ScheduleStatus, pb.ScheduleStatus)
_OUTCOME = numbers(RunOutcome, pb.RunOutcome)
_CHANGE = numbers(ScheduleChange, event_pb2.ScheduleChange)
_FIELDS = frozenset(pb.ScheduleSpec.DESCRIPTOR.fields_by_name)


def schedule_request(message: pb.ScheduleSpec) -> ScheduleRequest:
    """A validated request for a schedule, its defaults filled in. Raises InvalidArgument."""
    return ScheduleRequest(
        name=message.name,
        cron=message.cron.strip(),
        rrule=message.rrule.strip(),
        time_zone=message.time_zone or "UTC",
        starts_at=_instant(message) if message.HasField("starts_at") else None,
        offset_days=message.offset_days,
        rollout=rollout_spec(message.rollout),
        missed=_MISSED_OF.get(message.missed, MissedRuns.SKIP),
        grace=message.grace.ToTimedelta() if message.HasField("grace") else GRACE,
    )


def _instant(message: pb.ScheduleSpec) -> datetime:
    try:
        return message.starts_at.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        violation = FieldViolation("spec.starts_at", "must be a time in the years 1 to 9999")
        raise InvalidArgument(violation) from None


def amendment(
    given: pb.ScheduleSpec, paths: Iterable[str]
) -> Callable[[ScheduleSpec, datetime], ScheduleRequest]:
    """Makes what is asked of a schedule what `given` says in the fields that `paths` names.

    A changed recurrence counts from now on, unless its start is given or lies in the future.
    """
    mask = frozenset(paths)

    def amended(spec: ScheduleSpec, now: datetime) -> ScheduleRequest:
        replaced = set(mask)
        if mask & {"cron", "rrule"}:
            replaced |= {"cron", "rrule"}
        message = named_by(schedule_spec_message(spec), _FIELDS - replaced)
        message.MergeFrom(named_by(given, mask))
        request = schedule_request(message)
        begun = spec.recurrence.start <= now and "starts_at" not in mask
        return (
            replace(request, starts_at=None)
            if begun and _recurs_otherwise(request, spec)
            else request
        )

    return amended


def _recurs_otherwise(request: ScheduleRequest, spec: ScheduleSpec) -> bool:
    former = spec.recurrence
    asked = (request.cron, request.rrule, request.time_zone, request.offset_days)
    return asked != (former.cron, former.rrule, former.time_zone, former.offset_days)


def named_by(message: pb.ScheduleSpec, paths: Iterable[str]) -> pb.ScheduleSpec:
    """Only those fields of a message that `paths` names."""
    made = pb.ScheduleSpec()
    mask = FieldMask(paths=[path for path in paths if path in _FIELDS])
    mask.MergeMessage(message, made)
    return made


def unknown_paths(paths: Iterable[str]) -> tuple[FieldViolation, ...]:
    """What is wrong with a mask."""
    known = [name for name in pb.ScheduleSpec.DESCRIPTOR.fields_by_name if name != "name"]
    return tuple(
        FieldViolation("update_mask", f"{path!r} cannot be changed; expected {', '.join(known)}")
        for path in paths
        if path not in known
    )


def schedule_spec_message(spec: ScheduleSpec) -> pb.ScheduleSpec:
    """What was asked, as clients see it."""
    return pb.ScheduleSpec(
        name=spec.name,
        cron=spec.recurrence.cron,
        rrule=spec.recurrence.rrule,
        time_zone=spec.recurrence.time_zone,
        starts_at=timestamp(spec.recurrence.start),
        offset_days=spec.recurrence.offset_days,
        missed=_MISSED[spec.missed],
        grace=duration(spec.grace),
        rollout=spec_message(spec.rollout),
    )


def _unread_schedule(view: ScheduleView | str, why: str) -> pb.Schedule:
    name = view if isinstance(view, str) else view.schedule.name
    return pb.Schedule(spec=pb.ScheduleSpec(name=text(name)), incomplete=why)


@whole(_unread_schedule)
def schedule_message(view: ScheduleView) -> pb.Schedule:
    """A schedule as clients see it."""
    schedule, last = view.schedule, view.last_rollout
    return pb.Schedule(
        spec=schedule_spec_message(schedule.spec),
        status=_STATUS[schedule.status],
        next_runs=filter(None, map(timestamp, schedule.next_runs())),
        last_run=_run_message(schedule.last_run) if schedule.last_run is not None else None,
        last_rollout=rollout_message(last) if last is not None else None,
        created_by=schedule.created_by,
        created_at=timestamp(schedule.created_at),
        revision=schedule.revision,
        etag=schedule.etag,
        warnings=view.warnings,
        bound_to=bound_to_message(schedule.spec.rollout),
    )


def _run_message(run: ScheduledRun) -> pb.ScheduledRun:
    return pb.ScheduledRun(
        due_at=timestamp(run.due_at),
        at=timestamp(run.at),
        outcome=_OUTCOME[run.outcome],
        rollout_id=run.rollout,
        detail=run.detail,
    )


def schedule_changed(body: ScheduleChanged) -> event_pb2.ScheduleChanged:
    """What became of a schedule."""
    return event_pb2.ScheduleChanged(
        schedule=body.schedule,
        change=_CHANGE[body.change],
        next_at=timestamp(body.next_at),
        message=body.message,
        by=body.by,
        changes=change_messages(body.changes),
    )
