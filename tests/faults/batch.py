"""One batch: an update of each of four hosts, side by side, with a fault in the middle of them."""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tendhost.v1 import host_service_pb2, operation_pb2, operation_service_pb2
from tests.e2e.daemon import ENDED
from tests.faults import hosts
from tests.faults.ground import Ground
from tests.faults.judging import Expected, Finding, Kind, Told, describe, judge
from tests.faults.server import retried
from tests.fleet import Host

BOUND_SECONDS = 120.0
"""Within which an operation comes to its end, from the last fault on."""

Trouble = Callable[["Updates"], Awaitable[None]]
"""Makes what faults a scenario is about; returns after the last of them, with the server running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One update of one host."""

    host: Host
    rebooting: bool
    """Whether what it gets asks for a reboot."""
    slow_seconds: int
    downs: int = 0
    """See Expected."""

    @property
    def expected(self) -> Expected:
        """What must have come of it."""
        return Expected(
            packages=hosts.packages(rebooting=self.rebooting),
            downs=self.downs,
            boots=self.rebooting + self.downs,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one run."""

    run: Run
    findings: Sequence[Finding]


class Updates:
    """The updates of a batch while they are under way."""

    def __init__(self, ground: Ground, runs: Sequence[Run], rng: random.Random) -> None:
        self.ground = ground
        self.runs = runs
        self.rng = rng
        self.started = [asyncio.Event() for _ in runs]
        self.request_ids = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in runs]
        self.operations: list[operation_pb2.Operation | None] = [None] * len(runs)
        self.ending = asyncio.gather(*(self._update(number) for number in range(len(runs))))
        """Done once all of them have ended."""

    async def _update(self, number: int) -> None:
        daemon = self.ground.daemon
        name = self.runs[number].host.name
        request = host_service_pb2.StartUpdateRequest(
            name=name, request_id=self.request_ids[number]
        )
        # Nobody can tell whether a server that was killed had begun it, and nobody has to.
        begun = (await retried(lambda: daemon.hosts.StartUpdate(request))).operation
        self.operations[number] = begun
        self.started[number].set()
        self.operations[number] = await retried(lambda: daemon.ended(begun.id))


async def carry_out(
    ground: Ground, runs: Sequence[Run], trouble: Trouble, rng: random.Random
) -> list[Outcome]:
    """Update the hosts, make the trouble, and judge what came of it."""
    await asyncio.gather(
        *(
            asyncio.to_thread(
                hosts.put_back,
                run.host,
                rebooting=run.rebooting,
                slow_seconds=run.slow_seconds,
            )
            for run in runs
        )
    )
    boots = [run.host.boot_count for run in runs]
    updates = Updates(ground, runs, rng)
    try:
        await trouble(updates)
        await asyncio.wait({updates.ending}, timeout=BOUND_SECONDS)
        if updates.ending.done():
            await updates.ending
    finally:
        updates.ending.cancel()
        await asyncio.gather(updates.ending, return_exceptions=True)
    return [
        Outcome(run=run, findings=await _judged(ground, run, operation, before))
        for run, operation, before in zip(runs, updates.operations, boots, strict=True)
    ]


async def _judged(
    ground: Ground, run: Run, operation: operation_pb2.Operation | None, boots_before: int
) -> Sequence[Finding]:
    if operation is None:
        return (Finding(kind=Kind.WITHOUT_END, words="the update was never begun"),)
    daemon = ground.daemon
    if operation.status not in ENDED:
        request = operation_service_pb2.GetOperationRequest(id=operation.id)
        present = (await retried(lambda: daemon.operations.GetOperation(request))).operation
        return (Finding(kind=Kind.WITHOUT_END, words=describe(present)),)
    told = Told(
        operation=operation,
        host=await daemon.host(run.host.name),
        inventory=await daemon.inventory(run.host.name),
        log=await daemon.log_of(operation.id),
    )
    seen = await asyncio.to_thread(hosts.truth, run.host)
    return tuple(judge(run.expected, told, seen, boots_before))
