"""The newest events in memory: every stream reads them, and is woken by them."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from tendhost.server.clock import wait_for
from tendhost.server.domain.events import Event

KEPT = 8192


class RecentEvents:
    """The end of the event log, without a gap, and its current revision."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self._events: list[Event] = []
        self._last = revision
        """Revision of the last event in memory: what lies behind it is in the database alone so far."""
        self._extended = asyncio.Event()

    def extend(self, events: Sequence[Event]) -> None:
        """Add events that were committed, and wake those that wait for them."""
        if events[0].revision > self._last + 1:
            self._events.clear()  # there is a gap before them
            self._last = events[0].revision - 1
        self._events.extend(event for event in events if event.revision > self._last)
        self._last = max(self._last, events[-1].revision)
        if len(self._events) > 2 * KEPT:
            del self._events[:-KEPT]
        if self._last > self.revision:
            self._reached(self._last)

    def reach(self, revision: int) -> None:
        """Note what the database has reached; events that were not added are read from there."""
        if revision > self.revision:
            self._reached(revision)

    def _reached(self, revision: int) -> None:
        self.revision = revision
        news, self._extended = self._extended, asyncio.Event()
        news.set()

    def forget(self, revision: int) -> None:
        """Drop the events up to `revision`, which were pruned."""
        if self._events:
            del self._events[: max(0, revision - self._events[0].revision + 1)]

    def after(self, revision: int, limit: int) -> Sequence[Event] | None:
        """At most `limit` events after `revision`; None where they are not in memory."""
        if revision >= self.revision:
            return ()
        if not self._events or not self._events[0].revision - 1 <= revision < self._last:
            return None
        if revision + limit > self._last < self.revision:
            return None  # more than the memory has
        first = revision - self._events[0].revision + 1
        return self._events[first : first + limit]

    async def wait_beyond(self, revision: int, timeout: timedelta) -> int:
        """The current revision, once it exceeds `revision` or `timeout` has passed."""
        await wait_for(self._exceeds(revision), timeout=timeout)
        return self.revision

    async def _exceeds(self, revision: int) -> None:
        while self.revision <= revision:
            await self._extended.wait()
