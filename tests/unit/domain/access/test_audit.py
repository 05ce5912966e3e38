"""The chain of the audit log: what breaks it, and what it does not show."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.access.audit import (
    AuditEntry,
    AuditRecord,
    ChainBroken,
    Head,
    canonical,
    hash_of,
    removed_early,
    verified,
)
from tendhost.server.domain.access.principal import CredentialKind

NOW = datetime(2027, 1, 31, 12, tzinfo=UTC)
RECORD = AuditRecord(
    at=NOW,
    principal="änne",
    credential_kind=CredentialKind.TOKEN,
    credential="0123456789ab",
    address="ipv4:192.0.2.7",
    method="/tendhost.v1.HostService/StartUpdate",
    subject="web1",
    result="HOST_BUSY",
    request_id="5f9d9f6e-2b1c-4c5e-9a52-0d6f3f6f1a11",
    omitted=3,
)
OTHER: dict[str, Any] = {
    "at": NOW + timedelta(microseconds=1),
    "principal": "anne",
    "credential_kind": None,
    "credential": "0123456789ac",
    "address": "ipv4:192.0.2.8",
    "method": "/tendhost.v1.HostService/StartReboot",
    "subject": "web2",
    "result": "OK",
    "request_id": "",
    "omitted": 0,
}


FIRST = Head()


def chained(records: Sequence[AuditRecord], start: Head = FIRST) -> list[AuditEntry]:
    """The records as a chain."""
    entries, head = [], start
    for record in records:
        entry = AuditEntry(number=head.number + 1, revision=7, record=record, hash="")
        entries.append(replace(entry, hash=hash_of(entry, head.hash)))
        head = Head(number=entry.number, hash=entries[-1].hash)
    return entries


def test_canonical_form__is_sorted_json_in_ascii():
    entry = AuditEntry(number=1, revision=7, record=RECORD, hash="")
    assert canonical(entry, "0" * 64) == (
        b'{"address":"ipv4:192.0.2.7","at":1801396800000000,"credential":"0123456789ab",'
        b'"credential_kind":"token","former":"' + b"0" * 64 + b'",'
        b'"method":"/tendhost.v1.HostService/StartUpdate","number":1,"omitted":3,'
        b'"principal":"\\u00e4nne","request_id":"5f9d9f6e-2b1c-4c5e-9a52-0d6f3f6f1a11",'
        b'"result":"HOST_BUSY","revision":7,"subject":"web1"}'
    )


def test_samples__alter_every_field():
    assert set(OTHER) == set(AuditRecord.__dataclass_fields__)


@pytest.mark.parametrize("field", OTHER)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_record__that_was_altered_in_any_field_breaks_the_chain(field: str, position: int):
    entries = chained([RECORD] * 3)
    altered = replace(RECORD, **{field: OTHER[field]})
    entries[position] = replace(entries[position], record=altered)
    with pytest.raises(ChainBroken, match=f"record {position + 1} was altered"):
        verified(entries, Head())


def test_record__with_a_hash_made_anew_breaks_the_chain_at_the_next_one():
    entries = chained([RECORD] * 3)
    forged = replace(entries[0], record=replace(RECORD, principal="mallory"), hash="")
    entries[0] = replace(forged, hash=hash_of(forged, Head().hash))
    with pytest.raises(ChainBroken, match="record 2 was altered, or a record before it was"):
        verified(entries, Head())


@pytest.mark.parametrize("hash", ["", "0" * 64])
def test_hash__that_was_removed_breaks_the_chain(hash: str):
    entries = chained([RECORD] * 3)
    entries[0] = replace(entries[0], hash=hash)
    with pytest.raises(ChainBroken):
        verified(entries, Head())


@given(st.data())
def test_chain__without_some_records_or_in_another_order_is_broken(data: st.DataObject):
    entries = chained([replace(RECORD, omitted=number) for number in range(5)])
    rest = data.draw(st.lists(st.sampled_from(entries), unique=True))
    if rest == entries[: len(rest)]:
        number, hash = (len(rest), rest[-1].hash) if rest else (0, Head().hash)
        assert verified(rest, Head()) == Head(number=number, hash=hash)
        return
    with pytest.raises(ChainBroken):
        verified(rest, Head())


def test_chain__continues_from_what_was_dropped():
    entries = chained([RECORD] * 4)
    dropped = Head(number=2, hash=entries[1].hash)
    assert verified(entries[2:], dropped) == Head(number=4, hash=entries[3].hash)
    with pytest.raises(ChainBroken, match="record 3 is missing: record 4 follows 2"):
        verified(entries[3:], dropped)
    with pytest.raises(ChainBroken, match="record 3 was altered"):
        verified(entries[2:], replace(dropped, hash=entries[0].hash))


def test_records__without_a_hash_are_refused_wherever_they_are():
    bare = [AuditEntry(number=n, revision=0, record=RECORD, hash="") for n in (1, 2)]
    chain = chained([RECORD] * 2, Head(number=2))
    for entries in (bare, [*bare, *chain]):
        with pytest.raises(ChainBroken, match="record 1 has no hash"):
            verified(entries, Head())
    with pytest.raises(ChainBroken, match="record 5 has no hash"):
        verified((*chain, replace(bare[0], number=5)), Head(number=2))


def test_records__that_are_gone_before_their_time_are_found():
    day = timedelta(days=1)
    entries = chained([replace(RECORD, at=RECORD.at + day * number) for number in range(5)])
    entries[1] = replace(entries[1], record=replace(RECORD, at=RECORD.at + day * 99))

    def found(start: int, now: timedelta) -> AuditEntry | None:
        return removed_early(entries, Head(number=start), history=day * 3, now=RECORD.at + now)

    assert found(0, day) is None
    assert found(1, day) == entries[0]
    assert found(2, day * 4) is None  # a clock that was wrong had dated the second one
    assert found(5, day * 6) == entries[3]
    assert found(5, day * 8) is None
