"""Everything moves from one database to another of the other kind, and back, or nothing does."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tendhost.server.domain.leases import Replica
from tendhost.server.domain.request_errors import ConfigurationError, StoreUnavailable
from tendhost.server.store import transfer
from tendhost.server.store.backup import back_up, restore
from tendhost.server.store.database import open_for_writing
from tendhost.server.store.moving import mark_restored, move
from tendhost.server.store.postgres.store import open_postgres
from tendhost.server.store.sqlite import open_store
from tendhost.server.store.transfer import TransferFailed, Transferred, tables
from tests.contract.store.backends import address_of
from tests.contract.store.copies import names_in
from tests.contract.store.samples import NOW, a_host, change, stored_host
from tests.tools import needs

pytestmark = needs("psql")

RUNNING = Replica(id="r1", started_at=NOW)
Content = dict[str, list[Any]]
TEXTS = ("plain", "", "ä\u2603\U0001f600", "\x00 and \ue000\ue001", "'; DROP TABLE hosts; --")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tendhost.db"


@pytest.fixture
def address(tmp_path: Path) -> str:
    return address_of("postgres", tmp_path)


def fill_every_table(file: Path) -> None:
    """Put rows with values of each kind into every table."""
    file.parent.mkdir()
    with closing(open_for_writing(file)) as database:
        for table in tables():
            columns = database.execute(f"PRAGMA table_info ({table.name})").fetchall()
            for number in range(len(TEXTS) if table.name != "counter" else 0):
                row = [_value(column, kind, number, table) for _, column, kind, *_ in columns]
                database.execute(table.insert, row)
        database.execute("UPDATE counter SET revision = 7")


def _value(column: str, kind: str, number: int, table: transfer.Table) -> Any:
    if kind == "BLOB":
        return bytes(range(256)) * number
    if kind == "TEXT":
        # Keys differ; a partial index lets one host have a single running operation.
        return f"{TEXTS[number]} {number}" if column in table.key else TEXTS[number]
    return number if column in table.key else (2**62, -1, 0, 1, 42)[number]


def content_of(file: Path) -> Content:
    """All rows of every table."""
    with closing(sqlite3.connect(file)) as database:
        return {table.name: database.execute(table.select, (-1,)).fetchall() for table in tables()}


async def test_every_row_of_every_table_arrives_and_comes_back(
    file: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transfer, "ROWS_AT_ONCE", 2)
    fill_every_table(file)
    before = content_of(file)
    there = await move(str(file), address)
    assert there == Transferred(rows=sum(map(len, before.values())), revision=7)
    again = tmp_path / "again.db"
    assert await move(address, str(again)) == there
    assert content_of(again) == before


async def test_moved_database__goes_on_with_its_log_and_is_opened_no_more_where_it_was(
    file: Path, address: str
):
    former = await open_store(file)
    await stored_host(former, "web1")
    bounds = await former.log_bounds()
    await former.aclose()
    await move(str(file), address)
    with pytest.raises(StoreUnavailable, match="was moved to postgresql://"):
        await open_store(file)
    store = await open_postgres(address)
    try:
        assert await store.log_bounds() == bounds
        assert (await store.host("web1")).name == "web1"
        assert (await stored_host(store, "web2")).revision == bounds.current + 1
    finally:
        await store.aclose()


async def test_move__that_is_repeated_says_the_same_and_changes_nothing(file: Path, address: str):
    fill_every_table(file)
    first = await move(str(file), address)
    assert await move(str(file), address) == first


async def test_move__back_is_possible_after_more_was_stored(
    file: Path, address: str, tmp_path: Path
):
    await (await open_store(file)).aclose()
    await move(str(file), address)
    store = await open_postgres(address)
    await stored_host(store, "later")
    await store.aclose()
    await move(address, str(tmp_path / "back.db"))
    back = await open_store(tmp_path / "back.db")
    assert (await back.host("later")).name == "later"
    await back.aclose()
    with pytest.raises(StoreUnavailable, match="was moved to"):
        await open_postgres(address)


async def test_move__into_a_database_of_somebody_else_changes_nothing(file: Path, address: str):
    store = await open_postgres(address)
    await stored_host(store, "theirs")
    await store.aclose()
    await stored_host(mine := await open_store(file), "mine")
    await mine.aclose()
    with pytest.raises(TransferFailed, match="is not empty: everything moves into a new database"):
        await move(str(file), address)
    mine = await open_store(file)
    assert (await mine.host("mine")).name == "mine"
    await mine.aclose()


async def test_move__of_which_something_does_not_arrive_leaves_both_as_they_were(
    file: Path, address: str, monkeypatch: pytest.MonkeyPatch
):
    fill_every_table(file)
    before = content_of(file)
    real = transfer._sum

    def damaged(database: Any, table: transfer.Table) -> Any:
        if table.name == "tokens":
            database.execute("DELETE FROM tokens WHERE id LIKE 'plain%'")
        return real(database, table)

    monkeypatch.setattr(transfer, "_sum", damaged)
    with pytest.raises(TransferFailed, match="table tokens: 5 rows were sent and 4 have arrived"):
        await move(str(file), address)
    assert content_of(file) == before
    monkeypatch.undo()
    assert (await move(str(file), address)).revision == 7


@pytest.mark.parametrize("direction", ["to", "from"])
async def test_move__while_a_server_runs_is_refused(
    file: Path, address: str, direction: str, tmp_path: Path
):
    await (await open_store(file)).aclose()
    store = await open_postgres(address)
    try:
        await store.enter_replica(RUNNING, lease=timedelta(seconds=15))
        places = (str(file), address) if direction == "to" else (address, str(tmp_path / "new.db"))
        with pytest.raises(StoreUnavailable, match="in use by 1 tendhostd"):
            await move(*places)
    finally:
        await store.aclose()
    await (await open_store(file)).aclose()


async def test_move__of_a_file_that_a_server_has_is_refused(file: Path, address: str):
    store = await open_store(file)
    with pytest.raises(StoreUnavailable, match="in use by another tendhostd"):
        await move(str(file), address)
    await store.aclose()


async def test_move__of_what_was_moved_elsewhere_is_refused_until_a_copy_is_restored(
    file: Path, address: str, tmp_path: Path
):
    await stored_host(mine := await open_store(file), "mine")
    await mine.aclose()
    await move(str(file), address)
    other, copy = address_of("postgres", tmp_path), tmp_path / "copy.db"
    with pytest.raises(TransferFailed, match=r"was moved to postgresql://.* before"):
        await move(str(file), other)
    with pytest.raises(StoreUnavailable, match="was moved to"):
        await open_store(file)
    back_up(file, copy, now=NOW)
    restore(copy, file, now=NOW)
    restored = await open_store(file)
    assert (await restored.host("mine")).name == "mine"
    assert await restored.restored_from() == NOW
    await restored.aclose()


async def test_move__of_a_file_that_is_not_there_is_refused_and_makes_none(
    file: Path, address: str
):
    with pytest.raises(StoreUnavailable, match="there is no database to move"):
        await move(str(file), address)
    assert not names_in(file.parent.parent)
    await stored_host(store := await open_postgres(address))
    await store.aclose()


async def test_move__between_files_is_refused(file: Path):
    with pytest.raises(ConfigurationError, match="--to"):
        await move(str(file), f"{file}.new")
    assert not names_in(file.parent.parent)


async def test_restored_backup__has_a_new_log_and_says_when_it_was_made(address: str):
    store = await open_postgres(address)
    await store.commit(change(hosts=(a_host(),)))
    former = (await store.log_bounds()).log_id
    await store.aclose()
    assert await mark_restored(address, now=NOW.replace(year=2030)) == NOW
    store = await open_postgres(address)
    try:
        assert await store.restored_from() == NOW
        assert (await store.log_bounds()).log_id != former
    finally:
        await store.aclose()


async def test_restored_backup__of_a_running_installation_is_refused(address: str):
    store = await open_postgres(address)
    try:
        await store.enter_replica(RUNNING, lease=timedelta(seconds=15))
        with pytest.raises(StoreUnavailable, match="in use by 1 tendhostd"):
            await mark_restored(address, now=NOW)
        assert await store.restored_from() is None
    finally:
        await store.aclose()
