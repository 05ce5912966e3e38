"""Streams of events, and events to fill them with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc

from tendhost.server.domain.events import Event, HostAcknowledged
from tendhost.server.store.records import Change
from tendhost.v1 import event_service_pb2 as pb
from tests.rpc.api import Api
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
    assert message.phase == pb.WATCH_PHASE_OPENED
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
    await world.store.prune(before=long_ago, now=long_ago, requests_before=0, keep_events=keep)


async def read_to_the_end(stream: Any) -> None:
    """Read until the stream raises what it ended with; one that ends well fails the test."""
    while await stream.read() != grpc.aio.EOF:  # type: ignore[attr-defined]
        pass
    raise AssertionError("the stream ended well")


async def idle_for(world: World, *, seconds: float) -> None:
    """Let real time pass, for grpc knows no other."""
    await world.store.wait_beyond(1 << 60, timeout=timedelta(seconds=seconds))
