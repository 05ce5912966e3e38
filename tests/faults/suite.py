"""Carries out batches of scenarios, says at once what is wrong with a run, and counts."""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import grpc

from tests.faults.batch import Account
from tests.faults.ground import AT_ONCE, Ground, ground
from tests.faults.judging import Finding, Kind
from tests.faults.scenarios import Scenario
from tests.faults.server import ServerEndedBadly
from tests.fleet import FleetError

BREAKING_OFF = (grpc.aio.AioRpcError, ServerEndedBadly, FleetError, TimeoutError)
FRESH_GROUND_AFTER = {Kind.WITHOUT_END, Kind.HOST_STUCK, Kind.BROKEN_BATCH}
"""What leaves a host in a state in which it is of no use to the next batch."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a scenario came to."""

    name: str
    runs: int = 0
    struck: int = 0
    """See Account."""
    revisions: int = 0
    """Told to the watcher."""
    connections: int = 0
    """Made by the watcher."""
    seconds: float = 0.0
    counts: Counter[Kind] = field(default_factory=Counter)


async def carry_out(
    scenario: Scenario, batches: Sequence[int], seed: int, say: Callable[[str], None]
) -> Tally:
    """Carry out batches of a scenario, on one ground as long as it is good."""
    tally = Tally(name=scenario.name)
    began = time.monotonic()
    left = list(batches)
    while left:
        async with AsyncExitStack() as stack:
            chance = random.Random(f"{seed}:{scenario.name}:{left[0]}:watcher")
            here = await stack.enter_async_context(ground(scenario.terrain, chance))
            good = True
            while left and good:
                good = await _batch(scenario, left.pop(0), seed, here, tally, say)
            tally.revisions += await here.watcher.caught_up()
            tally.connections += here.watcher.connections
            for gap in here.watcher.gaps:
                tally.counts[Kind.EVENT_GAP] += 1
                say(f"{scenario.name}, seed {seed}: {Kind.EVENT_GAP}: {gap}")
    tally.seconds = time.monotonic() - began
    return tally


async def _batch(
    scenario: Scenario,
    number: int,
    seed: int,
    here: Ground,
    tally: Tally,
    say: Callable[[str], None],
) -> bool:
    """Carry out one; whether the ground is good for another."""
    chance = random.Random(f"{seed}:{scenario.name}:{number}")
    account = Account()
    try:
        outcomes = await scenario.batch(here, number, chance, account)
        found = [(o.run.host.name, f) for o in outcomes for f in o.findings]
    except BREAKING_OFF as error:
        words = f"{type(error).__name__}: {error}"
        found = [("all", Finding(kind=Kind.BROKEN_BATCH, words=words))]
    tally.runs += AT_ONCE
    tally.struck += account.struck
    for host, finding in found:
        tally.counts[finding.kind] += 1
        say(
            f"{scenario.name}:{number}, seed {seed}, {host}, {'; '.join(account.did)}:"
            f" {finding.kind}: {finding.words}"
        )
    return not any(finding.kind in FRESH_GROUND_AFTER for _, finding in found)
