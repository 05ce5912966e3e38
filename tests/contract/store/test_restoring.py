"""A database in whose place a copy was put."""

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.store.backup import CopyFailed, Restoration, back_up, restore
from tendhost.server.store.migrations import SCHEMA
from tendhost.server.store.records import Change, Conflict
from tests.contract.store.backends import address_of
from tests.contract.store.conftest import Database
from tests.contract.store.copies import (
    content,
    damage,
    fill,
    killed_with_a_host,
    mode,
    names_in,
    one_line,
    put_with_cp,
)
from tests.contract.store.samples import NOW, change, stored_host

LATER = datetime(2026, 3, 2, 3, 4, 5, tzinfo=UTC)
NAMES_WHILE_OPEN = {"tendhost.db", "tendhost.db-shm", "tendhost.db-wal", "tendhost.db.lock"}


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """One that is a file."""
    return Database(backend="sqlite", address=address_of("sqlite", tmp_path))


@pytest.fixture
async def copy(database: Database, path: Path, file: Path) -> Path:
    """A copy with one host, of a database that has two now."""
    async with database.opened() as store:
        await stored_host(store)
        back_up(path, file, now=NOW)
        await stored_host(store, "later")
    return file


@pytest.mark.parametrize("way", ["restore", "cp"])
async def test_log_of_a_restored_database_is_another_one(
    database: Database, path: Path, copy: Path, way: str
) -> None:
    async with database.opened() as store:
        before = await store.log_bounds()
    if way == "cp":
        shutil.copy(copy, path)
    else:
        restore(copy, path, now=LATER)
    async with database.opened() as store:
        after = await store.log_bounds()
        assert (after.oldest, after.current) == (1, 1)
        assert await store.count_hosts() == 1
    assert after.log_id not in ("", before.log_id)
    async with database.opened() as store:
        assert (await store.log_bounds()) == after


async def test_two_databases_of_one_copy_have_logs_of_different_ids(
    database: Database, path: Path, copy: Path
) -> None:
    restore(copy, path, now=LATER)
    twin = put_with_cp(copy, copy.parent / "twin" / "tendhost.db")
    async with database.opened() as one, twin.opened() as other:
        assert (await one.log_bounds()).log_id != (await other.log_bounds()).log_id


async def test_restored_database_says_so_until_that_is_settled(
    database: Database, path: Path, copy: Path
) -> None:
    restore(copy, path, now=LATER)
    async with database.opened() as store:
        assert await store.restored_from() == NOW
        await store.commit(change())
    async with database.opened() as store:
        assert await store.restored_from() == NOW
        committed = await store.commit(Change(events=(), settles_restoration=True))
        assert committed.revision == 2
        assert await store.restored_from() is None
    async with database.opened() as store:
        assert await store.restored_from() is None


async def test_restoration_stays_unsettled_where_its_change_fails(
    database: Database, path: Path, copy: Path
) -> None:
    restore(copy, path, now=LATER)
    async with database.opened() as store:
        host = replace(await store.host("web1"), revision=9)
        with pytest.raises(Conflict):
            await store.commit(change(hosts=(host,), settles_restoration=True))
        assert await store.restored_from() == NOW


async def test_copy_of_what_was_restored_and_is_unsettled_tells_of_the_first_copy(
    path: Path, copy: Path
) -> None:
    restore(copy, path, now=LATER)
    second = copy.with_name("second")
    assert back_up(path, second, now=LATER).created_at == NOW


async def test_former_database_is_kept_and_can_be_restored_in_turn(
    database: Database, path: Path, copy: Path
) -> None:
    done = restore(copy, path, now=LATER)
    former = path.with_name("tendhost.db.before-restore-20260302T030405Z")
    assert (done.former, done.copy.revision, done.copy.created_at) == (former, 1, NOW)
    assert names_in(path.parent) == {"tendhost.db", "tendhost.db.lock", former.name}
    assert mode(path) == 0o600
    os.utime(former, (LATER.timestamp(), LATER.timestamp()))
    undone = restore(former, path, now=datetime(2026, 3, 3, tzinfo=UTC))
    assert (undone.copy.revision, undone.copy.created_at) == (2, LATER)
    async with database.opened() as store:
        assert await store.count_hosts() == 2
        assert await store.restored_from() == LATER


