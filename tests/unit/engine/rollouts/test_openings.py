"""When the first window opens that the hosts of a rollout wait for: known once all wait, and never out of date."""

from datetime import timedelta

import pytest

from tendhost.server.domain.hosts.host import Policy
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.domain.rollouts.rollout import MemberStatus, Rollout, RolloutStatus
from tests.unit.engine.rollouts.test_rollout_control import is_between_waves, is_in, passes
from tests.unit.engine.rollouts.test_rollouts import begin, members
from tests.unit.engine.world import World, call

M, R = MemberStatus, RolloutStatus
HOUR = timedelta(hours=1)


def open_after(world: World, hours: int) -> Policy:
    """A daily window of one hour that opens in so many hours."""
    opens, ends = ((world.clock.now() + n * HOUR).timetz() for n in (hours, hours + 1))
    at = [time.replace(microsecond=0, tzinfo=None) for time in (opens, ends)]
    return Policy(windows=(MaintenanceWindow(start=at[0], end=at[1]),))


async def waiting(world: World, **how: object) -> Rollout:
    """A rollout of n and m, which wait for their windows, in 2 and 4 hours, and then of o, which has none."""
    await world.register("m", policy=open_after(world, 4))
    await world.register("n", policy=open_after(world, 2))
    await world.register("o")
    rollout = await begin(world, waves=("2", "1"), **how)
    await is_in(world, rollout.id, "wwp")
    return await opening_of(world, rollout.id, "n")


async def opening_of(world: World, id: str, host: str) -> Rollout:
    """The rollout once it knows that the window of this host is the first to open."""
    opens_at = (await members(world, id))[host].not_before
    assert opens_at is not None

    async def known() -> bool:
        return bool((await world.store.rollout(id)).opens_at == opens_at)

    await world.until(known)
    found: Rollout = await world.store.rollout(id)
    return found


async def test_opening__is_that_of_the_hosts_that_are_left(world: World):
    async with world.running() as engine:
        rollout = await waiting(world)
        skipped = await engine.rollouts.skip(rollout.id, "n", call())
        assert skipped.opens_at != rollout.opens_at
        await opening_of(world, rollout.id, "m")


async def test_opening__is_forgotten_when_nobody_waits_for_it(world: World):
    async with world.running() as engine:
        rollout = await waiting(world, delay_between_waves=HOUR)
        for host in "mn":
            await engine.rollouts.skip(rollout.id, host, call())
        await world.until(lambda: is_between_waves(world, rollout.id))
        assert (await world.store.rollout(rollout.id)).opens_at is None


@pytest.mark.parametrize("how", ["cancelled", "expired"])
async def test_opening__is_forgotten_at_the_end(world: World, how: str):
    async with world.running() as engine:
        rollout = await waiting(world, expires_after=HOUR)
        if how == "cancelled":
            await engine.rollouts.cancel(rollout.id, call())
        await passes(world, HOUR)
        ended = await world.rollout_ended(rollout.id)
        assert (str(ended.status), ended.opens_at) == (how, None)


async def test_opening__is_read_once_a_round(world: World):
    async with world.running() as engine:
        rollout = await waiting(world)
        for _ in range(3):
            engine.rollouts.recheck_host("")
            await passes(world, timedelta(minutes=1))
        calls = world.store.calls
        assert calls["blocked_by"] > 3, "a round reads that once"
        assert calls["next_opening"] <= calls["blocked_by"]
        assert (await world.store.rollout(rollout.id)).opens_at == rollout.opens_at
