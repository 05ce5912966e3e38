"""The database itself: whether it can be used, how long history is kept, and whether it was restored."""

from datetime import datetime, timedelta
from typing import Protocol

from tendhost.server.domain.access.certificate_expiry import ToldExpiries
from tendhost.server.domain.clock_trust import ClockTrust


class StoreHealth(Protocol):
    """Whether the database can be used."""

    async def until_unusable(self, *, timeout: timedelta) -> bool:
        """Whether a write or a read has failed because the database cannot be used, since the last probe.

        Returns as soon as one has, or once `timeout` has passed. Never raises StoreUnavailable.
        """
        ...

    async def probe(self) -> None:
        """Write and read next to nothing; StoreUnavailable: the database still cannot be used."""
        ...


class RetentionStore(Protocol):
    """Dropping of old history, and what is known of the date by which it is old."""

    async def prune(
        self, *, before: datetime, now: datetime, requests_before: int, keep_events: int
    ) -> int:
        """Drop old history, and return the number of rows that were dropped.

        Ended operations with their logs, ended rollouts, audit rows and events are dropped that are older than
        `before`, answers to requests that were stored before the revision `requests_before`, and all but
        the newest `keep_events` events. What has not ended is kept whatever its age, and so are the operations
        of a rollout that has not ended. The event log only ever loses its beginning, up to the first event
        that is kept.

        Audit records that were not sent to every sink are kept for 7 days more.

        A date alone makes nothing old, for clocks go wrong: a record is dropped once the events before it
        have been dropped. One whose date lies well behind `now` in the future is dropped with those around it.
        """
        ...

    async def clock_trust(self) -> ClockTrust | None:
        """What was last known of the date; None: nothing is stored yet."""
        ...

    async def save_clock_trust(self, trust: ClockTrust) -> None:
        """Store what is known of the date."""
        ...


class CertificateStore(Protocol):
    """What is remembered of the server's own certificates."""

    async def told_expiries(self) -> ToldExpiries | None:
        """Which expiring certificates events have told of, as commits stored it; None: nothing is stored yet."""
        ...


class RestorationStore(Protocol):
    """Whether the database was restored from a copy."""

    async def restored_from(self) -> datetime | None:
        """When the copy was made that this database was restored from; None once that is settled."""
        ...
