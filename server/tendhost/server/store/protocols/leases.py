"""Leases of replicas: which servers are alive, and which of them drives what."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from tendhost.server.domain.leases import Held, LeaseKind, Replica


class LeaseStore(Protocol):
    """Replicas and what they drive. The database's clock alone decides when a lease ends."""

    async def enter_replica(self, replica: Replica, *, lease: timedelta | None) -> None:
        """Begin the lease of a replica; None: one that does not end."""
        ...

    async def renew_replica(self, replica: str, *, lease: timedelta) -> bool:
        """Begin the lease of a replica again; False: it has ended, and the replica may hold nothing any more."""
        ...

    async def leave_replica(self, replica: str) -> None:
        """End the lease of a replica at once: what it drove is free."""
        ...

    async def replicas(self) -> Sequence[tuple[Replica, timedelta]]:
        """Every replica with what is left of its lease, by name; not above zero: it has ended."""
        ...

    async def claim(self, kind: LeaseKind, replica: str, *, limit: int) -> Sequence[Held]:
        """Take at most `limit` of what is to be driven and is free: it has no owner, or one whose lease has ended.

        In the order of ids. Raises LeaseLost where the lease of `replica` itself has ended.
        """
        ...

    async def claim_duty(self, duty: str, replica: str) -> Held | None:
        """Take a duty, which need not be known before; None: another replica has it. Raises LeaseLost."""
        ...

    async def owned(self, kind: LeaseKind, replica: str) -> frozenset[str]:
        """Ids of what is to be driven and `replica` owns."""
        ...

    async def release(self, kind: LeaseKind, id: str, replica: str) -> None:
        """Free what `replica` owns; nothing happens where it does not."""
        ...
