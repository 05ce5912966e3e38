"""Every statement, by name. Parameters are numbered, so that a second dialect can have the same text."""

import json
from collections.abc import Iterable

from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.leases import LeaseKind
from tendhost.server.domain.operations.operation import OperationStatus
from tendhost.server.store.host_sql import add_scope
from tendhost.server.store.where import Where

NEXT_REVISION = "UPDATE counter SET revision = revision + ?1 WHERE id = 1 RETURNING revision"
LOCK_COUNTER = "UPDATE counter SET revision = revision WHERE id = 1 RETURNING revision"
"""Changes nothing; until the transaction ends, no other one can number events or audit records."""
CURRENT_REVISION = "SELECT revision FROM counter WHERE id = 1"
GET_META = "SELECT value FROM meta WHERE key = ?1"
SET_META = """
    INSERT INTO meta (key, value) VALUES (?1, ?2)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
DELETE_META = "DELETE FROM meta WHERE key = ?1"

INSERT_HOST = """
    INSERT INTO hosts (name, state, reboot_need, host_key, endpoint, machine_id, jump, labels, revision, document)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING
"""
UPDATE_HOST = """
    UPDATE hosts SET
        state = ?2, reboot_need = ?3, host_key = ?4, endpoint = ?5, machine_id = ?6, jump = ?7,
        revision = ?8, document = ?9
    WHERE name = ?1 AND revision = ?10
"""
SAME_HOST_KEY = "SELECT name FROM hosts WHERE host_key = ?1 AND name <> ?2 ORDER BY name LIMIT 1"
SAME_ENDPOINT = "SELECT name FROM hosts WHERE endpoint = ?1 AND name <> ?2 ORDER BY name LIMIT 1"
ALIKE_BY_HOST_KEY = """
    SELECT name, host_key, endpoint, machine_id FROM hosts
    WHERE host_key = ?1 AND name <> ?2 ORDER BY name LIMIT ?3
"""
ALIKE_BY_ENDPOINT = """
    SELECT name, host_key, endpoint, machine_id FROM hosts
    WHERE endpoint = ?1 AND name <> ?2 ORDER BY name LIMIT ?3
"""
ALIKE_BY_MACHINE_ID = """
    SELECT name, host_key, endpoint, machine_id FROM hosts
    WHERE machine_id = ?1 AND name <> ?2 ORDER BY name LIMIT ?3
"""
HOSTS_BEHIND_JUMP = """
    SELECT name FROM hosts WHERE jump = ?1 AND jump <> '' ORDER BY name LIMIT ?2
"""
GET_HOSTS_BEHIND_JUMP = """
    SELECT document FROM hosts WHERE jump = ?1 AND jump <> '' ORDER BY name LIMIT ?2
"""
RELABEL_HOST = "UPDATE hosts SET labels = ?2 WHERE name = ?1 AND labels <> ?2"
DELETE_HOST = "DELETE FROM hosts WHERE name = ?1 AND revision = ?2"
GET_HOST = "SELECT document FROM hosts WHERE name = ?1"
FORGET_REMOVAL = "DELETE FROM removed_hosts WHERE name = ?1"
NOTE_REMOVAL = """
    INSERT INTO removed_hosts (name, revision) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET revision = excluded.revision
"""
HOSTS_STORED_BEHIND = """
    SELECT revision, name, document FROM hosts
    WHERE (revision, name) > (?1, ?2) ORDER BY revision, name LIMIT ?3
"""
HOSTS_REMOVED_BEHIND = """
    SELECT revision, name, NULL FROM removed_hosts
    WHERE (revision, name) > (?1, ?2) ORDER BY revision, name LIMIT ?3
