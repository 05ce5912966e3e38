"""Pages of the event log, shared by all streams: the events of each host, each encoded once."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import MappingProxyType

from tendhost.server.domain.event_view import EventView, mentioned
from tendhost.server.domain.events import Event
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.rpc.convert.events import event_message
from tendhost.v1 import event_service_pb2 as pb

BATCH_BYTES = 64 * 1024
"""A message holds no more than this, unless a single event is larger."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The next message of a stream, which is then at `revision`. `encoded` is empty where no event concerns it."""

    encoded: bytes
    revision: int


class EventPage:
    """Events that follow each other; at least one."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._encoded = [b""] * len(events)
        self._positions: dict[str, list[int]] = {}
        for position, event in enumerate(events):
            if event.host:
                self._positions.setdefault(event.host, []).append(position)
        self.batches: dict[HostFilter | EventView, tuple[Batch, int]] = {}
        """Those that were made, each with the state of the fleet that it depends on."""

    @property
    def hosts(self) -> AbstractSet[str]:
        """The hosts that events of this page are about."""
        return self._positions.keys()

    @property
    def mentioned(self) -> Collection[str]:
        """The hosts that events of this page are about, and those that they name."""
        return {name for event in self._events for name in mentioned(event)}

    def whole(self) -> Batch:
        """The first events, of all hosts and of none, as many as a message may hold."""
        return self._batch(range(len(self._events)))

    def of_hosts(self, names: Iterable[str]) -> Batch:
        """The first events of these hosts, as many as a message may hold."""
        positions = [p for name in names for p in self._positions.get(name, ())]
        return self._batch(sorted(positions))

    def of_view(
        self, view: EventView, *, inside: Collection[str], selected: Collection[str]
    ) -> Batch:
        """The first events that a bound caller sees, as many as a message may hold. See EventView.seen."""
        altered: dict[int, bytes] = {}
        positions = []
        for position, event in enumerate(self._events):
            seen = view.seen(event, inside=inside, selected=selected)
            if seen is None:
                continue
            positions.append(position)
            if seen is not event:
                altered[position] = _encoded(seen)
        return self._batch(positions, altered)

    def _batch(
        self, positions: Sequence[int], altered: Mapping[int, bytes] = MappingProxyType({})
    ) -> Batch:
        size, last = 0, 0
        parts: list[bytes] = []
        reached = self._events[-1].revision
        for position in positions:
            encoded = altered.get(position) or self._event(position)
            size += len(encoded)
            if parts and size > BATCH_BYTES:
                break
            parts.append(encoded)
            last = self._events[position].revision
        if not parts:
            return Batch(b"", reached)
        if len(parts) < len(positions):
            reached = last
        # Messages one after the other are one message that has the fields of all of them.
        return Batch(b"".join((*parts, bookmark(reached))), reached)

    def _event(self, position: int) -> bytes:
        if not self._encoded[position]:
            self._encoded[position] = _encoded(self._events[position])
        return self._encoded[position]


def _encoded(event: Event) -> bytes:
    return pb.WatchEventsResponse(events=[event_message(event)]).SerializeToString()


def bookmark(revision: int) -> bytes:
    """The message that says where a stream is."""
    return pb.WatchEventsResponse(revision=revision).SerializeToString()
