"""Read, decide and save again where somebody else has changed what was decided upon."""

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from tendhost.server.store.protocol import Conflict

ATTEMPTS = 100
"""Of so many writers that begin at once, each still gets its turn: at every attempt one of them wins.
Past it something else is wrong."""

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
