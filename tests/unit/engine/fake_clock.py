"""A clock that stands still until a test moves it."""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

MOMENT = timedelta(milliseconds=100)
"""Sleeps that are shorter pass by themselves: nothing that a test looks at happens in so little time."""


class FakeClock:
    """Sleepers wake when the time that they asked for has been reached, in its order."""

    def __init__(self) -> None:
        self._now = START
        self._off = timedelta()
        self._order = count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """See Clock."""
        return self._now + self._off

    def elapsed(self) -> timedelta:
        """See Clock."""
        return self._now - START

    async def sleep(self, duration: timedelta) -> None:
        """See Clock."""
        if duration < MOMENT:
            await asyncio.sleep(0)
            return
        waking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + duration, next(self._order), waking))
        await waking

    def set_off(self, by: timedelta) -> None:
        """Put the date, and nothing but the date, so far ahead of the time that has passed."""
        self._off = by

    def advance(self, duration: timedelta) -> None:
        """Let this much time pass at once."""
        self._now += duration
        self._wake()

    def advance_to_next(self, *, within: timedelta) -> None:
        """Let time pass until the next sleeper wakes, unless that is further off than `within`."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)  # it was cancelled
        if self._sleepers and self._sleepers[0][0] - self._now <= within:
            self._now = max(self._now, self._sleepers[0][0])
            self._wake()

    def _wake(self) -> None:
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, waking = heapq.heappop(self._sleepers)
            if not waking.done():
                waking.set_result(None)
