"""Retention: how long history is kept, and the loop that drops older history."""

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from tendhost.server.clock import Clock
from tendhost.server.domain.clock_trust import ClockTrust, slack_of
from tendhost.server.engine.duties import HeldDuty
from tendhost.server.engine.waiting import repeat_every
from tendhost.server.store.protocols.events import EventLog
from tendhost.server.store.protocols.maintenance import RetentionStore

logger = logging.getLogger(__name__)

INTERVAL = timedelta(hours=1)
REQUESTS_KEPT = timedelta(hours=24)
"""How long a request that is sent again gets the answer that it got before, at least: time in which no server
runs is not counted."""
BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


class HistoryStore(RetentionStore, EventLog, Protocol):
    """History, and the events that date it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How much history is kept. What is unfinished is kept whatever its age."""

    history: timedelta = timedelta(days=90)
    """Ended operations and rollouts, logs and events that are older are dropped."""
    events: int = 1_000_000
    """Of all events at most the newest so many stay."""


class Pruner:
    """Drops what is older than `retention` says, unless the date is in doubt: see domain/clock_trust."""

    def __init__(self, *, store: HistoryStore, clock: Clock, retention: Retention) -> None:
        self._store = store
        self._clock = clock
        self._retention = retention
        self._looked_at: timedelta | None = None
        self.held_up = ""
        """Why this replica prunes nothing at present; empty: it prunes, or another one has the duty."""

    async def run(self, duty: HeldDuty) -> None:
        """Prune at once and then every INTERVAL, until cancelled."""
        # After a failure the next round tries again: that history grows meanwhile takes nothing else down.
        self._looked_at = None  # another replica may have looked since

        async def prune() -> None:
            duty.require()
            await self._prune()

        failed = "history was not pruned"
        await repeat_every(INTERVAL, prune, clock=self._clock, logger=logger, failed=failed)

    async def problem(self) -> str:
        """Why nothing is pruned at present, whichever replica prunes; empty: history is pruned."""
        trust = await self._store.clock_trust()
        return self.held_up or (trust.doubt if trust is not None else "")

    async def _prune(self) -> None:
        now, elapsed = self._clock.now(), self._clock.elapsed()
        passed = timedelta() if self._looked_at is None else elapsed - self._looked_at
        former = await self._store.clock_trust() or await self._unknown(now)
        trust = former.looked(now, passed=passed, slack=slack_of(self._retention.history))
        current = (await self._store.log_bounds()).current
        aging = former.aging.looked(current, passed=passed, kept=REQUESTS_KEPT)
        await self._store.save_clock_trust(replace(trust, aging=aging))
        self._looked_at = elapsed
        if trust.doubt and not self.held_up:
            logger.warning(trust.doubt, extra={"now": str(now), "expected": str(trust.expected)})
        self.held_up = trust.doubt
        dropped = await self._store.prune(
            before=BEFORE_ALL if trust.doubted else now - self._retention.history,
            now=now,
            requests_before=aging.older_than(REQUESTS_KEPT),
            keep_events=self._retention.events,
        )
        if dropped:
            logger.info("history was pruned", extra={"rows": dropped})

    async def _unknown(self, now: datetime) -> ClockTrust:
        """The first record of the date in a new database: the time of its newest event."""
        newest = (await self._store.log_bounds()).current
        events = await self._store.events(after=newest - 1, limit=1)
        at = events[-1].at if events else now
        return ClockTrust(expected=at, seen=at)