"""
GET_HOSTS = "SELECT document, name FROM hosts WHERE name > ?1 ORDER BY name LIMIT ?2"
LABEL_TABLES = ("host_tags", "host_groups")
INSERT_TAG = "INSERT INTO host_tags (name, host) VALUES (?1, ?2)"
INSERT_GROUP = "INSERT INTO host_groups (name, host) VALUES (?1, ?2)"
TAGS_OF_HOST = "SELECT name FROM host_tags WHERE host = ?1"
GROUPS_OF_HOST = "SELECT name FROM host_groups WHERE host = ?1"
DELETE_TAGS = "DELETE FROM host_tags WHERE host = ?1"
DELETE_GROUPS = "DELETE FROM host_groups WHERE host = ?1"

# How many hosts there are, in all ('host', ''), with each tag, in each group, and with a tag KEY=VALUE of each
# key ('key'), kept with every change: to count them takes as long as there are hosts.
ADD_COUNT = """
    INSERT INTO host_counts (kind, name, hosts) VALUES (?1, ?2, ?3)
    ON CONFLICT (kind, name) DO UPDATE SET hosts = host_counts.hosts + excluded.hosts
"""
DELETE_EMPTY_COUNT = "DELETE FROM host_counts WHERE kind = ?1 AND name = ?2 AND hosts = 0"
GET_COUNT = "SELECT hosts FROM host_counts WHERE kind = ?1 AND name = ?2"
GET_COUNTS = "SELECT name, hosts FROM host_counts WHERE kind = ?1 ORDER BY name"
HOST_NAMES = "SELECT name FROM hosts"
HAS_HOST = "SELECT name FROM hosts WHERE name = ?1"
HAS_TAG = "SELECT name FROM host_counts WHERE kind = 'tag' AND name = ?1"
HAS_GROUP = "SELECT name FROM host_counts WHERE kind = 'group' AND name = ?1"

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
    SET status = ?2, disruptive = ?3, ended_at = ?4, revision = ?5, quiet_writes = ?6, document = ?7
    WHERE id = ?1 AND revision = ?8 AND quiet_writes = ?9 AND (
        ?2 <> 'running' OR NOT EXISTS (
            SELECT 1 FROM operations AS other
            WHERE other.host = operations.host AND other.status = 'running' AND other.id <> ?1
        )
    )
"""
"""Nothing, where another operation of the host is running: an index that refuses it ends PostgreSQL's transaction."""
HAS_OPERATION = "SELECT id FROM operations WHERE id = ?1 AND revision = ?2 AND quiet_writes = ?3"
GET_OPERATION = "SELECT document FROM operations WHERE id = ?1"
RUNNING_OPERATION = "SELECT document FROM operations WHERE host = ?1 AND status = 'running'"
NEXT_QUEUED = """
    SELECT document FROM operations
    WHERE host = ?1 AND status = 'queued' ORDER BY id LIMIT 1
"""
IDLE_QUEUES = """
    SELECT DISTINCT host FROM operations AS waiting WHERE status = 'queued' AND NOT EXISTS (
        SELECT 1 FROM operations AS running
        WHERE running.host = waiting.host AND running.status = 'running'
    ) ORDER BY host
"""
UNFINISHED_OPERATIONS = "SELECT document FROM operations WHERE ended_at IS NULL ORDER BY id"

