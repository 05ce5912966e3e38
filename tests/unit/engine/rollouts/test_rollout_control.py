"""Rollouts over fake hosts: plans, budgets, windows, approvals, and what users may ask of them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tendhost.server.domain.events import Event, HostReconfigured, RolloutChanged, StateChanged
from tendhost.server.domain.hosts.host import Policy
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.operations.operation import OperationKind
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.domain.request_errors import (
    FleetChanged,
    HostNotInRollout,
    HostNotSkippable,
    InvalidArgument,
    InvalidRolloutStatus,
    NotAnApprover,
    NothingToRetry,
    PlanNotFound,
    RolloutBudgetSpent,
    RolloutEmpty,
    WaveNotWaiting,
)
from tendhost.server.domain.rollouts.plan import Exclusion, PlannedHostCondition
from tendhost.server.domain.rollouts.rollout import (
    DisruptionBudget,
    HaltCause,
    MemberStatus,
    RolloutStatus,
    WaitingFor,
)
from tendhost.server.domain.rollouts.waves import Dependency, Stage
from tendhost.server.engine.operations.manager import SWEEP
from tendhost.server.engine.retention import INTERVAL
from tendhost.server.store.records import Change
from tests.contract.store.samples import whole_view
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.rollouts.test_rollouts import begin, fleet, members, spec, statuses
from tests.unit.engine.world import World, call

K, M, R = OperationKind, MemberStatus, RolloutStatus
NO_DELAY = timedelta(0)


async def is_in(world: World, id: str, wanted: str) -> None:
    """Wait until the members' statuses, each by its first letter, are `wanted`."""

    async def reached() -> bool:
        return await statuses(world, id) == wanted

    await world.until(reached)


async def is_now(world: World, id: str, status: RolloutStatus) -> None:
    async def reached() -> bool:
        return (await world.store.rollout(id)).status is status

    await world.until(reached)


async def passes(world: World, duration: timedelta) -> None:
    """Let a time pass, once everybody who is going to sleep for a part of it sleeps."""
    for _ in range(20):
        await world.go_on()
    world.clock.advance(duration)


# --- plans ----------------------------------------------------------------------------------------


async def test_a_plan_says_what_its_rollout_then_does(world: World):
    async with world.running() as engine:
        fakes = await fleet(world)
        fakes["b"].accepts_key = False
        await world.run(K.UPDATE, "b")
        fakes["c"].reachable = False
        await world.run(K.QUERY, "c")
        asked = spec(waves=("1", "rest"), filter=HostFilter(exclude_hosts=("d",)))
        plan = await engine.rollouts.plan(asked)
        assert [(h.name, h.wave) for h in plan.hosts] == [("a", 0), ("c", 1), ("e", 1)]
        assert [(h.name, h.why) for h in plan.excluded] == [
            ("b", Exclusion.FAILED),
            ("d", Exclusion.EXCLUDED),
        ]
        assert plan.hosts[1].conditions == (PlannedHostCondition.UNREACHABLE,)
        ran = {name: len(fake.ran) for name, fake in fakes.items()}
        rollout = await engine.rollouts.start_planned(plan.id, call())
        found = await members(world, rollout.id)
        assert {name: m.wave for name, m in found.items()} == {"a": 0, "c": 1, "e": 1, "b": 1}
        assert found["b"].status is M.SKIPPED
        await world.rollout_ended(rollout.id)
        assert len(fakes["d"].ran) == ran["d"]


async def test_a_plan_of_a_fleet_that_has_changed_says_how(world: World):
    async with world.running() as engine:
        await fleet(world, "abc")
        plan = await engine.rollouts.plan(spec(waves=("1",)))
        await engine.registry.unregister("a", call())
        await world.register("d", tags=("all",))
        with pytest.raises(FleetChanged) as refused:
            await engine.rollouts.start_planned(plan.id, call())
        assert refused.value.changes == (
            "no longer in it: a; new in it: d; in another wave: b (2 → 1), c (3 → 2)"
        )
        assert (await world.store.rollouts(limit=9)).items == ()
        with pytest.raises(PlanNotFound):
            await engine.rollouts.start_planned("unheard-of", call())


