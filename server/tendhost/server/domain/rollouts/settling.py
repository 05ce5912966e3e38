"""How long the hosts of a wave are looked at before the next one begins: pure.

A look is one health check of every host that the wave has updated. Looks are made again and again until
one that found everybody healthy was begun when the settling time had passed.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

SHARE = 10
"""Into so many parts a settling time is divided by looks."""
SHORTEST_PAUSE = timedelta(seconds=10)
"""Between two looks, unless the settling time is shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveSettling:
    """The settling time of one wave, and how far its looks are."""

    since: datetime
    next_look_at: datetime
    look_at: datetime | None = None
    """When the look under way was begun; None: none is under way."""
    position: int = -1
    """Of the look under way: the last member whose check has begun, by Member.position."""

    def looking(self, now: datetime) -> "WaveSettling":
        """With a look under way, begun now unless one is already."""
        return self if self.look_at is not None else replace(self, look_at=now)

    def after_look(self, settle: timedelta) -> "WaveSettling | None":
        """Once the look under way has found everybody healthy; None: the wave has settled."""
        assert self.look_at is not None, "no look is under way"
        end = self.since + settle
        if self.look_at >= end:
            return None
        following = min(self.look_at + pause_of(settle), end)
        return WaveSettling(since=self.since, next_look_at=following)


def settling_from(now: datetime, settle: timedelta) -> WaveSettling:
    """A settling time that begins now, when every host of the wave has just been verified."""
    return WaveSettling(since=now, next_look_at=now + pause_of(settle))


def pause_of(settle: timedelta) -> timedelta:
    """How long after the beginning of one look the next one begins."""
    return min(settle, max(SHORTEST_PAUSE, settle / SHARE))
