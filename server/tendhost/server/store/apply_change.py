"""Writes a change to the database, within a transaction that the caller begins and ends."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime

from tendhost.server.domain.access.certificate_expiry import ToldExpiries
from tendhost.server.domain.clock_trust import ClockTrust
from tendhost.server.domain.errors import MOST_NAMED
from tendhost.server.domain.events import Event
from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.hosts.host import LOCAL, Host
from tendhost.server.domain.hosts.jumps import Route, RouteBroken
from tendhost.server.domain.hosts.selection import SavedSelection
from tendhost.server.domain.leases import Held
from tendhost.server.domain.notifications.notices import NotificationCursor
from tendhost.server.domain.operations.operation import Operation, OperationStatus
from tendhost.server.domain.request_errors import (
    FieldViolation,
    HostAlreadyExists,
    HostBusy,
    HostDuplicate,
    InvalidArgument,
    JumpInUse,
    RequestIdReused,
    ScheduleAlreadyExists,
    SelectionAlreadyExists,
)
from tendhost.server.domain.rollouts.plan import RolloutPlan
from tendhost.server.domain.rollouts.rollout import Rollout
from tendhost.server.domain.schedules.schedule import Schedule
from tendhost.server.store import admission, audit_chain, leases, rows, sql
from tendhost.server.store.records import (
    Change,
    Committed,
    Conflict,
    EndedOperation,
    LogChunk,
    RequestRecord,
    Touched,
)
from tendhost.server.store.session import DatabaseSession

RESTORED = "restored"
"""The key in `meta` of when the copy was made that this database was restored from."""
PLAN_PART = 250
"""Hosts in a stored part of a plan: what is read and decoded for a page of it."""
CLOCK_TRUST = "clock_trust"
"""The key in `meta` of what is known of the date."""
TOLD_EXPIRIES = "told_expiries"
"""The key in `meta` of which expiring certificates events have told of."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a change led to, with its events as they were numbered, and what it touched."""

    committed: Committed
    events: tuple[Event, ...] = ()
    touched: Touched = Touched()
    audited: int = 0
    """Number of the audit record; 0: there is none."""


def write(database: DatabaseSession, change: Change) -> Written:
    """Write `change`. Raises what Store.commit raises, and leaves undoing to the caller.

    Whatever numbers an event or an audit record begins with the row of the counter, which stays locked until the
    transaction ends. Several servers on one database so have one order of commits: a reader that has seen a
    revision has seen all before it, the audit chain has one end, a request is carried out once, and what is
    read here (who else has this host key?) still holds when it is committed. The revision stands in what is
    written, so that the row cannot be locked later.
    """
    if change.request is not None:
        # Whoever carries out the same request at this moment is waited for.
        database.execute(sql.LOCK_COUNTER)
        answer = stored_response(database, change.request.id, change.request.digest)
        if answer is not None:
            (revision,) = database.execute(sql.CURRENT_REVISION).fetchone()
            return Written(Committed(revision=revision, replayed=answer))
    if not change.events:
        return _write_quietly(database, change)
    (revision,) = database.execute(sql.NEXT_REVISION, (len(change.events),)).fetchone()
    leases.require_held(database, change.held)
    for host in change.hosts:
        if host.name in change.distinct_hosts:
            _require_distinct(database, host)
        _write_host(database, host, revision)
        if host.name in change.routed_hosts:
            _require_route(database, host)
    for host in change.removed_hosts:
        _remove_host(database, host, revision)
    for operation in change.operations:
        _write_operation(database, operation, revision)
    for rollout in change.rollouts:
        _write_rollout(database, rollout, revision)
    leases.take(database, change.taken)
    _require_room(database, change)
    _write_parts(database, change, revision)
    _write_named(database, change, revision)
    for record in change.inventories:
        database.execute(sql.PUT_INVENTORY, rows.inventory_row(record))
    for chunk in change.log:
        _write_log(database, chunk)
    first = revision - len(change.events) + 1
    numbered = tuple(
        replace(event, revision=first + position) for position, event in enumerate(change.events)
    )
    database.executemany(sql.INSERT_EVENT, map(rows.event_row, numbered))
    audited = _write_records(database, change, revision)
    return Written(Committed(revision=revision), numbered, _touched(change), audited)


