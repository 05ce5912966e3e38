"""A run of a schedule that is due while the server is killed, as by kill -9, at every commit around it."""

import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.rollouts.rollout import Rollout, RolloutSpec
from tendhost.server.domain.schedules.recurrence import Recurrence
from tendhost.server.domain.schedules.schedule import Schedule, ScheduleSpec
from tendhost.server.store.sqlite import open_store
from tendhost.v1 import rollout_service_pb2, rollout_service_pb2_grpc
from tests.contract.store.samples import a_host, change
from tests.rpc.process import channel_to, crashed, serving_process

COMMITS = range(3, 10)
"""Commits of a server that starts, from one that has nothing to do with the run until after the rollout has begun
on its host."""


async def prepared(state: Path, due_at: datetime) -> None:
    """A database with a host that does not answer, and a schedule of which a run is due."""
    host = a_host()
    host = replace(host, config=replace(host.config, address="127.0.0.1", port=1))
    spec = ScheduleSpec(
        name="nightly",
        recurrence=Recurrence(cron=f"{due_at:%M %H %d %m} *", start=due_at - timedelta(days=1)),
        rollout=RolloutSpec(filter=HostFilter(), dry_run=True),
        grace=timedelta(hours=1),
    )
    before = due_at - timedelta(minutes=1)
    schedule = Schedule(spec=spec, created_at=before, computed_at=before, next_at=due_at)
    store = await open_store(state / "tendhost.db")
    try:
        await store.commit(change(hosts=(host,), schedules=(schedule,)))
    finally:
        await store.aclose()


async def stored(state: Path) -> tuple[Schedule, tuple[Rollout, ...]]:
    """The schedule, and every rollout."""
    store = await open_store(state / "tendhost.db")
    try:
        return await store.schedule("nightly"), (await store.rollouts(limit=9)).items
    finally:
        await store.aclose()


@pytest.mark.parametrize("point", ["store.before_commit", "store.after_commit"])
async def test_server_that_is_killed_at_any_commit_neither_loses_nor_doubles_a_run(
    point: str, tmp_path: Path
) -> None:
    # A moment of its recurrence: a server computes a next run anew that is none.
    due_at = datetime.now(UTC).replace(second=0, microsecond=0)
    begun_in_time = 0
    for number in COMMITS:
        folder = tmp_path / str(number)
        state = folder / "state"
        await prepared(state, due_at)
        options = ("--listen", "127.0.0.1:0", "--state-dir", str(state))
        killed = await crashed(folder, *options, failpoints=f"{point}@{number}")
        assert killed == -signal.SIGKILL
        schedule, rollouts = await stored(state)
        # Never one without the other.
        assert [rollout.id for rollout in rollouts] == [schedule.last_rollout] * len(rollouts)
        assert (schedule.next_at == due_at) == (not rollouts)
        begun_in_time += len(rollouts)
        async with serving_process(folder) as process, channel_to(process) as channel:
            stub: Any = rollout_service_pb2_grpc.RolloutServiceStub(channel)
            id = schedule.last_rollout or await first_rollout(stub)
            watch = rollout_service_pb2.WatchRolloutRequest(id=id)
            *_, last = [message async for message in stub.WatchRollout(watch)]
            assert last.rollout.progress.failed == 1
            await process.ended_after(signal.SIGTERM)
        schedule, rollouts = await stored(state)
        assert [rollout.id for rollout in rollouts] == [id] == [schedule.last_rollout]
    # Some were killed before the run began, and some after.
    assert 0 < begun_in_time < len(COMMITS)


async def first_rollout(stub: Any) -> str:
    """The id of the rollout that a server begins by itself."""
    while True:
        listed = await stub.ListRollouts(rollout_service_pb2.ListRolloutsRequest())
        if listed.rollouts:
            return str(listed.rollouts[0].id)
