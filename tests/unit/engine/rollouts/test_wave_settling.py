"""Waves that settle over fake hosts: looked at again and again, and halted by a host that falls ill."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.hosts.host import Policy
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.operations.operation import Operation, OperationKind, OperationStatus
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.domain.rollouts.rollout import HaltCause, Rollout, RolloutStatus
from tests.contract.store.samples import change
from tests.unit.engine.fake_clock import START
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.rollouts.test_rollout_control import NO_DELAY, is_now
from tests.unit.engine.rollouts.test_rollouts import begin, fleet, members, statuses
from tests.unit.engine.world import World, call

R = RolloutStatus
SETTLE = timedelta(minutes=10)


async def checks(world: World, id: str) -> list[Operation]:
    """The checks of a rollout, oldest first."""
    found = (await world.store.operations(rollout=id, limit=1000)).items
    return [o for o in reversed(found) if o.kind is OperationKind.CHECK]


async def looked(world: World, id: str, times: int) -> None:
    """Let minutes pass until so many checks of a rollout have ended."""

    async def done() -> bool:
        return sum(check.status.ended for check in await checks(world, id)) >= times

    await minutes_until(world, done)


async def no_check_runs(world: World, id: str) -> None:
    async def done() -> bool:
        return all(check.status.ended for check in await checks(world, id))

    await world.until(done)


async def over(world: World, id: str) -> Rollout:
    """Let minutes pass until the rollout has ended."""

    async def done() -> bool:
        return bool((await world.store.rollout(id)).over)

    await minutes_until(world, done)
    return cast(Rollout, await world.store.rollout(id))


async def minutes_until(world: World, condition: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(60):
        if await condition():
            return
        await minute(world)
    raise AssertionError("an hour has passed")


async def minute(world: World) -> None:
    """Let a minute pass, once everybody who is going to sleep for a part of it sleeps."""
    for _ in range(20):
        await world.go_on()
    world.clock.advance(timedelta(minutes=1))


async def test_a_wave_that_stays_healthy_is_looked_at_until_the_next_one_begins(world: World):
    async with world.running():
        fakes = await fleet(world, "abc")
        fakes["b"].failed_units = ["old.service"]  # failed before it was updated
        rollout = await begin(world, waves=("2",), settle=SETTLE, delay_between_waves=NO_DELAY)
        ended = await over(world, rollout.id)
        assert (ended.status, ended.progress.completed) == (R.COMPLETED, 3)
        found = await checks(world, rollout.id)
        assert {check.status for check in found} == {OperationStatus.SUCCEEDED}
        hosts = [check.host for check in found]
        assert hosts.count("a") == hosts.count("b") >= 5
        first, last = await world.store.waves(rollout.id, first=0, last=1)
        assert first.ended_at is not None
        assert first.settled_at is not None
        assert first.settled_at - first.ended_at >= SETTLE
        assert last.started_at is not None
        assert last.started_at >= first.settled_at
        assert last.settled_at is None


async def test_a_host_that_falls_ill_halts_and_what_resumes_settles_anew(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "abc")
        rollout = await begin(world, waves=("2",), settle=SETTLE, delay_between_waves=NO_DELAY)
        await looked(world, rollout.id, 4)
        fakes["a"].failed_units = ["web.service"]
        await looked(world, rollout.id, 6)
        await is_now(world, rollout.id, R.HALTED)
        halt = (await world.store.rollout(rollout.id)).halt
        assert halt is not None
        assert (halt.cause, halt.hosts) == (HaltCause.UNHEALTHY, ("a",))
        assert "did not stay healthy: a: failed units: web.service" in halt.message
        assert await statuses(world, rollout.id) == "ccp"
        fakes["a"].failed_units = []
        resumed_at = world.clock.now()
        await engine.rollouts.resume(rollout.id, call())
        assert (await over(world, rollout.id)).progress.completed == 3
        first = await world.store.wave(rollout.id, 0)
        assert first.settled_at is not None
        assert first.settled_at - resumed_at >= SETTLE


async def test_a_host_that_cannot_be_reached_or_has_failed_halts_as_well(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "abc")
        rollout = await begin(world, waves=("2",), settle=SETTLE, delay_between_waves=NO_DELAY)
        await looked(world, rollout.id, 2)
        await engine.rollouts.pause(rollout.id, call())
        await no_check_runs(world, rollout.id)
        fakes["a"].reachable = False
        fakes["b"].accepts_key = False
        await world.run(OperationKind.UPDATE, "b")
        await engine.rollouts.resume(rollout.id, call())

        async def is_halted() -> bool:
            return (await world.store.rollout(rollout.id)).status is R.HALTED

        await minutes_until(world, is_halted)
        halt = (await world.store.rollout(rollout.id)).halt
        assert halt is not None
        assert halt.hosts == ("a", "b")


async def test_a_killed_server_goes_on_with_its_look_and_begins_no_check_twice(world: World):
    async with world.running():
        fakes = await fleet(world, "abc")
        rollout = await begin(world, waves=("2",), settle=SETTLE, delay_between_waves=NO_DELAY)
        await looked(world, rollout.id, 2)
        hold = fakes["b"].hold(Command.UNITS)
        await minute(world)
        await world.reached(hold)
    async with world.running():
        hold.released.set()
        assert (await over(world, rollout.id)).progress.completed == 3
        hosts = [check.host for check in await checks(world, rollout.id)]
        assert hosts.count("a") == hosts.count("b") >= 5
        assert hosts.count("c") == 0


async def test_a_check_waits_for_a_busy_host_and_a_host_that_is_gone_holds_nobody_up(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "abc")
        rollout = await begin(world, waves=("2",), settle=SETTLE, delay_between_waves=NO_DELAY)
        await looked(world, rollout.id, 2)
        await engine.rollouts.pause(rollout.id, call())
        await no_check_runs(world, rollout.id)
        before = len(await checks(world, rollout.id))
        hold = fakes["b"].hold(Command.QUERY)
        query = await world.start(OperationKind.QUERY, "b", queue=True)  # a look may be under way
        await world.reached(hold)
        await engine.registry.unregister("a", call())
        await engine.rollouts.resume(rollout.id, call())

        async def queued() -> bool:
            last = (await checks(world, rollout.id))[-1]
            return last.status is OperationStatus.QUEUED

        await minutes_until(world, queued)
        hold.released.set()
        await world.ended(query.id)
        assert (await over(world, rollout.id)).progress.completed == 3
        hosts = [check.host for check in await checks(world, rollout.id)]
        assert hosts[before:].count("a") == 0
        assert hosts[before:].count("b") >= 5


async def test_a_check_that_is_cancelled_says_of_no_host_that_it_is_healthy(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "abc")
        rollout = await begin(world, waves=("2",), settle=SETTLE, delay_between_waves=NO_DELAY)
        await looked(world, rollout.id, 2)
        await no_check_runs(world, rollout.id)
        hold = fakes["b"].hold(Command.QUERY)
        query = await world.start(OperationKind.QUERY, "b", queue=True)  # a look may be under way
        await world.reached(hold)

        async def stands_still() -> bool:
            for check in await checks(world, rollout.id):
                if check.status is OperationStatus.QUEUED:
                    await engine.operations.cancel(check.id, call("kim"))
            wave = await world.store.wave(rollout.id, 0)
            at_rest = (await world.store.rollout(rollout.id)).status is R.HALTED
            return at_rest or wave.settled_at is not None

        await minutes_until(world, stands_still)
        halt = (await world.store.rollout(rollout.id)).halt
        assert halt is not None
        assert "did not stay healthy: b: its check was cancelled by kim" in halt.message
        hold.released.set()
        await world.ended(query.id)


async def test_the_checks_of_a_look_are_not_gone_through_whenever_one_of_them_ends(world: World):
    async with world.running():
        names = "abcdefghijklmnopqrst"
        fakes = await fleet(world, names)
        rollout = await begin(world, waves=("19",), settle=SETTLE, delay_between_waves=NO_DELAY)
        await looked(world, rollout.id, 19)
        await no_check_runs(world, rollout.id)
        holds = [fakes[name].hold(Command.UNITS) for name in names[:-1]]
        await minute(world)
        for hold in holds:
            await world.reached(hold)
        before = world.store.calls["operations"]
        for number, hold in enumerate(holds, start=1):
            hold.released.set()
            name = names[number - 1]

            async def is_free(name: str = name) -> bool:
                return await world.store.running_operation(name) is None

            await world.until(is_free)
        assert world.store.calls["operations"] - before < 5
        assert (await over(world, rollout.id)).progress.completed == 20


async def test_where_nobody_was_updated_nobody_is_looked_at(world: World):
    async with world.running():
        fakes = await fleet(world, "ab")
        fakes["a"].pending = {"web": Pending(breaks=True)}
        rollout = await begin(world, waves=("1",), settle=SETTLE, delay_between_waves=NO_DELAY)
        ended = await world.rollout_ended(rollout.id)
        assert (ended.progress.failed, ended.progress.completed) == (1, 1)
        assert await checks(world, rollout.id) == []
        assert (await members(world, rollout.id))["b"].check == ""


async def test_a_rollout_that_rested_until_its_operations_were_forgotten_settles_all_the_same(
    world: World,
):
    async with world.running() as engine:
        await fleet(world, "ab")
        rollout = await begin(world, waves=("1",), settle=SETTLE, delay_between_waves=NO_DELAY)
        await looked(world, rollout.id, 1)
        await engine.rollouts.pause(rollout.id, call())
        await no_check_runs(world, rollout.id)
        world.clock.advance(timedelta(days=100))
        now = world.clock.now()
        await world.store.prune(before=now, now=now, requests_before=0, keep_events=1000)
        await engine.rollouts.resume(rollout.id, call())
        assert (await over(world, rollout.id)).progress.completed == 2


# --- reboots that were left -----------------------------------------------------------------------


async def canary_keeps_its_kernel(world: World, **how: object) -> tuple[dict[str, FakeHost], str]:
    """A rollout of two waves whose first host's window closes during the upgrade, before its reboot."""
    noon = MaintenanceWindow(start=START.time(), end=(START + timedelta(minutes=10)).time())
    fakes = {
        "a": await world.register("a", policy=Policy(windows=(noon,))),
        "b": await world.register("b"),
    }
    fakes["a"].pending = {"web": Pending(wants_reboot=True)}
    fakes["b"].pending = {"web": Pending()}
    hold = fakes["a"].hold(Command.UPGRADE)
    rollout = await begin(world, waves=("1",), delay_between_waves=NO_DELAY, **how)
    await world.reached(hold)
    world.clock.advance(timedelta(minutes=20))
    hold.released.set()
    return fakes, rollout.id


