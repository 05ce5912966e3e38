"""Pages of the event log, shared by all streams: the events of each host, each encoded once."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

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
        self.batches: dict[HostFilter, tuple[Batch, int]] = {}
        """Those that were made, each with the state of the fleet that it depends on."""

    @property
    def hosts(self) -> Collection[str]:
        """The hosts that events of this page are about."""
        return self._positions.keys()

    def whole(self) -> Batch:
        """The first events, of all hosts and of none, as many as a message may hold."""
        return self._batch(range(len(self._events)))

    def of_hosts(self, names: Iterable[str]) -> Batch:
        """The first events of these hosts, as many as a message may hold."""
        positions = [p for name in names for p in self._positions.get(name, ())]
        return self._batch(sorted(positions))

    def _batch(self, positions: Sequence[int]) -> Batch:
        size, last = 0, 0
        parts: list[bytes] = []
        reached = self._events[-1].revision
        for position in positions:
            encoded = self._event(position)
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
            message = event_message(self._events[position])
            self._encoded[position] = pb.WatchEventsResponse(events=[message]).SerializeToString()
        return self._encoded[position]


def bookmark(revision: int) -> bytes:
    """The message that says where a stream is."""
    return pb.WatchEventsResponse(revision=revision).SerializeToString()
