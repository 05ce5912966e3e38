"""`flood`: how long a call of one principal takes while another one sends all that it can."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from benchmarks.figures import Figure, Report, Unmeasured
from benchmarks.programs import Program, program, python
from benchmarks.registry import fill
from tendhost.v1 import access_service_pb2, host_service_pb2
from tendhost.v1.access_service_pb2_grpc import AccessServiceStub
from tendhost.v1.host_service_pb2_grpc import HostServiceStub

HOSTS = 1_000
CALLS = 1_000
PAUSE_SECONDS = 0.01
"""Between two calls that are measured: of somebody who uses the server, and does not flood it."""
PATIENCE_SECONDS = 120.0
KINDS = ("reads", "lists", "long lists", "mutations", "streams", "wrong tokens")


async def measure() -> Report:
    """The times of GetHost without a flood and with one of each kind, in one run."""
    with tempfile.TemporaryDirectory(prefix="tendhost-bench-") as name:
        folder = Path(name)
        await fill(folder, HOSTS, inventories=False)
        async with _server(folder) as (_, socket, address):
            tokens = [await _token(socket, principal) for principal in ("ops", "flooder")]
            mine, theirs = tokens
            await _times(address, mine)  # once before, so that what is made once is not measured
            idle: list[float] = []
            flooded: dict[str, list[float]] = {}
            notes = []
            for kind in KINDS:
                # In turns, so that what else the machine does is in both.
                idle += await _times(address, mine)
                async with _flood(address, kind, theirs) as sent:
                    flooded[kind] = await _times(address, mine)
                    answered, refused = await sent()
                notes.append(f"{kind}: {answered} answered, {refused} refused")
    before = _p99(idle)
    worst = max(KINDS, key=lambda kind: _p99(flooded[kind]))
    return Report(
        figures=(
            Figure(
                name="flood_p99_ratio",
                value=_p99(flooded[worst]) / before,
                unit="ratio",
                baseline=f"without a flood: p99 {before:.2f} ms; worst: {worst}",
                n=CALLS,
            ),
        ),
        notes=(
            f"flood: GetHost without one: median {statistics.median(idle):.2f} ms, p99 {before:.2f} ms",
            *(
                f"flood: {note}; GetHost of another one: median {statistics.median(times):.2f} ms,"
                f" p99 {_p99(times):.2f} ms"
                for note, times in zip(notes, flooded.values(), strict=True)
            ),
        ),
    )


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


async def _times(address: str, token: str) -> list[float]:
    """Milliseconds of each of CALLS calls, one after the other."""
    request = host_service_pb2.GetHostRequest(name="host-00007")
    times = []
    async with grpc.aio.insecure_channel(address) as channel:
        hosts: Any = HostServiceStub(channel)
        for _ in range(CALLS):
            began = time.perf_counter()
            await hosts.GetHost(request, metadata=bearer(token), timeout=PATIENCE_SECONDS)
            times.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PAUSE_SECONDS)
    return times


def bearer(token: str) -> tuple[tuple[str, str]]:
    """The metadata of a call with this token."""
    return (("authorization", f"Bearer {token}"),)


@asynccontextmanager
async def _server(folder: Path) -> AsyncIterator[tuple[Program, str, str]]:
    """The real server with its defaults, which asks for a credential; its socket and its port."""
    socket = f"unix:{folder}/run/server.sock"
    command = python(
        "tendhost.server.main",
        *("--listen", f"{socket},127.0.0.1:0", "--state-dir", str(folder)),
        *("--log-level", "warning"),
    )
    async with program("tendhostd", *command) as running:
        line = await running.line()
        yield running, socket, line.split()[-1]


async def _token(socket: str, principal: str) -> str:
    request = access_service_pb2.CreateTokenRequest(
        principal=principal, roles=[access_service_pb2.ROLE_ADMIN]
    )
    async with grpc.aio.insecure_channel(socket) as channel:
        access: Any = AccessServiceStub(channel)
        text: str = (await access.CreateToken(request)).text
    return text


@asynccontextmanager
async def _flood(address: str, kind: str, token: str) -> AsyncIterator[Any]:
    """A flood while the context lasts; gives what asks how many calls were answered and how many refused so far."""
    command = python("benchmarks.flood_client", address, kind, token)
    async with program("flood", *command) as flooding:
        if await flooding.line() != "flooding":
            raise Unmeasured("the flood did not begin")

        async def sent() -> tuple[int, int]:
            flooding.tell("count")
            answered, refused = (await flooding.line()).split()
            return int(answered), int(refused)

        yield sent
