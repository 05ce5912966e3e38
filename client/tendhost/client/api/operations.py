"""Calls about operations: find, wait, watch, read the log, cancel."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from google.protobuf.duration_pb2 import Duration

from tendhost.client import transport
from tendhost.client.convert import operations as convert_operations
from tendhost.client.errors import TendhostError
from tendhost.client.models.operations import LogChunk, Operation, OperationStatus
from tendhost.client.transport import Connected, Transport, new_request_id
from tendhost.v1 import operation_service_pb2 as pb
from tendhost.v1.operation_service_pb2_grpc import OperationServiceStub

POLL_SECONDS = 60
ANSWER_SECONDS = 30.0
"""What a long poll may take beyond its own time."""
EARLY_SECONDS = 0.2
"""The pause before the next long poll, however early the server answered this one."""


class OperationHandle:
    """Operation on the server, which continues with or without this handle."""

    def __init__(self, connection: Transport, operation: Operation) -> None:
        self._transport = connection
        self._calls = OperationServiceStub(connection.calls)
        self._watches = OperationServiceStub(connection.watches)
        self.latest = operation
        """The latest known version of the operation."""

    @property
    def id(self) -> str:
        """The operation's id."""
        return self.latest.id

    @property
    def host(self) -> str:
        """The host's name."""
        return self.latest.host

    async def refresh(self) -> Operation:
        """Load the operation again."""
        request = pb.GetOperationRequest(id=self.id)
        response = await self._transport.call(self._calls.GetOperation, request)
        self.latest = convert_operations.operation(response.operation)
        return self.latest

    async def wait(self, timeout: float | None = None) -> Operation:
        """Return the operation once it has ended, well or not: look at its `status`.

        Outlives a restart of the server. Raises TimeoutError after `timeout` seconds (the operation
        goes on), and ServerUnreachable when no server has answered for the client's patience.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._ended()
        except TimeoutError as error:
            text = f"operation {self.id} has not ended within {timeout:g} s; it goes on"
            raise TimeoutError(text) from error

    async def _ended(self) -> Operation:
        patience = self._transport.patience()
        request = pb.WaitOperationRequest(id=self.id, timeout=Duration(seconds=POLL_SECONDS))
        while not self.latest.ended:
            try:
                response = await self._transport.call(
                    self._calls.WaitOperation, request, seconds=POLL_SECONDS + ANSWER_SECONDS
                )
            except TendhostError as error:
                await patience.after(error)
                continue
            patience.restored()
            self.latest = convert_operations.operation(response.operation)
            if not self.latest.ended:
                await transport.sleep(EARLY_SECONDS)
        return self.latest

    async def watch(self, log_offset: int = 0) -> AsyncGenerator[Operation | LogChunk, None]:
        """The operation whenever it has changed, and its log from `log_offset` (bytes) on.

        Ends when the operation has ended. Reconnects by itself, and goes on in the log where it was.
        """

        def request() -> pb.WatchOperationRequest:
            return pb.WatchOperationRequest(id=self.id, log_offset=log_offset)

        stream = self._transport.messages(
            self._watches.WatchOperation, request, complete=lambda: self.latest.ended
        )
        async with aclosing(stream):
            async for message in stream:
                if message.HasField("log"):
                    chunk = LogChunk(offset=message.log.offset, data=message.log.data)
                    log_offset = chunk.offset + len(chunk.data)
                    yield chunk
                else:
                    self.latest = convert_operations.operation(message.operation)
                    yield self.latest

    async def log(self, *, follow: bool = False) -> AsyncGenerator[bytes, None]:
        """The log so far; with `follow`, also what follows until the operation has ended."""
        size = None if follow else (await self.refresh()).log_size
        if size == 0:
            return
        async with aclosing(self.watch()) as items:
            async for item in items:
                if isinstance(item, LogChunk):
                    yield item.data
                    if size is not None and item.offset + len(item.data) >= size:
                        return

    async def cancel(self) -> str:
        """Request the cancellation of the operation; returns a message that says when it takes effect."""
        request = pb.CancelOperationRequest(id=self.id, request_id=new_request_id())
        response = await self._transport.call(self._calls.CancelOperation, request)
        self.latest = convert_operations.operation(response.operation)
        return response.message


class OperationCalls(Connected):
    """Operations, running and ended."""

    @property
    def _operations(self) -> OperationServiceStub:
        return OperationServiceStub(self._transport.calls)

    async def operation(self, id: str) -> OperationHandle:
        """One operation, to wait for or to inspect."""
        request = pb.GetOperationRequest(id=id)
        response = await self._transport.call(self._operations.GetOperation, request)
        return OperationHandle(self._transport, convert_operations.operation(response.operation))

    async def operations(
        self,
        *,
        host: str = "",
        rollout_id: str = "",
        statuses: Sequence[OperationStatus] = (),
        page_size: int = 50,
    ) -> AsyncGenerator[Operation, None]:
        """Operations, newest first; pages are loaded when needed."""
        request = pb.ListOperationsRequest(
            host=host,
            rollout_id=rollout_id,
            statuses=[convert_operations.OPERATION_STATUS_NUMBERS[status] for status in statuses],
            page_size=page_size,
        )
        async for page in self._transport.pages(self._operations.ListOperations, request):
            for operation in page.operations:
                yield convert_operations.operation(operation)
