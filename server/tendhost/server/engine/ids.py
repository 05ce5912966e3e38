"""Ids of operations, rollouts and plans: unique, and in the order of their creation."""

import secrets
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from tendhost.server.clock import Clock

CHANCE = 74
"""Bits of an id that are no date, as RFC 9562, section 5.7, has them."""
_LOW = 62
STRIDE = 2**32
"""Ids of one millisecond are so far apart at most, by chance, so that none can be guessed from another."""


class Ids:
    """Makes UUIDs of version 7, each higher than all before it, even where the clock is put back.

    What is queued begins, and what is listed is listed, in the order of its ids. So they go on from the
    highest where the clock stands still or is put back, and look younger than they are then.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def follow(self, ids: Iterable[str]) -> None:
        """Make only ids that are higher than these, which an earlier server or another replica made."""
        self._last = max((self._last, *map(_number, ids)))

    def next(self) -> str:
        """A new id."""
        fresh = _milliseconds(self._clock.now()) << CHANCE | secrets.randbits(CHANCE)
        if fresh >> CHANCE <= self._last >> CHANCE:
            fresh = self._last + 1 + secrets.randbelow(STRIDE)
        self._last = fresh
        return str(_uuid(fresh))


def _milliseconds(date: datetime) -> int:
    return max(0, int(date.timestamp() * 1000))


def _uuid(number: int) -> UUID:
    """The id with these 48 bits of Unix milliseconds and 74 of chance."""
    milliseconds, chance = divmod(number, 1 << CHANCE)
    high, low = divmod(chance, 1 << _LOW)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << _LOW | low)


def _number(id: str) -> int:
    try:
        value = UUID(id).int
    except ValueError:
        return 0  # no server made it: better out of order than no start
    high, low = value >> 64 & 0xFFF, value & (1 << _LOW) - 1
    return value >> 80 << CHANCE | high << _LOW | low
