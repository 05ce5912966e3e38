"""`reads`: what reading costs in a fleet of 100,000 hosts: the longest turn of the event loop, pages, lists."""

import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc

from benchmarks.figures import Figure, Report, Unmeasured
from benchmarks.programs import Program, program, python
from benchmarks.registry import fill
from tendhost.server.domain.events import Event, HostAcknowledged
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.main import DATABASE
from tendhost.server.store.records import Change
from tendhost.server.store.sqlite import open_store
from tendhost.v1 import (
    host_pb2,
    host_service_pb2,
    host_service_pb2_grpc,
    rollout_pb2,
    rollout_service_pb2,
    rollout_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
)

MANY = 100_000
FEW = 1_000
FAILED = 60
"""So many hosts of each fleet are in FAILED: more than a page, and a different part of each."""
PAGES = 100
PATIENCE_SECONDS = 300.0


async def measure() -> Report:
    """Turns and pages in a large fleet, and lists against a small one."""
    with tempfile.TemporaryDirectory(prefix="tendhost-bench-") as folder:
        many, few = Path(folder) / "many", Path(folder) / "few"
        for state_dir, count in ((many, MANY), (few, FEW)):
            state_dir.mkdir()
            await fill(state_dir, count, inventories=False)
            await _fail_some(state_dir, count)
        async with _server(few) as small, _server(many) as large:
            of_few, of_many = await _list_by_state(small), await _list_by_state(large)
            compliance = await large.cost(_compliance)
            plan = await _plan(large)
            page = await large.cost(lambda calls: _plan_pages(calls, plan))
            notes = [await _note(large, name, ask) for name, ask in _OTHERS.items()]
    return Report(
        figures=(
            Figure(
                name="compliance_100k_turn_ms",
                value=compliance.turn_ms,
                unit="ms",
                baseline=f"all threads together: {compliance.cpu_ms:.0f} ms of CPU",
                n=MANY,
            ),
            Figure(
                name="plan_page_100k_ms",
                value=page.cpu_ms / PAGES,
                unit="ms",
                baseline=f"longest turn of the event loop: {page.turn_ms:.1f} ms",
                n=PAGES,
            ),
            Figure(
                name="list_by_state_ratio_100k",
                value=of_many / of_few,
                unit="ratio",
                baseline=f"{FEW:,} hosts: {of_few:.2f} ms of CPU a page",
                n=PAGES,
            ),
        ),
        notes=(
            f"reads: with {MANY:,} hosts the longest turn of the event loop, and the CPU time of all"
            " threads together:",
            *notes,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The services of a server."""

    hosts: Any
    rollouts: Any
    system: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a call cost its server, in milliseconds of CPU time."""

    turn_ms: float
    """Of the longest turn of the event loop."""
    cpu_ms: float
    """Of all threads together."""
    what: str


class Server:
    """A server that measures itself."""

    def __init__(self, running: Program, calls: Calls) -> None:
        self._running = running
        self.calls = calls

    async def cost(self, ask: Callable[[Calls], Awaitable[object]]) -> Cost:
        """What it costs to answer `ask`."""
        await ask(self.calls)  # once before, so that what is made once is not measured
        self._running.tell("begin")
        await self._running.line()
        await ask(self.calls)
        self._running.tell("end")
        return Cost(**json.loads(await self._running.line()))


@asynccontextmanager
async def _server(state_dir: Path) -> AsyncIterator[Server]:
    async with program("server", *python("benchmarks.turns_server", str(state_dir))) as running:
        address = await running.line(timeout=PATIENCE_SECONDS)
        async with grpc.aio.insecure_channel(address) as channel:
            calls = Calls(
                hosts=host_service_pb2_grpc.HostServiceStub(channel),
                rollouts=rollout_service_pb2_grpc.RolloutServiceStub(channel),
                system=system_service_pb2_grpc.SystemServiceStub(channel),
            )
            yield Server(running, calls)


async def _fail_some(state_dir: Path, count: int) -> None:
    """Put some hosts that lie far apart into FAILED."""
    store = await open_store(state_dir / DATABASE)
    try:
        for number in range(0, count, count // FAILED):
            page = await store.hosts(HostFilter(names=(f"host-{number:05}",)), limit=1)
            (host,) = page.items
            failed = replace(host, status=replace(host.status, state=HostState.FAILED))
            event = Event(at=datetime.now(UTC), body=HostAcknowledged(by="bench"), host=host.name)
            await store.commit(Change(events=(event,), hosts=(failed,)))
    finally:
        await store.aclose()


async def _list_by_state(server: Server) -> float:
    """Milliseconds of CPU for a page of the hosts in one state."""
    asked = host_service_pb2.ListHostsRequest(
        filter=host_pb2.HostFilter(states=[host_pb2.HOST_STATE_FAILED]), page_size=50
    )

    async def ask(calls: Calls) -> None:
        for _ in range(PAGES):
            response = await calls.hosts.ListHosts(asked)
            if len(response.hosts) != 50:
                raise Unmeasured(f"{len(response.hosts)} of 50 failed hosts were listed")

    return (await server.cost(ask)).cpu_ms / PAGES


async def _compliance(calls: Calls) -> None:
    response = await calls.hosts.GetCompliance(host_service_pb2.GetComplianceRequest())
    if response.host_count != MANY:
        raise Unmeasured(f"{response.host_count} of {MANY} hosts were counted")


def _spec() -> rollout_pb2.RolloutSpec:
    return rollout_pb2.RolloutSpec(waves=["1", "5", "20%", "rest"], max_failures="5%")


async def _plan(server: Server) -> str:
    request = rollout_service_pb2.PlanRolloutRequest(spec=_spec(), page_size=1)
    response = await server.calls.rollouts.PlanRollout(request)
    plan_id: str = response.plan.id
    return plan_id


async def _plan_pages(calls: Calls, plan: str) -> None:
    following, size = "", MANY // PAGES
    for _ in range(PAGES):
        request = rollout_service_pb2.PlanRolloutRequest(
            plan_id=plan, page_size=50, page_token=following
        )
        response = await calls.rollouts.PlanRollout(request)
        if len(response.hosts) != 50:
            raise Unmeasured(f"a page of 50 hosts of {size} had {len(response.hosts)}")
        following = response.next_page_token


async def _start(calls: Calls) -> None:
    request = rollout_service_pb2.StartRolloutRequest(spec=_spec())
    response = await calls.rollouts.StartRollout(request, timeout=PATIENCE_SECONDS)
    cancel = rollout_service_pb2.CancelRolloutRequest(id=response.rollout.id)
    await calls.rollouts.CancelRollout(cancel)


_OTHERS: dict[str, Callable[[Calls], Awaitable[object]]] = {
    "GetServerInfo": lambda calls: calls.system.GetServerInfo(
        system_service_pb2.GetServerInfoRequest()
    ),
    "ListTags": lambda calls: calls.hosts.ListTags(host_service_pb2.ListTagsRequest()),
    "ListPendingUpdates": lambda calls: calls.hosts.ListPendingUpdates(
        host_service_pb2.ListPendingUpdatesRequest()
    ),
    "PlanRollout": lambda calls: calls.rollouts.PlanRollout(
        rollout_service_pb2.PlanRolloutRequest(spec=_spec(), page_size=1)
    ),
    "StartRollout, CancelRollout": _start,
}


async def _note(server: Server, name: str, ask: Callable[[Calls], Awaitable[object]]) -> str:
    cost = await server.cost(ask)
    return f"reads: {name}: {cost.turn_ms:.1f} ms, {cost.cpu_ms:.0f} ms ({cost.what})"
