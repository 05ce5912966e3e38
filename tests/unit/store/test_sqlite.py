"""What a store on SQLite says when its database goes bad, and what it writes that no method reads."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from tendhost.server.domain.access.audit import AuditRecord
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.operations.operation import OperationStatus
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.store import pruning
from tendhost.server.store.database import open_for_writing
from tendhost.server.store.sqlite import SqliteStore, open_store
from tests.contract.store.samples import A_DAY, NOW, a_host, an_operation, change


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tendhost.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_store(path)
    yield store
    await store.aclose()


async def test_reads_of_a_database_that_went_bad_name_its_file(
    store: SqliteStore, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE hosts")
        other.execute("DROP TABLE requests")
    for read in (
        store.host("web1"),
        store.hosts(HostFilter(), limit=9),
        store.stored_response("request", b"digest"),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            await read
        assert f"{path}: no such table" in str(caught.value)


async def test_database_that_lost_its_counter_is_refused(path: Path) -> None:
    store = await open_store(path)
    await store.aclose()
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE counter")
    with pytest.raises(StoreUnavailable, match="no such table: counter"):
        await open_store(path)


async def test_change_that_a_full_disk_refused_is_stored_once_there_is_space(
    store: SqliteStore, path: Path
) -> None:
    # Another process's limit would not count, so it is set where the store writes.
    await store._writer.submit(lambda database: database.execute("PRAGMA max_page_count = 1"))
    big = change(hosts=(a_host("x" * 1_000_000),))
    with pytest.raises(StoreUnavailable, match="disk is full"):
        await store.commit(big)
    assert await store.count_hosts() == 0
    assert (await store.log_bounds()).current == 0
    await store._writer.submit(lambda database: database.execute("PRAGMA max_page_count = 9999"))
    assert (await store.commit(big)).revision == 1


async def test_audit_rows_tell_who_asked_for_what_at_which_revision(
    store: SqliteStore, path: Path
) -> None:
    audit = AuditRecord(at=NOW, principal="änne", method="RegisterHost", subject="web1")
    await store.commit(change(hosts=(a_host(),), events=2, audit=audit))
    with closing(sqlite3.connect(path)) as other:
        rows = other.execute("SELECT revision, principal, method, subject FROM audit").fetchall()
    assert rows == [(2, "änne", "RegisterHost", "web1")]


async def test_one_commit_prunes_no_more_than_a_bounded_part(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "EVENTS_AT_ONCE", 10)
    monkeypatch.setattr(pruning, "OPERATIONS_AT_ONCE", 3)
    ended = [an_operation(status=OperationStatus.FAILED, ended_at=NOW) for _ in range(7)]
    await store.commit(change(events=25, operations=ended))
    later = NOW + A_DAY
    with closing(open_for_writing(path)) as database:
        parts = [
            pruning.prune(database, before=later, now=later, requests_before=0, keep_events=100)
            for _ in range(4)
        ]
    assert parts == [
        # Operations are as new as the last of their events.
        pruning.Pruned(10, 10, more=True),
        pruning.Pruned(10, 20, more=True),
        pruning.Pruned(8, 25, more=True),
        pruning.Pruned(3, 25, more=True),
    ]
