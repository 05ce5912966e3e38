"""Waits: for a time or a call, for a store that cannot be used, and between the rounds of a loop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import TypeVar

from tendhost.server.clock import Clock
from tendhost.server.domain.request_errors import StoreUnavailable

T = TypeVar("T")

CEILING = timedelta(minutes=1)
"""The longest wait for a call alone: then what is stored is read, whatever was heard. A call that got
lost, or that another process should have made, costs no more than this, and the reading is of a few rows."""
STORE_PAUSE = timedelta(seconds=5)
"""Between tries of work for which the store could not be used."""


async def sleep_until_called(clock: Clock, duration: timedelta, call: asyncio.Event) -> None:
    """Return after `duration`, or as soon as `call` is set.

    Nothing is waited for by its call alone: that is what CEILING is for. A time that is over already, or
    negative, gives way to other tasks once.
    """
    await sleep_until_done(clock, duration, call.wait())


async def sleep_until_done(
    clock: Clock, duration: timedelta, work: Coroutine[None, None, object]
) -> None:
    """Return after `duration`, which cancels `work`, or as soon as that is done or has failed."""
    sleeping = asyncio.ensure_future(clock.sleep(max(timedelta(), duration)))
    calling = asyncio.ensure_future(work)
    try:
        await asyncio.wait((sleeping, calling), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
        calling.cancel()
        await asyncio.gather(sleeping, calling, return_exceptions=True)


async def retry_while_unavailable(
    work: Callable[[], Awaitable[T]],
    *,
    sleep: Callable[[timedelta], Awaitable[None]],
    logger: logging.Logger,
    waiting: str,
    pause: timedelta = STORE_PAUSE,
    longest: timedelta | None = None,
    **fields: object,
) -> T:
    """What `work` returns; it is called again as long as it raises StoreUnavailable, without end.

    `waiting` is logged each time ("a rollout waits for the store"), with `fields` and the cause. The pauses
    double from `pause` to `longest`; None: all of them take `pause`. Raises whatever else `work` raises.
    """
    while True:
        try:
            return await work()
        except StoreUnavailable as error:
            logger.warning(waiting, extra={**fields, "cause": error.cause})
        await sleep(pause)
        pause = pause if longest is None else min(pause * 2, longest)


async def repeat_every(
    interval: timedelta,
    work: Callable[[], Awaitable[None]],
    *,
    clock: Clock,
    logger: logging.Logger,
    failed: str,
) -> None:
    """Call `work` every `interval`, from now on, until cancelled.

    `failed` is logged where a call fails ("history was not pruned"); the next call tries again.
    """
    while True:
        try:
            await work()
        except StoreUnavailable as error:
            logger.warning(failed, extra={"cause": error.cause})
        except Exception:
            logger.exception(failed)
        await clock.sleep(interval)
