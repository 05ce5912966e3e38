"""Rollouts over fake hosts: waves, delays, hosts that fail, steering, and servers that come and go."""

from datetime import timedelta
from typing import Any

import pytest

from tendhost.server.domain.events import RolloutChanged
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.request_errors import (
    InvalidRolloutStatus,
    RolloutEmpty,
    RolloutNotFound,
)
from tendhost.server.domain.rollouts.advance import advance
from tendhost.server.domain.rollouts.rollout import (
    DisruptionBudget,
    Member,
    MemberStatus,
    Rollout,
    RolloutSpec,
    RolloutStatus,
    WaitingFor,
)
from tendhost.server.domain.rollouts.waves import Division
from tendhost.server.engine.rollouts import controller
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.world import World, call

K, S, M, R = OperationKind, OperationStatus, MemberStatus, RolloutStatus
EVERYBODY = HostFilter()


async def fleet(world: World, names: str = "abcde") -> dict[str, FakeHost]:
    """Registered hosts that each have an update."""
    fakes = {name: await world.register(name, tags=("all", name)) for name in names}
    for fake in fakes.values():
        fake.pending = {"web": Pending()}
    return fakes


def spec(**how: object) -> RolloutSpec:
    cut = {name: how.pop(name) for name in ("waves", "stages", "dependencies") if name in how}
    return RolloutSpec(
        filter=how.pop("filter", EVERYBODY),  # type: ignore[arg-type]
        division=Division(**cut),  # type: ignore[arg-type]
        **how,  # type: ignore[arg-type]
    )


async def begin(world: World, **how: object) -> Rollout:
    return await world.engine.rollouts.start(spec(**how), call())


async def members(world: World, id: str) -> dict[str, Member]:
    page = await world.store.members(id, limit=1000)
    return {member.host: member for member in page.items}


async def statuses(world: World, id: str) -> str:
    """The members' statuses by name, each as its first letter."""
    return "".join(str(m.status)[0] for m in (await members(world, id)).values())


async def test_a_rollout_works_through_its_waves_in_order_of_name(world: World):
    async with world.running():
        fakes = await fleet(world)
        began = world.clock.now()
        holds = {name: fake.hold(Command.UPGRADE) for name, fake in fakes.items()}
        rollout = await begin(world)
        assert (rollout.waves, rollout.progress.total_hosts) == (3, 5)
        for wave in ("ab", "cd", "e"):
            for name in wave:
                await world.reached(holds[name])
            reached = [name for name, hold in holds.items() if hold.reached.is_set()]
            assert reached == list("abcde"[: len(reached)])
            assert reached[-len(wave) :] == list(wave)
            for name in wave:
                holds[name].released.set()
        ended = await world.rollout_ended(rollout.id)
        assert (ended.status, ended.progress.completed) == (R.COMPLETED, 5)
        # Two delays of 30 s, between three waves.
        assert ended.ended_at is not None
        assert ended.ended_at - began >= timedelta(seconds=60)


async def test_the_parts_of_the_progress_add_up_in_every_event(world: World):
    async with world.running():
        fakes = await fleet(world)
        fakes["b"].pending = {"web": Pending(breaks=True)}
        rollout = await begin(world)
        await world.rollout_ended(rollout.id)
        told = [e.body for e in await world.events() if isinstance(e.body, RolloutChanged)]
        for body in told:
            p = body.progress
            parts = p.pending + p.in_progress + p.completed + p.failed + p.skipped
            assert parts == p.total_hosts == 5
        assert [body.wave for body in told] == sorted(body.wave for body in told)
        assert told[-1].status is R.COMPLETED


async def test_a_host_that_fails_does_not_keep_the_next_wave_from_starting(world: World):
    async with world.running():
        fakes = await fleet(world)
        fakes["a"].pending = {"web": Pending(breaks=True)}
        fakes["c"].reachable = False
        rollout = await begin(world)
        ended = await world.rollout_ended(rollout.id)
        assert ended.status is R.COMPLETED
        assert (ended.progress.completed, ended.progress.failed) == (3, 2)
        found = await members(world, rollout.id)
        assert "web: cannot migrate" in found["a"].detail
        assert "connection refused" in found["c"].detail
        assert found["e"].status is M.COMPLETED