def _write_parts(database: DatabaseSession, change: Change, revision: int) -> None:
    """The waves and members of rollouts."""
    if change.waves:
        waves = (rows.wave_row(wave, revision) for wave in change.waves)
        database.executemany(sql.PUT_WAVE, waves)
    if change.members:
        members = (rows.member_row(member, revision) for member in change.members)
        database.executemany(sql.PUT_MEMBER, members)


def _require_room(database: DatabaseSession, change: Change) -> None:
    """Raise Conflict where the hosts that go down with a change are too many for a disruption budget."""
    if change.guard is not None:
        new = {rollout.id for rollout in change.rollouts}
        admission.require(database, change.guard, new=new)


_TOKENS = frozenset({"tokens", "removed_tokens", "used_tokens"})
_QUIET = _TOKENS | {"operations", "log", "held", "request", "audit", "at", "settles_restoration"}


def _write_quietly(database: DatabaseSession, change: Change) -> Written:
    """Write a change without events: no revision is reached, so only what has a number of its own for that
    may be in it."""
    lock = sql.CURRENT_REVISION if change.audit is None else sql.LOCK_COUNTER
    (revision,) = database.execute(lock).fetchone()
    given = {field.name for field in fields(change) if getattr(change, field.name)}
    if given - _QUIET or not all(operation.revision for operation in change.operations):
        raise ValueError(
            "a change without events holds stored operations, their logs, and tokens only"
        )
    leases.require_held(database, change.held)
    _write_tokens(database, change)
    for operation in change.operations:
        quiet = replace(operation, quiet_writes=operation.quiet_writes + 1)
        _replace_operation(database, operation, quiet)
    for chunk in change.log:
        _write_log(database, chunk)
    audited = _write_records(database, change, revision)
    return Written(Committed(revision=revision), touched=_touched(change), audited=audited)


def _touched(change: Change) -> Touched:
    operations = {operation.id for operation in change.operations}
    operations.update(chunk.operation for chunk in change.log)
    rollouts = {rollout.id for rollout in change.rollouts}
    rollouts.update(wave.rollout for wave in change.waves)
    rollouts.update(member.rollout for member in change.members)
    return Touched(
        hosts=frozenset(host.name for host in (*change.hosts, *change.removed_hosts)),
        operations=frozenset(operations),
        rollouts=frozenset(rollouts),
        ended=tuple(
            EndedOperation(host=operation.host, rollout=operation.rollout)
            for operation in change.operations
            if operation.status.ended
        ),
        kinds=frozenset(rows.kind_of(event) for event in change.events),
    )


def stored_response(database: DatabaseSession, request: str, digest: bytes) -> bytes | None:
    """The stored response to this request; None: it is new. Raises RequestIdReused."""
    row = database.execute(sql.GET_REQUEST, (request,)).fetchone()
    if row is None:
        return None
    if row[0] != digest:
        raise RequestIdReused(request_id=request)
    answer: bytes = row[1]
    return answer


def _write_records(database: DatabaseSession, change: Change, revision: int) -> int:
    """Write what is kept of the change itself; the number of the audit record, 0: there is none."""
    if change.settles_restoration and database.execute(sql.DELETE_META, (RESTORED,)).rowcount == 0:
        raise Conflict(what="the restoration of the database")
    if change.told_expiries is not None:
        if told_expiries(database) != change.told_before:
            raise Conflict(what="the record of certificates that expire")
        text = rows.document(change.told_expiries)
        database.execute(sql.SET_META, (TOLD_EXPIRIES, text))
    if change.request is not None:
        created_at = change.made_at
        _write_request(database, change.request, revision, created_at)
    if change.audit is None:
        return 0
    return audit_chain.append(database, change.audit, revision)


def _write_request(
    database: DatabaseSession, request: RequestRecord, revision: int, at: datetime
) -> None:
    answer = request.respond(revision)
    values = (request.id, request.digest, answer, rows.instant(at), revision)
    database.execute(sql.INSERT_REQUEST, values)


