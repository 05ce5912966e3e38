"""Connections for reading SQLite: one on the event loop for rows by their key, and one for each reading thread.

A look-up by key takes less time than handing it to a thread, and in WAL mode it waits for nobody. Lists and
everything else whose size is not known go to the readers' threads.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.store.database import open_for_reading
from tendhost.server.store.reads.base import Reads
from tendhost.server.store.session import DatabaseSession

T = TypeVar("T")

READERS = 4


class ReadConnections(Reads):
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

    async def _row(self, text: str, *values: object) -> Any:
        with self._errors_translated():
            return self._direct.execute(text, values).fetchone()

    async def _look_up(self, work: Callable[[DatabaseSession], T]) -> T:
        with self._errors_translated():
            return work(self._direct)

    async def _read(self, work: Callable[[DatabaseSession], T]) -> T:
        return await self._on_thread(work, self._readers)

    async def _survey(self, work: Callable[[DatabaseSession], T]) -> T:
        return await self._on_thread(work, self._surveyor)

    async def _on_thread(
        self, work: Callable[[DatabaseSession], T], threads: ThreadPoolExecutor
    ) -> T:
        def on_thread() -> T:
            database: sqlite3.Connection | None = getattr(self._threads, "database", None)
            if database is None:
                database = self._threads.database = open_for_reading(self._path)
                self._opened.append(database)
            database.execute("BEGIN")
            try:
                return work(database)
            finally:
                if database.in_transaction:  # some errors end it by themselves
                    database.execute("COMMIT")

        with self._errors_translated():
            return await asyncio.get_running_loop().run_in_executor(threads, on_thread)

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._unusable.set()
            raise StoreUnavailable(cause=f"{self._path}: {error}") from error
