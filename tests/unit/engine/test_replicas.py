"""Replicas: several servers over one database. Each operation has one driver, whoever dies, sleeps or is cut off."""

from datetime import timedelta

import pytest

from tendhost.server.domain.events import OperationChanged
from tendhost.server.domain.leases import LEASE, LeaseKind
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.replicas import Replica, replicas_of
from tests.unit.engine.world import World, call

K, S = OperationKind, OperationStatus
TAKEOVER = LEASE + timedelta(seconds=5)
"""A replica's operations go on so soon after its death, at the latest."""


async def with_update(world: World, replica: Replica, name: str = "web1") -> FakeHost:
    """A host with a pending update, registered by a replica."""
    world.use(replica.engine)
    fake = await world.register(name)
    fake.pending = {"web": Pending()}
    return fake


async def resumptions(world: World) -> list[str]:
    """The messages of resumptions, in order."""
    return [
        event.body.message
        for event in await world.events()
        if isinstance(event.body, OperationChanged) and event.body.message.startswith("resumed")
    ]


async def owner_of(world: World, id: str, replicas: list[Replica]) -> int | None:
    """Number of the replica that drives an operation."""
    for number, replica in enumerate(replicas):
        owner = replica.engine.lease.owner
        if owner and id in await world.store.owned(LeaseKind.OPERATION, owner):
            return number
    return None


async def test_replicas__leave_each_other_their_operations(world: World) -> None:
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add()
        fake = await with_update(world, one)
        hold = fake.hold(Command.UPGRADE)
        id = await one.start(K.UPDATE)
        await replicas.until(lambda: _now(hold.reached.is_set()))
        await replicas.pass_time(3 * LEASE)
        assert await owner_of(world, id, [one, two]) == 0
        hold.released.set()
        await replicas.ended(id)
        assert await resumptions(world) == []
        assert fake.count(Command.UPGRADE) == 1


@pytest.mark.parametrize("held", [Command.PREFLIGHT, Command.QUERY, Command.UPGRADE, Command.UNITS])
async def test_replica__goes_on_with_what_one_left_that_was_cut_off(
    world: World, held: Command
) -> None:
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add()
        fake = await with_update(world, one)
        hold = fake.hold(held)
        id = await one.start(K.UPDATE)
        await replicas.until(lambda: _now(hold.reached.is_set()))
        one.cut_off()
        began = world.clock.elapsed()

        async def taken_over() -> bool:
            return await owner_of(world, id, [two]) == 0

        await replicas.until(taken_over)
        assert world.clock.elapsed() - began <= TAKEOVER
        hold.released.set()
        await replicas.ended(id)
        ended = await world.store.operation(id)
        assert ended.status is S.SUCCEEDED, ended.problem
        assert await resumptions(world) == ["resumed after the end of another replica"]
        assert fake.count(Command.UPGRADE) == 1
        one.connect_again()


async def test_replica__that_is_cut_off_stops_before_its_lease_ends(world: World) -> None:
    async with replicas_of(world) as replicas:
        one = await replicas.add()
        fake = await with_update(world, one)
        hold = fake.hold(Command.PREFLIGHT)
        id = await one.start(K.UPDATE)
        await replicas.until(lambda: _now(hold.reached.is_set()))
        one.cut_off()
        await replicas.pass_time(LEASE - timedelta(seconds=2))
        assert one.engine.lease.owner == ""
        hold.released.set()
        await replicas.pass_time(5 * LEASE)
        assert fake.count(Command.UPGRADE) == 0
        one.connect_again()
        await replicas.ended(id)
        assert fake.count(Command.UPGRADE) == 1
        assert len(await world.store.replicas()) == 2  # the second lease is under another id


async def test_replica__that_slept_through_its_lease_writes_nothing_and_orders_nothing(
    world: World,
) -> None:
    """As after SIGSTOP and SIGCONT: no time has passed for it, and it believes that its lease goes on."""
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add()
        fake = await with_update(world, one)
        hold = fake.hold(Command.PREFLIGHT)
        id = await one.start(K.UPDATE)
        await replicas.until(lambda: _now(hold.reached.is_set()))
        replicas.freeze(one)
        one.store.outage_of = {"renew_replica"}
        fake.holds.clear()

        async def over() -> bool:
            return bool((await world.store.operation(id)).status.ended)

        await replicas.until(over)
        ended, events = await world.store.operation(id), len(await world.events())
        hold.released.set()  # now the one that slept gets the answer that it waited for
        await replicas.pass_time(timedelta(minutes=2))
        assert await world.store.operation(id) == ended
        assert len(await world.events()) == events
        assert fake.count(Command.UPGRADE) == 1
        one.store.outage_of = set()
        replicas.thaw(one)
        await replicas.pass_time(LEASE)
        assert one.engine.lease.owner
        assert two.engine.lease.owner


