"""No change without permission: what was ordered once is asked for again each time that it is ordered."""

from collections.abc import Awaitable
from datetime import time, timedelta

import pytest

from tendhost.server.domain.hosts.host import Policy, RestartServices
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.inventory.inventory import RebootNeed
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.domain.rollouts.rollout import MemberStatus
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.jobs.test_jobs import reason
from tests.unit.engine.rollouts.test_rollouts import begin
from tests.unit.engine.test_belated import UNBOUNDED
from tests.unit.engine.world import World, call

S = OperationStatus
UNTIL_FIVE_PAST_NOON = Policy(windows=(MaintenanceWindow(start=time(11), end=time(12, 5)),))
AWAY = timedelta(minutes=8)


async def ordered_into_a_lost_link(
    world: World, policy: Policy, kind: OperationKind
) -> tuple[FakeHost, str]:
    """A host whose link is lost under the order to reboot, at noon, and its operation."""
    fake = await world.register("web1", policy=policy)
    fake.pending = {"web": Pending(wants_reboot=True)} if kind is OperationKind.UPDATE else {}
    fake.swallows_reboot = AWAY
    operation = await world.start(kind)

    async def given() -> bool:
        return fake.swallows_reboot is None

    await world.until(given)
    return fake, operation.id


@pytest.mark.parametrize("kind", [OperationKind.UPDATE, OperationKind.REBOOT])
async def test_an_order_to_reboot_that_was_lost_is_not_given_again_outside_the_window(
    world: World, kind: OperationKind
):
    async with world.running():
        fake, operation = await ordered_into_a_lost_link(world, UNTIL_FIVE_PAST_NOON, kind)
        ended = await world.ended(operation)
        host = await world.host()
    assert fake.rebooted_at == []
    assert reason(ended) == "WINDOW_CLOSED"
    assert (host.status.state, host.status.failure) == (HostState.WAITING_REBOOT, None)
    assert host.status.reboot.need is RebootNeed.NEEDED


@pytest.mark.parametrize("kind", [OperationKind.UPDATE, OperationKind.REBOOT])
async def test_an_order_to_reboot_that_was_lost_is_not_given_again_after_a_cancellation(
    world: World, kind: OperationKind
):
    async with world.running() as engine:
        fake, operation = await ordered_into_a_lost_link(world, Policy(), kind)
        await engine.operations.cancel(operation, call())
        ended = await world.ended(operation)
        host = await world.host()
    assert (fake.rebooted_at, ended.status) == ([], S.CANCELLED)
    # Nobody needs the reboot that was asked for by hand and then called off.
    expected = HostState.WAITING_REBOOT if kind is OperationKind.UPDATE else HostState.IDLE
    assert (host.status.state, host.status.failure) == (expected, None)


async def test_an_order_to_reboot_that_was_lost_is_given_again_where_that_is_permitted(
    world: World,
):
    async with world.running():
        fake, operation = await ordered_into_a_lost_link(world, Policy(), OperationKind.UPDATE)
        ended = await world.ended(operation)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert len(fake.rebooted_at) == 1


async def test_a_reboot_that_took_effect_although_its_link_was_lost_is_believed_after_its_window(
    world: World,
):
    async with world.running():
        fake = await world.register("web1", policy=UNTIL_FIVE_PAST_NOON)
        fake.pending = {"web": Pending(wants_reboot=True)}
        fake.cut_during, fake.boot_time = Command.REBOOT, AWAY
        ended = await world.run(OperationKind.UPDATE)
        host = await world.host()
    assert ended.status is S.SUCCEEDED, ended.problem
    assert ended.update is not None
    assert ended.update.rebooted
    assert (len(fake.rebooted_at), host.status.state) == (1, HostState.IDLE)


@pytest.mark.parametrize("why", ["WINDOW_CLOSED", "cancelled"])
async def test_a_server_that_finds_an_order_to_reboot_on_record_asks_before_it_gives_it_again(
    world: World, why: str
):
    policy = UNTIL_FIVE_PAST_NOON if why == "WINDOW_CLOSED" else Policy()
    async with world.running() as engine:
        fake, operation = await ordered_into_a_lost_link(world, policy, OperationKind.UPDATE)
        if why == "cancelled":
            await engine.operations.cancel(operation, call())
    world.clock.advance(timedelta(minutes=20))
    async with world.running():
        ended = await world.ended(operation)
        host = await world.host()
    assert fake.rebooted_at == []
    if why == "cancelled":
        assert ended.status is S.CANCELLED
    else:
        assert reason(ended) == why
    assert host.status.state is HostState.WAITING_REBOOT


