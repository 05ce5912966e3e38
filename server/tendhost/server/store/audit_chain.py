"""The audit log in the database: appended to, and shortened at its beginning, within the caller's transaction."""

import json
from collections.abc import Collection
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from tendhost.server.domain.access.audit import AuditEntry, AuditRecord, Head, hash_of, head_at
from tendhost.server.domain.access.principal import CredentialKind
from tendhost.server.store import sql
from tendhost.server.store.rows import at_instant, instant
from tendhost.server.store.session import DatabaseSession

DROPPED = "audit_dropped"
"""The key in `meta` of the head of the records that were pruned."""

LONGEST_HELD = timedelta(days=7)
"""How much longer than other history a record is kept that was not sent to every sink: a weekend and the days that
it takes to mend a receiver."""
_EVERY = 2**63 - 1


def append(database: DatabaseSession, record: AuditRecord, revision: int) -> int:
    """Write a record behind the last one; its number."""
    former = last(database)
    entry = AuditEntry(number=former.number + 1, revision=revision, record=record, hash="")
    database.execute(sql.INSERT_AUDIT, entry_row(replace(entry, hash=hash_of(entry, former.hash))))
    return entry.number


def last(database: DatabaseSession) -> Head:
    """The head of the chain: that of the last record, or of what was pruned."""
    row = database.execute(sql.LAST_AUDIT).fetchone()
    if row is None:
        return dropped_head(database)
    return head_at(row[0], row[1])


def dropped_head(database: DatabaseSession) -> Head:
    """What the first record that is kept follows."""
    row = database.execute(sql.GET_META, (DROPPED,)).fetchone()
    return Head() if row is None else Head(**json.loads(row[0]))


def drop_beginning(database: DatabaseSession, old: tuple[int, int, int], most: int) -> int:
    """Drop old records from the beginning, and keep the head of what is dropped; the number of records.

    What a sink was not sent yet is kept for LONGEST_HELD more. `old` is as for everything that is pruned.
    """
    cut, *rest = old
    sent = min((number for _, number in database.execute(sql.AUDIT_CURSORS)), default=_EVERY)
    row = database.execute(sql.LAST_OLD_AUDIT, (cut, *rest, most, sent)).fetchone()
    if sent != _EVERY:
        older = cut - LONGEST_HELD // timedelta(microseconds=1)
        held = database.execute(sql.LAST_OLD_AUDIT, (older, *rest, most, _EVERY)).fetchone()
        row = max(filter(None, (row, held)), default=None)
    if row is None:
        return 0
    head = json.dumps(asdict(head_at(row[0], row[1])))
    database.execute(sql.SET_META, (DROPPED, head))
    return database.execute(sql.PRUNE_AUDIT, (row[0],)).rowcount


def cursor_of(database: DatabaseSession, sink: str) -> Head | None:
    """The last record that a sink was sent; None: the sink is new."""
    row = database.execute(sql.GET_AUDIT_CURSOR, (sink,)).fetchone()
    return None if row is None else Head(number=row[0], hash=row[1])


def save_cursor(database: DatabaseSession, sink: str, head: Head) -> None:
    """Store the last record that a sink was sent."""
    database.execute(sql.PUT_AUDIT_CURSOR, (sink, head.number, head.hash))


def retain_cursors(database: DatabaseSession, sinks: Collection[str]) -> None:
    """Forget all other sinks, so that nothing is kept for them."""
    gone = [(sink,) for sink, _ in database.execute(sql.AUDIT_CURSORS) if sink not in sinks]
    database.executemany(sql.DELETE_AUDIT_CURSOR, gone)


def entry_row(entry: AuditEntry) -> tuple[object, ...]:
    """The columns of a record, in the order of the statements."""
    record = entry.record
    return (
        entry.number,
        entry.revision,
        instant(record.at),
        record.principal,
        str(record.credential_kind or ""),
        record.credential,
        record.address,
        record.method,
        record.subject,
        record.result,
        record.request_id,
        record.omitted,
        entry.hash,
    )


def entry_of(row: tuple[Any, ...]) -> AuditEntry:
    """A stored record."""
    return AuditEntry(
        number=row[0],
        revision=row[1],
        record=AuditRecord(
            at=at_instant(row[2]),
            principal=row[3],
            credential_kind=CredentialKind(row[4]) if row[4] else None,
            credential=row[5],
            address=row[6],
            method=row[7],
            subject=row[8],
            result=row[9],
            request_id=row[10],
            omitted=row[11],
        ),
        hash=row[12],
    )
