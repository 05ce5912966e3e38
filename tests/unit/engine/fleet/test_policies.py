"""What groups and the fleet say for their hosts: windows, freeze periods, hooks and checks that are inherited."""

import asyncio
from dataclasses import replace
from datetime import time, timedelta

import pytest

from tendhost.server.domain.events import PolicyChanged, UpdateCompleted
from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.hosts.group_policy_change import GroupPolicyChange
from tendhost.server.domain.hosts.host import HostConfig, Policy
from tendhost.server.domain.hosts.reconfiguration import Reconfiguration
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.policy.freezes import FreezePeriod
from tendhost.server.domain.policy.health_checks import HealthCheck, HealthChecks, TcpProbe
from tendhost.server.domain.policy.hooks import Hook, Hooks
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.domain.request_errors import InvalidArgument, PolicyNotFound
from tendhost.server.domain.rollouts.plan import Exclusion, PlannedHostCondition
from tendhost.server.domain.rollouts.rollout import Member, MemberStatus, Rollout, WaitingFor
from tendhost.server.engine.fleet import reports
from tendhost.server.engine.rollouts import member_starts
from tendhost.server.engine.rollouts.member_starts import waiting_for_windows
from tests.unit.engine.fake_clock import START
from tests.unit.engine.fake_command import Command, Hold
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.rollouts.test_rollout_control import halted, is_in, passes
from tests.unit.engine.rollouts.test_rollouts import begin, fleet, members, spec
from tests.unit.engine.world import World, call

K, M, S = OperationKind, MemberStatus, OperationStatus
HOUR = timedelta(hours=1)
LATER = MaintenanceWindow(
    start=(START + 2 * HOUR).time().replace(microsecond=0), end=(START + 4 * HOUR).time()
)
"""Opens two hours after the world began."""


def frozen(world: World, duration: timedelta = 3 * HOUR, name: str = "year end") -> FreezePeriod:
    """A freeze that begins now."""
    now = world.clock.now()
    return FreezePeriod(name=name, starts_at=now, ends_at=now + duration, reason="holidays")


async def say(world: World, **group_policies) -> GroupPolicy:
    return await world.engine.policies.change(
        GroupPolicyChange(given=GroupPolicy(**group_policies)), call()
    )


# --- rollouts -------------------------------------------------------------------------------------


async def test_a_frozen_fleet_waits_and_says_so_and_goes_on_when_the_freeze_is_lifted(
    world: World,
):
    async with world.running() as engine:
        fakes = await fleet(world, "ab")
        freeze = frozen(world)
        await say(world, freezes=(freeze,))
        rollout = await begin(world)
        await is_in(world, rollout.id, "ww")
        waiting = (await members(world, rollout.id))["a"]
        words = f"frozen until {freeze.ends_at:%Y-%m-%d %H:%M} UTC (year end: holidays)"
        assert (waiting.waiting, waiting.detail) == (WaitingFor.WINDOW, words)
        assert waiting.not_before == freeze.ends_at
        explanation = await engine.reports.explanation("a")
        assert any(words in reason.message for reason in explanation.reasons)
        assert fakes["a"].count(Command.UPGRADE) == 0
        before = world.clock.now()
        await say(world)
        ended = await world.rollout_ended(rollout.id)
        assert ended.progress.completed == 2
        assert world.clock.now() < before + HOUR


async def test_what_a_host_waits_for_is_told_however_many_rollouts_of_others_came_since(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reports, "ROLLOUTS", 1)
    async with world.running() as engine:
        await fleet(world, "ab")
        await say(world, freezes=(frozen(world),))
        rollout = await begin(world, filter=HostFilter(names=("a",)))
        await is_in(world, rollout.id, "w")
        world.clock.advance(timedelta(seconds=1))
        await begin(world, filter=HostFilter(names=("b",)))
        explanation = await engine.reports.explanation("a")
        assert "its rollout waits: frozen until" in explanation.update


