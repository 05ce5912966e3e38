"""Runs of schedules: begun when due, once each, whatever becomes of the server and its clock."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from tendhost.server.domain.events import ScheduleChange, ScheduleChanged
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.request_errors import InvalidArgument, ScheduleNotFound
from tendhost.server.domain.rollouts.rollout import Rollout, RolloutSpec
from tendhost.server.domain.schedules.recurrence import Recurrence
from tendhost.server.domain.schedules.schedule import (
    MissedRuns,
    RunOutcome,
    Schedule,
    ScheduledRun,
    ScheduleRequest,
)
from tendhost.server.domain.schedules.schedule_events import schedule_event
from tendhost.server.engine.operations.manager import SWEEP
from tendhost.server.engine.retention import INTERVAL as PRUNED_EVERY
from tendhost.server.store.records import Change
from tests.unit.engine.fake_clock import START
from tests.unit.engine.fake_command import Command
from tests.unit.engine.world import World, call

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DUE = START + 15 * HOUR
"""The first 03:00 after the world's beginning."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "state" / "tendhost.db").remembered() as world:
        yield world


async def nightly(world: World, name: str = "nightly", **wish: Any) -> Schedule:
    """A schedule of every night at 3, over all hosts."""
    wish.setdefault("cron", "" if "rrule" in wish else "0 3 * * *")
    wish.setdefault("rollout", RolloutSpec(filter=HostFilter()))
    view = await world.engine.schedules.create(ScheduleRequest(name=name, **wish), call())
    return view.schedule


async def rollouts(world: World) -> list[Rollout]:
    """Every rollout, the oldest first."""
    return list(reversed((await world.store.rollouts(limit=1000)).items))


async def skipped(world: World) -> list[str]:
    """What was told about each run that was skipped, the oldest first."""
    told = [e.body for e in await world.events() if isinstance(e.body, ScheduleChanged)]
    return [body.message for body in told if body.change is ScheduleChange.SKIPPED]


async def last_run(world: World, *, due_at: datetime = DUE, name: str = "nightly") -> ScheduledRun:
    """The run that was due then, once it was begun or skipped."""

    async def done() -> bool:
        run = (await world.store.schedule(name)).last_run
        return run is not None and bool(run.due_at >= due_at)

    await world.until(done)
    run = (await world.store.schedule(name)).last_run
    assert run is not None
    return cast(ScheduledRun, run)


async def idle(world: World) -> None:
    """Let everything happen that would within some minutes."""
    for _ in range(20):
        await world.go_on()


def to(world: World, at: datetime) -> None:
    """Put the clock forward, or back."""
    world.clock.advance(at - world.clock.now())


async def test_run_begins_when_it_is_due_and_not_before(world: World) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world)
        to(world, DUE - 2 * HOUR)
        await idle(world)
        assert await rollouts(world) == []
        to(world, DUE)
        run = await last_run(world)
        assert (run.outcome, run.due_at, run.detail) == (RunOutcome.STARTED, DUE, "")
        rollout = await world.rollout_ended(run.rollout)
        assert rollout.progress.completed == 1
        assert rollout.created_by == "schedule nightly"
        assert (await world.store.schedule("nightly")).next_at == DUE + DAY


async def test_each_run_has_a_rollout_of_its_own_over_the_hosts_of_then(world: World) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world)
        to(world, DUE)
        await world.rollout_ended((await last_run(world)).rollout)
        await world.register("web2")
        to(world, DUE + DAY)
        await world.rollout_ended((await last_run(world, due_at=DUE + DAY)).rollout)
        assert [r.progress.total_hosts for r in await rollouts(world)] == [1, 2]


async def test_schedule_that_is_made_while_another_is_waited_for_is_not_overlooked(
    world: World,
) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world, name="later")
        await idle(world)
        soon = world.clock.now() + timedelta(minutes=5)
        await nightly(world, name="soon", cron=f"{soon.minute} {soon.hour} * * *")
        run = await last_run(world, due_at=START, name="soon")
        assert run.outcome is RunOutcome.STARTED
        assert world.clock.now() < DUE - HOUR