async def test_log_of_a_killed_server_goes_into_the_former_database_and_not_into_the_restored_one(
    database: Database, path: Path, copy: Path
) -> None:
    killed_with_a_host(path)
    assert names_in(path.parent) >= NAMES_WHILE_OPEN
    done = restore(copy, path, now=LATER)
    assert done.former is not None
    assert names_in(path.parent) == {"tendhost.db", "tendhost.db.lock", done.former.name}
    with closing(sqlite3.connect(done.former)) as former:
        names = [row[0] for row in former.execute("SELECT name FROM hosts ORDER BY name")]
    assert names == ["killed", "later", "web1"]
    async with database.opened() as store:
        assert await store.count_hosts() == 1


async def test_log_of_a_killed_server_does_not_ruin_a_copy_that_is_put_there_with_cp(
    database: Database, path: Path, copy: Path
) -> None:
    killed_with_a_host(path)
    shutil.copy(copy, path)
    async with database.opened() as store:
        assert await store.count_hosts() == 1
        await stored_host(store, "new")
    with closing(sqlite3.connect(path)) as restored:
        assert restored.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_log_of_a_killed_server_is_kept_where_nothing_was_restored(
    database: Database, path: Path
) -> None:
    killed_with_a_host(path)
    async with database.opened() as store:
        assert (await store.host("killed")).name == "killed"


async def test_damaged_database_is_kept_with_its_log_and_replaced(
    database: Database, path: Path, copy: Path
) -> None:
    killed_with_a_host(path)
    garbage = b"no database any more" * 500
    fill(path, garbage)
    log = path.with_name("tendhost.db-wal").read_bytes()
    done = restore(copy, path, now=LATER)
    assert done.former is not None
    assert content(done.former) == garbage
    assert done.former.with_name(f"{done.former.name}-wal").read_bytes() == log
    async with database.opened() as store:
        assert await store.count_hosts() == 1


async def test_copy_is_restored_where_there_was_no_database(copy: Path) -> None:
    path = copy.parent / "new" / "state" / "tendhost.db"
    assert restore(copy, path, now=LATER).former is None
    assert names_in(path.parent) == {"tendhost.db", "tendhost.db.lock"}
    path.unlink()
    killed_with_a_host(path)
    path.unlink()  # its log is there still
    assert restore(copy, path, now=LATER).former is None
    async with Database(backend="sqlite", address=str(path)).opened() as store:
        assert await store.count_hosts() == 1


async def test_database_that_a_server_has_is_not_replaced(
    database: Database, path: Path, copy: Path
) -> None:
    async with database.opened() as store:
        with pytest.raises(StoreUnavailable, match=f"in use by another .*process {os.getpid()}"):
            restore(copy, path, now=LATER)
        assert await store.count_hosts() == 2
    assert names_in(path.parent) == {"tendhost.db", "tendhost.db.lock"}


def refused(file: Path, path: Path) -> str:
    """What is said of a file that is refused; nothing of the database is touched."""
    before = {name: (path.parent / name).read_bytes() for name in names_in(path.parent)}
    with pytest.raises(CopyFailed) as caught:
        restore(file, path, now=LATER)
    after = {name: (path.parent / name).read_bytes() for name in names_in(path.parent)}
    del before["tendhost.db.lock"], after["tendhost.db.lock"]
    assert after == before
    return one_line(caught)


async def test_files_that_are_no_sound_copy_are_refused(path: Path, copy: Path) -> None:
    none = copy.parent / "none"
    assert f"{none} cannot be read: No such file or directory" in refused(none, path)
    other = copy.with_name("other")
    other.write_bytes(b"not a database, but long enough to look like one might " * 50)
    assert f"{other}: file is not a database" in refused(other, path)
    other.write_bytes(b"")
    assert f"{other} is no database of tendhost" in refused(other, path)
    other.unlink()
    with closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE meta (theirs TEXT)")
        database.execute("PRAGMA user_version = 1")
    assert f"{other} is no database of tendhost" in refused(other, path)
    assert str(copy.parent) in refused(copy.parent, path)
    assert "belongs to the database itself" in refused(path, path)


async def test_damaged_copy_is_refused(path: Path, copy: Path) -> None:
    whole = content(copy)
    damage(copy)
    assert str(copy) in refused(copy, path)
    fill(copy, whole[: len(whole) // 2])
    assert str(copy) in refused(copy, path)
    fill(copy, whole)
    assert isinstance(restore(copy, path, now=LATER), Restoration)


async def test_copy_of_a_newer_version_is_refused_with_both_versions(
    path: Path, copy: Path
) -> None:
    with closing(sqlite3.connect(copy)) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA + 3}")
    assert f"schema is {SCHEMA + 3}, this program knows {SCHEMA}" in refused(copy, path)