async def test_a_frozen_fleet_goes_on_by_itself_when_the_freeze_has_passed(world: World):
    async with world.running():
        fakes = await fleet(world, "ab")
        await say(world, freezes=(frozen(world),))
        rollout = await begin(world)
        await is_in(world, rollout.id, "ww")
        await passes(world, 2 * HOUR)
        await is_in(world, rollout.id, "ww")
        assert fakes["a"].count(Command.UPGRADE) == 0
        await passes(world, HOUR)
        assert (await world.rollout_ended(rollout.id)).progress.completed == 2


async def test_a_freeze_that_is_set_while_hosts_wait_is_what_they_wait_for_then(world: World):
    async with world.running():
        await fleet(world, "a")
        await say(world, windows=(LATER,))
        rollout = await begin(world)
        await is_in(world, rollout.id, "w")
        assert "its window opens" in (await members(world, rollout.id))["a"].detail
        await say(world, windows=(LATER,), freezes=(frozen(world, 5 * HOUR),))

        async def is_told() -> bool:
            return "frozen until" in (await members(world, rollout.id))["a"].detail

        await world.until(is_told)
        member = (await members(world, rollout.id))["a"]
        assert member.not_before == START + 26 * HOUR
        assert "after that its window opens Mon 2026-03-02 14:00 UTC" in member.detail


@pytest.mark.parametrize("whose", ["host", "group"])
async def test_a_window_that_is_opened_wakes_the_hosts_that_wait_for_it(world: World, whose: str):
    async with world.running() as engine:
        fake = await world.register("n", groups=("db",))
        fake.pending = {"web": Pending()}
        await say(world, group="db", windows=(LATER,))
        rollout = await begin(world)
        await is_in(world, rollout.id, "w")
        before = world.clock.now()
        if whose == "group":
            await engine.policies.delete("db", call())
        else:
            config = HostConfig(name="n", address="n.example.org", groups=())
            wish = Reconfiguration(name="n", config=config, mask=("groups",))
            await engine.registry.reconfigure(wish, call())
        assert (await world.rollout_ended(rollout.id)).progress.completed == 1
        assert world.clock.now() < before + HOUR


async def test_of_many_hosts_that_wait_only_the_one_that_was_changed_is_looked_at(world: World):
    async with world.running() as engine:
        names = "abcdefghijklmnopqrst"
        await fleet(world, names)
        await say(world, windows=(LATER,))
        rollout = await begin(world, waves=("rest",))
        await is_in(world, rollout.id, "w" * len(names))
        for _ in range(5):
            await world.go_on()
        before = world.store.calls["host"]
        config = replace((await world.host("b")).config, groups=("db",))
        await engine.registry.reconfigure(
            Reconfiguration(name="b", config=config, mask=("groups",)), call()
        )
        for _ in range(5):
            await world.go_on()
        assert world.store.calls["host"] - before < len(names)


async def test_a_host_that_is_removed_is_waited_for_no_more(world: World):
    async with world.running() as engine:
        await fleet(world, "a")
        await say(world, freezes=(frozen(world, 24 * HOUR),))
        rollout = await begin(world)
        await is_in(world, rollout.id, "w")
        began = world.clock.now()
        await engine.registry.unregister("a", call())
        ended = await world.rollout_ended(rollout.id)
        assert ended.progress.skipped == 1
        assert ended.ended_at is not None
        assert ended.ended_at - began < HOUR


async def test_a_host_whose_windows_never_meet_any_more_is_left_out(world: World):
    async with world.running():
        await world.register("a", groups=("db", "web"))
        await say(world, group="db", windows=(MaintenanceWindow(start=time(2), end=time(4)),))
        rollout = await begin(world)
        await is_in(world, rollout.id, "w")
        await say(world, group="web", windows=(MaintenanceWindow(start=time(5), end=time(6)),))
        assert (await world.rollout_ended(rollout.id)).progress.skipped == 1
        assert "never open at the same time" in (await members(world, rollout.id))["a"].detail


