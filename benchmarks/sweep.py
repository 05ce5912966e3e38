"""`sweep`: a query of 200 hosts by the real server, against bare asyncssh that asks the same of the same hosts."""

import asyncio
import base64
import json
import statistics
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc

from benchmarks.endpoints import Endpoint, Endpoints, endpoints
from benchmarks.figures import Figure, Report, Unmeasured
from benchmarks.programs import Program, program, python, tendhostd
from tendhost.server.packages.query import EVERYTHING, QueryOptions, query_script
from tendhost.v1 import (
    event_service_pb2,
    event_service_pb2_grpc,
    host_pb2,
    host_service_pb2,
    host_service_pb2_grpc,
    operation_pb2,
)

HOSTS = 200
ROUNDS = 7
FEWEST_ROUNDS = 3
BUDGET_SECONDS = 45.0
"""On a slow or busy machine no further round begins after so long, once there are FEWEST_ROUNDS."""
AT_ONCE = 64
"""What tendhostd drives side by side by default; the baseline does the same."""
ROUND_SECONDS = 60.0
SETTLING_SECONDS = 0.3
IDLE_SECONDS = 1.0
_ENDED = {
    operation_pb2.OPERATION_STATUS_SUCCEEDED,
    operation_pb2.OPERATION_STATUS_FAILED,
    operation_pb2.OPERATION_STATUS_CANCELLED,
}


async def measure() -> Report:
    """CPU per host and peak memory of the server, each over rounds that alternate with the baseline's."""
    with tempfile.TemporaryDirectory(prefix="tendhost-bench-") as folder:
        async with (
            endpoints(HOSTS, Path(folder)) as fleet,
            _baseline(fleet, Path(folder)) as bare,
            tendhostd(Path(folder) / "state", environment=key_of(fleet)) as (server, address),
            grpc.aio.insecure_channel(address) as channel,
        ):
            await register(fleet.hosts, channel)
            ours, theirs = await _rounds(fleet.hosts, server, bare, channel)
            await _require_inventory(fleet.hosts[-1], channel)
            return _report(fleet, ours, theirs, server.usage().peak_mib, bare.usage().peak_mib)


async def _rounds(
    fleet: Sequence[Endpoint], server: Program, bare: Program, channel: grpc.aio.Channel
) -> tuple[Sequence[float], Sequence[float]]:
    """The CPU seconds of the server and of the baseline, round by round."""
    await _baseline_round(bare)  # the first of each warms up
    await _server_round(fleet, server, channel)
    ours: list[float] = []
    theirs: list[float] = []
    loop = asyncio.get_running_loop()
    latest = loop.time() + BUDGET_SECONDS
    while len(ours) < FEWEST_ROUNDS or (len(ours) < ROUNDS and loop.time() < latest):
        theirs.append(await _baseline_round(bare))
        ours.append(await _server_round(fleet, server, channel))
    return ours, theirs


def _report(
    fleet: Endpoints,
    ours: Sequence[float],
    theirs: Sequence[float],
    peak: float,
    bare_peak: float,
) -> Report:
    asyncssh = f"asyncssh {version('asyncssh')}"
    ratio = statistics.median(o / t for o, t in zip(ours, theirs, strict=True))
    mine, bare = (statistics.median(costs) / HOSTS * 1000 for costs in (ours, theirs))
    return Report(
        figures=(
            _figure("sweep_cpu_ratio", ratio, "ratio", asyncssh),
            _figure("sweep_rss_mib", peak, "MiB", f"{asyncssh}: {bare_peak:.0f} MiB"),
        ),
        notes=(
            f"sweep: {mine:.1f} ms of CPU a host, {asyncssh} alone {bare:.1f} ms"
            f" ({HOSTS} hosts, {fleet.kind}; medians of {len(ours)} rounds)",
        ),
    )


LOOK = QueryOptions(parts=EVERYTHING, refresh=True, lock_timeout=timedelta(minutes=5), osquery=True)
"""What the server asks in a query."""


