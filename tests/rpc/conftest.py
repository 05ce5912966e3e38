"""A world, and a server over it, for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.rpc.api import Api, served
from tests.unit.engine.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "state" / "tendhost.db").remembered() as world:
        yield world


@pytest.fixture
async def api(world: World) -> AsyncIterator[Api]:
    async with served(world) as api:
        yield api