def test_changed_windows__concern_only_members_that_wait_for_their_windows():
    members = [
        Member(rollout="r", host=str(n), wave=0, position=n, status=M.WAITING, waiting=why)
        for n, why in enumerate((WaitingFor.BUDGET, WaitingFor.WINDOW, WaitingFor.HOST, None))
    ]
    assert [member.host for member in waiting_for_windows(members)] == ["1"]


async def test_all_that_wait_are_looked_at_anew_however_many_they_are(world: World, monkeypatch):
    monkeypatch.setattr(member_starts, "AT_A_TIME", 2)
    async with world.running():
        await fleet(world, "abcdefg")
        await say(world, freezes=(frozen(world),))
        rollout = await begin(world, waves=("rest",))
        await is_in(world, rollout.id, "wwwwwww")
        before = world.clock.now()
        await say(world)
        assert (await world.rollout_ended(rollout.id)).progress.completed == 7
        assert world.clock.now() < before + HOUR


async def test_a_freeze_that_was_lifted_right_before_a_restart_holds_up_nobody(world: World):
    async with world.running():
        await fleet(world, "ab")
        await say(world, freezes=(frozen(world),))
        rollout = await begin(world)
        await is_in(world, rollout.id, "ww")
        waiting = await world.store.members(rollout.id, limit=9)
        await say(world)
        assert waiting.items == (await world.store.members(rollout.id, limit=9)).items
    before = world.clock.now()
    async with world.running():
        assert (await world.rollout_ended(rollout.id)).progress.completed == 2
    assert world.clock.now() < before + HOUR


async def test_what_is_said_outlives_the_server(world: World):
    async with world.running():
        await fleet(world, "a")
        said = await say(world, freezes=(frozen(world),))
    async with world.running() as engine:
        assert engine.policies.group_policy("") == said
        operation = await world.run(K.UPDATE, "a")
        assert operation.problem is not None
        assert operation.problem.reason == "WINDOW_CLOSED"


async def test_a_plan_tells_of_freezes_and_of_windows_that_never_meet(world: World):
    async with world.running() as engine:
        await world.register("a", groups=("db",))
        await world.register("b", groups=("db", "web"))
        await say(world, group="db", windows=(MaintenanceWindow(start=time(2), end=time(4)),))
        await say(world, group="web", windows=(MaintenanceWindow(start=time(5), end=time(6)),))
        await say(world, freezes=(frozen(world, timedelta(days=3)),))
        plan = await engine.rollouts.plan(spec())
        (host,) = plan.hosts
        assert (host.name, host.conditions) == ("a", (PlannedHostCondition.WINDOW_CLOSED,))
        assert host.detail.startswith("frozen until 2026-03-04 12:00 UTC (year end: holidays)")
        (left,) = plan.excluded
        assert (left.name, left.why) == ("b", Exclusion.NEVER_OPEN)
        assert "never open at the same time" in left.detail


async def test_a_reason_passes_freezes_too_and_is_kept_with_who_gave_it(world: World):
    async with world.running():
        await fleet(world, "a")
        await say(world, freezes=(frozen(world),))
        rollout = await begin(world, window_override_reason="CVE-2026-1")
        assert (await world.rollout_ended(rollout.id)).progress.completed == 1
        operation = await world.store.operation((await members(world, rollout.id))["a"].operation)
        assert (operation.options.window_override_reason, operation.created_by) == (
            "CVE-2026-1",
            "alex",
        )


# --- operations -----------------------------------------------------------------------------------


