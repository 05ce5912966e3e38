"""A run of a schedule: its rollout and the schedule's next run are stored in one transaction."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from tendhost.server.domain.events import Event, ScheduleChange, ScheduleChanged
from tendhost.server.domain.rollout import Rollout, RolloutSpec
from tendhost.server.domain.schedule import Begin, RunOutcome, Schedule, ScheduledRun
from tendhost.server.engine.calls import Call, carried_out
from tendhost.server.engine.rollouts import Rollouts, _seeded
from tendhost.server.store.protocol import Change

METHOD = "schedule"
"""In the audit, where the method of a caller stands."""


def change_beside(
    schedule: Schedule, begin: Begin, now: datetime
) -> Callable[[Rollout, Change], Change]:
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


async def start_beside(
    rollouts: Rollouts,
    spec: RolloutSpec,
    call: Call[Rollout],
    beside: Callable[[Rollout, Change], Change],
) -> Rollout:
    """Begin a rollout as Rollouts.start does, with what `beside` adds in the same transaction.

    Raises InvalidArgument, RolloutEmpty, and what Store.commit raises.
    """
    plan = await rollouts._planned(_seeded(spec))
    rollout, change = rollouts._of_plan(plan, call, retry_of="")
    saved = await carried_out(
        rollouts._store,
        beside(rollout, change),
        lambda revision: replace(rollout, revision=revision),
    )
    rollouts._take_up(saved)
    return saved


def schedule_event(
    schedule: Schedule, change: ScheduleChange, now: datetime, *, message: str = ""
) -> Event:
    """What is told of a schedule."""
    body = ScheduleChanged(
        schedule=schedule.name, change=change, next_at=schedule.next_at, message=message
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
