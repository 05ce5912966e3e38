"""What a replica keeps in memory follows the commits of the others: policies, tokens, the order of ids."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tendhost.server.domain.access.roles import Role
from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.hosts.group_policy_change import GroupPolicyChange
from tendhost.server.domain.hosts.reconfiguration import Reconfiguration
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.policy.freezes import FreezePeriod
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.domain.request_errors import CredentialInvalid
from tendhost.server.domain.rollouts.rollout import RolloutSpec
from tests.unit.engine.fake_clock import START
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.replicas import Replica, Replicas, replicas_of
from tests.unit.engine.world import World, call

K, S = OperationKind, OperationStatus
HOUR = timedelta(hours=1)
LATER = MaintenanceWindow(
    start=(START + 2 * HOUR).time().replace(microsecond=0), end=(START + 4 * HOUR).time()
)
"""Opens two hours after the world began."""


async def with_update(world: World, replica: Replica, **config: Any) -> FakeHost:
    world.use(replica.engine)
    fake = await world.register("web1", **config)
    fake.pending = {"web": Pending()}
    return fake


async def say(replica: Replica, **policy: Any) -> None:
    """Set the policy of a group or the fleet on a replica."""
    change = GroupPolicyChange(given=GroupPolicy(**policy))
    await replica.engine.policies.change(change, call())


async def freeze(world: World, replica: Replica) -> None:
    """Set a freeze of the fleet on a replica."""
    now = world.clock.now()
    period = FreezePeriod(name="holidays", starts_at=now, ends_at=now + HOUR, reason="holidays")
    await say(replica, group="", freezes=(period,))


async def over(world: World, replicas: Replicas, id: str) -> int:
    """Number of completed hosts of a rollout once it is over."""

    async def ended() -> bool:
        return bool((await world.store.rollout(id)).over)

    await replicas.until(ended)
    return int((await world.store.rollout(id)).progress.completed)


async def test_freeze__that_another_replica_sets_stops_an_update_before_its_transaction(
    world: World,
) -> None:
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add()
        fake = await with_update(world, one)
        hold = fake.hold(Command.QUERY)
        id = await one.start(K.UPDATE)
        await replicas.until(lambda: _now(hold.reached.is_set()))
        await freeze(world, two)
        await world.go_on_at_once()
        hold.released.set()
        await replicas.ended(id)
        ended = await world.store.operation(id)
        assert ended.problem is not None
        assert ended.problem.reason == "WINDOW_CLOSED"
        assert fake.count(Command.UPGRADE) == 0


@pytest.mark.parametrize("deaf", [False, True])
async def test_freeze__that_another_replica_sets_while_a_host_is_admitted_lets_it_wait(
    world: World, deaf: bool
) -> None:
    """Also where nothing was heard of it: the transaction in which the host begins compares."""
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(deaf=deaf), await replicas.add()
        fake = await with_update(world, two)
        decided = one.store.hold_after_read("startable")
        spec = RolloutSpec(filter=HostFilter())
        rollout = await one.engine.rollouts.start(spec, call())
        await replicas.until(lambda: _now(decided.reached.is_set()))
        await freeze(world, two)
        decided.released.set()
        await replicas.pass_time(timedelta(minutes=10))
        assert fake.ran == []
        assert await over(world, replicas, rollout.id) == 1


@pytest.mark.parametrize("whose", ["host", "group"])
async def test_window__that_another_replica_opens_wakes_the_hosts_that_wait_for_it(
    world: World, whose: str
) -> None:
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add()
        await with_update(world, two, groups=("db",))
        await say(two, group="db", windows=(LATER,))
        spec = RolloutSpec(filter=HostFilter())
        rollout = await one.engine.rollouts.start(spec, call())
        await replicas.pass_time(timedelta(minutes=2))
        assert (await world.store.rollout(rollout.id)).progress.waiting == 1
        if whose == "group":
            await two.engine.policies.delete("db", call())
        else:
            host = await world.store.host("web1")
            config = host.config
            wish = Reconfiguration(name="web1", config=replace(config, groups=()), mask=("groups",))
            await two.engine.registry.reconfigure(wish, call())
        began = world.clock.elapsed()
        assert await over(world, replicas, rollout.id) == 1
        assert world.clock.elapsed() - began < timedelta(seconds=45)


async def test_token__of_another_replica_is_known_within_a_lease_and_so_is_its_deletion(
    world: World,
) -> None:
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add()
        new = await two.engine.tokens.create(
            principal="ci", description="", roles=(Role.VIEWER,), expires_at=None, call=call()
        )
        await replicas.pass_time(timedelta(seconds=6))
        assert one.engine.tokens.recognised(new.text).principal == "ci"
        await one.engine.tokens.delete(new.token.id, call())
        await replicas.pass_time(timedelta(seconds=6))
        with pytest.raises(CredentialInvalid):
            two.engine.tokens.recognised(new.text)


@pytest.mark.parametrize("off", [-HOUR, HOUR])
async def test_queue__is_in_the_order_of_requests_although_the_clocks_differ(
    world: World, off: timedelta
) -> None:
    async with replicas_of(world) as replicas:
        one, two = await replicas.add(), await replicas.add(off=off)
        fake = await with_update(world, one)
        hold = fake.hold(Command.UNITS)
        asked = [await one.start(K.CHECK)]
        await replicas.until(lambda: _now(hold.reached.is_set()))
        for replica in (two, one, two, one):
            world.use(replica.engine)
            asked.append((await world.start(K.QUERY, queue=True)).id)
        assert asked == sorted(asked)
        hold.released.set()
        for id in asked:
            await replicas.ended(id)
        operations = [await world.store.operation(id) for id in asked]
        began = [operation.revision for operation in operations]
        assert began == sorted(began)


async def _now(value: bool) -> bool:
    return value
