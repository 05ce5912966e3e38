"""Tasks that are begun one by one and ended together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class TaskSet(Generic[T]):
    """The tasks that have not ended yet; each leaves the set when it ends."""

    def __init__(
        self,
        create: Callable[[Coroutine[Any, Any, T]], "asyncio.Task[T]"] = asyncio.create_task,
    ) -> None:
        """`create` makes the tasks: `create_task` of a TaskGroup that sees to their errors, say."""
        self._create = create
        self._running: set[asyncio.Task[T]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run `work` in a task of its own."""
        task = self._create(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def cancel(self) -> None:
        """Cancel every task, and return when all have ended, whatever they raise."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


@asynccontextmanager
async def running(works: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run each of `works` in a task of its own while the context lasts."""
    tasks: TaskSet[None] = TaskSet()
    for work in works:
        tasks.start(work)
    try:
        yield
    finally:
        await tasks.cancel()