INSERT_LOG = """
    INSERT INTO operation_logs (operation, position, data) VALUES (?1, ?2, ?3)
    ON CONFLICT DO NOTHING
"""
CUT_LOG = """
    DELETE FROM operation_logs WHERE operation = ?1
    AND position >= ?2 AND position < ?3 AND position + length(data) <= ?3
"""
GET_LOG = """
    SELECT position, data FROM operation_logs
    WHERE operation = ?1 AND position >= (
        SELECT coalesce(max(position), 0) FROM operation_logs
        WHERE operation = ?1 AND position <= ?2
    ) ORDER BY position LIMIT ?3
"""
GET_LOG_BEHIND = """
    SELECT position, data FROM operation_logs
    WHERE operation = ?1 AND position > ?2 ORDER BY position LIMIT ?3
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
    SELECT revision, number, number, document FROM waves
    WHERE rollout = ?1 AND (revision, number) > (?2, ?3) ORDER BY revision, number LIMIT ?4
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
    SELECT revision, position, host, document FROM members
    WHERE rollout = ?1 AND (revision, position) > (?2, ?3) ORDER BY revision, position LIMIT ?4
"""
PLACES_OF_HOST = """
    SELECT document, revision FROM members WHERE host = ?1 ORDER BY rollout DESC LIMIT ?2
"""
_KEYS_OF_WAVE = """
    WITH RECURSIVE keys (key) AS (
        SELECT min(blocked_by) FROM members
        WHERE rollout = ?1 AND wave = ?2 AND status = 'waiting'
        UNION ALL
        SELECT (
            SELECT min(blocked_by) FROM members
            WHERE rollout = ?1 AND wave = ?2 AND status = 'waiting' AND blocked_by > keys.key
        ) FROM keys WHERE keys.key IS NOT NULL
    )
"""
"""Each `blocked_by` once, by a step in the index for each: DISTINCT would read every member that waits."""
BLOCKED_BY = f"{_KEYS_OF_WAVE} SELECT key FROM keys WHERE key <> ''"  # noqa: S608
NEXT_OPENING = """
    SELECT min(not_before) FROM members
    WHERE rollout = ?1 AND wave = ?2 AND status = 'waiting' AND blocked_by = ''
"""
_FAILED = """
    SELECT name AS host FROM hosts WHERE state = 'failed' AND (?2 = '' OR
        julianday(json_extract(document, '$.status.failure.failed_at')) >= julianday(?2))
"""
_OF_SCOPE = """
    (?1 = '' OR CASE WHEN ?1 LIKE '%=' AND ?1 NOT LIKE '%=_%'
        THEN NOT EXISTS (
            SELECT 1 FROM host_tags WHERE host_tags.host = down.host
            AND name > ?1 AND name < substr(?1, 1, length(?1) - 1) || '>'
        )
        ELSE EXISTS (SELECT 1 FROM host_tags WHERE host_tags.host = down.host AND name = ?1)
    END)
"""
"""All hosts, those with a tag, or, for `KEY=`, those without a tag KEY=VALUE ('>' follows '=' in ASCII)."""
DOWN = f"""
    SELECT count(*) FROM (
        SELECT host FROM operations WHERE status = 'running' AND disruptive = 1 UNION {_FAILED}
    ) AS down WHERE {_OF_SCOPE}
"""  # noqa: S608
FAILED_OF_SCOPE = f"SELECT count(*) FROM ({_FAILED}) AS down WHERE {_OF_SCOPE}"  # noqa: S608
_FAILED_IN_ORDER = _FAILED.replace("FROM hosts", "FROM hosts INDEXED BY hosts_failed")
"""In the order of names: the planner cannot know that hosts_by_state would have to be sorted."""
FAILED_NAMES = f"""
    SELECT down.host FROM ({_FAILED_IN_ORDER}) AS down WHERE {_OF_SCOPE}
    ORDER BY down.host LIMIT ?3
"""  # noqa: S608
UNFINISHED_ROLLOUTS = "SELECT id FROM rollouts WHERE ended_at IS NULL ORDER BY id"
RUNNING_HOSTS = "SELECT host FROM operations WHERE status = 'running'"
PUT_PLAN = "INSERT INTO plans (id, at, document) VALUES (?1, ?2, ?3)"
GET_PLAN = "SELECT document FROM plans WHERE id = ?1"
PUT_PLAN_PART = "INSERT INTO plan_parts (plan, number, document) VALUES (?1, ?2, ?3)"
GET_PLAN_PARTS = """
    SELECT document FROM plan_parts WHERE plan = ?1 AND number BETWEEN ?2 AND ?3 ORDER BY number
"""
PUT_CURSOR = """
    INSERT INTO notification_cursors (reader, document) VALUES (?1, ?2)
    ON CONFLICT (reader) DO UPDATE SET document = excluded.document
"""
GET_CURSOR = "SELECT document FROM notification_cursors WHERE reader = ?1"
READERS = "SELECT reader FROM notification_cursors"
DELETE_CURSOR = "DELETE FROM notification_cursors WHERE reader = ?1"

