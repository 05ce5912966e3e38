"""Watchers by the thousand that leave, and watchers that stop reading: what they cost the server and the others.

Needs no fleet: the hosts are the machine itself, registered under long names, never worked on.
"""

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
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
HOSTS = 8
CHANGES_PER_SECOND = 400
HISTORY = 4_000
"""Events there are before anybody watches: at least 100 bytes each, so several windows full."""
HONEST = 10
GATHERED = 100
"""Events in one message that only a watcher gets who has fallen behind."""
LATEST_LEAVE_SECONDS = 0.03
"""How long after its request a watcher leaves that waits for no message."""
_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
# Else gRPC sees how fast loopback is and takes 4 MiB from a server before its reader reads anything.
_SMALL_WINDOW = (*_OWN_CONNECTION, ("grpc.http2.bdp_probe", 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of it."""

    cancelled: int
    stalled: int
    seconds: float
    """How long the honest watchers are measured; after 30 s those that stalled would be let go of."""


LONG = Size(cancelled=50_000, stalled=200, seconds=25)
SHORT = Size(cancelled=3_000, stalled=50, seconds=8)


async def measure(short: bool) -> dict[str, float]:
    """How much the server grows by all of it, and how late the others get their events meanwhile."""
    size = SHORT if short else LONG
    with tempfile.TemporaryDirectory(prefix="tendhost-streams-") as folder:
        async with daemon(Path(folder) / "state") as server:
            await _make_history(server)
            async with _changing(server):
                await _cancelled(server, WARM_UP)
                before = _resident_mib(server)
                await _cancelled(server, size.cancelled)
                left = _resident_mib(server)
                latencies, held = await _beside_stalled(server, size)
    return {
        "streams_rss_growth_mib": max(0.0, left - before, held - before),
        "stalled_watchers_p99_ms": _percentile(latencies, 99) * 1000,
    }


def _resident_mib(server: Daemon) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


# --- what happens meanwhile -----------------------------------------------------------------------


async def _make_history(server: Daemon) -> None:
    """Register the hosts, and change them until there are HISTORY events."""

    async def change_often(name: str) -> None:
        for number in range(HISTORY // HOSTS):
            await _change(server, name, number)

    for name in _names():
        await server.register(name, "local")
    async with asyncio.TaskGroup() as tasks:
        for name in _names():
            tasks.create_task(change_often(name))


@asynccontextmanager
async def _changing(server: Daemon) -> AsyncIterator[None]:
    """Have the hosts change all the time, which tells every watcher something."""

    async def change_forever(name: str) -> None:
        loop = asyncio.get_running_loop()
        number, due = 0, loop.time()
        while True:
            await _change(server, name, number)
            number, due = number + 1, due + HOSTS / CHANGES_PER_SECOND
            await asyncio.sleep(due - loop.time())

    async with asyncio.TaskGroup() as tasks:
        changing = [tasks.create_task(change_forever(name)) for name in _names()]
        yield
        for each in changing:
            each.cancel()


def _names() -> list[str]:
    """As long as they may be: they stand in every event."""
    return [f"here{number}-".ljust(63, "x") for number in range(HOSTS)]


async def _change(server: Daemon, name: str, number: int) -> None:
    config = host_pb2.HostConfig(name=name, tags=[f"t{number % 2}"])
    mask = FieldMask(paths=["tags"])
    await server.hosts.ReconfigureHost(
        host_service_pb2.ReconfigureHostRequest(name=name, config=config, update_mask=mask)
    )


# --- those who leave ------------------------------------------------------------------------------


async def _cancelled(server: Daemon, number: int) -> None:
    """Open so many watches, and leave each before, at or after its first messages."""
    left = iter(range(number))

    async def leave_one_after_another() -> None:
        for each in left:
            rng = random.Random(each)
            await _leave(_watch(server, rng), rng)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(leave_one_after_another())


def _watch(server: Daemon, rng: random.Random) -> Any:
    snapshot = rng.random() < 0.3
    request = event_service_pb2.WatchEventsRequest(snapshot=snapshot)
    if not snapshot and rng.random() < 0.5:
        request.resume_after = 0
    return server.events.WatchEvents(request)


async def _leave(stream: Any, rng: random.Random) -> None:
    messages = rng.choice((0, 1, 1, 2, 4))
    if messages == 0:
        # A call that is cancelled at once is never sent: this one is on its way, or there.
        with suppress(TimeoutError):
            async with asyncio.timeout(rng.uniform(0, LATEST_LEAVE_SECONDS)):
                await stream.wait_for_connection()
    for _ in range(messages):
        await stream.read()
    stream.cancel()


# --- those who stop reading -----------------------------------------------------------------------


async def _beside_stalled(server: Daemon, size: Size) -> tuple[list[float], float]:
    """Seconds from commit to receipt, for watchers who read, beside some who do not.

    And the server's resident MiB at the end of it, while it still has all of them.
    """
    async with AsyncExitStack() as stack:
        stalled = [await _stalled(stack, server) for _ in range(size.stalled)]
        honest = [await _stub(stack, server, _OWN_CONNECTION) for _ in range(HONEST)]
        measured = await asyncio.gather(*(_latencies(stub, size.seconds) for stub in honest))
        held = _resident_mib(server)
        for stream, opened_at in stalled:
            assert await _fell_behind(stream, opened_at), (
                "a watcher that did not read never stalled"
            )
    return [latency for latencies in measured for latency in latencies], held


async def _stalled(stack: AsyncExitStack, server: Daemon) -> tuple[Any, int]:
    """A watcher that reads one message and no more, and the revision at which it came."""
    stub = await _stub(stack, server, _SMALL_WINDOW)
    stream = stub.WatchEvents(event_service_pb2.WatchEventsRequest(resume_after=0))
    hello = await stream.read()
    stack.callback(stream.cancel)
    return stream, hello.current_revision


async def _fell_behind(stream: Any, opened_at: int) -> bool:
    """Whether the server's writes were held up: what happened since then comes in large messages."""
    now = None
    while True:
        message = await stream.read()
        if message.revision > opened_at and len(message.events) >= GATHERED:
            return True
        now = now or datetime.now(UTC)
        if any(event.at.ToDatetime(tzinfo=UTC) > now for event in message.events):
            return False


async def _stub(stack: AsyncExitStack, server: Daemon, options: tuple[tuple[str, int], ...]) -> Any:
    """Of a connection of its own: what one watcher does not read must not hold up another's."""
    channel = grpc.aio.insecure_channel(server.address, options=options)
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
