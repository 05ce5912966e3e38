"""The audit log in the database: appended to, and shortened at its beginning, within the caller's transaction."""

import json
import sqlite3
from dataclasses import replace
from typing import Any

from tendhost.server.domain.access.audit import AuditEntry, AuditRecord, Head, hash_of
from tendhost.server.domain.access.principal import CredentialKind
from tendhost.server.store import sql
from tendhost.server.store.rows import at_instant, instant

DROPPED = "audit_dropped"
"""The key in `meta` of the head of the records that were pruned."""


def append(database: sqlite3.Connection, record: AuditRecord, revision: int) -> None:
    """Write a record behind the last one."""
    former = last(database)
    entry = AuditEntry(number=former.number + 1, revision=revision, record=record, hash="")
    database.execute(sql.INSERT_AUDIT, entry_row(replace(entry, hash=hash_of(entry, former.hash))))


def last(database: sqlite3.Connection) -> Head:
    """The head of the chain: that of the last record, or of what was pruned."""
    row = database.execute(sql.LAST_AUDIT).fetchone()
    if row is None:
        return dropped_head(database)
    return Head(number=row[0], hash=row[1] or Head().hash)


def dropped_head(database: sqlite3.Connection) -> Head:
    """What the first record that is kept follows."""
    row = database.execute(sql.GET_META, (DROPPED,)).fetchone()
    return Head() if row is None else Head(**json.loads(row[0]))


def drop_beginning(database: sqlite3.Connection, old: tuple[int, ...]) -> int:
    """Drop old records from the beginning, and keep the head of what is dropped; the number of records."""
    row = database.execute(sql.LAST_OLD_AUDIT, old).fetchone()
    if row is None:
        return 0
    head = json.dumps({"number": row[0], "hash": row[1] or Head().hash})
    database.execute(sql.SET_META, (DROPPED, head))
    return database.execute(sql.PRUNE_AUDIT, (row[0],)).rowcount


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