INSERT_SELECTION = """
    INSERT INTO selections (name, revision, document) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING
"""
UPDATE_SELECTION = """
    UPDATE selections SET revision = ?2, document = ?3 WHERE name = ?1 AND revision = ?4
"""
DELETE_SELECTION = "DELETE FROM selections WHERE name = ?1 AND revision = ?2"
GET_SELECTION = "SELECT document FROM selections WHERE name = ?1"
GET_SELECTIONS = "SELECT document, name FROM selections WHERE name > ?1 ORDER BY name LIMIT ?2"

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
GET_SCHEDULES = "SELECT document, name FROM schedules WHERE name > ?1 ORDER BY name LIMIT ?2"
DUE_SCHEDULES = """
    SELECT document FROM schedules WHERE next_at <= ?1 ORDER BY next_at, name LIMIT ?2
"""
NEXT_DUE = "SELECT min(next_at) FROM schedules WHERE next_at IS NOT NULL"

INSERT_GROUP_POLICY = """
    INSERT INTO group_policies (host_group, revision, document) VALUES (?1, ?2, ?3)
    ON CONFLICT DO NOTHING
"""
UPDATE_GROUP_POLICY = """
    UPDATE group_policies SET revision = ?2, document = ?3 WHERE host_group = ?1 AND revision = ?4
"""
DELETE_GROUP_POLICY = "DELETE FROM group_policies WHERE host_group = ?1 AND revision = ?2"
POLICIES_VERSION = "SELECT count(*), coalesce(max(revision), 0) FROM group_policies"
ALL_GROUP_POLICIES = "SELECT document FROM group_policies ORDER BY host_group"

PUT_TOKEN = """
    INSERT INTO tokens (id, last_used_at, document) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING
"""  # noqa: S105  # the statement, no secret
NOTE_TOKEN_USED = "UPDATE tokens SET last_used_at = ?2 WHERE id = ?1"  # noqa: S105  # the statement
DELETE_TOKEN = "DELETE FROM tokens WHERE id = ?1"  # noqa: S105  # the statement
ALL_TOKENS = "SELECT document, last_used_at FROM tokens ORDER BY id"

INSERT_EVENT = """
    INSERT INTO events (revision, at, kind, host, operation, rollout, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
"""
GET_EVENTS = """
    SELECT revision, at, kind, host, operation, rollout, body FROM events
    WHERE revision > ?1 ORDER BY revision LIMIT ?2
"""

LAST_EVENT = "SELECT at FROM events ORDER BY revision DESC LIMIT 1"

GET_REQUEST = "SELECT digest, response FROM requests WHERE id = ?1"
INSERT_REQUEST = """
    INSERT INTO requests (id, digest, response, at, revision) VALUES (?1, ?2, ?3, ?4, ?5)
"""
_AUDIT_COLUMNS = """
    number, revision, at, principal, credential_kind, credential, address, method, subject, result,
    request_id, omitted, hash
"""
INSERT_AUDIT = f"""
    INSERT INTO audit ({_AUDIT_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
"""  # noqa: S608

# Leases. `database_clock()` is the one clock of all replicas, in microseconds: a function that the store on SQLite
# makes for its connection, and that PostgreSQL has beside the tables.
PUT_REPLICA = """
    INSERT INTO replicas (id, name, lease_until, document)
    VALUES (?1, ?2, database_clock() + ?3, ?4)
"""
RENEW_REPLICA = """
    UPDATE replicas SET lease_until = database_clock() + ?2
    WHERE id = ?1 AND lease_until > database_clock()
"""
DELETE_REPLICA = "DELETE FROM replicas WHERE id = ?1"
DELETE_OLD_REPLICAS = "DELETE FROM replicas WHERE lease_until < database_clock() - ?1"
DELETE_REPLICAS = "DELETE FROM replicas"
LIVE_REPLICA = "SELECT id FROM replicas WHERE id = ?1 AND lease_until > database_clock()"
ALL_REPLICAS = """
    SELECT document, lease_until - database_clock() FROM replicas ORDER BY name, id
"""
PUT_DUTY = """
    INSERT INTO duties (id, owner, lease_epoch) VALUES (?1, '', 0) ON CONFLICT DO NOTHING
"""
_LEASED = {
    LeaseKind.OPERATION: ("operations", "ended_at IS NULL AND status = 'running'"),
    LeaseKind.ROLLOUT: ("rollouts", "ended_at IS NULL"),
    LeaseKind.DUTY: ("duties", "id <> ''"),
}
"""The table of each kind, and which of its rows somebody should drive."""


