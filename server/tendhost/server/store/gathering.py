"""Gathers works that are handed in at about the same time, so that they share one transaction."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.store.records import Unstorable
from tendhost.server.store.session import DatabaseSession

T = TypeVar("T")

LARGEST_GROUP = 256
"""Works in one commit at most, so that none waits for all of a flood."""
LINGER_TURNS = 4
"""Where several writers meet, more of them are waited for during so many turns of the event loop. On an
idle loop that is no time at all; on a busy one, where commits cost most, they become fewer."""


@dataclass(slots=True)
class Work:
    """What a caller has handed in, and what became of it."""

    work: Callable[[DatabaseSession], Any]
    done: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None

    def fail(self, error: Exception) -> None:
        """Note that `work` raised `error`, a fault of its own and of nobody else."""
        self.error = error if isinstance(error, TendhostError) else Unstorable(error)

    def answer(self) -> None:
        """Tell the caller."""
        if self.done.cancelled():
            return
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.result)


def refuse(group: Sequence[Work], error: Exception, *, name: str) -> None:
    """Note that the database `name` cannot be used."""
    for job in group:
        job.error = StoreUnavailable(cause=f"{name}: {error}")
        job.error.__cause__ = error


class Gathering:
    """Hands works to the database in groups, one group at a time, each of all that have gathered meanwhile."""

    def __init__(
        self,
        hand_over: Callable[[list[Work]], None],
        when_done: Callable[[Sequence[Any]], None],
        *,
        name: str,
        when_unusable: Callable[[], None] = lambda: None,
    ) -> None:
        """`hand_over` has a group committed, and calls `deliver` with it on the event loop afterwards.

        `when_done` is called with the results of each commit, in order, and `when_unusable` whenever the
        database could not be written. `name` is how errors speak of the database.
        """
        self._hand_over_group = hand_over
        self._when_done = when_done
        self._when_unusable = when_unusable
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Work] = []
        self._scheduled = False
        self._under_way = False
        self._crowded = False
        self._closed = False

    async def submit(self, work: Callable[[DatabaseSession], T]) -> T:
        """Run `work` in a transaction of its own as far as it can tell, and commit it.

        Raises the TendhostError that `work` raised; Unstorable where it failed in any other way of its
        own; StoreUnavailable where the database cannot be written. Nothing of it is kept then. A
        caller that is cancelled does not undo it. `work` may be run again before it is committed.
        """
        if self._closed:
            raise StoreUnavailable(cause=f"{self._name} is closed")
        job = Work(work, self._loop.create_future())
        self._waiting.append(job)
        self._hand_over_soon()
        result: T = await job.done
        return result

    def close(self) -> list[Work]:
        """Take no more works; those that were handed in and are in no group yet."""
        self._closed = True
        last, self._waiting = self._waiting, []
        return last

    def deliver(self, group: list[Work]) -> None:
        """Tell everybody what became of a group, and hand over the next one."""
        self._crowded = len(group) > 1
        self._under_way = False
        self._hand_over_soon()
        try:
            if any(isinstance(job.error, StoreUnavailable) for job in group):
                self._when_unusable()
            self._when_done([job.result for job in group if job.error is None])
        finally:  # those that wait get an answer in any case
            for job in group:
                job.answer()

    def _hand_over_soon(self) -> None:
        if self._scheduled or self._under_way or not self._waiting:
            return
        self._scheduled = True
        self._loop.call_soon(self._hand_over, LINGER_TURNS if self._crowded else 0)

    def _hand_over(self, turns: int) -> None:
        if turns and len(self._waiting) < LARGEST_GROUP:
            self._loop.call_soon(self._hand_over, turns - 1)
            return
        self._scheduled = False
        group, self._waiting = self._waiting[:LARGEST_GROUP], self._waiting[LARGEST_GROUP:]
        if group:
            self._under_way = True
            self._hand_over_group(group)
