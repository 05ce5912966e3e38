"""Copies of a database, most of them while it is in use."""

import asyncio
import fcntl
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tendhost.server.store.backup import CopyFailed, back_up
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Change
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
from tests.contract.store.samples import NOW, an_event, change, stored_host


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """One that is a file."""
    return Database(backend="sqlite", address=address_of("sqlite", tmp_path))


async def test_copy_of_a_database_in_use_holds_what_was_committed_and_is_one_private_file(
    store: Store, path: Path, file: Path
) -> None:
    host = await stored_host(store)
    former = os.umask(0)
    try:
        copy = back_up(path, file, now=NOW)
    finally:
        os.umask(former)
    await stored_host(store, "later")
    assert (copy.revision, copy.size, copy.created_at) == (1, len(content(file)), NOW)
    assert names_in(file.parent) == {file.name}
    assert mode(file) == 0o600
    restored = put_with_cp(file, file.parent / "elsewhere" / "tendhost.db")
    async with restored.opened() as other:
        assert await other.host("web1") == host
        assert await other.count_hosts() == 1
        assert await other.restored_from() == NOW


async def test_copy_of_a_database_that_is_not_in_use_leaves_it_usable(
    database: Database, path: Path, file: Path
) -> None:
    async with database.opened() as store:
        await stored_host(store)
    assert back_up(path, file, now=NOW).revision == 1
    async with database.opened() as store:
        assert await store.count_hosts() == 1
        assert await store.restored_from() is None


async def test_copy_of_a_database_whose_server_was_killed_holds_what_stands_in_its_log(
    path: Path, file: Path
) -> None:
    killed_with_a_host(path)
    assert (path.parent / "tendhost.db-wal").stat().st_size
    assert back_up(path, file, now=NOW).revision == 1


async def test_copy_is_of_one_moment_and_holds_up_no_writer(
    store: Store, path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(20):
        await store.commit(Change(events=[an_event()] * 100))
    monkeypatch.setattr("tendhost.server.store.backup.PAGES_AT_ONCE", 1)
    copying = asyncio.create_task(asyncio.to_thread(back_up, path, file, now=NOW))
    meanwhile = 0
    while not copying.done():
        await store.commit(change())  # each commit would make a copy without a snapshot begin anew
        meanwhile += 1
    copy = await copying
    assert meanwhile > 0
    assert 2000 <= copy.revision < 2000 + meanwhile
    with closing(sqlite3.connect(file)) as database:
        newest = "SELECT max(revision), count(*) FROM events"
        assert database.execute(newest).fetchone() == (copy.revision, copy.revision)


async def test_file_that_is_there_is_replaced_only_by_force(
    store: Store, path: Path, file: Path
) -> None:
    fill(file, b"precious")
    with pytest.raises(CopyFailed) as caught:
        back_up(path, file, now=NOW)
    assert f"{file} already exists" in one_line(caught)
    assert content(file) == b"precious"
    back_up(path, file, now=NOW, force=True)
    assert content(file).startswith(b"SQLite format 3\0")
    assert names_in(file.parent) == {file.name}


@pytest.mark.parametrize("end", ["", "-wal", "-shm", ".lock"])
async def test_database_is_never_replaced_by_its_copy(store: Store, path: Path, end: str) -> None:
    link = path.parent.parent / "link"
    link.symlink_to(path.parent)
    for name in (path.parent, link):
        with pytest.raises(CopyFailed) as caught:
            back_up(path, name / f"{path.name}{end}", now=NOW, force=True)
        assert "belongs to the database itself" in one_line(caught)
    await stored_host(store)


def test_where_there_is_no_database_there_is_no_copy(path: Path, file: Path) -> None:
    with pytest.raises(CopyFailed) as caught:
        back_up(path, file, now=NOW)
    assert f"{path}: there is no database" in one_line(caught)
    assert not path.parent.exists()
    assert names_in(file.parent) == set()


async def test_folder_that_is_not_there_or_in_place_of_the_file_is_named(
    store: Store, path: Path, file: Path
) -> None:
    with pytest.raises(CopyFailed) as caught:
        back_up(path, file / "deeper", now=NOW)
    assert str(file / "deeper") in one_line(caught)
    assert "No such file or directory" in one_line(caught)
    with pytest.raises(CopyFailed) as caught:
        back_up(path, file.parent, now=NOW, force=True)
    assert "Is a directory" in one_line(caught)
    assert names_in(file.parent) == set()


async def test_copy_that_is_cut_off_leaves_nothing(
    store: Store, path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(status: int, remaining: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tendhost.server.store.backup._heed_interruptions", interrupted)
    with pytest.raises(KeyboardInterrupt):
        back_up(path, file, now=NOW)
    assert names_in(file.parent) == set()


@contextmanager
def held(partial: Path) -> Iterator[None]:
    """Another process writes to the file."""
    holding = (
        "import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(partial)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield


async def test_what_a_killed_copy_left_is_taken_over_and_what_another_writes_is_not(
    store: Store, path: Path, file: Path
) -> None:
    partial = file.with_name(f"{file.name}.partial")
    partial.write_bytes(b"x" * 10_000_000)
    partial.chmod(0o644)
    with held(partial), pytest.raises(CopyFailed) as caught:
        back_up(path, file, now=NOW)
    assert f"{partial} is being written by another process" in one_line(caught)
    assert partial.stat().st_size == 10_000_000
    back_up(path, file, now=NOW)
    assert names_in(file.parent) == {file.name}
    assert mode(file) == 0o600


async def test_damaged_database_is_told_and_not_copied(
    database: Database, path: Path, file: Path
) -> None:
    async with database.opened() as store:
        await store.commit(Change(events=[an_event()] * 1000))
    damage(path)
    with pytest.raises(CopyFailed) as caught:
        back_up(path, file, now=NOW)
    assert str(path) in one_line(caught)
    assert names_in(file.parent) == set()


async def test_copy_that_is_finished_between_opening_and_holding_is_not_emptied(
    store: Store, path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = file.with_name("finished")
    flock = fcntl.flock

    def renamed_first(descriptor: int, how: int) -> None:
        if not finished.exists():
            partial = file.with_name(f"{file.name}.partial")
            fill(partial, b"whole")
            partial.rename(finished)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", renamed_first)
    back_up(path, file, now=NOW)
    assert content(finished) == b"whole"
    assert names_in(file.parent) == {file.name, finished.name}
