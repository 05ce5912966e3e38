"""To wait for a time to pass or for somebody to call, whichever comes first."""

import asyncio
from datetime import timedelta

from tendhost.server.clock import Clock


async def sleep_until_called(clock: Clock, duration: timedelta | None, call: asyncio.Event) -> None:
    """Return after `duration`, or as soon as `call` is set; None: only then.

    A time that is over already, or negative, gives way to other tasks once.
    """
    if duration is None:
        await call.wait()
        return
    sleeping = asyncio.ensure_future(clock.sleep(max(timedelta(), duration)))
    calling = asyncio.ensure_future(call.wait())
    try:
        await asyncio.wait((sleeping, calling), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
        calling.cancel()
        await asyncio.gather(sleeping, calling, return_exceptions=True)
