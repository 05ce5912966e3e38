"""Rollouts over fake hosts with dependencies that ask for success: retries, and what waiting for them costs."""

from datetime import timedelta

import pytest

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.operations.operation import OperationKind
from tendhost.server.domain.rollouts.rollout import MemberStatus, Rollout, RolloutStatus
from tendhost.server.domain.rollouts.waves import Dependency
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.rollouts.test_rollout_control import (
    DB_BEFORE_APP,
    NO_DELAY,
    has_failed,
    is_in,
    is_now,
    passes,
    tiers,
)
from tests.unit.engine.rollouts.test_rollouts import begin, members, statuses
from tests.unit.engine.world import World, call

M = MemberStatus
TIERS: dict[str, object] = {
    "waves": ("rest",),
    "dependencies": DB_BEFORE_APP,
    "delay_between_waves": NO_DELAY,
}


def break_updates(fakes: dict[str, FakeHost], *names: str) -> None:
    for name in names:
        fakes[name].pending = {"web": Pending(breaks=True)}


def mend_updates(fakes: dict[str, FakeHost], *names: str) -> None:
    for name in names:
        fakes[name].pending = {"web": Pending()}


async def with_d2_skipped(world: World, fakes: dict[str, FakeHost], **how: object) -> Rollout:
    """A rollout of which d2 is skipped by a user, so that p1 and p2 are skipped, too."""
    hold = fakes["d1"].hold(Command.UPGRADE)
    rollout = await begin(world, **{**TIERS, "waves": ("1",), **how})
    await world.reached(hold)
    await world.engine.rollouts.skip(rollout.id, "d2", call())
    hold.released.set()
    return rollout


async def test_retry__gives_no_chance_to_hosts_whose_prerequisite_was_skipped(world: World):
    async with world.running() as engine:
        fakes = await tiers(world)
        break_updates(fakes, "w")
        rollout = await with_d2_skipped(world, fakes)
        await world.rollout_ended(rollout.id)
        assert await statuses(world, rollout.id) == "csfss"
        mend_updates(fakes, "w")
        again = await engine.rollouts.retry(rollout.id, call())
        assert list(await members(world, again.id)) == ["w"]
        assert (await world.rollout_ended(again.id)).progress.completed == 1
        assert fakes["p1"].ran == fakes["p2"].ran == []


@pytest.mark.parametrize("registered_again", [False, True])
async def test_retry__gives_no_chance_to_hosts_whose_prerequisite_is_gone(
    world: World, registered_again: bool
):
    async with world.running() as engine:
        fakes = await tiers(world)
        break_updates(fakes, "d1", "d2")
        rollout = await begin(world, **TIERS)
        await world.rollout_ended(rollout.id)
        await engine.registry.unregister("d2", call())
        if registered_again:
            world.clock.advance(timedelta(seconds=1))
            await world.register("d2", tags=("db",))
        mend_updates(fakes, "d1")
        again = await engine.rollouts.retry(rollout.id, call())
        assert list(await members(world, again.id)) == ["d1"]
        assert (await world.rollout_ended(again.id)).progress.completed == 1
        assert fakes["p1"].ran == fakes["p2"].ran == []


async def test_retry__in_a_rollout_that_goes_on_keeps_hosts_skipped_whose_prerequisite_was_skipped(
    world: World,
):
    async with world.running() as engine:
        fakes = await tiers(world)
        break_updates(fakes, "w")
        last = await world.register("z", tags=("last",))
        last.pending = {"web": Pending()}
        rollout = await with_d2_skipped(
            world,
            fakes,
            dependencies=(*DB_BEFORE_APP, Dependency(before="app", after="last")),
            approve_waves=True,
        )
        for wave in (1, 2, 3, 4, 5):
            await is_now(world, rollout.id, RolloutStatus.AWAITING_APPROVAL)
            if wave < 5:
                await engine.rollouts.approve(rollout.id, wave, call())
        assert await statuses(world, rollout.id) == "csfssp"
        mend_updates(fakes, "w")
        await engine.rollouts.retry(rollout.id, call())
        assert (await members(world, rollout.id))["p1"].status is M.SKIPPED
        await is_in(world, rollout.id, "cscssp")


async def test_retry__leaves_hosts_alone_that_were_skipped_and_have_failed_otherwise(world: World):
    async with world.running() as engine:
        fakes = await tiers(world)
        break_updates(fakes, "d2", "p1")
        rollout = await begin(world, **TIERS)
        await world.rollout_ended(rollout.id)
        assert await statuses(world, rollout.id) == "cfcss"
        await world.run(OperationKind.UPDATE, "p1")
        assert await has_failed(world, "p1")
        mend_updates(fakes, "d2", "p1")
        again = await engine.rollouts.retry(rollout.id, call())
        found = await members(world, again.id)
        assert {name: member.retry for name, member in found.items()} == {
            "d2": True,
            "p1": False,
            "p2": False,
        }
        assert found["p1"].detail.startswith("it has failed and has to be retried first: ")
        await world.rollout_ended(again.id)
        assert await statuses(world, again.id) == "ccs"
        assert await has_failed(world, "p1")
        assert fakes["p1"].count(Command.UPGRADE) == 1


async def test_hosts_skipped_for_one_cause__are_skipped_with_as_many_reads_as_one_host(
    world: World,
):
    async def reads(before: str, *after: str) -> int:
        fake = await world.register(before, tags=("db",))
        fake.pending = {"web": Pending(breaks=True)}
        for name in after:
            await world.register(name, tags=("app",))
        world.store.calls.clear()
        rollout = await begin(world, **TIERS, filter=HostFilter(names=(before, *after)))
        assert (await world.rollout_ended(rollout.id)).progress.skipped == len(after)
        return world.store.calls["members"]

    async with world.running():
        one = await reads("d1", "p1")
        assert await reads("d2", *(f"p{number}" for number in range(2, 40))) == one


async def test_host_that_waits_for_others_of_its_rollout__is_left_alone_by_the_rest_of_the_fleet(
    world: World,
):
    async with world.running() as engine:
        fakes = await tiers(world)
        break_updates(fakes, "d2")
        last = (*DB_BEFORE_APP, Dependency(before="app", after="web"))
        rollout = await begin(world, **{**TIERS, "dependencies": last, "approve_waves": True})
        for wave in (1, 2):
            await is_now(world, rollout.id, RolloutStatus.AWAITING_APPROVAL)
            if wave < 2:
                await engine.rollouts.approve(rollout.id, wave, call())
        mend_updates(fakes, "d2")
        hold = fakes["d2"].hold(Command.UPGRADE)
        await engine.rollouts.retry(rollout.id, call())
        await is_in(world, rollout.id, "ciwwp")
        await world.reached(hold)
        await world.register("other")
        await passes(world, NO_DELAY)
        rounds = world.store.calls["blocked_by"]
        await world.run(OperationKind.QUERY, "other")
        await passes(world, NO_DELAY)
        assert world.store.calls["blocked_by"] == rounds
        hold.released.set()
        await is_in(world, rollout.id, "ccccp")
