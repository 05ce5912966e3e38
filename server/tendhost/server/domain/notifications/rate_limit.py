"""The rate limit of notifications: so many messages a minute, some of them for urgent ones only."""

from dataclasses import dataclass, replace
from datetime import timedelta

MINUTE = timedelta(minutes=1)
URGENT_SHARE = 4
"""One message in so many is kept for urgent notices, at least one: a storm of failed hosts leaves room for the
halt that follows from it. A limit of one message keeps none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most `per_minute` messages in any sixty seconds. Times are readings of a monotonic clock."""

    per_minute: int
    """1 or more."""
    sent: tuple[timedelta, ...] = ()
    """Times of the latest messages, at most `per_minute` of them, oldest first."""

    def wait(self, now: timedelta, *, urgent: bool) -> timedelta:
        """Time until the next message may be sent; zero: it may be sent now."""
        most = self.per_minute if urgent else self.per_minute - self._kept
        if len(self.sent) < most:
            return timedelta()
        return max(timedelta(), self.sent[-most] + MINUTE - now)

    def after(self, now: timedelta) -> "RateLimit":
        """The limit after a message at `now`."""
        return replace(self, sent=(*self.sent, now)[-self.per_minute :])

    @property
    def _kept(self) -> int:
        """Number of messages in any minute that are kept for urgent notices."""
        return 0 if self.per_minute == 1 else max(1, self.per_minute // URGENT_SHARE)
