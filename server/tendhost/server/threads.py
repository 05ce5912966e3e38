"""Blocking calls that may never return: in threads of which nothing waits for the end."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class DaemonThreads:
    """At most so many threads at once.

    A thread cannot be ended from outside, and the interpreter waits for those of a ThreadPoolExecutor
    when it exits: a service that hangs would hang the server's stop. It does not wait for these.
    """

    def __init__(self, most: int, *, name: str) -> None:
        self._places = asyncio.Semaphore(most)
        self._name = name

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Cancelling this abandons the thread, which keeps its place
        until it ends by itself."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def done(value: T | None, error: BaseException | None) -> None:
            self._places.release()
            if result.cancelled():
                return
            if error is not None:
                result.set_exception(error)
            else:
                result.set_result(value)  # type: ignore[arg-type]

        def on_thread() -> None:
            value: T | None = None
            error: BaseException | None = None
            try:
                value = work()
            except Exception as raised:
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(done, value, error)

        try:
            threading.Thread(target=on_thread, name=self._name, daemon=True).start()
        except BaseException:
            self._places.release()
            raise
        return await result