async def test_stages_and_dependencies_are_kept_to(world: World):
    async with world.running():
        for name, tags in (("a", "app"), ("b", "db"), ("c", "app"), ("d", "canary")):
            fake = await world.register(name, tags=(tags,))
            fake.pending = {"web": Pending()}
        rollout = await begin(
            world,
            waves=("rest",),
            stages=(Stage(tag="canary"),),
            dependencies=(Dependency(before="db", after="app"),),
            delay_between_waves=NO_DELAY,
        )
        assert rollout.waves == 3
        found = await members(world, rollout.id)
        assert [found[name].wave for name in "dbac"] == [0, 1, 2, 2]
        assert (await world.rollout_ended(rollout.id)).progress.completed == 4
        ends = {}
        for name in "abcd":
            operation = await world.store.operation(
                (await members(world, rollout.id))[name].operation
            )
            ends[name] = (operation.started_at, operation.ended_at)
        assert ends["d"][1] <= ends["b"][0]
        assert ends["b"][1] <= min(ends["a"][0], ends["c"][0])


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"waves": ("0",)}, "waves[0]"),
        ({"stages": (Stage(tag="nobody"),)}, "stages[0].tag"),
        ({"max_failures": "many"}, "max_failures"),
        ({"budgets": (DisruptionBudget(limit="0"),)}, "max_unavailable[0].limit"),
        ({"budgets": (DisruptionBudget(limit="1", per_tag="zone"),)}, "max_unavailable[0].per_tag"),
        ({"dependencies": (Dependency(before="a", after="a"),)}, "dependencies"),
    ],
)
async def test_what_cannot_be_is_refused_by_its_field_and_starts_nothing(world, asked, field):
    async with world.running() as engine:
        await fleet(world, "a")
        for ask in (engine.rollouts.plan(spec(**asked)), begin(world, **asked)):
            with pytest.raises(InvalidArgument) as refused:
                await ask
            assert [violation.field for violation in refused.value.violations] == [field]
        assert (await world.store.rollouts(limit=9)).items == ()


async def test_a_selection_of_which_everybody_is_left_out_says_why(world: World):
    async with world.running():
        fakes = await fleet(world, "a")
        fakes["a"].accepts_key = False
        await world.run(K.UPDATE, "a")
        with pytest.raises(RolloutEmpty, match="a: it has failed and has to be retried"):
            await begin(world)


# --- the failure budget ---------------------------------------------------------------------------


async def halted(world: World):
    """A rollout of six hosts that halts in its second wave, as the contract's example does."""
    fakes = await fleet(world, "abcdef")
    for name in "bc":
        fakes[name].pending = {"web": Pending(breaks=True)}
    rollout = await begin(
        world, waves=("1", "50%", "rest"), max_failures="1", delay_between_waves=NO_DELAY
    )
    await is_now(world, rollout.id, R.HALTED)
    await is_in(world, rollout.id, "cffcpp")
    return fakes, await world.store.rollout(rollout.id)


async def test_a_spent_budget_halts_and_names_who_spent_it(world: World):
    async with world.running():
        fakes, rollout = await halted(world)
        assert rollout.halt is not None
        assert (rollout.halt.cause, set(rollout.halt.hosts)) == (HaltCause.FAILURES, {"b", "c"})
        assert fakes["e"].ran == fakes["f"].ran == []


async def test_a_halted_rollout_goes_on_with_a_greater_budget_and_not_without(world: World):
    async with world.running() as engine:
        _, rollout = await halted(world)
        with pytest.raises(RolloutBudgetSpent, match="2 failed, more than max_failures = 1"):
            await engine.rollouts.resume(rollout.id, call())
        with pytest.raises(InvalidArgument):
            await engine.rollouts.resume(rollout.id, call(), max_failures="a lot")
        await engine.rollouts.resume(rollout.id, call(), max_failures="2")
        ended = await world.rollout_ended(rollout.id)
        assert (ended.status, ended.halt, ended.progress.completed) == (R.COMPLETED, None, 4)


async def test_failure_budget__halts_a_rollout_whose_last_host_overspends_it(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "ab")
        fakes["b"].pending = {"web": Pending(breaks=True)}
        rollout = await begin(world, waves=("1",), max_failures="0", delay_between_waves=NO_DELAY)
        await is_now(world, rollout.id, R.HALTED)
        stored = await world.store.rollout(rollout.id)
        assert stored.halt is not None
        assert (stored.halt.cause, stored.halt.hosts) == (HaltCause.FAILURES, ("b",))
        assert not stored.over
        with pytest.raises(RolloutBudgetSpent, match="1 failed, more than max_failures = 0"):
            await engine.rollouts.resume(rollout.id, call())
        fakes["b"].pending = {"web": Pending()}
        await engine.rollouts.retry(rollout.id, call())
        ended = await world.rollout_ended(rollout.id)
        assert (ended.status, ended.progress.completed) == (R.COMPLETED, 2)


@pytest.mark.parametrize("way", ["resume", "cancel"])
async def test_halted_rollout__ends_without_its_failed_hosts_in_the_last_wave(
    world: World, way: str
):
    async with world.running() as engine:
        fakes = await fleet(world, "a")
        fakes["a"].pending = {"web": Pending(breaks=True)}
        rollout = await begin(world, max_failures="0")
        await is_now(world, rollout.id, R.HALTED)
        if way == "resume":
            await engine.rollouts.resume(rollout.id, call(), max_failures="1")
        else:
            await engine.rollouts.cancel(rollout.id, call())
        ended = await world.rollout_ended(rollout.id)
        assert ended.status is (R.COMPLETED if way == "resume" else R.CANCELLED)
        assert ended.progress.failed == 1


