"""Every statement, by name. Parameters are numbered, so that a second dialect can have the same text."""

import json
from collections.abc import Iterable

from tendhost.server.domain.inventory import RebootNeed
from tendhost.server.domain.operation import OperationStatus
from tendhost.server.domain.selection import HostFilter

NEXT_REVISION = "UPDATE counter SET revision = revision + ?1 WHERE id = 1 RETURNING revision"
CURRENT_REVISION = "SELECT revision FROM counter WHERE id = 1"
GET_META = "SELECT value FROM meta WHERE key = ?1"
SET_META = """
    INSERT INTO meta (key, value) VALUES (?1, ?2)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
DELETE_META = "DELETE FROM meta WHERE key = ?1"

INSERT_HOST = """
    INSERT INTO hosts (name, state, reboot_need, labels, revision, document)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING
"""
UPDATE_HOST = """
    UPDATE hosts SET state = ?2, reboot_need = ?3, revision = ?4, document = ?5
    WHERE name = ?1 AND revision = ?6
"""
RELABEL_HOST = "UPDATE hosts SET labels = ?2 WHERE name = ?1 AND labels <> ?2"
DELETE_HOST = "DELETE FROM hosts WHERE name = ?1 AND revision = ?2"
GET_HOST = "SELECT document FROM hosts WHERE name = ?1"
ALL_HOSTS = "SELECT document FROM hosts ORDER BY name"
COUNT_HOSTS = "SELECT count(*) FROM hosts"
LABEL_TABLES = ("host_tags", "host_groups")

PUT_INVENTORY = """
    INSERT INTO inventories (host, pending, document) VALUES (?1, ?2, ?3)
    ON CONFLICT (host) DO UPDATE SET pending = excluded.pending, document = excluded.document
"""
GET_INVENTORY = "SELECT pending, document FROM inventories WHERE host = ?1"
DELETE_INVENTORY = "DELETE FROM inventories WHERE host = ?1"

INSERT_OPERATION = """
    INSERT INTO operations (id, host, rollout, disruptive, status, ended_at, revision, document)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING
"""
UPDATE_OPERATION = """
    UPDATE operations
    SET status = ?2, ended_at = ?3, revision = ?4, quiet_writes = ?5, document = ?6
    WHERE id = ?1 AND revision = ?7 AND quiet_writes = ?8
"""
GET_OPERATION = "SELECT document FROM operations WHERE id = ?1"
RUNNING_OPERATION = "SELECT document FROM operations WHERE host = ?1 AND status = 'running'"
NEXT_QUEUED = """
    SELECT document FROM operations
    WHERE host = ?1 AND status = 'queued' ORDER BY id LIMIT 1
"""
UNFINISHED_OPERATIONS = "SELECT document FROM operations WHERE ended_at IS NULL ORDER BY id"

INSERT_LOG = """
    INSERT INTO operation_logs (operation, position, data) VALUES (?1, ?2, ?3)
    ON CONFLICT DO NOTHING
"""
GET_LOG = """
    SELECT position, data FROM operation_logs
    WHERE operation = ?1 AND position < ?3 AND position >= (
        SELECT coalesce(max(position), 0) FROM operation_logs
        WHERE operation = ?1 AND position <= ?2
    ) ORDER BY position
"""

INSERT_ROLLOUT = """
    INSERT INTO rollouts (id, status, ended_at, revision, document) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT DO NOTHING
"""
UPDATE_ROLLOUT = """
    UPDATE rollouts SET status = ?2, ended_at = ?3, revision = ?4, document = ?5
    WHERE id = ?1 AND revision = ?6
"""
GET_ROLLOUT = "SELECT document FROM rollouts WHERE id = ?1"
PUT_WAVE = """
    INSERT INTO waves (rollout, number, revision, document) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (rollout, number) DO UPDATE SET
        revision = excluded.revision, document = excluded.document
"""
GET_WAVES = """
    SELECT document FROM waves WHERE rollout = ?1 AND number BETWEEN ?2 AND ?3 ORDER BY number
