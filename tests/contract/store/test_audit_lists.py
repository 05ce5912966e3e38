"""Lists of audit records: what each filter finds, page by page, against a list that is searched record by record."""

import itertools
import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from tendhost.server.domain.access.audit import AuditEntry, AuditRecord
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import AuditFilter, Change
from tests.contract.store.samples import NOW

SECOND = timedelta(seconds=1)
TIMES = [NOW + number * SECOND for number in range(6)]


async def listed(store: Store, wanted: AuditFilter, *, size: int) -> list[AuditEntry]:
    """Every page after the other."""
    found: list[AuditEntry] = []
    before = 0
    while True:
        page = await store.audit_entries(wanted, before=before, limit=size)
        found.extend(page.items)
        if not page.more:
            return found
        before = found[-1].number


def expected(every: Sequence[AuditEntry], wanted: AuditFilter) -> list[AuditEntry]:
    found = [
        entry
        for entry in every
        if wanted.principal in ("", entry.record.principal)
        and wanted.subject in ("", entry.record.subject)
        and (not wanted.methods or entry.record.method in wanted.methods)
        and (wanted.since is None or entry.record.at >= wanted.since)
        and (wanted.until is None or entry.record.at < wanted.until)
    ]
    timed = wanted.since is not None or wanted.until is not None

    def order(entry: AuditEntry) -> tuple[datetime, int]:
        return (entry.record.at if timed else NOW, entry.number)

    return sorted(found, key=order, reverse=True)


async def test_list__has_what_the_filter_admits_newest_first_whatever_the_clock_did(
    store: Store,
) -> None:
    chance = random.Random(7)
    for _ in range(40):
        record = AuditRecord(
            at=chance.choice(TIMES),  # a clock that goes back and forth
            principal=chance.choice(("ann", "bob")),
            method=chance.choice(("/a", "/b", "/c")),
            subject=chance.choice(("web1", "web2")),
        )
        await store.commit(Change(events=(), audit=record, at=record.at))
    every = await listed(store, AuditFilter(), size=100)
    assert [entry.number for entry in every] == list(range(40, 0, -1))
    for principal, subject, methods, since, until in itertools.product(
        ("", "ann"), ("", "web2"), ((), ("/a",), ("/a", "/b")), (None, TIMES[2]), (None, TIMES[4])
    ):
        wanted = AuditFilter(
            principal=principal, subject=subject, methods=methods, since=since, until=until
        )
        assert await listed(store, wanted, size=3) == expected(every, wanted), wanted
