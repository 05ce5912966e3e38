"""OperationService: operations are started, listed, watched and cancelled."""

import asyncio
from dataclasses import replace
from typing import Any, Protocol

from tendhost.server.domain.operations.log_limit import left_out_line
from tendhost.server.domain.operations.operation import Operation
from tendhost.server.engine.engine import Engine
from tendhost.server.rpc.convert.operations import operation_message, operation_statuses
from tendhost.server.rpc.interceptor import call, caller
from tendhost.server.rpc.paging import fill, page_size, position
from tendhost.server.rpc.scoping import Scopes
from tendhost.server.rpc.streams.event_feed import EventFeed
from tendhost.server.rpc.streams.stream_writer import send
from tendhost.server.store.protocols.operations import LogStore, OperationStore
from tendhost.v1 import operation_service_pb2 as pb
from tendhost.v1 import operation_service_pb2_grpc

DEFAULT_WAIT_SECONDS = 60.0
LOG_PAGE = 64 * 1024


class OperationServiceStore(OperationStore, LogStore, Protocol):
    """Operations and their logs."""


class OperationServicer(operation_service_pb2_grpc.OperationServiceServicer):
    """The work on hosts, as it goes and as it went."""

    def __init__(self, engine: Engine, feed: EventFeed, scopes: Scopes) -> None:
        self._engine = engine
        self._scopes = scopes
        self._store: OperationServiceStore = engine.store
        self._feed = feed

    async def GetOperation(
        self, request: pb.GetOperationRequest, context: Any
    ) -> pb.GetOperationResponse:
        operation = await self._operation(request.id)
        return pb.GetOperationResponse(operation=operation_message(operation))

    async def ListOperations(
        self, request: pb.ListOperationsRequest, context: Any
    ) -> pb.ListOperationsResponse:
        page = await self._store.operations(
            host=request.host,
            rollout=request.rollout_id,
            statuses=operation_statuses(request.statuses),
            scope=caller().scope,
            before=position(request, request.page_token),
            limit=page_size(request.page_size),
        )
        response = pb.ListOperationsResponse()
        response.next_page_token = await fill(
            response.operations,
            request,
            page.rows,
            operation_message,
            lambda operation: operation.id,
            more=page.more,
        )
        return response

    async def WaitOperation(
        self, request: pb.WaitOperationRequest, context: Any
    ) -> pb.WaitOperationResponse:
        seconds = DEFAULT_WAIT_SECONDS
        if request.HasField("timeout"):
            seconds = request.timeout.ToTimedelta().total_seconds()
        with self._feed.changes_of(request.id) as signal:
            operation = await self._operation(request.id)
            try:
                async with asyncio.timeout(seconds):
                    while not operation.status.ended:
                        await self._feed.wait_for_change(signal)
                        operation = await self._operation(request.id)
            except TimeoutError:
                pass  # the answer says how far it is
        return pb.WaitOperationResponse(operation=operation_message(operation))

    async def CancelOperation(
        self, request: pb.CancelOperationRequest, context: Any
    ) -> pb.CancelOperationResponse:
        def encode(operation: Operation) -> pb.CancelOperationResponse:
            return pb.CancelOperationResponse(
                operation=operation_message(operation), message=operation.cancellation
            )

        return encode(await self._engine.operations.cancel(request.id, call(encode)))

    # The generated type is that of a generator; this way a write can be given a deadline.
    async def WatchOperation(  # type: ignore[override]
        self, request: pb.WatchOperationRequest, context: Any
    ) -> None:
        offset, sent = request.log_offset, None
        with self._feed.changes_of(request.id) as signal:
            operation = await self._operation(request.id)
            while not operation.status.ended:
                if _compared(operation) != sent:
                    await self._tell(operation, context)
                    sent = _compared(operation)
                offset = await self._send_log(operation, offset, context)
                await self._feed.wait_for_change(signal)
                operation = await self._operation(request.id)
        await self._send_log(operation, offset, context)
        await self._tell(operation, context)

    async def _operation(self, id: str) -> Operation:
        """The operation, as often as a call looks at it: the labels of its host may change in between."""
        await self._scopes.require_operation(caller().scope, id)
        return await self._store.operation(id)

    async def _tell(self, operation: Operation, context: Any) -> None:
        await send(context, pb.WatchOperationResponse(operation=operation_message(operation)))

    async def _send_log(self, operation: Operation, offset: int, context: Any) -> int:
        while offset < operation.log_size:
            found = await self._store.log(operation.id, offset=offset, limit=LOG_PAGE)
            if not found.data:
                break
            if found.offset > offset:
                gap = _left_out(offset, found.offset)
                await send(context, pb.WatchOperationResponse(log=gap))
            chunk = pb.LogChunk(offset=found.offset, data=found.data)
            await send(context, pb.WatchOperationResponse(log=chunk))
            offset = found.offset + len(found.data)
        return offset


def _left_out(begin: int, end: int) -> pb.LogChunk:
    """What stands in place of the bytes from `begin` to `end`. It ends where they do, and never overlaps
    what was before them: whoever resumes after it goes on behind the gap."""
    line = left_out_line(end - begin)[-(end - begin) :]
    return pb.LogChunk(offset=end - len(line), data=line)


def _compared(operation: Operation) -> Operation:
    """The part of an operation whose change is sent to those who watch it; its log is sent apart."""
    return replace(operation, log_size=0, job=None, quiet_writes=0)
