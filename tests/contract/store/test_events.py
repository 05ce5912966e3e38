"""The event log: numbered without gaps, read from any cursor, waited for."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tendhost.server.domain.events import Event, HostDisconnected
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Change, Conflict, LogChunk, Touched
from tests.contract.store.conftest import Database
from tests.contract.store.samples import (
    a_host,
    a_member,
    a_rollout,
    a_wave,
    an_event,
    an_operation,
    change,
    every_host,
    stored_host,
    stored_operation,
)

AN_HOUR = timedelta(hours=1)
NO_TIME = timedelta(0)
EVENTS = tuple(an_event(body=HostDisconnected(reason=f"{number}")) for number in range(1, 10))
NUMBERED = [replace(event, revision=number) for number, event in enumerate(EVENTS, start=1)]


async def test_events_are_numbered_in_the_order_of_their_changes(store: Store) -> None:
    revisions = [
        (await store.commit(Change(events=part))).revision
        for part in (EVENTS[:2], EVENTS[2:3], EVENTS[3:])
    ]
    assert revisions == [2, 3, 9]
    assert await store.events(after=0, limit=99) == NUMBERED


async def test_events_are_read_from_any_cursor_as_many_as_wanted(store: Store) -> None:
    await store.commit(Change(events=EVENTS))
    for after in range(10):
        for limit in (1, 3, 99):
            read = await store.events(after=after, limit=limit)
            assert list(read) == NUMBERED[after : after + limit]
    assert list(await store.events(after=99, limit=9)) == []


async def test_log_keeps_its_id_its_events_and_its_numbering_when_it_is_opened_again(
    database: Database,
) -> None:
    async with database.opened() as store:
        await store.commit(Change(events=EVENTS[:5]))
        before = await store.log_bounds()
    async with database.opened() as store:
        assert await store.log_bounds() == before
        assert list(await store.events(after=2, limit=2)) == NUMBERED[2:4]
        await store.commit(Change(events=EVENTS[5:]))
        for after in range(10):
            assert list(await store.events(after=after, limit=9)) == NUMBERED[after:]


async def test_two_databases_have_logs_of_different_ids(
    store: Store, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with database.another(tmp_path_factory.mktemp("other")).opened() as other:
        assert (await other.log_bounds()).log_id != (await store.log_bounds()).log_id


async def test_empty_log_begins_at_the_first_revision(store: Store) -> None:
    bounds = await store.log_bounds()
    assert (bounds.oldest, bounds.current) == (1, 0)
    assert list(await store.events(after=0, limit=9)) == []


async def test_change_that_fails_leaves_no_gap(store: Store) -> None:
    host = await stored_host(store)
    with pytest.raises(Conflict):
        await store.commit(change(events=5, hosts=(replace(host, revision=9),)))
    assert (await store.commit(change())).revision == 2


async def test_wait_returns_at_once_where_there_is_news_already(store: Store) -> None:
    await store.commit(Change(events=EVENTS))
    assert await store.wait_beyond(8, timeout=AN_HOUR) == 9


async def test_wait_without_news_ends_with_its_time(store: Store) -> None:
    await store.commit(Change(events=EVENTS))
    assert await store.wait_beyond(9, timeout=NO_TIME) == 9
    assert await store.wait_beyond(11, timeout=NO_TIME) == 9


async def test_every_waiter_wakes_once_its_own_revision_is_passed(store: Store) -> None:
    async with asyncio.TaskGroup() as group:
        near = [group.create_task(store.wait_beyond(0, timeout=AN_HOUR)) for _ in range(100)]
        far = [group.create_task(store.wait_beyond(2, timeout=AN_HOUR)) for _ in range(100)]
        await store.commit(Change(events=EVENTS[:2]))
        assert set(await asyncio.gather(*near)) == {2}
        assert not any(task.done() for task in far)
        await store.commit(Change(events=EVENTS[2:]))
    assert {task.result() for task in far} == {9}


async def test_whoever_hears_of_a_revision_can_read_up_to_it(store: Store) -> None:
    async def read_to(last: int) -> list[Event]:
        read: list[Event] = []
        while len(read) < last:
            await store.wait_beyond(len(read), timeout=AN_HOUR)
            read.extend(await store.events(after=len(read), limit=3))
        return read

    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(read_to(9)) for _ in range(5)]
        for event in EVENTS:
            await store.commit(Change(events=(event,)))
    assert [reader.result() for reader in readers] == [NUMBERED] * 5


async def test_poller_sees_every_revision_of_eight_writers_once_and_in_order(
    store: Store,
) -> None:
    each, writers = 60, 8

    async def write(writer: int) -> None:
        host = await stored_host(store, f"w{writer}")
        for number in range(each):
            event = an_event(host.name, body=HostDisconnected(reason=str(number)))
            committed = await store.commit(Change(events=(event,), hosts=(host,)))
            host = replace(host, revision=committed.revision)

    async def poll() -> Sequence[Event]:
        seen: list[Event] = []
        while len(seen) < writers * (each + 1):
            cursor = seen[-1].revision if seen else 0
            await store.wait_beyond(cursor, timeout=AN_HOUR)
            seen.extend(await store.events(after=cursor, limit=7))
        return seen

    async with asyncio.TaskGroup() as group:
        poller = group.create_task(poll())
        for writer in range(writers):
            group.create_task(write(writer))
    seen = poller.result()
    assert [event.revision for event in seen] == list(range(1, writers * (each + 1) + 1))
    for writer in range(writers):
        reasons = [
            event.body.reason
            for event in seen
            if event.host == f"w{writer}" and isinstance(event.body, HostDisconnected)
        ]
        assert reasons == [str(number) for number in range(each)]


async def test_compare_and_swap_lets_one_of_many_writers_win_each_round(store: Store) -> None:
    host = await stored_host(store, "web1")
    for _ in range(5):
        attempts = [replace(host, host_key=f"key {number}") for number in range(20)]
        results = await asyncio.gather(
            *(store.commit(change(hosts=(attempt,))) for attempt in attempts),
            return_exceptions=True,
        )
        won = [n for n, result in enumerate(results) if not isinstance(result, BaseException)]
        lost = [result for result in results if isinstance(result, Conflict)]
        assert (len(won), len(lost)) == (1, 19)
        host = await store.host("web1")
        assert host.host_key == f"key {won[0]}"
    assert (await store.log_bounds()).current == 6


async def test_change_is_stored_in_all_its_parts_or_in_none(store: Store) -> None:
    taken = await stored_host(store, "taken")
    before = await store.log_bounds()
    bad = change(hosts=(a_host("new"), replace(taken, host_key="changed", revision=9)), events=3)
    good = [change(hosts=(a_host(name),)) for name in ("a", "b", "c")]
    results = await asyncio.gather(
        *map(store.commit, (*good[:2], bad, good[2])), return_exceptions=True
    )
    assert [isinstance(result, Conflict) for result in results] == [False, False, True, False]
    hosts = await every_host(store)
    assert [host.name for host in hosts] == ["a", "b", "c", "taken"]
    assert await store.host("taken") == taken
    assert (await store.log_bounds()).current == before.current + 3


async def test_listener_hears_of_all_that_a_change_touches_whether_or_not_events_tell_of_it(
    store: Store,
) -> None:
    heard: list[Touched] = []
    stop = store.listen(heard.append)
    host = await stored_host(store, "web1")
    operation = await stored_operation(store, an_operation("web1"))
    chunk = LogChunk(operation=operation.id, offset=0, data=b"x")
    await store.commit(Change(events=(), log=(chunk,)))
    rollout = a_rollout()
    waves, members = (a_wave(rollout),), (a_member(rollout, "web1"),)
    await store.commit(change(waves=waves, members=members))
    with pytest.raises(Conflict):
        await store.commit(change(hosts=(replace(host, revision=99),)))
    kinds = frozenset({"host_connected"})
    assert heard == [
        Touched(hosts=frozenset({"web1"}), kinds=kinds),
        Touched(operations=frozenset({operation.id}), kinds=kinds),
        Touched(operations=frozenset({operation.id})),
        Touched(rollouts=frozenset({rollout.id}), kinds=kinds),
    ]
    stop()
    await store.commit(change())
    assert len(heard) == 4