async def test_rule_that_counts_ends_by_itself(world: World) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world, rrule="FREQ=DAILY;COUNT=1;BYHOUR=3", starts_at=START)
        to(world, DUE)
        run = await last_run(world)
        await world.rollout_ended(run.rollout)
        schedule = await world.store.schedule("nightly")
        assert (schedule.next_at, str(schedule.status)) == (None, "ended")
        to(world, DUE + 10 * DAY)
        await idle(world)
        assert len(await rollouts(world)) == 1


async def test_run_is_skipped_while_the_former_rollout_has_not_ended(world: World) -> None:
    async with world.running():
        fake = await world.register("web1")
        await nightly(world)
        hold = fake.hold(Command.PREFLIGHT)
        to(world, DUE)
        first = await last_run(world)
        await world.reached(hold)
        await world.engine.rollouts.pause(first.rollout, call())
        to(world, DUE + DAY)
        second = await last_run(world, due_at=DUE + DAY)
        assert (second.outcome, second.rollout) == (RunOutcome.OVERLAPPED, "")
        assert first.rollout in second.detail
        assert "paused" in second.detail
        assert (await world.store.schedule("nightly")).last_rollout == first.rollout
        hold.released.set()
        await world.engine.rollouts.cancel(first.rollout, call())
        await world.rollout_ended(first.rollout)
        to(world, DUE + 2 * DAY)
        third = await last_run(world, due_at=DUE + 2 * DAY)
        assert third.outcome is RunOutcome.STARTED
        await world.rollout_ended(third.rollout)
        told = [e.body for e in await world.events() if isinstance(e.body, ScheduleChanged)]
        assert [body.change for body in told] == [
            ScheduleChange.CREATED,
            ScheduleChange.STARTED,
            ScheduleChange.SKIPPED,
            ScheduleChange.STARTED,
        ]
        assert told[2].message == second.detail


async def test_run_that_cannot_begin_is_skipped_with_the_reason_and_the_next_one_comes(
    world: World,
) -> None:
    async with world.running():
        await nightly(world)
        to(world, DUE)
        run = await last_run(world)
        assert (run.outcome, run.rollout) == (RunOutcome.REFUSED, "")
        assert "no host" in run.detail
        await world.register("web1")
        to(world, DUE + DAY)
        run = await last_run(world, due_at=DUE + DAY)
        assert run.outcome is RunOutcome.STARTED
        await world.rollout_ended(run.rollout)


async def test_paused_schedule_begins_nothing_and_makes_up_for_nothing(world: World) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world, missed=MissedRuns.RUN_ONCE)
        await world.engine.schedules.pause("nightly", call())
        to(world, DUE + HOUR)
        await idle(world)
        resumed = (await world.engine.schedules.resume("nightly", call())).schedule
        await idle(world)
        assert (resumed.next_at, resumed.last_run) == (DUE + DAY, None)
        assert await rollouts(world) == []


@pytest.mark.parametrize("missed", list(MissedRuns))
async def test_run_that_is_late_by_no_more_than_the_grace_begins(
    missed: MissedRuns, world: World
) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world, missed=missed, grace=timedelta(minutes=10))
    to(world, DUE + timedelta(minutes=10))
    async with world.running():
        run = await last_run(world)
        assert (run.outcome, run.detail) == (RunOutcome.STARTED, "")
        await world.rollout_ended(run.rollout)


