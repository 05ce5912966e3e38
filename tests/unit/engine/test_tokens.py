"""Tokens in memory: what is read while tokens are created and deleted is not taken for the truth."""

import asyncio
from typing import Any

import pytest

from tendhost.server.domain.access.roles import Role
from tendhost.server.domain.request_errors import CredentialInvalid
from tendhost.server.engine.tokens import Tokens
from tests.unit.engine.fake_clock import FakeClock
from tests.unit.engine.world import World, call


class SlowReads:
    """A store whose read of all tokens ends when it is told to."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()

    async def tokens(self) -> Any:
        found = await self._store.tokens()
        self.reading.set()
        await self.go_on.wait()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_deleted_token__does_not_come_back_with_a_read_that_was_under_way(world: World):
    async with world.running():
        slow = SlowReads(world.store)
        tokens = Tokens(store=slow, clock=FakeClock())
        new = await tokens.create(
            principal="ci",
            description="",
            roles=(Role.VIEWER,),
            expires_at=None,
            call=call(),
        )
        loading = asyncio.create_task(tokens.load())
        await slow.reading.wait()
        await tokens.delete(new.token.id, call())
        slow.go_on.set()
        await loading
        with pytest.raises(CredentialInvalid):
            tokens.recognised(new.text)
