"""`replicas`: what servers on one PostgreSQL cost at rest and at work, and what large fleets and long logs cost."""

import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc

from benchmarks.endpoints import Endpoint, endpoints
from benchmarks.figures import Figure, Report, Unmeasured
from benchmarks.postgres import postgres
from benchmarks.programs import Program, program, python, tendhostd
from benchmarks.registry import fill, fill_store
from benchmarks.sweep import key_of, query, register
from tests.cluster.single import Server

HOSTS = 200
REPLICAS = (1, 2, 4)
ROUNDS = 5
REST_SECONDS = 20.0
SETTLING_SECONDS = 3.0
AT_REST = 100_000
ROLLED_OUT, FEW_ROLLED_OUT = 100_000, 1_000
EVENTS, FEW_EVENTS = 10_000_000, 10_000
PAGE = 100
PAGES = 2_000
PATIENCE_SECONDS = 3_600.0


async def measure() -> Report:
    """Replicas at rest and at work, 100,000 hosts at rest and in a rollout, and a log of 10,000,000 events."""
    with postgres() as server, tempfile.TemporaryDirectory(prefix="tendhost-bench-") as folder:
        idle, idle_many = await _at_rest(server, Path(folder))
        costs = await _at_work(server, Path(folder))
        few, many = await _rollouts(Path(folder))
        few_page, many_page = await _pages(server)
    return Report(
        figures=(
            Figure(
                name="idle_replica_ms_per_s",
                value=idle,
                unit="ms/s",
                baseline="one of two replicas without hosts",
                n=1,
            ),
            Figure(
                name="idle_100k_ms_per_s",
                value=idle_many,
                unit="ms/s",
                baseline=f"without hosts: {idle:.1f} ms/s",
                n=AT_REST,
            ),
            Figure(
                name="replicas_scaling",
                value=max(costs[count] for count in REPLICAS[1:]) / costs[1],
                unit="ratio",
                baseline=f"CPU a host of one replica: {costs[1] / HOSTS * 1000:.1f} ms",
                n=HOSTS,
            ),
            Figure(
                name="rollout_100k_mib",
                value=many[1],
                unit="MiB",
                baseline=f"{FEW_ROLLED_OUT:,} hosts: {few[1]:.0f} MiB",
                n=ROLLED_OUT,
            ),
            Figure(
                name="rollout_100k_cpu_ms_per_host",
                value=many[0],
                unit="ms",
                baseline=f"{FEW_ROLLED_OUT:,} hosts: {few[0]:.2f} ms",
                n=ROLLED_OUT,
            ),
            Figure(
                name="events_10m_page_ratio",
                value=many_page / few_page,
                unit="ratio",
                baseline=f"{FEW_EVENTS:,} events: {few_page * 1e6:.0f} us a page of {PAGE}",
                n=EVENTS,
            ),
        ),
        notes=(
            "replicas: CPU of all servers a host, queried by "
            + ", ".join(f"{count}: {costs[count] / HOSTS * 1000:.1f} ms" for count in REPLICAS),
            "replicas: the rollouts are dry runs on SQLite, with an executor in the process in place of hosts",
        ),
    )


async def _at_rest(server: Server, folder: Path) -> tuple[float, float]:
    """Milliseconds of CPU a second of a server without hosts beside another one, and of one with many."""
    # Here alone, for it needs the packages of the extra.
    from tendhost.server.store.postgres.store import open_postgres

    empty, full = (server.address(name) for name in server.create(2))
    async with _replicas(empty, folder / "empty", 2) as (replicas, _):
        idle = await _resting(replicas[0])
    store = await open_postgres(full)
    await fill_store(store, AT_REST, inventories=False)
    await store.aclose()
    async with _replicas(full, folder / "full", 1) as (replicas, _):
        return idle, await _resting(replicas[0])


async def _resting(replica: Program) -> float:
    await asyncio.sleep(SETTLING_SECONDS)
    before, began = replica.usage().cpu_seconds, time.perf_counter()
    await asyncio.sleep(REST_SECONDS)
    spent = replica.usage().cpu_seconds - before
    return spent / (time.perf_counter() - began) * 1000