def _write_host(database: DatabaseSession, host: Host, revision: int) -> None:
    status = host.status
    text = rows.document(replace(host, revision=revision))
    labels = rows.labels(host)
    identity = (host.host_key, host.config.endpoint, status.machine_id, host.config.jump)
    columns = (host.name, str(status.state), str(status.reboot.need), *identity)
    if host.revision == 0:
        if database.execute(sql.INSERT_HOST, (*columns, labels, revision, text)).rowcount == 0:
            raise HostAlreadyExists(host=host.name)
        _count(database, "host", "", 1)
        database.execute(sql.FORGET_REMOVAL, (host.name,))
        _write_labels(database, host)
        return
    done = database.execute(sql.UPDATE_HOST, (*columns, revision, text, host.revision))
    if done.rowcount == 0:
        raise Conflict(what=f"host {host.name}")
    if database.execute(sql.RELABEL_HOST, (host.name, labels)).rowcount:
        _clear_labels(database, host)
        _write_labels(database, host)


def _require_distinct(database: DatabaseSession, host: Host) -> None:
    for what, statement, value in (
        *(("host key", sql.SAME_HOST_KEY, key) for key in host.host_keys),
        ("address", sql.SAME_ENDPOINT, host.config.endpoint),
    ):
        row = database.execute(statement, (value, host.name)).fetchone()
        if row is not None:
            raise HostDuplicate(host=host.name, other=row[0], same=what)


def _require_route(database: DatabaseSession, host: Host) -> None:
    """Raise InvalidArgument if the jumps of a host that was just written lead nowhere, or it can be none itself."""
    if host.config.address == LOCAL and (users := _users_of(database, host)):
        problem = (
            f"{host.name} is the jump of {users[0]}, and the server's own machine cannot be one"
        )
        raise InvalidArgument(FieldViolation("config.address", problem))
    route = Route(to=host.config)
    try:
        while route.wanted:
            row = database.execute(sql.GET_HOST, (route.wanted,)).fetchone()
            route = route.through(None if row is None else rows.host_of(row[0]))
    except RouteBroken as error:
        raise InvalidArgument(FieldViolation("config.jump", str(error))) from error


def _users_of(database: DatabaseSession, jump: Host) -> tuple[str, ...]:
    """Hosts that are reached through `jump`: as many as a message names, and one more."""
    found = database.execute(sql.HOSTS_BEHIND_JUMP, (jump.name, MOST_NAMED + 1)).fetchall()
    return tuple(name for (name,) in found)


def _count_keys(database: DatabaseSession, tags: Iterable[str], more: int) -> None:
    """Count a host once for each key of its tags KEY=VALUE."""
    parts = (tag.partition("=") for tag in tags)
    for key in sorted({key for key, _, value in parts if key and value}):
        _count(database, "key", key, more)


def _write_labels(database: DatabaseSession, host: Host) -> None:
    _count_keys(database, host.config.tags, 1)
    for kind, statement, names in (
        ("tag", sql.INSERT_TAG, host.config.tags),
        ("group", sql.INSERT_GROUP, host.config.groups),
    ):
        for name in dict.fromkeys(names):
            database.execute(statement, (name, host.name))
            _count(database, kind, name, 1)


def _clear_labels(database: DatabaseSession, host: Host) -> None:
    tags = database.execute(sql.TAGS_OF_HOST, (host.name,)).fetchall()
    _count_keys(database, (tag for (tag,) in tags), -1)
    for kind, those, delete in (
        ("tag", sql.TAGS_OF_HOST, sql.DELETE_TAGS),
        ("group", sql.GROUPS_OF_HOST, sql.DELETE_GROUPS),
    ):
        for (name,) in database.execute(those, (host.name,)).fetchall():
            _count(database, kind, name, -1)
        database.execute(delete, (host.name,))


def _count(database: DatabaseSession, kind: str, name: str, more: int) -> None:
    database.execute(sql.ADD_COUNT, (kind, name, more))
    if more < 0:
        database.execute(sql.DELETE_EMPTY_COUNT, (kind, name))


def _remove_host(database: DatabaseSession, host: Host, revision: int) -> None:
    running = database.execute(sql.RUNNING_OPERATION, (host.name,)).fetchone()
    if running is not None:
        raise HostBusy(host=host.name, operation=rows.operation_of(running[0]).id)
    if users := _users_of(database, host):
        raise JumpInUse(host=host.name, users=users)
    if database.execute(sql.DELETE_HOST, (host.name, host.revision)).rowcount == 0:
        raise Conflict(what=f"host {host.name}")
    _count(database, "host", "", -1)
    _clear_labels(database, host)
    database.execute(sql.DELETE_INVENTORY, (host.name,))
    database.execute(sql.NOTE_REMOVAL, (host.name, revision))


