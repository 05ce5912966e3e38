"""The store on SQLite: one writer, readers of their own (`reads.connections`), and one process."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from tendhost.server.clock import Clock, SystemClock, wait_for
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.store import sql
from tendhost.server.store.base import BaseStore, ends_of
from tendhost.server.store.database import open_for_writing, take_lock
from tendhost.server.store.reads.connections import ReadConnections
from tendhost.server.store.session import DatabaseSession
from tendhost.server.store.writer import Writer

T = TypeVar("T")


async def open_store(path: Path, *, clock: Clock | None = None) -> "SqliteStore":
    """The store in the file `path`, which is made if it is not there.

    `clock` is the one by which leases end; None: this machine's. No other process has the database, so that
    whoever held anything in it is gone.

    Raises ConfigurationError (the folder cannot be used) and StoreUnavailable (another server has it,
    it is no database, it is damaged, it is of a newer version).
    """
    with ExitStack() as undo:
        lock = take_lock(path)
        undo.callback(os.close, lock)
        database = open_for_writing(path)
        undo.callback(database.close)
        try:
            _make_clock(database, clock or SystemClock())
            database.execute(sql.DELETE_REPLICAS)
            store = SqliteStore(path, database, lock)
        except sqlite3.Error as error:
            raise StoreUnavailable(cause=f"{path}: {error}") from error
        undo.pop_all()
        return store


def _make_clock(database: sqlite3.Connection, clock: Clock) -> None:
    """Give a connection the `database_clock()` of its statements: the date has no part in it."""
    database.create_function(
        "database_clock", 0, lambda: clock.elapsed() // timedelta(microseconds=1)
    )


class SqliteStore(ReadConnections, BaseStore):
    """The store in a file that this process alone has open for writing."""

    def __init__(self, path: Path, database: sqlite3.Connection, lock: int) -> None:
        # Before anything else is opened: a damaged database fails here.
        BaseStore.__init__(self, ends_of(database))
        ReadConnections.__init__(self, path)
        self._lock = lock
        self._writer = Writer(
            database, self._committed, name=str(path), when_unusable=self._unusable.set
        )

    async def _submit(self, work: Callable[[DatabaseSession], T]) -> T:
        return await self._writer.submit(work)

    async def until_unusable(self, *, timeout: timedelta) -> bool:
        await wait_for(self._unusable.wait(), timeout=timeout)
        return self._unusable.is_set()

    async def probe(self) -> None:
        self._unusable.clear()
        await self._submit(lambda database: database.execute(sql.LOCK_COUNTER).fetchone())
        await self._read(lambda database: database.execute(sql.CURRENT_REVISION).fetchone())

    async def aclose(self) -> None:
        await self._writer.aclose()
        await self._close()
        os.close(self._lock)
