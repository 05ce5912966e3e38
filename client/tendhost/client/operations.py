"""An operation in hand: wait for it, watch it, read its log, cancel it."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import grpc
from google.protobuf.duration_pb2 import Duration

from tendhost.client import convert
from tendhost.client.errors import TendhostError, error_of
from tendhost.client.transport import Patience, Transport, stream
from tendhost.client.values import LogChunk, Operation
from tendhost.v1 import operation_service_pb2 as pb
from tendhost.v1.operation_service_pb2_grpc import OperationServiceStub

POLL_SECONDS = 60
PATIENCE_SECONDS = 120.0
"""A server that is being restarted is back sooner."""


class OperationHandle:
    """An operation on the server. It goes on whether or not anybody holds this."""

    def __init__(self, transport: Transport, operation: Operation) -> None:
        self._transport = transport
        self._calls = OperationServiceStub(transport.calls)
        self._watches = OperationServiceStub(transport.watches)
        self.latest = operation
        """The operation as it was last heard of."""

    @property
    def id(self) -> str:
        """The operation's id."""
        return self.latest.id

    @property
    def host(self) -> str:
        """The host's name."""
        return self.latest.host

    async def refresh(self) -> Operation:
        """Ask how it stands."""
        response = await self._transport.call(
            self._calls.GetOperation, pb.GetOperationRequest(id=self.id)
        )
        self.latest = convert.operation(response.operation)
        return self.latest

    async def wait(self, timeout: float | None = None) -> Operation:
        """Return the operation once it has ended.

        Outlives a server that is restarted meanwhile. Raises TimeoutError after `timeout` seconds,
        ServerUnreachable when no server has answered for two minutes, and other TendhostErrors.
        """
        patience = Patience(PATIENCE_SECONDS)
        request = pb.WaitOperationRequest(id=self.id, timeout=Duration(seconds=POLL_SECONDS))
        async with asyncio.timeout(timeout):
            while not self.latest.status.ended:
                try:
                    response = await self._transport.call(
                        self._calls.WaitOperation, request, seconds=POLL_SECONDS + 30
                    )
                except TendhostError as error:
                    await patience.after(error)
                else:
                    patience.restored()
                    self.latest = convert.operation(response.operation)
        return self.latest

    async def watch(self, log_offset: int = 0) -> AsyncIterator[Operation | LogChunk]:
        """The operation whenever it has changed, and its log from `log_offset` on, until it has ended.

        Reconnects by itself, and goes on in the log where it was.
        """
        patience = Patience(PATIENCE_SECONDS)
        while True:
            request = pb.WatchOperationRequest(id=self.id, log_offset=log_offset)
            call = stream(self._watches.WatchOperation, request, self._transport)
            try:
                async for message in call:
                    patience.restored()
                    if message.HasField("log"):
                        chunk = LogChunk(offset=message.log.offset, data=message.log.data)
                        log_offset = chunk.offset + len(chunk.data)
                        yield chunk
                    else:
                        self.latest = convert.operation(message.operation)
                        yield self.latest
            except grpc.aio.AioRpcError as failed:
                await patience.after(error_of(failed, target=self._transport.target))
            finally:
                call.cancel()
            # A server that stops ends its streams, too, with the operation as it stands.
            if self.latest.status.ended and log_offset >= self.latest.log_size:
                return

    async def log(self, *, follow: bool = False) -> AsyncIterator[bytes]:
        """The log so far, and with `follow` what comes until the operation has ended."""
        if not follow:
            await self.refresh()
        size = self.latest.log_size
        seen = 0
        if not follow and size == 0:
            return
        async for item in self.watch():
            if isinstance(item, LogChunk):
                seen = item.offset + len(item.data)
                yield item.data
                if not follow and seen >= size:
                    return

    async def cancel(self) -> str:
        """Ask it to stop where that is sound; when that will be, in words."""
        response = await self._transport.call(
            self._calls.CancelOperation,
            pb.CancelOperationRequest(id=self.id, request_id=new_request_id()),
        )
        self.latest = convert.operation(response.operation)
        return response.message


def new_request_id() -> str:
    """A fresh id that makes a mutation happen once, however often it is sent."""
    return str(uuid.uuid4())
