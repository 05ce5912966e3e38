"""Rollouts of several replicas: each has one controller, all obey the same budgets, and any replica takes any order."""

from datetime import timedelta

import pytest

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.leases import LEASE, LeaseKind
from tendhost.server.domain.operations.operation import OperationStatus
from tendhost.server.domain.rollouts.rollout import (
    DisruptionBudget,
    MemberStatus,
    Rollout,
    RolloutSpec,
    RolloutStatus,
)
from tendhost.server.domain.rollouts.waves import Division
from tendhost.server.domain.schedules.schedule import ScheduleRequest
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.replicas import Replica, Replicas, replicas_of
from tests.unit.engine.world import World, call

S = RolloutStatus
ONE_DOWN = (DisruptionBudget(limit="1"),)


async def with_hosts(world: World, replica: Replica, *names: str) -> list[FakeHost]:
    """Hosts with a pending update each, registered by a replica; the tag of each is its first letter."""
    world.use(replica.engine)
    fakes = []
    for name in names:
        fake = await world.register(name, tags=(name[0],))
        fake.pending = {"web": Pending()}
        fakes.append(fake)
    return fakes


async def begin(replica: Replica, tag: str = "", **fields: object) -> Rollout:
    """A rollout over the hosts with a tag, started on a replica."""
    filter = HostFilter(any_tags=(tag,)) if tag else HostFilter()
    fields = {"division": Division(waves=("rest",)), "delay_between_waves": timedelta(), **fields}
    spec = RolloutSpec(filter=filter, **fields)  # type: ignore[arg-type]
    return await replica.engine.rollouts.start(spec, call())


async def over(world: World, replicas: Replicas, id: str) -> Rollout:
    """The rollout once it is over."""

    async def ended() -> bool:
        return bool((await world.store.rollout(id)).over)

    await replicas.until(ended)
    found: Rollout = await world.store.rollout(id)
    return found


async def test_rollout__goes_on_when_its_replica_is_cut_off(world: World) -> None:
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add()
        fakes = await with_hosts(world, one, "a1", "a2", "a3")
        hold = fakes[0].hold(Command.UPGRADE)
        rollout = await begin(one, division=Division(waves=("1", "rest")))
        await replicas.until(lambda: _now(hold.reached.is_set()))
        one.cut_off()
        hold.released.set()
        ended = await over(world, replicas, rollout.id)
        assert (ended.status, ended.progress.completed) == (S.COMPLETED, 3)
        assert [fake.count(Command.UPGRADE) for fake in fakes] == [1, 1, 1]
        assert two.engine.lease.owner
        one.connect_again()


async def test_budget__is_not_overspent_by_two_replicas_that_counted_at_once(world: World) -> None:
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add()
        (a, b) = await with_hosts(world, one, "a1", "b1")
        holds = [fake.hold(Command.UPGRADE) for fake in (a, b)]
        counted = one.store.hold_after_read("usage")
        first = await begin(one, "a", budgets=ONE_DOWN)
        await replicas.until(lambda: _now(counted.reached.is_set()))
        second = await begin(two, "b", budgets=ONE_DOWN)
        await replicas.until(lambda: _now(holds[1].reached.is_set()))
        counted.released.set()  # it has counted that none is down
        await replicas.pass_time(timedelta(minutes=1))
        running = (OperationStatus.RUNNING,)
        assert len((await world.store.operations(statuses=running, limit=9)).items) == 1
        for hold in holds:
            hold.released.set()
        for rollout in (first, second):
            assert (await over(world, replicas, rollout.id)).progress.completed == 1


async def test_budget__of_a_rollout_that_another_replica_starts_applies_at_once(
    world: World,
) -> None:
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add()
        fakes = await with_hosts(world, one, "a1", "a2", "a3", "b1")
        holds = [fake.hold(Command.UPGRADE) for fake in fakes]
        decided = one.store.hold_after_read("startable")
        first = await begin(one, "a")
        await replicas.until(lambda: _now(decided.reached.is_set()))
        second = await begin(two, "b", budgets=ONE_DOWN)
        decided.released.set()  # it knows of no budget
        await replicas.pass_time(timedelta(minutes=1))
        running = (OperationStatus.RUNNING,)
        assert len((await world.store.operations(statuses=running, limit=9)).items) == 1
        for hold in holds:
            hold.released.set()
        for rollout in (first, second):
            assert (await over(world, replicas, rollout.id)).status is S.COMPLETED