async def test_a_host_that_has_failed_before_is_skipped_and_says_why(world: World):
    async with world.running():
        fakes = await fleet(world, "ab")
        fakes["a"].accepts_key = False
        await world.run(K.UPDATE, "a")
        rollout = await begin(world)
        ended = await world.rollout_ended(rollout.id)
        assert (ended.progress.completed, ended.progress.skipped) == (1, 1)
        skipped = (await members(world, rollout.id))["a"]
        assert (skipped.status, skipped.operation) == (M.SKIPPED, "")
        assert "has to be retried first: a (a.example.org): permission denied" in skipped.detail
        assert fakes["a"].ran == []


async def test_a_host_that_is_gone_when_its_turn_comes_is_skipped(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "ab")
        hold = fakes["a"].hold(Command.UPGRADE)
        rollout = await begin(world, waves=("1",))
        await world.reached(hold)
        await engine.registry.unregister("b", call())
        hold.released.set()
        ended = await world.rollout_ended(rollout.id)
        assert (ended.progress.completed, ended.progress.skipped) == (1, 1)
        assert "not registered" in (await members(world, rollout.id))["b"].detail


@pytest.mark.parametrize("waits", [False, True])
async def test_host_that_is_registered_again__is_another_one_for_its_rollout(
    world: World, waits: bool
):
    async with world.running() as engine:
        fakes = await fleet(world, "ab")
        hold = fakes["a"].hold(Command.UPGRADE)
        rollout = await begin(world, waves=("rest" if waits else "1",), budgets=one_down(waits))
        await world.reached(hold)

        async def is_held_up() -> bool:
            return await statuses(world, rollout.id) == ("iw" if waits else "ip")

        await world.until(is_held_up)
        await engine.registry.unregister("b", call())
        world.clock.advance(timedelta(seconds=1))
        again = await world.register("b", tags=("all", "b"))
        again.pending = {"web": Pending()}
        hold.released.set()
        ended = await world.rollout_ended(rollout.id)
        assert (ended.progress.completed, ended.progress.skipped) == (1, 1)
        assert (await members(world, rollout.id))["b"].detail == (
            "it was removed and registered again, and counts as another host, which this rollout did not"
            f" select: registered {world.clock.now():%Y-%m-%d} 12:00 UTC"
        )
        assert again.count(Command.UPGRADE) == 0
        # The next rollout selects it.
        assert (await world.rollout_ended((await begin(world)).id)).progress.completed == 2
        assert again.count(Command.UPGRADE) == 1


def one_down(wanted: bool) -> tuple[DisruptionBudget, ...]:
    return (DisruptionBudget(limit="1"),) if wanted else ()


async def test_failed_host_that_is_registered_again__is_not_retried(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "ab")
        for fake in fakes.values():
            fake.reachable = False
        rollout = await begin(world)
        assert (await world.rollout_ended(rollout.id)).progress.failed == 2
        await engine.registry.unregister("b", call())
        world.clock.advance(timedelta(seconds=1))
        await world.register("b")
        fakes["a"].reachable = True
        again = await engine.rollouts.retry(rollout.id, call())
        assert list(await members(world, again.id)) == ["a"]
        await world.rollout_ended(again.id)
        await engine.registry.unregister("a", call())
        with pytest.raises(RolloutEmpty, match="b: it was removed"):
            await engine.rollouts.retry(rollout.id, call())


async def test_a_busy_host_is_updated_once_it_is_free(world: World):
    async with world.running():
        fakes = await fleet(world, "ab")
        hold = fakes["a"].hold(Command.UNITS)
        check = await world.start(K.CHECK, "a")
        await world.reached(hold)
        rollout = await begin(world)

        async def held_up() -> bool:
            return await statuses(world, rollout.id) == "wc"

        await world.until(held_up)
        waiting = (await members(world, rollout.id))["a"]
        assert (waiting.waiting, waiting.operation) == (WaitingFor.HOST, "")
        hold.released.set()
        assert (await world.ended(check.id)).status is S.SUCCEEDED
        assert (await world.rollout_ended(rollout.id)).progress.completed == 2


