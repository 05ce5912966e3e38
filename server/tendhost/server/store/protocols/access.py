"""Credentials that the server has issued, and the audit log."""

from collections.abc import Sequence
from typing import Protocol

from tendhost.server.domain.access.audit import AuditEntry
from tendhost.server.domain.access.tokens import Token
from tendhost.server.store.records import AuditFilter, Page


class TokenStore(Protocol):
    """Bearer tokens, as digests."""

    async def tokens(self) -> Sequence[Token]:
        """Every token, ordered by id."""
        ...


class AuditStore(Protocol):
    """Audit records, which commits write."""

    async def audit_entries(
        self, wanted: AuditFilter, *, before: int, limit: int
    ) -> Page[AuditEntry]:
        """Records that `wanted` admits, newest first, with numbers below `before` (0: any)."""
        ...
