"""Copies everything from one database to another, of either kind, and proves that it has arrived."""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

from tendhost.server.store import sql
from tendhost.server.store.migrations import LOG_ID, MIGRATIONS, MOVED_TO
from tendhost.server.store.session import DatabaseSession

ROWS_AT_ONCE = 500
_META = "meta"
_OF_THE_DATABASE = (MOVED_TO, "schema")
"""Keys of `meta` that tell of the database itself, and not of what is in it."""
_LEFT_OUT = ("replicas",)
"""Tables that tell of the servers which run."""
_MADE_AT_THE_START = (_META, "counter", "duties", "host_counts")
"""Tables that have rows in a database in which nobody has stored anything."""


class TransferFailed(Exception):
    """Not everything has arrived as it was; nothing of it is to be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the schema."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    """Its primary key."""

    @property
    def select(self) -> str:
        """The first rows: ?1 is how many."""
        return f"SELECT {self._listed} FROM {self.name} ORDER BY {', '.join(self.key)} LIMIT ?1"  # noqa: S608

    @property
    def select_after(self) -> str:
        """The rows after that with the key ?2, …: ?1 is how many."""
        values = ", ".join(f"?{number}" for number in range(2, len(self.key) + 2))
        return (
            f"SELECT {self._listed} FROM {self.name} WHERE ({', '.join(self.key)}) > ({values})"  # noqa: S608
            f" ORDER BY {', '.join(self.key)} LIMIT ?1"
        )

    @property
    def insert(self) -> str:
        """One row."""
        values = ", ".join(f"?{number}" for number in range(1, len(self.columns) + 1))
        return f"INSERT INTO {self.name} ({self._listed}) VALUES ({values})"  # noqa: S608

    @property
    def _listed(self) -> str:
        return ", ".join(self.columns)

    def key_of(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """The key of a row."""
        return tuple(row[self.columns.index(name)] for name in self.key)


@cache
def tables() -> tuple[Table, ...]:
    """The tables that are copied."""
    with closing(sqlite3.connect(":memory:")) as database:
        for step in MIGRATIONS:
            for statement in step:
                database.execute(statement)
        names = [
            name
            for (name,) in database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            )
        ]
        return tuple(_table(database, name) for name in names if name not in _LEFT_OUT)


def _table(database: sqlite3.Connection, name: str) -> Table:
    columns = database.execute(f"PRAGMA table_info ({name})").fetchall()
    key = sorted((place, column) for _, column, _, _, _, place in columns if place)
    return Table(
        name=name,
        columns=tuple(column for _, column, *_ in columns),
        key=tuple(column for _, column in key),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """What was moved."""

    rows: int
    revision: int


def is_unused(database: DatabaseSession) -> bool:
    """Whether nothing was ever stored in a database but its schema."""
    if _revision(database):
        return False
    return not any(
        table.name not in _MADE_AT_THE_START and database.execute(table.select, (1,)).fetchone()
        for table in tables()
    )


def transfer(source: DatabaseSession, target: DatabaseSession) -> Transferred:
    """Copy everything to `target`, which is unused, within a transaction of each that the caller ends.

    Raises TransferFailed where rows are missing or differ afterwards.
    """
    for name in _MADE_AT_THE_START:
        target.execute(f"DELETE FROM {name}" + (" WHERE key <> 'schema'" if name == _META else ""))  # noqa: S608
    count = 0
    for table in tables():
        before = _Sum()
        for rows in _parts(source, table):
            target.executemany(table.insert, rows)
            before.add(rows)
        after = _sum(target, table)
        if (before.rows, before.checksum) != (after.rows, after.checksum):
            raise TransferFailed(
                f"table {table.name}: {before.rows} rows were sent and {after.rows} have arrived, or they differ"
            )
        count += before.rows
    return Transferred(rows=count, revision=_revision(target))


def content(database: DatabaseSession) -> Transferred:
    """How much there is."""
    count = sum(_sum(database, table).rows for table in tables())
    return Transferred(rows=count, revision=_revision(database))


def _revision(database: DatabaseSession) -> int:
    return int(database.execute(sql.CURRENT_REVISION).fetchone()[0])


def log_id(database: DatabaseSession) -> str:
    """The id of the event log."""
    return str(database.execute(sql.GET_META, (LOG_ID,)).fetchone()[0])


class _Sum:
    """Number and checksum of rows, in whatever order: where texts have a NUL, that of the two databases differs."""

    def __init__(self) -> None:
        self.rows = 0
        self.checksum = 0

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        self.rows += len(rows)
        for row in rows:
            digest = hashlib.sha256(repr(row).encode("utf-8", "surrogatepass")).digest()
            self.checksum = (self.checksum + int.from_bytes(digest, "big")) % 2**256


def _sum(database: DatabaseSession, table: Table) -> _Sum:
    found = _Sum()
    for rows in _parts(database, table):
        found.add(rows)
    return found


def _parts(database: DatabaseSession, table: Table) -> Iterator[list[tuple[Any, ...]]]:
    """All rows in the order of their keys, some at a time."""
    rows = database.execute(table.select, (ROWS_AT_ONCE,)).fetchall()
    while rows:
        last = table.key_of(rows[-1])
        found = [tuple(map(_plain, row)) for row in rows]
        if table.name == _META:
            found = [row for row in found if row[0] not in _OF_THE_DATABASE]
        yield found
        rows = database.execute(table.select_after, (ROWS_AT_ONCE, *last)).fetchall()


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, bytearray | memoryview) else value
