"""An engine over a database of hosts that do not exist: what is measured connects to none."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tendhost.server.clock import SystemClock
from tendhost.server.engine.engine import Engine, EngineSettings, running_engine
from tendhost.server.remote.probes import NetworkProber
from tendhost.server.remote.protocol import Remote, Target
from tendhost.server.store.protocol import Store


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


@asynccontextmanager
async def hostless_engine(store: Store) -> AsyncIterator[Engine]:
    """The engine over `store`, which is closed at the end."""
    prober = NetworkProber()
    async with running_engine(
        store=store,
        connector=Nowhere(),
        prober=prober,
        clock=SystemClock(),
        settings=EngineSettings(),
    ) as engine:
        yield engine
    prober.close()
    await store.aclose()