async def test_reboot_left__is_told_and_counted(world: World):
    async with world.running() as engine:
        fakes, id = await canary_keeps_its_kernel(world)
        ended = await over(world, id)
        assert (ended.status, ended.progress.completed, ended.reboots_left) == (R.COMPLETED, 2, 1)
        assert fakes["a"].count(Command.REBOOT) == 0
        left, other = (await members(world, id)).values()
        opens = "its window opens Mon 2026-03-02 12:00 UTC"
        assert (left.reboot_left, left.detail) == (True, f"its reboot was left: {opens}")
        assert (other.reboot_left, other.detail) == (False, "")
        report = await engine.reports.report(id)
        (line,) = report.reboots_left
        assert (line.reason, line.hosts, report.reboots) == (opens, ("a",), 0)


async def test_reboot_left_by_policy__is_told_and_counted(world: World):
    async with world.running():
        fake = await world.register("a", policy=Policy(auto_reboot=False))
        fake.pending = {"web": Pending(wants_reboot=True)}
        ended = await world.rollout_ended((await begin(world)).id)
        assert ended.reboots_left == 1
        detail = (await members(world, ended.id))["a"].detail
        assert detail == "its reboot was left: its policy does not allow updates to reboot it"
        # A dry run and an update that reboots leave none.
        dry = await world.rollout_ended((await begin(world, dry_run=True)).id)
        assert dry.reboots_left == 0
        other = await world.register("b")
        other.pending = {"web": Pending(wants_reboot=True)}
        rebooted = await begin(world, filter=HostFilter(names=("b",)))
        assert (await world.rollout_ended(rebooted.id)).reboots_left == 0


