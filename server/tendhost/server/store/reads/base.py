"""What the reads of every noun are made of, whichever database is behind them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tendhost.server.store import rows
from tendhost.server.store.records import Page
from tendhost.server.store.session import DatabaseSession

T = TypeVar("T")


class Reads(ABC):
    """Reads of one database, each in a transaction of its own. They raise StoreUnavailable."""

    @abstractmethod
    async def _row(self, text: str, *values: object) -> Any:
        """The first row of a statement that finds rows by their key; None: there is none."""

    @abstractmethod
    async def _look_up(self, work: Callable[[DatabaseSession], T]) -> T:
        """What `work` returns, which looks up a few rows by their keys; it runs on the event loop."""

    @abstractmethod
    async def _read(self, work: Callable[[DatabaseSession], T]) -> T:
        """What `work` returns, which reads a bounded number of rows as of one moment; it runs in a thread."""

    @abstractmethod
    async def _survey(self, work: Callable[[DatabaseSession], T]) -> T:
        """As _read, for what reads a whole fleet or plan; one at a time."""

    async def _one(self, text: str, *values: object) -> Any:
        row = await self._row(text, *values)
        return None if row is None else row[0]

    async def _all(
        self, text: str, values: Sequence[object], decode: Callable[[str], T]
    ) -> Sequence[T]:
        def work(database: DatabaseSession) -> Sequence[T]:
            return [decode(row[0]) for row in database.execute(text, tuple(values))]

        return await self._read(work)

    async def _page(
        self, text: str, values: Sequence[object], decode: Callable[[str], T], limit: int
    ) -> Page[T]:
        def work(database: DatabaseSession) -> Page[T]:
            found = [
                rows.row_of(decode, document, str(key[0]), str(key[-1]))
                for document, *key in database.execute(text, tuple(values))
            ]
            return Page(rows=tuple(found[:limit]), more=len(found) > limit)

        return await self._read(work)