async def test_retried_hosts_go_on_where_they_failed_and_so_does_the_rollout(world: World):
    async with world.running() as engine:
        fakes, rollout = await halted(world)
        upgrades = {name: fake.count(Command.UPGRADE) for name, fake in fakes.items()}
        for name in "bc":
            fakes[name].pending = {"web": Pending()}
        going = await engine.rollouts.retry(rollout.id, call("alex"))
        assert (going.status, going.halt, going.progress.failures) == (R.RUNNING, None, 0)
        ended = await world.rollout_ended(rollout.id)
        assert (ended.status, ended.progress.completed) == (R.COMPLETED, 6)
        assert (await world.host("b")).status.retry_count == 0
        assert fakes["a"].count(Command.UPGRADE) == upgrades["a"]
        both = (await world.store.operations(host="b", limit=9)).items
        assert [o.rollout for o in both] == [rollout.id, rollout.id]
        causes = [e.body.cause for e in await world.events() if isinstance(e.body, StateChanged)]
        assert causes.count("retry") == 2


async def test_a_retried_host_is_updated_whatever_failed_it_last(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "a")
        fakes["a"].accepts_key = False
        rollout = await begin(world)
        ended = await world.rollout_ended(rollout.id)
        assert ended.progress.failed == 1
        await engine.operations.retry("a", call())
        await world.until(lambda: has_failed(world, "a"))
        fakes["a"].accepts_key = True
        again = await engine.rollouts.retry(rollout.id, call())
        assert (await world.rollout_ended(again.id)).progress.completed == 1
        assert fakes["a"].count(Command.UPGRADE) == 1


async def test_a_dry_run_that_is_retried_goes_on_with_no_update_that_has_failed_since(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "a")
        fakes["a"].reachable = False
        rollout = await begin(world, dry_run=True)
        assert (await world.rollout_ended(rollout.id)).progress.failed == 1
        fakes["a"].reachable = True
        fakes["a"].pending = {"web": Pending(breaks=True)}
        await world.run(K.UPDATE, "a")
        fakes["a"].pending = {"web": Pending()}
        again = await engine.rollouts.retry(rollout.id, call())
        assert (await world.rollout_ended(again.id)).progress.skipped == 1
        assert "retry it first" in (await members(world, again.id))["a"].detail
        assert fakes["a"].count(Command.UPGRADE) == 1
        assert await has_failed(world, "a")


async def test_a_retried_host_is_updated_even_if_a_dry_run_could_not_log_in_since(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "a")
        fakes["a"].reachable = False
        rollout = await begin(world)
        assert (await world.rollout_ended(rollout.id)).progress.failed == 1
        fakes["a"].reachable, fakes["a"].accepts_key = True, False
        await world.run(K.UPDATE, "a", dry_run=True)
        assert not await has_failed(world, "a")
        fakes["a"].accepts_key = True
        again = await engine.rollouts.retry(rollout.id, call())
        assert (await world.rollout_ended(again.id)).progress.completed == 1
        assert fakes["a"].count(Command.UPGRADE) == 1


async def test_a_retried_host_keeps_to_its_windows_as_its_rollout_does(world: World):
    async with world.running() as engine:
        fake = await world.register("n", policy=nightly(world))
        fake.reachable = False
        rollout = await begin(world, window_override_reason="CVE-2026-1")
        assert (await world.rollout_ended(rollout.id)).progress.failed == 1
        fake.reachable, fake.accepts_key = True, False
        await world.run(K.UPDATE, "n")  # which has no leave to pass over any window
        assert await has_failed(world, "n")
        fake.accepts_key, fake.pending = True, {"web": Pending()}
        again = await engine.rollouts.retry(rollout.id, call())
        assert (await world.rollout_ended(again.id)).progress.completed == 1
        (operation,) = (await world.store.operations(rollout=again.id, limit=9)).items
        assert operation.options.window_override_reason == "CVE-2026-1"


async def has_failed(world: World, name: str) -> bool:
    return (await world.host(name)).status.failure is not None


async def test_failed_hosts_of_an_ended_rollout_are_retried_in_a_new_one(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "abc")
        fakes["b"].pending = {"web": Pending(breaks=True)}
        rollout = await begin(world, delay_between_waves=NO_DELAY)
        ended = await world.rollout_ended(rollout.id)
        assert ended.progress.failed == 1
        fakes["b"].pending = {"web": Pending()}
        again = await engine.rollouts.retry(rollout.id, call())
        assert (again.id != rollout.id, again.retry_of) == (True, rollout.id)
        assert (await world.rollout_ended(again.id)).progress.completed == 1
        assert (await world.store.rollout(rollout.id)) == ended
        with pytest.raises(NothingToRetry):
            await engine.rollouts.retry(again.id, call())


