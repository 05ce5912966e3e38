"""The newest events in memory: never more than are wanted, and never a gap to those in the database."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tendhost.server.domain.events import Event
from tendhost.server.store import event_cache
from tendhost.server.store.event_cache import RecentEvents
from tendhost.server.store.records import Change
from tendhost.server.store.sqlite import open_store
from tests.contract.store.samples import NOW, an_event

KEPT = 4
AN_HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_cache, "KEPT", KEPT)


def numbered(first: int, last: int) -> list[Event]:
    return [replace(an_event(), revision=number) for number in range(first, last + 1)]


def revisions(events: Sequence[Event] | None) -> list[int] | None:
    return None if events is None else [event.revision for event in events]


def filled(to: int) -> RecentEvents:
    newest = RecentEvents(0)
    for number in range(1, to + 1):
        newest.extend(numbered(number, number))
    return newest


def test_all_events_are_in_memory_until_there_are_twice_as_many_as_are_kept() -> None:
    assert revisions(filled(2 * KEPT).after(0, 99)) == list(range(1, 2 * KEPT + 1))


def test_only_the_newest_are_kept_beyond_that() -> None:
    newest = filled(2 * KEPT + 1)
    first_kept = KEPT + 2
    assert newest.after(first_kept - 2, 99) is None
    assert revisions(newest.after(first_kept - 1, 99)) == [6, 7, 8, 9]
    assert revisions(newest.after(first_kept, 2)) == [7, 8]


def test_one_change_larger_than_the_memory_leaves_its_end() -> None:
    newest = RecentEvents(0)
    newest.extend(numbered(1, 30))
    assert newest.after(25, 99) is None
    assert revisions(newest.after(26, 99)) == [27, 28, 29, 30]


def test_cursor_at_or_beyond_the_end_finds_nothing_and_asks_no_database() -> None:
    newest = filled(3)
    assert newest.after(3, 99) == ()
    assert newest.after(99, 99) == ()


def test_log_that_was_there_before_is_not_in_memory() -> None:
    newest = RecentEvents(10)
    assert newest.after(9, 99) is None
    newest.extend(numbered(11, 11))
    assert newest.after(9, 99) is None
    assert revisions(newest.after(10, 99)) == [11]


def test_pruned_events_are_forgotten_and_the_rest_found_where_they_are() -> None:
    newest = filled(6)
    newest.forget(4)
    assert newest.after(3, 99) is None
    assert revisions(newest.after(4, 99)) == [5, 6]
    newest.forget(2)
    assert revisions(newest.after(4, 99)) == [5, 6]
    newest.forget(99)
    assert newest.after(5, 99) is None
    assert newest.after(6, 99) == ()


async def test_every_cursor_reads_the_same_from_memory_and_from_the_database(
    tmp_path: Path,
) -> None:
    store = await open_store(tmp_path / "tendhost.db")
    last = 5 * KEPT
    for number in range(1, last + 1):
        at = NOW + timedelta(seconds=number)
        await store.commit(Change(events=(an_event(host=f"h{number}", at=at),)))
        for after in range(number + 1):
            for limit in (1, KEPT, last):
                read = await store.events(after=after, limit=limit)
                until = min(number, after + limit)
                assert revisions(read) == list(range(after + 1, until + 1))
                assert [event.host for event in read] == [f"h{e.revision}" for e in read]
    await store.aclose()


async def test_reader_that_fell_behind_the_memory_catches_up_while_events_come(
    tmp_path: Path,
) -> None:
    store = await open_store(tmp_path / "tendhost.db")
    seen: list[int] = []
    for number in range(1, 10 * KEPT):
        await store.commit(Change(events=(an_event(),) * 2))
        if number % 7 == 0:
            current = await store.wait_beyond(seen[-1] if seen else 0, timeout=AN_HOUR)
            while len(seen) < current:
                read = await store.events(after=len(seen), limit=3)
                seen.extend(event.revision for event in read)
            assert seen == list(range(1, current + 1))
    assert seen
    await store.aclose()


async def test_pruning_below_the_memory_leaves_it_whole(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "tendhost.db")
    await store.commit(Change(events=(an_event(),) * 20))
    await store.prune(before=NOW, now=NOW, requests_before=0, keep_events=10)
    assert (await store.log_bounds()).oldest == 11
    assert revisions(await store.events(after=10, limit=99)) == list(range(11, 21))
    assert revisions(await store.events(after=17, limit=99)) == [18, 19, 20]
    await store.aclose()


def test_tail__that_missed_a_commit_leaves_no_gap() -> None:
    newest = filled(3)
    newest.reach(5)
    assert newest.revision == 5
    assert newest.after(3, 99) is None
    assert newest.after(5, 99) == ()
    # What the commit tells late is known already, and what follows stands alone.
    newest.extend(numbered(4, 6))
    assert (newest.revision, revisions(newest.after(5, 99))) == (6, [6])
    newest.extend(numbered(9, 9))
    assert newest.after(6, 99) is None
    assert revisions(newest.after(8, 99)) == [9]


async def test_wait__notices_what_is_stored_when_no_signal_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(tmp_path / "tendhost.db")
    monkeypatch.setattr(RecentEvents, "extend", lambda *_: None)
    await store.commit(Change(events=(an_event(),) * 2))
    assert await store.wait_beyond(0, timeout=timedelta(0)) == 2
    assert revisions(await store.events(after=0, limit=9)) == [1, 2]
    await store.aclose()
