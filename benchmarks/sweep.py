"""`sweep`: a query of 200 hosts by the real server, against bare asyncssh that asks the same of the same hosts."""

import asyncio
import base64
import json
import statistics
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc

from benchmarks.endpoints import Endpoint, Endpoints, endpoints
from benchmarks.figures import Figure, Report, Unmeasured
from benchmarks.programs import Program, program, python, tendhostd
from tendhost.server.packages.query import query_script
from tendhost.v1 import (
    event_service_pb2,
    event_service_pb2_grpc,
    host_pb2,
    host_service_pb2,
    host_service_pb2_grpc,
    operation_pb2,
)

HOSTS = 200
ROUNDS = 5
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
            tendhostd(Path(folder) / "state", environment=_key(fleet)) as (server, address),
            grpc.aio.insecure_channel(address) as channel,
        ):
            await _register(fleet.hosts, channel)
            ours, theirs = [], []
            for _ in range(ROUNDS):
                theirs.append(await _baseline_round(bare))
                ours.append(await _server_round(fleet.hosts, server, channel))
            return _report(fleet, ours, theirs, server, bare)


def _report(
    fleet: Endpoints, ours: list[float], theirs: list[float], server: Program, bare: Program
) -> Report:
    ratio = statistics.median(o / t for o, t in zip(ours, theirs, strict=True))
    named = f"asyncssh {version('asyncssh')}"
    peak, bare_peak = server.usage().peak_mib, bare.usage().peak_mib
    mine, bare_cost = statistics.median(ours) / HOSTS, statistics.median(theirs) / HOSTS
    return Report(
        figures=(
            Figure(name="sweep_cpu_ratio", value=ratio, unit="ratio", baseline=named, n=HOSTS),
            Figure(
                name="sweep_rss_mib",
                value=peak,
                unit="MiB",
                baseline=f"{named}: {bare_peak:.0f} MiB",
                n=HOSTS,
            ),
        ),
        notes=(
            f"sweep: {mine * 1000:.1f} ms of CPU a host, {named} alone {bare_cost * 1000:.1f} ms"
            f" ({HOSTS} hosts behind {fleet.kind}, {ROUNDS} rounds, medians)",
        ),
    )


def _key(fleet: Endpoints) -> dict[str, str]:
    return {"TENDHOST_SSH_KEY": base64.b64encode(fleet.private_key.read_bytes()).decode()}


@asynccontextmanager
async def _baseline(fleet: Endpoints, folder: Path) -> AsyncIterator[Program]:
    description = {
        "private_key": str(fleet.private_key),
        "at_once": AT_ONCE,
        "script": query_script(refresh=True, lock_timeout=timedelta(minutes=5)),
        "hosts": [
            {
                "name": host.name,
                "address": host.address,
                "port": host.port,
                "user": host.user,
                "host_key": host.host_key,
            }
            for host in fleet.hosts
        ],
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
    async with asyncio.timeout(ROUND_SECONDS):
        await _query_all(fleet, channel)
    await asyncio.sleep(SETTLING_SECONDS)
    idle = (before - resting) / IDLE_SECONDS * (loop.time() - began)
    return server.usage().cpu_seconds - before - idle


async def _query_all(fleet: Sequence[Endpoint], channel: grpc.aio.Channel) -> None:
    hosts: Any = host_service_pb2_grpc.HostServiceStub(channel)
    events: Any = event_service_pb2_grpc.EventServiceStub(channel)
    stream = events.WatchEvents(event_service_pb2.WatchEventsRequest())
    await stream.read()  # from here on nothing is missed
    calls = (
        hosts.QueryInventory(host_service_pb2.QueryInventoryRequest(name=host.name))
        for host in fleet
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


async def _register(fleet: Sequence[Endpoint], channel: grpc.aio.Channel) -> None:
    hosts: Any = host_service_pb2_grpc.HostServiceStub(channel)
    for host in fleet:
        config = host_pb2.HostConfig(
            name=host.name, addr=host.address, port=host.port, user=host.user
        )
        await hosts.RegisterHost(
            host_service_pb2.RegisterHostRequest(config=config, expected_host_key=host.host_key)
        )