async def test_failed_hosts_are_retried_even_if_none_of_them_has_the_tag_of_a_budget(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "a")
        await world.register("z", tags=("zone=x",))
        fakes["a"].reachable = False
        rollout = await begin(world, budgets=(DisruptionBudget(limit="1", per_tag="zone"),))
        assert (await world.rollout_ended(rollout.id)).progress.failed == 1
        fakes["a"].reachable = True
        again = await engine.rollouts.retry(rollout.id, call())
        assert (await world.rollout_ended(again.id)).progress.completed == 1


# --- dependencies that ask for success ------------------------------------------------------------

DB_BEFORE_APP = (Dependency(before="db", after="app", only_if_succeeded=True),)


async def tiers(world: World) -> dict[str, FakeHost]:
    tags = {"d1": ("db",), "d2": ("db",), "p1": ("app",), "p2": ("app",), "w": ("web",)}
    fakes = {name: await world.register(name, tags=those) for name, those in tags.items()}
    for fake in fakes.values():
        fake.pending = {"web": Pending()}
    return fakes


async def test_dependency_that_asks_for_success__skips_the_later_hosts_without_it(world: World):
    async with world.running() as engine:
        fakes = await tiers(world)
        fakes["d2"].pending = {"web": Pending(breaks=True)}
        rollout = await begin(
            world, waves=("rest",), dependencies=DB_BEFORE_APP, delay_between_waves=NO_DELAY
        )
        ended = await world.rollout_ended(rollout.id)
        assert await statuses(world, rollout.id) == "cfcss"
        assert (ended.progress.completed, ended.progress.skipped) == (2, 2)
        detail = (await members(world, rollout.id))["p1"].detail
        assert detail == (
            "hosts with the tag db must succeed before it, and not all of them did: d2 (failed)"
        )
        assert fakes["p1"].ran == fakes["p2"].ran == []
        # A retry of what failed gives those that depend on it another chance, after it.
        fakes["d2"].pending = {"web": Pending()}
        hold = fakes["d2"].hold(Command.UPGRADE)
        again = await engine.rollouts.retry(rollout.id, call())
        await world.reached(hold)
        assert fakes["p1"].ran == []
        hold.released.set()
        assert (await world.rollout_ended(again.id)).progress.completed == 3
        assert fakes["p1"].count(Command.UPGRADE) == fakes["p2"].count(Command.UPGRADE) == 1


async def test_dependency_that_asks_for_success__holds_in_a_wave_that_a_retry_joins(world: World):
    async with world.running() as engine:
        fakes = await tiers(world)
        fakes["d2"].pending = {"web": Pending(breaks=True)}
        before_web = Dependency(before="app", after="web")
        rollout = await begin(
            world,
            waves=("rest",),
            dependencies=(*DB_BEFORE_APP, before_web),
            delay_between_waves=timedelta(hours=1),
        )
        await world.until(lambda: is_between_waves(world, rollout.id))
        world.clock.advance(timedelta(hours=1))
        await is_in(world, rollout.id, "cfssp")
        await world.until(lambda: is_between_waves(world, rollout.id))
        # Both the failed host and those that depend on it join the current wave.
        fakes["d2"].pending = {"web": Pending()}
        hold = fakes["d2"].hold(Command.UPGRADE)
        await engine.rollouts.retry(rollout.id, call())
        await is_in(world, rollout.id, "ciwwp")
        waiting = (await members(world, rollout.id))["p1"]
        assert (waiting.waiting, waiting.detail) == (
            WaitingFor.DEPENDENCY,
            "hosts with the tag db must succeed before it, and not all of them have ended",
        )
        assert fakes["p1"].ran == []
        hold.released.set()
        await is_in(world, rollout.id, "ccccp")
        world.clock.advance(timedelta(hours=1))
        assert (await world.rollout_ended(rollout.id)).progress.completed == 5


async def is_between_waves(world: World, id: str) -> bool:
    return (await world.store.rollout(id)).next_wave_at is not None


async def test_skipped_host__has_not_succeeded_for_those_that_depend_on_it(world: World):
    async with world.running() as engine:
        fakes = await tiers(world)
        hold = fakes["d1"].hold(Command.UPGRADE)
        rollout = await begin(
            world, waves=("1",), dependencies=DB_BEFORE_APP, delay_between_waves=NO_DELAY
        )
        await world.reached(hold)
        await engine.rollouts.skip(rollout.id, "d2", call())
        hold.released.set()
        await world.rollout_ended(rollout.id)
        assert await statuses(world, rollout.id) == "cscss"
        assert "d2 (skipped)" in (await members(world, rollout.id))["p2"].detail


# --- disruption budgets ---------------------------------------------------------------------------


