"""The events of the fleet as an endless stream that reconnects, without gaps or repetitions."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing

from tendhost.client.convert import events as convert_events
from tendhost.client.convert import hosts as convert_hosts
from tendhost.client.convert import selections as convert_selections
from tendhost.client.errors import CursorLost, WatcherTooSlow
from tendhost.client.models.events import Event, Snapshot
from tendhost.client.models.hosts import Host
from tendhost.client.models.selections import HostFilter
from tendhost.client.transport import Transport
from tendhost.v1 import event_service_pb2 as pb
from tendhost.v1.event_service_pb2_grpc import EventServiceStub


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
        self._filter = (
            convert_selections.filter_message(selection) if selection is not None else None
        )
        self._wants_snapshot = snapshot
        self._until = until
        self._items = self._follow()
        self._hosts: dict[str, Host] = {}
        self._snapshot_log_id = ""
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
        method = EventServiceStub(self._transport.watches).WatchEvents
        while True:
            stream = self._transport.messages(method, self._request)
            try:
                async with aclosing(stream):
                    async for message in stream:
                        for item in self._heard(message):
                            yield item
                        if self._until is not None and (self.revision or 0) >= self._until:
                            return
            except CursorLost:
                if self._wants_snapshot:
                    raise  # a snapshot has no cursor to lose
                self._wants_snapshot = True
            except WatcherTooSlow:
                pass  # whoever took so long for an item goes on after it

    def _request(self) -> pb.WatchEventsRequest:
        self._hosts.clear()
        request = pb.WatchEventsRequest(snapshot=self._wants_snapshot, filter=self._filter)
        if not self._wants_snapshot and self.revision is not None:
            request.resume_after = self.revision
            request.log_id = self.log_id
        return request

    def _heard(self, message: pb.WatchEventsResponse) -> Iterator[Event | Snapshot]:
        if message.phase == pb.WATCH_PHASE_OPENED:
            if self._wants_snapshot:
                # The old cursor belongs to the old log until the snapshot takes its place.
                self._snapshot_log_id = message.log_id
                return
            self.log_id = message.log_id
            if self.revision is None:
                self.revision = message.current_revision
        elif message.phase == pb.WATCH_PHASE_SNAPSHOT:
            for name in message.removed_hosts:
                self._hosts.pop(name, None)
            for host in map(convert_hosts.host, message.hosts):
                self._hosts[host.name] = host
        elif message.phase == pb.WATCH_PHASE_SNAPSHOT_END:
            self._wants_snapshot = False
            self.revision, self.log_id = message.revision, self._snapshot_log_id
            hosts = tuple(host for _, host in sorted(self._hosts.items()))
            self._hosts.clear()
            yield Snapshot(revision=message.revision, hosts=hosts)
        else:
            for event in message.events:
                # Before it is given out: whoever saves the cursor while handling the item means to
                # have handled it.
                self.revision = event.revision
                yield convert_events.event(event)
            self.revision = max(self.revision or 0, message.revision)
