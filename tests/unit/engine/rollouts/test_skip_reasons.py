"""Why hosts are skipped when their turn comes: one cause for the report, however many hosts have it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tendhost.server.domain.hosts.reconfiguration import Reconfiguration
from tendhost.server.domain.operations.operation import OperationKind
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost
from tests.unit.engine.rollouts.test_rollouts import begin, fleet
from tests.unit.engine.world import World, call

Befall = Callable[[World, FakeHost, str], Awaitable[None]]


async def removed(world: World, fake: FakeHost, name: str) -> None:
    await world.engine.registry.unregister(name, call())


async def registered_again(world: World, fake: FakeHost, name: str) -> None:
    await removed(world, fake, name)
    world.clock.advance(timedelta(hours=1))
    await world.register(name)


async def failed(world: World, fake: FakeHost, name: str) -> None:
    fake.accepts_key = False
    await world.run(OperationKind.UPDATE, name)


async def only_a_jump(world: World, fake: FakeHost, name: str) -> None:
    config = (await world.host(name)).config
    wanted = Reconfiguration(name=name, config=replace(config, jump_only=True), mask=("jump_only",))
    await world.engine.registry.reconfigure(wanted, call())


@pytest.mark.parametrize("befall", [removed, registered_again, failed, only_a_jump])
async def test_skipped_hosts__have_one_cause_in_the_report(world: World, befall: Befall):
    async with world.running() as engine:
        fakes = await fleet(world, "abc")
        hold = fakes["a"].hold(Command.UPGRADE)
        rollout = await begin(world, waves=("1", "rest"))
        await world.reached(hold)
        for name in "bc":
            await befall(world, fakes[name], name)
        hold.released.set()
        assert (await world.rollout_ended(rollout.id)).progress.skipped == 2
        (cause,) = (await engine.reports.report(rollout.id)).skipped
        assert cause.hosts == ("b", "c")
        assert "tendhost" not in cause.reason
        assert not any(mark.isdigit() for mark in cause.reason)
