"""Pauses of calls that take long: others are served meanwhile, and each principal keeps to its part of the time."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from tendhost.server.clock import give_way

AT_A_TIME = 10
"""Messages to make between two pauses: those of hosts take about a tenth of a millisecond each."""

_TURN: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar("turn", default=None)


def pause_by(turn: Callable[[], Awaitable[None]]) -> None:
    """Have the pauses of the present call last until `turn` returns."""
    _TURN.set(turn)


async def pause() -> None:
    """Serve others, and go on when it is the caller's turn again. Call it for each millisecond of work."""
    await give_way()
    turn = _TURN.get()
    if turn is not None:
        await turn()