"""
CHANGED_WAVES = """
    SELECT document FROM waves WHERE rollout = ?1 AND revision > ?2 ORDER BY number
"""
PUT_MEMBER = """
    INSERT INTO members (
        rollout, host, wave, position, status, not_before, blocked_by, revision, document
    ) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT (rollout, host) DO UPDATE SET
        wave = excluded.wave, status = excluded.status, not_before = excluded.not_before,
        blocked_by = excluded.blocked_by, revision = excluded.revision,
        document = excluded.document
"""
GET_MEMBER = "SELECT document FROM members WHERE rollout = ?1 AND host = ?2"
GET_MEMBERS = """
    SELECT document FROM members WHERE rollout = ?1 AND position > ?2 ORDER BY position LIMIT ?3
"""
CHANGED_MEMBERS = """
    SELECT document FROM members WHERE rollout = ?1 AND revision > ?2 ORDER BY position
"""
PLACES_OF_HOST = """
    SELECT document, revision FROM members WHERE host = ?1 ORDER BY rollout DESC LIMIT ?2
"""
BLOCKED_BY = """
    SELECT DISTINCT blocked_by FROM members
    WHERE rollout = ?1 AND wave = ?2 AND status = 'waiting' AND blocked_by <> ''
"""
NEXT_OPENING = """
    SELECT min(not_before) FROM members
    WHERE rollout = ?1 AND wave = ?2 AND status = 'waiting' AND blocked_by = ''
"""
DOWN_IN_FLEET = """
    SELECT count(*) FROM (
        SELECT host FROM operations WHERE status = 'running' AND disruptive = 1
        UNION SELECT name FROM hosts WHERE state = 'failed'
    ) AS down
"""
DOWN_WITH_TAG = """
    SELECT count(*) FROM (
        SELECT host FROM operations WHERE status = 'running' AND disruptive = 1
        UNION SELECT name FROM hosts WHERE state = 'failed'
    ) AS down JOIN host_tags ON host_tags.host = down.host WHERE host_tags.name = ?1
"""
COUNT_WITH_TAG = "SELECT count(*) FROM host_tags WHERE name = ?1"
RUNNING_HOSTS = "SELECT host FROM operations WHERE status = 'running'"
PUT_PLAN = "INSERT INTO plans (id, at, document) VALUES (?1, ?2, ?3)"
GET_PLAN = "SELECT document FROM plans WHERE id = ?1"
PUT_PLACE = """
    INSERT INTO places (reader, document) VALUES (?1, ?2)
    ON CONFLICT (reader) DO UPDATE SET document = excluded.document
"""
GET_PLACE = "SELECT document FROM places WHERE reader = ?1"
READERS = "SELECT reader FROM places"
DELETE_PLACE = "DELETE FROM places WHERE reader = ?1"
PRUNE_PLANS = "DELETE FROM plans WHERE at < ?1"

INSERT_SELECTION = """
    INSERT INTO selections (name, revision, document) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING
"""
UPDATE_SELECTION = """
    UPDATE selections SET revision = ?2, document = ?3 WHERE name = ?1 AND revision = ?4
"""
DELETE_SELECTION = "DELETE FROM selections WHERE name = ?1 AND revision = ?2"
GET_SELECTION = "SELECT document FROM selections WHERE name = ?1"
GET_SELECTIONS = "SELECT document FROM selections WHERE name > ?1 ORDER BY name LIMIT ?2"

INSERT_SCHEDULE = """
    INSERT INTO schedules (name, next_at, revision, document) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO NOTHING
"""
UPDATE_SCHEDULE = """
    UPDATE schedules SET next_at = ?2, revision = ?3, document = ?4
    WHERE name = ?1 AND revision = ?5
"""
DELETE_SCHEDULE = "DELETE FROM schedules WHERE name = ?1 AND revision = ?2"
GET_SCHEDULE = "SELECT document FROM schedules WHERE name = ?1"
GET_SCHEDULES = "SELECT document FROM schedules WHERE name > ?1 ORDER BY name LIMIT ?2"
DUE_SCHEDULES = """
    SELECT document FROM schedules WHERE next_at <= ?1 ORDER BY next_at, name LIMIT ?2
