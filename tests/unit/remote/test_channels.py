"""Channels of a connection whose host opens only so many at the same time."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tendhost.server.remote.channels import TRIES_ALONE, Channels, Refused


class Host:
    """Opens `most` channels at the same time; it frees one `late` requests after it has closed it."""

    def __init__(self, most: int, late: int = 0) -> None:
        self.most, self.late = most, late
        self.open = self.highest = self.requests = 0
        self.ran: list[int] = []
        self._closing: list[int] = []

    async def execute(self, number: int, moments: int) -> int:
        self.requests += 1
        await asyncio.sleep(0)
        self._closing = [left - 1 for left in self._closing if left > 0]
        if self.open + len(self._closing) >= self.most:
            raise Refused
        self.open += 1
        self.highest = max(self.highest, self.open)
        try:
            for _ in range(moments):
                await asyncio.sleep(0)
        finally:
            self.open -= 1
            self._closing.append(self.late)
        self.ran.append(number)
        return number


async def all_of(host: Host, moments: Sequence[int]) -> list[int]:
    channels = Channels()
    async with asyncio.timeout(5):
        return list(
            await asyncio.gather(
                *(
                    channels.run(lambda n=n, m=m: host.execute(n, m))  # type: ignore[misc]
                    for n, m in enumerate(moments)
                )
            )
        )


@given(st.integers(1, 4), st.integers(0, 2), st.lists(st.integers(0, 6), max_size=12))
@settings(max_examples=300, deadline=None)
def test_commands__all_run_once_however_few_channels_a_host_opens(
    most: int, late: int, moments: list[int]
) -> None:
    host = Host(most, late)
    assert asyncio.run(all_of(host, moments)) == list(range(len(moments)))
    assert sorted(host.ran) == list(range(len(moments)))
    assert host.highest <= most


async def test_commands__run_side_by_side_where_the_host_allows_it() -> None:
    host = Host(10)
    await all_of(host, [3] * 10)
    assert (host.highest, host.requests) == (10, 10)


async def test_commands__are_not_asked_for_beyond_what_the_host_has_refused() -> None:
    host, channels = Host(1), Channels()
    await asyncio.gather(*(channels.run(lambda: host.execute(0, 3)) for _ in range(5)))
    before = host.requests
    await asyncio.gather(*(channels.run(lambda: host.execute(0, 3)) for _ in range(5)))
    assert host.requests - before == 5


async def test_host_that_opens_no_channel__is_asked_a_few_times() -> None:
    host = Host(0)
    with pytest.raises(Refused):
        await Channels().run(lambda: host.execute(0, 1))
    assert host.requests == TRIES_ALONE


async def test_caller_that_leaves_the_queue__keeps_nobody_waiting() -> None:
    host, channels = Host(1), Channels()
    running = [asyncio.create_task(channels.run(lambda: host.execute(0, 20))) for _ in range(4)]
    for _ in range(8):
        await asyncio.sleep(0)
    running[2].cancel()
    with suppress(asyncio.CancelledError):
        await running[2]
    async with asyncio.timeout(5):
        assert list(await asyncio.gather(running[0], running[1], running[3])) == [0, 0, 0]
