"""Carries out faults, a round each: updates under way at several replicas, one fault, and what hosts say afterwards."""

import asyncio
import base64
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tendhost.client import Client, OperationHandle, OperationStatus, TendhostError
from tests.cluster import Cluster, cluster
from tests.faults.replicas.faults import FAULTS, Stage
from tests.faults.replicas.replica import Replica
from tests.faults.replicas.witness import Witness, differences
from tests.simulated.fleet import SimulatedFleet
from tests.simulated.shell import SimulatedHost

HOSTS = 4
"""In each round."""
PACKAGES = ("tb-simple", "tb-slow")
SLOW_SECONDS = 2
END_SECONDS = 90.0
CATCH_UP_SECONDS = 60.0
PATIENCE_SECONDS = 120.0

Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What was counted; all but the first must be 0."""

    faults: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """From the fault to the end of the last operation of its round."""


@asynccontextmanager
async def replicas_over(database: Cluster, count: int, key: bytes) -> AsyncIterator[list[Replica]]:
    """Replicas that serve, ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="tendhost-replicas-") as folder:
        secrets = {
            "PGPASSWORD": database.password,
            "TENDHOST_SSH_KEY": base64.b64encode(key).decode(),
        }
        ways = (database.addresses.primary, database.addresses.pgbouncer)
        made = [
            Replica(number, await database.link(ways[number % 2]), secrets, Path(folder))
            for number in range(1, count + 1)
        ]
        try:
            await asyncio.gather(*(replica.start() for replica in made))
            yield made
        finally:
            for replica in made:
                await replica.kill()


async def drill(
    *, replicas: int, rounds: Sequence[str], seed: int, say: Say, keep_logs: Path | None = None
) -> Outcome:
    """Carry out a round for each name of a fault."""
    outcome = Outcome()
    names = [f"r{r}h{h}" for r in range(len(rounds)) for h in range(HOSTS)]
    with SimulatedFleet(dict.fromkeys(names, PACKAGES)) as fleet:
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(cluster())
            key = fleet.private_key
            running = await stack.enter_async_context(replicas_over(database, replicas, key))
            if keep_logs is not None:
                stack.callback(_keep, running, keep_logs)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            witnesses = {each.name: Witness(each.address) for each in running}
            watching = [group.create_task(witness.run()) for witness in witnesses.values()]
            stage = Stage(database=database, replicas=running, chance=random.Random(seed))
            for number, name in enumerate(rounds):
                hosts = [fleet[f"r{number}h{h}"] for h in range(HOSTS)]
                await _round(stage, name, hosts, outcome, say)
            await _caught_up(witnesses, outcome, say)
            for task in watching:
                task.cancel()
            for difference in differences(witnesses):
                outcome.counts["event_gaps"] += 1
                say(difference)
    return outcome


async def _round(
    stage: Stage,
    fault: str,
    hosts: Sequence[SimulatedHost],
    outcome: Outcome,
    say: Say,
) -> None:
    addresses = [replica.address for replica in stage.replicas]
    stage.chance.shuffle(addresses)
    async with Client(",".join(addresses), patience_seconds=PATIENCE_SECONDS) as client:
        begun = [await _begin(client, host) for host in hosts]
        await asyncio.sleep(stage.chance.uniform(0.0, SLOW_SECONDS))
        say(f"{fault}, while {len(begun)} operations are under way")
        struck = time.monotonic()
        async with FAULTS[fault](stage):
            outcome.faults += 1
            for host, handle in zip(hosts, begun, strict=True):
                for words in await _faults_of(host, handle):
                    outcome.counts[words.partition(":")[0]] += 1
                    say(f"{fault}: {words}")
            outcome.seconds.append(time.monotonic() - struck)


async def _begin(client: Client, host: SimulatedHost) -> OperationHandle:
    host.write("/etc/tb-slow-seconds", str(SLOW_SECONDS))
    await client.add_host(
        host.name,
        host.address,
        port=host.port,
        user="root",
        expected_host_key=host.host_key,
        allow_duplicate=True,
    )
    return await client.update(host.name)


async def _faults_of(host: SimulatedHost, handle: OperationHandle) -> list[str]:
    try:
        async with asyncio.timeout(END_SECONDS):
            operation = await handle.wait()
    except TimeoutError:
        at = await handle.refresh()
        return [f"operations_without_end: {handle.id} on {host.name}: {at.status}, {at.steps[-1:]}"]
    except TendhostError as error:
        return [f"lost_operations: {handle.id} on {host.name}: {error}"]
    found = []
    if operation.status is not OperationStatus.SUCCEEDED:
        found.append(f"wrong_ends: {handle.id} on {host.name}: {operation.status}")
    ran = Counter(line.split()[0] for line in host.transactions())
    for package in PACKAGES:
        if ran[package] > 1:
            found.append(f"double_transactions: {package} on {host.name}: {ran[package]}")
        elif not ran[package]:
            found.append(f"lost_transactions: {package} on {host.name}")
    return found


async def _caught_up(witnesses: dict[str, Witness], outcome: Outcome, say: Say) -> None:
    last = max(one.reached for one in witnesses.values())
    try:
        async with asyncio.timeout(CATCH_UP_SECONDS):
            await asyncio.gather(*(one.caught_up(last) for one in witnesses.values()))
    except TimeoutError:
        outcome.counts["event_gaps"] += 1
        reached = {name: one.reached for name, one in witnesses.items()}
        say(
            f"event_gaps: not all replicas reached revision {last} in {CATCH_UP_SECONDS:g} s: {reached}"
        )


def _keep(replicas: Sequence[Replica], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for replica in replicas:
        (folder / replica.log.name).write_bytes(replica.log.read_bytes())
