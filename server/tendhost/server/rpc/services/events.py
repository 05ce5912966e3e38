"""EventService: the fleet's events as a stream that can be resumed."""

from typing import Any

from tendhost.server.domain.event_view import EventView
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.request_errors import CursorCompacted, CursorUnknown, ServerStopping
from tendhost.server.engine.engine import Engine
from tendhost.server.rpc.interceptor import caller
from tendhost.server.rpc.scoping import selected_by
from tendhost.server.rpc.streams.event_feed import EventFeed
from tendhost.server.rpc.streams.event_pages import bookmark
from tendhost.server.rpc.streams.stream_writer import send
from tendhost.server.store.protocols.events import EventLog
from tendhost.server.store.records import LogBounds
from tendhost.v1 import event_service_pb2 as pb
from tendhost.v1 import event_service_pb2_grpc


class EventServicer(event_service_pb2_grpc.EventServiceServicer):
    """Streams the events of the fleet."""

    def __init__(self, engine: Engine, feed: EventFeed) -> None:
        self._store: EventLog = engine.store
        self._selections = engine.selections
        self._feed = feed

    # The generated type is that of a generator; this way a write can be given a deadline.
    async def WatchEvents(  # type: ignore[override]
        self, request: pb.WatchEventsRequest, context: Any
    ) -> None:
        principal = caller()
        selection = await selected_by(request.filter, self._selections, principal)
        wanted: HostFilter | EventView = selection
        if principal.scope is not None:
            wanted = EventView(scope=principal.scope, asked=selection, since=principal.issued_at)
        bounds = await self._store.log_bounds()
        cursor = starting_point(request, bounds)
        await send(context, _hello(bounds))
        if request.snapshot:
            cursor = await self._feed.snapshots.send(selection, context, scope=principal.scope)
        await self._follow(cursor, wanted, context)

    async def _follow(self, cursor: int, wanted: HostFilter | EventView, context: Any) -> None:
        sent = cursor
        while True:
            batch = await self._feed.batch(cursor, wanted)
            if batch.encoded:
                await send(context, batch.encoded)
                cursor = sent = batch.revision
            elif batch.revision > cursor:
                cursor = batch.revision
            elif cursor > sent:
                # The revision that events of other hosts have reached is sent once no event follows.
                await send(context, bookmark(cursor))
                sent = cursor
            elif self._feed.closing:
                raise ServerStopping
            else:
                await self._pause(cursor, context)

    async def _pause(self, cursor: int, context: Any) -> None:
        await self._feed.wait_for_news(cursor)
        if (self._feed.idle or self._feed.closing) and not self._feed.has_after(cursor):
            await send(context, bookmark(cursor))


def starting_point(request: pb.WatchEventsRequest, bounds: LogBounds) -> int:
    """The revision after which the events begin. Raises CursorCompacted or CursorUnknown."""
    if not request.HasField("resume_after"):
        return bounds.current
    cursor = request.resume_after
    of_other_log = bool(request.log_id) and request.log_id != bounds.log_id
    if of_other_log or cursor > bounds.current:
        raise CursorUnknown(
            cursor=cursor,
            oldest=bounds.oldest,
            current=bounds.current,
            log_id=request.log_id,
            current_log_id=bounds.log_id,
        )
    if cursor < bounds.oldest - 1:
        raise CursorCompacted(cursor=cursor, oldest=bounds.oldest, current=bounds.current)
    return cursor


def _hello(bounds: LogBounds) -> pb.WatchEventsResponse:
    return pb.WatchEventsResponse(
        phase=pb.WATCH_PHASE_OPENED,
        log_id=bounds.log_id,
        oldest_revision=bounds.oldest,
        current_revision=bounds.current,
    )
