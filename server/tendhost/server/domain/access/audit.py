"""The audit log: what each record tells, and the chain of hashes that shows whether a record was altered."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tendhost.server.domain.access.principal import CredentialKind

OK = "OK"
"""The result of a mutation that was carried out, also where there was nothing to change."""
STARTED = "STARTED"
"""The result of a call that reads from a host, before the host is asked: a refusal is a record of its own."""
OMITTED = "OMITTED"
"""The result of a record that stands for refusals without a record."""
MISSED = "MISSED"
"""The result of a record that tells that a sink was not sent records before they were pruned."""
FIRST_HASH = "0" * 64
"""What the first record of a database follows."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """Who asked for what, on what, and with which result."""

    at: datetime
    principal: str
    """The caller's name; without one, the address that the call comes from. Empty: several callers."""
    credential_kind: CredentialKind | None = None
    """None: the server itself, as for a schedule, or a record of a version that did not store it."""
    credential: str = ""
    """Id of the token, serial number of the certificate, or issuer and id of the JWT."""
    address: str = ""
    """Where the call comes from, without the port; empty: from the server itself."""
    method: str
    subject: str
    """The host, operation, rollout or other object that the call was about; empty: none, or the call was refused
    before its message was read."""
    result: str = OK
    """OK, STARTED, OMITTED, MISSED, or the reason of the refusal."""
    request_id: str = ""
    omitted: int = 0
    """Number of further refusals that this record stands for, which have no record, or of records that a sink
    was not sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """A record as it is stored."""

    number: int
    """Counts records, without gaps, and never begins again."""
    revision: int
    """Of the event log, once the mutation was stored."""
    record: AuditRecord
    hash: str
    """What `hash_of` gives; empty: a record of a version that did not chain records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A place in the chain: the number and the hash of a record."""

    number: int = 0
    hash: str = FIRST_HASH


def head_at(number: int, hash: str) -> Head:
    """The place of a record with this hash; empty: a record of a version that did not chain records."""
    return Head(number=number, hash=hash or FIRST_HASH)


class ChainBroken(Exception):
    """A record is not the one that was written, or records are missing."""


def canonical(entry: AuditEntry, former: str) -> bytes:
    """The bytes that are hashed: JSON (RFC 8259) in ASCII without spaces, its keys sorted.

    `former` is the hash of the record before. `at` is in microseconds since 1970 in UTC.
    """
    return json_of(_values(entry, former)).encode("ascii")


def _values(entry: AuditEntry, former: str) -> dict[str, str | int]:
    record = entry.record
    return {
        "address": record.address,
        "at": (record.at - _EPOCH) // timedelta(microseconds=1),
        "credential": record.credential,
        "credential_kind": str(record.credential_kind or ""),
        "former": former,
        "method": record.method,
        "number": entry.number,
        "omitted": record.omitted,
        "principal": record.principal,
        "request_id": record.request_id,
        "result": record.result,
        "revision": entry.revision,
        "subject": record.subject,
    }


def json_of(values: Mapping[str, object]) -> str:
    """JSON on one line, in ASCII, without spaces, its keys sorted."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def documents(entries: Iterable[AuditEntry], former: str) -> Iterator[dict[str, str | int]]:
    """What leaves the server of each record: what is hashed, and the hash. `former`: the hash before the first."""
    for entry in entries:
        yield _values(entry, former) | {"hash": entry.hash}
        former = head_at(entry.number, entry.hash).hash


def hash_of(entry: AuditEntry, former: str) -> str:
    """SHA-256 of a record and of the hash before it, in hexadecimal digits."""
    return hashlib.sha256(canonical(entry, former)).hexdigest()


def verified(entries: Iterable[AuditEntry], start: Head) -> Head:
    """The head of the chain that follows `start`. Raises ChainBroken with the first record that is wrong.

    That the newest records are gone shows only where a later head is known, such as that of an export.
    """
    head = start
    for entry in entries:
        if entry.number != head.number + 1:
            raise ChainBroken(
                f"record {head.number + 1} is missing: record {entry.number} follows {head.number}"
            )
        if not entry.hash:
            # Else whoever removes the hashes could write what he likes before the first one.
            raise ChainBroken(
                f"record {entry.number} has no hash: somebody removed it, or a version before 0.1.0 wrote the record"
            )
        if entry.hash != hash_of(entry, head.hash):
            raise ChainBroken(
                f"record {entry.number} was altered, or a record before it was: its hash does not match"
            )
        head = Head(number=entry.number, hash=entry.hash)
    return head


def removed_early(
    entries: Iterable[AuditEntry], start: Head, *, history: timedelta, now: datetime
) -> AuditEntry | None:
    """The first record that is gone, for the chain continues from `start`, and that pruning would have kept.

    Pruning drops what is older than `history`, and what a clock that was wrong had dated in the future.
    """
    gone = (entry for entry in entries if entry.number <= start.number)
    return next((entry for entry in gone if now - history <= entry.record.at <= now), None)
