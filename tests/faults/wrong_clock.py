"""The scenario in which the server starts with its clock 91 days ahead, and the clock is put right later."""

import asyncio
import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tendhost.v1 import rollout_pb2, schedule_pb2, schedule_service_pb2
from tests.faults import clock
from tests.faults.batch import Account, Outcome, Run, Updates, carry_out
from tests.faults.ground import Ground
from tests.faults.judging import Finding, Kind
from tests.faults.server import retried

DAYS = 91
"""A day more than history is kept by default."""
LONGEST_WAIT = timedelta(days=2)
"""Until the next run of a nightly schedule, at most: a run that was begun at a wrong date is not begun again."""
_TABLES = ("audit", "operations", "events")


async def clock_ahead(
    ground: Ground, number: int, rng: random.Random, account: Account
) -> list[Outcome]:
    """Between two lives of the server its clock runs 91 days ahead; it is put right in the next life, or after it.

    Nothing is pruned, the next run of a schedule is near, and the updates that follow go on as ever.
    """
    name = f"nightly-{number}"
    await _create_schedule(ground, name)
    before = _history(ground)
    length, restarted = rng.uniform(0, 4), rng.random() < 0.5
    account.did.append(
        f"{DAYS} days ahead at a start, put right after {length:.2f} s"
        + (" by a restart" if restarted else " while the server runs, and restarted")
    )
    await ground.server.kill()
    clock.set_ahead(ground.folder, days=DAYS)
    await ground.server.start()
    await asyncio.sleep(length)
    if restarted:
        await ground.server.kill()
        clock.set_ahead(ground.folder, days=0)
        await ground.server.start()
    else:
        clock.set_ahead(ground.folder, days=0)
    runs = [Run(host=host, slow_seconds=rng.randint(0, 2)) for host in ground.hosts]

    async def trouble(updates: Updates) -> None:
        account.strike(updates)
        await ground.server.restart()

    first, *others = await carry_out(ground, runs, trouble, rng)
    found = [*_lost(before, _history(ground)), *await _far_off(ground, name)]
    return [replace(first, findings=(*first.findings, *found)), *others]


async def _create_schedule(ground: Ground, name: str) -> None:
    spec = schedule_pb2.ScheduleSpec(
        name=name, cron="0 3 * * *", rollout=rollout_pb2.RolloutSpec(dry_run=True)
    )
    request = schedule_service_pb2.CreateScheduleRequest(spec=spec)
    await ground.server.schedules.CreateSchedule(request)


def _history(ground: Ground) -> dict[str, int]:
    """How many rows of each kind of history are kept."""
    with closing(sqlite3.connect(ground.folder / "state" / "tendhost.db")) as database:
        return {
            table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in _TABLES
        }


def _lost(before: dict[str, int], after: dict[str, int]) -> list[Finding]:
    return [
        Finding(
            kind=Kind.HISTORY_LOST,
            words=f"{table}: {before[table]} rows before, {after[table]} after",
        )
        for table in _TABLES
        if after[table] < before[table]
    ]


async def _far_off(ground: Ground, name: str) -> list[Finding]:
    request = schedule_service_pb2.GetScheduleRequest(name=name)
    answer = await retried(lambda: ground.server.schedules.GetSchedule(request))
    runs = [run.ToDatetime(tzinfo=UTC) for run in answer.schedule.next_runs]
    if runs and runs[0] - datetime.now(UTC) <= LONGEST_WAIT:
        return []
    return [
        Finding(
            kind=Kind.SCHEDULE_ASTRAY, words=f"{name} comes at {runs[0] if runs else 'no time'}"
        )
    ]
