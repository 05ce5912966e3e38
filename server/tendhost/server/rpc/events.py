"""EventService: the fleet's events as a stream that can be resumed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tendhost.server.domain.errors import (
    CursorCompacted,
    CursorUnknown,
    HostNotFound,
    ServerStopping,
)
from tendhost.server.domain.events import Event
from tendhost.server.domain.host import Host, HostConfig
from tendhost.server.domain.selection import HostFilter
from tendhost.server.engine.engine import Engine
from tendhost.server.rpc.convert import event_message
from tendhost.server.rpc.convert_selection import host_filter
from tendhost.server.rpc.feed import Feed, fitting
from tendhost.server.rpc.sending import send
from tendhost.server.store.protocol import LogBounds
from tendhost.v1 import event_service_pb2 as pb
from tendhost.v1 import event_service_pb2_grpc

_NEVER = datetime.min.replace(tzinfo=UTC)


class EventServicer(event_service_pb2_grpc.EventServiceServicer):
    """What happens in the fleet."""

    def __init__(self, engine: Engine, feed: Feed) -> None:
        self._store = engine.store
        self._selections = engine.selections
        self._feed = feed

    # The generated type is that of a generator; this way a write can be given a deadline.
    async def WatchEvents(  # type: ignore[override]
        self, request: pb.WatchEventsRequest, context: Any
    ) -> None:
        selection = await self._selections.resolved(host_filter(request.filter))
        bounds = await self._store.log_bounds()
        cursor = starting_point(request, bounds)
        await send(context, _hello(bounds))
        if request.snapshot:
            cursor = await self._feed.snapshots.send(selection, context)
        if selection == HostFilter():
            await self._follow_all(cursor, context)
        else:
            await self._follow_selected(cursor, selection, context)

    async def _follow_all(self, cursor: int, context: Any) -> None:
        while True:
            batch = await self._feed.batch(cursor)
            if batch.encoded:
                await send(context, batch.encoded)
                cursor = batch.revision
            elif self._feed.closing:
                raise ServerStopping
            else:
                await self._pause(cursor, context)

    async def _follow_selected(self, cursor: int, selection: HostFilter, context: Any) -> None:
        told = cursor
        while True:
            events = await self._feed.following(cursor)
            if events:
                cursor = await self._send_selected(events, selection, context)
                continue
            if cursor > told:
                # What was passed over is told as soon as there is nothing more to pass over.
                await send(context, pb.WatchEventsResponse(revision=cursor))
                told = cursor
            if self._feed.closing:
                raise ServerStopping
            await self._pause(cursor, context)

    async def _send_selected(
        self, events: Sequence[Event], selection: HostFilter, context: Any
    ) -> int:
        names = {event.host for event in events if event.host}
        selected = {name for name in names if await self._is_selected(name, selection)}
        wanted = [event_message(event) for event in events if event.host in selected]
        reached = events[-1].revision
        if not wanted:
            return reached
        fit = fitting(wanted)
        if len(fit) < len(wanted):
            reached = fit[-1].revision
        await send(context, pb.WatchEventsResponse(events=fit, revision=reached))
        return reached

    async def _is_selected(self, name: str, selection: HostFilter) -> bool:
        try:
            host = await self._store.host(name)
        except HostNotFound:
            # It is gone; whoever watches it by name still wants to hear so.
            gone = Host(config=HostConfig(name=name, address=""), host_key="", registered_at=_NEVER)
            return selection.matches(gone)
        return selection.matches(host)

    async def _pause(self, cursor: int, context: Any) -> None:
        await self._feed.news(cursor)
        if (self._feed.quiet or self._feed.closing) and not self._feed.beyond(cursor):
            await send(context, pb.WatchEventsResponse(revision=cursor))


def starting_point(request: pb.WatchEventsRequest, bounds: LogBounds) -> int:
    """The revision to begin after. Raises CursorCompacted or CursorUnknown."""
    if not request.HasField("resume_after"):
        return bounds.current
    cursor = request.resume_after
    of_other_log = bool(request.log_id) and request.log_id != bounds.log_id
    if of_other_log or cursor > bounds.current:
        raise CursorUnknown(cursor=cursor, oldest=bounds.oldest, current=bounds.current)
    if cursor < bounds.oldest - 1:
        raise CursorCompacted(cursor=cursor, oldest=bounds.oldest, current=bounds.current)
    return cursor


def _hello(bounds: LogBounds) -> pb.WatchEventsResponse:
    return pb.WatchEventsResponse(
        phase=pb.WATCH_PHASE_HELLO,
        log_id=bounds.log_id,
        oldest_revision=bounds.oldest,
        current_revision=bounds.current,
    )