async def test_replica__whose_lease_ended_gives_no_order_to_a_host(world: World) -> None:
    """The door asks right before each order, however soon the lease has ended after the last write."""
    async with replicas_of(world) as replicas:
        one = await replicas.add()
        fake = await with_update(world, one)
        recorded = one.store.hold_after_commit(
            lambda change: any(o.job is not None for o in change.operations)
        )
        id = await one.start(K.UPDATE)
        await replicas.until(lambda: _now(recorded.reached.is_set()))
        one.clock.advance(LEASE)  # before its own tasks have noticed
        recorded.released.set()
        await world.go_on_at_once()
        assert fake.count(Command.UPGRADE) == 0
        await replicas.ended(id)
        assert fake.count(Command.UPGRADE) == 1


@pytest.mark.parametrize("held", [Command.PREFLIGHT, Command.UPGRADE])
async def test_cancellation__by_any_replica_reaches_the_driver(world: World, held: Command) -> None:
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add()
        fake = await with_update(world, one)
        hold = fake.hold(held)
        id = await one.start(K.UPDATE)
        await replicas.until(lambda: _now(hold.reached.is_set()))
        marked = await two.engine.operations.cancel(id, call("sam"))
        assert marked.cancel_requested_by == "sam"
        hold.released.set()
        await replicas.ended(id)
        ended = await world.store.operation(id)
        assert (ended.status, ended.cancel_requested_by) == (S.CANCELLED, "sam")
        assert await resumptions(world) == []
        assert fake.count(Command.UPGRADE) == (1 if held is Command.UPGRADE else 0)


async def test_cancellation__that_comes_between_two_writes_of_the_driver_is_adopted(
    world: World,
) -> None:
    """The driver hears of it only when its own write conflicts, and loses nothing that was to be written."""
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(deaf=True), await replicas.add()
        fake = await with_update(world, one)
        hold = fake.hold(Command.UPGRADE)
        id = await one.start(K.UPDATE)
        await replicas.until(lambda: _now(hold.reached.is_set()))
        await two.engine.operations.cancel(id, call("sam"))
        hold.released.set()
        await replicas.ended(id)
        ended = await world.store.operation(id)
        assert (ended.status, ended.cancel_requested_by) == (S.CANCELLED, "sam")
        assert await resumptions(world) == []
        assert ended.log_size > 0


async def test_replica__that_stops_hands_over_at_once(world: World) -> None:
    async with replicas_of(world) as replicas:
        two = await replicas.add()
        async with replicas_of(world) as others:
            one = await others.add()
            fake = await with_update(world, one)
            hold = fake.hold(Command.UPGRADE)
            id = await one.start(K.UPDATE)
            await others.until(lambda: _now(hold.reached.is_set()))
        stopped_at = world.clock.elapsed()

        async def taken_over() -> bool:
            return await owner_of(world, id, [two]) == 0

        await replicas.until(taken_over)
        assert world.clock.elapsed() - stopped_at <= timedelta(seconds=10)
        hold.released.set()
        await replicas.ended(id)
        assert fake.count(Command.UPGRADE) == 1


async def test_queue__of_a_host_goes_on_when_another_replica_drove_the_first(world: World) -> None:
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add()
        fake = await with_update(world, one)
        hold = fake.hold(Command.UNITS)
        first = await one.start(K.CHECK)
        await replicas.until(lambda: _now(hold.reached.is_set()))
        world.use(two.engine)
        second = (await world.start(K.QUERY, queue=True)).id
        one.cut_off()
        hold.released.set()
        for id in (first, second):
            await replicas.ended(id)
            assert (await world.store.operation(id)).status is S.SUCCEEDED
        one.connect_again()


async def _now(value: bool) -> bool:
    return value
