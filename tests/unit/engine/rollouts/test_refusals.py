"""What a refusal advises for a rollout: commands that the server then does not refuse for the status."""

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from tendhost.server.domain.request_errors import InvalidRolloutStatus
from tendhost.server.domain.rollouts.rollout import Rollout, RolloutStatus
from tests.unit.engine.fake_command import Command, Hold
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.rollouts.test_rollout_control import NO_DELAY, is_now, passes
from tests.unit.engine.rollouts.test_rollouts import begin, fleet
from tests.unit.engine.world import World, call

R = RolloutStatus
HOUR = timedelta(hours=1)


STEERING = ("pause", "resume", "cancel", "approve", "skip")
REFUSED = {
    R.RUNNING: ("approve", "resume"),
    R.PAUSED: ("approve", "pause"),
    R.HALTED: ("approve", "pause"),
    R.AWAITING_APPROVAL: ("resume",),
    R.CANCELLED: (*STEERING, "retry"),
    R.EXPIRED: (*STEERING, "retry"),
    R.COMPLETED: STEERING,
}
"""What is refused in each status; a rollout that was cancelled, or has expired, may be retried once it has ended."""
ENDING = (R.CANCELLED, R.EXPIRED)


async def rollout_in(world: World, status: RolloutStatus) -> tuple[Rollout, Hold]:
    """A rollout of a, which has failed, of b and of c, in this status, and what keeps the update of b from its end."""
    fakes = await fleet(world, "abc")
    fakes["a"].pending = {"web": Pending(breaks=True)}
    hold = fakes["b"].hold(Command.UPGRADE)
    rollout = await begin(
        world,
        waves=("1",),
        delay_between_waves=NO_DELAY,
        approve_waves=status is R.AWAITING_APPROVAL,
        max_failures="0" if status is R.HALTED else "",
        expires_after=HOUR,
    )
    if status not in (R.HALTED, R.AWAITING_APPROVAL):
        await world.reached(hold)
    if status is R.COMPLETED:
        hold.released.set()
    if status is R.PAUSED:
        await world.engine.rollouts.pause(rollout.id, call())
    if status is R.CANCELLED:
        await world.engine.rollouts.cancel(rollout.id, call())
    if status is R.EXPIRED:
        await passes(world, HOUR)
    await is_now(world, rollout.id, status)
    return rollout, hold


def actions(world: World, id: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """What users can do with a rollout, by the name of the command."""
    rollouts = world.engine.rollouts
    return {
        "pause": lambda: rollouts.pause(id, call()),
        "resume": lambda: rollouts.resume(id, call(), max_failures="9"),
        "cancel": lambda: rollouts.cancel(id, call()),
        "approve": lambda: rollouts.approve(id, 1, call()),
        "skip": lambda: rollouts.skip(id, "c", call()),
        "retry": lambda: rollouts.retry(id, call()),
        "show": lambda: world.store.rollout(id),
        "watch": lambda: world.rollout_ended(id),
    }


@pytest.mark.parametrize(
    ("status", "over"),
    [*((status, status is R.COMPLETED) for status in R), *((status, True) for status in ENDING)],
)
async def test_refusal__advises_what_the_status_of_the_rollout_allows(
    world: World, status: RolloutStatus, over: bool
):
    async with world.running():
        rollout, hold = await rollout_in(world, status)
        refused = set(REFUSED[status])
        if over:
            hold.released.set()
            await world.rollout_ended(rollout.id)
            refused.discard("retry")
        commands = actions(world, rollout.id)
        told = ""
        for name in refused:
            with pytest.raises(InvalidRolloutStatus) as refusal:
                await commands[name]()
            told = str(refusal.value)
        hold.released.set()
        advised = re.findall(r": tendhost rollout ([a-z]+)", told)
        assert advised
        for name in advised:
            await commands[name]()
        assert not over or "must end" not in told