async def test_a_paused_rollout_starts_nothing_and_goes_on_when_it_is_resumed(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "abc")
        hold = fakes["a"].hold(Command.UPGRADE)
        rollout = await begin(world, waves=("1",))
        await world.reached(hold)
        assert (await engine.rollouts.pause(rollout.id, call())).status is R.PAUSED
        hold.released.set()

        async def first_done() -> bool:
            return await statuses(world, rollout.id) == "cpp"

        await world.until(first_done)  # what runs goes on
        world.clock.advance(timedelta(hours=1))
        for _ in range(20):
            await world.go_on()
        assert await statuses(world, rollout.id) == "cpp"
        assert (await engine.rollouts.resume(rollout.id, call())).status is R.RUNNING
        assert (await world.rollout_ended(rollout.id)).progress.completed == 3


async def test_a_rollout_that_waits_costs_nothing(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "ab")
        hold = fakes["a"].hold(Command.UPGRADE)
        rollout = await begin(world, waves=("1",))
        await world.reached(hold)
        await engine.rollouts.pause(rollout.id, call())
        await engine.rollouts.resume(rollout.id, call())
        for _ in range(20):
            await world.go_on()
        before = world.store.calls["rollout"]
        for _ in range(100):
            await world.go_on()
        assert world.store.calls["rollout"] == before
        hold.released.set()
        await world.rollout_ended(rollout.id)


async def test_a_rollout_that_is_paused_during_its_delay_stays_there(world: World):
    async with world.running() as engine:
        await fleet(world, "ab")
        rollout = await begin(world, waves=("1",), delay_between_waves=timedelta(minutes=50))

        async def delayed() -> bool:
            return (await world.store.rollout(rollout.id)).next_wave_at is not None

        await world.until(delayed)
        await engine.rollouts.pause(rollout.id, call())
        world.clock.advance(timedelta(minutes=51))
        for _ in range(20):
            await world.go_on()
        assert await statuses(world, rollout.id) == "cp"
        await engine.rollouts.resume(rollout.id, call())
        assert (await world.rollout_ended(rollout.id)).progress.completed == 2


async def test_a_cancelled_rollout_skips_what_had_not_begun_and_lets_the_rest_end(world: World):
    async with world.running() as engine:
        fakes = await fleet(world)
        hold = fakes["a"].hold(Command.UPGRADE)
        rollout = await begin(world)
        await world.reached(hold)
        cancelled = await engine.rollouts.cancel(rollout.id, call())
        assert (cancelled.status, cancelled.over) == (R.CANCELLED, False)
        hold.released.set()
        ended = await world.rollout_ended(rollout.id)
        assert ended.status is R.CANCELLED
        assert (ended.progress.completed, ended.progress.skipped) == (2, 3)
        assert (await members(world, rollout.id))["e"].detail == "the rollout was cancelled"
        assert fakes["c"].ran == []


async def test_an_operation_that_is_cancelled_by_itself_counts_as_skipped(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "ab")
        hold = fakes["a"].hold(Command.PREFLIGHT)
        rollout = await begin(world)
        await world.reached(hold)
        operation = (await members(world, rollout.id))["a"].operation
        await engine.operations.cancel(operation, call())
        hold.released.set()
        ended = await world.rollout_ended(rollout.id)
        assert (ended.progress.completed, ended.progress.skipped) == (1, 1)


async def test_a_rollout_is_steered_only_where_its_status_allows(world: World):
    async with world.running() as engine:
        await fleet(world, "a")
        rollout = await begin(world)
        with pytest.raises(InvalidRolloutStatus, match="cannot be resumed"):
            await engine.rollouts.resume(rollout.id, call())
        await world.rollout_ended(rollout.id)
        for steer in (engine.rollouts.pause, engine.rollouts.resume, engine.rollouts.cancel):
            with pytest.raises(InvalidRolloutStatus, match="is completed"):
                await steer(rollout.id, call())
        with pytest.raises(RolloutNotFound):
            await engine.rollouts.pause("nothing", call())


async def test_a_selection_without_hosts_is_no_rollout(world: World):
    async with world.running():
        await fleet(world, "a")
        with pytest.raises(RolloutEmpty):
            await begin(world, filter=HostFilter(name_prefix="nobody"))


