"""Snapshots of the fleet as of one revision, a part at a time: streams share the parts, and hold one each.

The parts of a snapshot are read one by one, as their client takes them, each as of a revision of its own. What
was changed or removed behind the first of them is sent once more, until a read finds nothing further: then the
client has the hosts as of the revision of that read.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.rpc.convert.hosts import host_message
from tendhost.server.rpc.streams.stream_writer import send
from tendhost.server.store.protocols.hosts import FleetStore
from tendhost.server.store.records import HostCursor, HostsPart, Touched, Unreadable
from tendhost.v1 import event_service_pb2 as pb

HOSTS_PER_MESSAGE = 100
PART_BYTES = 64 * 1024
"""A part holds about this much at most, unless a single host is larger."""
SHARED_PARTS = 64


@dataclass(frozen=True, slots=True)
class _SnapshotPart:
    """A part as one message. `encoded` is empty where the part has no hosts."""

    encoded: bytes
    revision: int
    last: HostCursor
    more: bool


_Key = tuple[HostFilter, str | HostCursor]


class FleetSnapshots:
    """Reads and sends the snapshots of all streams."""

    def __init__(self, store: FleetStore) -> None:
        self._store = store
        self._parts: OrderedDict[_Key, _SnapshotPart] = OrderedDict()
        self._host_changes = 0
        # Snapshots take one of the store's readers at most: rollouts and lists need the others.
        self._reading = asyncio.Lock()

    def forget(self, touched: Touched) -> None:
        """Drop what a commit has changed. To be called after every commit."""
        if touched.hosts:
            self._host_changes += 1
            self._parts.clear()

    async def send(self, selection: HostFilter, context: Any) -> int:
        """Send the selected hosts; the revision as of which the client has them. Raises CursorCompacted."""
        part = await self._part(selection, "", at_least=0)
        first = newest = part.revision
        await _send(part, context)
        while part.more:
            part = await self._part(selection, part.last.name, at_least=0)
            first, newest = min(first, part.revision), max(newest, part.revision)
            await _send(part, context)
        position, more = HostCursor(first + 1), True
        while more:
            part = await self._part(selection, position, at_least=newest)
            position, more, newest = part.last, part.more, max(newest, part.revision)
            await _send(part, context)
        end = pb.WatchEventsResponse(phase=pb.WATCH_PHASE_SNAPSHOT_END, revision=part.revision)
        await send(context, end)
        return part.revision

    async def _part(
        self, selection: HostFilter, after: str | HostCursor, *, at_least: int
    ) -> _SnapshotPart:
        """What follows `after`, as of a revision that is not below `at_least`."""
        key = (selection, after)
        async with self._reading:
            known = self._parts.get(key)
            if known is not None and known.revision >= at_least:
                return known
            changes = self._host_changes
            bounds = {"limit": HOSTS_PER_MESSAGE, "size": PART_BYTES}
            if isinstance(after, HostCursor):
                read = await self._store.changed_hosts(selection, after=after, **bounds)
            else:
                read = await self._store.hosts_part(selection, after=after, **bounds)
            part = _SnapshotPart(_encoded(read), read.revision, read.last, read.more)
            if changes == self._host_changes:
                self._parts[key] = part
                if len(self._parts) > SHARED_PARTS:
                    self._parts.popitem(last=False)
            return part


async def _send(part: _SnapshotPart, context: Any) -> None:
    if part.encoded:
        await send(context, part.encoded)


def _encoded(read: HostsPart) -> bytes:
    hosts: tuple[Host | Unreadable, ...] = (*read.hosts, *read.unreadable)
    if not hosts and not read.gone:
        return b""
    return pb.WatchEventsResponse(
        phase=pb.WATCH_PHASE_SNAPSHOT,
        hosts=[host_message(host) for host in hosts],
        removed_hosts=read.gone,
    ).SerializeToString()
