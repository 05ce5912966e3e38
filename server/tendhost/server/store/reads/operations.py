"""Reads of operations and their logs."""

from collections.abc import Iterator, Sequence

from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.operations.operation import Operation, OperationStatus
from tendhost.server.domain.request_errors import OperationNotFound
from tendhost.server.store import rows, sql
from tendhost.server.store.reads.base import Reads
from tendhost.server.store.records import LogChunk, Page
from tendhost.server.store.session import DatabaseSession

CHUNKS_AT_ONCE = 64
"""Chunks of a log that are read in one go: the log of an operation may have 16 MiB, and a page of it needs few."""


class OperationReads(Reads):
    """See OperationStore and LogStore."""

    async def operation(self, id: str) -> Operation:
        found = await self.find_operation(id)
        if found is None:
            raise OperationNotFound(operation=id)
        return found

    async def find_operation(self, id: str) -> Operation | None:
        text = await self._one(sql.GET_OPERATION, id)
        return None if text is None else rows.operation_of(text)

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
        text, values = sql.select_operations(
            host=host,
            rollout=rollout,
            statuses=statuses,
            scope=scope,
            before=before,
            limit=limit + 1,
        )
        return await self._page(text, values, rows.operation_of, limit)

    async def running_operation(self, host: str) -> Operation | None:
        text = await self._one(sql.RUNNING_OPERATION, host)
        return None if text is None else rows.operation_of(text)

    async def next_queued(self, host: str) -> Operation | None:
        text = await self._one(sql.NEXT_QUEUED, host)
        return None if text is None else rows.operation_of(text)

    async def unfinished_operations(self) -> Sequence[Operation]:
        return await self._all(sql.UNFINISHED_OPERATIONS, (), rows.operation_of)

    async def idle_queues(self) -> Sequence[str]:
        return await self._all(sql.IDLE_QUEUES, (), str)

    async def busy_hosts(self) -> frozenset[str]:
        return frozenset(await self._all(sql.RUNNING_HOSTS, (), str))

    async def log(self, operation: str, *, offset: int, limit: int) -> LogChunk:
        def work(database: DatabaseSession) -> LogChunk:
            begin, found = offset, bytearray()
            for position, data in _chunks(database, operation, offset):
                wanted = data[max(0, offset - position) :]
                if found and position > begin + len(found):
                    break  # what lies between was left out
                if wanted and not found:
                    begin = max(position, offset)
                found += wanted
                if len(found) >= limit:
                    break
            return LogChunk(operation=operation, offset=begin, data=bytes(found[:limit]))

        return await self._read(work)


def _chunks(database: DatabaseSession, operation: str, offset: int) -> Iterator[tuple[int, bytes]]:
    """The chunks of a log from the one on that `offset` lies in, each with its own offset."""
    statement, position = sql.GET_LOG, offset
    while True:
        part = database.execute(statement, (operation, position, CHUNKS_AT_ONCE)).fetchall()
        yield from part
        if len(part) < CHUNKS_AT_ONCE:
            return
        statement, position = sql.GET_LOG_BEHIND, part[-1][0]