def _figure(name: str, value: float, unit: str, baseline: str) -> Figure:
    return Figure(name=name, value=value, unit=unit, baseline=baseline, n=HOSTS)


def key_of(fleet: Endpoints) -> dict[str, str]:
    """The environment of a server that logs in on the hosts."""
    return {"TENDHOST_SSH_KEY": base64.b64encode(fleet.private_key.read_bytes()).decode()}


@asynccontextmanager
async def _baseline(fleet: Endpoints, folder: Path) -> AsyncIterator[Program]:
    description = {
        "private_key": str(fleet.private_key),
        "at_once": AT_ONCE,
        "script": query_script(LOOK),
        "hosts": [asdict(host) for host in fleet.hosts],
    }
    path = folder / "baseline.json"
    path.write_text(json.dumps(description))
    async with program("the baseline", *python("benchmarks.sweep_baseline", str(path))) as bare:
        await bare.line()
        yield bare


async def _baseline_round(bare: Program) -> float:
    before = bare.usage().cpu_seconds
    bare.tell("ask")
    await bare.line(timeout=ROUND_SECONDS)
    await asyncio.sleep(SETTLING_SECONDS)
    return bare.usage().cpu_seconds - before


async def _server_round(
    fleet: Sequence[Endpoint], server: Program, channel: grpc.aio.Channel
) -> float:
    """CPU seconds that a query of every host costs the whole server, less what it costs to be idle."""
    loop = asyncio.get_running_loop()
    resting = server.usage().cpu_seconds
    await asyncio.sleep(IDLE_SECONDS)
    before, began = server.usage().cpu_seconds, loop.time()
    try:
        async with asyncio.timeout(ROUND_SECONDS):
            await query(fleet, (channel,))
    except TimeoutError:
        raise Unmeasured(f"the queries did not end within {ROUND_SECONDS:g} s") from None
    await asyncio.sleep(SETTLING_SECONDS)
    idle = (before - resting) / IDLE_SECONDS * (loop.time() - began)
    return server.usage().cpu_seconds - before - idle


async def query(fleet: Sequence[Endpoint], channels: Sequence[grpc.aio.Channel]) -> None:
    """Query every host, and return when all queries have ended; of several servers each is asked in turn."""
    stubs: Any = [host_service_pb2_grpc.HostServiceStub(channel) for channel in channels]
    events: Any = event_service_pb2_grpc.EventServiceStub(channels[0])
    stream = events.WatchEvents(event_service_pb2.WatchEventsRequest())
    await stream.read()  # from here on nothing is missed
    calls = (
        stubs[number % len(stubs)].StartQuery(host_service_pb2.StartQueryRequest(name=host.name))
        for number, host in enumerate(fleet)
    )
    started = asyncio.gather(*calls)
    left = len(fleet)
    while left:
        for event in (await stream.read()).events:
            if event.operation_changed.status not in _ENDED:
                continue
            if event.operation_changed.status != operation_pb2.OPERATION_STATUS_SUCCEEDED:
                raise Unmeasured(f"{event.host}: {event.operation_changed.message}")
            left -= 1
    await started
    stream.cancel()


async def _require_inventory(host: Endpoint, channel: grpc.aio.Channel) -> None:
    """Raise Unmeasured unless the answers were understood and stored."""
    hosts: Any = host_service_pb2_grpc.HostServiceStub(channel)
    response = await hosts.GetInventory(host_service_pb2.GetInventoryRequest(name=host.name))
    if not response.inventory.packages:
        raise Unmeasured(f"no package of {host.name} is known after its queries")


async def register(fleet: Sequence[Endpoint], channel: grpc.aio.Channel) -> None:
    """Register every host."""
    hosts: Any = host_service_pb2_grpc.HostServiceStub(channel)
    for host in fleet:
        config = host_pb2.HostConfig(
            name=host.name, address=host.address, port=host.port, user=host.user
        )
        await hosts.RegisterHost(
            host_service_pb2.RegisterHostRequest(
                config=config, expected_host_key=host.host_key, allow_duplicate=True
            )
        )
