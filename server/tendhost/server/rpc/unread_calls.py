"""Calls whose message has not arrived: nothing is known of their callers but the address, so both their time and their
number have a bound.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any

import grpc

from tendhost.server.clock import Clock
from tendhost.server.domain.request_errors import MessageOverdue, TooManyCalls
from tendhost.server.engine.tasks import TaskSet
from tendhost.server.rpc.aborting import abort
from tendhost.server.rpc.authentication import UNIX, address_of

LONGEST = timedelta(seconds=30)
"""A call whose message arrives later is ended; looked at every LOOK_EVERY."""
LOOK_EVERY = timedelta(seconds=10)
MOST = 2_000
"""Of one address. The owner of the unix socket, who could stop the server as well, has no such bound."""


class UnreadCalls:
    """Reads the message of every call."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._numbers = count()
        self._unread: dict[int, tuple[timedelta, str, Any]] = {}
        """Since when, the method, and the context of each call, in their order."""
        self._of: Counter[str] = Counter()
        self._looking: asyncio.Task[None] | None = None
        self._tasks: TaskSet[None] = TaskSet()

    async def close(self) -> None:
        """End no further calls."""
        await self._tasks.cancel()

    async def message(self, method: str, context: Any) -> Any:
        """The next message of the call, or grpc.aio.EOF.

        Raises TooManyCalls where MOST calls of its address wait for theirs; after LONGEST the call is ended.
        """
        address = address_of(context)
        if self._of[address] >= MOST and address != UNIX:
            raise TooManyCalls(principal=address, what="calls without their message", limit=MOST)
        number = next(self._numbers)
        self._unread[number] = (self._clock.elapsed(), method, context)
        self._of[address] += 1
        if self._looking is None or self._looking.done():
            self._looking = self._tasks.start(self._look())
        try:
            return await context.read()
        finally:
            del self._unread[number]
            self._of[address] -= 1
            if not self._of[address]:
                del self._of[address]

    async def _look(self) -> None:
        # One look at all of them, and not a timer of each: nearly every message comes with its call.
        while self._unread:
            await self._clock.sleep(LOOK_EVERY)
            latest = self._clock.elapsed() - LONGEST
            for since, method, context in tuple(self._unread.values()):
                if since > latest:
                    break
                self._tasks.start(_end(method, context))


async def _end(method: str, context: Any) -> None:
    # Its read is not cancelled, since gRPC would still write to what it reads into: it ends with the call.
    with suppress(grpc.aio.AbortError):
        await abort(method, MessageOverdue(seconds=LONGEST.seconds), context)
