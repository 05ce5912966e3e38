"""Admission as the database sees it: how many hosts are down, and whether what was decided on still holds."""

from collections.abc import Collection
from datetime import datetime

from tendhost.server.domain.rollouts.budgets import NAMED, Usage, is_untagged, room
from tendhost.server.store import sql
from tendhost.server.store.records import AdmissionGuard, Conflict, PoliciesVersion
from tendhost.server.store.session import DatabaseSession


def usage(database: DatabaseSession, scope: str, failed_since: datetime | None) -> Usage:
    """See HostStore.usage."""
    values = _values(scope, failed_since)
    named = database.execute(sql.FAILED_NAMES, (*values, NAMED)).fetchall()
    return Usage(
        down=database.execute(sql.DOWN, values).fetchone()[0],
        hosts=_hosts(database, scope),
        failed=tuple(name for (name,) in named),
        failed_count=database.execute(sql.FAILED_OF_SCOPE, values).fetchone()[0],
    )


def require(database: DatabaseSession, guard: AdmissionGuard, *, new: Collection[str]) -> None:
    """Raise Conflict where a budget is overspent, or where something was not taken into account: a rollout that has
    begun, a policy that was changed.

    What goes down with the change is written already, and events of it have been numbered: so no other change
    can count between. `new` are rollouts of the change itself.
    """
    if policies_version(database) != guard.policies:
        raise Conflict(what="the policies")
    unfinished = {id for (id,) in database.execute(sql.UNFINISHED_ROLLOUTS).fetchall()}
    if unfinished - guard.rollouts - set(new):
        raise Conflict(what="the disruption budgets")
    for scope, bound in sorted(guard.budgets, key=str):
        down = database.execute(sql.DOWN, _values(scope, bound.failed_since)).fetchone()[0]
        if room(bound.budget, Usage(down=down, hosts=_hosts(database, scope))) < 0:
            raise Conflict(what=f"the disruption budget {bound.budget.limit}")


def policies_version(database: DatabaseSession) -> PoliciesVersion:
    """See PolicyStore.policies_version."""
    number, revision = database.execute(sql.POLICIES_VERSION).fetchone()
    return number, revision


def _hosts(database: DatabaseSession, scope: str) -> int:
    """Number of hosts in a scope."""

    def count(kind: str, name: str) -> int:
        found = database.execute(sql.GET_COUNT, (kind, name)).fetchone()
        return int(found[0]) if found else 0

    if is_untagged(scope):
        return count("host", "") - count("key", scope.removesuffix("="))
    return count("tag" if scope else "host", scope)


def _values(scope: str, failed_since: datetime | None) -> tuple[str, str]:
    return scope, "" if failed_since is None else failed_since.isoformat()
