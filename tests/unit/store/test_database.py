"""Opening a database file: what is made, and what is refused in words that name the file."""

import asyncio
import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from tendhost.server.domain.request_errors import ConfigurationError, StoreUnavailable
from tendhost.server.store import database as opening
from tendhost.server.store.migrations import MIGRATIONS, SCHEMA
from tendhost.server.store.sqlite import SqliteStore, open_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tendhost.db"


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_store(path)
    try:
        yield store
    finally:
        await store.aclose()


def made(path: Path) -> None:
    """Has an empty database at `path`."""

    async def open_and_close() -> None:
        async with opened(path):
            pass

    asyncio.run(open_and_close())


def refusal(path: Path) -> str:
    """What StoreUnavailable says of opening `path`."""
    with pytest.raises(StoreUnavailable) as caught:
        asyncio.run(open_store(path))
    return str(caught.value)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_folder_and_files_are_for_their_owner_alone(path: Path) -> None:
    def modes() -> dict[str, int]:
        return {file.name: mode(file) for file in path.parent.iterdir()}

    async def modes_while_open() -> dict[str, int]:
        async with opened(path):
            return modes()

    former = os.umask(0)
    try:
        seen = asyncio.run(modes_while_open())
    finally:
        os.umask(former)
    assert mode(path.parent) == 0o700
    names = ("tendhost.db", "tendhost.db-shm", "tendhost.db-wal", "tendhost.db.lock")
    assert seen == dict.fromkeys(names, 0o600)


def test_folders_above_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "tendhost.db"
    made(path)
    assert path.exists()


def test_commits_are_durable_and_readers_do_not_wait(path: Path) -> None:
    made(path)
    with closing(opening.open_for_writing(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)


def test_connection_for_reading_cannot_write(path: Path) -> None:
    made(path)
    with (
        closing(opening.open_for_reading(path)) as database,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        database.execute("DELETE FROM meta")


def test_database_of_a_newer_version_is_refused_with_both_versions_and_left_alone(
    path: Path,
) -> None:
    made(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA + 3}")
    before = path.read_bytes()
    said = refusal(path)
    assert str(path) in said
    assert f"schema is {SCHEMA + 3}, this program knows {SCHEMA}" in said
    assert path.read_bytes() == before


def test_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, but long enough to look like one might " * 50)
    before = path.read_bytes()
    said = refusal(path)
    assert f"{path}: file is not a database" in said
    assert path.read_bytes() == before


def test_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE meta (theirs TEXT)")
    assert str(path) in refusal(path)
    with closing(sqlite3.connect(path)) as database:
        tables = database.execute("SELECT name FROM sqlite_master").fetchall()
        assert tables == [("meta",)]
        assert database.execute("PRAGMA user_version").fetchone() == (0,)


def test_damaged_database_is_refused(path: Path) -> None:
    made(path)
    damaged = bytearray(path.read_bytes())
    damaged[100:4096] = b"\xff" * 3996  # the page that holds the schema
    path.write_bytes(damaged)
    assert f"{path}: " in refusal(path)


def test_folder_in_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    assert refusal(path).endswith(f": {path}: Is a directory")


def test_file_in_place_of_the_folder_is_a_matter_of_configuration(path: Path) -> None:
    path.parent.write_text("a file")
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(open_store(path))
    assert caught.value.value == str(path.parent)


def test_folder_that_cannot_be_written_is_a_matter_of_configuration() -> None:
    # Not even root can make files there.
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(open_store(Path("/proc/self/state/tendhost.db")))
    assert "/proc/self/state" in str(caught.value)
    assert caught.value.field == "state_dir"


def test_folder_on_a_full_disk_is_a_matter_of_configuration_and_is_let_go_of(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "write", write)
        with pytest.raises(ConfigurationError, match="No space left on device"):
            opening.take_lock(path)
    os.close(opening.take_lock(path))


def test_second_server_on_one_database_is_refused_with_the_first_one_named(
    path: Path,
) -> None:
    program = (
        "import sys, fcntl, os; lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT);"
        "fcntl.flock(lock, fcntl.LOCK_EX); os.write(lock, b'%d\\n' % os.getpid());"
        "print('held', flush=True); sys.stdin.read()"
    )
    path.parent.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", program, f"{path}.lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        said = refusal(path)
    assert f"{path} is in use by another tendhostd (process {holder.pid})" in said
    assert not path.exists()
    made(path)


async def test_store_tells_its_process_to_whoever_comes_second(path: Path) -> None:
    async with opened(path):
        with pytest.raises(StoreUnavailable, match=rf"\(process {os.getpid()}\)"):
            await open_store(path)
    async with opened(path):
        pass


def test_refused_database_is_free_for_the_next_one(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, but long enough to look like one might " * 50)
    refusal(path)
    path.unlink()
    made(path)


def test_database_that_somebody_else_has_locked_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_MILLISECONDS", 1)
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "database is locked" in refusal(path)
        other.execute("COMMIT")
    made(path)


def test_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = (*MIGRATIONS, ("CREATE TABLE extra (id TEXT)", "NO STATEMENT AT ALL"))
    monkeypatch.setattr(opening, "MIGRATIONS", broken)
    monkeypatch.setattr(opening, "SCHEMA", SCHEMA + 1)
    assert "syntax error" in refusal(path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
        extra = "SELECT count(*) FROM sqlite_master WHERE name = 'extra'"
        assert database.execute(extra).fetchone() == (0,)
    monkeypatch.undo()
    made(path)


def test_database_of_an_older_version_is_brought_up_to_date(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(path)
    longer = (*MIGRATIONS, ("CREATE TABLE extra (id TEXT)",))
    monkeypatch.setattr(opening, "MIGRATIONS", longer)
    monkeypatch.setattr(opening, "SCHEMA", SCHEMA + 1)
    made(path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA + 1,)
        assert database.execute("SELECT count(*) FROM extra").fetchone() == (0,)
