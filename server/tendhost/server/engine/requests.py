"""Mutations: who asks for one, the record that answers it when it is repeated, and the retry on a conflict."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, ParamSpec, TypeVar, cast

from tendhost.server.domain.access.audit import AuditRecord
from tendhost.server.domain.access.principal import CredentialKind
from tendhost.server.store.protocols.commits import CommitStore
from tendhost.server.store.records import Change, Conflict, RequestRecord

T = TypeVar("T")


class AlreadyProcessed(Exception):
    """The request was carried out before; `response` is what was answered then."""

    def __init__(self, response: bytes) -> None:
        self.response = response
        super().__init__("the request was carried out before")


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationContext(Generic[T]):
    """A mutation's caller. `encode` makes the response's bytes of the value that the mutation results in."""

    principal: str
    """The caller with its address, for the record."""
    user: str
    """The caller's name; without one, the address that the call comes from."""
    credential_kind: CredentialKind | None = None
    """None: the server itself is the caller."""
    credential: str = ""
    """Id of the token, serial number of the certificate, or issuer and id of the JWT."""
    address: str = ""
    method: str
    request_id: str = ""
    digest: bytes = b""
    encode: Callable[[T], bytes]

    async def commit(
        self, store: CommitStore, change: Change, value_at: Callable[[int], T], *, subject: str
    ) -> T:
        """Commit `change` as this caller's, and return what it results in.

        `value_at` makes the result of the revision that the change reached. `subject` is the host,
        operation or rollout that the audit record names. Raises AlreadyProcessed, and what Store.commit raises.
        """
        committed = await store.commit(self.recorded(change, value_at, subject=subject))
        if committed.replayed is not None:
            raise AlreadyProcessed(committed.replayed)
        return value_at(committed.revision)

    async def commit_unchanged(
        self, store: CommitStore, value: T, now: datetime, *, subject: str
    ) -> T:
        """Answer a mutation that changes nothing with `value`.

        There is no event of it, but an audit record, and the same request gets the same answer when it is
        repeated. Raises AlreadyProcessed, and what Store.commit raises.
        """
        return await self.commit(store, Change(events=(), at=now), lambda _: value, subject=subject)

    def recorded(self, change: Change, value_at: Callable[[int], T], *, subject: str) -> Change:
        """`change` with the audit record and the request record of this mutation."""
        audit = AuditRecord(
            at=change.made_at,
            principal=self.user,
            credential_kind=self.credential_kind,
            credential=self.credential,
            address=self.address,
            method=self.method,
            subject=subject,
            request_id=self.request_id,
        )
        return replace(change, audit=audit, request=self._record(value_at))

    def _record(self, value_at: Callable[[int], T]) -> RequestRecord | None:
        """What the store keeps of this mutation; None: the caller gave no request_id."""
        if not self.request_id:
            return None
        return RequestRecord(
            id=self.request_id,
            digest=self.digest,
            respond=lambda revision: self.encode(value_at(revision)),
        )


def at_revision(value: T) -> Callable[[int], T]:
    """Makes a stored record (a dataclass with a `revision`) as it is once it was stored at a revision."""
    return lambda revision: cast(T, replace(cast(Any, value), revision=revision))


ATTEMPTS = 100
"""Of so many writers that begin at once, each still gets its turn: at every attempt one of them wins.
Past it something else is wrong."""


P = ParamSpec("P")


def retried_on_conflict(work: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Call `work` again, from its reading on, while it ends in Conflict; at most ATTEMPTS times."""

    @functools.wraps(work)
    async def attempts(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(ATTEMPTS - 1):
            try:
                return await work(*args, **kwargs)
            except Conflict:
                continue
        return await work(*args, **kwargs)

    return attempts
