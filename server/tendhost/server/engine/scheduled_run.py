"""A run of a schedule: its rollout and the schedule's next run are stored in one transaction."""

from dataclasses import replace
from datetime import datetime

from tendhost.server.domain.changes import FieldChange
from tendhost.server.domain.events import Event, ScheduleChange, ScheduleChanged
from tendhost.server.domain.rollouts.rollout import Rollout
from tendhost.server.domain.schedule import Begin, RunOutcome, Schedule, ScheduledRun
from tendhost.server.engine.rollouts import Beside
from tendhost.server.store.protocol import Change

METHOD = "schedule"
"""In the audit, where the method of a caller stands."""


def change_beside(schedule: Schedule, begin: Begin, now: datetime) -> Beside:
    """Adds to the change that creates a rollout that this run of the schedule has begun."""

    def beside(rollout: Rollout, change: Change) -> Change:
        run = ScheduledRun(
            due_at=begin.due_at,
            at=now,
            outcome=RunOutcome.STARTED,
            rollout=rollout.id,
            detail=begin.detail,
        )
        advanced = schedule.after(run, now)
        events = (*change.events, run_event(advanced, now))
        return replace(change, events=events, schedules=(advanced,))

    return beside


def schedule_event(
    schedule: Schedule,
    change: ScheduleChange,
    now: datetime,
    *,
    message: str = "",
    by: str = "",
    changes: tuple[FieldChange, ...] = (),
) -> Event:
    """What is told of a schedule."""
    body = ScheduleChanged(
        schedule=schedule.name,
        change=change,
        next_at=schedule.next_at,
        message=message,
        by=by,
        changes=changes,
    )
    return Event(at=now, body=body)


def run_event(schedule: Schedule, now: datetime) -> Event:
    """What is told of the schedule's last run."""
    run = schedule.last_run
    assert run is not None, "a run was begun or skipped"
    started = run.outcome is RunOutcome.STARTED
    change = ScheduleChange.STARTED if started else ScheduleChange.SKIPPED
    told = schedule_event(schedule, change, now, message=run.detail)
    return replace(told, rollout=run.rollout)