async def test_runs_that_no_server_began_are_skipped(world: World) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world)
    to(world, DUE + 3 * DAY + HOUR)
    async with world.running():
        run = await last_run(world)
        assert (run.outcome, run.due_at) == (RunOutcome.MISSED, DUE + 3 * DAY)
        assert "2026-03-05 03:00 UTC" in run.detail
        await idle(world)
        # Each is told.
        told = await skipped(world)
        assert len(told) == 4
        for n, words in enumerate(told):
            assert f"due {DUE + n * DAY:%Y-%m-%d %H:%M} UTC" in words
        assert await rollouts(world) == []
        assert (await world.store.schedule("nightly")).next_at == DUE + 4 * DAY


async def test_runs_that_no_server_began_are_made_up_for_once_where_that_is_wished(
    world: World,
) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world, missed=MissedRuns.RUN_ONCE)
    to(world, DUE + 3 * DAY + HOUR)
    async with world.running():
        run = await last_run(world)
        assert (run.outcome, run.due_at) == (RunOutcome.STARTED, DUE + 3 * DAY)
        assert run.detail.startswith("caught up: it was due 2026-03-05 03:00 UTC")
        assert len(await skipped(world)) == 3
        await world.rollout_ended(run.rollout)
        await idle(world)
        assert len(await rollouts(world)) == 1
        assert (await world.store.schedule("nightly")).next_at == DUE + 4 * DAY


async def test_run_within_the_grace_is_in_time_whatever_was_missed_before(world: World) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world)
    to(world, DUE + 3 * DAY + timedelta(minutes=1))
    async with world.running():
        run = await last_run(world)
        assert (run.outcome, run.due_at) == (RunOutcome.STARTED, DUE + 3 * DAY)
        await world.rollout_ended(run.rollout)


# --- a server that is killed ----------------------------------------------------------------------

READS = ("due_schedules", "schedule", "survey", "busy_hosts", "next_due")


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_server_that_is_killed_around_a_read_neither_loses_nor_doubles_the_run(
    read: str, when: str, world: World
) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world)
        await idle(world)
        hold = getattr(world.store, f"hold_{when}_read")(read)
        to(world, DUE)
        await world.reached(hold)
    async with world.running():
        await world.rollout_ended((await last_run(world)).rollout)
        await idle(world)
        (rollout,) = await rollouts(world)
        assert rollout.progress.completed == 1


async def test_server_that_is_killed_right_after_the_commit_neither_loses_nor_doubles_the_run(
    world: World,
) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world)
        hold = world.store.hold_after_commit(lambda change: bool(change.schedules))
        to(world, DUE)
        await world.reached(hold)
    (stored,) = await rollouts(world)
    schedule = await world.store.schedule("nightly")
    assert (schedule.last_rollout, schedule.next_at) == (stored.id, DUE + DAY)
    async with world.running():
        assert (await world.rollout_ended(stored.id)).progress.completed == 1
        await idle(world)
        assert len(await rollouts(world)) == 1


async def test_run_and_rollout_are_stored_in_one_transaction(world: World) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world)
        seen: list[tuple[int, int]] = []

        def noted(change: Change) -> bool:
            seen.append((len(change.rollouts), len(change.schedules)))
            return False

        world.store.hold_after_commit(noted)
        to(world, DUE)
        await world.rollout_ended((await last_run(world)).rollout)
        assert [pair for pair in seen if pair[1]] == [(1, 1)]


@pytest.mark.parametrize("method", ["commit", "survey", "schedule", "due_schedules"])
async def test_store_that_cannot_be_used_for_a_while_costs_no_run(
    method: str, world: World
) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world)
        await idle(world)
        world.store.outage_of = {method}
        to(world, DUE)
        failed = world.store.failures

        async def has_failed() -> bool:
            return world.store.failures > failed + 1

        await world.until(has_failed)
        assert await rollouts(world) == []
        world.store.outage_of = set()
        run = await last_run(world)
        assert run.outcome is RunOutcome.STARTED
        await world.rollout_ended(run.rollout)
        assert len(await rollouts(world)) == 1


