"""Sessions on PostgreSQL, for code that is written as for SQLite: each call waits for the database by itself.

In a greenlet on the event loop, where statements follow each other closely (writes, look-ups by key): a call
switches to the loop, which awaits the answer and switches back. In a thread, where what was read is decoded
for long (lists, surveys): a call has the loop send the statement, and waits.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

from tendhost.server.store.postgres.dialect import ESCAPE, read, stored, translated

T = TypeVar("T")

COMMAND_TIMEOUT = 10.0
"""Seconds for the answer to one statement. The longest, of pruning, take less than one."""
MOST_PREPARED = 500
"""Statements of one connection. Those of lists differ by their filters."""


class Rows:
    """What a statement has led to, all of it in memory."""

    __slots__ = ("_next", "_rows", "_status")

    def __init__(self, found: Sequence[Any], status: str) -> None:
        self._rows, self._status, self._next = _as_written(found), status, 0

    @property
    def rowcount(self) -> int:
        return int(self._status.rpartition(" ")[2])

    def fetchone(self) -> Any:
        if self._next == len(self._rows):
            return None
        self._next += 1
        return self._rows[self._next - 1]

    def fetchall(self) -> list[Any]:
        first, self._next = self._next, len(self._rows)
        return list(self._rows[first:])

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchall())


def _as_written(found: Sequence[Any]) -> Sequence[Any]:
    for row in found:
        for value in row:
            if type(value) is str and ESCAPE in value:
                return [tuple(map(read, row)) for row in found]
    return found


class Statements:
    """The statements of one connection, each prepared once where the connection lasts.

    Behind a pooler each transaction may be another server's connection: there every statement is prepared
    again, without a name, right before it is executed.
    """

    def __init__(self, connection: Any, *, prepared: bool) -> None:
        self._connection = connection
        self._prepared = prepared
        self.known: dict[str, Any] = {}
        self._numbers = itertools.count(1)

    async def prepare(self, text: str) -> Any:
        """The statement, ready to be executed; it is in `known` where the connection lasts."""
        # Without a name, asyncpg sends a statement again each time.
        name = f"tendhost_{next(self._numbers)}" if self._prepared else ""
        statement = await self._connection.prepare(
            translated(text), name=name, timeout=COMMAND_TIMEOUT
        )
        if self._prepared:
            if len(self.known) >= MOST_PREPARED:
                self.known.clear()
            self.known[text] = statement
        return statement

    async def run(self, text: str, values: Sequence[Any]) -> Rows:
        """Run one statement."""
        statement = self.known.get(text) or await self.prepare(text)
        found = await statement.fetch(*map(stored, values), timeout=COMMAND_TIMEOUT)
        return Rows(found, statement.get_statusmsg())

    async def run_many(self, text: str, values: Iterable[Sequence[Any]]) -> None:
        """Run one statement with each of `values`."""
        given = list(values)
        if len(given) == 1:
            await self.run(text, given[0])
        elif given:
            statement = self.known.get(text) or await self.prepare(text)
            escaped = [tuple(map(stored, each)) for each in given]
            await statement.executemany(escaped, timeout=COMMAND_TIMEOUT)

    async def command(self, text: str) -> None:
        """Run statements without parameters, which begin and end transactions."""
        await self._connection.execute(text, timeout=COMMAND_TIMEOUT)


class LoopSession:
    """A session for work in a greenlet: see run_in_greenlet. Its caller bounds the time."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Rows:
        # As Statements.run, without what a coroutine more costs, and a timer of its own for each statement.
        statement = self._statements.known.get(sql) or _awaited(self._statements.prepare(sql))
        found = _awaited(statement.fetch(*map(stored, parameters)))
        return Rows(found, statement.get_statusmsg())

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> None:
        _awaited(self._statements.run_many(sql, parameters))

    def command(self, text: str) -> None:
        """See Statements.command."""
        _awaited(self._statements.command(text))


def _awaited(work: Awaitable[Any]) -> Any:
    parent = getcurrent().parent
    assert parent is not None
    return parent.switch(work)


async def run_in_greenlet(work: Callable[[], T]) -> T:
    """What `work` returns, which may use sessions of this event loop, and nothing else that waits."""
    child = greenlet(work)
    result = child.switch()
    while not child.dead:
        try:
            value = await result
        except BaseException as error:
            result = child.throw(error)
        else:
            result = child.switch(value)
    returned: T = result
    return returned


class ThreadSession:
    """A session for work in a thread, on a connection of the event loop `loop`."""

    def __init__(self, statements: Statements, loop: asyncio.AbstractEventLoop) -> None:
        self._statements = statements
        self._loop = loop

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Rows:
        return self._waited_for(self._statements.run(sql, parameters))

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> None:
        self._waited_for(self._statements.run_many(sql, parameters))

    def _waited_for(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except CancelledError as error:
            raise ConnectionAbortedError("the event loop has ended") from error
