"""The stream of events: no gap and no repetition, whatever becomes of the connection."""

import asyncio
from datetime import UTC

import grpc
import pytest

from tendhost.client import (
    Client,
    CursorLost,
    Event,
    EventStream,
    HostFilter,
    ServerUnreachable,
    Snapshot,
)
from tendhost.v1 import event_service_pb2
from tests.contract.client import messages
from tests.contract.client.messages import batch, bookmark, hello, snapshot
from tests.contract.client.mock_server import LOST, STOPPING, Hold, Refused

COMPACTED = Refused(code=grpc.StatusCode.OUT_OF_RANGE, reason="CURSOR_COMPACTED")
UNKNOWN = Refused(code=grpc.StatusCode.OUT_OF_RANGE, reason="CURSOR_UNKNOWN")
TOO_SLOW = Refused(code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="WATCHER_TOO_SLOW")


async def taken(stream: EventStream, count: int) -> list[object]:
    """So many of the next items, as revisions; a snapshot as its hosts' names, too."""
    items: list[object] = []
    async for item in stream:
        if isinstance(item, Snapshot):
            items.append((item.revision, *(host.name for host in item.hosts)))
        else:
            items.append(item.revision)
        if len(items) == count:
            break
    return items


async def test_stream_begins_with_what_happens_from_now_on(server, client):
    server.stream("WatchEvents", [hello(41), batch(42, 43), Hold()])
    stream = client.events()
    assert stream.revision is None
    assert await taken(stream, 2) == [42, 43]
    (request,) = server.requests("WatchEvents")
    assert not request.HasField("resume_after")
    assert not request.snapshot
    assert not request.HasField("filter")


async def test_quiet_stream_that_breaks_goes_on_from_where_it_began(server, client):
    # The first event falls into the time without a connection: "from now on" meant before it.
    server.stream("WatchEvents", [hello(41), LOST], [hello(43), batch(42, 43), Hold()])
    assert await taken(client.events(), 2) == [42, 43]
    _, second = server.requests("WatchEvents")
    assert (second.resume_after, second.log_id) == (41, "log1")


async def test_stream_goes_on_after_a_cursor_that_was_saved(server, client):
    server.stream("WatchEvents", [hello(50), batch(8), Hold()])
    stream = client.events(resume_after=7, log_id="log1")
    assert await taken(stream, 1) == [8]
    (request,) = server.requests("WatchEvents")
    assert (request.resume_after, request.log_id) == (7, "log1")
    assert (stream.revision, stream.log_id) == (8, "log1")


async def test_stream_that_breaks_goes_on_after_the_last_event_it_gave(server, client):
    server.stream(
        "WatchEvents",
        [hello(0), batch(1, 2), LOST],
        [LOST],
        [hello(5), batch(3), bookmark(5), STOPPING],
        [hello(9), batch(6, 7), Hold()],
    )
    assert await taken(client.events(resume_after=0), 5) == [1, 2, 3, 6, 7]
    asked = [request.resume_after for request in server.requests("WatchEvents")]
    assert asked == [0, 2, 2, 5]


async def test_cursor_is_that_of_the_item_in_hand_and_not_of_the_batch(server, client):
    server.stream("WatchEvents", [hello(0), batch(1, 2, 3), Hold()])
    stream = client.events(resume_after=0)
    seen = []
    async for item in stream:
        seen.append((item.revision, stream.revision, stream.log_id))
        if len(seen) == 3:
            break
    assert seen == [(1, 1, "log1"), (2, 2, "log1"), (3, 3, "log1")]


async def test_bookmark_moves_the_cursor_of_a_stream_that_sees_little(server, client):
    quiet = Hold()
    server.stream("WatchEvents", [hello(0), bookmark(90), quiet, batch(91), Hold()])
    stream = client.events(resume_after=0, selection=HostFilter(names=("web*",)))
    waiting = asyncio.create_task(taken(stream, 1))
    await asyncio.to_thread(server.wait_for_call, "WatchEvents")
    quiet.release()
    assert await waiting == [91]
    (request,) = server.requests("WatchEvents")
    assert list(request.filter.names) == ["web*"]


async def test_snapshot_comes_first_where_it_is_asked_for(server, client):
    server.stream("WatchEvents", [hello(5), *snapshot(5, "a", "b", "c"), batch(6), Hold()])
    stream = client.events(snapshot=True)
    assert await taken(stream, 2) == [(5, "a", "b", "c"), 6]
    (request,) = server.requests("WatchEvents")
    assert request.snapshot
    assert not request.HasField("resume_after")


async def test_snapshot_that_is_cut_is_taken_anew(server, client):
    server.stream(
        "WatchEvents",
        [hello(5), *snapshot(5, "a", "b", "c")[:1], LOST],
        [hello(7), *snapshot(7, "a", "c"), LOST],
        [hello(8), batch(8), Hold()],
    )
    assert await taken(client.events(snapshot=True), 2) == [(7, "a", "c"), 8]
    first, second, third = server.requests("WatchEvents")
    assert (first.snapshot, second.snapshot, third.snapshot) == (True, True, False)
    assert third.resume_after == 7


