"""Pauses between attempts: they double up to a bound, and have jitter."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class EndlessBackoff:
    """Capped exponential backoff with jitter, for attempts that go on until one succeeds."""

    first: timedelta
    """Before the second attempt."""
    longest: timedelta

    def length(self, attempt: int, chance: float) -> timedelta:
        """The pause after `attempt` attempts have failed.

        `chance`, from 0 to 1, is the jitter: the pause has between half and all of its length, so that hosts
        which failed together are not retried together.
        """
        whole = min(self.longest, self.first * float(2 ** min(attempt - 1, 30)))
        return whole * (0.5 + chance / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff(EndlessBackoff):
    """The same for attempts that end."""

    attempts: int
    """Largest number of attempts, the first one included."""

    def pause(self, attempt: int, chance: float) -> timedelta | None:
        """The pause after `attempt` attempts have failed; None: there is no further one. See `length`."""
        return None if attempt >= self.attempts else self.length(attempt, chance)
