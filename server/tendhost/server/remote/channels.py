"""Channels of one SSH connection: as many at the same time as the host allows, which only a refusal tells.

sshd_config(5), MaxSessions: 10 by default, 1 on many hardened hosts, 0 for none. A refused channel says nothing
about the link. So a refused command waits until another one of the connection has ended, and from then on there
are never more at the same time than were open then.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

TRIES_ALONE = 3
"""Channels that are asked for while no other is open. sshd frees a channel a little after it has closed it."""


class Refused(Exception):
    """The host opened no channel, and so has executed nothing. The cause says more."""


class Channels:
    """How many channels are open, and how many may be."""

    def __init__(self) -> None:
        self._open = 0
        self._most: int | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of `attempt`, which opens a channel, raises Refused if it gets none, and is then repeated.

        Raises Refused where the host opens none although no other is open.
        """
        alone = 0
        while True:
            await self._room()
            self._open += 1
            try:
                return await attempt()
            except Refused:
                others = self._open - 1
                if others:
                    self._most = min(others, self._most or others)
                    alone = 0
                else:
                    alone += 1
                if alone == TRIES_ALONE:
                    raise
            finally:
                self._open -= 1
                self._call_next()

    async def _room(self) -> None:
        while self._most is not None and self._open >= self._most:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                else:
                    self._call_next()  # instead of this one
                raise

    def _call_next(self) -> None:
        if self._waiting:
            self._waiting.popleft().set_result(None)
