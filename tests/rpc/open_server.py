"""A server on one address that asks for no credential, for tests that are about something else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tendhost.server.domain.access.listen import listener_of
from tendhost.server.engine.engine import Engine
from tendhost.server.rpc import server


@asynccontextmanager
async def serving(engine: Engine, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """Serve `engine` while the context lasts; gives the address with the port that was really taken."""
    async with server.serving(
        engine, listeners=[listener_of(address)], socket_owner="owner", open_access=True
    ) as addresses:
        yield addresses[0]
