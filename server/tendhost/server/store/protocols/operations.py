"""Operations and their logs."""

from collections.abc import Sequence
from typing import Protocol

from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.operations.operation import Operation, OperationStatus
from tendhost.server.store.protocols.commits import CommitStore
from tendhost.server.store.protocols.hosts import HostStore
from tendhost.server.store.records import LogChunk, Page


class OperationStore(Protocol):
    """The operations of all hosts."""

    async def operation(self, id: str) -> Operation:
        """Raises OperationNotFound."""
        ...

    async def find_operation(self, id: str) -> Operation | None:
        """The operation with this id; None: it is not on record, or no longer."""
        ...

    async def operations(
        self,
        *,
        host: str = "",
        rollout: str = "",
        statuses: Sequence[OperationStatus] = (),
        scope: Scope | None = None,
        before: str = "",
        limit: int,
    ) -> Page[Operation]:
        """Operations, newest first, from the one that follows `before` on. Empty means any.

        With `scope` those on hosts that it has now.
        """
        ...

    async def running_operation(self, host: str) -> Operation | None:
        """The operation that runs on the host."""
        ...

    async def next_queued(self, host: str) -> Operation | None:
        """The oldest operation that waits for the host."""
        ...

    async def unfinished_operations(self) -> Sequence[Operation]:
        """Every running or queued operation, oldest first."""
        ...

    async def idle_queues(self) -> Sequence[str]:
        """The hosts for which operations wait although none runs on them, by name."""
        ...

    async def busy_hosts(self) -> frozenset[str]:
        """The hosts on which an operation runs."""
        ...


class LogStore(Protocol):
    """What operations printed."""

    async def log(self, operation: str, *, offset: int, limit: int) -> LogChunk:
        """At most `limit` bytes of the operation's log from `offset` on, without a gap between them.

        It begins later than `offset` where the bytes there were left out, and is empty at the end.
        """
        ...


class HostWorkStore(HostStore, OperationStore, CommitStore, Protocol):
    """Hosts and their operations, to be read and changed together."""
