"""The rate limit of notifications: so many messages a minute."""

from dataclasses import dataclass, replace
from datetime import timedelta

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most `per_minute` messages in any sixty seconds. Times are readings of a monotonic clock."""

    per_minute: int
    """1 or more."""
    sent: tuple[timedelta, ...] = ()
    """Times of the latest messages, at most `per_minute` of them, oldest first."""

    def wait(self, now: timedelta) -> timedelta:
        """Time until the next message may be sent; zero: it may be sent now."""
        if len(self.sent) < self.per_minute:
            return timedelta()
        return max(timedelta(), self.sent[0] + MINUTE - now)

    def after(self, now: timedelta) -> "RateLimit":
        """The limit after a message at `now`."""
        return replace(self, sent=(*self.sent, now)[-self.per_minute :])
