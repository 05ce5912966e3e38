"""A database that cannot be used for a while: nothing is lost, nothing is done twice, nobody dies."""

from datetime import timedelta

import pytest

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.domain.rollouts.rollout import RolloutSpec, RolloutStatus
from tendhost.server.domain.rollouts.waves import Division
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.world import World, call

K, S = OperationKind, OperationStatus


async def failing_for_a_while(world: World) -> None:
    """Let the world go on until several calls have met the outage, then end it."""
    enough = world.store.failures + 5

    async def met() -> bool:
        return world.store.failures >= enough

    await world.until(met)
    world.store.outage = False
    world.store.outage_of.clear()


@pytest.mark.parametrize(
    "held", [Command.PREFLIGHT, Command.QUERY, Command.UPGRADE, Command.BOOT, Command.UNITS]
)
async def test_what_happened_on_a_host_is_written_down_once_that_is_possible(
    world: World, held: Command
):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(wants_reboot=True)}
        hold = fake.hold(held)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
        world.store.outage = True
        hold.released.set()
        await failing_for_a_while(world)
        ended = await world.ended(operation.id)
        assert ended.status is S.SUCCEEDED
        assert (fake.count(Command.UPGRADE), fake.count(Command.REBOOT)) == (1, 1)
        log = (await world.store.log(operation.id, offset=0, limit=100_000)).data
        assert log.count(b"Setting up web") == 1
        assert len(log) == ended.log_size


async def test_a_store_that_cannot_be_read_after_an_upgrade_does_not_fail_the_host(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        hold = fake.hold(Command.UPGRADE)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
        world.store.outage_of = {"inventory"}
        hold.released.set()
        await failing_for_a_while(world)
        ended = await world.ended(operation.id)
        assert ended.status is S.SUCCEEDED, ended.problem
        assert ended.update is not None
        assert [c.name for c in ended.update.changes] == ["web"]


@pytest.mark.parametrize("method", ["next_queued", "host", "commit"])
async def test_a_queue_goes_on_when_its_turn_came_during_an_outage(world: World, method: str):
    async with world.running():
        fake = await world.register("web1")
        hold = fake.hold(Command.UNITS)
        first = await world.start(K.CHECK)
        await world.reached(hold)
        world.clock.advance(timedelta(milliseconds=1))
        second = await world.start(K.QUERY, queue=True)
        ending = world.store.hold_after_commit(
            lambda change: any(o.id == first.id and o.status.ended for o in change.operations)
        )
        hold.released.set()
        await world.reached(ending)
        world.store.outage_of = {method}
        ending.released.set()
        await failing_for_a_while(world)
        assert (await world.ended(second.id)).status is S.SUCCEEDED


async def test_whoever_asks_during_an_outage_is_told_and_may_ask_again(world: World):
    async with world.running():
        await world.register("web1")
        world.store.outage = True
        with pytest.raises(StoreUnavailable, match="disk is full"):
            await world.start(K.QUERY)
        world.store.outage = False
        assert (await world.run(K.QUERY)).status is S.SUCCEEDED


@pytest.mark.parametrize("method", ["rollout", "wave", "startable", "find_operation", "commit"])
async def test_a_rollout_goes_on_after_an_outage(world: World, method: str):
    async with world.running() as engine:
        for name in ("a", "b", "c"):
            (await world.register(name)).pending = {"web": Pending()}
        fake = world.fleet.hosts["a.example.org"]
        hold = fake.hold(Command.QUERY)
        spec = RolloutSpec(filter=HostFilter(), division=Division(waves=("1",)))
        rollout = await engine.rollouts.start(spec, call())
        await world.reached(hold)
        world.store.outage_of = {method}
        hold.released.set()
        await failing_for_a_while(world)
        ended = await world.rollout_ended(rollout.id)
        assert ended.status is RolloutStatus.COMPLETED
        assert ended.progress.completed == 3
        for address in ("a", "b", "c"):
            assert world.fleet.hosts[f"{address}.example.org"].count(Command.UPGRADE) == 1
