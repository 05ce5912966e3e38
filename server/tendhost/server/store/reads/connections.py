"""Connections for reading: one on the event loop for rows by their key, and one for each reading thread.

A look-up by key takes less time than handing it to a thread, and in WAL mode it waits for nobody. Lists and
everything else whose size is not known go to the readers' threads.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.store import rows
from tendhost.server.store.database import open_for_reading
from tendhost.server.store.records import Page

T = TypeVar("T")

READERS = 4


class ReadConnections:
    """The connections that the reads of one database share."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._direct = open_for_reading(path)
        self._threads = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._surveyor = ThreadPoolExecutor(1, thread_name_prefix="store-surveyor")
        self._unusable = asyncio.Event()
        """Set when a read or a write fails because the database cannot be used."""

    async def _close(self) -> None:
        for threads in (self._readers, self._surveyor):
            await asyncio.to_thread(threads.shutdown)
        for database in (self._direct, *self._opened):
            database.close()

    def _one(self, text: str, *values: object) -> Any:
        row = self._row(text, *values)
        return None if row is None else row[0]

    def _row(self, text: str, *values: object) -> Any:
        with self._errors_translated():
            return self._direct.execute(text, values).fetchone()

    async def _all(
        self, text: str, values: Sequence[object], decode: Callable[[str], T]
    ) -> Sequence[T]:
        def work(database: sqlite3.Connection) -> Sequence[T]:
            return [decode(row[0]) for row in database.execute(text, tuple(values))]

        return await self._read(work)

    async def _page(
        self, text: str, values: Sequence[object], decode: Callable[[str], T], limit: int
    ) -> Page[T]:
        def work(database: sqlite3.Connection) -> Page[T]:
            found = [
                rows.row_of(decode, document, str(key[0]), str(key[-1]))
                for document, *key in database.execute(text, tuple(values))
            ]
            return Page(rows=tuple(found[:limit]), more=len(found) > limit)

        return await self._read(work)

    async def _read(
        self, work: Callable[[sqlite3.Connection], T], threads: ThreadPoolExecutor | None = None
    ) -> T:
        def on_thread() -> T:
            database = getattr(self._threads, "database", None)
            if database is None:
                database = self._threads.database = open_for_reading(self._path)
                self._opened.append(database)
            return work(database)

        with self._errors_translated():
            return await asyncio.get_running_loop().run_in_executor(
                threads or self._readers, on_thread
            )

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._unusable.set()
            raise StoreUnavailable(cause=f"{self._path}: {error}") from error
