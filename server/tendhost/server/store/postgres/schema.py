"""The schema on PostgreSQL: the numbered steps of `migrations`, all in one transaction, one server at a time."""

from typing import Any
from uuid import uuid4

import asyncpg

from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.store import sql
from tendhost.server.store.database import of_newer_version
from tendhost.server.store.migrations import LOG_ID, MIGRATIONS, SCHEMA
from tendhost.server.store.postgres.connections import Connections, Link
from tendhost.server.store.postgres.dialect import translated
from tendhost.server.store.postgres.trouble import in_words

SCHEMA_VERSION = "schema"
"""The key in `meta` of the number of steps that were carried out."""
OLDEST = 13
"""The oldest version of PostgreSQL that is tried: the last one that its project keeps up."""
OWN = (
    # What became of the transactions of each server that writes: see `writer`.
    """
    CREATE TABLE IF NOT EXISTS commits (
        writer TEXT PRIMARY KEY,
        previous BIGINT NOT NULL,
        sequence BIGINT NOT NULL CHECK (sequence = previous + 1),
        at TIMESTAMPTZ NOT NULL,
        touched TEXT NOT NULL DEFAULT ''
    )
    """,
    # The time of the server's machine, not that of the transaction's beginning.
    """
    CREATE OR REPLACE FUNCTION database_clock() RETURNS BIGINT LANGUAGE sql VOLATILE AS
    'SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)'
    """,
)
"""What PostgreSQL has beside the steps. All of it can be made again."""

_HAS_OWN = """
    SELECT to_regclass('commits') IS NOT NULL AND to_regprocedure('database_clock()') IS NOT NULL
"""
_LOCK = "SELECT pg_advisory_xact_lock(7306079671238718)"
"""A number of tendhost's own."""
_WAIT = "SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0"
"""How long to wait for another server that carries out the steps."""
_STEP_TIMEOUT = 3600.0
"""Seconds for one statement of a step, on a table of any size."""
_STATE = """
    SELECT current_setting('server_encoding'), pg_is_in_recovery(),
        current_setting('transaction_read_only'), current_schema(),
        current_setting('synchronous_commit'),
        to_regclass('meta') IS NOT NULL AND to_regclass('counter') IS NOT NULL,
        (SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace)
"""


async def prepare(connections: Connections) -> None:
    """Bring the schema up to date. Raises StoreUnavailable where the database cannot be tendhost's."""
    link = await connections.connect()
    name = connections.address.shown
    try:
        await _prepare(link, name)
    except asyncpg.InsufficientPrivilegeError as error:
        user = await _user(link)
        cause = (
            f"{name}: {user} may not do what tendhost needs ({in_words(error)});"
            f" make {user} the owner of the database"
        )
        raise StoreUnavailable(cause=cause) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise StoreUnavailable(cause=f"{name}: {in_words(error)}") from error
    finally:
        await link.close()


async def _user(link: Link) -> str:
    try:
        if link.in_transaction:
            await link.statements.command("ROLLBACK")
        return str(await link.connection.fetchval("SELECT current_user"))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return "the user"


async def _prepare(link: Link, name: str) -> None:
    _require_version(link, name)
    state = await link.connection.fetchrow(_STATE)
    assert state is not None
    _require_usable(state, name)
    if state[5] and await _is_done(link):
        return
    await link.statements.command(f"BEGIN; {_WAIT}")
    await link.connection.execute(_LOCK)
    # Another server may have done it meanwhile.
    state = await link.connection.fetchrow(_STATE)
    assert state is not None
    if not state[5] and state[6]:
        cause = (
            f"{name}: the database has {state[6]} tables that are not tendhost's;"
            " tendhost needs a database, or a schema, of its own"
        )
        raise StoreUnavailable(cause=cause)
    present = await _present(link) if state[5] else 0
    if present > SCHEMA:
        raise StoreUnavailable(cause=of_newer_version(name, present))
    for step in MIGRATIONS[present:]:
        for statement in step:
            await link.connection.execute(translated(statement), timeout=_STEP_TIMEOUT)
    for statement in OWN:
        await link.connection.execute(translated(statement), timeout=_STEP_TIMEOUT)
    await link.statements.run(sql.SET_META, (SCHEMA_VERSION, str(SCHEMA)))
    if (await link.statements.run(sql.GET_META, (LOG_ID,))).fetchone() is None:
        await link.statements.run(sql.SET_META, (LOG_ID, str(uuid4())))
    await link.statements.command("COMMIT")


def _require_version(link: Link, name: str) -> None:
    version = link.connection.get_server_version()
    if version.major < OLDEST:
        cause = (
            f"{name}: the server is PostgreSQL {version.major}; tendhost needs {OLDEST} or later"
        )
        raise StoreUnavailable(cause=cause)


def _require_usable(state: Any, name: str) -> None:
    encoding, standby, read_only, schema, synchronous, *_ = state
    problem = ""
    if encoding != "UTF8":
        problem = (
            f"the encoding of the database is {encoding}; make one with: createdb --encoding UTF8"
        )
    elif standby:
        problem = (
            "the server is a standby, which takes no changes; name the primary, or all of them"
        )
    elif read_only == "on":
        problem = "the database takes no changes (default_transaction_read_only is on)"
    elif schema is None:
        problem = "there is no schema in the search path of the user; make one, or set search_path"
    elif synchronous == "off":
        problem = (
            "the server would lose changes that it has confirmed: synchronous_commit is off;"
            " type: ALTER DATABASE … SET synchronous_commit = on"
        )
    if problem:
        raise StoreUnavailable(cause=f"{name}: {problem}")


async def _present(link: Link) -> int:
    row = (await link.statements.run(sql.GET_META, (SCHEMA_VERSION,))).fetchone()
    return 0 if row is None else int(row[0])


async def _is_done(link: Link) -> bool:
    """Whether there is nothing to do."""
    if await _present(link) != SCHEMA:
        return False
    own = await link.connection.fetchval(_HAS_OWN)
    return bool(own) and (await link.statements.run(sql.GET_META, (LOG_ID,))).fetchone() is not None
