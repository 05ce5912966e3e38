"""What batches are run on: four hosts, one server that knows them, and a watcher of its events."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.daemon import Daemon
from tests.faults import clock, hosts
from tests.faults.server import Conditions, Server
from tests.faults.watcher import Watcher
from tests.fleet import Fleet, Host, HostSpec

AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Terrain:
    """What a scenario needs of the ground."""

    cable: bool = False
    """Hosts whose link can be slow and lossy."""
    clock: bool = False
    """A server whose date can be set."""
    state_size: str = ""
    """See Conditions."""
    places: int = 0
    """How many operations the server runs at once; 0: as many as by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where batches are run, one after the other."""

    fleet: Fleet
    server: Server
    watcher: Watcher
    folder: Path
    """For files of a scenario's own."""

    @property
    def daemon(self) -> Daemon:
        """Stubs of the server."""
        return self.server.daemon

    @property
    def hosts(self) -> list[Host]:
        """All four."""
        return self.fleet.hosts


def _environment(terrain: Terrain, folder: Path) -> Mapping[str, str]:
    places = {"TENDHOST_OPERATIONS_AT_ONCE": str(terrain.places)} if terrain.places else {}
    return {**(clock.environment(folder) if terrain.clock else {}), **places}


@asynccontextmanager
async def ground(terrain: Terrain, rng: random.Random) -> AsyncIterator[Ground]:
    """New hosts, a server with an empty database, and a watcher from its first event on."""
    specs = [HostSpec(packages=hosts.ALWAYS, cable=terrain.cable)] * AT_ONCE
    fleet = Fleet(specs, say=lambda _: None)
    await asyncio.to_thread(fleet.start)
    try:
        await asyncio.gather(*(asyncio.to_thread(hosts.prepare, host) for host in fleet.hosts))
        with TemporaryDirectory(prefix="tendhost-faults-") as folder:
            conditions = Conditions(
                state=Path(folder) / "state",
                key=fleet.private_key,
                environment=_environment(terrain, Path(folder)),
                state_size=terrain.state_size,
            )
            async with Server(conditions) as server, asyncio.TaskGroup() as tasks:
                for number, host in enumerate(fleet.hosts):
                    # Half of them by way of sudo.
                    user = "ops" if number % 2 else "root"
                    await server.daemon.register(host.name, host.address, user=user)
                watcher = Watcher(lambda: server.daemon.events, rng)
                watching = tasks.create_task(watcher.run())
                try:
                    yield Ground(fleet=fleet, server=server, watcher=watcher, folder=Path(folder))
                finally:
                    watching.cancel()
    finally:
        await asyncio.to_thread(fleet.stop)
