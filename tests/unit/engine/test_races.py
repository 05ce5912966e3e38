"""Requests that meet: many at once for one host, and those that decide on what has just changed."""

import asyncio
from collections import Counter

import pytest

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.request_errors import HostBusy
from tendhost.server.domain.rollouts.rollout import RolloutSpec
from tendhost.server.engine.engine import EngineSettings
from tendhost.server.engine.operations.manager import OperationSettings
from tests.unit.engine.fake_command import Command
from tests.unit.engine.world import World, call

K, S = OperationKind, OperationStatus


async def test_of_many_starts_at_once_one_runs_and_the_others_queue(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.hold(Command.UNITS).released.set()
        started = await asyncio.gather(*(world.start(K.CHECK, queue=True) for _ in range(30)))
        done = [await world.ended(operation.id) for operation in started]
        assert Counter(o.status for o in done) == {S.SUCCEEDED: 30}
        assert fake.count(Command.UNITS) == 30
        assert sum(o.status is S.RUNNING for o in started) >= 1


async def test_of_many_starts_at_once_that_do_not_queue_one_runs_and_the_others_are_refused(
    world: World,
):
    async with world.running():
        await world.register("web1")
        async with asyncio.TaskGroup() as tasks:
            answers = [tasks.create_task(_busy_or_id(world)) for _ in range(30)]
        ids = {task.result() for task in answers}
        assert len(ids) == 1  # whoever was refused was told of the one that runs
        assert (await world.ended(ids.pop())).status is S.SUCCEEDED


async def _busy_or_id(world: World) -> str:
    try:
        return (await world.start(K.CHECK)).id
    except HostBusy as busy:
        return busy.operation


@pytest.mark.parametrize("queue", [True, False])
async def test_a_host_that_becomes_free_while_a_request_is_decided_takes_it(
    world: World, queue: bool
):
    async with world.running():
        fake = await world.register("web1")
        hold = fake.hold(Command.UNITS)
        first = await world.start(K.CHECK)
        await world.reached(hold)
        read = world.store.hold_after_read("host")
        starting = asyncio.ensure_future(world.start(K.QUERY, queue=queue))
        await world.reached(read)  # it has read of a host that is busy
        hold.released.set()
        await world.ended(first.id)
        read.released.set()
        second = await starting
        assert (await world.ended(second.id)).status is S.SUCCEEDED


async def test_a_rollout_survives_a_host_that_becomes_free_while_it_decides(world: World):
    async with world.running() as engine:
        fake = await world.register("web1")
        hold = fake.hold(Command.UNITS)
        first = await world.start(K.CHECK)
        await world.reached(hold)
        read = world.store.hold_after_read("host")
        rollout = await engine.rollouts.start(RolloutSpec(filter=HostFilter()), call())
        await world.reached(read)
        hold.released.set()
        await world.ended(first.id)
        read.released.set()
        ended = await world.rollout_ended(rollout.id)
        assert ended.progress.completed == 1


async def test_at_most_so_many_operations_run_at_once(world: World):
    async with world.running(EngineSettings(operations=OperationSettings(at_once=2))):
        fakes = [await world.register(f"web{number}") for number in range(5)]
        holds = [fake.hold(Command.UNITS) for fake in fakes]
        started = [await world.start(K.CHECK, f"web{number}") for number in range(5)]
        await world.reached(holds[1])
        for _ in range(20):
            await world.go_on()
        assert [hold.reached.is_set() for hold in holds] == [True, True, False, False, False]
        for hold in holds:
            hold.released.set()
        for operation in started:
            assert (await world.ended(operation.id)).status is S.SUCCEEDED