def _each_kind(text: str) -> dict[LeaseKind, str]:
    """A statement for each kind, with its table and with what is to be driven, and what is free."""
    found = {}
    for kind, (table, due) in _LEASED.items():
        free = (
            "NOT EXISTS (SELECT 1 FROM replicas"  # noqa: S608
            f" WHERE replicas.id = {table}.owner AND replicas.lease_until > database_clock())"
        )
        found[kind] = text.format(table=table, due=due, free=free)
    return found


FREE = _each_kind("SELECT id FROM {table} WHERE {due} AND {free} ORDER BY id LIMIT ?1")
FREE_DUTY = _each_kind("SELECT id FROM {table} WHERE id = ?1 AND {free}")[LeaseKind.DUTY]
CLAIM = _each_kind("""
    UPDATE {table} SET owner = ?2, lease_epoch = lease_epoch + 1
    WHERE id = ?1 AND {due} AND {free} RETURNING lease_epoch
""")
TAKE = _each_kind("""
    UPDATE {table} SET owner = ?2, lease_epoch = ?3 WHERE id = ?1 AND lease_epoch + 1 = ?3
""")
HOLDS = _each_kind("""
    UPDATE {table} SET lease_epoch = lease_epoch
    WHERE id = ?1 AND owner = ?2 AND lease_epoch = ?3
""")
"""An update, for it holds the row against claims until the transaction ends."""
OWNED = _each_kind("SELECT id FROM {table} WHERE {due} AND owner = ?1")
RELEASE = _each_kind("UPDATE {table} SET owner = '' WHERE id = ?1 AND owner = ?2")

FIRST_EVENT_SINCE = """
    SELECT revision FROM events WHERE revision > ?1 AND at >= ?2 AND at <= ?3
    ORDER BY revision LIMIT 1
"""
LAST_EVENT_BEFORE = """
    SELECT revision FROM events WHERE revision > ?1 AND revision < ?2 AND at < ?3
    ORDER BY revision DESC LIMIT 1
"""
# What is old by a date: ?1 is the date before which it is, ?2 the highest revision of what has aged, and
# after ?3 a date is none.
PRUNE_REMOVALS = "DELETE FROM removed_hosts WHERE revision <= ?1"
PRUNE_EVENTS = "DELETE FROM events WHERE revision <= ?1"


def _oldest(table: str, key: str, at: str, beside: str = "") -> str:
    """Which rows are old, the first ?4 of those before ?1 and of those after ?3."""
    return " UNION ALL ".join(
        f"SELECT {key} FROM (SELECT {key} FROM {table} WHERE {dated} AND revision <= ?2 {beside}"  # noqa: S608
        f" ORDER BY {at} LIMIT ?4) AS part"
        for dated in (f"{at} < ?1", f"{at} > ?3")
    )


_OLDEST_OPERATIONS = _oldest(
    "operations",
    "id",
    "ended_at",
    """
    AND NOT EXISTS (
        SELECT 1 FROM rollouts WHERE rollouts.id = operations.rollout AND rollouts.ended_at IS NULL
    )
    """,
)
PRUNE_LOGS = f"""
    DELETE FROM operation_logs WHERE (operation, position) IN (
        SELECT operation, position FROM operation_logs
        WHERE operation IN ({_OLDEST_OPERATIONS}) LIMIT ?5
    )
"""  # noqa: S608
PRUNE_OPERATIONS = f"DELETE FROM operations WHERE id IN ({_OLDEST_OPERATIONS})"  # noqa: S608