async def test_a_frozen_host_is_looked_at_and_not_changed(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        await say(world, freezes=(frozen(world),))
        for kind in (K.UPDATE, K.REBOOT):
            operation = await world.run(kind)
            assert operation.problem is not None
            assert operation.problem.reason == "WINDOW_CLOSED"
            assert "web1: frozen until 2026-03-01 15:00 UTC (year" in operation.problem.message
        assert (await world.run(K.QUERY)).status is S.SUCCEEDED
        assert (await world.run(K.UPDATE, dry_run=True)).status is S.SUCCEEDED
        assert (fake.count(Command.UPGRADE), fake.count(Command.REBOOT)) == (0, 0)


@pytest.mark.parametrize("before", [Command.QUERY, Command.HOOK])
async def test_a_freeze_that_is_set_before_the_transaction_begins_stops_it(
    world: World, before: Command
):
    async with world.running():
        fake = await world.register("a", groups=("db",))
        fake.pending = {"web": Pending()}
        hook = Hook(script="true")
        await say(world, group="db", hooks=Hooks(pre=hook, post=hook))
        hold = fake.hold(before)
        rollout = await begin(world)
        await world.reached(hold)
        await say(world, freezes=(frozen(world),))
        hold.released.set()
        await is_in(world, rollout.id, "w")
        assert "frozen until" in (await members(world, rollout.id))["a"].detail
        assert fake.count(Command.UPGRADE) == 0
        assert (await world.host("a")).status.state is HostState.PENDING_UPDATES
        assert UpdateCompleted not in [type(event.body) for event in await world.events()]
        await say(world)
        assert (await world.rollout_ended(rollout.id)).progress.completed == 1


async def is_cut_off_in_a_freeze(world: World) -> tuple[FakeHost, Rollout]:
    """A host whose upgrade was killed, and may not be begun once more before a freeze has passed."""
    fake = (await fleet(world, "a"))["a"]
    hold = fake.hold(Command.UPGRADE)
    rollout = await begin(world, max_failures="0", expires_after=24 * HOUR)
    await world.reached(hold)
    await say(world, freezes=(frozen(world, 100 * HOUR),))
    fake.interrupted = True
    fake.jobs.kill()
    await is_in(world, rollout.id, "w")
    host = await world.host("a")
    assert (host.status.state, host.status.failure) == (HostState.PENDING_UPDATES, None)
    assert "frozen until" in (await members(world, rollout.id))["a"].detail
    return fake, rollout


async def test_an_update_that_was_cut_off_goes_on_when_it_may(world: World):
    async with world.running():
        fake, rollout = await is_cut_off_in_a_freeze(world)
        await say(world)
        assert (await world.rollout_ended(rollout.id)).progress.completed == 1
        assert fake.count(Command.UPGRADE) == 2
        assert (await world.host("a")).status.state is HostState.IDLE


async def test_an_update_that_was_cut_off_and_may_never_go_on_has_failed(world: World):
    async with world.running():
        _, rollout = await is_cut_off_in_a_freeze(world)
        await passes(world, 24 * HOUR)
        ended = await world.rollout_ended(rollout.id)
        assert (ended.progress.failed, ended.progress.skipped) == (1, 0)
        assert ended.failed_hosts == ("a",)
        words = "the rollout expired before it could go on: "
        detail = (await members(world, rollout.id))["a"].detail
        assert detail.startswith(words)
        assert "frozen until" in detail


async def test_a_host_that_was_to_be_tried_again_and_was_not_has_failed(world: World):
    async with world.running() as engine:
        _, rollout = await halted(world)
        await say(world, freezes=(frozen(world),))
        await engine.rollouts.retry(rollout.id, call())
        await is_in(world, rollout.id, "cwwcpp")
        await engine.rollouts.cancel(rollout.id, call())
        ended = await world.rollout_ended(rollout.id)
        assert (ended.progress.failed, ended.progress.skipped) == (2, 2)
        assert set(ended.failed_hosts) == {"b", "c"}


async def test_a_freeze_that_is_set_during_the_upgrade_holds_back_the_reboot(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(wants_reboot=True)}
        hold = fake.hold(Command.UPGRADE)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
        await say(world, freezes=(frozen(world),))
        hold.released.set()
        assert (await world.ended(operation.id)).status is S.SUCCEEDED
        assert fake.count(Command.REBOOT) == 0
        assert (await world.host()).status.state is HostState.WAITING_REBOOT


async def test_an_update_does_not_begin_where_it_would_run_into_a_freeze(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        hold = fake.hold(Command.UPGRADE)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
        world.clock.advance(timedelta(minutes=20))
        hold.released.set()
        assert (await world.ended(operation.id)).status is S.SUCCEEDED
        fake.pending = {"web": Pending(to="3.0-1")}
        soon = world.clock.now() + timedelta(minutes=10)
        freeze = FreezePeriod(name="audit", starts_at=soon, ends_at=soon + HOUR)
        await say(world, freezes=(freeze,))
        operation = await world.run(K.UPDATE)
        assert operation.problem is not None
        assert "too late before the freeze of" in operation.problem.message
        # A reboot takes no time that is known.
        assert (await world.run(K.REBOOT)).status is S.SUCCEEDED


async def test_hooks_and_checks_come_from_the_group_and_from_the_fleet(world: World):
    group = Hooks(pre=Hook(script="true", allowed_exit_codes=(3,)))
    async with world.running():
        fake = await world.register(
            "web1",
            groups=("db",),
            policy=Policy(health_checks=HealthChecks(checks=(HealthCheck(tcp=TcpProbe(port=1)),))),
        )
        fake.pending, fake.hook_status = {"web": Pending()}, 3
        fleets = HealthChecks(checks=(HealthCheck(tcp=TcpProbe(port=2)),))
        await say(world, hooks=Hooks(pre=Hook(script="exit 1")), health_checks=fleets)
        await say(world, group="db", hooks=group)
        operation = await world.run(K.UPDATE)
        assert operation.status is S.SUCCEEDED
        assert fake.count(Command.HOOK) == 1
        assert operation.health is not None
        names = [check.name for check in operation.health.checks]
        assert names == ["systemd", "tcp 1", "tcp 2"]


# --- what is said ---------------------------------------------------------------------------------


async def test_what_is_said_is_replaced_as_a_whole_and_told_with_who_said_it(world: World):
    async with world.running() as engine:
        first = await say(world, group="db", windows=(LATER,))
        assert (first.changed_by, first.changed_at) == ("alex", world.clock.now())
        second = await engine.policies.change(
            GroupPolicyChange(given=GroupPolicy(group="db", hooks=Hooks())), call("kim")
        )
        assert (second.windows, second.changed_by) == ((), "kim")
        assert second.revision > first.revision
        assert engine.policies.group_policy("db") == second
        deleted = await engine.policies.delete("db", call())
        assert deleted.revision > second.revision
        assert engine.policies.group_policy("db") == GroupPolicy(group="db")
        told = [e.body for e in await world.events() if isinstance(e.body, PolicyChanged)]
        assert [[change.path for change in one.changes] for one in told] == [["windows"]] * 2 + [[]]
        assert [replace(one, changes=()) for one in told] == [
            PolicyChanged(group="db", by="alex"),
            PolicyChanged(group="db", by="kim"),
            PolicyChanged(group="db", by="alex", deleted=True),
        ]
        for group in ("db", ""):
            with pytest.raises(PolicyNotFound):
                await engine.policies.delete(group, call())


async def test_a_freeze_that_has_passed_may_stay_and_no_new_one_may_begin_so(world: World):
    async with world.running():
        freeze = frozen(world)
        await say(world, freezes=(freeze,))
        world.clock.advance(4 * HOUR)
        await say(world, freezes=(freeze, frozen(world, name="another")))
        with pytest.raises(InvalidArgument) as caught:
            await say(world, group="db", freezes=(freeze,))
        (violation,) = caught.value.violations
        assert violation.field == "policy.freezes[0].ends_at"
        assert "must not have passed already" in violation.description


async def test_a_freeze_holds_from_its_commit_on_whatever_becomes_of_the_store_then(world: World):
    async with world.running():
        fakes = await fleet(world, "a")
        hold = Hold()
        world.store.after_commit = (lambda change: bool(change.group_policies), hold)
        saying = asyncio.ensure_future(say(world, freezes=(frozen(world),)))
        await world.reached(hold)
        world.store.outage_of = {"group_policies"}
        hold.released.set()
        await saying
        rollout = await begin(world)
        await is_in(world, rollout.id, "w")
        assert fakes["a"].count(Command.UPGRADE) == 0