@pytest.mark.parametrize("says", [True, False])
async def test_a_host_that_is_on_its_way_down_is_waited_for_although_its_window_has_closed(
    world: World, says: bool
):
    async with world.running():
        fake = await world.register("web1", policy=UNTIL_FIVE_PAST_NOON)
        fake.pending = {"web": Pending(wants_reboot=True)}
        fake.swallows_reboot, fake.stopping = timedelta(minutes=5), says
        fake.mute = not says  # dbus is among the first that are stopped
        operation = await world.start(OperationKind.UPDATE)

        async def late() -> bool:
            return bool(world.clock.now().time() >= time(12, 9))

        await world.until(late)
        assert not (await world.store.operation(operation.id)).status.ended
        fake.stopping = fake.mute = False
        fake.reboot()  # what it was about
        ended = await world.ended(operation.id)
    assert ended.status is S.SUCCEEDED, ended.problem


async def in_a_folder_without_a_wrapper(world: World) -> tuple[FakeHost, str]:
    """A host on which the folder of an upgrade was made, and its wrapper never ran."""
    fake = await world.register("web1", policy=UNTIL_FIVE_PAST_NOON)
    fake.pending = {"web": Pending()}
    fake.jobs.stalls = True
    operation = await world.start(OperationKind.UPDATE)

    async def made() -> bool:
        return bool(fake.jobs.prepared)

    await world.until(made)
    return fake, operation.id


async def test_prepared_and_never_launched__a_job_does_not_begin_outside_its_window(world: World):
    async with world.running(UNBOUNDED):
        fake, operation = await in_a_folder_without_a_wrapper(world)
    world.clock.advance(timedelta(hours=5))
    fake.jobs.stalls = False
    async with world.running(UNBOUNDED):
        ended = await world.ended(operation)
        host = await world.host()
    assert (reason(ended), fake.count(Command.UPGRADE)) == ("WINDOW_CLOSED", 0)
    assert (host.status.state, host.status.failure) == (HostState.PENDING_UPDATES, None)
    assert fake.jobs.prepared == set(), "what was ordered before is taken back"


async def test_prepared_and_never_launched__a_job_begins_where_that_is_still_permitted(
    world: World,
):
    async with world.running():
        fake, operation = await in_a_folder_without_a_wrapper(world)
    fake.jobs.stalls = False
    async with world.running():
        ended = await world.ended(operation)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert fake.count(Command.UPGRADE) == 1


@pytest.mark.parametrize("why", ["WINDOW_CLOSED", "cancelled"])
async def test_an_order_to_start_that_was_lost__is_asked_for_before_it_is_given_again(
    world: World, why: str
):
    async with world.running() as engine:
        policy = UNTIL_FIVE_PAST_NOON if why == "WINDOW_CLOSED" else Policy()
        fake = await world.register("web1", policy=policy)
        fake.pending = {"web": Pending()}
        fake.jobs.lose_start = True
        operation = await world.start(OperationKind.UPDATE)

        async def lost() -> bool:
            return not fake.jobs.lose_start

        await world.until(lost)
        fake.dark_until = world.clock.now() + AWAY
        if why == "cancelled":
            await engine.operations.cancel(operation.id, call())
        ended = await world.ended(operation.id)
        host = await world.host()
    assert fake.count(Command.UPGRADE) == 0
    if why == "cancelled":
        assert ended.status is S.CANCELLED
    else:
        assert reason(ended) == why
    assert (host.status.state, host.status.failure) == (HostState.PENDING_UPDATES, None)


async def test_withdrawn_too_late__a_job_that_had_begun_after_all_is_followed_to_its_end(
    world: World,
):
    async with world.running():
        fake = await world.register("web1", policy=UNTIL_FIVE_PAST_NOON)
        fake.pending = {"web": Pending()}
        fake.cut_during = Command.UPGRADE
        operation = await world.start(OperationKind.UPDATE)

        async def cut() -> bool:
            return fake.cut_during is None

        await world.until(cut)
        fake.dark_until = world.clock.now() + AWAY
        ended = await world.ended(operation.id)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert fake.count(Command.UPGRADE) == 1


