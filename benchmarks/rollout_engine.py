"""An engine without a server, that updates every host of its store once: in a rollout, or one by one.

Called with "rollout" or "plain" and a folder that `rollouts.py` has prepared. It says "ready", waits for a
line, and says how many hosts it was through with, the CPU seconds that this took, and what they went to.
"""

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path

from benchmarks.cpu_parts import CpuParts
from tendhost.server.clock import SystemClock
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.rollouts.rollout import RolloutSpec
from tendhost.server.domain.rollouts.waves import Division
from tendhost.server.engine.engine import Engine, EngineSettings, running_engine
from tendhost.server.engine.operations.manager import OperationRequest
from tendhost.server.engine.requests import MutationContext
from tendhost.server.main import DATABASE
from tendhost.server.remote.connector import RoutingConnector
from tendhost.server.remote.probes import NetworkProber
from tendhost.server.remote.ssh import SshSettings
from tendhost.server.store.records import Touched
from tendhost.server.store.sqlite import open_store

WAVES = ("1", "5", "20%", "rest")
AT_ONCE = 64
KEY = "login_key"
PAUSE = timedelta(seconds=0.2)


def _caller() -> MutationContext[object]:
    return MutationContext(
        principal="benchmark", user="benchmark", method="/benchmark", encode=lambda _: b""
    )


async def main(how: str, folder: Path) -> None:
    store = await open_store(folder / DATABASE)
    connector = RoutingConnector(ssh=SshSettings(private_key=(folder / KEY).read_bytes()))
    prober = NetworkProber()
    async with running_engine(
        store=store,
        connector=connector,
        prober=prober,
        clock=SystemClock(),
        settings=EngineSettings(),
    ) as engine:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        with CpuParts() as parts:
            done = await (rollout_all(engine) if how == "rollout" else _one_by_one(engine))
        print(json.dumps([done, parts.seconds, parts.shares()]), flush=True)
    prober.close()
    await connector.aclose()
    await store.aclose()


async def rollout_all(engine: Engine) -> int:
    """Roll out a dry run over every host; returns how many hosts were through with it."""
    spec = RolloutSpec(
        filter=HostFilter(),
        division=Division(waves=WAVES),
        delay_between_waves=timedelta(0),
        dry_run=True,
    )
    begun = await engine.rollouts.start(spec, _caller())  # type: ignore[arg-type]
    revision = begun.revision
    while not (rollout := await engine.store.rollout(begun.id)).over:
        revision = await engine.store.wait_beyond(revision, timeout=PAUSE)
        await asyncio.sleep(PAUSE.total_seconds())
    return rollout.progress.completed


async def _one_by_one(engine: Engine) -> int:
    hosts = [glance.name for glance in await engine.store.survey(list)]
    places = asyncio.Semaphore(AT_ONCE)
    ended: dict[str, asyncio.Event] = {name: asyncio.Event() for name in hosts}
    succeeded = 0

    def note(touched: Touched) -> None:
        for operation in touched.ended:
            ended[operation.host].set()

    engine.store.listen(note)

    async def update(name: str) -> None:
        nonlocal succeeded
        async with places:
            work = OperationRequest(host=name, kind=OperationKind.UPDATE, dry_run=True)
            begun = await engine.operations.start(work, _caller())  # type: ignore[arg-type]
            await ended[name].wait()
            status = (await engine.store.operation(begun.id)).status
            succeeded += status is OperationStatus.SUCCEEDED

    async with asyncio.TaskGroup() as tasks:
        for name in hosts:
            tasks.create_task(update(name))
    return succeeded


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
