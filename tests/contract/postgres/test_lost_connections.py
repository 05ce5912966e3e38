"""Connections that are lost at any moment: nothing is stored twice, and nothing is taken for stored that is not."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.store.postgres import connections, reads, session, writer
from tendhost.server.store.postgres.store import PostgresStore, open_postgres
from tendhost.server.store.records import Change
from tests.cluster.single import Server
from tests.contract.postgres.relay import Loss, Relay
from tests.contract.store.samples import a_host, an_event, change, every_host
from tests.tools import needs

pytestmark = needs("psql")

MOMENT = timedelta()
SHORT = 0.5
END = b"SET LOCAL statement_timeout = 0"
"""With what a transaction is committed: in the same message."""


@pytest.fixture
async def relay(address: str) -> AsyncIterator[Relay]:
    async with Relay(address).running() as relay:
        yield relay


@pytest.fixture
async def store(relay: Relay) -> AsyncIterator[PostgresStore]:
    store = await open_postgres(relay.address)
    yield store
    await store.aclose()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that a test stops and starts."""
    server = Server().start()
    yield server
    server.remove()


async def stored(store: PostgresStore) -> tuple[list[str], list[int]]:
    """Names of hosts, and revisions of events."""
    events = await store.events(after=0, limit=99)
    return [host.name for host in await every_host(store)], [event.revision for event in events]


@pytest.mark.parametrize("loss", [Loss.MESSAGE, Loss.ANSWER])
async def test_commit__whose_answer_is_lost_is_stored_once(
    store: PostgresStore, relay: Relay, loss: Loss
):
    await store.commit(change(hosts=(a_host("a"),)))
    relay.lose(END, loss)
    committed = await store.commit(change(hosts=(a_host("b"),)))
    assert committed.revision == 2
    await store.commit(change(hosts=(a_host("c"),)))
    assert await stored(store) == (["a", "b", "c"], [1, 2, 3])
    assert relay.lost == 1


async def test_commit__that_arrives_after_it_was_asked_for_is_refused_by_the_database(
    store: PostgresStore, relay: Relay, address: str
):
    await store.commit(change(hosts=(a_host("a"),)))
    relay.lose(END, Loss.TIME)
    committing = asyncio.ensure_future(store.commit(change(hosts=(a_host("b"),))))
    # The transaction that is held back has the counter; what repeats it waits until it has ended.
    other = await open_postgres(address)
    while not await waits_for_a_lock(other):
        pass
    relay.arrive.set()
    await relay.late.wait()
    committed = await committing
    assert committed.revision == 2
    assert await stored(other) == (["a", "b"], [1, 2])
    await other.aclose()


async def waits_for_a_lock(store: PostgresStore) -> bool:
    text = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(await store._one(text))


@pytest.mark.parametrize(
    "text", [b"BEGIN", b"UPDATE counter", b"INSERT INTO hosts", b"SAVEPOINT", b"ROLLBACK"]
)
async def test_changes__are_stored_once_wherever_the_connection_is_lost(
    store: PostgresStore, relay: Relay, text: bytes
):
    await store.commit(change(hosts=(a_host("a"),)))
    for loss in (Loss.MESSAGE, Loss.ANSWER):
        relay.lose(text, loss)
        names = [f"{loss.name}{number}".lower() for number in range(3)]
        commits = [store.commit(change(hosts=(a_host(name),))) for name in (*names, "a")]
        results = await asyncio.gather(*commits, return_exceptions=True)
        assert [type(result).__name__ for result in results] == ["Committed"] * 3 + [
            "HostAlreadyExists"
        ]
    names, revisions = await stored(store)
    assert len(names) == 7
    assert revisions == list(range(1, 8))


async def test_read__is_repeated_where_its_connection_was_lost(store: PostgresStore, relay: Relay):
    await store.commit(change(hosts=(a_host("a"),)))
    assert await store.find_host("a")
    await every_host(store)
    for server_process in await backends(store):
        await store._one("SELECT pg_terminate_backend(?1)", server_process)
    assert await store.find_host("a")
    assert len(await every_host(store)) == 1
    await store.commit(change(hosts=(a_host("b"),)))


async def backends(store: PostgresStore) -> list[int]:
    text = """SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()"""
    return await store._look_up(lambda database: [row[0] for row in database.execute(text)])


async def test_server__that_is_restarted_is_used_again(own_server: Server):
    store = await open_postgres(own_server.address())
    await store.commit(change(hosts=(a_host("a"),)))
    assert not await store.until_unusable(timeout=MOMENT)
    own_server.stop(hard=True)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1"):
        await store.commit(change(hosts=(a_host("b"),)))
    with pytest.raises(StoreUnavailable):
        await store.find_host("a")
    assert await store.until_unusable(timeout=MOMENT)
    with pytest.raises(StoreUnavailable):
        await store.probe()
    own_server.start()
    await store.probe()
    assert not await store.until_unusable(timeout=MOMENT)
    await store.commit(change(hosts=(a_host("b"),)))
    assert await stored(store) == (["a", "b"], [1, 2])
    await store.aclose()


async def test_server__that_does_not_answer_holds_nobody_up_for_long(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
):
    for module in (session, writer, connections, reads):
        for name in ("COMMAND_TIMEOUT", "CONNECT_TIMEOUT", "GROUP_TIMEOUT"):
            monkeypatch.setattr(module, name, SHORT, raising=False)
    monkeypatch.setattr(connections, "SLOT_TIMEOUT", 4 * SHORT)
    store = await open_postgres(own_server.address())
    await store.commit(change(hosts=(a_host("a"),)))
    own_server.signal(signal.SIGSTOP)
    calls = [
        store.commit(change(hosts=(a_host("b"),))),
        *(store.find_host("a") for _ in range(20)),
        every_host(store),
    ]
    async with asyncio.timeout(30):
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}
    own_server.signal(signal.SIGCONT)
    await store.commit(Change(events=(an_event("c"),)))
    names, revisions = await stored(store)
    assert names == ["a"]
    assert revisions == [1, 2]
    await store.aclose()
