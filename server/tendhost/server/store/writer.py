"""The one thread that writes to SQLite: whatever has gathered goes into one commit."""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tendhost.server.domain.errors import StoreUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

LARGEST_GROUP = 256
"""Jobs in one commit at most, so that none waits for all of a flood."""
LINGER_SECONDS = 0.003
"""Where several writers meet, so long is waited for more of them: a commit costs more than this. A lone
writer never waits."""


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    done: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs jobs one after the other, each in a transaction of its own as far as it can tell."""

    def __init__(
        self, database: sqlite3.Connection, when_done: Callable[[Sequence[Any]], None]
    ) -> None:
        """`when_done` is called on the event loop with the results of each commit, in order."""
        self._database = database
        self._when_done = when_done
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Job] = []
        self._scheduled = False
        self._under_way = 0
        self._crowded = False
        self._groups: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the writer's connection and commit it.

        Raises what `work` raised, in which case nothing of it is kept, or StoreUnavailable. A caller
        that is cancelled does not undo it.
        """
        job = _Job(work, self._loop.create_future())
        self._waiting.append(job)
        self._hand_over_soon()
        result: T = await job.done
        return result

    async def aclose(self) -> None:
        """Finish what was handed in and close the connection."""
        if self._waiting:
            self._groups.put(self._waiting)
            self._waiting = []
        self._groups.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_over_soon(self) -> None:
        if self._scheduled or self._under_way or not self._waiting:
            return
        self._scheduled = True
        if self._crowded:
            self._loop.call_later(LINGER_SECONDS, self._hand_over)
        else:
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._scheduled = False
        group, self._waiting = self._waiting[:LARGEST_GROUP], self._waiting[LARGEST_GROUP:]
        if group:
            self._under_way = len(group)
            self._groups.put(group)

    def _run(self) -> None:
        while (group := self._groups.get()) is not None:
            self._commit(group)
            self._loop.call_soon_threadsafe(self._deliver, group)
        self._database.close()

    def _commit(self, group: list[_Job]) -> None:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            for job in group:
                self._perform(job)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            logger.exception("a commit failed")
            unavailable = StoreUnavailable(cause=str(error))
            unavailable.__cause__ = error
            for job in group:
                job.error = unavailable
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")

    def _perform(self, job: _Job) -> None:
        self._database.execute("SAVEPOINT job")
        try:
            job.result = job.work(self._database)
        except sqlite3.OperationalError:
            raise  # the database is in trouble, and so is everybody in the group
        except Exception as error:
            job.error = error
            self._database.execute("ROLLBACK TO job")
        self._database.execute("RELEASE job")

    def _deliver(self, group: list[_Job]) -> None:
        self._crowded = len(group) > 1
        self._under_way = 0
        self._hand_over_soon()
        self._when_done([job.result for job in group if job.error is None])
        for job in group:
            if job.done.cancelled():
                continue
            if job.error is not None:
                job.done.set_exception(job.error)
            else:
                job.done.set_result(job.result)
