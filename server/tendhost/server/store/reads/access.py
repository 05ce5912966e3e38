"""Reads of the credentials that the server has issued, and of the audit log."""

from collections.abc import Sequence

from tendhost.server.domain.access.audit import AuditEntry, Head
from tendhost.server.domain.access.tokens import Token
from tendhost.server.store import audit_chain, rows, sql
from tendhost.server.store.reads.base import Reads
from tendhost.server.store.records import AuditFilter, Page
from tendhost.server.store.session import DatabaseSession


class AccessReads(Reads):
    """See TokenStore and AuditStore."""

    async def tokens(self) -> Sequence[Token]:
        def work(database: DatabaseSession) -> Sequence[Token]:
            return tuple(rows.token_of(*row) for row in database.execute(sql.ALL_TOKENS))

        return await self._read(work)

    async def audit_entries(
        self, wanted: AuditFilter, *, before: int, limit: int
    ) -> Page[AuditEntry]:
        text, values = sql.select_audit(
            principal=wanted.principal,
            subject=wanted.subject,
            methods=wanted.methods,
            since=rows.moment(wanted.since),
            until=rows.moment(wanted.until),
            before=before,
            limit=limit + 1,
        )

        def work(database: DatabaseSession) -> Page[AuditEntry]:
            found = [audit_chain.entry_of(row) for row in database.execute(text, values)]
            return Page(rows=tuple(found[:limit]), more=len(found) > limit)

        return await self._read(work)

    async def audit_after(self, number: int, *, limit: int) -> Sequence[AuditEntry]:
        def work(database: DatabaseSession) -> Sequence[AuditEntry]:
            found = database.execute(sql.AUDIT_PAGE, (number, limit))
            return tuple(map(audit_chain.entry_of, found))

        return await self._read(work)

    async def dropped_audit(self) -> Head:
        return await self._look_up(audit_chain.dropped_head)