async def zones(world: World, names: str):
    fakes = {}
    for number, name in enumerate(names):
        zone = "zone=x" if number % 2 else "zone=y"
        fakes[name] = await world.register(name, tags=(zone,))
        fakes[name].pending = {"web": Pending()}
    return fakes


async def test_no_more_hosts_of_a_zone_are_down_than_may_be(world: World):
    async with world.running():
        fakes = await zones(world, "abcdef")
        holds = {name: fake.hold(Command.UPGRADE) for name, fake in fakes.items()}
        budget = DisruptionBudget(limit="1", per_tag="zone")
        rollout = await begin(world, waves=("rest",), budgets=(budget,))
        await is_in(world, rollout.id, "iiwwww")
        held_up = (await members(world, rollout.id))["c"]
        assert held_up.waiting is WaitingFor.BUDGET
        assert held_up.detail == "1 of 3 hosts with zone=y are down, and at most 1 may be"
        holds["a"].released.set()
        await is_in(world, rollout.id, "ciiwww")
        for hold in holds.values():
            hold.released.set()
        assert (await world.rollout_ended(rollout.id)).progress.completed == 6


async def test_zone_budget__counts_hosts_without_a_zone_as_one_more(world: World):
    async with world.running():
        tags = {"a": ("zone=x",), "b": ("zone=x",), "c": (), "d": ("web",), "e": ("zone=",)}
        fakes = {name: await world.register(name, tags=those) for name, those in tags.items()}
        for fake in fakes.values():
            fake.pending = {"web": Pending()}
        holds = {name: fake.hold(Command.UPGRADE) for name, fake in fakes.items()}
        budget = DisruptionBudget(limit="1", per_tag="zone")
        rollout = await begin(world, waves=("rest",), budgets=(budget,))
        await is_in(world, rollout.id, "iwiww")
        held_up = (await members(world, rollout.id))["d"]
        assert (held_up.waiting, held_up.detail) == (
            WaitingFor.BUDGET,
            "1 of 3 hosts without a tag zone=… are down, and at most 1 may be",
        )
        plan = await world.engine.rollouts.plan(spec(budgets=(budget,)))
        assert plan.warnings == (
            "1 of 3 hosts without a tag zone=… are down, and at most 1 may be",
            "1 of 2 hosts with zone=x are down, and at most 1 may be",
        )
        for hold in holds.values():
            hold.released.set()
        assert (await world.rollout_ended(rollout.id)).progress.completed == 5


async def test_budgets_hold_over_concurrent_rollouts_and_failed_hosts_count(world: World):
    async with world.running():
        fakes = await fleet(world, "abcd")
        fakes["d"].accepts_key = False
        await world.run(K.UPDATE, "d")
        hold = fakes["a"].hold(Command.UPGRADE)
        two = (DisruptionBudget(limit="2"),)
        first = await begin(world, filter=HostFilter(names=("a",)), budgets=two)
        await world.reached(hold)
        second = await begin(world, filter=HostFilter(names=("b", "c")), waves=("rest",))
        await is_in(world, second.id, "ww")
        held_up = (await members(world, second.id))["b"]
        assert held_up.detail == (
            "2 of all 4 hosts are down, and at most 2 may be: "
            "d has failed, and counts until somebody retries it"
        )
        hold.released.set()
        assert (await world.rollout_ended(first.id)).progress.completed == 1
        assert (await world.rollout_ended(second.id)).progress.completed == 2


async def test_what_ends_while_the_budgets_are_looked_at_makes_room_at_once(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "ab")
        hold = fakes["a"].hold(Command.UPGRADE)
        budgets = (DisruptionBudget(limit="1"),)
        first = await begin(world, filter=HostFilter(names=("a",)), budgets=budgets)
        await world.reached(hold)
        second = await begin(world, filter=HostFilter(names=("b",)))
        await is_in(world, second.id, "w")
        await engine.rollouts.pause(second.id, call())
        for _ in range(5):
            await world.go_on()
        looking = world.store.hold_after_read("usage")
        await engine.rollouts.resume(second.id, call())
        await world.reached(looking)
        hold.released.set()
        await world.rollout_ended(first.id)
        ended = world.clock.now()
        looking.released.set()
        await world.rollout_ended(second.id)
        (operation,) = (await world.store.operations(rollout=second.id, limit=9)).items
        assert operation.created_at - ended < timedelta(seconds=30)


async def test_a_dry_run_takes_no_host_down(world: World):
    async with world.running():
        await fleet(world, "abc")
        rollout = await begin(
            world, waves=("rest",), dry_run=True, budgets=(DisruptionBudget(limit="1"),)
        )
        assert (await world.rollout_ended(rollout.id)).progress.completed == 3
        told = [e.body for e in await world.events() if isinstance(e.body, RolloutChanged)]
        assert max(body.progress.in_progress for body in told) == 3


