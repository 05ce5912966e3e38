"""The end of a log in memory: its readers are woken by it."""

import asyncio
from datetime import timedelta

from tendhost.server.clock import wait_for


class Tail:
    """The number of the last entry of a log: of an audit record, or the revision of an event."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._news = asyncio.Event()

    def reach(self, number: int) -> None:
        """Note an entry that was committed, and wake those that wait for one."""
        if number > self.number:
            self.number = number
            news, self._news = self._news, asyncio.Event()
            news.set()

    async def wait_beyond(self, number: int, timeout: timedelta) -> int:
        """The number of the last entry, once it exceeds `number` or `timeout` has passed."""
        await wait_for(self._exceeds(number), timeout=timeout)
        return self.number

    async def _exceeds(self, number: int) -> None:
        while self.number <= number:
            await self._news.wait()