@pytest.mark.parametrize("settle", [timedelta(), SETTLE])
async def test_require_rebooted__halts_after_the_wave_until_the_host_is_rebooted(
    world: World, settle: timedelta
):
    async with world.running() as engine:
        fakes, id = await canary_keeps_its_kernel(world, require_rebooted=True, settle=settle)
        await minutes_until(world, lambda: is_halted(world, id))
        rollout = await world.store.rollout(id)
        assert rollout.halt is not None
        assert (rollout.halt.cause, rollout.halt.hosts) == (HaltCause.REBOOT_LEFT, ("a",))
        assert "a: it needs a reboot" in rollout.halt.message
        assert f"tendhost rollout resume {id}" in rollout.halt.message
        assert await statuses(world, id) == "cp"
        # Resumed without the reboot, it halts again.
        await engine.rollouts.resume(id, call())
        await minutes_until(world, lambda: is_halted(world, id))
        assert fakes["b"].ran == []
        world.clock.advance(START + timedelta(days=1, minutes=1) - world.clock.now())
        assert (await world.run(OperationKind.REBOOT, "a")).status is OperationStatus.SUCCEEDED
        await engine.rollouts.resume(id, call())
        ended = await over(world, id)
        assert (ended.status, ended.progress.completed, ended.reboots_left) == (R.COMPLETED, 2, 1)


