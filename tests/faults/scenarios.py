"""The scenarios that end well: the server is killed, a link breaks, a host goes down, a client repeats itself."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tendhost.server.failpoints import POINTS
from tendhost.v1 import host_service_pb2
from tests.faults.batch import (
    BOUND_SECONDS,
    UPDATE_SECONDS,
    Account,
    Outcome,
    Run,
    Updates,
    carry_out,
)
from tests.faults.ground import Ground, Terrain
from tests.faults.judging import Finding, Kind
from tests.fleet import Host

# How often a point is reached in a batch of four updates, more or less; a number beyond that is no
# fault, one that is too small leaves the later half of the operations in peace.
REACHED = {"store": 40, "step": 24, "job.polled": 12}
REACHED_BY_EACH_HOST = 4
CLIENTS = 50
"""That send one request at once."""
# Once, apt stops here with everything downloaded and nothing unpacked.
HOLD = """
echo '[ ! -e /root/hold ] || { rm /root/hold; touch /run/held; sleep 60; }' >/root/hold-once
touch /root/hold
echo 'DPkg::Pre-Invoke { "sh /root/hold-once"; };' >/etc/apt/apt.conf.d/99hold
"""
HELD = "until [ -e /run/held ]; do sleep 0.02; done"
LONG_SECONDS = 60
"""Of a post-install that cannot end before its host is down."""
# Its sleep, not only its mark: before that it has yet to read how long to sleep.
IN_POST_INSTALL = f"""
until [ -e /run/tb-slow-running ] && pgrep -fx 'sleep {LONG_SECONDS}' >/dev/null; do sleep 0.02; done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A kind of fault, and how a batch with it is carried out."""

    name: str
    batch: Callable[[Ground, int, random.Random, Account], Awaitable[list[Outcome]]]
    """Of a ground, the number of the batch, and what is random in it; notes down what it did."""
    terrain: Terrain = field(default_factory=Terrain)


async def kill_server(
    ground: Ground, number: int, rng: random.Random, account: Account
) -> list[Outcome]:
    """Even batches kill the server at a failpoint, odd ones at some instant; some do it once more."""
    # Not by the batch's own chance, so that a lap of batches is at every point once.
    lap, place = divmod(number // 2, len(POINTS))
    points = random.Random(lap).sample(POINTS, len(POINTS))
    point = points[place] if number % 2 == 0 else ""
    again = rng.choice(POINTS) if rng.random() < 0.3 else ""
    first, second = _armed(point, rng), _armed(again, rng)
    instant = rng.uniform(0, UPDATE_SECONDS)
    account.did.append(
        f"killed at {first or f'{instant:.2f} s'}" + (f", then {second}" if second else "")
    )
    rebooting = f"{point}{again}".find("reboot.") >= 0 or rng.random() < 0.25
    runs = [
        Run(host=host, rebooting=rebooting, slow_seconds=rng.randint(0, 2)) for host in ground.hosts
    ]

    async def trouble(updates: Updates) -> None:
        if not first:
            await asyncio.sleep(instant)
        elif not await _died(ground, updates):
            # What was not reached must not go off in the next batch.
            await ground.server.restart()
            return
        account.strike(updates)
        await ground.server.restart(second)
        if second:
            if await _died(ground, updates):
                account.strike(updates)
            await ground.server.restart()

    if first:
        await ground.server.restart(first)
    return await carry_out(ground, runs, trouble, rng)


def _armed(point: str, rng: random.Random) -> str:
    if not point:
        return ""
    times = REACHED.get(point) or REACHED.get(point.partition(".")[0], REACHED_BY_EACH_HOST)
    return f"{point}@{rng.randint(1, times)}"


async def _died(ground: Ground, updates: Updates) -> bool:
    """Whether the server dies before the updates come to their end."""
    dying = asyncio.create_task(ground.server.ended())
    try:
        both: set[asyncio.Future[Any]] = {dying, updates.ending}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if dying.done():
            await dying
        return dying.done()
    finally:
        dying.cancel()


async def link(ground: Ground, number: int, rng: random.Random, account: Account) -> list[Outcome]:
    """Each host's link is reset, swallows everything, or is slow and lossy, for a while."""
    runs = [Run(host=host, slow_seconds=rng.randint(1, 3)) for host in ground.hosts]
    ways = rng.sample(("reset", "drop", "wire", rng.choice(("reset", "drop"))), len(runs))
    instants = [rng.uniform(0, UPDATE_SECONDS) for _ in runs]
    # A reset answers what is sent, and looks at a job are up to two seconds apart.
    lengths = [rng.uniform(1, 5) if way == "reset" else rng.uniform(2, 12) for way in ways]
    account.did.extend(
        f"{run.host.name}: {way} at {instant:.2f} s for {length:.2f} s"
        for run, way, instant, length in zip(runs, ways, instants, lengths, strict=True)
    )

    async def disturb(number: int, updates: Updates) -> None:
        await asyncio.sleep(instants[number])
        account.strike(updates, number)
        await _disturbed(runs[number].host, ways[number], lengths[number])

    async def trouble(updates: Updates) -> None:
        await asyncio.gather(*(disturb(number, updates) for number in range(len(runs))))

    return await carry_out(ground, runs, trouble, rng)


