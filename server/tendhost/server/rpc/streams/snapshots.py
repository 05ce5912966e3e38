"""Snapshots of the fleet as of one revision, a part at a time: streams share the parts, and hold one each.

The parts of a snapshot are read one by one, as their client takes them, each as of a revision of its own. What
was changed or removed behind the first of them is sent once more, until a read finds nothing further: then the
client has the hosts as of the revision of that read.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.rpc.convert.hosts import host_message
from tendhost.server.rpc.streams.membership import SelectionMembership
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
    names: tuple[str, ...]
    """Of the hosts that it has."""
    gone: tuple[str, ...]
    """Names that are not in `encoded`: each stream of a bound caller is told those that it had been sent."""
    revision: int
    last: HostCursor
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What a stream wants a snapshot of."""

    hosts: HostFilter
    scope: Scope | None = None
    """Of a bound caller, which is told of no host outside."""


_Key = tuple[_Wanted, str | HostCursor]


class FleetSnapshots:
    """Reads and sends the snapshots of all streams."""

    def __init__(self, store: FleetStore, membership: SelectionMembership) -> None:
        self._store = store
        self._membership = membership
        self._parts: OrderedDict[_Key, _SnapshotPart] = OrderedDict()
        self._host_changes = 0
        # Snapshots take one of the store's readers at most: rollouts and lists need the others.
        self._reading = asyncio.Lock()

    def forget(self, touched: Touched) -> None:
        """Drop what a commit has changed. To be called after every commit."""
        if touched.hosts:
            self._host_changes += 1
            self._parts.clear()

    async def send(self, selection: HostFilter, context: Any, *, scope: Scope | None = None) -> int:
        """Send the selected hosts; the revision as of which the client has them. Raises CursorCompacted.

        A caller that is bound to `scope` is told of none outside, and of those that leave it if they were sent.
        """
        wanted = _Wanted(hosts=selection, scope=scope)
        sent: set[str] = set()
        part = await self._part(wanted, "", at_least=0)
        first = newest = part.revision
        await _send(part, sent, context)
        while part.more:
            part = await self._part(wanted, part.last.name, at_least=0)
            first, newest = min(first, part.revision), max(newest, part.revision)
            await _send(part, sent, context)
        position, more = HostCursor(first + 1), True
        while more:
            part = await self._part(wanted, position, at_least=newest)
            position, more, newest = part.last, part.more, max(newest, part.revision)
            await _send(part, sent, context)
        end = pb.WatchEventsResponse(phase=pb.WATCH_PHASE_SNAPSHOT_END, revision=part.revision)
        await send(context, end)
        return part.revision

    async def _part(
        self, wanted: _Wanted, after: str | HostCursor, *, at_least: int
    ) -> _SnapshotPart:
        """What follows `after`, as of a revision that is not below `at_least`."""
        key = (wanted, after)
        async with self._reading:
            known = self._parts.get(key)
            if known is not None and known.revision >= at_least:
                return known
            changes = self._host_changes
            bounds = {"limit": HOSTS_PER_MESSAGE, "size": PART_BYTES}
            if isinstance(after, HostCursor):
                read = await self._store.changed_hosts(wanted.hosts, after=after, **bounds)
            else:
                read = await self._store.hosts_part(wanted.hosts, after=after, **bounds)
            part = await self._made(read, wanted.scope, by_label=isinstance(after, str))
            if changes == self._host_changes:
                self._parts[key] = part
                if len(self._parts) > SHARED_PARTS:
                    self._parts.popitem(last=False)
            return part

    async def _made(self, read: HostsPart, scope: Scope | None, *, by_label: bool) -> _SnapshotPart:
        if scope is None:
            encoded = _encoded((*read.hosts, *read.unreadable), read.gone)
            return _SnapshotPart(encoded, (), (), read.revision, read.last, read.more)
        alike = {one.host for host in read.hosts for one in host.status.duplicate_of}
        inside = set(await self._membership.within(alike, scope.filter))
        hosts = tuple(
            host.resembling(tuple(one for one in host.status.duplicate_of if one.host in inside))
            if host.status.duplicate_of
            else host
            for host in read.hosts
        )
        # Only where hosts are found by their labels is it known of an unreadable one that the scope has it.
        unreadable = read.unreadable if by_label else ()
        unknown = () if by_label else tuple(row.key for row in read.unreadable)
        return _SnapshotPart(
            encoded=_encoded((*hosts, *unreadable), ()),
            names=tuple(host.name for host in hosts) + tuple(row.key for row in unreadable),
            gone=(*read.gone, *unknown),
            revision=read.revision,
            last=read.last,
            more=read.more,
        )


async def _send(part: _SnapshotPart, sent: set[str], context: Any) -> None:
    gone = [name for name in part.gone if name in sent]
    sent.difference_update(gone)
    sent.update(part.names)
    if part.encoded or gone:
        # Messages one after the other are one message that has the fields of both.
        await send(context, part.encoded + (_encoded((), gone) if gone else b""))


def _encoded(hosts: Sequence[Host | Unreadable], gone: Sequence[str]) -> bytes:
    if not hosts and not gone:
        return b""
    return pb.WatchEventsResponse(
        phase=pb.WATCH_PHASE_SNAPSHOT,
        hosts=[host_message(host) for host in hosts],
        removed_hosts=gone,
    ).SerializeToString()