@pytest.mark.parametrize("what", ["upgrade", "reboot"])
async def test_not_permitted_any_more__a_rollout_goes_on_with_its_host_in_the_next_window(
    world: World, what: str
):
    async with world.running():
        fake = await world.register("web1", policy=UNTIL_FIVE_PAST_NOON)
        fake.pending = {"web": Pending(wants_reboot=True)}
        if what == "reboot":
            fake.swallows_reboot = AWAY
        else:
            fake.jobs.lose_start = True
        rollout = await begin(world)

        async def lost() -> bool:
            return fake.swallows_reboot is None and not fake.jobs.lose_start

        await world.until(lost)
        if what == "upgrade":
            fake.dark_until = world.clock.now() + AWAY

        async def waits() -> bool:
            page = await world.store.members(rollout.id, limit=10)
            return bool(page.items[0].status is MemberStatus.WAITING)

        await world.until(waits)
        assert (await world.host()).status.failure is None
        assert (fake.count(Command.UPGRADE), fake.rebooted_at) == (what == "reboot", [])
        world.clock.advance(timedelta(hours=22))
        ended = await world.rollout_ended(rollout.id)
    assert ended.progress.completed == 1
    assert fake.count(Command.UPGRADE) == 1
    assert [at.time() >= time(11) for at in fake.rebooted_at] == [True]


RESTARTS = Policy(
    windows=UNTIL_FIVE_PAST_NOON.windows,
    restart_services=RestartServices.RESTART,
)


async def with_an_outdated_service(world: World) -> FakeHost:
    """A host with nothing pending, one service to restart and one that only a reboot renews."""
    fake = await world.register("web1", policy=RESTARTS)
    fake.outdated = ["dbus.service", "web.service"]
    return fake


async def test_nothing_pending__an_update_restarts_the_services_that_are_outdated(world: World):
    async with world.running():
        fake = await with_an_outdated_service(world)
        dry = await world.run(OperationKind.UPDATE, dry_run=True)
        ended = await world.run(OperationKind.UPDATE)
        again = await world.run(OperationKind.UPDATE)
    assert dry.steps[-1].detail.endswith("; would restart web.service")
    assert ended.status is S.SUCCEEDED, ended.problem
    assert ended.update is not None
    assert (ended.update.restarted, fake.outdated) == (("web.service",), ["dbus.service"])
    assert [step.name for step in ended.steps][-2:] == ["restart_services", "verify"]
    assert again.steps[-1].name == "list", "what only a reboot renews is no reason to begin"
    assert fake.count(Command.RESTART) == 1


async def refused_restart(world: World, fake: FakeHost, begins: Awaitable[str]) -> str:
    """An update, by its rollout or its own ID, whose window closes before it restarts services."""
    hold = fake.hold(Command.QUERY)
    id = await begins
    await world.reached(hold)
    world.clock.advance(timedelta(minutes=10))
    hold.released.set()
    return id


async def test_services_that_may_not_be_restarted_any_more__are_restarted_by_the_next_update(
    world: World,
):
    async def update() -> str:
        return (await world.start(OperationKind.UPDATE)).id

    async with world.running():
        fake = await with_an_outdated_service(world)
        ended = await world.ended(await refused_restart(world, fake, update()))
        host = await world.host()
        assert (reason(ended), fake.count(Command.RESTART)) == ("WINDOW_CLOSED", 0)
        assert (host.status.state, host.status.failure) == (HostState.IDLE, None)
        world.clock.advance(timedelta(hours=23))
        ended = await world.run(OperationKind.UPDATE)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert fake.outdated == ["dbus.service"]


async def test_services_that_may_not_be_restarted_any_more__a_rollout_waits_with_them(
    world: World,
):
    async def rollout() -> str:
        return (await begin(world)).id

    async with world.running():
        fake = await with_an_outdated_service(world)
        id = await refused_restart(world, fake, rollout())

        async def waits() -> bool:
            page = await world.store.members(id, limit=10)
            return bool(page.items[0].status is MemberStatus.WAITING)

        await world.until(waits)
        assert (await world.host()).status.failure is None
        world.clock.advance(timedelta(hours=22, minutes=50))
        ended = await world.rollout_ended(id)
    assert (ended.progress.completed, fake.outdated) == (1, ["dbus.service"])


async def test_not_healthy_where_its_reboot_was_put_off__a_host_of_a_rollout_has_failed(
    world: World,
):
    async with world.running():
        fake = await world.register("web1", policy=UNTIL_FIVE_PAST_NOON)
        fake.pending = {"web": Pending(wants_reboot=True)}
        fake.swallows_reboot = AWAY
        rollout = await begin(world)

        async def lost() -> bool:
            return fake.swallows_reboot is None

        await world.until(lost)
        fake.failed_units = ["web.service"]
        ended = await world.rollout_ended(rollout.id)
        host = await world.host()
    assert (ended.progress.failed, ended.progress.waiting) == (1, 0)
    assert (host.status.state, host.status.healthy) == (HostState.FAILED, False)
    assert host.status.failure is not None
    assert host.status.failure.problem.reason == "UNHEALTHY"
