"""The hosts that a filter selects at present: each host is read once for all streams, until it changes."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from tendhost.server.domain.hosts.host import Host, HostConfig
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.store.protocols.hosts import HostStore
from tendhost.server.store.records import DocumentUnreadable, Touched, Unreadable

HOSTS_KEPT = 2048
_NEVER = datetime.min.replace(tzinfo=UTC)


class SelectionMembership:
    """Decides for every stream of this server which events concern it."""

    def __init__(self, store: HostStore) -> None:
        self._store = store
        self._hosts: dict[str, Host | Unreadable] = {}
        self._touched: set[str] = set()
        """Since the last reading began."""
        self._reading = asyncio.Lock()
        self.version = 0
        """Grows whenever a host changes: earlier decisions may be outdated then."""

    def forget(self, touched: Touched) -> None:
        """Drop what a commit has changed. To be called after every commit."""
        if touched.hosts:
            self.version += 1
            self._touched |= touched.hosts
            for name in touched.hosts:
                self._hosts.pop(name, None)

    async def selected(self, names: Collection[str], selection: HostFilter) -> list[str]:
        """Those of `names` that `selection` selects, as they are now. Raises DocumentUnreadable."""
        chosen = await self._chosen(names, selection)
        for _, host in chosen:
            if isinstance(host, Unreadable):
                raise DocumentUnreadable(kind=host.kind, key=host.key, problem=host.problem)
        return [name for name, _ in chosen]

    async def within(self, names: Collection[str], selection: HostFilter) -> list[str]:
        """As `selected`, without hosts that cannot be read: an error would name one that is outside a scope."""
        chosen = await self._chosen(names, selection)
        return [name for name, host in chosen if not isinstance(host, Unreadable)]

    async def _chosen(
        self, names: Collection[str], selection: HostFilter
    ) -> list[tuple[str, Host | Unreadable | None]]:
        """Those that are selected, and those of which that is not known. None: the host need not be read."""
        exact = selection.exact_names
        if exact is not None:
            # The smaller of the two is gone through.
            names = [n for n in exact if n in names] if len(exact) < len(names) else names
        able = [name for name in names if selection.may_match(name)]
        if selection.is_of_names or not able:
            return [(name, None) for name in able]
        known = await self._known(able)
        return [
            (name, host)
            for name in able
            if isinstance(host := known[name], Unreadable) or selection.matches(host)
        ]

    async def _known(self, names: Sequence[str]) -> Mapping[str, Host | Unreadable]:
        # Others wait for the reading, and need not read the same hosts again.
        async with self._reading:
            known = {name: self._hosts[name] for name in names if name in self._hosts}
            missing = tuple(name for name in names if name not in known)
            if missing:
                known.update(await self._read(missing))
            return known

    async def _read(self, names: tuple[str, ...]) -> Mapping[str, Host | Unreadable]:
        self._touched.clear()
        page = await self._store.hosts(HostFilter(names=names), limit=len(names))
        found = {row.key if isinstance(row, Unreadable) else row.name: row for row in page.rows}
        read = {name: found.get(name) or _gone(name) for name in names}
        if len(self._hosts) + len(names) > HOSTS_KEPT:
            self._hosts.clear()
        # What was changed during the reading may have been read as it was before.
        self._hosts.update((n, host) for n, host in read.items() if n not in self._touched)
        return read


def _gone(name: str) -> Host:
    """Stands for a removed host: streams that watch it by name still get the event of its removal."""
    return Host(config=HostConfig(name=name, address=""), host_key="", registered_at=_NEVER)