# --- windows --------------------------------------------------------------------------------------


def nightly(world: World) -> Policy:
    """A window that opens in two hours and is open for one."""
    opens = (world.clock.now() + timedelta(hours=2)).time().replace(microsecond=0)
    ends = (world.clock.now() + timedelta(hours=3)).time().replace(microsecond=0)
    return Policy(windows=(MaintenanceWindow(start=opens, end=ends),))


async def test_a_host_waits_for_its_window_and_says_so(world: World):
    async with world.running():
        await fleet(world, "a")
        fake = await world.register("n", tags=("all",), policy=nightly(world))
        fake.pending = {"web": Pending()}
        rollout = await begin(world)
        await is_in(world, rollout.id, "cw")
        waiting = (await members(world, rollout.id))["n"]
        assert waiting.waiting is WaitingFor.WINDOW
        assert "its window opens Sun 2026-03-01 " in waiting.detail
        opens = world.clock.now() + timedelta(hours=2)
        assert waiting.not_before is not None
        assert abs(waiting.not_before - opens) < timedelta(minutes=10)
        assert fake.ran == []
        await passes(world, timedelta(hours=2))
        assert (await world.rollout_ended(rollout.id)).progress.completed == 2


async def test_a_clock_that_is_put_forward_is_noticed_while_a_window_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    async with world.running():
        await world.register("n", policy=nightly(world))
        asked: list[timedelta] = []
        sleep = world.clock.sleep

        async def noted(duration: timedelta) -> None:
            asked.append(duration)
            await sleep(duration)

        monkeypatch.setattr(world.clock, "sleep", noted)
        rollout = await begin(world)
        await is_in(world, rollout.id, "w")
        for _ in range(20):
            await world.go_on()
        # Sleeps go by another clock: each is short, however far off the window is.
        assert asked
        assert max(pause for pause in asked if pause not in (SWEEP, INTERVAL)) <= timedelta(
            minutes=1
        )


async def test_a_clock_that_is_put_back_keeps_nobody_waiting_for_a_window_that_is_open(
    world: World,
):
    async with world.running():
        fake = await world.register("n", policy=nightly(world))
        fake.pending = {"web": Pending()}
        world.clock.advance(timedelta(days=7, hours=5))
        rollout = await begin(world)
        await is_in(world, rollout.id, "w")
        for _ in range(5):
            await world.go_on()
        world.clock.set_off(-timedelta(days=7, hours=2, minutes=30))
        put_back = world.clock.now()
        assert (await world.rollout_ended(rollout.id)).progress.completed == 1
        assert world.clock.now() - put_back < timedelta(hours=1)


async def test_a_host_whose_update_no_longer_fits_into_its_window_waits_for_the_next(world: World):
    async with world.running():
        opens = (world.clock.now() - timedelta(minutes=50)).time()
        ends = (world.clock.now() + timedelta(minutes=10)).time()
        hour = MaintenanceWindow(start=opens, end=ends)
        fake = await world.register("n", policy=Policy(windows=(hour,)))
        fake.pending = {"web": Pending()}
        host = await world.host("n")
        took = replace(host.status, update_took=timedelta(minutes=20))
        await world.store.commit(
            Change(
                events=(Event(at=world.clock.now(), body=HostReconfigured(fields=()), host="n"),),
                hosts=(replace(host, status=took),),
            )
        )
        rollout = await begin(world)
        await is_in(world, rollout.id, "w")
        waiting = (await members(world, rollout.id))["n"]
        assert (
            "too late in its window for an update, which took 0:20:00 the last time"
            in waiting.detail
        )
        assert waiting.not_before == world.clock.now() + timedelta(hours=23, minutes=10)
        await passes(world, timedelta(hours=23, minutes=10))
        assert (await world.rollout_ended(rollout.id)).progress.completed == 1


async def test_what_does_not_get_its_window_before_the_rollout_expires_is_skipped(world: World):
    async with world.running():
        await fleet(world, "a")
        fake = await world.register("n", tags=("all",), policy=nightly(world))
        rollout = await begin(world, expires_after=timedelta(hours=1))
        await is_in(world, rollout.id, "cw")
        await passes(world, timedelta(hours=1))
        ended = await world.rollout_ended(rollout.id)
        assert (ended.status, ended.progress.skipped) == (R.EXPIRED, 1)
        detail = (await members(world, rollout.id))["n"].detail
        assert detail == (
            "the rollout expired before it could begin: its window opens Sun 2026-03-01 14:00 UTC"
        )
        assert fake.ran == []


