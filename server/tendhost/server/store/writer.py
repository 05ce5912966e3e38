"""The one thread that writes to SQLite: whatever has gathered goes into one commit."""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from tendhost.server.domain.errors import StoreUnavailable
from tendhost.server.failpoints import reached

logger = logging.getLogger(__name__)

T = TypeVar("T")

LARGEST_GROUP = 256
"""Jobs in one commit at most, so that none waits for all of a flood."""
LINGER_TURNS = 4
"""Where several writers meet, more of them are waited for during so many turns of the event loop. On an
idle loop that is no time at all; on a busy one, where commits cost most, they become fewer."""


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    done: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs jobs one after the other, each in a transaction of its own as far as it can tell."""

    def __init__(
        self,
        database: sqlite3.Connection,
        when_done: Callable[[Sequence[Any]], None],
        *,
        name: str,
    ) -> None:
        """`when_done` is called on the event loop with the results of each commit, in order.

        `name` is how errors speak of the database.
        """
        self._database = database
        self._when_done = when_done
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Job] = []
        self._scheduled = False
        self._under_way = False
        self._crowded = False
        self._closed = False
        self._groups: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the writer's connection and commit it.

        Raises what `work` raised, in which case nothing of it is kept, or StoreUnavailable. A caller
        that is cancelled does not undo it.
        """
        if self._closed:
            raise StoreUnavailable(cause=f"{self._name} is closed")
        job = _Job(work, self._loop.create_future())
        self._waiting.append(job)
        self._hand_over_soon()
        result: T = await job.done
        return result

    async def aclose(self) -> None:
        """Finish what was handed in and close the connection."""
        self._closed = True
        if self._waiting:
            self._groups.put(self._waiting)
            self._waiting = []
        self._groups.put(None)
        await asyncio.to_thread(self._thread.join)

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
            self._groups.put(group)

    def _run(self) -> None:
        while (group := self._groups.get()) is not None:
            self._commit(group)
            self._loop.call_soon_threadsafe(self._deliver, group)
        self._database.close()

    def _commit(self, group: list[_Job]) -> None:
        try:
            self._roll_back()
            self._database.execute("BEGIN IMMEDIATE")
            for job in group:
                self._perform(job)
            reached("store.before_commit")
            self._database.execute("COMMIT")
            reached("store.after_commit")
        except sqlite3.Error as error:
            logger.exception("a commit failed", extra={"database": self._name})
            with suppress(sqlite3.Error):  # the next commit tries again
                self._roll_back()
            for job in group:
                job.error = StoreUnavailable(cause=f"{self._name}: {error}")
                job.error.__cause__ = error

    def _perform(self, job: _Job) -> None:
        self._database.execute("SAVEPOINT job")
        try:
            job.result = job.work(self._database)
        except Exception as error:
            if _is_trouble(error):
                raise
            job.error = error
            self._database.execute("ROLLBACK TO job")
        self._database.execute("RELEASE job")

    def _roll_back(self) -> None:
        if self._database.in_transaction:  # some errors end it by themselves
            self._database.execute("ROLLBACK")

    def _deliver(self, group: list[_Job]) -> None:
        self._crowded = len(group) > 1
        self._under_way = False
        self._hand_over_soon()
        self._when_done([job.result for job in group if job.error is None])
        for job in group:
            if job.done.cancelled():
                continue
            if job.error is not None:
                job.done.set_exception(job.error)
            else:
                job.done.set_result(job.result)


def _is_trouble(error: Exception) -> bool:
    """Whether the database is in trouble, and so everybody in the group; else it is the job's own."""
    return type(error) is sqlite3.DatabaseError or isinstance(
        error, (sqlite3.OperationalError, sqlite3.InternalError)
    )