async def test_only_what_the_filter_selects_is_touched(world: World):
    async with world.running():
        fakes = await fleet(world)
        chosen = HostFilter(all_tags=("all",), exclude_hosts=("b", "d"))
        rollout = await begin(world, filter=chosen)
        assert (await world.rollout_ended(rollout.id)).progress.completed == 3
        assert [name for name, fake in fakes.items() if fake.ran] == ["a", "c", "e"]


async def test_a_dry_run_of_a_fleet_changes_nothing_on_it(world: World):
    async with world.running():
        fakes = await fleet(world)
        rollout = await begin(world, dry_run=True, delay_between_waves=timedelta(0))
        assert (await world.rollout_ended(rollout.id)).progress.completed == 5
        assert not any(fake.count(Command.UPGRADE) for fake in fakes.values())
        host = await world.host("a")
        assert (host.status.state, host.status.last_updated) == (HostState.PENDING_UPDATES, None)


@pytest.mark.parametrize("command", [Command.PREFLIGHT, Command.UPGRADE, Command.UNITS])
async def test_the_next_server_carries_a_rollout_forward(world: World, command: Command):
    async with world.running():
        fakes = await fleet(world)
        rollout = await begin(world, waves=("1",))
        hold = fakes["c"].hold(command)
        await world.reached(hold)
    hold.released.set()  # a package transaction goes on by itself
    async with world.running():
        ended = await world.rollout_ended(rollout.id)
    assert (ended.progress.completed, ended.progress.failed) == (5, 0)
    assert all(fake.count(Command.UPGRADE) == 1 for fake in fakes.values())


async def test_a_rollout_that_is_left_during_its_delay_waits_only_for_the_rest_of_it(world: World):
    async with world.running():
        await fleet(world, "ab")
        rollout = await begin(world, waves=("1",), delay_between_waves=timedelta(minutes=50))

        async def delayed() -> bool:
            return (await world.store.rollout(rollout.id)).next_wave_at is not None

        await world.until(delayed)
        planned = (await world.store.rollout(rollout.id)).next_wave_at
    world.clock.advance(timedelta(minutes=49))
    async with world.running():
        ended = await world.rollout_ended(rollout.id)
    assert planned is not None
    assert ended.ended_at is not None
    assert timedelta(0) <= ended.ended_at - planned < timedelta(minutes=10)


async def test_a_member_whose_operation_began_as_the_server_went_away_is_not_begun_again(
    world: World,
):
    async with world.running():
        fakes = await fleet(world, "ab")
        begun = world.store.hold_after_commit(lambda change: bool(change.operations))
        rollout = await begin(world)
        await world.reached(begun)
    async with world.running():
        assert (await world.rollout_ended(rollout.id)).progress.completed == 2
    page = await world.store.operations(rollout=rollout.id, limit=10)
    assert sorted(o.host for o in page.items) == ["a", "b"]
    assert all(fake.count(Command.UPGRADE) == 1 for fake in fakes.values())


async def test_two_rollouts_over_one_fleet_each_get_their_turn(world: World):
    async with world.running():
        fakes = await fleet(world, "abc")
        first = await begin(world, delay_between_waves=timedelta(0))
        second = await begin(world, delay_between_waves=timedelta(0), waves=("3",))
        assert (await world.rollout_ended(first.id)).progress.completed == 3
        assert (await world.rollout_ended(second.id)).progress.completed == 3
        assert all(fake.count(Command.UPGRADE) == 1 for fake in fakes.values())


async def test_an_unexpected_fault_holds_a_rollout_up_and_does_not_end_it(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    faults = [RuntimeError("once"), RuntimeError("twice")]

    def stumbling(*arguments: Any, **how: Any) -> Any:
        if faults:
            raise faults.pop()
        return advance(*arguments, **how)

    monkeypatch.setattr(controller, "advance", stumbling)
    async with world.running():
        await fleet(world, "a")
        rollout = await begin(world)
        for _ in range(2):
            for _ in range(20):
                await world.go_on()
            world.clock.advance(timedelta(minutes=1))
        assert (await world.rollout_ended(rollout.id)).progress.completed == 1
    assert caplog.text.count("a rollout waits after an unexpected fault") == 2
