"""Hosts: one by one, in pages, and the whole fleet at once."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from tendhost.server.domain.hosts.host import Duplicate, Host
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.unmatched import KnownNames
from tendhost.server.domain.rollouts.budgets import Usage
from tendhost.server.domain.rollouts.plan import HostSummary
from tendhost.server.store.records import (
    HostCursor,
    HostPending,
    HostsPart,
    InventoryRecord,
    Page,
    T,
)


class HostStore(Protocol):
    """The registered hosts."""

    async def host(self, name: str) -> Host:
        """Raises HostNotFound."""
        ...

    async def find_host(self, name: str) -> Host | None:
        """The host of this name; None: there is none."""
        ...

    async def hosts(self, selection: HostFilter, *, after: str = "", limit: int) -> Page[Host]:
        """Hosts whose name follows `after`, ordered by name."""
        ...

    async def count_hosts(self) -> int:
        """Number of registered hosts."""
        ...

    async def groups(self) -> Sequence[tuple[str, int]]:
        """Every group with the number of its hosts, by name."""
        ...

    async def tags(self) -> Sequence[tuple[str, int]]:
        """Every tag with the number of its hosts, by name."""
        ...

    async def known_names(self, selection: HostFilter) -> KnownNames:
        """Those of the hosts, tags and groups named by a filter that exist; see KnownNames."""
        ...

    async def duplicates(self, host: Host) -> tuple[Duplicate, ...]:
        """Other hosts with the same host key, endpoint or machine-id, in the order of `most_alike`."""
        ...

    async def hosts_behind(self, jump: str, *, limit: int) -> tuple[Host, ...]:
        """The hosts that are reached through `jump`, by name, at most `limit`."""
        ...

    async def usage(self, scope: str, *, failed_since: datetime | None = None) -> Usage:
        """Number of hosts in a scope of domain/rollouts/budgets.py, and of those among them that are down.

        A host is down while a disruptive operation runs on it, and in FAILED. Hosts that had failed before
        `failed_since` do not count as down; None: all that have failed do.
        """
        ...


class InventoryStore(Protocol):
    """What queries have learnt of hosts."""

    async def inventory(self, host: str) -> InventoryRecord:
        """Raises HostNotFound, InventoryNotFound."""
        ...


class FleetStore(Protocol):
    """The whole fleet, for plans, reports and streams."""

    async def survey(self, read: Callable[[Iterable[HostSummary]], T]) -> T:
        """What `read` makes of every host, by name; raises what `read` raises.

        Whatever needs the whole fleet uses this or `survey_pending`: `read` runs in a thread of its own, one
        survey after the other, so that neither the event loop nor readers of single hosts wait for it. It
        returns little, and makes no single call that takes long: one that holds the interpreter (a sort of
        100,000 values) would hold up the event loop all the same.
        """
        ...

    async def survey_pending(
        self, selection: HostFilter, read: Callable[[Iterable[HostPending]], T]
    ) -> T:
        """What `read` makes of the pending updates of each selected host, by name; as `survey`."""
        ...

    async def hosts_part(
        self, selection: HostFilter, *, after: str, limit: int, size: int
    ) -> HostsPart:
        """The selected hosts whose name follows `after`, by name.

        At most `limit` of them, and no more than about `size` bytes, but at least one.
        """
        ...

    async def changed_hosts(
        self, selection: HostFilter, *, after: HostCursor, limit: int, size: int
    ) -> HostsPart:
        """The hosts that were stored or removed after `after`, in that order.

        Bounded as `hosts_part` is. Raises CursorCompacted where removals after `after` are forgotten.
        """
        ...
