"""A world for each test, on a store of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tendhost.server.store.sqlite import open_store
from tests.unit.engine.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await open_store(tmp_path / "state" / "tendhost.db")
    try:
        yield World(store)
    finally:
        await store.aclose()
