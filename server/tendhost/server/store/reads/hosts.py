"""Reads of hosts: one by one, in pages, and the whole fleet at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from tendhost.server.domain.hosts.host import MOST_DUPLICATES, Duplicate, Host, most_alike
from tendhost.server.domain.hosts.selection import HostFilter, is_glob
from tendhost.server.domain.hosts.unmatched import KnownNames
from tendhost.server.domain.request_errors import HostNotFound, InventoryNotFound
from tendhost.server.domain.rollouts.budgets import Usage
from tendhost.server.domain.rollouts.plan import HostSummary
from tendhost.server.store import admission, host_sql, host_summaries, parts, rows, sql
from tendhost.server.store.reads.base import Reads
from tendhost.server.store.records import (
    HostCursor,
    HostPending,
    HostsPart,
    InventoryRecord,
    Page,
    Unreadable,
)
from tendhost.server.store.session import DatabaseSession

T = TypeVar("T")

SURVEYED_AT_ONCE = 200
"""Hosts that a survey reads in one go."""


class HostReads(Reads):
    """See HostStore, InventoryStore and FleetStore."""

    async def host(self, name: str) -> Host:
        found = await self.find_host(name)
        if found is None:
            raise HostNotFound(host=name)
        return found

    async def find_host(self, name: str) -> Host | None:
        text = await self._one(sql.GET_HOST, name)
        return None if text is None else rows.host_of(text)

    async def hosts(self, selection: HostFilter, *, after: str = "", limit: int) -> Page[Host]:
        def work(database: DatabaseSession) -> Page[Host]:
            found: list[Host | Unreadable] = []
            position = after
            while True:
                text, values = host_sql.select_hosts(selection, after=position, limit=limit + 1)
                part = database.execute(text, values).fetchall()
                # By name first: where a pattern fits few hosts, only those are decoded.
                named = (
                    rows.row_of(rows.host_of, document, name)
                    for document, name in part
                    if selection.may_match(name)
                )
                # Whether an unreadable host matches is not known: it is part of the page.
                found.extend(
                    host
                    for host in named
                    if isinstance(host, Unreadable) or selection.matches(host)
                )
                if len(found) > limit or len(part) <= limit:
                    return Page(rows=tuple(found[:limit]), more=len(found) > limit)
                position = part[-1][1]

        return await self._read(work)

    async def count_hosts(self) -> int:
        count: int | None = await self._one(sql.GET_COUNT, "host", "")
        return count or 0

    async def groups(self) -> Sequence[tuple[str, int]]:
        return await self._label_counts("group")

    async def tags(self) -> Sequence[tuple[str, int]]:
        return await self._label_counts("tag")

    async def _label_counts(self, kind: str) -> Sequence[tuple[str, int]]:
        return await self._read(
            lambda database: database.execute(sql.GET_COUNTS, (kind,)).fetchall()
        )

    async def known_names(self, selection: HostFilter) -> KnownNames:
        names = (*selection.names, *selection.exclude_hosts)
        tags = (*selection.all_tags, *selection.any_tags)

        def work(database: DatabaseSession) -> KnownNames:
            def found(text: str, wanted: Sequence[str]) -> frozenset[str]:
                rows = (database.execute(text, (name,)).fetchone() for name in wanted)
                return frozenset(row[0] for row in rows if row is not None)

            if any(map(is_glob, names)):
                hosts = frozenset(name for (name,) in database.execute(sql.HOST_NAMES))
            else:
                hosts = found(sql.HAS_HOST, names)
            return KnownNames(
                names=hosts,
                tags=found(sql.HAS_TAG, tags),
                groups=found(sql.HAS_GROUP, selection.groups),
            )

        return await self._read(work)

    async def duplicates(self, host: Host) -> tuple[Duplicate, ...]:
        mine = (host.host_key, host.config.endpoint, host.status.machine_id)
        statements = (sql.ALIKE_BY_HOST_KEY, sql.ALIKE_BY_ENDPOINT, sql.ALIKE_BY_MACHINE_ID)

        def work(database: DatabaseSession) -> tuple[Duplicate, ...]:
            found = [
                row
                for statement, value in zip(statements, mine, strict=True)
                if value
                for row in database.execute(statement, (value, host.name, MOST_DUPLICATES))
            ]
            return most_alike(
                Duplicate(
                    host=name,
                    host_key=key == mine[0],
                    address=endpoint == mine[1],
                    machine_id=machine_id == mine[2] != "",
                )
                for name, key, endpoint, machine_id in found
            )

        return await self._read(work)

    async def hosts_behind(self, jump: str, *, limit: int) -> tuple[Host, ...]:
        def work(database: DatabaseSession) -> tuple[Host, ...]:
            found = database.execute(sql.GET_HOSTS_BEHIND_JUMP, (jump, limit)).fetchall()
            return tuple(rows.host_of(document) for (document,) in found)

        return await self._read(work)

    async def usage(self, scope: str, *, failed_since: datetime | None = None) -> Usage:
        return await self._read(lambda database: admission.usage(database, scope, failed_since))

    async def inventory(self, host: str) -> InventoryRecord:
        row = await self._row(sql.GET_INVENTORY, host)
        if row is None:
            await self.host(host)
            raise InventoryNotFound(host=host)
        return rows.inventory_of(host, row)

    async def survey(self, read: Callable[[Iterable[HostSummary]], T]) -> T:
        def work(database: DatabaseSession) -> T:
            return read(map(host_summaries.host_summary_of, _documents(database)))

        return await self._survey(work)

    async def survey_pending(
        self, selection: HostFilter, read: Callable[[Iterable[HostPending]], T]
    ) -> T:
        return await self._survey(lambda database: read(_pending(database, selection)))

    async def hosts_part(
        self, selection: HostFilter, *, after: str, limit: int, size: int
    ) -> HostsPart:
        return await self._read(
            lambda database: parts.hosts_part(
                database, selection, after=after, limit=limit, size=size
            )
        )

    async def changed_hosts(
        self, selection: HostFilter, *, after: HostCursor, limit: int, size: int
    ) -> HostsPart:
        return await self._read(
            lambda database: parts.changed_hosts(
                database, selection, after=after, limit=limit, size=size
            )
        )


def _documents(database: DatabaseSession) -> Iterator[str]:
    """The documents of all hosts, a part at a time: they may be more than the memory should hold at once."""
    position = ""
    while True:
        part = database.execute(sql.GET_HOSTS, (position, SURVEYED_AT_ONCE)).fetchall()
        yield from (document for document, _ in part)
        if len(part) < SURVEYED_AT_ONCE:
            return
        position = part[-1][1]


def _pending(database: DatabaseSession, selection: HostFilter) -> Iterator[HostPending]:
    position = ""
    while True:
        text, values = host_sql.select_pending(selection, after=position, limit=SURVEYED_AT_ONCE)
        part = database.execute(text, values).fetchall()
        for document, name, pending in part:
            if not selection.may_match(name):
                continue
            host = rows.row_of(rows.host_of, document, name)
            if isinstance(host, Unreadable) or selection.matches(host):
                # What cannot be read is not known, like what was never asked.
                known = rows.row_of(rows.pending_of, pending, name)
                known = None if isinstance(known, Unreadable) else known
                yield HostPending(host=name, pending=known)
        if len(part) < SURVEYED_AT_ONCE:
            return
        position = part[-1][1]
