"""Credentials that the server has issued, and the audit log."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Protocol

from tendhost.server.domain.access.audit import AuditEntry, AuditRecord, Head
from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.access.tokens import Token
from tendhost.server.domain.leases import Held
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


class AuditCursors(Protocol):
    """How far the audit log was sent to each sink."""

    async def audit_after(self, number: int, *, limit: int) -> Sequence[AuditEntry]:
        """Records with a number above `number`, in order."""
        ...

    async def dropped_audit(self) -> Head:
        """What the first record that is kept follows: the last one that was pruned."""
        ...

    async def last_audit(self) -> int:
        """Number of the last record."""
        ...

    async def wait_for_audit(self, number: int, *, timeout: timedelta) -> int:
        """The number of the last record, once it exceeds `number` or `timeout` has passed."""
        ...

    async def audit_cursor(self, sink: str) -> Head | None:
        """The last record that a sink was sent; None: the sink is new."""
        ...

    async def save_audit_cursor(
        self,
        sink: str,
        head: Head,
        *,
        missed: AuditRecord | None = None,
        held: Sequence[Held] = (),
    ) -> None:
        """Store the last record that a sink was sent, and in the same transaction a record of what it missed.

        Raises LeaseLost unless all of `held` is held.
        """
        ...

    async def retain_audit_cursors(self, sinks: Collection[str]) -> None:
        """Drop the cursors of all other sinks, for which nothing is kept any more."""
        ...


class ScopeStore(Protocol):
    """What is in a scope. Documents are not read: of one that cannot be read it is known whose it is, too."""

    async def has_host(self, scope: Scope, name: str) -> bool:
        """Whether the scope has a host of this name."""
        ...

    async def has_operation(self, scope: Scope, id: str) -> bool:
        """Whether there is such an operation, on a host of the scope."""
        ...

    async def hosts_within(self, scope: Scope, names: Collection[str]) -> frozenset[str]:
        """Those of `names` that are hosts of the scope."""
        ...

    async def members_outside(self, scope: Scope, rollout: str) -> frozenset[str]:
        """The hosts of a rollout that the scope does not have, or that are removed."""
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
