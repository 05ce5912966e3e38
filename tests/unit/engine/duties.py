"""Duties that no other replica wants, for what is tested without an engine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from tendhost.server.domain.leases import Replica
from tendhost.server.engine.duties import Duties
from tendhost.server.engine.replica import ReplicaLease
from tendhost.server.store.protocol import Store
from tests.unit.engine.world import World


@asynccontextmanager
async def duties_of(world: World) -> AsyncIterator[Duties]:
    """The duties of a replica that is alone, and leaves them when the context ends."""
    store = cast(Store, world.store)
    replica = Replica(id="", started_at=world.clock.now())
    lease = ReplicaLease(store=store, clock=world.clock, replica=replica, length=None)
    await lease.enter()
    try:
        yield Duties(store=store, lease=lease, clock=world.clock)
    finally:
        await lease.leave()
