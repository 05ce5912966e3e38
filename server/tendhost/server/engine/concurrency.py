"""How many operations run side by side, and who gives way to whom."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from tendhost.server.clock import Clock
from tendhost.server.engine.waiting import CEILING


class OperationLimits:
    """The places of a server: so many for hosts that answer, and as many for those that did not.

    A host that is dark holds its place until the attempt to reach it is given up, for many seconds. With places
    of their own, any number of such hosts does not keep the others waiting.
    """

    def __init__(self, number: int) -> None:
        self.answering = asyncio.Semaphore(number)
        self.unreachable = asyncio.Semaphore(number)


class Slot:
    """One operation's place among those that may run, held as long as the context lasts."""

    def __init__(
        self,
        places: OperationLimits,
        *,
        clock: Clock,
        waits: bool = True,
        unreachable: bool = False,
    ) -> None:
        """`waits` False: it takes a place that is free and goes on without one where none is, for its
        operation has been at work on its host long before this server was."""
        self._places = places
        self._clock = clock
        self._look: Callable[[], Awaitable[None]] | None = None
        self._call: asyncio.Event | None = None
        self._waits = waits
        self._doubtful = unreachable
        self._held: asyncio.Semaphore | None = None

    def on_look(self, look: Callable[[], Awaitable[None]]) -> None:
        """Call `look` every CEILING while it waits; it ends the wait by raising."""
        self._look = look

    def until(self, call: asyncio.Event) -> None:
        """Wait for the first place until `call` at most, and go on without one then."""
        self._call = call

    async def __aenter__(self) -> Self:
        await self._take(self._call)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._give()

    async def released_while(
        self, waiting: Awaitable[None], *, unreachable: bool, call: asyncio.Event | None
    ) -> None:
        """Leave the place to another operation as long as `waiting` takes.

        `doubtful`: the host did not answer, so the next place is one of those for such hosts. It is waited
        for until `call` at most; None: without end.
        """
        self._give()
        self._doubtful = unreachable
        await waiting
        await self._take(call)

    async def _take(self, call: asyncio.Event | None) -> None:
        if call is not None and call.is_set():
            return
        wanted = self._places.unreachable if self._doubtful else self._places.answering
        if wanted.locked():
            if not self._waits:
                return
            if not await self._waited_for(wanted, call or asyncio.Event()):
                return
        else:
            await wanted.acquire()
        self._held = wanted

    async def _waited_for(self, wanted: asyncio.Semaphore, call: asyncio.Event) -> bool:
        """Whether it got the place before it was called."""
        # One and the same wait throughout, for a new one would begin at the end of the line.
        acquiring = asyncio.ensure_future(wanted.acquire())
        called = asyncio.ensure_future(call.wait())
        try:
            while not acquiring.done():
                if called.done():
                    acquiring.cancel()
                    await asyncio.gather(acquiring, return_exceptions=True)
                    return not acquiring.cancelled()
                sleeping = asyncio.ensure_future(self._clock.sleep(CEILING))
                try:
                    await asyncio.wait(
                        (acquiring, called, sleeping), return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    sleeping.cancel()
                if self._look is not None and not (acquiring.done() or called.done()):
                    await self._look()
        except BaseException:
            acquiring.cancel()
            await asyncio.gather(acquiring, return_exceptions=True)
            if not acquiring.cancelled():
                wanted.release()
            raise
        finally:
            called.cancel()
        return True

    def _give(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.release()