@pytest.mark.parametrize("order", ["pause", "cancel", "approve"])
async def test_order__of_any_replica_reaches_the_controller(world: World, order: str) -> None:
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add()
        fakes = await with_hosts(world, one, "a1", "a2")
        division = Division(waves=("1", "rest"))
        wants_approval = order == "approve"
        hold = fakes[0].hold(Command.UPGRADE)
        rollout = await begin(one, division=division, approve_waves=wants_approval)
        await replicas.until(lambda: _now(hold.reached.is_set()))
        rollouts = two.engine.rollouts
        if order == "pause":
            await rollouts.pause(rollout.id, call())
        elif order == "cancel":
            await rollouts.cancel(rollout.id, call())
        hold.released.set()
        if order == "approve":

            async def asks() -> bool:
                return (await world.store.rollout(rollout.id)).status is S.AWAITING_APPROVAL

            await replicas.until(asks)
            began = world.clock.elapsed()
            await rollouts.approve(rollout.id, 1, call())
        elif order == "pause":
            await replicas.pass_time(2 * LEASE)
            assert (await world.store.rollout(rollout.id)).progress.completed == 1
            began = world.clock.elapsed()
            await rollouts.resume(rollout.id, call())
        else:
            began = world.clock.elapsed()
        ended = await over(world, replicas, rollout.id)
        # It was woken: no wait ended by its ceiling.
        assert world.clock.elapsed() - began < timedelta(seconds=45)
        completed = 1 if order == "cancel" else 2
        assert ended.progress.completed == completed
        assert [fake.count(Command.UPGRADE) for fake in fakes].count(1) == completed


async def test_rollout__hears_of_the_end_of_an_operation_that_another_replica_drove(
    world: World,
) -> None:
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add()
        (fake,) = await with_hosts(world, one, "a1")
        hold = fake.hold(Command.UPGRADE)
        rollout = await begin(one)
        await replicas.until(lambda: _now(hold.reached.is_set()))
        owner = one.engine.lease.owner
        (id,) = await world.store.owned(LeaseKind.OPERATION, owner)
        await world.store.release(LeaseKind.OPERATION, id, owner)
        (held,) = await world.store.claim(LeaseKind.OPERATION, two.engine.lease.owner, limit=9)
        await world.store.release(LeaseKind.OPERATION, id, held.owner)

        async def elsewhere() -> bool:
            return id in await world.store.owned(LeaseKind.OPERATION, two.engine.lease.owner)

        one.store.outage_of = {"claim"}
        await replicas.until(elsewhere)
        hold.released.set()
        ended = await over(world, replicas, rollout.id)
        assert ended.progress.completed == 1
        assert rollout.id not in await world.store.owned(LeaseKind.ROLLOUT, two.engine.lease.owner)


async def test_rollout__of_a_replica_that_slept_is_not_advanced_by_it(world: World) -> None:
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add()
        fakes = await with_hosts(world, one, "a1", "a2")
        decided = one.store.hold_after_read("startable")
        rollout = await begin(one)
        await replicas.until(lambda: _now(decided.reached.is_set()))
        replicas.freeze(one)
        one.store.outage_of = {"renew_replica"}
        ended = await over(world, replicas, rollout.id)
        decided.released.set()
        await replicas.pass_time(2 * LEASE)
        assert await world.store.rollout(rollout.id) == ended
        assert [fake.count(Command.UPGRADE) for fake in fakes] == [1, 1]
        members = await world.store.members(rollout.id, limit=9)
        assert {member.status for member in members.items} == {MemberStatus.COMPLETED}
        assert two.engine.lease.owner
        one.store.outage_of = set()
        replicas.thaw(one)


@pytest.mark.parametrize("number", [2, 3])
async def test_schedule__begins_one_run_whoever_is_first(world: World, number: int) -> None:
    async with replicas_of(world) as replicas:
        several = [await replicas.add() for _ in range(number)]
        await with_hosts(world, several[0], "a1")
        hourly = ScheduleRequest(
            name="hourly",
            cron="30 * * * *",
            rollout=RolloutSpec(filter=HostFilter()),
        )
        await several[-1].engine.schedules.create(hourly, call())
        await replicas.pass_time(timedelta(hours=3, minutes=5))
        found = await world.store.rollouts(limit=9)
        assert len(found.items) == 3
        assert {rollout.status for rollout in found.items} == {S.COMPLETED}


async def _now(value: bool) -> bool:
    return value
