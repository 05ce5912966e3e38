"""The databases that the suite is run over, each opened in the same way."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

from tendhost.server.store.postgres.store import open_postgres
from tendhost.server.store.protocol import Store
from tendhost.server.store.sqlite import open_store
from tests.cluster.single import shared
from tests.tools import needs

BACKENDS: Mapping[str, Callable[[str], Awaitable[Store]]] = {
    "sqlite": lambda address: open_store(Path(address)),
    "postgres": open_postgres,
}
"""By name: what opens the store at an address."""
AT_ONCE = 8
"""Databases that are made in one go: most of the time goes to psql."""
_ready: list[str] = []
EACH = (pytest.param("postgres", marks=needs("psql")), "sqlite")
"""The names, as parameters of a fixture."""


def address_of(backend: str, folder: Path) -> str:
    """Where a test of `backend` keeps a database of its own."""
    if backend == "sqlite":
        return str(folder / "state" / "tendhost.db")
    if not _ready:
        _ready.extend(shared().create(AT_ONCE, template=_template()))
    return shared().address(_ready.pop())


@cache
def _template() -> str:
    """A database with the schema, in which no server has been yet."""
    (name,) = shared().create()

    async def make() -> None:
        store = await open_postgres(shared().address(name))
        await store.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(make()))
    thread.start()
    thread.join()
    shared().sql("DELETE FROM meta WHERE key = 'log_id'; DELETE FROM commits", database=name)
    return name
