"""EventService: streams that begin anywhere and miss nothing."""

import asyncio
from datetime import timedelta

import grpc
import pytest

from tendhost.server.rpc.streams import event_feed
from tendhost.v1 import event_service_pb2 as pb
from tendhost.v1 import host_service_pb2
from tendhost.v1.host_pb2 import HOST_STATE_IDLE, HOST_STATE_PENDING_UPDATES, HostFilter
from tests.rpc.api import Api, client, refusal
from tests.rpc.open_server import serving
from tests.rpc.streams import happen, hello, idle_for, prune, until, watching
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.world import World

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
        parts = []
        while (part := await stream.read()).phase == pb.WATCH_PHASE_SNAPSHOT:
            parts.append(part)
        assert [h.config.name for part in parts for h in part.hosts] == names
        assert part.phase == pb.WATCH_PHASE_SNAPSHOT_END
        assert len(parts) >= 3


async def test_a_stream_begins_either_with_a_snapshot_or_with_a_cursor(api: Api):
    stream = api.events.WatchEvents(pb.WatchEventsRequest(snapshot=True, resume_after=1))
    assert (await refusal(stream.read())).code is grpc.StatusCode.INVALID_ARGUMENT
    negative = api.events.WatchEvents(pb.WatchEventsRequest(resume_after=-1))
    assert (await refusal(negative.read())).fields == ["resume_after"]


async def test_a_cursor_of_the_future_is_unknown(api: Api):
    last = await happen(api.world, 3)
    future = api.events.WatchEvents(pb.WatchEventsRequest(resume_after=last + 1))
    refused = await refusal(future.read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_UNKNOWN")
    expected = {"cursor": str(last + 1), "oldest": "1", "current": str(last), "log_id": ""}
    assert refused.facts.items() > expected.items()
    assert "belongs" not in refused.text


async def test_cursor_of_another_log__is_unknown_and_told_as_such(api: Api):
    await happen(api.world, 3)
    async with watching(api) as stream:
        log = (await hello(stream)).log_id
    other = api.events.WatchEvents(pb.WatchEventsRequest(resume_after=99, log_id="other"))
    refused = await refusal(other.read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_UNKNOWN")
    expected = {"cursor": "99", "log_id": "other", "current_log_id": log}
    assert refused.facts.items() > expected.items()
    assert "belongs to the event log other" in refused.text


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
    froms = [move.from_state for move in moves]
    assert froms == [HOST_STATE_IDLE, *(move.to_state for move in moves[:-1])]
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
        operation = await api.run("StartQuery")
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
    monkeypatch.setattr(event_feed, "BOOKMARK_INTERVAL", timedelta(milliseconds=10))
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
    monkeypatch.setattr(event_feed, "BOOKMARK_INTERVAL", timedelta(milliseconds=300))
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
