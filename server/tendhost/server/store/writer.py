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
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the writer's connection and commit it.

        Raises what `work` raised, in which case nothing of it is kept, or StoreUnavailable. A caller
        that is cancelled does not undo it.
        """
        job = _Job(work, self._loop.create_future())
        self._jobs.put(job)
        result: T = await job.done
        return result

    async def aclose(self) -> None:
        """Finish what was handed in and close the connection."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while True:
            group, last = self._gathered()
            if group:
                self._commit(group)
                self._loop.call_soon_threadsafe(self._deliver, group)
            if last:
                self._database.close()
                return

    def _gathered(self) -> tuple[list[_Job], bool]:
        job = self._jobs.get()
        group: list[_Job] = []
        while job is not None:
            group.append(job)
            if len(group) == LARGEST_GROUP or self._jobs.empty():
                return group, False
            job = self._jobs.get()
        return group, True

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
        self._when_done([job.result for job in group if job.error is None])
        for job in group:
            if job.done.cancelled():
                continue
            if job.error is not None:
                job.done.set_exception(job.error)
            else:
                job.done.set_result(job.result)