"""
NEXT_DUE = "SELECT min(next_at) FROM schedules WHERE next_at IS NOT NULL"

INSERT_DEFAULTS = """
    INSERT INTO defaults (host_group, revision, document) VALUES (?1, ?2, ?3)
    ON CONFLICT DO NOTHING
"""
UPDATE_DEFAULTS = """
    UPDATE defaults SET revision = ?2, document = ?3 WHERE host_group = ?1 AND revision = ?4
"""
DELETE_DEFAULTS = "DELETE FROM defaults WHERE host_group = ?1 AND revision = ?2"
ALL_DEFAULTS = "SELECT document FROM defaults ORDER BY host_group"

INSERT_EVENT = """
    INSERT INTO events (revision, at, kind, host, operation, rollout, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
"""
GET_EVENTS = """
    SELECT revision, at, kind, host, operation, rollout, body FROM events
    WHERE revision > ?1 ORDER BY revision LIMIT ?2
"""

GET_REQUEST = "SELECT digest, response FROM requests WHERE id = ?1"
INSERT_REQUEST = "INSERT INTO requests (id, digest, response, at) VALUES (?1, ?2, ?3, ?4)"
INSERT_AUDIT = """
    INSERT INTO audit (revision, at, principal, method, subject) VALUES (?1, ?2, ?3, ?4, ?5)
"""

FIRST_EVENT_SINCE = "SELECT revision FROM events WHERE at >= ?1 ORDER BY revision LIMIT 1"
PRUNE_EVENTS = "DELETE FROM events WHERE revision <= ?1"
_OLDEST_OPERATIONS = """
    SELECT id FROM operations WHERE ended_at < ?1 ORDER BY ended_at, id LIMIT ?2
"""
PRUNE_LOGS = f"DELETE FROM operation_logs WHERE operation IN ({_OLDEST_OPERATIONS})"  # noqa: S608
PRUNE_OPERATIONS = f"DELETE FROM operations WHERE id IN ({_OLDEST_OPERATIONS})"  # noqa: S608
PRUNE_MEMBERS = """
    DELETE FROM members WHERE rollout IN (SELECT id FROM rollouts WHERE ended_at < ?1)
"""
PRUNE_WAVES = """
    DELETE FROM waves WHERE rollout IN (SELECT id FROM rollouts WHERE ended_at < ?1)
"""
PRUNE_ROLLOUTS = "DELETE FROM rollouts WHERE ended_at < ?1"
PRUNE_REQUESTS = "DELETE FROM requests WHERE at < ?1"
PRUNE_AUDIT = "DELETE FROM audit WHERE at < ?1"

_GLOB = frozenset("*?[")
_LAST = "\U0010ffff"


class Where:
    """Conditions with numbered parameters."""

    def __init__(self) -> None:
        self._conditions: list[str] = []
        self.values: list[object] = []

    def add(self, condition: str, *values: object) -> None:
        """Add `condition`, in which `{}` stands for each of `values` in turn."""
        first = len(self.values) + 1
        numbers = (f"?{number}" for number in range(first, first + len(values)))
        self._conditions.append(condition.format(*numbers))
        self.values.extend(values)

    def add_in(self, column: str, values: Iterable[object]) -> None:
        """Add that `column` is one of `values`; nothing where there are none."""
        wanted = tuple(values)
        if wanted:
            self.add(f"{column} IN ({', '.join('{}' for _ in wanted)})", *wanted)

    def __str__(self) -> str:
        return f"WHERE {' AND '.join(self._conditions)}" if self._conditions else ""


def select_hosts(selection: HostFilter, *, after: str, limit: int) -> tuple[str, list[object]]:
    """Hosts that may match: whatever is easy for an index is said here, the rest is for `matches`."""
    where = _hosts_where(selection, after=after)
    text = f"SELECT document FROM hosts {where} ORDER BY name LIMIT {limit}"  # noqa: S608
    return text, where.values


def select_pending(selection: HostFilter, *, after: str, limit: int) -> tuple[str, list[object]]:
    """The hosts of select_hosts, each with what is pending on it."""
    where = _hosts_where(selection, after=after)
    text = (
        "SELECT hosts.document, inventories.pending"  # noqa: S608
        f" FROM hosts LEFT JOIN inventories ON host = name {where} ORDER BY name LIMIT {limit}"
    )
    return text, where.values


def _hosts_where(selection: HostFilter, *, after: str) -> Where:
    where = Where()
    where.add("name > {}", after)
    _add_selection(where, selection)
    return where


def _add_selection(where: Where, selection: HostFilter) -> None:
    if selection.also is not None:
        _add_selection(where, selection.also)
    if selection.search:
        where.add("name >= {} AND name < {}", selection.search, selection.search + _LAST)
    if selection.names and not any(_GLOB & set(name) for name in selection.names):
        where.add_in("name", selection.names)
    where.add_in("state", (str(state) for state in selection.states))
    if selection.reboot_needed is not None:
        sign = "=" if selection.reboot_needed else "<>"
        where.add(f"reboot_need {sign} {{}}", str(RebootNeed.NEEDED))
    for tag in selection.all_tags:
        where.add("name IN (SELECT host FROM host_tags WHERE name = {})", tag)
    for table, names in (("host_tags", selection.any_tags), ("host_groups", selection.groups)):
        if names:
            marks = ", ".join("{}" for _ in names)
            within = f"name IN (SELECT host FROM {table} WHERE name IN ({marks}))"  # noqa: S608
            where.add(within, *names)


def select_operations(
    *,
    host: str,
    rollout: str,
    statuses: Iterable[OperationStatus],
    before: str,
    limit: int,
) -> tuple[str, list[object]]:
    """Operations, newest first."""
    where = Where()
    where.add("id < {}", before or _LAST)
    if host:
        where.add("host = {}", host)
    if rollout:
        where.add("rollout = {} AND rollout <> ''", rollout)
    newest = f"ORDER BY id DESC LIMIT {limit}"
    wanted = [f" AND status = '{status}'" for status in dict.fromkeys(statuses)] or [""]
    # Each status has its newest by index; with IN, all that ever had one of them would be sorted.
    parts = [
        f"SELECT document, id FROM operations {where}{status} {newest}"  # noqa: S608
        for status in wanted
    ]
    if len(parts) == 1:
        return parts[0], where.values
    union = " UNION ALL ".join(f"SELECT * FROM ({part}) AS part" for part in parts)  # noqa: S608
    return f"{union} {newest}", where.values


def select_rollouts(
    *, statuses: Iterable[str], before: str, limit: int
) -> tuple[str, list[object]]:
    """Rollouts, newest first."""
    where = Where()
    where.add_in("status", statuses)
    if before:
        where.add("id < {}", before)
    text = f"SELECT document FROM rollouts {where} ORDER BY id DESC LIMIT {limit}"  # noqa: S608
    return text, where.values


def select_members(
    rollout: str, *, wave: int | None, statuses: Iterable[str], after: int, limit: int
) -> tuple[str, list[object]]:
    """Members of these statuses, in order, from the position that follows `after` on."""
    where = Where()
    where.add("rollout = {} AND position > {}", rollout, after)
    where.add_in("status", statuses)
    if wave is not None:
        where.add("wave = {}", wave)
    text = f"SELECT document FROM members {where} ORDER BY position LIMIT {limit}"  # noqa: S608
    return text, where.values


def select_startable(
    rollout: str, wave: int, *, now: int, blocked: Iterable[str], limit: int
) -> tuple[str, list[object]]:
    """Members of a wave that may begin unless something turns out to hold them up."""
    where = Where()
    where.add("rollout = {} AND wave = {} AND not_before <= {}", rollout, wave, now)
    where.add("status IN ('pending', 'waiting')")
    # In one parameter: there may be as many as there are hosts.
    keys = json.dumps(list(blocked))
    where.add("blocked_by NOT IN (SELECT value FROM json_each({}))", keys)
    text = f"SELECT document FROM members {where} ORDER BY position LIMIT {limit}"  # noqa: S608
    return text, where.values
