"""What the shared statements run on: a connection to one of the databases, within a transaction.

sqlite3.Connection is one as it is. PostgreSQL has a session of its own kind, whose calls look the same
(`postgres.session`), so that a change, a read and the pruning have one text for both databases.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol


class Result(Protocol):
    """What a statement has led to."""

    @property
    def rowcount(self) -> int:
        """Number of rows that were written."""
        ...

    def fetchone(self) -> Any:
        """The next row, a sequence of its columns; None: there is none."""
        ...

    def fetchall(self) -> list[Any]:
        """The rows that follow."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class DatabaseSession(Protocol):
    """Runs statements of `sql` and `host_sql`, whose parameters are numbered from ?1 on."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Result:
        """Run one statement."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> object:
        """Run one statement, which returns no rows, with each of `parameters`."""
        ...
