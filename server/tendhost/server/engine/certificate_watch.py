"""Watches when the server's certificates expire, and tells people in time."""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol, TypeAlias

from tendhost.server.clock import Clock
from tendhost.server.domain.access.certificate_expiry import (
    CertificateExpiry,
    ToldExpiries,
    step_of,
)
from tendhost.server.domain.events import CertificateExpiring, Event
from tendhost.server.engine.requests import retried_on_conflict
from tendhost.server.engine.waiting import repeat_every
from tendhost.server.store.protocols.commits import CommitStore
from tendhost.server.store.protocols.maintenance import CertificateStore
from tendhost.server.store.records import Change
from tendhost.server.threads import DaemonThreads

logger = logging.getLogger(__name__)

INTERVAL = timedelta(hours=1)
"""Between two readings, so that `tendhost info` shows a renewed certificate soon."""

ReadExpiries: TypeAlias = Callable[[], Sequence[CertificateExpiry]]
"""Reads the certificates that are in use now."""


class ExpiryStore(CertificateStore, CommitStore, Protocol):
    """Events, and what they have told of certificates."""


class CertificateWatch:
    """Reads the certificates at the start and every INTERVAL."""

    def __init__(self, *, store: ExpiryStore, clock: Clock, read: ReadExpiries | None) -> None:
        """`read` None: the server uses no certificate."""
        self._store = store
        self._clock = clock
        self._read = read
        self._threads = DaemonThreads(1, name="certificates")
        self._logged: frozenset[str] = frozenset()
        self.expiries: Sequence[CertificateExpiry] = ()
        """The certificates in use, as of the last reading."""

    async def keep(self) -> None:
        """Watch the certificates, until cancelled or where there are none."""
        if self._read is None:
            return
        failed = "the certificates were not looked at"
        await repeat_every(INTERVAL, self._look, clock=self._clock, logger=logger, failed=failed)

    @retried_on_conflict
    async def _look(self) -> None:
        assert self._read is not None, "there are certificates to look at"
        found = await self._threads.run(self._read)
        now = self._clock.now()
        self.expiries = tuple(expiry.judged(now) for expiry in found)
        self._log(now_problems={self._line(expiry) for expiry in self.expiries} - {""})
        stored = await self._store.told_expiries()
        due, told = (stored or ToldExpiries()).due(self.expiries, now)
        if not due:
            return
        events = [
            Event(
                at=now,
                body=CertificateExpiring(
                    use=expiry.use,
                    file=expiry.file,
                    expires_at=expiry.expires_at,
                    message=expiry.message(now),
                ),
            )
            for expiry in due
            if expiry.expires_at is not None
        ]
        # Together, so that a server that is killed in between tells it neither twice nor never; and compared, so that
        # of several replicas with the same certificate one tells it.
        change = Change(events=events, told_expiries=told, told_before=stored)
        await self._store.commit(change)

    def _line(self, expiry: CertificateExpiry) -> str:
        """What the log has of it; empty: nothing."""
        if expiry.problem:
            return f"{expiry.file}: {expiry.problem}"
        step = step_of(expiry.expires_at, self._clock.now())
        return "" if step is None else expiry.message(self._clock.now())

    def _log(self, *, now_problems: set[str]) -> None:
        for line in sorted(now_problems - self._logged):
            logger.warning("a certificate expires or cannot be used", extra={"certificate": line})
        self._logged = frozenset(now_problems)
