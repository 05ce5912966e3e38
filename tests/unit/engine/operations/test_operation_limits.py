"""How many operations run side by side, whatever became of the server that began them."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta

import pytest

from tendhost.server.domain.events import HostConnected, HostDisconnected
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import Operation, OperationKind, OperationStatus
from tendhost.server.domain.rollouts.rollout import RolloutSpec
from tendhost.server.domain.schedules.schedule import ScheduleRequest
from tendhost.server.domain.transitions import OperationState
from tendhost.server.engine.concurrency import OperationLimits, Slot
from tendhost.server.engine.engine import EngineSettings
from tendhost.server.engine.operations.manager import OperationSettings
from tendhost.server.engine.waiting import CEILING
from tendhost.server.remote.protocol import Target
from tendhost.server.store.records import Change, Conflict
from tests.unit.engine.fake_clock import FakeClock
from tests.unit.engine.fake_command import Command, Hold
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.fake_remote import FakeRemote
from tests.unit.engine.world import World, call

K, S = OperationKind, OperationStatus


def at_once(number: int, **settings: object) -> EngineSettings:
    return EngineSettings(
        operations=replace(OperationSettings(), at_once=number, **settings)  # type: ignore[arg-type]
    )


async def a_while(world: World, turns: int = 60) -> None:
    for _ in range(turns):
        await world.go_on()


async def most_at_once(world: World, ended: Awaitable[object]) -> int:
    """The most connections that were open at any time until `ended`."""
    most, task = 0, asyncio.ensure_future(ended)
    while not task.done():
        most = max(most, world.fleet.open_connections)
        await asyncio.sleep(0)
    await task
    return most


async def test_operations_at_once__holds_after_a_restart_as_before(world: World) -> None:
    operations = []
    async with world.running(at_once(4)):
        fakes = [await world.register(f"web{number}") for number in range(60)]
        for fake in fakes:
            fake.hold(Command.QUERY)
        for number in range(60):
            operations.append(await world.start(K.QUERY, f"web{number}"))
        await a_while(world)
        assert world.fleet.open_connections == 4
    holds = [fake.hold(Command.QUERY) for fake in fakes]
    async with world.running(at_once(4)):
        await a_while(world)
        assert world.fleet.open_connections == 4
        for hold in holds:
            hold.released.set()

        async def all_ended() -> None:
            for operation in operations:
                assert (await world.ended(operation.id)).status is S.SUCCEEDED

        assert await most_at_once(world, all_ended()) <= 4


async def test_operations_at_once__holds_where_rollouts_and_schedules_begin_at_the_restart(
    world: World,
) -> None:
    nobody = RolloutSpec(filter=HostFilter(any_tags=("scheduled",)))
    async with world.running(at_once(3)):
        for number in range(8):
            for tag in ("alone", "rolled", "scheduled"):
                fake = await world.register(f"{tag}{number}", tags=(tag,))
                fake.pending = {"web": Pending()}
        wish = ScheduleRequest(name="nightly", cron="0 13 * * *", rollout=nobody)
        await world.engine.schedules.create(wish, call())
    world.clock.advance(timedelta(minutes=59))
    alone = []
    async with world.running(at_once(3)):
        for number in range(8):
            alone.append(await world.start(K.UPDATE, f"alone{number}"))
        rolled = RolloutSpec(filter=HostFilter(any_tags=("rolled",)))
        rollout = await world.engine.rollouts.start(rolled, call())
    world.clock.advance(timedelta(minutes=1))
    async with world.running(at_once(3)):

        async def all_ended() -> None:
            for operation in alone:
                await world.ended(operation.id)
            await world.rollout_ended(rollout.id)

            async def scheduled() -> bool:
                return bool((await world.store.schedule("nightly")).last_rollout)

            await world.until(scheduled)
            await world.rollout_ended((await world.store.schedule("nightly")).last_rollout)

        assert await most_at_once(world, all_ended()) == 3


async def test_restart__what_was_at_work_on_its_host_goes_on_although_no_place_is_free(
    world: World,
) -> None:
    async with world.running(at_once(3)):
        fakes = [await world.register(f"web{number}") for number in range(4)]
        for fake in fakes:
            fake.pending = {"web": Pending()}
        holds = [fake.hold(Command.UPGRADE) for fake in fakes[:3]]
        begun = [await world.start(K.UPDATE, f"web{number}") for number in range(3)]
        for hold in holds:
            await world.reached(hold)
        await world.start(K.QUERY, "web3")
    waiting = fakes[3].hold(Command.QUERY)
    async with world.running(at_once(1)):
        await a_while(world)
        assert world.fleet.open_connections == 3
        assert not waiting.reached.is_set(), "the places that they took are not free"
        for hold in (*holds, waiting):
            hold.released.set()
        for operation in begun:
            assert (await world.ended(operation.id)).status is S.SUCCEEDED
    assert [fake.count(Command.UPGRADE) for fake in fakes[:3]] == [1, 1, 1]


async def waits_for_hours(world: World) -> tuple[Operation, Hold]:
    """An update that has waited for its place for longer than it may take, and what is before it."""
    one, two = await world.register("web1"), await world.register("web2")
    two.pending = {"web": Pending()}
    hold = one.hold(Command.QUERY)
    await world.start(K.QUERY, "web1")
    await world.reached(hold)
    waiting = await world.start(K.UPDATE, "web2")
    await a_while(world, 5)
    world.clock.advance(timedelta(hours=7))
    return waiting, hold


async def test_wait_for_a_place__is_not_counted_after_a_restart_either(world: World) -> None:
    async with world.running(at_once(1)):
        waiting, _ = await waits_for_hours(world)
    async with world.running(at_once(1)):
        assert (await world.ended(waiting.id)).status is S.SUCCEEDED


async def test_wait_for_a_place__is_not_counted_by_who_takes_it_up_in_the_middle(
    world: World,
) -> None:
    async with world.running(at_once(1)):
        waiting, hold = await waits_for_hours(world)
        working = world.fleet.hosts["web2.example.org"].hold(Command.PREFLIGHT)
        hold.released.set()
        await world.reached(working)
    async with world.running(at_once(1)):
        assert (await world.ended(waiting.id)).status is S.SUCCEEDED


async def test_time_at_work__is_counted_over_a_restart(world: World) -> None:
    async with world.running(at_once(1)):
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        hold = fake.hold(Command.DRY_RUN)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
        world.clock.advance(timedelta(hours=7))
    async with world.running(at_once(1)):
        ended = await world.ended(operation.id)
    assert ended.problem is not None
    assert ended.problem.reason == "DEADLINE_EXCEEDED"
    assert fake.count(Command.UPGRADE) == 0


# --- cancelled while it waits ---------------------------------------------------------------------


class Asked:
    """Which hosts are connected to, in order; `slow` ones answer neither yes nor no."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[str] = []
        self.slow: set[str] = set()
        self._connect = world.fleet.connect
        monkeypatch.setattr(world.fleet, "connect", self._asked)

    async def _asked(self, target: Target) -> FakeRemote:
        self.addresses.append(target.address)
        if target.address in self.slow:
            await asyncio.Event().wait()
        return await self._connect(target)


