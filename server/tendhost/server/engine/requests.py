"""Who asks for a mutation, what is answered when it is repeated, and that it is decided anew on a conflict."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, ParamSpec, TypeVar

from tendhost.server.store.protocol import Store
from tendhost.server.store.records import AuditRecord, Change, Conflict, RequestRecord

T = TypeVar("T")


class AlreadyProcessed(Exception):
    """The request had been carried out before; `response` is what was answered then."""

    def __init__(self, response: bytes) -> None:
        self.response = response
        super().__init__("the request had been carried out before")


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationContext(Generic[T]):
    """A mutation's caller. `encode` makes the response's bytes of the value that the call results in."""

    principal: str
    method: str
    request_id: str = ""
    digest: bytes = b""
    encode: Callable[[T], bytes]

    @property
    def user(self) -> str:
        """The name that the caller gives of its user; else where it calls from."""
        return self.principal.partition(" ")[0]

    def audit(self, subject: str, now: datetime) -> AuditRecord:
        """The audit row of this call."""
        return AuditRecord(at=now, principal=self.principal, method=self.method, subject=subject)

    def record(self, value_at: Callable[[int], T]) -> RequestRecord | None:
        """What the store keeps of this call; None where the caller gave no request_id."""
        if not self.request_id:
            return None
        return RequestRecord(
            id=self.request_id,
            digest=self.digest,
            respond=lambda revision: self.encode(value_at(revision)),
        )


async def unchanged(store: Store, value: T, call: MutationContext[T], now: datetime) -> T:
    """Answer a mutation that had nothing to change with `value`: there is no event and no audit row of it,
    but whoever sends the same request again gets the same answer.

    Raises Replayed, and what Store.commit raises.
    """
    record = call.record(lambda _: value)
    if record is None:
        return value
    return await commit_once(store, Change(events=(), request=record, at=now), lambda _: value)


async def commit_once(store: Store, change: Change, value_at: Callable[[int], T]) -> T:
    """Commit `change` and return what it led to. Raises Replayed, and what Store.commit raises."""
    committed = await store.commit(change)
    if committed.replayed is not None:
        raise AlreadyProcessed(committed.replayed)
    return value_at(committed.revision)


ATTEMPTS = 100
"""Of so many writers that begin at once, each still gets its turn: at every attempt one of them wins.
Past it something else is wrong."""


P = ParamSpec("P")


def retried_on_conflict(work: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Call `work` anew, from its reading on, while it ends in Conflict; at most ATTEMPTS times."""

    @functools.wraps(work)
    async def attempts(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(ATTEMPTS - 1):
            try:
                return await work(*args, **kwargs)
            except Conflict:
                continue
        return await work(*args, **kwargs)

    return attempts
