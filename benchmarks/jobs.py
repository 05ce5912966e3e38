"""`jobs`: what it costs to follow long upgrades, and how fast a killed server takes a thousand of them up again."""

import asyncio
import base64
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc

from benchmarks.figures import Figure, Report, Unmeasured
from benchmarks.programs import Program, tendhostd
from tendhost.v1 import host_pb2, host_service_pb2, host_service_pb2_grpc
from tests.simulated.fleet import RecordedFleet
from tests.simulated.recorded import RecordedHost

HOSTS = 1000
SETTLING_SECONDS = 10.0
IDLE_SECONDS = 20.0
PATIENCE_SECONDS = 180.0


async def measure() -> Report:
    """CPU of an idle follower, and the seconds from the start of a server to its last follower."""
    with (
        tempfile.TemporaryDirectory(prefix="tendhost-bench-") as folder,
        RecordedFleet(HOSTS, packages=("tb-simple",)) as fleet,
    ):
        state = Path(folder) / "state"
        environment = {
            "TENDHOST_SSH_KEY": base64.b64encode(fleet.private_key).decode(),
            "TENDHOST_OPERATIONS_AT_ONCE": str(HOSTS),
        }
        loop = asyncio.get_running_loop()
        async with (
            tendhostd(state, environment=environment) as (server, address),
            grpc.aio.insecure_channel(address) as channel,
        ):
            stub: Any = host_service_pb2_grpc.HostServiceStub(channel)
            await _each(fleet.hosts, lambda host: _register(stub, host))
            resting = await _cpu_per_second(server)
            began = loop.time()
            await _each(fleet.hosts, lambda host: _update(stub, host))
            await _attached(fleet.hosts, times=1)
            first = loop.time() - began
            await asyncio.sleep(SETTLING_SECONDS)
            following = await _cpu_per_second(server)
            server.kill()
        began = loop.time()
        async with tendhostd(state, environment=environment):
            await _attached(fleet.hosts, times=2)
            recovered = loop.time() - began
    return Report(
        figures=(
            Figure(
                name="idle_follower_ms_per_s",
                value=(following - resting) / HOSTS * 1000,
                unit="ms/s",
                baseline=f"idle server: {resting * 1000:.1f} ms/s",
                n=HOSTS,
            ),
            Figure(
                name="recovery_s",
                value=recovered,
                unit="s",
                baseline=f"starting them: {first:.1f} s",
                n=HOSTS,
            ),
        ),
        notes=(f"jobs: {HOSTS:,} upgrades under way, on simulated hosts in one process",),
    )


async def _each(
    hosts: Sequence[RecordedHost], work: Callable[[RecordedHost], Awaitable[None]]
) -> None:
    async with asyncio.TaskGroup() as tasks:
        for host in hosts:
            tasks.create_task(_done(work, host))


async def _done(work: Callable[[RecordedHost], Awaitable[None]], host: RecordedHost) -> None:
    await work(host)


async def _register(stub: Any, host: RecordedHost) -> None:
    config = host_pb2.HostConfig(name=host.name, address=host.address, port=host.port)
    await stub.RegisterHost(
        host_service_pb2.RegisterHostRequest(config=config, expected_host_key=host.host_key)
    )


async def _update(stub: Any, host: RecordedHost) -> None:
    await stub.StartUpdate(host_service_pb2.StartUpdateRequest(name=host.name))


async def _attached(hosts: Sequence[RecordedHost], *, times: int) -> None:
    loop = asyncio.get_running_loop()
    latest = loop.time() + PATIENCE_SECONDS
    while (behind := [host.name for host in hosts if host.jobs.attached < times]) != []:
        if loop.time() > latest:
            raise Unmeasured(f"{len(behind)} upgrades were not followed, {behind[0]} among them")
        await asyncio.sleep(0.05)


async def _cpu_per_second(server: Program) -> float:
    before = server.usage().cpu_seconds
    await asyncio.sleep(IDLE_SECONDS)
    return (server.usage().cpu_seconds - before) / IDLE_SECONDS