async def test_schedule_that_is_paused_while_its_run_is_planned_does_not_begin_it(
    world: World,
) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world)
        hold = world.store.hold_after_read("survey")
        to(world, DUE)
        await world.reached(hold)
        await world.engine.schedules.pause("nightly", call())
        hold.released.set()
        await idle(world)
        assert await rollouts(world) == []
        assert (await world.store.schedule("nightly")).last_run is None


async def test_schedule_that_is_deleted_while_its_run_is_planned_does_not_begin_it(
    world: World,
) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world)
        hold = world.store.hold_after_read("survey")
        to(world, DUE)
        await world.reached(hold)
        await world.engine.schedules.delete("nightly", call())
        hold.released.set()
        await idle(world)
        assert await rollouts(world) == []
        with pytest.raises(ScheduleNotFound):
            await world.store.schedule("nightly")


# --- a clock that jumps ---------------------------------------------------------------------------


async def test_clock_that_is_put_back_does_not_bring_a_run_back(world: World) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world)
        to(world, DUE)
        await world.rollout_ended((await last_run(world)).rollout)
        to(world, DUE - 2 * HOUR)
        await idle(world)
        to(world, DUE)
        await idle(world)
        assert len(await rollouts(world)) == 1


async def test_pausing_and_resuming_after_the_clock_was_put_back_does_not_either(
    world: World,
) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world)
        to(world, DUE)
        await world.rollout_ended((await last_run(world)).rollout)
        to(world, DUE - 2 * HOUR)
        await world.engine.schedules.pause("nightly", call())
        resumed = (await world.engine.schedules.resume("nightly", call())).schedule
        assert resumed.next_at == DUE + DAY


async def test_clock_that_is_put_forward_past_a_run_has_missed_it(world: World) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world)
        await idle(world)
        to(world, DUE + 5 * HOUR)
        run = await last_run(world)
        assert run.outcome is RunOutcome.MISSED
        assert await rollouts(world) == []


async def test_clock_that_is_put_forward_is_noticed_while_a_run_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running():
        await world.register("web1")
        asked: list[timedelta] = []
        sleep = world.clock.sleep

        async def noted(duration: timedelta) -> None:
            asked.append(duration)
            await sleep(duration)

        monkeypatch.setattr(world.clock, "sleep", noted)
        await nightly(world)
        await idle(world)
        # Sleeps go by another clock: each is short, however far off the run is.
        assert asked
        others = (SWEEP, PRUNED_EVERY)
        assert max(pause for pause in asked if pause not in others) <= timedelta(minutes=1)


async def test_run_of_a_schedule_that_nobody_called_for_begins_all_the_same(world: World) -> None:
    """Stored by another process, or by a call that got lost: it is found within a minute."""
    async with world.running():
        await world.register("web1")
        made = await nightly(world)
        await world.engine.schedules.delete("nightly", call())
        await idle(world)
        event = schedule_event(made, ScheduleChange.CREATED, world.clock.now())
        await world.store.commit(Change(events=(event,), schedules=(replace(made, revision=0),)))
        to(world, DUE)
        assert (await last_run(world)).outcome is RunOutcome.STARTED


async def test_fault_that_nobody_foresaw_is_told_and_the_next_run_comes(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world)

        def broken(*_: Any, **__: Any) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(world.engine.rollouts, "start", broken)
            to(world, DUE)
            run = await last_run(world)
        assert run.outcome is RunOutcome.REFUSED
        assert "server's log" in run.detail
        assert any(record.exc_info for record in caplog.records)
        to(world, DUE + DAY)
        run = await last_run(world, due_at=DUE + DAY)
        assert run.outcome is RunOutcome.STARTED
        await world.rollout_ended(run.rollout)