async def test_require_rebooted__is_ended_by_a_resume_that_ignores_the_reboots(world: World):
    async with world.running() as engine:
        _, id = await canary_keeps_its_kernel(world, require_rebooted=True)
        await minutes_until(world, lambda: is_halted(world, id))
        await engine.rollouts.resume(id, call(), ignore_reboots_left=True)
        assert (await over(world, id)).progress.completed == 2


async def test_require_rebooted__never_takes_an_unknown_need_for_none(world: World):
    async with world.running():
        fakes = await fleet(world, "ab")
        fakes["a"].reboot_unreadable = True
        rollout = await begin(
            world, waves=("1",), require_rebooted=True, delay_between_waves=NO_DELAY
        )
        await minutes_until(world, lambda: is_halted(world, rollout.id))
        halt = (await world.store.rollout(rollout.id)).halt
        assert halt is not None
        assert "a: it is unknown whether it needs a reboot" in halt.message


async def is_halted(world: World, id: str) -> bool:
    return (await world.store.rollout(id)).status is R.HALTED


async def test_queued_check__of_a_host_that_has_left_the_scope_is_not_made_and_halts_nothing(
    world: World,
):
    async with world.running():
        fakes = await fleet(world, "abc")
        scope = Scope(all_tags=("all",))
        rollout = await begin(
            world, waves=("2",), settle=SETTLE, delay_between_waves=NO_DELAY, bound_to=scope
        )
        await looked(world, rollout.id, 2)
        await no_check_runs(world, rollout.id)
        fakes["b"].hold(Command.QUERY)
        await world.start(OperationKind.QUERY, "b", queue=True)

        async def queued() -> bool:
            last = (await checks(world, rollout.id))[-1]
            return (last.host, last.status) == ("b", OperationStatus.QUEUED)

        await minutes_until(world, queued)
        waiting = (await checks(world, rollout.id))[-1]
        assert waiting.bound_to == scope
    host = await world.store.host("b")
    await world.store.commit(change(hosts=(replace(host, config=replace(host.config, tags=())),)))
    async with world.running():
        assert (await over(world, rollout.id)).progress.completed == 3
        refused = await world.store.operation(waiting.id)
        assert refused.problem is not None
        assert (refused.problem.reason, refused.steps) == ("HOST_OUT_OF_SCOPE", ())
