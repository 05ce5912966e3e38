"""Watchers by the thousand that leave, and watchers that stop reading: what they cost the server and the others.

Needs no fleet: the one host is the machine itself, registered and renamed in its tags, never worked on.
"""

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.v1 import (
    event_service_pb2,
    event_service_pb2_grpc,
    host_pb2,
    host_service_pb2,
)
from tests.e2e.daemon import Daemon, daemon

AT_ONCE = 50
WARM_UP = 2_000
CHANGES_PER_SECOND = 400
HONEST = 10
_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of it."""

    cancelled: int
    stalled: int
    seconds: float
    """How long the honest watchers are measured beside the stalled ones."""


LONG = Size(cancelled=50_000, stalled=200, seconds=40)
SHORT = Size(cancelled=3_000, stalled=50, seconds=8)


async def measure(short: bool) -> dict[str, float]:
    """How much the server grows by all of it, and how late the others get their events meanwhile."""
    size = SHORT if short else LONG
    with tempfile.TemporaryDirectory(prefix="tendhost-streams-") as folder:
        async with daemon(Path(folder) / "state") as server:
            await server.register("here", "local")
            async with _changing(server):
                await _cancelled(server, WARM_UP)
                before = _resident_mib(server)
                await _cancelled(server, size.cancelled)
                latencies = await _beside_stalled(server, size)
            after = _resident_mib(server)
    return {
        "streams_rss_growth_mib": max(0.0, after - before),
        "stalled_watchers_p99_ms": _percentile(latencies, 99) * 1000,
    }


def _resident_mib(server: Daemon) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


# --- what happens meanwhile -----------------------------------------------------------------------


@asynccontextmanager
async def _changing(server: Daemon) -> AsyncIterator[None]:
    """Have the host change all the time, which tells every watcher something."""

    async def change_forever() -> None:
        for number in range(10_000_000):
            config = host_pb2.HostConfig(name="here", tags=[f"t{number % 2}"])
            await server.hosts.ReconfigureHost(
                host_service_pb2.ReconfigureHostRequest(
                    name="here", config=config, update_mask=FieldMask(paths=["tags"])
                )
            )
            await asyncio.sleep(1 / CHANGES_PER_SECOND)

    changing = asyncio.create_task(change_forever())
    try:
        yield
        assert not changing.done(), "the changes have come to an end"
    finally:
        changing.cancel()
        await asyncio.gather(changing, return_exceptions=True)


# --- those who leave ------------------------------------------------------------------------------


async def _cancelled(server: Daemon, number: int) -> None:
    """Open so many watches, and leave each before, at or after its first messages."""
    left = iter(range(number))

    async def leave_one_after_another() -> None:
        for each in left:
            rng = random.Random(each)
            stream = _watch(server, rng)
            for _ in range(rng.choice((0, 0, 1, 1, 2))):
                await stream.read()
            stream.cancel()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(leave_one_after_another())


def _watch(server: Daemon, rng: random.Random) -> Any:
    snapshot = rng.random() < 0.3
    request = event_service_pb2.WatchEventsRequest(snapshot=snapshot)
    if not snapshot and rng.random() < 0.5:
        request.resume_after = 0
    return server.events.WatchEvents(request)


# --- those who stop reading -----------------------------------------------------------------------


async def _beside_stalled(server: Daemon, size: Size) -> list[float]:
    """Seconds from the commit of an event to its receipt, by watchers who read, beside some who do not."""
    async with AsyncExitStack() as stack:
        for _ in range(size.stalled):
            stub = await _stub(stack, server)
            stream = stub.WatchEvents(event_service_pb2.WatchEventsRequest(resume_after=0))
            await stream.read()
            stack.callback(stream.cancel)
        honest = [await _stub(stack, server) for _ in range(HONEST)]
        measured = await asyncio.gather(*(_latencies(stub, size.seconds) for stub in honest))
    return [latency for latencies in measured for latency in latencies]


async def _stub(stack: AsyncExitStack, server: Daemon) -> Any:
    """Of a connection of its own: what one watcher does not read must not hold up another's."""
    channel = grpc.aio.insecure_channel(server.address, options=_OWN_CONNECTION)
    await stack.enter_async_context(channel)
    return event_service_pb2_grpc.EventServiceStub(channel)


async def _latencies(stub: Any, seconds: float) -> list[float]:
    found: list[float] = []
    stream = stub.WatchEvents(event_service_pb2.WatchEventsRequest())
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    while (now := datetime.now(UTC)) < until:
        message = await stream.read()
        now = datetime.now(UTC)
        found.extend(
            (now - event.at.ToDatetime(tzinfo=UTC)).total_seconds() for event in message.events
        )
    stream.cancel()
    return found


def _percentile(values: list[float], percent: int) -> float:
    assert len(values) >= 100, f"{len(values)} events are too few to tell"
    return sorted(values)[len(values) * percent // 100]
