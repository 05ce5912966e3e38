"""Exports of the audit log: JSON lines that end with a signed head, and the verification of exports and databases."""

import base64
import binascii
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tendhost.server.domain.access.audit import (
    AuditEntry,
    ChainBroken,
    Head,
    documents,
    json_of,
    removed_early,
    verified,
)
from tendhost.server.given_files import FileUnusable, lines_of, read_given
from tendhost.server.store import audit_chain, sql
from tendhost.server.store.database import of_newer_version, open_for_reading
from tendhost.server.store.migrations import SCHEMA

KEY = "audit.key"
"""The file in the state folder with the key that signs exports: PKCS #8 in PEM, without a passphrase."""
LARGEST_KEY = 65536
"""Bytes of that file; an Ed25519 key has 119."""
LONGEST_LINE = 1 << 20
"""Bytes of a record in a file; a record of a call has at most a few KiB."""
SIGNED = b"tendhost audit head 1\n"
"""Before what is signed, so that no other signature is one of a head."""


class AuditFailed(Exception):
    """An audit log that cannot be read or exported, or is not as it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """An audit log whose records are as they were written."""

    start: Head
    """What the first record follows: what was pruned before."""
    head: Head
    public_key: str = ""
    """Of the signature of an export."""
    entries: Sequence[AuditEntry] = ()
    """The records of a file."""


def verify_database(database: Path) -> Verified:
    """Check the chain in a database, also while a server runs. Raises AuditFailed."""
    with closing(_opened(database)) as connection:
        return _verified(connection)


def export(database: Path, file: Path, key: Path) -> Verified:
    """Write an export to a new file of mode 0600, as of one moment. The key is made if there is none.

    Raises AuditFailed, also where the chain is broken: what was altered is not signed.
    """
    with closing(_opened(database)) as connection:
        found = _verified(connection)
        signer = _signer(key)
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as written:
                for line in _lines(connection, found, signer):
                    written.write(f"{line}\n")
        except OSError as error:
            raise AuditFailed(f"{file}: it cannot be written ({error.strerror})") from error
    return found


def _lines(
    connection: sqlite3.Connection, found: Verified, signer: Ed25519PrivateKey
) -> Iterator[str]:
    yield json_of({"start": _head(found.start), "tendhost_audit": 1})
    yield from map(json_of, documents(_entries(connection), found.start.hash))
    yield json_of(
        {
            "head": _head(found.head),
            "public_key": _public(signer),
            "signature": _text(signer.sign(_signed(found.start, found.head))),
        }
    )


def public_key(key: Path) -> str:
    """The public key of the key that signs exports, in base64; the key is made if there is none."""
    return _public(_signer(key))


def verify_export(file: Path, *, expected_key: str = "") -> Verified:
    """Check an export: its chain, its end and its signature (by `expected_key` if given). Raises AuditFailed.

    `file` may be that of an audit sink, too, which has records alone.
    """
    entries: list[AuditEntry] = []
    try:
        lines = _documents_in(file)
        first = last = next(lines)
        if "former" in first:
            return _verified_records(file, chain([first], lines), signed=bool(expected_key))
        for line in lines:
            if last is not first:
                entries.append(_entry(last))
            last = line
        start, head = Head(**first["start"]), Head(**last["head"])
        signature = base64.b64decode(last["signature"], validate=True)
        by = Ed25519PublicKey.from_public_bytes(base64.b64decode(last["public_key"], validate=True))
    except FileUnusable as error:
        raise AuditFailed(f"{file} {error}") from error
    except StopIteration:
        raise AuditFailed(f"{file}: it is no whole export of an audit log (it is empty)") from None
    except (binascii.Error, ValueError, TypeError, KeyError, AttributeError) as error:
        raise AuditFailed(f"{file}: it is no whole export of an audit log ({error})") from error
    if expected_key and last["public_key"] != expected_key:
        raise AuditFailed(f"{file}: it is signed with another key, {last['public_key']}")
    try:
        by.verify(signature, _signed(start, head))
        end = verified(entries, start)
    except InvalidSignature:
        raise AuditFailed(f"{file}: the signature of its head does not match") from None
    except ChainBroken as error:
        raise AuditFailed(f"{file}: {error}") from error
    if end != head:
        raise AuditFailed(
            f"{file}: it ends at record {end.number}, and was signed up to {head.number}"
        )
    return Verified(start=start, head=head, public_key=last["public_key"], entries=entries)


def _documents_in(file: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, one a line. Raises FileUnusable and ValueError."""
    for line in lines_of(file, most=LONGEST_LINE):
        yield json.loads(line.decode("ascii"))


