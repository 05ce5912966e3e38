"""One batch: an update of each of four hosts, side by side, with a fault in the middle of them."""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tendhost.v1 import host_pb2, host_service_pb2, operation_pb2, operation_service_pb2
from tests.e2e.daemon import ENDED
from tests.faults import hosts
from tests.faults.ground import Ground
from tests.faults.judging import SUCCEEDED, Expected, Finding, Kind, Told, describe, judge
from tests.faults.server import retried
from tests.fleet import Host

BOUND_SECONDS = 120.0
"""Within which an operation comes to its end, from the last fault on."""

ANSWER_SECONDS = 30.0
"""For a server that is up to say what is asked."""
UPDATE_SECONDS = 5.0
"""In which the updates of a batch are done where nothing disturbs them, more or less."""

Trouble = Callable[["Updates"], Awaitable[None]]
"""Makes what faults a scenario is about; returns after the last of them, with the server running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One update of one host."""

    host: Host
    slow_seconds: int
    rebooting: bool = False
    """Whether what it gets asks for a reboot."""
    downs: int = 0
    """See Expected, as for the others."""
    status: operation_pb2.OperationStatus.ValueType = SUCCEEDED
    reason: str = ""
    former: operation_pb2.Operation | None = None
    state: host_pb2.HostState.ValueType | None = None

    @property
    def expected(self) -> Expected:
        """What must have come of it."""
        return Expected(
            packages=hosts.packages(rebooting=self.rebooting),
            status=self.status,
            reason=self.reason,
            former=self.former,
            state=self.state,
            downs=self.downs,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one run."""

    run: Run
    operation: operation_pb2.Operation | None
    """As far as it is known."""
    findings: Sequence[Finding]


@dataclass(slots=True, kw_only=True)
class Account:
    """What a batch did, for whoever wants to do it again."""

    did: list[str] = field(default_factory=list)
    struck: int = 0
    """How many operations were under way when a fault came, summed over the faults."""

    def strike(self, updates: "Updates", number: int | None = None) -> None:
        """Note that a fault comes now, over all updates of the batch or one of them."""
        if number is None:
            self.struck += sum(map(updates.is_under_way, range(len(updates.runs))))
        else:
            self.struck += updates.is_under_way(number)


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

    def is_under_way(self, number: int) -> bool:
        """Whether one of them is not known to have ended."""
        known = self.operations[number]
        return known is None or known.status not in ENDED

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
        Outcome(
            run=run,
            operation=operation,
            findings=await judged(ground, run, operation, before),
        )
        for run, operation, before in zip(runs, updates.operations, boots, strict=True)
    ]


async def judged(
    ground: Ground, run: Run, operation: operation_pb2.Operation | None, boots_before: int
) -> Sequence[Finding]:
    """What is wrong with a run, by what server and host say of it."""
    if operation is None:
        return (Finding(kind=Kind.WITHOUT_END, words="the update was never begun"),)
    daemon = ground.daemon
    if operation.status not in ENDED:
        request = operation_service_pb2.GetOperationRequest(id=operation.id)
        async with asyncio.timeout(ANSWER_SECONDS):
            present = (await retried(lambda: daemon.operations.GetOperation(request))).operation
        return (Finding(kind=Kind.WITHOUT_END, words=describe(present)),)
    async with asyncio.timeout(ANSWER_SECONDS):
        told = Told(
            operation=operation,
            host=await daemon.host(run.host.name),
            inventory=await daemon.inventory(run.host.name),
            log=await daemon.log_of(operation.id),
        )
    seen = await asyncio.to_thread(hosts.truth, run.host)
    return tuple(judge(run.expected, told, seen, boots_before))
