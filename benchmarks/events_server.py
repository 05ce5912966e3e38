"""The server of `events`: tendhost's own store, engine and gRPC face, whose events come from a burst of commits.

It prints its address, and commits that many events at full speed for every number that it is given.
"""

import asyncio
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.happenings import happening
from tendhost.server.clock import SystemClock
from tendhost.server.engine.engine import EngineSettings, running_engine
from tendhost.server.remote.probes import NetworkProber
from tendhost.server.remote.protocol import Remote, Target
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Change
from tendhost.server.store.sqlite import open_store
from tests.rpc.open_server import serving

WRITERS = 50


class Nowhere:
    """A connector for a server that has no host."""

    async def connect(self, target: Target) -> Remote:
        """No operation is ever started."""
        raise AssertionError(target.host)

    async def key_problem(self, *, address: str, ssh_key: str) -> str:
        """See Connector."""
        return ""

    async def get_certified_key(self, target: Target) -> str:
        """See Connector."""
        return ""

    async def get_public_keys(self, target: Target) -> tuple[str, ...]:
        """Nobody logs in."""
        return ()

    async def get_host_key_kinds(
        self, *, host: str, address: str, port: int, jump: Target | None = None
    ) -> tuple[str, ...]:
        """No host is ever registered."""
        raise AssertionError(host)

    async def get_host_key(
        self, *, host: str, address: str, port: int, kind: str = "", jump: Target | None = None
    ) -> str:
        """No host is ever registered."""
        raise AssertionError(host)

    async def open_tunnel(
        self, *, host: str, address: str, port: int, jump: Target
    ) -> socket.socket:
        """No host is ever registered."""
        raise AssertionError(host)

    async def aclose(self) -> None:
        """Nothing is held."""


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
        running_engine(
            store=store,
            connector=Nowhere(),
            prober=NetworkProber(),
            clock=SystemClock(),
            settings=EngineSettings(),
        ) as engine,
        serving(engine, "127.0.0.1:0") as address,
    ):
        print(address, flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            await _commit(store, int(line))
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
