"""Pauses between attempts: they double up to a bound, and have jitter."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Capped exponential backoff with jitter."""

    first: timedelta
    """Before the second attempt."""
    longest: timedelta
    attempts: int
    """Largest number of attempts, the first one included."""

    def pause(self, attempt: int, chance: float) -> timedelta | None:
        """The pause after `attempt` attempts have failed; None: there is no further one.

        `chance`, from 0 to 1, is the jitter: the pause has between half and all of its length, so that hosts
        which failed together are not retried together.
        """
        if attempt >= self.attempts:
            return None
        whole = min(self.longest, self.first * float(2 ** min(attempt - 1, 30)))
        return whole * (0.5 + chance / 2)
