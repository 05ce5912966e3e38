"""Writes: one kind of transaction, and the answers to requests that were carried out."""

from collections.abc import Callable
from typing import Protocol

from tendhost.server.store.records import Change, Committed, Touched


class CommitStore(Protocol):
    """The one way to change what is stored."""

    async def commit(self, change: Change) -> Committed:
        """Store `change` as a whole.

        Raises HostAlreadyExists, HostDuplicate, HostBusy (the host has a running operation), ScheduleAlreadyExists,
        Conflict (a revision was not the stored one, the row is gone, or a new one is there already),
        RequestIdReused, and Unstorable, which is about this change and nobody else's.
        """
        ...

    def listen(self, listener: Callable[[Touched], None]) -> Callable[[], None]:
        """Call `listener` on the event loop after every commit, before the commit's caller goes on.

        Returns the function that ends this. What `listener` is told of can be read by then.
        """
        ...


class ResponseStore(Protocol):
    """The answers that were given to requests."""

    async def stored_response(self, request: str, digest: bytes) -> bytes | None:
        """The response that this request got before; None: it is new. Raises RequestIdReused."""
        ...
