"""The whole of a store, whichever database is behind it: one kind of write, a few reads, one wait.

Every write is a `Change`: a value that holds all that belongs together (hosts, operations, rollouts,
schedules, policies, inventory, log bytes, events, the record of the request), and that is committed as a
whole or not at all. The store numbers its events with the fleet's revision, from a counter row in the same
transaction, so that a reader of `revision > cursor` misses nothing.
"""

from typing import Protocol

from tendhost.server.store.protocols.access import AuditCursors, AuditStore, ScopeStore, TokenStore
from tendhost.server.store.protocols.commits import CommitStore, ResponseStore
from tendhost.server.store.protocols.events import EventLog, NotificationCursors
from tendhost.server.store.protocols.hosts import FleetStore, HostStore, InventoryStore
from tendhost.server.store.protocols.leases import LeaseStore
from tendhost.server.store.protocols.maintenance import (
    CertificateStore,
    RestorationStore,
    RetentionStore,
    StoreHealth,
)
from tendhost.server.store.protocols.operations import LogStore, OperationStore
from tendhost.server.store.protocols.policies import PolicyStore, ScheduleStore, SelectionStore
from tendhost.server.store.protocols.rollouts import PlanStore, RolloutStore


class Store(
    CommitStore,
    ResponseStore,
    HostStore,
    InventoryStore,
    FleetStore,
    OperationStore,
    LogStore,
    RolloutStore,
    PlanStore,
    SelectionStore,
    ScheduleStore,
    PolicyStore,
    LeaseStore,
    TokenStore,
    AuditCursors,
    AuditStore,
    ScopeStore,
    EventLog,
    NotificationCursors,
    StoreHealth,
    RetentionStore,
    RestorationStore,
    CertificateStore,
    Protocol,
):
    """What tendhost remembers. Every method raises StoreUnavailable where the database cannot be used."""

    async def aclose(self) -> None:
        """Finish the commits that were handed in, and close the database."""
        ...
