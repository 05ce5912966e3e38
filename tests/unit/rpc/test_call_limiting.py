"""What metered work costs, and that it is otherwise what it was; and how many callers are remembered."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tendhost.server.domain.access.call_limits import CallLimits, Rate
from tendhost.server.domain.access.principal import CredentialKind, Principal
from tendhost.server.domain.request_errors import TooManyStreams
from tendhost.server.rpc import call_limiting
from tendhost.server.rpc.call_limiting import MOST_ACCOUNTS, Account, CallLimiter, Metered
from tests.unit.engine.fake_clock import FakeClock


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What was charged, where each step takes 10 ns and nothing else does."""
    now = iter(step + part for step in range(0, 10**9, 10) for part in (0, 10))
    monkeypatch.setattr(call_limiting, "loop_nanoseconds", lambda: next(now))
    return []


async def steps(number: int) -> str:
    for _ in range(number):
        await asyncio.sleep(0)
    return "done"


async def test_metered__gives_the_result_and_charges_what_is_beyond_the_free_part(spent):
    assert await Metered(steps(4), spent.append, free=25) == "done"
    assert spent == [5, 10, 10]  # five steps of 10


async def test_metered__charges_nothing_for_the_time_that_it_waits(spent):
    event = asyncio.Event()

    async def work() -> None:
        await event.wait()

    task = asyncio.ensure_future(Metered(work(), spent.append, free=0))
    for _ in range(50):
        await asyncio.sleep(0)
    event.set()
    await task
    assert sum(spent) == 20


async def test_metered__passes_errors_on_in_both_directions(spent):
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("an error of the work")

    with pytest.raises(ValueError, match="an error of the work"):
        await Metered(fails(), spent.append, free=0)

    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def handles() -> str:
        try:
            await future
        except LookupError:
            return "handled"
        return "not told"

    task = asyncio.ensure_future(Metered(handles(), spent.append, free=0))
    await asyncio.sleep(0)
    future.set_exception(LookupError())
    assert await task == "handled"


async def test_metered__is_cancelled_as_its_work_would_be(spent):
    ended: list[Any] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # it may still wait while it ends
            ended.append("cleaned up")

    task = asyncio.ensure_future(Metered(work(), spent.append, free=0))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cleaned up"]


async def test_metered__closes_its_work_when_it_is_closed(spent):
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            ended.append("closed")

    iterator = Metered(work(), spent.append, free=0).__await__()
    next(iterator)
    iterator.close()
    assert ended == ["closed"]


def caller(number: int) -> Principal:
    return Principal(
        name="",
        kind=CredentialKind.NONE,
        roles=frozenset(),
        address=f"ipv6:[2001:db8::{number:x}]",
    )


async def test_callers__are_forgotten_when_they_have_asked_for_nothing_lately():
    clock = FakeClock()
    limits = CallLimits(calls=Rate(per_second=50, burst=5))
    limiter = CallLimiter(limits, clock=clock)
    for number in range(MOST_ACCOUNTS):
        await limiter.refused(caller(number))
    clock.advance(call_limiting.REFUSAL_PAUSE * 20)  # each is owed what one call costs again
    busy = limiter.account(caller(MOST_ACCOUNTS + 1))
    async with busy.stream():
        for number in range(3 * MOST_ACCOUNTS):
            await limiter.refused(caller(number + 5_000))
            clock.advance(call_limiting.REFUSAL_PAUSE * 20)
        assert limiter.account(caller(MOST_ACCOUNTS + 1)) is busy
    assert len(limiter._accounts) <= MOST_ACCOUNTS + 1


async def test_streams__that_are_too_many_are_refused_one_after_the_other(monkeypatch):
    pause = timedelta(seconds=1)
    monkeypatch.setattr(call_limiting, "REFUSAL_PAUSE", pause)
    clock = FakeClock()
    account = Account("ci", CallLimits(streams=1), clock=clock)

    async def refused() -> None:
        with pytest.raises(TooManyStreams):
            async with account.stream():
                pass

    async with account.stream():
        calls = [asyncio.ensure_future(refused()) for _ in range(3)]
        for number in range(3):
            for _ in range(10):  # so many turns and more it takes until each waits
                await asyncio.sleep(0)
            assert sum(call.done() for call in calls) == number
            clock.advance(pause)
        await asyncio.gather(*calls)
