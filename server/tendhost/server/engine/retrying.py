"""Read, decide and save again where somebody else has changed what was decided upon."""

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from tendhost.server.store.protocol import Conflict

ATTEMPTS = 10
"""Far above what two writers can cause; past it something else is wrong."""

P = ParamSpec("P")
T = TypeVar("T")


def on_conflict_again(work: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Call `work` anew, from its reading on, while it ends in Conflict; at most ATTEMPTS times."""

    @functools.wraps(work)
    async def attempts(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(ATTEMPTS - 1):
            try:
                return await work(*args, **kwargs)
            except Conflict:
                continue
        return await work(*args, **kwargs)

    return attempts
