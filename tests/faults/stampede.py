"""The scenario in which a server is killed while many operations wait for few places."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from tendhost.v1 import host_pb2, host_service_pb2, operation_pb2
from tests.faults.batch import Account, Outcome, Run, Updates, carry_out
from tests.faults.ground import Ground
from tests.faults.judging import SUCCEEDED, Finding, Kind
from tests.faults.server import retried

PLACES = 4
WAITING = 60
"""Checks that wait, beside the updates of the four hosts, which have the places."""


async def stampede(
    ground: Ground, number: int, rng: random.Random, account: Account
) -> list[Outcome]:
    """60 checks wait for 4 places when the server is killed; the next one runs no more of them at once."""
    names = await _other_names(ground, number)
    lives = [rng.uniform(0, 3) for _ in range(rng.randint(1, 2))]
    account.did.append(f"killed {', '.join(f'{life:.2f} s' for life in lives)} after each start")
    runs = [Run(host=host, slow_seconds=rng.randint(1, 3)) for host in ground.hosts]
    checks: list[operation_pb2.Operation] = []

    async def trouble(updates: Updates) -> None:
        await asyncio.gather(*(started.wait() for started in updates.started))
        for name in names:
            request = host_service_pb2.StartCheckRequest(name=name)
            checks.append((await ground.daemon.hosts.StartCheck(request)).operation)
        for life in lives:
            await asyncio.sleep(life)
            account.strike(updates)
            await ground.server.restart()

    first, *others = await carry_out(ground, runs, trouble, rng)
    ended = [await retried(partial(ground.daemon.ended, check.id)) for check in checks]
    return [replace(first, findings=(*first.findings, *_judged(ended))), *others]


async def _other_names(ground: Ground, number: int) -> Sequence[str]:
    """Names under which the four hosts are registered once more, for as many operations as are to wait."""
    names: list[str] = []
    for place in range(WAITING):
        host = ground.hosts[place % len(ground.hosts)]
        name = f"other-{number}-{place}"
        config = host_pb2.HostConfig(name=name, address=host.address, port=22, user="root")
        request = host_service_pb2.RegisterHostRequest(config=config, allow_duplicate=True)
        await ground.daemon.hosts.RegisterHost(request)
        names.append(name)
    return names


def _judged(checks: Sequence[operation_pb2.Operation]) -> list[Finding]:
    found = [
        Finding(kind=Kind.WRONG_END, words=f"{check.host}: {check.problem.message or check.status}")
        for check in checks
        if check.status != SUCCEEDED
    ]
    most = most_at_once(
        [
            (check.steps[1].started_at.ToNanoseconds(), check.ended_at.ToNanoseconds())
            for check in checks
            if len(check.steps) > 1
        ]
    )
    if most > PLACES:
        words = f"{most} of {PLACES} checks at once"
        found.append(Finding(kind=Kind.PLACES_EXCEEDED, words=words))
    return found


def most_at_once(spans: Sequence[tuple[int, int]]) -> int:
    """How many of these spans overlap at any one time, at most; an end makes room for a beginning."""
    turns = sorted(turn for begin, end in spans for turn in ((begin, 1), (end, -1)))
    most = present = 0
    for _, change in turns:
        present += change
        most = max(most, present)
    return most
