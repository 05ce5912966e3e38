"""A world for each test, on a store of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.engine.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "state" / "tendhost.db").remembered() as world:
        yield world
