"""The hosts that a filter selects at present: each host is read once for all streams, until it changes."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from tendhost.server.domain.hosts.host import Host, HostConfig
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.store.protocols.hosts import HostStore
from tendhost.server.store.records import Touched

HOSTS_KEPT = 2048
_NEVER = datetime.min.replace(tzinfo=UTC)


class SelectionMembership:
    """Decides for every stream of this server which events concern it."""

    def __init__(self, store: HostStore) -> None:
        self._store = store
        self._hosts: dict[str, Host] = {}
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
        """Those of `names` that `selection` selects, as they are now."""
        exact = selection.exact_names
        if exact is not None:
            # The smaller of the two is gone through.
            names = [n for n in exact if n in names] if len(exact) < len(names) else names
        able = [name for name in names if selection.may_match(name)]
        if selection.is_of_names or not able:
            return able
        known = await self._known(able)
        return [name for name in able if selection.matches(known[name])]

    async def _known(self, names: Sequence[str]) -> Mapping[str, Host]:
        # Others wait for the reading, and need not read the same hosts again.
        async with self._reading:
            known = {name: self._hosts[name] for name in names if name in self._hosts}
            missing = tuple(name for name in names if name not in known)
            if missing:
                known.update(await self._read(missing))
            return known

    async def _read(self, names: tuple[str, ...]) -> Mapping[str, Host]:
        self._touched.clear()
        page = await self._store.hosts(HostFilter(names=names), limit=len(names))
        found = {host.name: host for host in page.items}
        read = {name: found.get(name) or _gone(name) for name in names}
        if len(self._hosts) + len(names) > HOSTS_KEPT:
            self._hosts.clear()
        # What was changed during the reading may have been read as it was before.
        self._hosts.update((n, host) for n, host in read.items() if n not in self._touched)
        return read


def _gone(name: str) -> Host:
    """Stands for a removed host: streams that watch it by name still get the event of its removal."""
    return Host(config=HostConfig(name=name, address=""), host_key="", registered_at=_NEVER)
