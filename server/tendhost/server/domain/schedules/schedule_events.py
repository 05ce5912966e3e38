"""Events about schedules and their runs."""

from dataclasses import replace
from datetime import datetime

from tendhost.server.domain.changes import FieldChange
from tendhost.server.domain.events import Event, ScheduleChange, ScheduleChanged
from tendhost.server.domain.schedules.schedule import RunOutcome, Schedule, ScheduledRun


def schedule_event(
    schedule: Schedule,
    change: ScheduleChange,
    now: datetime,
    *,
    message: str = "",
    by: str = "",
    changes: tuple[FieldChange, ...] = (),
) -> Event:
    """The event about a change of a schedule."""
    body = ScheduleChanged(
        schedule=schedule.name,
        change=change,
        next_at=schedule.next_at,
        message=message,
        by=by,
        changes=changes,
    )
    return Event(at=now, body=body)


def missed_event(schedule: Schedule, run: ScheduledRun, now: datetime) -> Event:
    """The event about a run that was missed before the last one."""
    return schedule_event(schedule, ScheduleChange.SKIPPED, now, message=run.detail)


def run_event(schedule: Schedule, now: datetime) -> Event:
    """The event about the last run of a schedule."""
    run = schedule.last_run
    assert run is not None, "a run was started or skipped"
    started = run.outcome is RunOutcome.STARTED
    change = ScheduleChange.STARTED if started else ScheduleChange.SKIPPED
    event = schedule_event(schedule, change, now, message=run.detail)
    return replace(event, rollout=run.rollout)
