"""Moves an installation to another database: from SQLite to PostgreSQL, or back.

The database that it was moved from is kept, and says where everything has gone: no server opens it any more, so that
no host is ever driven from two databases.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tendhost.server.domain.request_errors import ConfigurationError, StoreUnavailable
from tendhost.server.store import rows, sql, transfer
from tendhost.server.store.apply_change import RESTORED
from tendhost.server.store.database import open_for_writing, take_lock
from tendhost.server.store.migrations import LOG_ID, MOVED_TO
from tendhost.server.store.opening import require_extra
from tendhost.server.store.session import DatabaseSession
from tendhost.server.store.transfer import TransferFailed, Transferred

_POSTGRES = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A database that is open to be moved from or to, and that no server has open."""

    name: str
    """How texts speak of it."""
    session: DatabaseSession
    transaction: Callable[[], AbstractContextManager[None]]


async def move(source: str, target: str) -> Transferred:
    """Move everything from one database to the other; each is a postgresql:// address or the path of a file.

    Raises ConfigurationError; StoreUnavailable, where one of them cannot be used, or a server runs on it; and
    TransferFailed, where the target is not empty, or not everything has arrived. Then nothing was changed.
    """
    if not any(map(is_address, (source, target))):
        raise ConfigurationError(
            field="--to",
            value=target,
            expected="a postgresql:// address; files are copied by: tendhostd backup",
        )
    require_extra()
    # Here alone: most servers run without the packages of the extra.
    from tendhost.server.store.postgres.session import run_in_greenlet

    _require_there(source)
    with ExitStack() as opened:
        places = [await _opened(place, opened) for place in (source, target)]
        return await run_in_greenlet(lambda: _move(*places))


def _require_there(source: str) -> None:
    """Raise StoreUnavailable for a file that is not there: opening it would make one without anything in it."""
    if not is_address(source) and not Path(source).exists():
        raise StoreUnavailable(cause=f"{source}: there is no database to move")


async def mark_restored(address: str, *, now: datetime) -> datetime:
    """Mark a database as restored from a backup; the time of the last event in it (`now`: it has none).

    See engine/restore. The next server gives the event log a new id. Raises ConfigurationError; and StoreUnavailable,
    where the database cannot be used, or a server runs on it.
    """
    require_extra()
    from tendhost.server.store.postgres.session import run_in_greenlet

    with ExitStack() as opened:
        place = await _postgres(address, opened)
        return await run_in_greenlet(lambda: _mark_restored(place, now))


def _mark_restored(place: Place, now: datetime) -> datetime:
    with place.transaction():
        last = place.session.execute(sql.LAST_EVENT).fetchone()
        at = now if last is None else rows.at_instant(last[0])
        place.session.execute(sql.DELETE_META, (LOG_ID,))
        place.session.execute(sql.SET_META, (RESTORED, at.isoformat()))
    return at


def shown(place: str) -> str:
    """How texts speak of a database: without a password."""
    if not is_address(place):
        return place
    from tendhost.server.store.postgres.address import parse_address

    return parse_address(place).shown


def is_address(place: str) -> bool:
    """Whether `place` is an address of PostgreSQL, and not the path of a file."""
    return place.startswith(_POSTGRES)


def _move(source: Place, target: Place) -> Transferred:
    with source.transaction():
        before = source.session.execute(sql.GET_META, (MOVED_TO,)).fetchone()
        if before is not None and before[0] != target.name:
            raise TransferFailed(
                f"{source.name} was moved to {before[0]} before; move it from there, or restore a backup"
            )
        # First: a server that was started between the two commits would drive what another one drives.
        source.session.execute(sql.SET_META, (MOVED_TO, target.name))
    sent = False
    try:
        with source.transaction(), target.transaction():
            if not transfer.is_unused(target.session):
                return _moved_before(source, target)
            moved = transfer.transfer(source.session, target.session)
            sent = True
        return moved
    except BaseException as error:
        if sent:
            raise TransferFailed(
                f"it is unknown whether {target.name} has everything ({error}); type the same command again"
            ) from error
        if before is None:
            with source.transaction():
                source.session.execute(sql.DELETE_META, (MOVED_TO,))
        raise


def _moved_before(source: Place, target: Place) -> Transferred:
    """What a former move has brought. Raises TransferFailed where the target has something else."""
    if transfer.log_id(source.session) != transfer.log_id(target.session):
        raise TransferFailed(
            f"{target.name} is not empty: everything moves into a new database only"
        )
    return transfer.content(target.session)


async def _opened(place: str, opened: ExitStack) -> Place:
    return await _postgres(place, opened) if is_address(place) else _sqlite(Path(place), opened)


def _sqlite(path: Path, opened: ExitStack) -> Place:
    opened.callback(os.close, take_lock(path))
    database = opened.enter_context(closing(open_for_writing(path)))

    @contextmanager
    def transaction() -> Iterator[None]:
        try:
            database.execute("BEGIN IMMEDIATE")
            yield
            database.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreUnavailable(cause=f"{path}: {error}") from error
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")

    return Place(name=str(path), session=database, transaction=transaction)


async def _postgres(address: str, opened: ExitStack) -> Place:
    from tendhost.server.store.postgres.address import parse_address
    from tendhost.server.store.postgres.connections import Connections
    from tendhost.server.store.postgres.schema import prepare
    from tendhost.server.store.postgres.session import LoopSession
    from tendhost.server.store.postgres.trouble import ERRORS, in_words

    connections = Connections(parse_address(address))
    await prepare(connections)
    link = await connections.connect()
    opened.callback(link.drop)
    session = LoopSession(link.statements)
    name = connections.address.shown

    @contextmanager
    def transaction() -> Iterator[None]:
        try:
            session.command("BEGIN ISOLATION LEVEL REPEATABLE READ")
            _require_stopped(session, name)
            yield
            session.command("COMMIT")
        except ERRORS as error:
            raise StoreUnavailable(cause=f"{name}: {in_words(error)}") from error
        finally:
            if link.in_transaction:
                with suppress(
                    *ERRORS
                ):  # the connection is closed at the end, and with it the transaction
                    session.command("ROLLBACK")

    return Place(name=name, session=session, transaction=transaction)


def _require_stopped(database: DatabaseSession, name: str) -> None:
    """Raise StoreUnavailable where a server has the database open."""
    running = [
        document for document, left in database.execute(sql.ALL_REPLICAS).fetchall() if left > 0
    ]
    if running:
        raise StoreUnavailable(
            cause=f"{name} is in use by {len(running)} tendhostd; stop every one of them, and wait for 15 seconds"
        )
