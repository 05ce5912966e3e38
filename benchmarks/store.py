"""`store`: a host and an event a change, by 50 writers, against the bare database with the same statements."""

import asyncio
import queue
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Report
from benchmarks.postgres import postgres
from tendhost.server.domain.events import Event, HostConnected
from tendhost.server.domain.hosts.host import Host, HostConfig
from tendhost.server.store import rows, sql
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Change
from tendhost.server.store.sqlite import open_store
from tests.cluster.single import Server

WRITERS = 50
ROUNDS = 7
"""Of each, in turns: the median counts."""
COMMITS = 20
"""By each writer in a round."""
_NOW = datetime(2026, 3, 1, tzinfo=UTC)
_SETTLED = ("fsync = on", "full_page_writes = on", "autovacuum = on")
"""The throwaway server of the tests never waits for the disk; this one does."""

Statement = tuple[str, tuple[Any, ...]]
Statements = Callable[[int], Sequence[Statement]]
"""The statements of a change that reaches a revision."""
Write = Callable[[Host], Awaitable[Host]]
"""Stores a host with an event, and returns it with its new revision."""


async def measure() -> Report:
    """Both databases."""
    with tempfile.TemporaryDirectory(prefix="tendhost-bench-") as folder:
        of_sqlite = await _of_sqlite(Path(folder))
    with postgres(settings=_SETTLED) as server:
        of_postgres = await _of_postgres(server)
    n = WRITERS * COMMITS
    return Report(
        figures=(
            Figure(name="store_sqlite_ratio", value=of_sqlite[0], unit="ratio", baseline="sqlite3", n=n),
            Figure(name="store_pg_ratio", value=of_postgres[0], unit="ratio", baseline="asyncpg", n=n),
        ),
        notes=[of_sqlite[1], of_postgres[1]],
    )  # fmt: skip


async def _of_sqlite(folder: Path) -> tuple[float, str]:
    ours, bare = folder / "ours.db", folder / "bare.db"
    hosts = {}
    for path in (ours, bare):
        store = await open_store(path)
        hosts[path] = await _registered(store)
        await store.aclose()
    store = await open_store(ours)
    writer = _BareSqlite(bare)
    try:
        return await _compared("SQLite", hosts[ours], _by(store), hosts[bare], writer.write)
    finally:
        await store.aclose()
        await writer.aclose()


async def _of_postgres(server: Server) -> tuple[float, str]:
    # Only here, for it needs the packages of the extra.
    from tendhost.server.store.postgres.store import open_postgres

    addresses = [server.address(name) for name in server.create(2)]
    stores = [await open_postgres(address) for address in addresses]
    hosts = [await _registered(store) for store in stores]
    await stores[1].aclose()
    writer = await _BarePostgres.connected(addresses[1])
    try:
        return await _compared("PostgreSQL", hosts[0], _by(stores[0]), hosts[1], writer.write)
    finally:
        await stores[0].aclose()
        await writer.aclose()


async def _registered(store: Store) -> list[Host]:
    hosts = [
        Host(
            config=HostConfig(name=f"host-{n:05}", address=f"10.0.0.{n}", tags=("web",)),
            host_key=f"ssh-ed25519 {n}",
            registered_at=_NOW,
        )
        for n in range(WRITERS)
    ]
    committed = await store.commit(Change(events=(_event(hosts[0]),), hosts=hosts))
    return [replace(host, revision=committed.revision) for host in hosts]


def _event(host: Host) -> Event:
    return Event(at=_NOW, body=HostConnected(), host=host.name)


def _by(store: Store) -> Write:
    async def write(host: Host) -> Host:
        committed = await store.commit(Change(events=(_event(host),), hosts=(host,)))
        return replace(host, revision=committed.revision)

    return write


async def _compared(
    name: str, ours: list[Host], store: Write, theirs: list[Host], bare: Write
) -> tuple[float, str]:
    """How many times as many changes a second the store stores, and a line about it."""
    ratios, speeds = [], []
    for _ in range(ROUNDS):
        ours, ours_speed = await _round(ours, store)
        theirs, bare_speed = await _round(theirs, bare)
        ratios.append(ours_speed / bare_speed)
        speeds.append((ours_speed, bare_speed))
    mine, other = (statistics.median(each) for each in zip(*speeds, strict=True))
    return statistics.median(ratios), f"{name}: {mine:,.0f} changes a second, bare {other:,.0f}"


