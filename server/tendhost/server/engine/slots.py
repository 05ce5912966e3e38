"""How many operations run side by side, and who gives way to whom."""

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Self


class Slot:
    """One operation's place among those that may run, held as long as the context lasts."""

    def __init__(self, places: asyncio.Semaphore | None) -> None:
        """`places` None: it needs none, for it has been running long before this server did."""
        self._places = places
        self._held = False

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

    async def lent(self, waiting: Awaitable[None]) -> None:
        """Leave the place to another operation as long as `waiting` takes."""
        self._give()
        await waiting
        await self._take()

    async def _take(self) -> None:
        if self._places is not None:
            await self._places.acquire()
            self._held = True

    def _give(self) -> None:
        if self._places is not None and self._held:
            self._held = False
            self._places.release()
