"""Settles a database that was restored from a copy, before anything in it is resumed.

The copy is out of date: what was unfinished in it may have ended since, and must not happen twice.
"""

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from tendhost.server.clock import Clock
from tendhost.server.domain.breaking_off import broken_off
from tendhost.server.domain.events import Event, RolloutChanged
from tendhost.server.domain.host_errors import DatabaseRestored
from tendhost.server.domain.hosts.host import Host, Problem
from tendhost.server.domain.operations.operation import Operation, OperationStatus
from tendhost.server.domain.rollouts.rollout import Rollout, RolloutStatus
from tendhost.server.domain.schedules.schedule import forgone
from tendhost.server.domain.schedules.schedule_events import run_event
from tendhost.server.domain.transitions import OperationState, refused
from tendhost.server.engine.requests import retried_on_conflict
from tendhost.server.store.paging import every_rollout, every_schedule
from tendhost.server.store.protocols.maintenance import RestorationStore
from tendhost.server.store.protocols.operations import HostWorkStore
from tendhost.server.store.protocols.policies import ScheduleStore
from tendhost.server.store.protocols.rollouts import RolloutStore
from tendhost.server.store.records import Change

logger = logging.getLogger(__name__)

EPOCHS_PASSED_OVER = 1000
"""More epochs than servers and jobs can have used since the copy. With a smaller one, a retry that follows a job
on the host would be refused as a server that has lost the operation."""
_GOING_ON = (RolloutStatus.RUNNING, RolloutStatus.AWAITING_APPROVAL)
"""Rollouts that may start hosts without a further request: an approval may be stored already. All others are at
rest, or start nothing any more."""


class RestoredStore(HostWorkStore, RolloutStore, ScheduleStore, RestorationStore, Protocol):
    """What a restoration ends or pauses."""


@retried_on_conflict
async def settle_restoration(*, store: RestoredStore, clock: Clock) -> None:
    """End every unfinished operation of a restored database, pause its rollouts, and let the runs of its
    schedules pass by that were due since the copy, in one change. Of several replicas one does it."""
    copied_at = await store.restored_from()
    if copied_at is None:
        return
    now = clock.now()
    operations: list[Operation] = []
    hosts: list[Host] = []
    events: list[Event] = []
    for operation in await store.unfinished_operations():
        problem = _problem(operation, copied_at)
        if operation.status is OperationStatus.QUEUED:
            failed, event = refused(operation, problem, now)
            operations.append(failed)
            events.append(event)
            continue
        state = _ended(operation, await store.host(operation.host), problem, now)
        operations.append(state.operation)
        hosts.append(state.host)
        events.extend(state.events)
    going_on = every_rollout(store, statuses=_GOING_ON)
    rollouts = [_paused(rollout) async for rollout in going_on]
    events.extend(_event_of(rollout, copied_at, now) for rollout in rollouts)
    forgone_runs = [forgone(one, copied_at, now) async for one in every_schedule(store)]
    schedules = [schedule for schedule in forgone_runs if schedule is not None]
    events.extend(run_event(schedule, now) for schedule in schedules)
    change = Change(
        events=tuple(events),
        hosts=tuple(hosts),
        operations=tuple(operations),
        rollouts=tuple(rollouts),
        schedules=tuple(schedules),
        settles_restoration=True,
    )
    await store.commit(change)
    logger.warning(
        "the database was restored from a copy",
        extra={
            "copied_at": copied_at.isoformat(),
            "ended_operations": len(operations),
            "paused_rollouts": len(rollouts),
            "forgone_runs": len(schedules),
        },
    )


def _ended(operation: Operation, host: Host, problem: Problem, now: datetime) -> OperationState:
    """A running operation that is over, and its host."""
    passed = replace(operation, problem=None, epoch=operation.epoch + EPOCHS_PASSED_OVER)
    return broken_off(passed, host, problem, now)


def _problem(operation: Operation, copied_at: datetime) -> Problem:
    at = copied_at.astimezone(UTC).isoformat(timespec="seconds")
    return Problem.of(DatabaseRestored(host=operation.host, copied_at=at))


def _paused(rollout: Rollout) -> Rollout:
    """The rollout at rest until somebody resumes it. Where it waited for an approval, it asks again then."""
    paused = RolloutStatus.PAUSED
    return replace(rollout, status=paused, approval_until=None, expected_end=None)


def _event_of(rollout: Rollout, copied_at: datetime, now: datetime) -> Event:
    at = copied_at.astimezone(UTC).isoformat(timespec="seconds")
    body = RolloutChanged(
        status=rollout.status,
        progress=rollout.progress,
        wave=rollout.wave,
        waves=rollout.waves,
        message=f"the database was restored from a copy of {at}: resume or cancel the rollout",
    )
    return Event(at=now, body=body, rollout=rollout.id)
