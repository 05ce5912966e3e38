"""Reads of the credentials that the server has issued."""

import sqlite3
from collections.abc import Sequence

from tendhost.server.domain.access.tokens import Token
from tendhost.server.store import rows, sql
from tendhost.server.store.reads.connections import ReadConnections


class AccessReads(ReadConnections):
    """See TokenStore."""

    async def tokens(self) -> Sequence[Token]:
        def work(database: sqlite3.Connection) -> Sequence[Token]:
            return tuple(rows.token_of(*row) for row in database.execute(sql.ALL_TOKENS))

        return await self._read(work)