async def ends(world: World, id: str) -> Operation:
    """The operation, that ends before any time passes."""
    for _ in range(2000):
        await asyncio.sleep(0.001)
        operation: Operation = await world.store.operation(id)
        if operation.status.ended:
            return operation
    raise AssertionError("it has not ended")


@pytest.mark.parametrize("kind", list(K))
async def test_operation_that_waits_for_its_place__ends_at_once_when_it_is_cancelled(
    kind: OperationKind, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running(at_once(1)) as engine:
        hold = (await world.register("web1")).hold(Command.QUERY)
        address = (await world.register("web2")).address
        await world.start(K.QUERY, "web1")
        await world.reached(hold)
        asked = Asked(world, monkeypatch)
        waiting = await world.start(kind, "web2")
        await engine.operations.cancel(waiting.id, call("kim"))
        ended = await ends(world, waiting.id)
        assert (ended.status, ended.cancel_requested_by) == (S.CANCELLED, "kim")
        assert ended.problem is None
        assert [str(step.name) for step in ended.steps] == ["connect"]
        assert address not in asked.addresses, "its host was touched"
        status = (await world.host("web2")).status
        assert (status.state, status.last_problem) == (HostState.IDLE, None)
        told = [event.body for event in await world.events() if event.operation == waiting.id]
        assert not any(isinstance(body, HostConnected | HostDisconnected) for body in told)
        hold.released.set()
        # The place that it did not take is there for others.
        assert (await world.run(K.QUERY, "web2")).status is S.SUCCEEDED


async def test_operation_that_waits_for_its_place__was_cancelled_before_a_restart(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running(at_once(1)):
        fake = await world.register("web1")
        hold = (await world.register("web2")).hold(Command.QUERY)
        await world.start(K.QUERY, "web2")
        await world.reached(hold)
        waiting = await world.start(K.UPDATE)
        await a_while(world, 5)
    stored = await world.store.operation(waiting.id)
    host = await world.host()
    marked = OperationState(operation=replace(stored, cancel_requested_by="kim"), host=host)
    told = marked.with_progress(world.clock.now())
    await world.store.commit(Change(events=told.events, operations=(told.operation,)))
    asked = Asked(world, monkeypatch)
    async with world.running(at_once(1)):
        assert (await world.ended(waiting.id)).status is S.CANCELLED
    assert fake.address not in asked.addresses


async def test_operation_that_waits_to_try_again__needs_no_place_to_be_cancelled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running(at_once(1)) as engine:
        first = await world.register("dark1")
        second = await world.register("dark2")
        first.reachable = second.reachable = False
        for name in ("dark1", "dark2"):
            await world.run(K.QUERY, name)  # so that they wait for the places of such hosts
        asked = Asked(world, monkeypatch)
        asked.slow.add(second.address)
        operation = await world.start(K.UPDATE, "dark1")

        async def tried_once() -> bool:
            current = (await world.store.operation(operation.id)).current
            return current is not None and current.attempts > 1

        await world.until(tried_once)
        await world.start(K.UPDATE, "dark2")

        async def taken() -> bool:
            return second.address in asked.addresses

        await world.until(taken)
        await a_while(world)
        await engine.operations.cancel(operation.id, call())
        assert (await ends(world, operation.id)).status is S.CANCELLED


@pytest.mark.parametrize("breaks", [False, True])
async def test_retry_that_waits_for_its_place__leaves_its_host_failed_when_it_is_cancelled(
    breaks: bool, world: World
) -> None:
    """Whether it was to go on in the middle, or would have begun anew: nobody has seen the host since."""
    async with world.running(at_once(1)) as engine:
        fake = await world.register("web1")
        fake.pending = {"web": Pending(breaks=breaks)}
        upgrading = fake.hold(Command.UPGRADE)
        update = await world.start(K.UPDATE)
        await world.reached(upgrading)
        fake.failed_units = ["web.service"]
        upgrading.released.set()
        await world.ended(update.id)
        failure = (await world.host()).status.failure
        assert failure is not None
        hold = (await world.register("web2")).hold(Command.QUERY)
        await world.start(K.QUERY, "web2")
        await world.reached(hold)
        retried = await engine.operations.retry("web1", call())
        await engine.operations.cancel(retried.operation.id, call())
        hold.released.set()
        assert (await world.ended(retried.operation.id)).status is S.CANCELLED
        status = (await world.host()).status
        assert status.state is HostState.FAILED
        assert status.failure is not None
        assert (status.failure.step, status.failure.problem) == (failure.step, failure.problem)
        assert fake.count(Command.UPGRADE) == 1
        # The next retry goes on with what failed, too.
        assert (await engine.operations.retry("web1", call())).operation.kind is K.UPDATE


# --- the wait itself ------------------------------------------------------------------------------


async def test_slot__looks_at_what_is_stored_while_it_waits_and_keeps_its_turn() -> None:
    clock, places, order = FakeClock(), OperationLimits(1), list[str]()
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1

    async def hold(name: str, until: asyncio.Event) -> None:
        slot = Slot(places, clock=clock)
        slot.check_while_waiting(look)
        async with slot:
            order.append(name)
            await until.wait()

    release = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(hold(name, release))
        for _ in range(3):
            for _ in range(5):
                await asyncio.sleep(0)
            clock.advance(CEILING)
        release.set()
    assert looks >= 2
    assert order == ["a", "b", "c"]


async def test_slot__that_is_told_to_wait_no_more_takes_no_place() -> None:
    clock, places = FakeClock(), OperationLimits(1)

    async def gone() -> None:
        raise Conflict(what="operation 1")

    async with Slot(places, clock=clock):
        waiting = Slot(places, clock=clock)
        waiting.check_while_waiting(gone)
        task = asyncio.ensure_future(waiting.__aenter__())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        clock.advance(CEILING)
        with pytest.raises(Conflict):
            await task
    assert not places.reachable_pool.locked()
    async with Slot(places, clock=clock):
        assert places.reachable_pool.locked()


async def test_slot__that_is_let_go_of_as_it_gets_its_place_gives_it_back() -> None:
    clock, places = FakeClock(), OperationLimits(1)
    first = Slot(places, clock=clock)
    await first.__aenter__()
    task = asyncio.ensure_future(Slot(places, clock=clock).__aenter__())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await first.__aexit__(None, None, None)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not places.reachable_pool.locked()
