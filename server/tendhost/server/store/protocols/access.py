"""Credentials that the server has issued, and the audit log."""

from collections.abc import Sequence
from typing import Protocol

from tendhost.server.domain.access.audit import AuditEntry
from tendhost.server.domain.access.scope import Scope
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


class ScopeStore(Protocol):
    """What is in a scope. Documents are not read: of one that cannot be read it is known whose it is, too."""

    async def has_host(self, scope: Scope, name: str) -> bool:
        """Whether the scope has a host of this name."""
        ...

    async def has_operation(self, scope: Scope, id: str) -> bool:
        """Whether there is such an operation, on a host of the scope."""
        ...

    async def scoped_host_count(self, scope: Scope) -> int:
        """Number of hosts in the scope."""
        ...

    async def scoped_groups(self, scope: Scope) -> Sequence[tuple[str, int]]:
        """Every group of hosts in the scope with the number of these hosts, by name."""
        ...

    async def scoped_tags(self, scope: Scope) -> Sequence[tuple[str, int]]:
        """Every tag of hosts in the scope with the number of these hosts, by name."""
        ...
