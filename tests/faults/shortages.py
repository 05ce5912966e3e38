"""The scenarios in which something runs short: a host's disk, the server's disk, and sense of the server's clock."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.faults import clock
from tests.faults.batch import (
    BOUND_SECONDS,
    UPDATE_SECONDS,
    Account,
    Outcome,
    Run,
    Updates,
    carry_out,
    judged,
)
from tests.faults.ground import Ground
from tests.faults.judging import FAILED, SUCCEEDED
from tests.fleet import Host

FULL_FOLDERS = ("/usr/share/tb-simple", "/var/lib/dpkg/updates")
"""What a package brings along cannot be written, or dpkg cannot note what it does."""
HOOK = "/etc/apt/apt.conf.d/99full"
# apt runs this after it has downloaded, before dpkg unpacks: all that looked at the free space is past.
FILL = """
cat >/root/fill <<'.'
mkdir -p {folder} && mount -t tmpfs -o size=16k full {folder}
cat /dev/zero >{folder}/full 2>/dev/null
true
.
echo 'DPkg::Pre-Invoke {{ "sh /root/fill"; }};' >{hook}
"""
MAKE_SPACE = "rm -f {hook}; umount {folder}"


async def disk_full(
    ground: Ground, number: int, rng: random.Random, account: Account
) -> list[Outcome]:
    """A host's disk is full once dpkg begins; later there is space, and the host is retried."""
    runs = [
        Run(host=host, slow_seconds=rng.randint(0, 1), status=FAILED, reason="DISK_FULL")
        for host in ground.hosts
    ]
    folders = [rng.choice(FULL_FOLDERS) for _ in runs]
    account.did.extend(
        f"{run.host.name}: {folder} full" for run, folder in zip(runs, folders, strict=True)
    )
    boots = [run.host.boot_count for run in runs]
    for host, folder in zip(ground.hosts, folders, strict=True):
        await asyncio.to_thread(host.run, FILL.format(hook=HOOK, folder=folder), check=True)

    async def trouble(updates: Updates) -> None:
        account.strike(updates)

    try:
        failed = await carry_out(ground, runs, trouble, rng)
    finally:
        await asyncio.gather(*map(_given_space, ground.hosts, folders))
    again = await asyncio.gather(*map(partial(_retried, ground), failed, boots))
    return [*failed, *again]


async def _given_space(host: Host, folder: str) -> None:
    await asyncio.to_thread(host.run, MAKE_SPACE.format(hook=HOOK, folder=folder))


async def _retried(ground: Ground, failed: Outcome, boots_before: int) -> Outcome:
    run = failed.run
    again = replace(run, status=SUCCEEDED, reason="", former=failed.operation)
    async with asyncio.timeout(BOUND_SECONDS):
        operation = await ground.daemon.retry(run.host.name)
    findings = await judged(ground, again, operation, boots_before)
    return Outcome(run=again, operation=operation, findings=findings)


async def server_disk_full(
    ground: Ground, number: int, rng: random.Random, account: Account
) -> list[Outcome]:
    """The disk of the server's database is full for a while."""
    runs = [Run(host=host, slow_seconds=rng.randint(1, 3)) for host in ground.hosts]
    instant, length = rng.uniform(0, UPDATE_SECONDS), rng.uniform(1, 8)
    account.did.append(f"the server's disk full at {instant:.2f} s for {length:.2f} s")

    async def trouble(updates: Updates) -> None:
        await asyncio.sleep(instant)
        account.strike(updates)
        async with full_disk(ground):
            await asyncio.sleep(length)

    return await carry_out(ground, runs, trouble, rng)


@asynccontextmanager
async def full_disk(ground: Ground) -> AsyncIterator[None]:
    """The server's disk is full while the context lasts."""
    # By way of the server's own view: nobody else sees its file system.
    filling = Path(f"/proc/{ground.server.process.pid}/root{ground.folder}/state/full")
    await asyncio.to_thread(_fill, filling)
    yield
    await asyncio.to_thread(filling.unlink)


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as filling:
        try:
            while filling.write(bytes(4096)):
                pass
        except OSError:
            return


async def clock_jump(
    ground: Ground, number: int, rng: random.Random, account: Account
) -> list[Outcome]:
    """The date of the server is set a day ahead or back, and some time later right again."""
    runs = [Run(host=host, slow_seconds=rng.randint(1, 3)) for host in ground.hosts]
    days, instant, length = rng.choice((1, -1)), rng.uniform(0, UPDATE_SECONDS), rng.uniform(0, 4)
    account.did.append(f"{days:+} day at {instant:.2f} s for {length:.2f} s")

    async def trouble(updates: Updates) -> None:
        await asyncio.sleep(instant)
        account.strike(updates)
        clock.set_ahead(ground.folder, days=days)
        await asyncio.sleep(length)
        clock.set_ahead(ground.folder, days=0)

    return await carry_out(ground, runs, trouble, rng)
