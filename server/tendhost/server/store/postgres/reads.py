"""Reads from PostgreSQL: look-ups on the event loop, lists and surveys in threads."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.store.postgres.connections import Connections, Link
from tendhost.server.store.postgres.session import (
    COMMAND_TIMEOUT,
    LoopSession,
    ThreadSession,
    run_in_greenlet,
)
from tendhost.server.store.reads.base import Reads
from tendhost.server.store.session import DatabaseSession

T = TypeVar("T")

READERS = 4
"""Threads that decode lists."""
ONE_MOMENT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresReads(Reads):
    """The reads of one database."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._surveyor = ThreadPoolExecutor(1, thread_name_prefix="store-surveyor")
        self._unusable = asyncio.Event()
        """Set when a read or a write fails because the database cannot be used."""

    async def _close(self) -> None:
        for threads in (self._readers, self._surveyor):
            await asyncio.to_thread(threads.shutdown)
        await self._connections.aclose()

    async def _row(self, text: str, *values: object) -> Any:
        async def work(link: Link) -> Any:
            return (await link.statements.run(text, values)).fetchone()

        with self._troubles_noted():
            return await self._connections.use(work)

    async def _look_up(self, work: Callable[[DatabaseSession], T]) -> T:
        async def looked_up(link: Link) -> T:
            session = LoopSession(link.statements)
            async with asyncio.timeout(COMMAND_TIMEOUT):
                return await run_in_greenlet(lambda: work(session))

        with self._troubles_noted():
            return await self._connections.use(looked_up)

    async def _read(self, work: Callable[[DatabaseSession], T]) -> T:
        return await self._on_thread(work, self._readers)

    async def _survey(self, work: Callable[[DatabaseSession], T]) -> T:
        return await self._on_thread(work, self._surveyor)

    async def _on_thread(
        self, work: Callable[[DatabaseSession], T], threads: ThreadPoolExecutor
    ) -> T:
        loop = asyncio.get_running_loop()

        async def read(link: Link) -> T:
            await link.statements.command(ONE_MOMENT)
            session = ThreadSession(link.statements, loop)
            found = await loop.run_in_executor(threads, lambda: work(session))
            await link.statements.command("COMMIT")
            return found

        with self._troubles_noted():
            return await self._connections.use(read)

    @contextmanager
    def _troubles_noted(self) -> Iterator[None]:
        try:
            yield
        except StoreUnavailable:
            self._unusable.set()
            raise
