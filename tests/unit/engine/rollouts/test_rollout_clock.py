"""Durations of a rollout while its server runs: as long as asked, whatever becomes of the date."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tendhost.server.domain.rollouts.rollout import Rollout, RolloutStatus
from tests.unit.engine.rollouts.test_rollout_control import is_now
from tests.unit.engine.rollouts.test_rollouts import begin, fleet
from tests.unit.engine.world import World

ASKED = timedelta(minutes=20)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
SETS = [timedelta(), 30 * DAY, -30 * DAY, -ASKED / 2]


async def minute(world: World) -> None:
    """Let everybody do what can be done now, then let a minute pass."""
    for _ in range(10):
        for _ in range(10):
            await asyncio.sleep(0)
        await world.store.calm.wait()
    world.clock.advance(MINUTE)


async def minutes_until_status(
    world: World, id: str, status: RolloutStatus, *, since: timedelta
) -> timedelta:
    """How long it has taken until the rollout has this status, by the clock that nobody sets."""
    for _ in range(100):
        if (await world.store.rollout(id)).status is status:
            return world.clock.elapsed() - since
        await minute(world)
    raise AssertionError(f"the rollout is not {status} after 100 minutes")


async def after_first_wave(world: World, **spec: Any) -> Rollout:
    """A rollout whose first of two waves has just ended."""
    await fleet(world, "ab")
    rollout = await begin(world, waves=("1",), **spec)

    async def between() -> bool:
        stored = await world.store.rollout(rollout.id)
        approving = stored.spec.approve_waves
        return (stored.approval_until if approving else stored.next_wave_at) is not None

    await world.until(between)
    return rollout


@pytest.mark.parametrize("by", SETS)
async def test_delay__is_as_long_as_asked_although_the_clock_is_set(
    by: timedelta, world: World
) -> None:
    async with world.running():
        rollout = await after_first_wave(world, delay_between_waves=ASKED)
        since = world.clock.elapsed()
        await minute(world)
        world.clock.set_off(by)
        took = await minutes_until_status(world, rollout.id, RolloutStatus.COMPLETED, since=since)
    assert ASKED - timedelta(minutes=3) <= took <= ASKED + timedelta(minutes=5)


@pytest.mark.parametrize("by", SETS)
async def test_settling__is_as_long_as_asked_although_the_clock_is_set(
    by: timedelta, world: World
) -> None:
    async with world.running():
        rollout = await after_first_wave(world, delay_between_waves=timedelta(), settle=ASKED)
        since = world.clock.elapsed()
        await minute(world)
        world.clock.set_off(by)
        took = await minutes_until_status(world, rollout.id, RolloutStatus.COMPLETED, since=since)
    # Of two waves the first settles.
    assert ASKED - timedelta(minutes=3) <= took <= ASKED + timedelta(minutes=15)


@pytest.mark.parametrize("by", SETS)
async def test_approval__is_waited_for_as_long_as_asked_although_the_clock_is_set(
    by: timedelta, world: World
) -> None:
    asked = {"approve_waves": True, "approval_timeout": ASKED}
    async with world.running():
        rollout = await after_first_wave(world, delay_between_waves=timedelta(), **asked)
        await is_now(world, rollout.id, RolloutStatus.AWAITING_APPROVAL)
        since = world.clock.elapsed()
        await minute(world)
        world.clock.set_off(by)
        took = await minutes_until_status(world, rollout.id, RolloutStatus.HALTED, since=since)
    assert ASKED - timedelta(minutes=3) <= took <= ASKED + timedelta(minutes=5)


@pytest.mark.parametrize("by", SETS)
async def test_time_limit__is_as_long_as_asked_although_the_clock_is_set(
    by: timedelta, world: World
) -> None:
    asked = {"delay_between_waves": 4 * ASKED, "expires_after": ASKED}
    async with world.running():
        rollout = await after_first_wave(world, **asked)
        since = world.clock.elapsed()
        await minute(world)
        world.clock.set_off(by)
        took = await minutes_until_status(world, rollout.id, RolloutStatus.EXPIRED, since=since)
    assert ASKED - timedelta(minutes=5) <= took <= ASKED + timedelta(minutes=5)


@pytest.mark.parametrize("ahead", [30 * DAY, ASKED])
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"delay_between_waves": ASKED}, RolloutStatus.COMPLETED),
        ({"delay_between_waves": timedelta(), "settle": ASKED}, RolloutStatus.COMPLETED),
        (
            {
                "delay_between_waves": timedelta(),
                "approve_waves": True,
                "approval_timeout": ASKED,
            },
            RolloutStatus.HALTED,
        ),
        ({"delay_between_waves": 4 * ASKED, "expires_after": ASKED}, RolloutStatus.EXPIRED),
    ],
)
async def test_restart__clock_that_was_ahead_keeps_no_rollout_waiting(
    ahead: timedelta, asked: dict[str, Any], status: RolloutStatus, world: World
) -> None:
    world.clock.set_off(ahead)
    async with world.running():
        rollout = await after_first_wave(world, **asked)
        for _ in range(5):
            await minute(world)
    world.clock.set_off(timedelta())
    async with world.running():
        since = world.clock.elapsed()
        took = await minutes_until_status(world, rollout.id, status, since=since)
    assert took <= ASKED + timedelta(minutes=15)