# A rollout goes at once, and what belongs to it in as many commits as it takes.
_OLDEST_ROLLOUTS = _oldest("rollouts", "id", "ended_at")
NOTE_PRUNED_ROLLOUTS = f"INSERT INTO pruned_rollouts (id) {_OLDEST_ROLLOUTS}"
PRUNE_ROLLOUTS = f"DELETE FROM rollouts WHERE id IN ({_OLDEST_ROLLOUTS})"  # noqa: S608
NEXT_PRUNED_ROLLOUT = "SELECT id FROM pruned_rollouts ORDER BY id LIMIT 1"
FORGET_PRUNED_ROLLOUT = "DELETE FROM pruned_rollouts WHERE id = ?1"
PRUNE_MEMBERS = """
    DELETE FROM members WHERE rollout = ?1 AND position IN (
        SELECT position FROM members WHERE rollout = ?1 ORDER BY position LIMIT ?2
    )
"""
PRUNE_WAVES = """
    DELETE FROM waves WHERE rollout = ?1 AND number IN (
        SELECT number FROM waves WHERE rollout = ?1 ORDER BY number LIMIT ?2
    )
"""
_OLDEST_PLANS = "SELECT id FROM plans WHERE at < ?1 ORDER BY at LIMIT ?2"
PRUNE_PLAN_PARTS = f"DELETE FROM plan_parts WHERE plan IN ({_OLDEST_PLANS})"  # noqa: S608
PRUNE_PLANS = f"DELETE FROM plans WHERE id IN ({_OLDEST_PLANS})"  # noqa: S608
PRUNE_REQUESTS = """
    DELETE FROM requests WHERE id IN (
        SELECT id FROM requests WHERE revision < ?1 ORDER BY revision LIMIT ?2
    )
"""
LAST_AUDIT = "SELECT number, hash FROM audit WHERE number > 0 ORDER BY number DESC LIMIT 1"
AUDIT_AFTER = f"SELECT {_AUDIT_COLUMNS} FROM audit WHERE number > ?1 ORDER BY number"  # noqa: S608
AUDIT_HASH = "SELECT hash FROM audit WHERE number = ?1"
AUDIT_PAGE = f"{AUDIT_AFTER} LIMIT ?2"
# The chain only ever loses its beginning, up to the first record that is not old or that a sink waits for.
LAST_OLD_AUDIT = """
    SELECT number, hash FROM audit WHERE number <= ?5 AND number < coalesce(
        (
            SELECT min(number) FROM audit WHERE number < (SELECT min(number) FROM audit) + ?4
            AND NOT (revision <= ?2 AND (at < ?1 OR at > ?3))
        ),
        (SELECT min(number) FROM audit) + ?4
    ) ORDER BY number DESC LIMIT 1
"""
PUT_AUDIT_CURSOR = """
    INSERT INTO audit_cursors (sink, number, hash) VALUES (?1, ?2, ?3)
    ON CONFLICT (sink) DO UPDATE SET number = excluded.number, hash = excluded.hash
"""
GET_AUDIT_CURSOR = "SELECT number, hash FROM audit_cursors WHERE sink = ?1"
AUDIT_CURSORS = "SELECT sink, number FROM audit_cursors"
DELETE_AUDIT_CURSOR = "DELETE FROM audit_cursors WHERE sink = ?1"
PRUNE_AUDIT = "DELETE FROM audit WHERE number <= ?1"

_LAST = "\U0010ffff"
_BEHIND_ALL = 2**63 - 1


def select_operations(
    *,
    host: str,
    rollout: str,
    statuses: Iterable[OperationStatus],
    scope: Scope | None = None,
    before: str,
    limit: int,
) -> tuple[str, list[object]]:
    """Operations, newest first; with `scope` only those on its hosts."""
    where = Where()
    where.add("id < {}", before or _LAST)
    if host:
        where.add("host = {}", host)
    if rollout:
        where.add("rollout = {} AND rollout <> ''", rollout)
    if scope is not None:
        add_scope(where, scope, "operations.host")
    return _by_status("operations", where, map(str, statuses), order="id DESC", limit=limit)