@pytest.mark.parametrize("lost", [COMPACTED, UNKNOWN], ids=["compacted", "unknown"])
async def test_events_that_are_gone_are_made_up_for_by_a_snapshot(lost, server, client):
    server.stream(
        "WatchEvents",
        [hello(2), batch(2), LOST],
        [lost],
        [hello(70, log_id="log2"), *snapshot(70, "a"), batch(71), LOST],
        [hello(72, log_id="log2"), batch(72), Hold()],
    )
    stream = client.events(resume_after=1)
    assert await taken(stream, 4) == [2, (70, "a"), 71, 72]
    asked = server.requests("WatchEvents")
    assert [r.snapshot for r in asked] == [False, False, True, False]
    assert (asked[3].resume_after, asked[3].log_id) == (71, "log2")


async def test_stream_that_falls_behind_while_it_is_open_takes_a_snapshot(server, client):
    server.stream(
        "WatchEvents",
        [hello(9), batch(1), COMPACTED],
        [hello(9), *snapshot(9, "a"), Hold()],
    )
    assert await taken(client.events(resume_after=0), 2) == [1, (9, "a")]


async def test_old_cursor_is_never_shown_with_the_name_of_a_new_log(server, client):
    halfway = Hold()
    parts = snapshot(70, "a")
    server.stream(
        "WatchEvents",
        [hello(2), batch(2), UNKNOWN],
        [hello(70, log_id="log2"), parts[0], halfway, *parts[1:], Hold()],
    )
    stream = client.events(resume_after=1)
    assert await taken(stream, 1) == [2]
    waiting = asyncio.create_task(taken(stream, 1))
    await asyncio.to_thread(server.wait_for_call, "WatchEvents", 2)
    assert (stream.revision, stream.log_id) == (2, "log1")
    halfway.release()
    assert await waiting == [(70, "a")]
    assert (stream.revision, stream.log_id) == (70, "log2")


async def test_server_that_has_lost_a_cursor_nobody_gave_is_not_asked_for_ever(server, client):
    server.stream("WatchEvents", [UNKNOWN])
    with pytest.raises(CursorLost):
        await taken(client.events(resume_after=3), 1)
    assert len(server.requests("WatchEvents")) == 2


async def test_slow_reader_goes_on_where_it_was_let_go(server, client):
    server.stream("WatchEvents", [hello(0), batch(1, 2), TOO_SLOW], [hello(3), batch(3), Hold()])
    assert await taken(client.events(resume_after=0), 3) == [1, 2, 3]
    assert [r.resume_after for r in server.requests("WatchEvents")] == [0, 2]


async def test_stream_ends_at_the_revision_it_was_to_end_at(server, client):
    server.stream("WatchEvents", [hello(9), batch(1, 2), bookmark(4), Hold()])
    seen = [item.revision async for item in client.events(resume_after=0, until=4)]
    assert seen == [1, 2]


async def test_stream_gives_up_when_no_server_comes_back(server, pauses):
    async with Client(server.address, patience_seconds=0) as client:
        server.stream("WatchEvents", [hello(0), batch(1), LOST])
        stream = client.events(resume_after=0)
        assert await taken(stream, 1) == [1]
        server.stop()
        with pytest.raises(ServerUnreachable):
            await taken(stream, 1)


async def test_pauses_grow_while_nobody_answers_and_shrink_once_somebody_did(
    server, client, pauses
):
    script = [[LOST]] * 4
    server.stream("WatchEvents", *script, [hello(0), batch(1), LOST], [hello(1), batch(2), Hold()])
    assert await taken(client.events(resume_after=0), 2) == [1, 2]
    failing, after_answer = pauses[:4], pauses[4]
    assert failing == sorted(failing)
    assert failing[3] > 4 * failing[0]
    assert after_answer < failing[1]


async def test_snapshot_and_cursor_exclude_each_other(client):
    with pytest.raises(ValueError, match="exclude each other"):
        client.events(snapshot=True, resume_after=3)


async def test_nothing_is_missed_or_repeated_through_many_restarts(server):
    """A real connection is broken again and again, in the middle of batches, too."""

    def script(request):
        after = request.resume_after
        return [
            hello(99),
            batch(*range(after + 1, after + 5)),
            batch(*range(after + 5, after + 9)),
            Hold(),
        ]

    server.stream("WatchEvents", script)
    seen = []
    async with Client(server.address) as client, asyncio.timeout(60):
        async for item in client.events(resume_after=0):
            seen.append(item.revision)
            if item.revision == 30:
                break
            if len(seen) % 6 == 0:
                await asyncio.to_thread(server.restart)
    assert seen == list(range(1, 31))
    assert len(server.requests("WatchEvents")) > 3


async def test_events_are_typed(server, client):
    server.stream("WatchEvents", [hello(0), batch(1), Hold()])
    async for item in client.events(resume_after=0):
        assert isinstance(item, Event)
        assert (item.kind, item.host) == ("host_registered", "web1")
        assert item.at == messages.AT.ToDatetime(tzinfo=UTC)
        break


async def test_snapshot__is_what_each_host_came_as_last_without_those_that_are_gone(server, client):
    again = messages.host("b")
    again.revision = 7
    *parts, end = snapshot(9, "a", "b", "c")
    changed = event_service_pb2.WatchEventsResponse(
        phase=event_service_pb2.WATCH_PHASE_SNAPSHOT,
        hosts=[again, messages.host("aa")],
        removed_hosts=["c", "never-there"],
    )
    server.stream("WatchEvents", [hello(5), *parts, changed, end, Hold()])
    async for item in client.events(snapshot=True):
        assert isinstance(item, Snapshot)
        assert [host.name for host in item.hosts] == ["a", "aa", "b"]
        assert [host.revision for host in item.hosts if host.name == "b"] == [7]
        assert item.revision == 9
        break
