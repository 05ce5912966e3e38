"""The fleet's events as an endless stream that reconnects, and misses and repeats nothing."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc

from tendhost.client import convert
from tendhost.client.errors import CursorLost, TooSlow, error_of
from tendhost.client.transport import Patience, Transport, stream
from tendhost.client.values import Event, Host, HostFilter, Snapshot
from tendhost.v1 import event_service_pb2 as pb
from tendhost.v1.event_service_pb2_grpc import EventServiceStub

PATIENCE_SECONDS = 120.0


class EventStream:
    """Iterate over it for Events, and for a Snapshot wherever the stream starts over.

    To have every effect exactly once, save `revision` and `log_id` together with the effect of each
    item, and begin the next stream with them.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        resume_after: int | None,
        log_id: str,
        snapshot: bool,
        selection: HostFilter | None,
        until: int | None,
    ) -> None:
        if snapshot and resume_after is not None:
            raise ValueError("snapshot and resume_after exclude each other")
        self._transport = transport
        self._stub = EventServiceStub(transport.watches)
        self._selection = selection
        self._wants_snapshot = snapshot
        self._until = until
        self._items = self._follow()
        self.log_id = log_id
        """The event log that `revision` belongs to; empty until the server has said it."""
        self.revision = resume_after
        """Everything up to here has been given out; None until the stream has begun."""

    def __aiter__(self) -> AsyncIterator[Event | Snapshot]:
        return self._items

    async def aclose(self) -> None:
        """End the stream."""
        await self._items.aclose()

    async def _follow(self) -> AsyncGenerator[Event | Snapshot, None]:
        patience = Patience(PATIENCE_SECONDS)
        while True:
            call = stream(self._stub.WatchEvents, self._request(), self._transport)
            try:
                async for item in self._read(call, patience):
                    yield item
                if self._at_end:
                    return
            except grpc.aio.AioRpcError as failed:
                error = error_of(failed, target=self._transport.target)
                if isinstance(error, CursorLost):
                    self._wants_snapshot = True
                    continue
                if not isinstance(error, TooSlow):
                    await patience.after(error)
            finally:
                call.cancel()

    def _request(self) -> pb.WatchEventsRequest:
        request = pb.WatchEventsRequest(snapshot=self._wants_snapshot)
        if self._selection is not None:
            request.filter.CopyFrom(convert.filter_message(self._selection))
        if not self._wants_snapshot and self.revision is not None:
            request.resume_after = self.revision
            request.log_id = self.log_id
        return request

    async def _read(self, call: Any, patience: Patience) -> AsyncIterator[Event | Snapshot]:
        hosts: list[Host] = []
        async for message in call:
            patience.restored()
            if message.phase == pb.WATCH_PHASE_HELLO:
                self.log_id = message.log_id
                if self.revision is None and not self._wants_snapshot:
                    self.revision = message.current_revision
            elif message.phase == pb.WATCH_PHASE_SNAPSHOT:
                hosts.extend(convert.host(host) for host in message.hosts)
            elif message.phase == pb.WATCH_PHASE_SNAPSHOT_END:
                self._wants_snapshot = False
                self.revision = message.revision
                yield Snapshot(revision=message.revision, hosts=tuple(hosts))
            else:
                for event in message.events:
                    # Before it is given out: whoever saves the cursor while handling the item means
                    # to have handled it.
                    self.revision = event.revision
                    yield convert.event(event)
                self.revision = max(self.revision or 0, message.revision)
            if self._at_end:
                return

    @property
    def _at_end(self) -> bool:
        return self._until is not None and (self.revision or 0) >= self._until
