"""Copies of the database: made while a server writes to it, and put in its place again.

A copy is a single file. It carries no id of an event log, so that the server that opens it gives it a new one and
no cursor of the former log is believed; and it carries when it was made, so that the engine knows that
what was unfinished then may have ended since. Both hold however it is put in place, also by `cp`.
"""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tendhost.server.given_files import FileUnusable, require_regular
from tendhost.server.store import sql
from tendhost.server.store.apply_change import RESTORED
from tendhost.server.store.database import (
    BUSY_MILLISECONDS,
    SIDE_FILES,
    of_newer_version,
    take_lock,
)
from tendhost.server.store.migrations import LOG_ID, MOVED_TO, SCHEMA

PAGES_AT_ONCE = 256
"""Between two steps of a copy an interruption is heeded: a mebibyte."""


class CopyFailed(Exception):
    """A copy that could not be made, or cannot be put in place; nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What a copy holds."""

    size: int
    """In bytes."""
    revision: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """What was put in place, and where the database is now that was there before, if any."""

    copy: Copy
    former: Path | None


def back_up(database: Path, file: Path, *, now: datetime, force: bool = False) -> Copy:
    """Copy `database` to `file`, as it is at this moment; its writer is not held up.

    Raises CopyFailed, also where `file` is there already, unless it is to be replaced by `force`.
    """
    if not database.exists():
        raise CopyFailed(f"{database}: there is no database to copy")
    if file.resolve() in _files_of(database.resolve()):
        raise CopyFailed(f"{file} belongs to the database itself")
    if os.path.lexists(file) and not force:
        raise CopyFailed(f"{file} already exists; --force replaces it")
    with _errors_translated(f"{database} cannot be copied to {file}"), _partial(file) as partial:
        return _copied(database, partial, created_at=now)


def restore(file: Path, database: Path, *, now: datetime) -> Restoration:
    """Put a copy of `file` in the place of `database`, which is kept under another name.

    Raises CopyFailed, StoreUnavailable (a server has the database) and ConfigurationError (the folder
    cannot be used).
    """
    try:
        require_regular(file)  # SQLite would wait for somebody who writes to a FIFO
    except FileUnusable as error:
        raise CopyFailed(f"{file} {error}") from error
    if file.resolve() in _files_of(database.resolve()):
        raise CopyFailed(f"{file} belongs to the database itself")
    lock = take_lock(database)
    try:
        with _errors_translated(f"{file} cannot be restored"), _partial(database) as partial:
            # A file that says nothing of when it was made was copied by other means than `back_up`.
            changed = datetime.fromtimestamp(int(file.stat().st_mtime), UTC)
            copy = _copied(file, partial, created_at=changed)
            former = _set_aside(database, now)
        return Restoration(copy=copy, former=former)
    finally:
        os.close(lock)


def _files_of(database: Path) -> set[Path]:
    return {database.with_name(database.name + end) for end in ("", ".lock", *SIDE_FILES)}


@contextmanager
def _errors_translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CopyFailed(f"{what}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise CopyFailed(f"{what}: {error}") from error


@contextmanager
def _partial(file: Path) -> Iterator[Path]:
    """A file beside `file` that takes its place at the end, or leaves nothing if that is not reached."""
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    partial = file.with_name(f"{file.name}.partial")
    descriptor = _held(partial)
    try:
        try:
            yield partial
            partial.replace(file)
        except BaseException:
            for end in ("", *SIDE_FILES):
                partial.with_name(partial.name + end).unlink(missing_ok=True)
            raise
        _sync_folder(file.parent)
    finally:
        os.close(descriptor)


def _held(partial: Path) -> int:
    """The file, empty and held for this process alone; one that a killed process left is taken over."""
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(partial, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it may have renamed it in between: then this is a finished copy.
            if _is_at(partial, descriptor):
                os.fchmod(descriptor, 0o600)
                os.truncate(descriptor, 0)
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise CopyFailed(f"{partial} is being written by another process") from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copied(origin: Path, target: Path, *, created_at: datetime) -> Copy:
    with closing(_snapshot(origin)) as source:
        (revision,) = source.execute(sql.CURRENT_REVISION).fetchone()
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            # The copy counts once it is whole, so that nothing of it needs to be durable before.
            copy.execute("PRAGMA synchronous = OFF")
            copy.execute("PRAGMA journal_mode = MEMORY")
            source.backup(copy, pages=PAGES_AT_ONCE, progress=_heed_interruptions)
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = OFF")
        copy.execute("PRAGMA journal_mode = DELETE")  # a copy in WAL mode would be three files
        found = [row[0] for row in copy.execute("PRAGMA quick_check (1)")]
        if found != ["ok"]:
            raise CopyFailed(f"{origin} is damaged: {' '.join(found[0].split())}")
        created_at = _marked(copy, created_at)
    with target.open("rb") as whole:
        os.fsync(whole.fileno())
    return Copy(size=target.stat().st_size, revision=revision, created_at=created_at)


def _heed_interruptions(status: int, remaining: int, total: int) -> None:
    """Being called at all is what lets signals in."""


def _snapshot(path: Path) -> sqlite3.Connection:
    """A connection that sees the database as it is now, whatever is written to it from now on."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    database = sqlite3.connect(address, uri=True, isolation_level=None)
    try:
        database.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        # Without a transaction of its own, the copy would start again with every commit of the server.
        database.execute("BEGIN")
        _require_tendhost(database, path)
    except BaseException:
        database.close()
        raise
    return database


def _require_tendhost(database: sqlite3.Connection, path: Path) -> None:
    try:
        (schema,) = database.execute("PRAGMA user_version").fetchone()
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
    except sqlite3.DatabaseError as error:
        raise CopyFailed(f"{path}: {error}") from error
    if schema > SCHEMA:
        raise CopyFailed(of_newer_version(path, schema))
    if schema == 0 or not {"meta", "counter", "hosts", "operations"} <= tables:
        raise CopyFailed(f"{path} is no database of tendhost")


def _marked(copy: sqlite3.Connection, created_at: datetime) -> datetime:
    """Make a database a copy, unless it is one already; when it was made."""
    marked = copy.execute(sql.GET_META, (RESTORED,)).fetchone()
    copy.execute("BEGIN")
    copy.execute(sql.DELETE_META, (LOG_ID,))
    # A database that was moved elsewhere is used again by restoring a copy of it.
    copy.execute(sql.DELETE_META, (MOVED_TO,))
    if marked is None:
        copy.execute(sql.SET_META, (RESTORED, created_at.isoformat()))
    copy.execute("COMMIT")
    return created_at if marked is None else datetime.fromisoformat(marked[0])


def _set_aside(database: Path, now: datetime) -> Path | None:
    """Give the database a second name, and leave nothing of it beside the first."""
    name = f"{database.name}.before-restore-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    former = database.with_name(name) if database.exists() else None
    if former is not None:
        # What a killed server left in the log belongs into the database. One that is damaged stays as
        # it is.
        with suppress(sqlite3.Error), closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        # With a link there is a database under its name at any moment.
        os.link(database, former)
    for end in SIDE_FILES:
        beside = database.with_name(database.name + end)
        if former is None:
            beside.unlink(missing_ok=True)
        elif beside.exists():
            beside.rename(former.with_name(former.name + end))
    return former
