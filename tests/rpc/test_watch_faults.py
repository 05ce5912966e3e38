"""Streams of events that go wrong or are left: nobody misses anything unawares, nobody disturbs another."""

import asyncio
import logging
import struct

import grpc
import pytest

from tendhost.server.rpc import server
from tendhost.server.rpc.streams import stream_writer
from tendhost.v1 import event_service_pb2 as pb
from tendhost.v1.host_pb2 import HostFilter
from tests.rpc.api import Api, client, refusal
from tests.rpc.open_server import serving
from tests.rpc.streams import (
    happen,
    hello,
    idle_for,
    prune,
    read_to_the_end,
    until,
    watching,
)
from tests.unit.engine.world import World

# --- streams that go wrong ------------------------------------------------------------------------


async def test_a_watcher_that_reads_nothing_is_let_go_of_and_nobody_else_feels_it(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stream_writer, "WRITE_TIMEOUT_SECONDS", 0.3)
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
            refused = await refusal(read_to_the_end(stream))
            assert (refused.code, refused.reason) == (
                grpc.StatusCode.UNAVAILABLE,
                "SERVER_STOPPING",
            )
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


# --- clients that take nothing at all -------------------------------------------------------------


def frame(kind: int, flags: int, payload: bytes, stream: int = 0) -> bytes:
    """One frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header(name: bytes, value: bytes) -> bytes:
    """A header as HPACK writes it in full."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


async def watching_without_room(
    address: str,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A call of WatchEvents whose client lets the server send headers, and no byte of a message."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":authority": b"tendhostd",
        b":path": b"/tendhost.v1.EventService/WatchEvents",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    no_room = struct.pack(">HI", 4, 0)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, no_room))
    writer.write(frame(1, 4, b"".join(header(*pair) for pair in headers.items()), 1))
    writer.write(frame(0, 1, b"\0" * 5, 1))
    return reader, writer


async def test_watcher__that_takes_not_even_the_first_message_is_let_go_of(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(stream_writer, "WRITE_TIMEOUT_SECONDS", 0.3)
    async with world.running() as engine, serving(engine, "127.0.0.1:0") as address:
        reader, writer = await watching_without_room(address)
        async with asyncio.timeout(20):
            while "a call was refused" not in caplog.text:
                await idle_for(world, seconds=0.05)
            # Now there is room: for the message that is under way, and for how the stream ended.
            writer.write(frame(8, 0, struct.pack(">I", 1 << 20), 1))
            ended = b""
            while not ended:
                length, kind, flags, stream = struct.unpack(
                    ">IBBI", b"\0" + await reader.readexactly(9)
                )
                payload = await reader.readexactly(length)
                if kind == 4 and not flags & 1:
                    writer.write(frame(4, 1, b""))
                if (kind, stream) == (1, 1) and flags & 1:
                    ended = payload
        assert b"the client read nothing" in ended
        writer.close()
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_watcher__that_never_takes_anything_leaves_no_error_when_the_server_stops(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(stream_writer, "WRITE_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(server, "GRACE_SECONDS", 0.1)
    async with world.running() as engine:
        async with serving(engine, "127.0.0.1:0") as address:
            _, writer = await watching_without_room(address)
            async with asyncio.timeout(20):
                while "a call was refused" not in caplog.text:
                    await idle_for(world, seconds=0.05)
        writer.close()
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
