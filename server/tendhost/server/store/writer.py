"""The one thread that writes to SQLite: works that have gathered share one commit."""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.failpoints import reached
from tendhost.server.store.records import Unstorable

logger = logging.getLogger(__name__)

T = TypeVar("T")

LARGEST_GROUP = 256
"""Jobs in one commit at most, so that none waits for all of a flood."""
LINGER_TURNS = 4
"""Where several writers meet, more of them are waited for during so many turns of the event loop. On an
idle loop that is no time at all; on a busy one, where commits cost most, they become fewer."""


_TROUBLE = frozenset(
    {
        sqlite3.SQLITE_INTERNAL,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_ABORT,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_NOTADB,
    }
)
"""Primary result codes with which SQLite speaks of the database. With all others it speaks of the
statement or its values (SQLITE_ERROR, _TOOBIG, _CONSTRAINT, _MISMATCH, _MISUSE, _RANGE)."""


@dataclass(slots=True)
class _Work:
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
        when_unusable: Callable[[], None] = lambda: None,
    ) -> None:
        """`when_done` is called on the event loop with the results of each commit, in order, and
        `when_unusable` whenever the database could not be written.

        `name` is how errors speak of the database.
        """
        self._database = database
        self._when_done = when_done
        self._when_unusable = when_unusable
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Work] = []
        self._scheduled = False
        self._under_way = False
        self._crowded = False
        self._closed = False
        self._groups: queue.SimpleQueue[list[_Work] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the writer's connection and commit it.

        Raises the TendhostError that `work` raised; Unstorable where it failed in any other way of its
        own; StoreUnavailable where the database cannot be written. Nothing of it is kept then. A
        caller that is cancelled does not undo it.
        """
        if self._closed:
            raise StoreUnavailable(cause=f"{self._name} is closed")
        job = _Work(work, self._loop.create_future())
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

    def _commit(self, group: list[_Work]) -> None:
        trouble = self._written(group)
        if trouble is None:
            return
        if len(group) == 1 or trouble.everybodys:
            self._refuse(group, trouble.error)
            return
        # Whose fault it was is not known, and nobody else is to be refused for it.
        for position, job in enumerate(group):
            trouble = self._written([job])
            if trouble is None:
                continue
            self._refuse([job], trouble.error)
            if trouble.everybodys:
                self._refuse(group[position + 1 :], trouble.error)
                return

    def _written(self, group: list[_Work]) -> "_Trouble | None":
        """Commit `group`, or nothing of it; the trouble that the database is in, if it is in any."""
        begun = False
        try:
            self._roll_back()
            self._database.execute("BEGIN IMMEDIATE")
            begun = True
            for job in group:
                self._perform(job)
            reached("store.before_commit")
            self._database.execute("COMMIT")
            reached("store.after_commit")
        except Exception as error:
            logger.exception(
                "a commit failed", extra={"database": self._name, "changes": len(group)}
            )
            with suppress(sqlite3.Error):  # the next commit tries again
                self._roll_back()
            return _Trouble(error, everybodys=not begun)
        return None

    def _perform(self, job: _Work) -> None:
        job.result = job.error = None
        self._database.execute("SAVEPOINT job")
        try:
            job.result = job.work(self._database)
        except Exception as error:
            if _is_trouble(error):
                raise
            job.error = error if isinstance(error, TendhostError) else Unstorable(error)
            self._database.execute("ROLLBACK TO job")
        self._database.execute("RELEASE job")

    def _refuse(self, group: list[_Work], error: Exception) -> None:
        for job in group:
            job.error = StoreUnavailable(cause=f"{self._name}: {error}")
            job.error.__cause__ = error

    def _roll_back(self) -> None:
        if self._database.in_transaction:  # some errors end it by themselves
            self._database.execute("ROLLBACK")

    def _deliver(self, group: list[_Work]) -> None:
        self._crowded = len(group) > 1
        self._under_way = False
        self._hand_over_soon()
        try:
            if any(isinstance(job.error, StoreUnavailable) for job in group):
                self._when_unusable()
            self._when_done([job.result for job in group if job.error is None])
        finally:  # those that wait get an answer in any case
            for job in group:
                _answer(job)


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why the database cannot be written. `everybodys`: no transaction could be begun at all."""

    error: Exception
    everybodys: bool


def _answer(job: _Work) -> None:
    if job.done.cancelled():
        return
    if job.error is not None:
        job.done.set_exception(job.error)
    else:
        job.done.set_result(job.result)


def _is_trouble(error: Exception) -> bool:
    """Whether the database is in trouble, and so everybody in the group; else it is the job's own."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _TROUBLE
    return type(error) is sqlite3.DatabaseError or isinstance(
        error, (sqlite3.OperationalError, sqlite3.InternalError)
    )
