"""The server of `events`: tendhost's own store, engine and gRPC face, whose events come from a burst of commits.

It prints its address, and commits that many events at full speed for every number that it is given.
"""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.happenings import happening
from benchmarks.hostless_engine import hostless_engine
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Change
from tendhost.server.store.sqlite import open_store
from tests.rpc.open_server import serving

WRITERS = 50


async def _commit(store: Store, count: int) -> None:
    numbers = iter(range(count))

    async def write() -> None:
        for number in numbers:
            await store.commit(Change(events=(happening(number, datetime.now(UTC)),)))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(WRITERS):
            tasks.create_task(write())


async def main(state_dir: Path) -> None:
    store = await open_store(state_dir / "tendhost.db")
    loop = asyncio.get_running_loop()
    async with (
        hostless_engine(store) as engine,
        serving(engine, "127.0.0.1:0") as address,
    ):
        print(address, flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            await _commit(store, int(line))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
