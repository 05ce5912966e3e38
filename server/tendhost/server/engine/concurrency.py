"""Limits how many operations run at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from tendhost.server.clock import Clock
from tendhost.server.engine.waiting import CEILING


class OperationLimits:
    """The pools of slots: one for hosts that answer, and one of the same size for hosts that did not.

    An operation on an unreachable host holds its slot until the attempt to connect fails, for many seconds. With
    a pool of their own, any number of unreachable hosts does not keep the others waiting.
    """

    def __init__(self, number: int) -> None:
        self.reachable_pool = asyncio.Semaphore(number)
        self.unreachable_pool = asyncio.Semaphore(number)


class Slot:
    """One operation's slot, held as long as the context lasts."""

    def __init__(
        self,
        limits: OperationLimits,
        *,
        clock: Clock,
        waits: bool = True,
        unreachable: bool = False,
    ) -> None:
        """`waits` False: the operation runs without a slot if none is free, for it has been at work on its host
        since before this server started. `unreachable`: the host did not answer when it was last asked."""
        self._limits = limits
        self._clock = clock
        self._check: Callable[[], Awaitable[None]] | None = None
        self._stop: asyncio.Event | None = None
        self._waits = waits
        self._unreachable = unreachable
        self._held: asyncio.Semaphore | None = None

    def check_while_waiting(self, check: Callable[[], Awaitable[None]]) -> None:
        """Call `check` every CEILING during a wait; it ends the wait by raising."""
        self._check = check

    def stop_waiting_on(self, stop: asyncio.Event) -> None:
        """Wait for the first slot until `stop` at most, and run without one then."""
        self._stop = stop

    async def __aenter__(self) -> Self:
        await self._take(self._stop)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    async def released_while(
        self, waiting: Awaitable[None], *, unreachable: bool, stop: asyncio.Event | None
    ) -> None:
        """Release the slot to another operation while `waiting` runs, and take one again.

        `unreachable`: the host did not answer, so the next slot is from the pool for such hosts. The wait for it
        ends at `stop`; None: when there is one.
        """
        self._release()
        self._unreachable = unreachable
        await waiting
        await self._take(stop)

    async def _take(self, stop: asyncio.Event | None) -> None:
        if stop is not None and stop.is_set():
            return
        wanted = self._limits.unreachable_pool if self._unreachable else self._limits.reachable_pool
        if wanted.locked():
            if not self._waits:
                return
            if not await self._wait_for(wanted, stop or asyncio.Event()):
                return
        else:
            await wanted.acquire()
        self._held = wanted

    async def _wait_for(self, wanted: asyncio.Semaphore, stop: asyncio.Event) -> bool:
        """Whether there was a slot before `stop` was set."""
        # One wait throughout, for a new one would begin at the end of the queue.
        acquiring = asyncio.ensure_future(wanted.acquire())
        stopped = asyncio.ensure_future(stop.wait())
        try:
            while not acquiring.done():
                if stopped.done():
                    acquiring.cancel()
                    await asyncio.gather(acquiring, return_exceptions=True)
                    return not acquiring.cancelled()
                sleeping = asyncio.ensure_future(self._clock.sleep(CEILING))
                try:
                    await asyncio.wait(
                        (acquiring, stopped, sleeping), return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    sleeping.cancel()
                if self._check is not None and not (acquiring.done() or stopped.done()):
                    await self._check()
        except BaseException:
            acquiring.cancel()
            await asyncio.gather(acquiring, return_exceptions=True)
            if not acquiring.cancelled():
                wanted.release()
            raise
        finally:
            stopped.cancel()
        return True

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.release()
