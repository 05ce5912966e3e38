"""To wait for a time to pass or for somebody to call, whichever comes first."""

import asyncio
from datetime import timedelta

from tendhost.server.clock import Clock

CEILING = timedelta(minutes=1)
"""The longest wait for a call alone: then what is stored is looked at, whatever was heard. A call that got
lost, or that another process should have made, costs no more than this, and a look is a read of a few rows."""


async def sleep_until_called(clock: Clock, duration: timedelta, call: asyncio.Event) -> None:
    """Return after `duration`, or as soon as `call` is set.

    Nothing is waited for by its call alone: that is what CEILING is for. A time that is over already, or
    negative, gives way to other tasks once.
    """
    sleeping = asyncio.ensure_future(clock.sleep(max(timedelta(), duration)))
    calling = asyncio.ensure_future(call.wait())
    try:
        await asyncio.wait((sleeping, calling), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
        calling.cancel()
        await asyncio.gather(sleeping, calling, return_exceptions=True)
