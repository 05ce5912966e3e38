"""A run of a schedule: its rollout and the schedule's next run are stored in one transaction."""

from dataclasses import replace
from datetime import datetime

from tendhost.server.domain.rollouts.rollout import Rollout
from tendhost.server.domain.schedules.schedule import Begin, RunOutcome, Schedule, ScheduledRun
from tendhost.server.domain.schedules.schedule_events import run_event
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