def _write_operation(database: DatabaseSession, operation: Operation, revision: int) -> None:
    new = replace(operation, revision=revision, quiet_writes=0)
    if operation.revision == 0:
        status, end = str(new.status), rows.moment(new.ended_at)
        key = (new.id, new.host, new.rollout, new.disruptive)
        values = (*key, status, end, revision, rows.document(new))
        if database.execute(sql.INSERT_OPERATION, values).rowcount == 0:
            raise _refusal(database, operation)
        return
    _replace_operation(database, operation, new)


def _replace_operation(database: DatabaseSession, former: Operation, new: Operation) -> None:
    """Store `new` where `former` is what is stored."""
    status, end = str(new.status), rows.moment(new.ended_at)
    state = (new.id, status, new.disruptive, end)
    written = (*state, new.revision, new.quiet_writes, rows.document(new))
    values = (*written, former.revision, former.quiet_writes)
    if database.execute(sql.UPDATE_OPERATION, values).rowcount:
        return
    key = (new.id, former.revision, former.quiet_writes)
    if database.execute(sql.HAS_OPERATION, key).fetchone() is None:
        raise Conflict(what=f"operation {new.id}")
    raise _refusal(database, new)


def _refusal(database: DatabaseSession, operation: Operation) -> HostBusy | Conflict:
    """Which of the two indexes spoke: one operation of an id, one running operation of a host."""
    row = database.execute(sql.RUNNING_OPERATION, (operation.host,)).fetchone()
    running = None if row is None else rows.operation_of(row[0])
    wants_to_run = operation.status is OperationStatus.RUNNING
    if wants_to_run and running is not None and running.id != operation.id:
        return HostBusy(host=operation.host, operation=running.id)
    return Conflict(what=f"operation {operation.id}")


def _write_log(database: DatabaseSession, chunk: LogChunk) -> None:
    values = (chunk.operation, chunk.offset, chunk.data)
    if database.execute(sql.INSERT_LOG, values).rowcount == 0:
        raise Conflict(what=f"the log of operation {chunk.operation}")
    begin, end = chunk.cut
    if begin < end:
        database.execute(sql.CUT_LOG, (chunk.operation, begin, end))


def _write_rollout(database: DatabaseSession, rollout: Rollout, revision: int) -> None:
    text = rows.document(replace(rollout, revision=revision))
    status, end = str(rollout.status), rows.moment(rollout.ended_at)
    values = (rollout.id, status, end, revision, text)
    if rollout.revision == 0:
        done = database.execute(sql.INSERT_ROLLOUT, values)
    else:
        done = database.execute(sql.UPDATE_ROLLOUT, (*values, rollout.revision))
    if done.rowcount == 0:
        raise Conflict(what=f"rollout {rollout.id}")


def _write_named(database: DatabaseSession, change: Change, revision: int) -> None:
    """What users keep under names of their own, or say of more than one host."""
    for schedule in change.schedules:
        _write_schedule(database, schedule, revision)
    for schedule in change.removed_schedules:
        _remove_schedule(database, schedule)
    for selection in change.selections:
        _write_selection(database, selection, revision)
    for selection in change.removed_selections:
        values = (selection.name, selection.revision)
        if database.execute(sql.DELETE_SELECTION, values).rowcount == 0:
            raise Conflict(what=f"selection {selection.name}")
    for policy in change.group_policies:
        _write_group_policy(database, policy, revision)
    for policy in change.removed_group_policies:
        _remove_group_policy(database, policy)
    _write_tokens(database, change)


def _write_tokens(database: DatabaseSession, change: Change) -> None:
    for token in change.tokens:
        if database.execute(sql.PUT_TOKEN, rows.token_row(token)).rowcount == 0:
            raise Conflict(what=f"token {token.id}")
    for id in change.removed_tokens:
        if database.execute(sql.DELETE_TOKEN, (id,)).rowcount == 0:
            raise Conflict(what=f"token {id}")
    if change.used_tokens:
        used = ((id, rows.instant(at)) for id, at in change.used_tokens.items())
        database.executemany(sql.NOTE_TOKEN_USED, used)


