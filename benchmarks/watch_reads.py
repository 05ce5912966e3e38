"""`reads`, the part about streams: what it costs to watch one host, to filter, to wait, and not to read."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from benchmarks.figures import Figure, Report, Unmeasured
from benchmarks.programs import Program, program, python
from benchmarks.registry import fill
from benchmarks.watch_server import HOSTS
from tendhost.v1 import event_service_pb2, operation_service_pb2
from tendhost.v1.event_service_pb2_grpc import EventServiceStub
from tendhost.v1.host_pb2 import HostFilter
from tendhost.v1.operation_service_pb2_grpc import OperationServiceStub

MANY = 100_000
STALLED_HOSTS = 1_000
STALLED = 300
WATCHERS = 100
EVENTS = 5_000
EVENTS_BEFORE = 200_000
CALLS = 20
SETTLING_SECONDS = 10.0
"""Shorter than the time after which a server lets go of a stream that nobody reads."""
PATIENCE_SECONDS = 300.0


async def measure() -> Report:
    """Streams in a large fleet, and many of them."""
    with tempfile.TemporaryDirectory(prefix="tendhost-bench-") as folder:
        one = await _one_of_many(Path(folder))
        filtered, unfiltered, wait = await _many_watchers(Path(folder))
        stalled, before = await _stalled(Path(folder))
    return Report(
        figures=(
            Figure(
                name="watch_one_of_100k_ms",
                value=one * 1000,
                unit="ms",
                baseline="CPU of all threads, from the call to the end of the snapshot",
                n=MANY,
            ),
            Figure(
                name="filtered_watchers_ratio",
                value=filtered / unfiltered,
                unit="ratio",
                baseline=f"{WATCHERS} watchers of everything: {unfiltered:.2f} s of CPU",
                n=EVENTS,
            ),
            Figure(
                name="wait_after_200k_events_ms",
                value=wait * 1000,
                unit="ms",
                baseline="CPU of all threads for one WaitOperation",
                n=EVENTS_BEFORE,
            ),
            Figure(
                name="snapshot_300_stalled_mib",
                value=stalled - before,
                unit="MiB",
                baseline=f"without them: {before:.0f} MiB",
                n=STALLED,
            ),
        ),
        notes=(),
    )


class Server:
    """A server that does what it is told."""

    def __init__(self, running: Program, channel: grpc.aio.Channel) -> None:
        self.running = running
        self.events: Any = EventServiceStub(channel)
        self.operations: Any = OperationServiceStub(channel)

    async def ask(self, command: str) -> str:
        """What it answers to a line."""
        self.running.tell(command)
        return await self.running.line(timeout=PATIENCE_SECONDS)

    async def cpu(self) -> float:
        """CPU seconds of all of its threads so far."""
        return float(await self.ask("cpu"))


@asynccontextmanager
async def _server(folder: Path, hosts: int) -> AsyncIterator[Server]:
    state_dir = folder / f"with-{hosts}"
    state_dir.mkdir()
    await fill(state_dir, hosts, inventories=False)
    async with program("server", *python("benchmarks.watch_server", str(state_dir))) as running:
        address = await running.line(timeout=PATIENCE_SECONDS)
        async with grpc.aio.insecure_channel(address) as channel:
            yield Server(running, channel)


async def _one_of_many(folder: Path) -> float:
    """CPU seconds of a snapshot watch of one host by name."""
    async with _server(folder, MANY) as server:
        await _one_host(server, 0)  # once before, so that what is made once is not measured
        before = await server.cpu()
        for number in range(CALLS):
            await _one_host(server, number * (MANY // CALLS) + 1)
        return (await server.cpu() - before) / CALLS


async def _one_host(server: Server, number: int) -> None:
    name = f"host-{number:05}"
    request = event_service_pb2.WatchEventsRequest(snapshot=True, filter=HostFilter(names=[name]))
    stream = server.events.WatchEvents(request)
    found: list[str] = []
    while (message := await stream.read()).phase != event_service_pb2.WATCH_PHASE_SNAPSHOT_END:
        found += [host.config.name for host in message.hosts]
    stream.cancel()
    if found != [name]:
        raise Unmeasured(f"a watch of {name} held {found}")


async def _many_watchers(folder: Path) -> tuple[float, float, float]:
    """CPU seconds of the same events to filtered watchers and to unfiltered ones, and of a wait."""
    async with _server(folder, HOSTS) as server:
        everything = [HostFilter() for _ in range(WATCHERS)]
        one_each = [HostFilter(names=[f"host-{number:05}"]) for number in range(WATCHERS)]
        await _told(server, everything)  # the first ones pay for what is made once
        unfiltered = await _told(server, everything)
        filtered = await _told(server, one_each)
        wait = await _waiting(server)
    return filtered, unfiltered, wait


async def _told(server: Server, filters: list[HostFilter]) -> float:
    streams = [
        server.events.WatchEvents(event_service_pb2.WatchEventsRequest(filter=chosen))
        for chosen in filters
    ]
    for stream in streams:
        await stream.read()
    before = await server.cpu()
    last = int(await server.ask(f"events {EVENTS}"))
    await asyncio.gather(*(_read_to(stream, last) for stream in streams))
    spent = await server.cpu() - before
    for stream in streams:
        stream.cancel()
    return spent


async def _read_to(stream: Any, last: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await stream.read()).revision < last:
            pass


async def _waiting(server: Server) -> float:
    operation = await server.ask("operation")
    await server.ask(f"events {EVENTS_BEFORE}")
    request = operation_service_pb2.WaitOperationRequest(
        id=operation, timeout=Duration(nanos=10_000_000)
    )
    await server.operations.WaitOperation(request)
    before = await server.cpu()
    for _ in range(CALLS):
        await server.operations.WaitOperation(request)
    return (await server.cpu() - before) / CALLS


async def _stalled(folder: Path) -> tuple[float, float]:
    """MiB of a server with many snapshot watches that nobody reads, and of the same server before."""
    async with _server(folder, STALLED_HOSTS) as server:
        request = event_service_pb2.WatchEventsRequest(snapshot=True)
        stream = server.events.WatchEvents(request)
        while (await stream.read()).phase != event_service_pb2.WATCH_PHASE_SNAPSHOT_END:
            pass
        stream.cancel()
        before = server.running.usage().resident_mib
        streams = [server.events.WatchEvents(request) for _ in range(STALLED)]
        await asyncio.sleep(SETTLING_SECONDS)
        after = server.running.usage().resident_mib
        for stream in streams:
            stream.cancel()
    return after, before
