"""Duties that no other replica wants, for what is tested without an engine."""

from typing import cast

from tendhost.server.domain.leases import Replica
from tendhost.server.engine.duties import Duties
from tendhost.server.engine.replica import ReplicaLease
from tendhost.server.store.protocol import Store
from tests.unit.engine.world import World


async def duties_of(world: World) -> Duties:
    """The duties of a replica that is alone."""
    store = cast(Store, world.store)
    replica = Replica(id="", started_at=world.clock.now())
    lease = ReplicaLease(store=store, clock=world.clock, replica=replica, length=None)
    await lease.enter()
    return Duties(store=store, lease=lease, clock=world.clock)