def _write_schedule(database: DatabaseSession, schedule: Schedule, revision: int) -> None:
    row = rows.schedule_row(schedule, revision)
    if schedule.revision == 0:
        if database.execute(sql.INSERT_SCHEDULE, row).rowcount == 0:
            raise ScheduleAlreadyExists(schedule=schedule.name)
        return
    if database.execute(sql.UPDATE_SCHEDULE, (*row, schedule.revision)).rowcount == 0:
        raise Conflict(what=f"schedule {schedule.name}")


def _remove_schedule(database: DatabaseSession, schedule: Schedule) -> None:
    values = (schedule.name, schedule.revision)
    if database.execute(sql.DELETE_SCHEDULE, values).rowcount == 0:
        raise Conflict(what=f"schedule {schedule.name}")


def _write_selection(database: DatabaseSession, selection: SavedSelection, revision: int) -> None:
    row = rows.selection_row(selection, revision)
    if selection.revision == 0:
        if database.execute(sql.INSERT_SELECTION, row).rowcount == 0:
            raise SelectionAlreadyExists(selection=selection.name)
        return
    if database.execute(sql.UPDATE_SELECTION, (*row, selection.revision)).rowcount == 0:
        raise Conflict(what=f"selection {selection.name}")


def _write_group_policy(database: DatabaseSession, policy: GroupPolicy, revision: int) -> None:
    row = rows.group_policy_row(policy, revision)
    if policy.revision == 0:
        done = database.execute(sql.INSERT_GROUP_POLICY, row)
    else:
        done = database.execute(sql.UPDATE_GROUP_POLICY, (*row, policy.revision))
    if done.rowcount == 0:
        raise _group_policy_conflict(policy)


def _remove_group_policy(database: DatabaseSession, policy: GroupPolicy) -> None:
    values = (policy.group, policy.revision)
    if database.execute(sql.DELETE_GROUP_POLICY, values).rowcount == 0:
        raise _group_policy_conflict(policy)


def _group_policy_conflict(policy: GroupPolicy) -> Conflict:
    what = f"the policy of group {policy.group}" if policy.group else "the fleet policy"
    return Conflict(what=what)


def restored_from(database: DatabaseSession) -> datetime | None:
    """See Store.restored_from."""
    row = database.execute(sql.GET_META, (RESTORED,)).fetchone()
    return datetime.fromisoformat(row[0]) if row else None


def clock_trust(database: DatabaseSession) -> ClockTrust | None:
    """See Store.clock_trust."""
    row = database.execute(sql.GET_META, (CLOCK_TRUST,)).fetchone()
    return rows.clock_trust_of(row[0]) if row else None


def told_expiries(database: DatabaseSession) -> ToldExpiries | None:
    """See Store.told_expiries."""
    row = database.execute(sql.GET_META, (TOLD_EXPIRIES,)).fetchone()
    return rows.told_expiries_of(row[0]) if row else None


def save_clock_trust(database: DatabaseSession, trust: ClockTrust) -> None:
    """See Store.save_clock_trust."""
    database.execute(sql.SET_META, (CLOCK_TRUST, rows.document(trust)))


def save_plan(database: DatabaseSession, plan: RolloutPlan) -> None:
    """See Store.save_plan."""
    outline = plan.outline
    values = (plan.id, rows.instant(plan.created_at), rows.document(outline))
    database.execute(sql.PUT_PLAN, values)
    whole = plan.whole
    firsts = range(0, outline.host_count + outline.excluded_count, PLAN_PART)
    database.executemany(
        sql.PUT_PLAN_PART,
        (
            (plan.id, number, rows.document(whole.cut(first, first + PLAN_PART)))
            for number, first in enumerate(firsts)
        ),
    )


def save_notification_cursor(
    database: DatabaseSession, target: str, cursor: NotificationCursor, held: Sequence[Held]
) -> None:
    """See Store.save_notification_cursor."""
    leases.require_held(database, held)
    database.execute(sql.PUT_CURSOR, (target, rows.document(cursor)))


def retain_notification_cursors(database: DatabaseSession, targets: Collection[str]) -> None:
    """See Store.retain_notification_cursors."""
    known = [reader for (reader,) in database.execute(sql.READERS).fetchall()]
    gone = [(reader,) for reader in known if reader not in targets]
    database.executemany(sql.DELETE_CURSOR, gone)
