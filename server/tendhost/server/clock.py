"""The only place that reads a clock or sleeps."""

import asyncio
import time
from collections.abc import Awaitable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the rest of the server knows of time."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        ...

    def elapsed(self) -> timedelta:
        """Time since some fixed moment, whatever becomes of the date: for measuring durations."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Return once `duration` has passed; at once when it is not positive."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed(self) -> timedelta:
        return timedelta(seconds=time.monotonic())

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(max(0.0, duration.total_seconds()))


def loop_nanoseconds() -> int:
    """CPU time of this thread so far: what its work costs, however busy the machine is."""
    return time.thread_time_ns()


async def give_way() -> None:
    """Let every other task that is ready take its next step."""
    await asyncio.sleep(0)


async def wait_for(event: Awaitable[object], *, timeout: timedelta) -> None:
    """Return once `event` has happened, or `timeout` of real time has passed, when it is cancelled."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout.total_seconds()):
            await event
