"""`scale`: what 10,000 registered hosts cost, against servers with 100 hosts and with none."""

import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import Any

import grpc

from benchmarks.figures import Figure, Report, Unmeasured
from benchmarks.programs import Usage, tendhostd
from benchmarks.registry import fill
from tendhost.v1 import host_service_pb2, host_service_pb2_grpc

MANY = 10_000
FEW = 100
PAGE = 50
CALLS = 600
STARTS = 5


async def measure() -> Report:
    """Pages, memory and start-up."""
    with tempfile.TemporaryDirectory(prefix="tendhost-bench-") as folder:
        empty, few, many = (Path(folder) / name for name in ("empty", "few", "many"))
        for state_dir in (empty, few, many):
            state_dir.mkdir()
        await fill(few, FEW)
        await fill(many, MANY)
        longer, empty_start = await _start_up(empty, many)
        ratio, page_seconds, usage, few_usage = await _pages(few, many)
    return Report(
        figures=(
            Figure(
                name="list_page_ratio_10k",
                value=ratio,
                unit="ratio",
                baseline=f"{FEW} hosts",
                n=CALLS,
            ),
            Figure(
                name="rss_10k_mib",
                value=usage.resident_mib,
                unit="MiB",
                baseline=f"{FEW} hosts: {few_usage.resident_mib:.0f} MiB",
                n=MANY,
            ),
            Figure(
                name="startup_10k_s",
                value=longer,
                unit="s",
                baseline=f"beyond the {empty_start:.2f} s of an empty database",
                n=STARTS,
            ),
        ),
        notes=(
            f"scale: a page of {PAGE} of {MANY:,} hosts takes {page_seconds * 1000:.2f} ms;"
            f" at most {usage.peak_mib:.0f} MiB were resident",
        ),
    )


async def _start_up(empty: Path, many: Path) -> tuple[float, float]:
    """How much longer a start takes with many hosts, and how long one takes with none."""
    without, with_many = [], []
    for _ in range(STARTS):
        without.append(await _start(empty))
        with_many.append(await _start(many))
    shortest = statistics.median(without)
    return statistics.median(with_many) - shortest, shortest


async def _start(state_dir: Path) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with tendhostd(state_dir):
        return loop.time() - began


async def _pages(few: Path, many: Path) -> tuple[float, float, Usage, Usage]:
    """The median page's cost with many hosts, divided by that with few and in seconds, and both usages."""
    async with (
        tendhostd(few) as (few_server, few_address),
        tendhostd(many) as (server, address),
        grpc.aio.insecure_channel(few_address) as few_channel,
        grpc.aio.insecure_channel(address) as channel,
    ):
        small, large = Reader(few_channel), Reader(channel)
        few_seconds, seconds = [], []
        for _ in range(CALLS):
            few_seconds.append(await small.page())
            seconds.append(await large.page())
        if not (small.laps and large.laps):
            raise Unmeasured("not every page was read")
        page = statistics.median(seconds)
        return page / statistics.median(few_seconds), page, server.usage(), few_server.usage()


class Reader:
    """Reads the list of hosts page by page, from the beginning again when it is at its end."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._hosts: Any = host_service_pb2_grpc.HostServiceStub(channel)
        self._token = ""
        self.laps = 0

    async def page(self) -> float:
        """Read the next page; how many seconds that took."""
        loop = asyncio.get_running_loop()
        request = host_service_pb2.ListHostsRequest(page_size=PAGE, page_token=self._token)
        began = loop.time()
        response = await self._hosts.ListHosts(request)
        seconds = loop.time() - began
        if len(response.hosts) != PAGE:
            raise Unmeasured(f"a page of {PAGE} hosts had {len(response.hosts)}")
        self._token = response.next_page_token
        self.laps += not self._token
        return seconds
