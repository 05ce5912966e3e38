"""EventService: streams that begin anywhere, miss nothing, and do not disturb each other."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest

from tendhost.server.domain.events import Event, HostAcknowledged
from tendhost.server.rpc import feed, sending
from tendhost.server.rpc.server import serving
from tendhost.server.store.protocol import Change
from tendhost.v1 import event_service_pb2 as pb
from tendhost.v1 import host_service_pb2
from tendhost.v1.host_pb2 import HOST_STATE_IDLE, HOST_STATE_PENDING_UPDATES, HostFilter
from tests.rpc.api import Api, client, refusal
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.world import World


@asynccontextmanager
async def watching(api: Api, **how: Any) -> AsyncIterator[Any]:
    """A stream, and its end."""
    stream = api.events.WatchEvents(pb.WatchEventsRequest(**how))
    try:
        yield stream
    finally:
        stream.cancel()
        await asyncio.wait((asyncio.ensure_future(stream.code()),))


async def hello(stream: Any) -> pb.WatchEventsResponse:
    message = await stream.read()
    assert isinstance(message, pb.WatchEventsResponse)
    assert message.phase == pb.WATCH_PHASE_HELLO
    return message


async def until(stream: Any, revision: int) -> list[Any]:
    """The events up to a revision; every message must move its cursor onwards."""
    events: list[Any] = []
    reached = 0
    async with asyncio.timeout(20):
        while reached < revision:
            message = await stream.read()
            assert message.revision >= reached
            assert not message.events or message.events[-1].revision <= message.revision
            reached = message.revision
            events += message.events
    return events


async def happen(world: World, count: int, *, host: str = "web1", size: int = 4) -> int:
    """Store so many events, and give the revision reached."""
    event = Event(at=world.clock.now(), body=HostAcknowledged(by="x" * size), host=host)
    committed = await world.store.commit(Change(events=[event] * count))
    return int(committed.revision)


async def prune(world: World, *, keep: int) -> None:
    """Drop all but so many events."""
    long_ago = world.clock.now() - timedelta(days=1)
    await world.store.prune(before=long_ago, requests_before=long_ago, keep_events=keep)


# --- where a stream begins ------------------------------------------------------------------------


async def test_a_stream_says_hello_then_tells_what_happens(api: Api):
    first = await happen(api.world, 3)
    async with watching(api) as stream:
        greeting = await hello(stream)
        assert (greeting.oldest_revision, greeting.current_revision) == (1, first)
        assert greeting.log_id
        last = await happen(api.world, 2)
        assert [e.revision for e in await until(stream, last)] == [first + 1, first + 2]


async def test_a_cursor_is_exclusive_and_nothing_after_it_is_missing(api: Api):
    last = await happen(api.world, 10)
    for cursor in (0, 4, last):
        async with watching(api, resume_after=cursor) as stream:
            await hello(stream)
            last = await happen(api.world, 1)
            events = await until(stream, last)
            assert [e.revision for e in events] == list(range(cursor + 1, last + 1))


async def test_what_happens_while_a_stream_begins_is_told_once(api: Api):
    async def writer() -> int:
        return max([await happen(api.world, 1) for _ in range(200)])

    writing = asyncio.ensure_future(writer())
    streams = []
    for cursor in (0, 0, 0):
        stream = api.events.WatchEvents(pb.WatchEventsRequest(resume_after=cursor))
        await hello(stream)
        streams.append(stream)
    last = await writing
    for stream in streams:
        assert [e.revision for e in await until(stream, last)] == list(range(1, last + 1))
        stream.cancel()


async def test_a_snapshot_is_followed_by_what_came_after_it(api: Api):
    await api.register("web1")
    await api.register("db1")
    async with watching(api, snapshot=True) as stream:
        await hello(stream)
        part = await stream.read()
        assert part.phase == pb.WATCH_PHASE_SNAPSHOT
        assert [h.config.name for h in part.hosts] == ["db1", "web1"]
        end = await stream.read()
        assert (end.phase, end.revision) == (pb.WATCH_PHASE_SNAPSHOT_END, 2)
        assert max(h.revision for h in part.hosts) <= end.revision
        last = await happen(api.world, 1)
        assert [e.revision for e in await until(stream, last)] == [3]


async def test_a_snapshot_of_nothing_has_an_end(api: Api):
    async with watching(api, snapshot=True) as stream:
        await hello(stream)
        assert (await stream.read()).phase == pb.WATCH_PHASE_SNAPSHOT_END


async def test_a_large_snapshot_comes_in_parts(api: Api):
    names = [f"web{number:03}" for number in range(230)]
    for name in names:
        await api.register(name)
    async with watching(api, snapshot=True) as stream:
        await hello(stream)
        parts = [await stream.read() for _ in range(3)]
        assert [h.config.name for part in parts for h in part.hosts] == names
        assert (await stream.read()).phase == pb.WATCH_PHASE_SNAPSHOT_END


async def test_a_stream_begins_either_with_a_snapshot_or_with_a_cursor(api: Api):
    stream = api.events.WatchEvents(pb.WatchEventsRequest(snapshot=True, resume_after=1))
    assert (await refusal(stream.read())).code is grpc.StatusCode.INVALID_ARGUMENT
    negative = api.events.WatchEvents(pb.WatchEventsRequest(resume_after=-1))
    assert (await refusal(negative.read())).fields == ["resume_after"]


async def test_a_cursor_of_the_future_or_of_another_log_is_unknown(api: Api):
    last = await happen(api.world, 3)
    future = api.events.WatchEvents(pb.WatchEventsRequest(resume_after=last + 1))
    other = api.events.WatchEvents(pb.WatchEventsRequest(resume_after=1, log_id="other"))
    for stream, cursor in ((future, last + 1), (other, 1)):
        refused = await refusal(stream.read())
        assert refused.code is grpc.StatusCode.OUT_OF_RANGE
        assert refused.reason == "CURSOR_UNKNOWN"
        assert refused.facts == {"cursor": str(cursor), "oldest": "1", "current": str(last)}


async def test_a_cursor_whose_events_are_pruned_is_compacted(api: Api):
    last = await happen(api.world, 10)
    await prune(api.world, keep=3)
    oldest = last - 2
    refused = await refusal(
        api.events.WatchEvents(pb.WatchEventsRequest(resume_after=oldest - 2)).read()
    )
    assert (refused.code, refused.reason) == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_COMPACTED")
    assert refused.facts["oldest"] == str(oldest)
    async with watching(api, resume_after=oldest - 1) as stream:
        assert (await hello(stream)).oldest_revision == oldest
        assert [e.revision for e in await until(stream, last)] == [oldest, oldest + 1, last]


# --- what a stream tells --------------------------------------------------------------------------


async def test_many_events_come_in_few_messages_of_bounded_size(api: Api):
    last = await happen(api.world, 1000, size=200)
    async with watching(api, resume_after=0) as stream:
        await hello(stream)
        count, reached = 0, 0
        while reached < last:
            message = await stream.read()
            assert message.ByteSize() < 70 * 1024
            reached, count = message.revision, count + 1
        assert 2 <= count < 20


async def test_an_operation_is_told_from_its_start_to_its_end(api: Api):
    fake = await api.register("web1")
    fake.pending = {"web": Pending(wants_reboot=True)}
    async with watching(api) as stream:
        await hello(stream)
        operation = await api.run("StartUpdate")
        events = await until(stream, operation.revision)
    assert {e.operation_id for e in events} == {operation.id}
    assert {e.host for e in events} == {"web1"}
    kinds = {e.WhichOneof("body") for e in events}
    assert kinds == {
        *("host_connected", "host_disconnected", "state_changed"),
        *("update_progress", "update_completed", "operation_changed"),
    }
    moves = [e.state_changed for e in events if e.HasField("state_changed")]
    froms = [getattr(move, "from") for move in moves]
    assert froms == [HOST_STATE_IDLE, *(move.to for move in moves[:-1])]
    completed = next(e.update_completed for e in events if e.HasField("update_completed"))
    assert completed.result.upgraded_count == 1


async def test_a_filter_lets_through_what_is_about_its_hosts(api: Api):
    await api.register("web1", tags=["prod"])
    await api.register("db1")
    async with (
        watching(api, filter=HostFilter(names=["web*"])) as named,
        watching(api, filter=HostFilter(all_tags=["prod"]), snapshot=True) as tagged,
    ):
        await hello(named)
        await hello(tagged)
        assert [h.config.name for h in (await tagged.read()).hosts] == ["web1"]
        await tagged.read()
        await happen(api.world, 5, host="db1")
        last = await happen(api.world, 2, host="web1")
        for stream in (named, tagged):
            events = await until(stream, last)
            assert [e.host for e in events] == ["web1", "web1"]


async def test_a_filter_by_state_looks_at_the_host_as_it_is(api: Api):
    fake = await api.register("web1")
    async with watching(api, filter=HostFilter(states=[HOST_STATE_PENDING_UPDATES])) as stream:
        await hello(stream)
        first = await happen(api.world, 1)
        assert await until(stream, first) == []
        fake.pending = {"web": Pending()}
        operation = await api.run("QueryInventory")
        last = await happen(api.world, 1)
        events = await until(stream, last)
        assert events[-1].revision == last
        assert all(e.revision > operation.revision - 3 or e.operation_id for e in events)


async def test_whoever_watches_a_host_by_name_hears_that_it_is_gone(api: Api):
    await api.register("web1")
    async with watching(api, filter=HostFilter(names=["web1"])) as stream:
        await hello(stream)
        request = host_service_pb2.UnregisterHostRequest(name="web1")
        last = (await api.hosts.UnregisterHost(request)).revision
        (event,) = await until(stream, last)
        assert event.HasField("host_unregistered")


async def test_a_quiet_stream_is_told_how_far_it_is(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feed, "BOOKMARK_INTERVAL", timedelta(milliseconds=10))
    async with (
        world.running() as engine,
        serving(engine, "127.0.0.1:0") as address,
        client(world, address) as api,
    ):
        last = await happen(world, 3, host="db1")
        async with watching(api, filter=HostFilter(names=["web1"]), resume_after=0) as stream:
            await hello(stream)
            assert await until(stream, last) == []
            bookmark = await stream.read()
            assert (bookmark.revision, len(bookmark.events)) == (last, 0)


async def test_a_stream_whose_filter_drops_all_of_a_busy_fleet_is_told_how_far_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(feed, "BOOKMARK_INTERVAL", timedelta(milliseconds=300))
    async with (
        world.running() as engine,
        serving(engine, "127.0.0.1:0") as address,
        client(world, address) as api,
        watching(api, filter=HostFilter(names=["web1"])) as stream,
    ):
        await hello(stream)
        told = asyncio.ensure_future(stream.read())
        # The log is never quiet: an event comes long before any bookmark is due.
        async with asyncio.timeout(20):
            while not told.done():
                await happen(world, 1, host="db1")
                await idle_for(world, seconds=0.05)
        assert len(told.result().events) == 0
        assert told.result().revision > 0


# --- streams that go wrong ------------------------------------------------------------------------


async def test_a_watcher_that_reads_nothing_is_let_go_of_and_nobody_else_feels_it(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sending, "WRITE_TIMEOUT_SECONDS", 0.3)
    small = ("grpc.http2.lookahead_bytes", 1024)
    async with (
        world.running() as engine,
        serving(engine, "127.0.0.1:0") as address,
        client(world, address, small) as slow,
        client(world, address) as quick,
    ):
        lazy = slow.events.WatchEvents(pb.WatchEventsRequest())
        await hello(lazy)
        async with watching(quick) as eager:
            await hello(eager)
            events = []
            for _ in range(40):
                events += await until(eager, await happen(world, 500, size=400))
            assert [e.revision for e in events] == list(range(1, 20_001))
            await idle_for(world, seconds=0.6)
            refused = await refusal(read_to_the_end(lazy))
        assert (refused.code, refused.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "WATCHER_TOO_SLOW",
        )
        assert refused.kinds == ["ErrorInfo", "RetryInfo"]


async def read_to_the_end(stream: Any) -> None:
    while True:
        await stream.read()


async def idle_for(world: World, *, seconds: float) -> None:
    """Let real time pass, for grpc knows no other."""
    await world.store.wait_beyond(1 << 60, timeout=timedelta(seconds=seconds))


async def test_a_stream_that_falls_behind_the_pruning_hears_that_it_missed_something(api: Api):
    first = await happen(api.world, 5)
    reading = api.world.store.hold_before_read("events")
    stream = api.events.WatchEvents(pb.WatchEventsRequest(resume_after=0))
    await hello(stream)
    await api.world.reached(reading)
    last = await happen(api.world, 5)
    # What comes next for this stream is dropped before it has read it.
    await prune(api.world, keep=3)
    reading.released.set()
    refused = await refusal(stream.read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_COMPACTED")
    assert refused.facts == {"cursor": "0", "oldest": str(last - 2), "current": str(last)}
    assert first < last


async def test_a_filtered_stream_that_falls_behind_the_pruning_hears_so_as_well(api: Api):
    await happen(api.world, 5)
    reading = api.world.store.hold_before_read("events")
    stream = api.events.WatchEvents(
        pb.WatchEventsRequest(resume_after=0, filter=HostFilter(names=["web1"]))
    )
    await hello(stream)
    await api.world.reached(reading)
    await happen(api.world, 5)
    await prune(api.world, keep=3)
    reading.released.set()
    assert (await refusal(stream.read())).reason == "CURSOR_COMPACTED"


async def test_watchers_that_go_leave_no_error_in_the_log(
    api: Api, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    await happen(api.world, 2000, size=1000)
    for number in range(10):
        async with client(api.world, api.address) as another:
            stream = another.events.WatchEvents(pb.WatchEventsRequest(resume_after=0))
            await hello(stream)
            if number % 2:
                stream.cancel()
    async with watching(api) as stream:
        await hello(stream)
    assert [r for r in caplog.records if r.name.startswith("tendhost")] == []


async def test_a_server_that_stops_sends_everything_first(world: World):
    async with world.running() as engine:
        async with serving(engine, "127.0.0.1:0") as address:
            connection = client(world, address)
            api = await connection.__aenter__()
            streams = [
                api.events.WatchEvents(pb.WatchEventsRequest(resume_after=0)) for _ in range(5)
            ]
            for stream in streams:
                await hello(stream)
            last = await happen(world, 3000)
        for stream in streams:
            assert [e.revision for e in await until(stream, last)] == list(range(1, last + 1))
            while (message := await stream.read()) != grpc.aio.EOF:  # type: ignore[attr-defined]
                assert message.revision == last
            assert await stream.code() is grpc.StatusCode.OK
        await connection.__aexit__(None, None, None)


async def test_a_stream_resumes_on_the_next_server_with_the_same_log(world: World):
    async with (
        world.running() as engine,
        serving(engine, "127.0.0.1:0") as address,
        client(world, address) as api,
        watching(api) as stream,
    ):
        log = (await hello(stream)).log_id
        cursor = await happen(world, 3)
        await until(stream, cursor)
    async with world.running() as engine, serving(engine, "127.0.0.1:0") as address:
        last = await happen(world, 2)
        async with (
            client(world, address) as api,
            watching(api, resume_after=cursor, log_id=log) as stream,
        ):
            assert (await hello(stream)).log_id == log
            assert [e.revision for e in await until(stream, last)] == [cursor + 1, last]
