"""Leases: which replica drives an operation, a rollout or a duty, for how long it may, and how it loses that.

A replica is one running server. It has one lease, which covers all that it drives and ends by the database's
clock unless it is renewed. What is driven names its owner and an epoch, which rises whenever an owner takes
it. Every write of an owner is compared with both, so whoever lost something changes nothing of it any more.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

LEASE = timedelta(seconds=15)
"""How long a replica that died keeps what it drove. Kubernetes' leases of control planes take as long."""
RENEWALS = 3
"""Renewals in one lease: two of them may fail."""
RESERVE = 5
"""An owner stops this part of a lease before its end: time to end what is under way, and for clocks whose
speeds differ."""
FIRST_EPOCH = 1
"""Epoch of what is taken for the first time."""


class LeaseKind(StrEnum):
    """What a lease is held of."""

    OPERATION = "operation"
    ROLLOUT = "rollout"
    DUTY = "duty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a replica drives: proof that it may write about it."""

    kind: LeaseKind
    id: str
    owner: str
    """Id of the replica."""
    epoch: int

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One running server, as the database knows it."""

    id: str
    """A fresh one for each process, and for each lease that follows one that ended."""
    name: str = ""
    """How people call it; empty: it has no name."""
    labels: tuple[str, ...] = ()
    """KEY=VALUE."""
    version: str = ""
    started_at: datetime
    """By the clock of its machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """What a replica knows of its own lease, by its monotonic clock alone.

    The database begins a lease when a request arrives, and the replica counts from when it sent the
    request, so the replica's lease never ends later than the database's.
    """

    replica: str
    """Id."""
    length: timedelta | None
    """Of a lease; None: it does not end, for no other process can open the database."""
    until: timedelta = timedelta.max
    """Reading of the monotonic clock up to which the lease is certain."""

    @classmethod
    def begun(cls, replica: str, length: timedelta | None, sent_at: timedelta) -> "Tenure":
        """The lease that a request brought which was sent at `sent_at`."""
        return cls(replica=replica, length=length).renewed(sent_at)

    def renewed(self, sent_at: timedelta) -> "Tenure":
        """The lease after a renewal that was sent at `sent_at` and succeeded."""
        if self.length is None:
            return self
        until = sent_at + self.length - self.length / RESERVE
        return replace(self, until=until)

    def certain(self, elapsed: timedelta) -> bool:
        """Whether no other replica can have taken anything at `elapsed`."""
        return elapsed < self.until

    @property
    def pause(self) -> timedelta | None:
        """Time between two renewals; None: there are none."""
        return None if self.length is None else self.length / RENEWALS
