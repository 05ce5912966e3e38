"""The newest events in memory: every stream reads them, and is woken by them."""

from collections.abc import Sequence
from datetime import timedelta

from tendhost.server.domain.events import Event
from tendhost.server.store.tail import Tail

KEPT = 8192


class RecentEvents:
    """The end of the event log, without a gap, and its current revision."""

    def __init__(self, revision: int) -> None:
        self._tail = Tail(revision)
        self._events: list[Event] = []
        self._last = revision
        """Revision of the last event in memory: what lies behind it is in the database alone so far."""

    @property
    def revision(self) -> int:
        """The current revision of the log."""
        return self._tail.number

    def extend(self, events: Sequence[Event]) -> None:
        """Add events that were committed, and wake those that wait for them."""
        if events[0].revision > self._last + 1:
            self._events.clear()  # there is a gap before them
            self._last = events[0].revision - 1
        self._events.extend(event for event in events if event.revision > self._last)
        self._last = max(self._last, events[-1].revision)
        if len(self._events) > 2 * KEPT:
            del self._events[:-KEPT]
        self._tail.reach(self._last)

    def reach(self, revision: int) -> None:
        """Note what the database has reached; events that were not added are read from there."""
        self._tail.reach(revision)

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
        return await self._tail.wait_beyond(revision, timeout)
