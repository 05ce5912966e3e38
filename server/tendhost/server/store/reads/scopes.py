"""Reads of what is in the scope of a caller that is bound to hosts."""

import json
from collections.abc import Collection, Sequence

from tendhost.server.domain.access.scope import Scope
from tendhost.server.store.host_sql import add_scope
from tendhost.server.store.reads.base import Reads
from tendhost.server.store.where import Where


class ScopeReads(Reads):
    """See ScopeStore."""

    async def has_host(self, scope: Scope, name: str) -> bool:
        return await self._has(scope, "hosts", "name", name, host="hosts.name")

    async def has_operation(self, scope: Scope, id: str) -> bool:
        return await self._has(scope, "operations", "id", id, host="operations.host")

    async def _has(self, scope: Scope, table: str, key: str, value: str, *, host: str) -> bool:
        where = Where()
        where.add(f"{key} = {{}}", value)
        add_scope(where, scope, host)
        return await self._one(f"SELECT 1 FROM {table} {where}", *where.values) is not None  # noqa: S608

    async def hosts_within(self, scope: Scope, names: Collection[str]) -> frozenset[str]:
        where = Where()
        # One value, for a plan has more hosts than a statement takes values.
        where.add("hosts.name IN (SELECT value FROM json_each({}))", json.dumps(list(names)))
        add_scope(where, scope, "hosts.name")
        text = f"SELECT hosts.name FROM hosts {where}"  # noqa: S608
        found = await self._read(lambda database: database.execute(text, where.values).fetchall())
        return frozenset(name for (name,) in found)

    async def members_outside(self, scope: Scope, rollout: str) -> frozenset[str]:
        inside = Where()
        inside.add("members.rollout = {}", rollout)
        add_scope(inside, scope, "members.host")
        # Labels are those of registered hosts: who has left no label has left the fleet.
        text = (
            f"SELECT host FROM members WHERE rollout = ?1 EXCEPT SELECT host FROM members {inside}"  # noqa: S608
        )
        found = await self._read(lambda database: database.execute(text, inside.values).fetchall())
        return frozenset(name for (name,) in found)

    async def scoped_host_count(self, scope: Scope) -> int:
        where = Where()
        add_scope(where, scope, "hosts.name")
        text = f"SELECT count(*) FROM hosts {where}"  # noqa: S608
        return await self._read(
            lambda database: int(database.execute(text, where.values).fetchone()[0])
        )

    async def scoped_groups(self, scope: Scope) -> Sequence[tuple[str, int]]:
        return await self._scoped_labels("host_groups", scope)

    async def scoped_tags(self, scope: Scope) -> Sequence[tuple[str, int]]:
        return await self._scoped_labels("host_tags", scope)

    async def _scoped_labels(self, table: str, scope: Scope) -> Sequence[tuple[str, int]]:
        where = Where()
        add_scope(where, scope, "label.host")
        text = (
            f"SELECT label.name, count(*) FROM {table} AS label {where}"  # noqa: S608
            " GROUP BY label.name ORDER BY label.name"
        )
        return await self._read(lambda database: database.execute(text, where.values).fetchall())
