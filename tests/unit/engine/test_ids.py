"""Ids are in the order of their making, whatever the clock says."""

from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import UUID

import pytest

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.operations.operation import OperationKind
from tendhost.server.domain.rollouts.rollout import RolloutSpec
from tendhost.server.engine.ids import Ids
from tests.unit.engine.fake_clock import START, FakeClock
from tests.unit.engine.fake_command import Command
from tests.unit.engine.world import World, call

BACK = timedelta(days=-20_000)


def test_ids__of_one_moment_are_in_order() -> None:
    ids = Ids(FakeClock())
    made = [ids.next() for _ in range(1000)]
    assert made == sorted(set(made))


def test_ids__go_on_where_the_date_is_put_back() -> None:
    clock = FakeClock()
    ids = Ids(clock)
    former = [ids.next()]
    clock.set_off(BACK)
    assert former[-1] < ids.next()


def test_ids__follow_those_of_an_earlier_server() -> None:
    clock, earlier = FakeClock(), Ids(FakeClock())
    made = [earlier.next() for _ in range(20)]
    clock.set_off(BACK)
    ids = Ids(clock)
    ids.follow(made)
    ids.follow(["op-1"])
    assert max(made) < ids.next()


def test_ids__are_uuids_of_version_7_with_their_date() -> None:
    id = UUID(Ids(FakeClock()).next())
    assert (id.version, id.variant) == (7, "specified in RFC 4122")
    assert id.int >> 80 == START.timestamp() * 1000


def test_ids__that_follow_others_are_uuids_of_version_7() -> None:
    ids = Ids(FakeClock())
    ids.follow(["018f0000-0000-7fff-bfff-ffffffffffff"])
    ids.follow(["ffffffff-0000-7fff-bfff-ffffffffffff"])
    id = UUID(ids.next())
    assert (id.version, id.int >> 80) == (7, 0xFFFFFFFF0001)


@pytest.mark.parametrize("restarted", [False, True])
async def test_queue__keeps_its_order_although_the_clock_was_put_back(
    restarted: bool, world: World
) -> None:
    """Whoever asked first is served first, and the newest is listed first."""
    async with AsyncExitStack() as servers:
        await servers.enter_async_context(world.running())
        fake = await world.register("web1")
        hold = fake.hold(Command.QUERY)
        first = await world.start(OperationKind.QUERY)
        await world.reached(hold)
        second = await world.start(OperationKind.QUERY, queue=True)
        if restarted:
            await servers.aclose()
            hold = fake.hold(Command.QUERY)
        world.clock.set_off(BACK)
        if restarted:
            await servers.enter_async_context(world.running())
        third = await world.start(OperationKind.QUERY, queue=True)
        hold.released.set()
        await world.ended(third.id)
    listed = [one.id for one in (await world.store.operations(limit=9)).items]
    assert listed == [third.id, second.id, first.id]


async def test_rollouts__are_listed_newest_first_although_the_clock_was_put_back(
    world: World,
) -> None:
    begun: list[str] = []
    for off in (timedelta(), BACK):
        world.clock.set_off(off)
        async with world.running() as engine:
            if not begun:
                await world.register("web1")
            rollout = await engine.rollouts.start(RolloutSpec(filter=HostFilter()), call())
            await world.rollout_ended(rollout.id)
            begun.append(rollout.id)
    listed = [one.id for one in (await world.store.rollouts(limit=9)).items]
    assert listed == begun[::-1]