async def test_expired_rollout__keeps_the_cause_for_every_host_that_it_skips(world: World):
    async with world.running():
        await world.register("n", policy=nightly(world))
        await world.register("o")
        one_by_one: dict[str, object] = {"waves": ("1",), "expires_after": timedelta(hours=1)}
        waits = await begin(world, **one_by_one)
        await is_in(world, waits.id, "wp")
        await passes(world, timedelta(hours=1))
        assert (await world.rollout_ended(waits.id)).status is R.EXPIRED
        skipped = await members(world, waits.id)
        why = "the rollout expired before it could begin: "
        assert skipped["n"].detail.startswith(f"{why}its window opens ")
        assert skipped["o"].detail == f"{why}wave 1 of 2 had not ended"


async def test_rollout_whose_hosts_all_wait__expects_no_end_and_says_when_the_first_may_start(
    world: World,
):
    async with world.running():
        await fleet(world, "a")
        await world.register("n", policy=nightly(world))
        rollout = await begin(world)
        await is_in(world, rollout.id, "cw")

        async def knows_its_opening() -> bool:
            return (await world.store.rollout(rollout.id)).opens_at is not None

        await world.until(knows_its_opening)
        stored = await world.store.rollout(rollout.id)
        opens_at = (await members(world, rollout.id))["n"].not_before
        assert (stored.expected_end, stored.opens_at) == (None, opens_at)
        await passes(world, timedelta(hours=2))
        ended = await world.rollout_ended(rollout.id)
        assert (ended.progress.completed, ended.opens_at) == (2, None)


async def test_a_rollout_expires_while_hosts_are_updated_and_not_for_their_sake(world: World):
    async with world.running():
        fakes = await fleet(world, "ab")
        hold = fakes["a"].hold(Command.UPGRADE)
        rollout = await begin(world, waves=("1",), expires_after=timedelta(hours=1))
        await world.reached(hold)
        await passes(world, timedelta(hours=1))
        await is_in(world, rollout.id, "is")
        assert (await world.store.rollout(rollout.id)).status is R.EXPIRED
        hold.released.set()
        assert (await world.rollout_ended(rollout.id)).status is R.EXPIRED
        hold = fakes["b"].hold(Command.UPGRADE)
        rollout = await begin(world, waves=("rest",), expires_after=timedelta(hours=1))
        await world.reached(hold)
        await passes(world, timedelta(hours=1))
        hold.released.set()
        ended = await world.rollout_ended(rollout.id)
        assert (ended.status, ended.progress.completed) == (R.COMPLETED, 2)


async def test_a_reason_opens_every_window_and_is_kept_with_the_operation(world: World):
    async with world.running():
        fake = await world.register("n", policy=nightly(world))
        fake.pending = {"web": Pending()}
        rollout = await begin(world, window_override_reason="CVE-2026-1")
        ended = await world.rollout_ended(rollout.id)
        assert ended.progress.completed == 1
        operation = await world.store.operation((await members(world, rollout.id))["n"].operation)
        assert (operation.options.window_override_reason, operation.created_by) == (
            "CVE-2026-1",
            "alex",
        )


async def test_a_plan_warns_of_budgets_that_have_no_room(world: World):
    async with world.running() as engine:
        fakes = await zones(world, "abcd")
        asked = spec(budgets=(DisruptionBudget(limit="1", per_tag="zone"),))
        assert (await engine.rollouts.plan(asked)).warnings == ()
        fakes["a"].accepts_key = False
        await world.run(K.UPDATE, "a")
        zone = (await world.host("a")).config.tags[0]
        expected = (
            f"1 of 2 hosts with {zone} are down, and at most 1 may be: "
            "a has failed, and counts until somebody retries it",
        )
        assert (await engine.rollouts.plan(asked)).warnings == expected
        assert (await engine.rollouts.plan(replace(asked, dry_run=True))).warnings == ()
        others = replace(asked, filter=HostFilter(names=("b",)))
        assert (await engine.rollouts.plan(others)).warnings == ()


async def test_a_plan_warns_of_every_budget_that_has_no_room(world: World):
    async with world.running() as engine:
        for name in "ab":
            fake = await world.register(name, tags=("rack=r1", "zone=x"))
            fake.pending = {"web": Pending()}
        world.fleet.hosts["a.example.org"].accepts_key = False
        await world.run(K.UPDATE, "a")
        keys = ("zone", "rack")
        budgets = tuple(DisruptionBudget(limit="1", per_tag=key) for key in keys)
        plan = await engine.rollouts.plan(spec(budgets=budgets))
        words = (
            "1 of 2 hosts with {} are down, and at most 1 may be: "
            "a has failed, and counts until somebody retries it"
        )
        assert plan.warnings == (words.format("zone=x"), words.format("rack=r1"))


# --- control --------------------------------------------------------------------------------------


