"""Pruning in spite of clocks that are wrong: nothing goes by a date that nobody can believe."""

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.operations.operation import OperationKind
from tendhost.server.domain.rollouts.rollout import Rollout, RolloutSpec, RolloutStatus
from tendhost.server.engine.operations.manager import OperationRequest
from tendhost.server.engine.rollouts.changes import change_of
from tests.unit.engine.world import World, call, call_with_id

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AHEAD = 91 * DAY


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "state" / "tendhost.db").remembered() as world:
        yield world


def history(world: World) -> tuple[int, ...]:
    """How many audit rows, operations, events and answers to requests are kept."""
    tables = ("audit", "operations", "events")
    with sqlite3.connect(world.directory / "tendhost.db") as database:
        return tuple(
            database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables
        )


async def with_history(world: World) -> tuple[int, ...]:
    async with world.running():
        await world.register("web1")
        await world.run(OperationKind.QUERY)
        await idle(world)
    return history(world)


async def idle(world: World) -> None:
    for _ in range(20):
        await world.go_on()


async def hours(world: World, count: int) -> None:
    """Let so many hours pass, in each of which the server prunes or does not."""
    for _ in range(count):
        world.clock.advance(HOUR)
        await idle(world)


async def runs_for(world: World, duration: timedelta) -> None:
    """Let so much time pass since the start of the world, in steps in which the server prunes."""
    while world.clock.elapsed() < duration:
        await hours(world, 1)


async def test_pruning__clock_that_is_ahead_at_a_start_takes_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    before = await with_history(world)
    world.clock.set_off(AHEAD)
    async with world.running() as engine:
        # The server writes new records with the wrong date, and looks again.
        await world.run(OperationKind.QUERY)
        await hours(world, 2)
        assert "2026-03-01" in engine.pruner.held_up
        assert sum("history is not pruned" in each.message for each in caplog.records) == 1
    now = history(world)
    assert all(left >= right for left, right in zip(now, before, strict=True))
    world.clock.set_off(timedelta())
    async with world.running() as engine:
        await idle(world)
        assert engine.pruner.held_up == ""
    assert history(world) == now


async def test_pruning__clock_that_jumps_ahead_while_the_server_runs_takes_nothing(
    world: World,
) -> None:
    before = await with_history(world)
    async with world.running():
        await hours(world, 2)
        world.clock.set_off(AHEAD)
        await hours(world, 2)
    assert history(world) == before


async def test_pruning__server_that_was_off_for_long_prunes_after_a_day(world: World) -> None:
    before = await with_history(world)
    world.clock.advance(AHEAD)
    began = world.clock.elapsed()
    async with world.running() as engine:
        await runs_for(world, began + 21 * HOUR)
        assert history(world) == before
        await runs_for(world, began + 27 * HOUR)
        assert engine.pruner.held_up == ""
        assert history(world) == (0, 0, 0)


async def test_pruning__database_that_no_server_has_looked_at_goes_by_its_newest_event(
    world: World,
) -> None:
    before = await with_history(world)
    with sqlite3.connect(world.directory / "tendhost.db") as database:
        database.execute("DELETE FROM meta WHERE key = 'clock_trust'")
    world.clock.set_off(AHEAD)
    async with world.running() as engine:
        await idle(world)
        assert engine.pruner.held_up
    assert history(world) == before


async def test_pruning__goes_on_as_time_passes(world: World) -> None:
    await with_history(world)
    async with world.running():
        for _ in range(91):
            world.clock.advance(DAY)
            await idle(world)
    assert history(world) == (0, 0, 0)


async def asked_again(world: World) -> bool:
    """Whether a request that is sent again still gets its first answer."""
    return (
        await world.store.stored_response(call_with_id(lambda _: b"").request_id, b"body")
        is not None
    )


async def asks(world: World) -> None:
    request = call_with_id(lambda _: b"answer")
    await world.engine.operations.start(
        OperationRequest(host="web1", kind=OperationKind.QUERY), request
    )
    await idle(world)


@pytest.mark.parametrize("off", [6 * DAY, 20 * DAY, -20_000 * DAY, -2 * DAY])
@pytest.mark.parametrize("made_then", [False, True])
async def test_requests__are_kept_for_a_day_whatever_becomes_of_the_clock(
    made_then: bool, off: timedelta, world: World
) -> None:
    async with world.running():
        await world.register("web1")
        await runs_for(world, 2 * HOUR)
        if made_then:
            world.clock.set_off(off)
        asked_at = world.clock.elapsed()
        await asks(world)
        await runs_for(world, asked_at + 3 * HOUR)
        world.clock.set_off(off)
        await runs_for(world, asked_at + 8 * HOUR)
        assert await asked_again(world)
        world.clock.set_off(timedelta())
        await runs_for(world, asked_at + 12 * HOUR)
    async with world.running():
        await runs_for(world, asked_at + 20 * HOUR)
        assert await asked_again(world)
        await world.run(OperationKind.QUERY)
        await runs_for(world, asked_at + 52 * HOUR)
        assert not await asked_again(world)


async def test_pruning__history_that_is_made_while_it_is_1970_is_kept(world: World) -> None:
    await with_history(world)
    world.clock.set_off(-20_000 * DAY)
    async with world.running():
        await world.run(OperationKind.QUERY)
        await hours(world, 2)
    made = history(world)
    world.clock.set_off(timedelta())
    async with world.running() as engine:
        await hours(world, 30)
        assert engine.pruner.held_up == ""
    assert history(world) == made


# --- rollouts whose operations are old, or gone ---------------------------------------------------


async def rollout_that_was_not_counted(world: World) -> Rollout:
    """A rollout whose operation has ended, which the server was killed before it could note."""
    async with world.running() as engine:
        await world.register("web1")
        hold = world.store.hold_before_read("find_operation")  # by which the rollout notes its end
        rollout = await engine.rollouts.start(RolloutSpec(filter=HostFilter()), call())
        await world.reached(hold)
    return rollout


async def test_pruning__spares_what_an_unfinished_rollout_needs(world: World) -> None:
    rollout = await rollout_that_was_not_counted(world)
    later = world.clock.now() + AHEAD
    await world.store.prune(before=later, now=later, requests_before=0, keep_events=0)
    async with world.running():
        ended = await world.rollout_ended(rollout.id)
    assert ended.progress.completed == 1


@pytest.mark.parametrize("cancelled", [False, True])
async def test_rollout__ends_although_an_operation_of_it_is_gone(
    cancelled: bool, world: World
) -> None:
    rollout = await rollout_that_was_not_counted(world)
    if cancelled:
        stored = await world.store.rollout(rollout.id)
        marked = replace(stored, status=RolloutStatus.CANCELLED)
        await world.store.commit(change_of(marked, world.clock.now()))
    with sqlite3.connect(world.directory / "tendhost.db") as database:
        database.execute("DELETE FROM operations")
    async with world.running():
        ended = await world.rollout_ended(rollout.id)
    assert ended.progress.failed == 1
    member = await world.store.member(rollout.id, "web1")
    assert member is not None
    assert "no longer on record" in member.detail
