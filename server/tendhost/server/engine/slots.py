"""How many operations run side by side, and who gives way to whom."""

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Self


class Places:
    """The places of a server: so many for hosts that answer, and as many for those that did not.

    A host that is dark holds its place until the attempt to reach it is given up, for many seconds. With places
    of their own, any number of such hosts does not keep the others waiting.
    """

    def __init__(self, number: int) -> None:
        self.answering = asyncio.Semaphore(number)
        self.doubtful = asyncio.Semaphore(number)


class Slot:
    """One operation's place among those that may run, held as long as the context lasts."""

    def __init__(self, places: Places | None, *, doubtful: bool = False) -> None:
        """`places` None: it needs none, for it has been running long before this server did."""
        self._places = places
        self._doubtful = doubtful
        self._held: asyncio.Semaphore | None = None

    async def __aenter__(self) -> Self:
        await self._take()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._give()

    async def lent(self, waiting: Awaitable[None], *, doubtful: bool) -> None:
        """Leave the place to another operation as long as `waiting` takes.

        `doubtful`: the host did not answer, so the next place is one of those for such hosts.
        """
        self._give()
        self._doubtful = doubtful
        await waiting
        await self._take()

    async def _take(self) -> None:
        if self._places is not None:
            wanted = self._places.doubtful if self._doubtful else self._places.answering
            await wanted.acquire()
            self._held = wanted

    def _give(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.release()