async def test_each_further_wave_waits_for_the_approval_of_that_very_wave(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "abc")
        rollout = await begin(world, waves=("1",), approve_waves=True, delay_between_waves=NO_DELAY)
        await is_now(world, rollout.id, R.AWAITING_APPROVAL)
        assert await statuses(world, rollout.id) == "cpp"
        for wrong in (0, 2):
            with pytest.raises(WaveNotWaiting, match="wave 2 is the one"):
                await engine.rollouts.approve(rollout.id, wrong, call())
        await engine.rollouts.approve(rollout.id, 1, call("kim"))
        await is_in(world, rollout.id, "ccp")
        await is_now(world, rollout.id, R.AWAITING_APPROVAL)
        wave = await world.store.wave(rollout.id, 1)
        assert (wave.approved_by, fakes["c"].ran) == ("kim", [])
        with pytest.raises(InvalidRolloutStatus):
            await engine.rollouts.resume(rollout.id, call())
        await passes(world, timedelta(days=1))
        await is_now(world, rollout.id, R.HALTED)
        halt = (await world.store.rollout(rollout.id)).halt
        assert halt is not None
        assert halt.cause is HaltCause.APPROVAL
        await engine.rollouts.resume(rollout.id, call())
        await is_now(world, rollout.id, R.AWAITING_APPROVAL)
        await engine.rollouts.approve(rollout.id, 2, call())
        assert (await world.rollout_ended(rollout.id)).progress.completed == 3


async def test_nobody_approves_but_those_who_may(world: World):
    async with world.running() as engine:
        await fleet(world, "ab")
        rollout = await begin(
            world,
            waves=("1",),
            approve_waves=True,
            approvers=("kim", "sam"),
            delay_between_waves=NO_DELAY,
        )
        await is_now(world, rollout.id, R.AWAITING_APPROVAL)
        for nobody in ("alex", "kimmy", "ipv4:127.0.0.1"):
            with pytest.raises(NotAnApprover, match=rf"{nobody} may not .*: kim, sam$"):
                await engine.rollouts.approve(rollout.id, 1, call(nobody))
        assert await statuses(world, rollout.id) == "cp"
        await engine.rollouts.approve(rollout.id, 1, call("sam (unix:)"))
        assert (await world.rollout_ended(rollout.id)).progress.completed == 2
        assert (await world.store.wave(rollout.id, 1)).approved_by == "sam (unix:)"


async def test_a_host_is_skipped_as_long_as_it_has_not_begun(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "abc")
        hold = fakes["a"].hold(Command.UPGRADE)
        rollout = await begin(world, waves=("1",), delay_between_waves=NO_DELAY)
        await world.reached(hold)
        await engine.rollouts.skip(rollout.id, "b", call("kim"))
        with pytest.raises(HostNotSkippable, match="in_progress"):
            await engine.rollouts.skip(rollout.id, "a", call())
        with pytest.raises(HostNotInRollout):
            await engine.rollouts.skip(rollout.id, "z", call())
        hold.released.set()
        ended = await world.rollout_ended(rollout.id)
        assert (ended.progress.completed, ended.progress.skipped) == (2, 1)
        assert (await members(world, rollout.id))["b"].detail == "skipped by kim"
        assert fakes["b"].ran == []
        for steer in (engine.rollouts.retry,):
            with pytest.raises(NothingToRetry):
                await steer(rollout.id, call())
        with pytest.raises(InvalidRolloutStatus):
            await engine.rollouts.skip(rollout.id, "c", call())


async def test_every_count_of_a_rollout_is_the_sum_of_its_waves(world: World):
    async with world.running():
        fakes = await fleet(world, "abcdef")
        fakes["b"].pending = {"web": Pending(breaks=True)}
        rollout = await begin(world, waves=("1", "2"), delay_between_waves=NO_DELAY)
        revision = -1
        while True:
            view = await whole_view(world.store, rollout.id)
            totals = [wave.progress for wave in view.waves]
            summed = sum(totals[1:], totals[0])
            assert summed == view.rollout.progress
            of_members = [m.status for m in view.members]
            for status in MemberStatus:
                assert of_members.count(status) == getattr(summed, status.value)
            if view.rollout.over:
                break
            revision = await world.store.wait_beyond(revision, timeout=timedelta(0))
            await world.go_on()


async def test_a_killed_server_goes_on_where_a_paused_rollout_was(world: World):
    async with world.running() as engine:
        fakes = await fleet(world, "abcd")
        hold = fakes["b"].hold(Command.UPGRADE)
        rollout = await begin(world, waves=("1", "2"), delay_between_waves=NO_DELAY)
        await world.reached(hold)
        await engine.rollouts.pause(rollout.id, call())
    hold.released.set()
    async with world.running() as engine:
        await is_in(world, rollout.id, "cccp")
        assert fakes["d"].ran == []
        await engine.rollouts.resume(rollout.id, call())
        ended = await world.rollout_ended(rollout.id)
    assert ended.progress.completed == 4
    assert all(fake.count(Command.UPGRADE) == 1 for fake in fakes.values())
