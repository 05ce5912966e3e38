"""Several servers on one database: one order of commits, which all of them hear of."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tendhost.server.domain.access.audit import AuditRecord, Head, verified
from tendhost.server.domain.operations.operation import OperationStatus
from tendhost.server.domain.request_errors import HostBusy, HostDuplicate, StoreUnavailable
from tendhost.server.store.postgres import store as postgres_store
from tendhost.server.store.postgres.store import PostgresStore, open_postgres
from tendhost.server.store.records import Change, Conflict, LogChunk, RequestRecord, Touched
from tests.contract.store.samples import (
    NOW,
    a_host,
    an_event,
    an_operation,
    change,
    stored_host,
    stored_operation,
)
from tests.tools import needs

pytestmark = needs("psql")

Stores = tuple[PostgresStore, PostgresStore]
LONG = timedelta(seconds=30)
"""More than anything takes that a test waits for."""


async def read_to(store: PostgresStore, revision: int) -> list[int]:
    """The revisions of all events, read as they come."""
    seen: list[int] = []
    while len(seen) < revision:
        await store.wait_beyond(len(seen), timeout=LONG)
        seen.extend(event.revision for event in await store.events(after=len(seen), limit=7))
    return seen


async def test_events__of_several_servers_are_ordered_and_without_a_gap_on_each(stores: Stores):
    async def write(store: PostgresStore, name: str) -> None:
        for number in range(20):
            events = tuple(an_event(f"{name}{number}") for _ in range(1 + number % 3))
            await store.commit(Change(events=events))

    total = 4 * sum(1 + number % 3 for number in range(20))
    writing = [write(store, f"{n}{w}") for n, store in enumerate(stores) for w in range(2)]
    seen = await asyncio.gather(*(read_to(store, total) for store in stores), *writing)
    assert seen[0] == seen[1] == list(range(1, total + 1))
    one, two = [await store.events(after=0, limit=total) for store in stores]
    assert list(one) == list(two)


async def test_listener__hears_of_what_another_server_has_stored(stores: Stores):
    one, two = stores
    heard: list[Touched] = []
    two.listen(heard.append)
    operation = an_operation("web1")
    committed = await one.commit(change(hosts=(a_host("web1"),), operations=(operation,)))
    assert await two.wait_beyond(0, timeout=LONG) == committed.revision
    assert [host for touched in heard for host in touched.hosts] == ["web1"]


async def test_listener__hears_of_output_that_another_server_has_stored_without_an_event(
    stores: Stores,
):
    one, two = stores
    operation = await stored_operation(one, an_operation("web1"))
    await two.wait_beyond(0, timeout=LONG)
    heard = asyncio.Event()

    def listener(touched: Touched) -> None:
        if operation.id in touched.operations:
            heard.set()

    two.listen(listener)
    for number in range(3):
        heard.clear()
        chunk = LogChunk(operation=operation.id, offset=number, data=b"x")
        await one.commit(Change(events=(), log=(chunk,)))
        async with asyncio.timeout(LONG.total_seconds()):
            await heard.wait()
        assert (await two.log(operation.id, offset=0, limit=9)).data == b"x" * (number + 1)


async def test_own_commit__can_be_read_at_once_whatever_others_have_committed_before(
    stores: Stores,
):
    one, two = stores
    for number in range(10):
        await one.commit(change(hosts=(a_host(f"a{number}"),)))
        committed = await two.commit(change(hosts=(a_host(f"b{number}"),)))
        assert (await two.log_bounds()).current == committed.revision
        events = await two.events(after=0, limit=99)
        assert [event.revision for event in events] == list(range(1, committed.revision + 1))


async def test_request__that_reaches_two_servers_at_once_is_carried_out_once(stores: Stores):
    def wanted(number: int) -> Change:
        request = RequestRecord(id="r1", digest=b"d", respond=lambda revision: b"%d" % revision)
        return change(hosts=(a_host("web1"),), request=request)

    commits = [stores[number % 2].commit(wanted(number)) for number in range(20)]
    answers = await asyncio.gather(*commits)
    assert sum(answer.replayed is None for answer in answers) == 1
    assert {answer.replayed for answer in answers} == {None, b"1"}


async def test_audit_log__of_several_servers_is_one_chain(stores: Stores):
    def record(number: int) -> AuditRecord:
        return AuditRecord(at=NOW, principal=f"p{number}", method="/m", subject="", result="OK")

    changes = [
        change(audit=record(number))
        if number % 2
        else Change(events=(), audit=record(number), at=NOW)
        for number in range(40)
    ]
    await asyncio.gather(*(stores[n % 2].commit(each) for n, each in enumerate(changes)))
    for store in stores:
        entries = await store.audit_after(0, limit=99)
        assert [entry.number for entry in entries] == list(range(1, 41))
        verified(entries, Head())
        assert await store.wait_for_audit(39, timeout=LONG) == 40


async def test_host__is_busy_on_every_server(stores: Stores):
    one, two = stores
    queued = [
        await stored_operation(one, an_operation("web1", OperationStatus.QUEUED)) for _ in range(2)
    ]
    running = [replace(operation, status=OperationStatus.RUNNING) for operation in queued]
    starts = [stores[n].commit(change(operations=(each,))) for n, each in enumerate(running)]
    results = await asyncio.gather(*starts, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Committed", "HostBusy"]
    with pytest.raises(HostBusy):
        await two.commit(change(operations=(an_operation("web1"),)))


async def test_host__is_replaced_by_one_of_two_servers_that_read_the_same(stores: Stores):
    one, two = stores
    for _ in range(10):
        host = await one.find_host("web1") or await stored_host(one)
        commits = [store.commit(change(hosts=(host,))) for store in stores]
        results = await asyncio.gather(*commits, return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["Committed", "Conflict"]
        assert any(isinstance(result, Conflict) for result in results)
    await two.find_host("web1")


async def test_machine__is_registered_once_by_servers_that_are_asked_at_the_same_time(
    stores: Stores,
):
    def registered(name: str) -> Change:
        return change(hosts=(replace(a_host(name), host_key="k1"),), distinct_hosts=(name,))

    names: Sequence[str] = [f"h{number}" for number in range(10)]
    commits = [stores[n % 2].commit(registered(name)) for n, name in enumerate(names)]
    results = await asyncio.gather(*commits, return_exceptions=True)
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    assert sum(isinstance(result, HostDuplicate) for result in results) == 9


async def test_pruning__is_heard_of_on_every_server(stores: Stores):
    one, two = stores
    for _ in range(20):
        await one.commit(change())
    await one.prune(before=NOW, now=NOW, requests_before=0, keep_events=5)
    await one.commit(change())
    await two.wait_beyond(20, timeout=LONG)
    assert (await two.log_bounds()).oldest == (await one.log_bounds()).oldest == 16


async def test_ten_servers__that_start_at_once_make_one_database(address: str):
    stores = await asyncio.gather(*(open_postgres(address) for _ in range(10)))
    try:
        ids = {(await store.log_bounds()).log_id for store in stores}
        assert len(ids) == 1
        await asyncio.gather(*(store.commit(change()) for store in stores))
        assert await stores[0].wait_beyond(9, timeout=LONG) == 10
    finally:
        await asyncio.gather(*(store.aclose() for store in stores))


async def test_store__that_lags_behind_the_events_of_others_cannot_be_used_until_it_has_caught_up(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
):
    one, two = stores
    hear, going_on = two._hear, asyncio.Event()

    async def held_up() -> None:
        if not going_on.is_set():
            raise LookupError("an event that this server cannot read")
        await hear()

    monkeypatch.setattr(two, "_hear", held_up)
    monkeypatch.setattr(postgres_store, "LONGEST_LAG", timedelta())
    await one.commit(change())
    assert await two.until_unusable(timeout=LONG)
    with pytest.raises(StoreUnavailable, match=r"events of other servers are read \d+ s late"):
        await two.probe()
    monkeypatch.setattr(postgres_store, "LONGEST_LAG", LONG)
    going_on.set()
    assert await two.wait_beyond(0, timeout=LONG) == 1
    await two.probe()
    assert not await two.until_unusable(timeout=timedelta())
