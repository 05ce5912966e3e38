"""Retries a change that read a value first, when somebody else changed the value meanwhile."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tendhost.client import transport
from tendhost.client.errors import Conflict

T = TypeVar("T")

ATTEMPTS = 12
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0


async def retry_on_conflict(work: Callable[[], Awaitable[T]], *, attempts: int = ATTEMPTS) -> T:
    """Call `work`, and again from its reading on while it raises Conflict; EtagMismatch is one.

    At most `attempts` times, with uneven pauses that double from 50 ms to 1 s. `work` reads what it is about,
    decides, and writes with the etag that it has read. Raises what `work` raises, Conflict the last time.

        async def without_sundays():
            host = await tendhost.get_host("web1")
            windows = [w for w in host.windows if "sun" not in w.days]
            return await tendhost.reconfigure_host(
                "web1", windows=windows, etag=host.etag
            )

        await retry_on_conflict(without_sundays)
    """
    pause = FIRST_PAUSE_SECONDS
    for _ in range(attempts - 1):
        try:
            return await work()
        except Conflict:
            # Uneven, so that those who met do not meet again.
            await transport.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
    return await work()