@asynccontextmanager
async def _replicas(
    database: str, folder: Path, count: int, environment: dict[str, str] | None = None
) -> AsyncIterator[tuple[Sequence[Program], Sequence[str]]]:
    """Servers on one database, and their addresses."""
    async with AsyncExitStack() as stack:
        started = [
            await stack.enter_async_context(
                tendhostd(folder / str(number), "--store", database, environment=environment)
            )
            for number in range(count)
        ]
        yield [replica for replica, _ in started], [address for _, address in started]


async def _at_work(server: Server, folder: Path) -> dict[int, float]:
    """CPU seconds of all servers for a query of every host, by their number: the median round."""
    found = {}
    (folder / "hosts").mkdir()
    async with endpoints(HOSTS, folder / "hosts") as fleet:
        for count in REPLICAS:
            (name,) = server.create()
            place = folder / f"work{count}"
            async with (
                _replicas(server.address(name), place, count, key_of(fleet)) as (
                    replicas,
                    addresses,
                ),
                AsyncExitStack() as stack,
            ):
                channels = [
                    await stack.enter_async_context(grpc.aio.insecure_channel(address))
                    for address in addresses
                ]
                await register(fleet.hosts, channels[0])
                await query(fleet.hosts, channels)  # the first round warms up
                found[count] = statistics.median(
                    [await _round(fleet.hosts, replicas, channels) for _ in range(ROUNDS)]
                )
    return found


async def _round(
    hosts: Sequence[Endpoint], replicas: Sequence[Program], channels: Sequence[grpc.aio.Channel]
) -> float:
    before = sum(replica.usage().cpu_seconds for replica in replicas)
    await query(hosts, channels)
    return sum(replica.usage().cpu_seconds for replica in replicas) - before


async def _rollouts(folder: Path) -> tuple[tuple[float, float], tuple[float, float]]:
    """CPU milliseconds a host and the highest resident size, of a rollout over few hosts and over many."""
    found = []
    for count in (FEW_ROLLED_OUT, ROLLED_OUT):
        place = folder / f"rollout{count}"
        place.mkdir()
        await fill(place, count, inventories=False)
        command = python("benchmarks.replica_rollout", str(place))
        async with program("the rollout", *command) as rolling:
            done, cost, peak = json.loads(await rolling.line(timeout=PATIENCE_SECONDS))
        if done != count:
            raise Unmeasured(f"{done} of {count} hosts were rolled out")
        found.append((cost, peak))
    return found[0], found[1]


async def _pages(server: Server) -> tuple[float, float]:
    """Seconds of a page of the event log at random places, of a short log and of a long one: medians."""
    from tendhost.server.store.postgres.store import open_postgres

    names = server.create(2)
    stores = []
    for name, count in zip(names, (FEW_EVENTS, EVENTS), strict=True):
        await (await open_postgres(server.address(name))).aclose()
        server.sql(
            "INSERT INTO events (revision, at, kind, host, operation, rollout, body) SELECT n, n, 'host_connected',"
            f" 'host-' || n % 1000, '', '', '{{}}' FROM generate_series(1, {count}) AS n",
            f"UPDATE counter SET revision = {count}",
            "VACUUM ANALYZE events",
            database=name,
        )
        stores.append((await open_postgres(server.address(name)), count))
    seconds: list[list[float]] = [[], []]
    chance = random.Random(1)  # places, no secrets
    try:
        for _ in range(PAGES):
            for (store, count), taken in zip(stores, seconds, strict=True):
                after = chance.randrange(count - PAGE)
                began = time.perf_counter()
                page = await store.events(after=after, limit=PAGE)
                taken.append(time.perf_counter() - began)
                if len(page) != PAGE:
                    raise Unmeasured(f"a page of {PAGE} events had {len(page)}")
    finally:
        for store, _ in stores:
            await store.aclose()
    return statistics.median(seconds[0]), statistics.median(seconds[1])
