"""How much may be told in a minute."""

from dataclasses import dataclass, replace
from datetime import timedelta

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most `per_minute` in any sixty seconds. Times are measured from some fixed moment."""

    per_minute: int
    """1 or more."""
    told: tuple[timedelta, ...] = ()
    """When the latest were told, at most `per_minute` of them, the oldest first."""

    def wait(self, now: timedelta) -> timedelta:
        """How long until another one may be told; zero: at once."""
        if len(self.told) < self.per_minute:
            return timedelta()
        return max(timedelta(), self.told[0] + MINUTE - now)

    def after(self, now: timedelta) -> "RateLimit":
        """The limit once another one was told at `now`."""
        return replace(self, told=(*self.told, now)[-self.per_minute :])