async def _disturbed(host: Host, way: str, length: float) -> None:
    if way == "wire":
        host.knobs.wire(delay_ms=300, loss=0.05)
        await asyncio.sleep(length)
        host.knobs.wire()
        return
    await asyncio.to_thread(host.set_link, "reset" if way == "reset" else "drop")
    await asyncio.sleep(length)
    await asyncio.to_thread(host.set_link, "up")


async def reboot(
    ground: Ground, number: int, rng: random.Random, account: Account
) -> list[Outcome]:
    """Each host is rebooted, or loses its power for a while, in the middle of the transaction."""
    runs = [
        Run(host=host, rebooting=rng.random() < 0.25, slow_seconds=LONG_SECONDS, downs=1)
        for host in ground.hosts
    ]
    befores = [rng.random() < 0.3 for _ in runs]
    pauses = [rng.uniform(0, 1.5) for _ in runs]
    darks = [rng.uniform(0, 3) if rng.random() < 0.5 else None for _ in runs]
    account.did.extend(
        f"{run.host.name}: {'reboot' if dark is None else f'power cut for {dark:.2f} s'}"
        f" {pause:.2f} s {'before anything is unpacked' if before else 'into the post-install'}"
        for run, pause, dark, before in zip(runs, pauses, darks, befores, strict=True)
    )

    async def trouble(updates: Updates) -> None:
        await asyncio.gather(*map(_downed, ground.hosts, befores, pauses, darks))
        account.struck += len(runs)

    return await carry_out(ground, runs, trouble, rng)


async def _downed(host: Host, before: bool, pause: float, dark: float | None) -> None:
    if before:
        await asyncio.to_thread(host.run, HOLD, check=True)
    await asyncio.to_thread(host.run, HELD if before else IN_POST_INSTALL, timeout=90, check=True)
    # For the repair, which runs it again.
    await asyncio.to_thread(host.run, "echo 0.5 >/etc/tb-slow-seconds", check=True)
    await asyncio.sleep(pause)
    boots = host.boot_count + 1
    if dark is None:
        await asyncio.to_thread(host.run, "systemctl reboot")
    else:
        await asyncio.to_thread(host.power_cut)
        await asyncio.sleep(dark)
        await asyncio.to_thread(host.power_on)
    await asyncio.to_thread(host.wait_up, boots=boots)


async def same_request(
    ground: Ground, number: int, rng: random.Random, account: Account
) -> list[Outcome]:
    """Many clients send one request at once, for each host."""
    runs = [Run(host=host, slow_seconds=0) for host in ground.hosts]
    account.did.append(f"{CLIENTS} times the same request")
    unequal: list[Finding] = []

    async def same(host: Host, id: str) -> None:
        request = host_service_pb2.StartUpdateRequest(name=host.name, request_id=id)
        async with asyncio.timeout(BOUND_SECONDS):
            answers = await asyncio.gather(
                *(ground.daemon.hosts.StartUpdate(request) for _ in range(CLIENTS))
            )
        different = {answer.SerializeToString(deterministic=True) for answer in answers}
        if len(different) > 1:
            words = f"{host.name}: {len(different)} different answers to one request"
            unequal.append(Finding(kind=Kind.DOUBLE_TRANSACTION, words=words))

    async def trouble(updates: Updates) -> None:
        account.strike(updates)
        await asyncio.gather(*map(same, ground.hosts, updates.request_ids))

    outcomes = await carry_out(ground, runs, trouble, rng)
    return [*outcomes, Outcome(run=runs[0], operation=None, findings=unequal)]