def _verified_records(file: Path, found: Iterable[dict[str, Any]], *, signed: bool) -> Verified:
    """Check the chain in a file of a sink; a record that was sent again, just as it was, counts once."""
    if signed:
        raise AuditFailed(f"{file}: it is the file of an audit sink, and has no signature")
    seen: dict[int, tuple[AuditEntry, str]] = {}
    for document in found:
        record = _entry(document), document["former"]
        if seen.setdefault(document["number"], record) != record:
            raise AuditFailed(f"{file}: record {document['number']} is in it twice, and differs")
    entries = [entry for entry, _ in seen.values()]
    start = Head(number=entries[0].number - 1, hash=next(iter(seen.values()))[1])
    try:
        return Verified(start=start, head=verified(entries, start), entries=entries)
    except ChainBroken as error:
        raise AuditFailed(f"{file}: {error}") from error


def require_contained(
    database: Path, export: Verified, *, history: timedelta, now: datetime
) -> None:
    """Raise AuditFailed if records of a file are gone from the database, but for those that are older than `history`.

    Nor may the database have records from before an export, which had everything that was kept.
    """
    with closing(_opened(database)) as connection:
        found = _verified(connection)
        row = connection.execute(sql.AUDIT_HASH, (export.head.number,)).fetchone()
    if export.public_key and found.start.number < export.start.number:
        raise AuditFailed(
            f"the export begins with record {export.start.number + 1}, and {database} with record"
            f" {found.start.number + 1}: records were removed from the export"
        )
    early = removed_early(export.entries, found.start, history=history, now=now)
    if early is not None:
        raise AuditFailed(
            f"{database}: record {early.number} of {early.record.at:%Y-%m-%d %H:%M} UTC is gone, and"
            f" history_days ({history.days}) keeps it: somebody removed it, or history_days was less before. To"
            " verify with another number, set TENDHOST_HISTORY_DAYS"
        )
    same = found.start == export.head if row is None else row[0] == export.head.hash
    if not same and found.start.number <= export.head.number:
        raise AuditFailed(
            f"{database}: record {export.head.number} is not the one that was exported, or is gone"
        )


def _opened(database: Path) -> sqlite3.Connection:
    if not database.exists():
        raise AuditFailed(f"{database}: there is no database")
    connection = open_for_reading(database)
    try:
        connection.execute("BEGIN")  # all of it is read as of one moment
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        connection.close()
        raise AuditFailed(f"{database}: {error}") from error
    if schema != SCHEMA:
        connection.close()
        older = f"{database} was written by an older tendhost: start this one's server once"
        raise AuditFailed(of_newer_version(database, schema) if schema > SCHEMA else older)
    return connection


def _verified(connection: sqlite3.Connection) -> Verified:
    try:
        start = audit_chain.dropped_head(connection)
        return Verified(start=start, head=verified(_entries(connection), start))
    except ChainBroken as error:
        raise AuditFailed(f"the audit log was altered: {error}") from error
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        raise AuditFailed(f"the audit log cannot be read: {error}") from error


def _entries(connection: sqlite3.Connection) -> Iterator[AuditEntry]:
    for row in connection.execute(sql.AUDIT_AFTER, (0,)):
        yield audit_chain.entry_of(row)


def _entry(values: dict[str, Any]) -> AuditEntry:
    columns = (
        "number revision at principal credential_kind credential address method subject result"
    )
    names = (*columns.split(), "request_id", "omitted", "hash")
    return audit_chain.entry_of(tuple(values[name] for name in names))


def _signer(path: Path) -> Ed25519PrivateKey:
    try:
        if not path.exists():
            made = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(made)
        pem = read_given(path, most=LARGEST_KEY).data
        key = serialization.load_pem_private_key(pem, password=None)
    except OSError as error:
        raise AuditFailed(f"{path}: the key cannot be written ({error.strerror})") from error
    except FileUnusable as error:
        raise AuditFailed(f"{path} {error}") from error
    except (ValueError, TypeError) as error:
        raise AuditFailed(f"{path}: it holds no private key without a passphrase") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise AuditFailed(f"{path}: it holds no Ed25519 key")
    return key


def _public(key: Ed25519PrivateKey) -> str:
    return _text(key.public_key().public_bytes_raw())


def _signed(start: Head, head: Head) -> bytes:
    return SIGNED + json_of({"head": _head(head), "start": _head(start)}).encode("ascii")


def _head(head: Head) -> dict[str, Any]:
    return {"hash": head.hash, "number": head.number}


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
