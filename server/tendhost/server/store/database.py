"""Opening the database file: its folder, its lock, its schema, and what can be wrong with any of them."""

import fcntl
import logging
import os
import sqlite3
import uuid
from pathlib import Path

from tendhost.server.domain.request_errors import ConfigurationError, StoreUnavailable
from tendhost.server.store import sql
from tendhost.server.store.migrations import LOG_ID, MIGRATIONS, SCHEMA

logger = logging.getLogger(__name__)

_WITHOUT_LOG = b"\x01\x01"
"""The write and read versions, in a database's header, of one that is not in WAL mode."""
SIDE_FILES = ("-wal", "-shm", "-journal")
"""How SQLite names what it keeps beside a database."""
BUSY_MILLISECONDS = 5000
"""How long to wait for another process that has the database open, such as a backup."""


def take_lock(path: Path) -> int:
    """Make the folder and hold the database for this process alone; the lock's file descriptor.

    Raises ConfigurationError when the folder cannot be used, StoreUnavailable when another server
    has it.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path.parent, error) from error
    try:
        _hold(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _hold(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        cause = f"{path} is in use by another tendhostd (process {holder or 'unknown'})"
        raise StoreUnavailable(cause=cause) from error
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except OSError as error:
        raise _unusable(path.parent, error) from error


def _unusable(folder: Path, error: OSError) -> ConfigurationError:
    expected = f"a folder that can be written to ({error.strerror})"
    return ConfigurationError(field="state_dir", value=str(folder), expected=expected)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """The writer's connection, with the schema brought up to date. Raises StoreUnavailable."""
    try:
        # SQLite gives its other files the mode of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        _drop_log_of_another(path)
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            database.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            _migrate(database, path)
        except BaseException:
            database.close()
            raise
    except OSError as error:
        raise StoreUnavailable(cause=f"{path}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise StoreUnavailable(cause=f"{path}: {error}") from error
    return database


def _drop_log_of_another(path: Path) -> None:
    """Remove the write-ahead log of the database that `path` was before a copy was put in its place.

    A server that is killed leaves its log. SQLite would write it into any database that it finds beside
    it, and so ruin a copy. A copy says in its header that it has no such log; a database that the log
    belongs to never says so.
    """
    with path.open("rb") as file:
        versions = file.read(20)[18:]
    log = path.with_name(f"{path.name}-wal")
    if versions == _WITHOUT_LOG and log.exists():
        logger.warning("the log of a former database was dropped", extra={"database": str(path)})
        log.unlink()
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    database.execute("PRAGMA query_only = ON")
    return database


def of_newer_version(path: Path | str, schema: int) -> str:
    """What is said of a database with a schema that this program does not know."""
    return (
        f"{path} was written by a newer tendhost"
        f" (its schema is {schema}, this program knows {SCHEMA})"
    )


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    (present,) = database.execute("PRAGMA user_version").fetchone()
    if present > SCHEMA:
        raise StoreUnavailable(cause=of_newer_version(path, present))
    for number in range(present, SCHEMA):
        database.execute("BEGIN IMMEDIATE")
        for statement in MIGRATIONS[number]:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {number + 1}")
        database.execute("COMMIT")
    if database.execute(sql.GET_META, (LOG_ID,)).fetchone() is None:
        database.execute(sql.SET_META, (LOG_ID, str(uuid.uuid4())))
