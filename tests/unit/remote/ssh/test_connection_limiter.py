"""The limiter: so many at once and no more, per address and over all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tendhost.server.remote.tcp import ConnectionLimiter


class Crowd:
    """Visitors of a limiter; who is inside stays until told to leave."""

    def __init__(self, limiter: ConnectionLimiter) -> None:
        self.inside: list[str] = []
        self.visits: dict[str, asyncio.Task[None]] = {}
        self._limiter = limiter

    async def comes(self, name: str, address: str, port: int = 22) -> None:
        self.visits[name] = asyncio.create_task(self._visit(name, address, port))
        await settled()

    async def leaves(self, name: str) -> None:
        self.visits[name].cancel()
        await settled()

    async def _visit(self, name: str, address: str, port: int) -> None:
        async with self._limiter.slot((address, port, "")):
            self.inside.append(name)
            try:
                await asyncio.Event().wait()
            finally:
                self.inside.remove(name)


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def crowd(*, total: int = 100, per_address: int = 100) -> AsyncIterator[Crowd]:
    crowd = Crowd(ConnectionLimiter(total=total, per_address=per_address))
    yield crowd
    for visit in crowd.visits.values():
        visit.cancel()
    await asyncio.gather(*crowd.visits.values(), return_exceptions=True)


async def test_so_many_pass_to_one_address_at_a_time() -> None:
    async with crowd(per_address=2) as visitors:
        for name in ("a", "b", "c", "d"):
            await visitors.comes(name, "10.0.0.1")
        assert visitors.inside == ["a", "b"]
        await visitors.leaves("a")
        assert visitors.inside == ["b", "c"]


async def test_another_address_and_another_port_have_places_of_their_own() -> None:
    async with crowd(per_address=1) as visitors:
        await visitors.comes("a", "10.0.0.1")
        await visitors.comes("b", "10.0.0.1")
        await visitors.comes("c", "10.0.0.2")
        await visitors.comes("d", "10.0.0.1", port=2222)
        assert visitors.inside == ["a", "c", "d"]


async def test_connection_limiter__total_is_not_exceeded() -> None:
    async with crowd(total=2) as visitors:
        for number in range(4):
            await visitors.comes(f"v{number}", f"10.0.0.{number}")
        assert visitors.inside == ["v0", "v1"]
        await visitors.leaves("v1")
        assert visitors.inside == ["v0", "v2"]


async def test_those_who_wait_for_an_address_take_no_place_from_others() -> None:
    async with crowd(total=2, per_address=1) as visitors:
        for name in ("a", "b", "c", "d"):
            await visitors.comes(name, "10.0.0.1")
        await visitors.comes("e", "10.0.0.2")
        assert visitors.inside == ["a", "e"]


async def test_place_is_free_again_after_an_error_and_after_waiting_in_vain() -> None:
    limiter = ConnectionLimiter(total=1, per_address=1)
    with pytest.raises(ZeroDivisionError):
        async with limiter.slot(("10.0.0.1", 22, "")):
            raise ZeroDivisionError
    visitors = Crowd(limiter)
    await visitors.comes("a", "10.0.0.1")
    await visitors.comes("b", "10.0.0.1")
    await visitors.leaves("b")
    await visitors.leaves("a")
    await visitors.comes("c", "10.0.0.1")
    assert visitors.inside == ["c"]
    await visitors.leaves("c")


async def test_addresses_are_forgotten_when_nobody_is_there() -> None:
    limiter = ConnectionLimiter(total=100, per_address=1)
    visitors = Crowd(limiter)
    for number in range(50):
        await visitors.comes(f"v{number}", f"10.0.0.{number % 10}")
    assert len(limiter._addresses) == 10
    for number in reversed(range(50)):
        await visitors.leaves(f"v{number}")
    assert limiter._addresses == {}
