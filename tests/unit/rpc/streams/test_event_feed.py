"""Batches of events: the same for everybody who asks the same, and made once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.events import Event, HostAcknowledged
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.rpc.convert import events as convert_events
from tendhost.server.rpc.streams import event_feed, event_pages
from tendhost.server.rpc.streams.event_feed import EventFeed
from tendhost.server.rpc.streams.event_pages import EventPage
from tendhost.server.store.records import Change
from tendhost.server.store.sqlite import open_store
from tendhost.v1 import event_service_pb2 as pb
from tests.contract.store.samples import NOW, an_event, change, stored_host
from tests.unit.engine.faulty_store import FaultyStore

HOSTS = ("a", "b", "c", "")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FaultyStore]:
    faulty = FaultyStore()
    faulty.behind = real = await open_store(tmp_path / "tendhost.db")
    yield faulty
    await real.aclose()


@pytest.fixture
async def events(store: FaultyStore) -> AsyncIterator[EventFeed]:
    following = EventFeed(store)
    running = asyncio.create_task(following.run())
    await asyncio.sleep(0)
    yield following
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def told(following: EventFeed, selection: HostFilter, *, after: int = 0) -> list[str]:
    """The hosts of all events that a stream is told of, to the end of the log."""
    hosts: list[str] = []
    while True:
        batch = await following.batch(after, selection)
        if batch.revision == after:
            return hosts
        message = pb.WatchEventsResponse.FromString(batch.encoded)
        assert not batch.encoded or message.revision == batch.revision > after
        hosts += [event.host for event in message.events]
        after = batch.revision


@given(
    hosts=st.lists(st.sampled_from(HOSTS), min_size=1, max_size=30),
    sizes=st.lists(st.integers(0, 60), min_size=30, max_size=30),
    wanted=st.sets(st.sampled_from(HOSTS[:3])),
)
def test_page__gives_each_host_its_events_in_order_and_moves_on(
    hosts: list[str], sizes: list[int], wanted: set[str]
) -> None:
    page_events = [
        Event(at=NOW, body=HostAcknowledged(by="x" * size), host=host, revision=number)
        for number, (host, size) in enumerate(zip(hosts, sizes, strict=False), start=1)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_pages, "BATCH_BYTES", 120)
        seen: list[int] = []
        after = 0
        while after < len(page_events):
            batch = EventPage(page_events[after:]).of_hosts(wanted)
            message = pb.WatchEventsResponse.FromString(batch.encoded)
            assert batch.revision > after
            assert len(message.events) <= 1 or len(batch.encoded) <= 140
            seen += [event.revision for event in message.events]
            after = batch.revision
    assert seen == [event.revision for event in page_events if event.host in wanted]


async def test_filter_by_names__reads_no_host(store: FaultyStore, events: EventFeed) -> None:
    await store.commit(Change(events=[an_event(host) for host in ("a", "b", "a", "c")]))
    before = store.calls.copy()
    assert await told(events, HostFilter(names=("a",))) == ["a", "a"]
    assert await told(events, HostFilter(names=("[bc]",), exclude_hosts=("c",))) == ["b"]
    assert await told(events, HostFilter(name_prefix="c")) == ["c"]
    assert (store.calls - before).keys() <= {"events"}


async def test_filter__reads_each_host_once_for_all_until_it_changes(
    store: FaultyStore, events: EventFeed
) -> None:
    host = await stored_host(store, "a")
    await store.commit(Change(events=[an_event(name) for name in ("a", "b", "a")]))
    tagged = HostFilter(all_tags=("web",))
    failed = HostFilter(states=(HostState.FAILED,))
    for _ in range(3):
        assert await told(events, tagged) == ["a", "a"]
        assert await told(events, failed) == []
    assert store.calls["hosts"] == 1
    status = replace(host.status, state=HostState.FAILED)
    await store.commit(change(events=1, hosts=(replace(host, status=status),)))
    assert await told(events, failed) == ["a", "a"]
    assert store.calls["hosts"] == 2


async def test_event__is_encoded_once_whoever_asks(
    store: FaultyStore, events: EventFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    real = convert_events.event_message

    def counted(event: Event) -> object:
        encoded.append(event.revision)
        return real(event)

    monkeypatch.setattr(event_pages, "event_message", counted)
    await store.commit(Change(events=[an_event(host) for host in ("a", "b", "c") * 100]))
    for names in ((), ("a",), ("a", "b"), ("c",)):
        for _ in range(3):
            await told(events, HostFilter(names=names))
    assert sorted(encoded) == list(range(1, 301))


async def test_feed__goes_on_when_the_store_could_not_be_read(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "LONGEST_WAIT", event_feed.GATHERING)
    monkeypatch.setattr(event_feed, "BOOKMARK_INTERVAL", event_feed.GATHERING)
    following = EventFeed(store)
    wait = event_feed.EventFeed._wake_once
    failed = asyncio.Event()

    async def fails_once(self: EventFeed) -> None:
        if not failed.is_set():
            failed.set()
            raise StoreUnavailable(cause="a disk that is gone")
        await wait(self)

    monkeypatch.setattr(event_feed.EventFeed, "_wake_once", fails_once)
    running = asyncio.create_task(following.run())
    await failed.wait()
    await store.commit(Change(events=[an_event()]))
    async with asyncio.timeout(20):
        while not following.has_after(0):
            await following.wait_for_news(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
