"""Rollouts that a spent disruption budget holds up: they say who spends it, and people are told in time."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tendhost.server.domain.events import RolloutChanged
from tendhost.server.domain.notifications.notices import FollowedRollouts, NoticeKind, noticed
from tendhost.server.domain.operations.operation import OperationKind
from tendhost.server.domain.rollouts.rollout import DisruptionBudget
from tendhost.server.domain.schedules.schedule import RunOutcome
from tendhost.server.rpc.convert.rollouts import rollout_message
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.rollouts.test_rollouts import begin, fleet, members, spec
from tests.unit.engine.test_schedules import DUE, last_run, nightly, to
from tests.unit.engine.world import World, call

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ONE = (DisruptionBudget(limit="1"),)


async def pass_by(world: World, minutes: int) -> None:
    """Let so many minutes pass, and everybody do in each what can be done."""
    for _ in range(minutes):
        for _ in range(10):
            for _ in range(10):
                await asyncio.sleep(0)
            await world.store.calm.wait()
        world.clock.advance(MINUTE)


async def fail(world: World, fake: FakeHost, name: str) -> None:
    """Have an update of a host fail, and make the host well again."""
    fake.pending = {"web": Pending(breaks=True)}
    await world.run(OperationKind.UPDATE, name)
    assert (await world.host(name)).status.failure is not None


async def told(world: World) -> list[str]:
    """The words with which people were told that a rollout is held up."""
    found: list[str] = []
    for event in await world.events():
        _, notices = noticed(FollowedRollouts(), event)
        for notice in notices:
            if notice.kind is NoticeKind.ROLLOUT_HELD_UP:
                assert isinstance(event.body, RolloutChanged)
                found.append(event.body.held_up)
    return found


async def test_held_up__member_and_plan_name_the_host_that_spends_the_budget(world: World) -> None:
    async with world.running() as engine:
        fakes = await fleet(world, "ab")
        await fail(world, fakes["a"], "a")
        plan = await engine.rollouts.plan(spec(budgets=ONE))
        assert any("a has failed" in words for words in plan.warnings)
        rollout = await begin(world, budgets=ONE)
        await pass_by(world, 2)
        waiting = (await members(world, rollout.id))["b"]
        assert "1 of all 2 hosts are down, and at most 1 may be: a has failed" in waiting.detail
        stored = await world.store.rollout(rollout.id)
        assert "a has failed" in stored.held_up
        assert rollout_message(stored).held_up == stored.held_up


async def test_held_up__host_that_fails_while_others_wait_is_named_too(world: World) -> None:
    async with world.running():
        fakes = await fleet(world, "ab")
        fakes["a"].pending = {"web": Pending(breaks=True)}
        rollout = await begin(world, waves=("2",), budgets=ONE)
        await pass_by(world, 5)
        waiting = (await members(world, rollout.id))["b"]
        assert "a has failed" in waiting.detail


async def test_held_up__people_are_told_once_after_an_hour(world: World) -> None:
    async with world.running():
        fakes = await fleet(world, "ab")
        await fail(world, fakes["a"], "a")
        rollout = await begin(world, budgets=ONE)
        await pass_by(world, 55)
        assert await told(world) == []
        await pass_by(world, 60)
        (words,) = await told(world)
        assert "a has failed" in words
        fakes["a"].pending = {}
        await world.engine.operations.retry("a", call())
        ended = await world.rollout_ended(rollout.id)
        assert ended.held_up == ""


async def test_held_up__restart_neither_forgets_the_hour_nor_tells_twice(world: World) -> None:
    async with world.running():
        fakes = await fleet(world, "ab")
        await fail(world, fakes["a"], "a")
        await begin(world, budgets=ONE)
        await pass_by(world, 40)
    async with world.running():
        await pass_by(world, 25)
        assert len(await told(world)) == 1
    async with world.running():
        await pass_by(world, 65)
        assert len(await told(world)) == 1


@pytest.mark.parametrize("ignored", [False, True])
async def test_earlier_failures__count_unless_the_rollout_ignores_them(
    ignored: bool, world: World
) -> None:
    async with world.running() as engine:
        fakes = await fleet(world, "ab")
        await fail(world, fakes["a"], "a")
        await pass_by(world, 1)
        asked: dict[str, Any] = {"budgets": ONE, "ignore_earlier_failures": ignored}
        plan = await engine.rollouts.plan(spec(**asked))
        assert bool(plan.warnings) is not ignored
        rollout = await begin(world, **asked)
        await pass_by(world, 5)
        assert (await world.store.rollout(rollout.id)).over is ignored
        assert fakes["b"].count(Command.UPGRADE) == int(ignored)


async def test_earlier_failures__host_that_fails_in_the_rollout_counts_all_the_same(
    world: World,
) -> None:
    async with world.running():
        fakes = await fleet(world, "ab")
        fakes["a"].pending = {"web": Pending(breaks=True)}
        await begin(world, waves=("2",), budgets=ONE, ignore_earlier_failures=True)
        await pass_by(world, 5)
        assert fakes["b"].count(Command.UPGRADE) == 0


async def test_earlier_failures__count_for_the_budget_of_another_rollout(world: World) -> None:
    async with world.running():
        fakes = await fleet(world, "abc")
        await fail(world, fakes["a"], "a")
        await pass_by(world, 1)
        await begin(world, budgets=ONE)
        other = await begin(world, budgets=ONE, ignore_earlier_failures=True)
        await pass_by(world, 5)
        assert not (await world.store.rollout(other.id)).over


async def test_overlapped_run__says_who_holds_up_the_former_rollout(world: World) -> None:
    async with world.running():
        fakes = await fleet(world, "ab")
        await fail(world, fakes["a"], "a")
        await nightly(world, rollout=spec(budgets=ONE))
        to(world, DUE)
        await last_run(world)
        await pass_by(world, 3)
        to(world, DUE + 24 * HOUR)
        run = await last_run(world, due_at=DUE + 24 * HOUR)
        assert run.outcome is RunOutcome.OVERLAPPED
        assert "a has failed" in run.detail
