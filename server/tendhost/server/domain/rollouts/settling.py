"""Decides when a wave has settled: its hosts must stay healthy for the settling time of the wave.

A health round checks every host that the wave has updated once. Rounds repeat until one that started after
the settling time has found all hosts healthy.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

SHARE = 10
"""Number of health rounds in a settling time, unless SHORTEST_PAUSE makes it less."""
SHORTEST_PAUSE = timedelta(seconds=10)
"""Shortest time between two health rounds, unless the settling time is shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveSettling:
    """The settling time of one wave, and its health rounds so far."""

    since: datetime
    """Start of the settling time."""
    next_look_at: datetime
    """When the next health round starts."""
    look_at: datetime | None = None
    """Start of the present health round; None: there is none."""
    position: int = -1
    """`Member.position` of the last member whose check has started in the present health round."""

    def looking(self, now: datetime) -> "WaveSettling":
        """The settling with a health round: the present one, or one that starts now."""
        return self if self.look_at is not None else replace(self, look_at=now)

    def after_look(self, settle: timedelta) -> "WaveSettling | None":
        """The settling after a health round that found all hosts healthy; None: the wave has settled."""
        assert self.look_at is not None, "no health round is under way"
        end = self.since + settle
        if self.look_at >= end:
            return None
        following = min(self.look_at + pause_of(settle), end)
        return WaveSettling(since=self.since, next_look_at=following)


def settling_from(now: datetime, settle: timedelta) -> WaveSettling:
    """A settling time that starts now, when every host of the wave has just been verified."""
    return WaveSettling(since=now, next_look_at=now + pause_of(settle))


def pause_of(settle: timedelta) -> timedelta:
    """Time from the start of one health round to the start of the next."""
    return min(settle, max(SHORTEST_PAUSE, settle / SHARE))
