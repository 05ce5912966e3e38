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

from tendhost.server.failpoints import reached
from tendhost.server.store.gathering import Gathering, Work, refuse
from tendhost.server.store.session import DatabaseSession

logger = logging.getLogger(__name__)

T = TypeVar("T")

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


class Writer:
    """Runs works one after the other, each in a transaction of its own as far as it can tell."""

    def __init__(
        self,
        database: sqlite3.Connection,
        when_done: Callable[[Sequence[Any]], None],
        *,
        name: str,
        when_unusable: Callable[[], None] = lambda: None,
    ) -> None:
        """For `when_done`, `name` and `when_unusable` see Gathering."""
        self._database = database
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._groups: queue.SimpleQueue[list[Work] | None] = queue.SimpleQueue()
        self._gathering = Gathering(
            self._groups.put, when_done, name=name, when_unusable=when_unusable
        )
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[DatabaseSession], T]) -> T:
        """See Gathering.submit."""
        return await self._gathering.submit(work)

    async def aclose(self) -> None:
        """Finish what was handed in and close the connection."""
        if last := self._gathering.close():
            self._groups.put(last)
        self._groups.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (group := self._groups.get()) is not None:
            self._commit(group)
            self._loop.call_soon_threadsafe(self._gathering.deliver, group)
        self._database.close()

    def _commit(self, group: list[Work]) -> None:
        trouble = self._written(group)
        if trouble is None:
            return
        if len(group) == 1 or trouble.everybodys:
            refuse(group, trouble.error, name=self._name)
            return
        # Whose fault it was is not known, and nobody else is to be refused for it.
        for position, job in enumerate(group):
            trouble = self._written([job])
            if trouble is None:
                continue
            refuse([job], trouble.error, name=self._name)
            if trouble.everybodys:
                refuse(group[position + 1 :], trouble.error, name=self._name)
                return

    def _written(self, group: list[Work]) -> "_Trouble | None":
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

    def _perform(self, job: Work) -> None:
        job.result = job.error = None
        self._database.execute("SAVEPOINT job")
        try:
            job.result = job.work(self._database)
        except Exception as error:
            if _is_trouble(error):
                raise
            job.fail(error)
            self._database.execute("ROLLBACK TO job")
        self._database.execute("RELEASE job")

    def _roll_back(self) -> None:
        if self._database.in_transaction:  # some errors end it by themselves
            self._database.execute("ROLLBACK")


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why the database cannot be written. `everybodys`: no transaction could be begun at all."""

    error: Exception
    everybodys: bool


def _is_trouble(error: Exception) -> bool:
    """Whether the database is in trouble, and so everybody in the group; else it is the job's own."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _TROUBLE
    return type(error) is sqlite3.DatabaseError or isinstance(
        error, (sqlite3.OperationalError, sqlite3.InternalError)
    )