async def _round(hosts: list[Host], write: Write) -> tuple[list[Host], float]:
    async def writing(host: Host) -> Host:
        for number in range(COMMITS):
            host = replace(host, status=replace(host.status, pending_count=number))
            host = await write(host)
        return host

    begun = time.perf_counter()
    written = await asyncio.gather(*map(writing, hosts))
    return written, WRITERS * COMMITS / (time.perf_counter() - begun)


def _statements(host: Host) -> Statements:
    """What the store executes for a host and an event: bare databases get the same, with nothing around it."""

    def statements(revision: int) -> Sequence[Statement]:
        status, text = host.status, rows.document(replace(host, revision=revision))
        identity = (host.host_key, host.config.endpoint, status.machine_id, host.config.jump)
        columns = (host.name, str(status.state), str(status.reboot.need), *identity)
        event = rows.event_row(replace(_event(host), revision=revision))
        return (
            (sql.UPDATE_HOST, (*columns, revision, text, host.revision)),
            (sql.RELABEL_HOST, (host.name, rows.labels(host))),
            (sql.INSERT_EVENT, event),
        )

    return statements


class _Bare:
    """Changes that have gathered while one transaction was under way share the next one."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Statements, asyncio.Future[int]]] = []
        self._busy = False

    async def write(self, host: Host) -> Host:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((_statements(host), done))
        if not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._begin)
        return replace(host, revision=await done)

    def _begin(self) -> None:
        group, self._waiting = self._waiting, []
        self._commit(group)

    def _commit(self, group: list[tuple[Statements, asyncio.Future[int]]]) -> None:
        raise NotImplementedError

    def _done(self, group: list[tuple[Statements, asyncio.Future[int]]], last: int) -> None:
        for number, (_, done) in enumerate(reversed(group)):
            done.set_result(last - number)
        # What the answers lead to is gathered first, as the store does it.
        self._busy = bool(self._waiting)
        if self._busy:
            asyncio.get_running_loop().call_soon(self._begin)


class _BareSqlite(_Bare):
    """One thread with one connection."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._groups: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _commit(self, group: list[tuple[Statements, asyncio.Future[int]]]) -> None:
        self._groups.put(group)

    def _run(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        revision = 0
        while (group := self._groups.get()) is not None:
            database.execute("BEGIN IMMEDIATE")
            for statements, _ in group:
                (revision,) = database.execute(sql.NEXT_REVISION, (1,)).fetchone()
                for text, values in statements(revision):
                    database.execute(text, values)
            database.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._done, group, revision)
        database.close()

    async def aclose(self) -> None:
        self._groups.put(None)
        await asyncio.to_thread(self._thread.join)


class _BarePostgres(_Bare):
    """One connection, with prepared statements."""

    def __init__(self, connection: Any, known: dict[str, Any]) -> None:
        super().__init__()
        self._connection, self._known = connection, known
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def connected(cls, address: str) -> "_BarePostgres":
        import asyncpg

        from tendhost.server.store.postgres.dialect import translated

        connection = await asyncpg.connect(address)
        texts = (sql.NEXT_REVISION, sql.UPDATE_HOST, sql.RELABEL_HOST, sql.INSERT_EVENT)
        known = {text: await connection.prepare(translated(text)) for text in texts}
        return cls(connection, known)

    def _commit(self, group: list[tuple[Statements, asyncio.Future[int]]]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(group))

    async def _run(self, group: list[tuple[Statements, asyncio.Future[int]]]) -> None:
        revision = 0
        await self._connection.execute("BEGIN")
        for statements, _ in group:
            revision = await self._known[sql.NEXT_REVISION].fetchval(1)
            for text, values in statements(revision):
                await self._known[text].fetch(*values)
        await self._connection.execute("COMMIT")
        self._done(group, revision)

    async def aclose(self) -> None:
        await self._connection.close()