async def test_fault_of_one_schedule_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.running() as engine:
        await world.register("web1")
        await nightly(world, "a")
        await nightly(world)
        take = engine.schedules._take

        async def stumbling(name: str) -> None:
            if name == "a":
                raise ZeroDivisionError
            await take(name)

        monkeypatch.setattr(engine.schedules, "_take", stumbling)
        to(world, DUE)
        run = await last_run(world)
        assert run.outcome is RunOutcome.STARTED
        await world.rollout_ended(run.rollout)
        await idle(world)
        # What is still due is not tried over and over.
        minutes = (world.clock.now() - DUE) / timedelta(minutes=1)
        assert sum("failed" in record.message for record in caplog.records) <= minutes + 2


async def test_changes_that_meet_are_both_made(world: World) -> None:
    async with world.running():
        await nightly(world)

        def later(spec: Any, now: datetime) -> ScheduleRequest:
            return ScheduleRequest(name=spec.name, cron="0 5 * * *", rollout=spec.rollout)

        schedules = world.engine.schedules
        hold = world.store.hold_after_read("schedule")
        changing = asyncio.ensure_future(schedules.update("nightly", later, call()))
        await world.reached(hold)
        await schedules.pause("nightly", call())
        hold.released.set()
        changed = (await changing).schedule
        assert changed.paused
        assert (changed.spec.recurrence.cron, changed.next_at) == ("0 5 * * *", None)


async def test_change_to_what_never_comes_is_refused_and_changes_nothing(world: World) -> None:
    async with world.running():
        made = await nightly(world)

        def never(spec: Any, now: datetime) -> ScheduleRequest:
            return ScheduleRequest(name=spec.name, cron="0 0 30 2 *", rollout=spec.rollout)

        with pytest.raises(InvalidArgument) as caught:
            await world.engine.schedules.update("nightly", never, call())
        assert [v.field for v in caught.value.violations] == ["spec.cron"]
        assert await world.store.schedule("nightly") == made


FAR = timedelta(days=3650, minutes=5)


async def next_at(world: World) -> datetime | None:
    return cast(Schedule, await world.store.schedule("nightly")).next_at


async def test_clock_that_was_ahead__next_run_is_right_once_the_clock_is(world: World) -> None:
    async with world.running():
        await world.register("web1")
        await nightly(world, cron="5 * * * *")
        world.clock.set_off(FAR)
        await idle(world)
        assert (await next_at(world) or START) > START + 3650 * DAY
        world.clock.set_off(timedelta())
        await idle(world)
        found = await next_at(world)
        assert found is not None
        assert found - world.clock.now() <= DAY + HOUR


async def test_clock_that_was_ahead__restart_puts_the_next_run_right(world: World) -> None:
    world.clock.set_off(FAR)
    async with world.running():
        await world.register("web1")
        await nightly(world)
    world.clock.set_off(timedelta())
    async with world.running():
        await idle(world)
        assert await next_at(world) == DUE
        bodies = [event.body for event in await world.events()]
        told = [body for body in bodies if isinstance(body, ScheduleChanged)]
        assert told[-1].change is ScheduleChange.RECOMPUTED
        assert "the clock of the server was wrong" in told[-1].message


async def test_time_zones_that_changed__next_run_is_computed_again(world: World) -> None:
    async with world.running():
        made = await nightly(world, time_zone="Europe/Berlin")
        assert made.next_at == DUE - HOUR
    stored = await world.store.schedule("nightly")
    by_former_rules = schedule_event(stored, ScheduleChange.UPDATED, START)
    moved = Change(events=(by_former_rules,), schedules=(replace(stored, next_at=DUE),))
    await world.store.commit(moved)
    async with world.running():
        await idle(world)
        assert await next_at(world) == DUE - HOUR


async def test_time_zones_that_changed__running_server_hears_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running():
        await nightly(world, time_zone="Europe/Berlin")
        await idle(world)
        world.clock.advance(2 * HOUR)
        monkeypatch.setattr(Recurrence, "moments", lambda _, after: iter([after + FAR]))
        await idle(world)
        assert await next_at(world) == START + FAR
