"""`rollouts`: what it costs to plan a large one, and what a rollout adds to the updates that it consists of."""

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc

from benchmarks.cpu_parts import SSH, STORE
from benchmarks.figures import Figure, Report, Unmeasured
from benchmarks.programs import program, python, tendhostd
from benchmarks.registry import fill
from benchmarks.rollout_engine import KEY, WAVES
from tendhost.server.domain.events import Event, HostRegistered
from tendhost.server.domain.hosts.host import Host, HostConfig
from tendhost.server.main import DATABASE
from tendhost.server.store.records import Change
from tendhost.server.store.sqlite import open_store
from tendhost.v1 import rollout_pb2, rollout_service_pb2, rollout_service_pb2_grpc
from tests.simulated.fleet import RecordedFleet

PLANNED = 100_000
FEW = 1_000
PLANS = 3
ROLLED_OUT = 10_000
PATIENCE_SECONDS = 900.0
BATCH = 500


async def measure() -> Report:
    """Planning 100,000 hosts, and the share of a rollout's CPU that is not its updates'."""
    with tempfile.TemporaryDirectory(prefix="tendhost-bench-") as folder:
        many, few = Path(folder) / "many", Path(folder) / "few"
        for state_dir, count in ((many, PLANNED), (few, FEW)):
            state_dir.mkdir()
            await fill(state_dir, count, inventories=False)
        few_seconds, few_peak = await _planned(few, FEW)
        seconds, peak = await _planned(many, PLANNED)
    rolled, plain = await _overhead()
    return Report(
        figures=(
            Figure(
                name="plan_100k_s",
                value=seconds,
                unit="s",
                baseline=f"{FEW:,} hosts: {few_seconds:.2f} s",
                n=PLANNED,
            ),
            Figure(
                name="plan_100k_mib",
                value=peak,
                unit="MiB",
                baseline=f"{FEW:,} hosts: {few_peak:.0f} MiB",
                n=PLANNED,
            ),
            Figure(
                name="rollout_overhead_share",
                value=1 - rolled.shares[SSH] - rolled.shares[STORE],
                unit="share",
                baseline=f"the same updates one by one: {1 - plain.shares[SSH] - plain.shares[STORE]:.2f}",
                n=ROLLED_OUT,
            ),
        ),
        notes=(
            f"rollouts: {ROLLED_OUT:,} dry runs in waves {', '.join(WAVES)} take"
            f" {rolled.seconds / ROLLED_OUT * 1000:.2f} ms of CPU a host, one by one"
            f" {plain.seconds / ROLLED_OUT * 1000:.2f} ms",
            "rollouts: "
            + ", ".join(f"{part} {share:.0%}" for part, share in sorted(rolled.shares.items())),
        ),
    )


async def _planned(state_dir: Path, hosts: int) -> tuple[float, float]:
    """The best of some plans in seconds, and the most that was resident, in MiB."""
    async with (
        tendhostd(state_dir) as (server, address),
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub: Any = rollout_service_pb2_grpc.RolloutServiceStub(channel)
        spec = rollout_pb2.RolloutSpec(
            waves=WAVES,
            max_failures="5%",
            order=rollout_pb2.HOST_ORDER_RANDOM,
            dependencies=[rollout_pb2.RolloutDependency(before="database", after="web")],
        )
        took = []
        for _ in range(PLANS):
            began = time.perf_counter()
            request = rollout_service_pb2.PlanRolloutRequest(spec=spec, page_size=1)
            response = await stub.PlanRollout(request)
            took.append(time.perf_counter() - began)
            if response.plan.host_count != hosts:
                raise Unmeasured(f"{response.plan.host_count} of {hosts} hosts were planned")
        return min(took), server.usage().peak_mib


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """CPU seconds, and what part of them went where."""

    seconds: float
    shares: Mapping[str, float]


async def _overhead() -> tuple[Spent, Spent]:
    """What a rollout over simulated hosts takes, and what the same updates one by one."""
    with (
        tempfile.TemporaryDirectory(prefix="tendhost-bench-") as folder,
        RecordedFleet(ROLLED_OUT, packages=("tb-simple",)) as fleet,
    ):
        found = {}
        for how in ("plain", "rollout"):
            state_dir = Path(folder) / how
            state_dir.mkdir()
            (state_dir / KEY).touch(mode=0o600)
            (state_dir / KEY).write_bytes(fleet.private_key)
            await _register(state_dir, fleet)
            command = python("benchmarks.rollout_engine", how, str(state_dir))
            async with program(how, *command) as engine:
                await engine.line()
                engine.tell("go")
                said = await engine.line(timeout=PATIENCE_SECONDS)
                done, cpu, shares = json.loads(said)
            if done != ROLLED_OUT:
                raise Unmeasured(f"{how}: {done} of {ROLLED_OUT} updates succeeded")
            found[how] = Spent(seconds=cpu, shares=shares)
        return found["rollout"], found["plain"]


async def _register(state_dir: Path, fleet: RecordedFleet) -> None:
    store = await open_store(state_dir / DATABASE)
    now = datetime.now(UTC)
    try:
        for start in range(0, len(fleet.hosts), BATCH):
            hosts = [
                Host(
                    config=HostConfig(name=h.name, address=h.address, port=h.port),
                    host_key=h.host_key,
                    registered_at=now,
                )
                for h in fleet.hosts[start : start + BATCH]
            ]
            events = [Event(at=now, body=HostRegistered(), host=host.name) for host in hosts]
            await store.commit(Change(events=events, hosts=hosts))
    finally:
        await store.aclose()
