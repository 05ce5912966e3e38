"""Pruning: drops old history a part at a time, within transactions that the caller begins and ends."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tendhost.server.store import audit_chain, rows, sql
from tendhost.server.store.session import DatabaseSession

PRUNED_TO = "pruned_to"
"""The key in `meta` of the highest event revision that was pruned."""
OPERATIONS_AT_ONCE = 200
LOG_CHUNKS_AT_ONCE = 1_000
EVENTS_AT_ONCE = 10_000
ROWS_AT_ONCE = 5_000
PLANS_AT_ONCE = 5
ROLLOUTS_AT_ONCE = 20
"""What one commit prunes at most of each, so that nobody else waits long."""
MOST_AHEAD = timedelta(days=1)
"""A record whose date lies further ahead was dated by a clock that was wrong."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """Number of dropped rows, the highest event revision that was ever pruned, and whether more can be dropped."""

    rows: int
    up_to: int
    more: bool


def prune(
    database: DatabaseSession,
    *,
    before: datetime,
    now: datetime,
    requests_before: int,
    keep_events: int,
) -> Pruned:
    """Drop some of what is old, no more than a commit may hold up others for. See Store.prune."""
    cut, undated = rows.instant(before), rows.instant(now + MOST_AHEAD)
    former = pruned_to(database)
    up_to, more_events = _last_to_prune(database, former, (cut, undated), keep_events)
    old = (cut, up_to, undated)
    parts = (
        _prune_operations(database, old),
        _prune_rollouts(database, old),
        _prune_audit(database, old),
        _prune_rows(database, sql.PRUNE_REQUESTS, (requests_before,)),
        _prune_plans(database, cut),
    )
    dropped, more = sum(rows for rows, _ in parts), any(more for _, more in parts)
    if up_to > former:
        dropped += database.execute(sql.PRUNE_EVENTS, (up_to,)).rowcount
        database.execute(sql.PRUNE_REMOVALS, (up_to,))
        database.execute(sql.SET_META, (PRUNED_TO, str(up_to)))
    return Pruned(dropped, up_to, more=more or more_events)


_Dropped = tuple[int, bool]
"""Number of dropped rows, and whether there may be more."""


_Old = tuple[int, int, int]
"""Before which date and up to which revision a record is old, and after which date a date is none."""


def _prune_rows(database: DatabaseSession, statement: str, old: tuple[int, ...]) -> _Dropped:
    dropped = database.execute(statement, (*old, ROWS_AT_ONCE)).rowcount
    return dropped, dropped >= ROWS_AT_ONCE


def _prune_audit(database: DatabaseSession, old: _Old) -> _Dropped:
    dropped = audit_chain.drop_beginning(database, old, ROWS_AT_ONCE)
    return dropped, dropped >= ROWS_AT_ONCE


def _prune_operations(database: DatabaseSession, old: _Old) -> _Dropped:
    oldest = (*old, OPERATIONS_AT_ONCE)
    logs = database.execute(sql.PRUNE_LOGS, (*oldest, LOG_CHUNKS_AT_ONCE)).rowcount
    if logs == LOG_CHUNKS_AT_ONCE:
        return logs, True  # an operation is dropped after its log
    operations = database.execute(sql.PRUNE_OPERATIONS, oldest).rowcount
    return logs + operations, operations >= OPERATIONS_AT_ONCE


def _prune_rollouts(database: DatabaseSession, old: _Old) -> _Dropped:
    """Drop old rollouts: each row in one commit, its members in as many further commits as it takes."""
    oldest = (*old, ROLLOUTS_AT_ONCE)
    database.execute(sql.NOTE_PRUNED_ROLLOUTS, oldest)
    dropped = database.execute(sql.PRUNE_ROLLOUTS, oldest).rowcount
    more, room = dropped >= ROLLOUTS_AT_ONCE, ROWS_AT_ONCE
    while room > 0:
        row = database.execute(sql.NEXT_PRUNED_ROLLOUT).fetchone()
        if row is None:
            return dropped, more
        taken = sum(
            database.execute(statement, (row[0], room)).rowcount
            for statement in (sql.PRUNE_MEMBERS, sql.PRUNE_WAVES)
        )
        dropped, room = dropped + taken, room - taken
        if room > 0:
            database.execute(sql.FORGET_PRUNED_ROLLOUT, row)
    return dropped, True


def _prune_plans(database: DatabaseSession, cut: int) -> _Dropped:
    oldest = (cut, PLANS_AT_ONCE)
    database.execute(sql.PRUNE_PLAN_PARTS, oldest)
    plans = database.execute(sql.PRUNE_PLANS, oldest).rowcount
    return plans, plans == PLANS_AT_ONCE


def _last_to_prune(
    database: DatabaseSession, former: int, dates: tuple[int, int], keep_events: int
) -> tuple[int, bool]:
    """The last event that goes now, and whether others may follow; only so many go at once.

    The log loses its beginning and nothing else: what a clock that was put back has dated stays where a newer
    event stands before it. An event whose date is none is as old as the next one that has a date.
    """
    cut, undated = dates
    (current,) = database.execute(sql.CURRENT_REVISION).fetchone()
    bound = min(current, former + EVENTS_AT_ONCE)
    kept = database.execute(sql.FIRST_EVENT_SINCE, (former, cut, undated)).fetchone()
    before = (former, current + 1 if kept is None else kept[0], cut)
    last = database.execute(sql.LAST_EVENT_BEFORE, before).fetchone()
    aged = former if last is None else last[0]
    up_to = max(former, min(bound, max(aged, current - keep_events)))
    return up_to, former < up_to == bound < current


def pruned_to(database: DatabaseSession) -> int:
    """The highest event revision that was pruned."""
    row = database.execute(sql.GET_META, (PRUNED_TO,)).fetchone()
    return int(row[0]) if row else 0
