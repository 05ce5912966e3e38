"""The scenarios in which hosts print a lot: more than is kept, or while nothing of it can be stored."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.faults.batch import Account, Outcome, Run, Updates, carry_out
from tests.faults.ground import Ground
from tests.faults.judging import Finding, Kind
from tests.faults.shortages import full_disk
from tests.fleet import Host

MUCH = 1_000_000_000
OUTAGE_SECONDS = 60
PRINTING_SECONDS = 75
"""Longer than the outage, and begun before it."""
MEMORY_MIB = 128
"""By so much the server may grow at most; 64 jobs that are followed hold about as much."""
STATE_MIB = 96
"""Of the database and its write-ahead log, where one host has printed MUCH."""
HOOK = "/etc/apt/apt.conf.d/99flood"
# apt runs this once it has downloaded, as a part of the job. Half of it comes in lines.
LOT = f"""
{{ yes 'of the kind that hosts print' | head -c {MUCH // 2}
head -c {MUCH // 2} /dev/zero | tr '\\0' x; echo; }} >&2
"""
STEADY = f"""
n=0
while [ $n -lt {PRINTING_SECONDS * 10} ]; do
  n=$((n + 1))
  head -c 6400 /dev/zero | tr '\\0' x >&2; echo " $n" >&2
  sleep 0.1
done
"""


async def prints_much(
    ground: Ground, number: int, rng: random.Random, account: Account
) -> list[Outcome]:
    """One host prints 1 GB while it is updated; the others are updated as ever."""
    flooding, *others = ground.hosts
    runs = [
        Run(host=flooding, slow_seconds=0),
        *(Run(host=host, slow_seconds=rng.randint(0, 2)) for host in others),
    ]
    account.did.append(f"{flooding.name} prints {MUCH:,} bytes")

    async def trouble(updates: Updates) -> None:
        await asyncio.gather(*(started.wait() for started in updates.started))
        account.strike(updates)

    before = _memory(ground)
    async with _printing([flooding], LOT):
        outcomes = await carry_out(ground, runs, trouble, rng)
    stored = sum(path.stat().st_size for path in (ground.folder / "state").iterdir()) >> 20
    findings = [*_grown(ground, before)]
    if stored > STATE_MIB:
        findings.append(Finding(kind=Kind.UNBOUNDED, words=f"the database takes {stored} MiB"))
    return [*outcomes, Outcome(run=runs[0], operation=None, findings=findings)]


async def server_disk_full_printing(
    ground: Ground, number: int, rng: random.Random, account: Account
) -> list[Outcome]:
    """The disk of the server's database is full for a minute while every host prints."""
    runs = [Run(host=host, slow_seconds=0) for host in ground.hosts]
    instant = rng.uniform(2, 5)
    account.did.append(f"the server's disk full after {instant:.2f} s of printing")

    async def trouble(updates: Updates) -> None:
        await asyncio.gather(*(started.wait() for started in updates.started))
        await asyncio.sleep(instant)
        account.strike(updates)
        async with full_disk(ground):
            await asyncio.sleep(OUTAGE_SECONDS)

    before = _memory(ground)
    async with _printing(ground.hosts, STEADY):
        outcomes = await carry_out(ground, runs, trouble, rng)
    return [*outcomes, Outcome(run=runs[0], operation=None, findings=_grown(ground, before))]


@asynccontextmanager
async def _printing(hosts: Sequence[Host], script: str) -> AsyncIterator[None]:
    """Have what updates these hosts print as `script` does."""
    hook = f"""echo 'DPkg::Pre-Invoke {{ "sh /root/flood"; }};' >{HOOK}"""
    begin = f"cat >/root/flood && {hook}"
    await asyncio.gather(
        *(asyncio.to_thread(h.run, begin, input=script, check=True) for h in hosts)
    )
    try:
        yield
    finally:
        await asyncio.gather(*(asyncio.to_thread(h.run, f"rm -f {HOOK}") for h in hosts))


def _memory(ground: Ground) -> int:
    """The most memory that the server ever had, in MiB."""
    status = Path(f"/proc/{ground.server.process.pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) >> 10


def _grown(ground: Ground, before: int) -> Sequence[Finding]:
    grown = _memory(ground) - before
    words = f"the server's memory grew by {grown} MiB"
    return (Finding(kind=Kind.UNBOUNDED, words=words),) if grown > MEMORY_MIB else ()
