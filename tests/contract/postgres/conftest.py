"""Databases of a throwaway PostgreSQL, and several stores on one of them, as several servers have it."""

from collections.abc import AsyncIterator

import pytest

from tendhost.server.store.postgres.store import PostgresStore, open_postgres
from tests.cluster.single import Server, shared


@pytest.fixture
def server() -> Server:
    """The server that tests share."""
    return shared()


@pytest.fixture
def address(server: Server) -> str:
    """A database in which nothing is yet."""
    (name,) = server.create()
    return server.address(name)


@pytest.fixture
async def stores(address: str) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    """Two stores on one database."""
    one, two = await open_postgres(address), await open_postgres(address)
    yield one, two
    await one.aclose()
    await two.aclose()
