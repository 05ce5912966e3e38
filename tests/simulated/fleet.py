"""Fleets of simulated hosts, in a thread of their own."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Generic, Self, TypeVar

import asyncssh

from tests.simulated.host import SimulatedMachine
from tests.simulated.recorded import RecordedHost, Recording
from tests.simulated.shell import SimulatedHost

Machine = TypeVar("Machine", bound=SimulatedMachine)


class _Fleet(ABC, Generic[Machine]):
    """Hosts that are up as long as the context lasts."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="tendhost-simulated-")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        key = asyncssh.generate_private_key("ssh-ed25519")
        self._public = key.export_public_key().decode()
        self.private_key: bytes = key.export_private_key()
        """The key that root accepts on every host, in OpenSSH's format."""
        self.hosts: list[Machine] = []

    def __getitem__(self, name: str) -> Machine:
        return next(host for host in self.hosts if host.name == name)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._folder.cleanup()

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _start(self) -> None:
        self.hosts = self._made(Path(self._folder.name))
        for host in self.hosts:
            await host.boot()

    async def _stop(self) -> None:
        for host in self.hosts:
            await host.power_off()

    @abstractmethod
    def _made(self, folder: Path) -> list[Machine]:
        """The hosts, which are not up yet."""


class SimulatedFleet(_Fleet[SimulatedHost]):
    """``with SimulatedFleet({"web1": ("tb-simple",)}) as fleet:`` gives hosts that answer at loopback ports.

    Each keeps its own state and executes what it is sent. That costs some processes for each
    command, so this is for dozens of hosts; see RecordedFleet for more.
    """

    def __init__(self, hosts: Mapping[str, Sequence[str]], *, others: int = 0) -> None:
        super().__init__()
        self._wanted, self._others = hosts, others

    def _made(self, folder: Path) -> list[SimulatedHost]:
        return [
            SimulatedHost(name, self._public, folder / name, packages, self._others)
            for name, packages in self._wanted.items()
        ]


class RecordedFleet(_Fleet[RecordedHost]):
    """Any number of hosts, named host1 and so on, that tell the same but for their boot ids.

    A command is executed once, on a simulated host behind them, and answered from memory after that: what
    it changes there is not told by whoever had been asked before.
    """

    def __init__(self, hosts: int, *, packages: Sequence[str] = (), others: int = 0) -> None:
        super().__init__()
        self._count, self._packages, self._others = hosts, packages, others
        self._original: SimulatedHost | None = None

    def _made(self, folder: Path) -> list[RecordedHost]:
        self._original = SimulatedHost(
            "original", self._public, folder / "original", self._packages, self._others
        )
        self._original.wake()
        recording = Recording(self._original)
        names = (f"host{number}" for number in range(1, self._count + 1))
        return [RecordedHost(name, self._public, recording) for name in names]

    async def _stop(self) -> None:
        await super()._stop()
        if self._original is not None:
            await self._original.power_off()