def select_audit(
    *,
    principal: str,
    subject: str,
    methods: Iterable[str],
    since: int | None,
    until: int | None,
    before: int,
    limit: int,
) -> tuple[str, list[object]]:
    """Audit records, newest first: by number, or within a span of time by their time.

    By number a clock that was wrong for a while puts nothing in front of what is newer; by time an old span is
    found without reading what came after it.
    """
    where = Where()
    timed = since is not None or until is not None
    for condition, value in (
        ("at >= {}", since),
        ("at < {}", until),
        ("principal = {}", principal or None),
        ("subject = {}", subject or None),
    ):
        if value is not None:
            where.add(condition, value)
    if not timed:
        where.add("number < {}", before or _BEHIND_ALL)
    elif before:
        # Nothing, where the record before has been pruned: so have all that are older.
        where.add("at <= (SELECT at FROM audit WHERE number = {})", before)
        where.add("(at, number) < (SELECT at, number FROM audit WHERE number = {})", before)
    wanted = tuple(methods)
    # An expression, so that no index of methods leads away from the order that is wanted.
    where.add_in("method" if len(wanted) == 1 and not timed else "method || ''", wanted)
    order = "at DESC, number DESC" if timed else "number DESC"
    text = f"SELECT {_AUDIT_COLUMNS} FROM audit {where} ORDER BY {order} LIMIT {limit}"  # noqa: S608
    return text, where.values


def select_rollouts(
    *, statuses: Iterable[str], before: str, limit: int
) -> tuple[str, list[object]]:
    """Rollouts, newest first."""
    where = Where()
    where.add("id < {}", before or _LAST)
    return _by_status("rollouts", where, statuses, order="id DESC", limit=limit)


def select_members(
    rollout: str, *, wave: int | None, statuses: Iterable[str], after: int, limit: int
) -> tuple[str, list[object]]:
    """Members of these statuses, in order, from the position that follows `after` on."""
    where = Where()
    where.add("rollout = {} AND position > {}", rollout, after)
    if wave is not None:
        where.add("wave = {}", wave)
    return _by_status("members", where, statuses, order="position", limit=limit)


def _by_status(
    table: str, where: Where, statuses: Iterable[str], *, order: str, limit: int
) -> tuple[str, list[object]]:
    """The documents of rows with one of these statuses, or any where none is named, in order.

    Each status has its first rows by index; with IN, all that ever had one of them would be sorted.
    """
    key = order.partition(" ")[0]
    first = f"ORDER BY {order} LIMIT {limit}"
    wanted = [f" AND status = '{status}'" for status in dict.fromkeys(statuses)] or [""]
    parts = [
        f"SELECT document, {key} FROM {table} {where}{status} {first}"  # noqa: S608
        for status in wanted
    ]
    if len(parts) == 1:
        return parts[0], where.values
    union = " UNION ALL ".join(f"SELECT * FROM ({part}) AS part" for part in parts)  # noqa: S608
    return f"{union} {first}", where.values


def select_startable(
    rollout: str, wave: int, *, now: int, blocked: Iterable[str], limit: int
) -> tuple[str, list[object]]:
    """Members of a wave that may begin unless something turns out to hold them up.

    Of those that wait only the ones are looked at whose time has come and which nothing of `blocked`
    holds up: all others may be as many as there are hosts.
    """
    # In one parameter: there may be as many as there are hosts.
    values: list[object] = [rollout, wave, now, json.dumps(list(blocked))]
    first = f"ORDER BY position LIMIT {limit}"
    of_wave = "SELECT document, position FROM members WHERE rollout = ?1 AND wave = ?2"
    free = "SELECT key FROM keys WHERE key NOT IN (SELECT value FROM json_each(?4))"
    text = f"""
        {_KEYS_OF_WAVE}
        SELECT * FROM (
            {of_wave} AND status = 'pending' AND not_before <= ?3
            AND blocked_by NOT IN (SELECT value FROM json_each(?4)) {first}
        ) AS part
        UNION ALL SELECT * FROM (
            {of_wave} AND status = 'waiting' AND not_before <= ?3
            AND blocked_by IN ({free}) {first}
        ) AS part
        {first}
    """  # noqa: S608
    return text, values
