"""The rule that no turn of an event loop takes long, which every test is held to."""

import asyncio
import time

import pytest

from tests.conftest import longest_turn_seconds
from tests.turns import measured_turns


def busy(seconds: float) -> None:
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass


def test_turn__is_measured_by_what_its_thread_computes() -> None:
    async def main() -> None:
        busy(0.02)
        await asyncio.to_thread(busy, 0.2)

    with measured_turns() as longest:
        asyncio.run(main())
    assert 0.02 <= longest.seconds < 0.2


@pytest.mark.xfail(strict=True, reason="the rule itself")
async def test_turn__that_takes_very_long_fails_its_test() -> None:
    busy(1.2 * longest_turn_seconds())


@pytest.mark.long_turns
async def test_turn__may_take_long_where_a_test_says_so() -> None:
    busy(1.2 * longest_turn_seconds())
