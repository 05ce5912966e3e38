"""The pending updates of a fleet, grouped by package, by advisory or by host."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any

from tendhost.server.domain.inventory.inventory import (
    Advisory,
    Pending,
    PendingPackage,
    Severity,
    Withheld,
)
from tendhost.server.domain.inventory.scope import matches
from tendhost.server.domain.slices import SortedInSlices

MOST_NAMES = 1000
"""Hosts that an entry names at most; it counts all of them."""
_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class PendingGrouping(StrEnum):
    """The subject of an entry."""

    PACKAGE = "package"
    """A package and its pending version."""
    ADVISORY = "advisory"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingQuery:
    """Which pending updates to list, and how to group them."""

    group_by: PendingGrouping = PendingGrouping.PACKAGE
    security_only: bool = False
    packages: tuple[str, ...] = ()
    """Globs of names; empty: all."""
    fixes: tuple[str, ...] = ()
    """Ids of advisories and CVEs; empty: all."""
    withheld: bool = False
    """Whether to list withheld updates, too."""

    def wants(self, package: PendingPackage) -> bool:
        """Whether the list has `package`."""
        return (
            # A list of fixes has every host that lacks one, for whatever reason.
            (self.withheld or bool(self.fixes) or package.withheld is Withheld.NO)
            and (not self.security_only or package.security is True)
            and (not self.packages or matches(package.name, self.packages))
            and (not self.fixes or any(self.wants_advisory(a) for a in package.advisories))
        )

    def wants_advisory(self, advisory: Advisory) -> bool:
        """Whether `advisory` is among the wanted fixes."""
        fixes = self.fixes
        return not fixes or advisory.id in fixes or any(cve in fixes for cve in advisory.cves)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEntry:
    """A package, an advisory or a host, with its pending updates."""

    name: str
    version: str
    security: bool | None
    severity: Severity
    cves: tuple[str, ...]
    advisories: tuple[str, ...]
    hosts: tuple[str, ...]
    """The first MOST_NAMES."""
    host_count: int
    packages: tuple[str, ...]

    @property
    def place(self) -> tuple[int, int, int, str, str]:
        """Sort key: security updates first, then by severity, then by number of hosts."""
        security = {True: 0, None: 1, False: 2}[self.security]
        return (security, -_RANK[self.severity], -self.host_count, self.name, self.version)


@dataclass(slots=True)
class _EntryBuilder:
    """An entry in the making."""

    security: set[bool | None] = field(default_factory=set)
    advisories: dict[str, Advisory] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)
    """The first MOST_NAMES."""
    host_count: int = 0
    last_host: str = ""
    packages: set[str] = field(default_factory=set)

    def add(self, host: str, package: PendingPackage, advisories: Iterable[Advisory]) -> None:
        if host != self.last_host:  # which may have the package twice, for two architectures
            self.last_host = host
            self.host_count += 1
            if self.host_count <= MOST_NAMES:
                self.hosts.append(host)
        self.packages.add(package.name)
        self.security.add(package.security)
        for advisory in advisories:
            self.advisories[advisory.id] = advisory

    def entry(self, name: str, version: str) -> PendingEntry:
        known = self.advisories.values()
        is_security = True in self.security
        return PendingEntry(
            name=name,
            version=version,
            security=True if is_security else (None if None in self.security else False),
            severity=max((a.severity for a in known), key=_RANK.__getitem__, default=_LEAST),
            cves=tuple(sorted({cve for advisory in known for cve in advisory.cves})),
            advisories=tuple(sorted(self.advisories)),
            hosts=tuple(self.hosts),
            host_count=self.host_count,
            packages=tuple(sorted(self.packages)),
        )


_LEAST = Severity.UNKNOWN


class PendingView:
    """Builds the entries from the hosts of a fleet, added by name."""

    def __init__(self, query: PendingQuery) -> None:
        self._query = query
        self._groups: dict[tuple[str, str], _EntryBuilder] = {}
        self.hosts_unknown = 0
        """Number of hosts that were never queried, or whose pending updates could not be listed."""
        self.hosts_security_unknown = 0
        """Number of hosts with updates for which it is unknown whether they are security updates."""
        self.hosts_fixes_unknown = 0
        """Number of hosts with updates that are, or may be, security updates with unknown fixes: apt's archives
        never list them."""

    def add(self, host: str, pending: Pending | None) -> None:
        """Add the pending updates of one host; None: it was never queried."""
        if pending is None or pending.queried_at is None:
            self.hosts_unknown += 1
            return
        if pending.security_count is None:
            self.hosts_security_unknown += 1
        if any(
            package.security is not False and not package.advisories for package in pending.packages
        ):
            self.hosts_fixes_unknown += 1
        for package in pending.packages:
            if self._query.wants(package):
                self._add_package(host, package)

    def _add_package(self, host: str, package: PendingPackage) -> None:
        wanted = [a for a in package.advisories if self._query.wants_advisory(a)]
        for key, advisories in self._keys(host, package, wanted):
            self._groups.setdefault(key, _EntryBuilder()).add(host, package, advisories)

    def _keys(
        self, host: str, package: PendingPackage, wanted: list[Advisory]
    ) -> Iterator[tuple[tuple[str, str], list[Advisory]]]:
        match self._query.group_by:
            case PendingGrouping.PACKAGE:
                yield (package.name, package.to_version), wanted
            case PendingGrouping.HOST:
                yield (host, ""), wanted
            case PendingGrouping.ADVISORY:
                for advisory in wanted:
                    if advisory.security or not self._query.security_only:
                        yield (advisory.id, ""), [advisory]

    def entries(
        self, *, after: tuple[Any, ...] | None = None, limit: int | None = None
    ) -> tuple[PendingEntry, ...]:
        """The entries in their order: all, or so many of those that follow the place `after`."""
        found = (gathered.entry(*key) for key, gathered in self._groups.items())
        places = ((entry.place, entry) for entry in found)
        wanted = SortedInSlices(pair for pair in places if after is None or pair[0] > after)
        return tuple(entry for _, entry in islice(wanted, limit))
