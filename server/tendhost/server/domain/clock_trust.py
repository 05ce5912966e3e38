"""Whether the date of this machine can be believed when history is dropped by its age.

A date cannot be proved. What is known is how much time has passed while a server ran, by a clock that
nobody sets, and which date was believed before. A date that is far from both may be right, where no server
ran for long, or wrong, where a clock lost its battery. So it is waited for a day, in which nothing is dropped
by the date. What is kept for hours goes by the time that servers have run for, and by no date at all.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

PATIENCE = timedelta(days=1)
"""A doubted date is believed once servers have run for so long while it went on as the time did."""
MOST_SLACK = timedelta(days=7)


def slack_of(history: timedelta) -> timedelta:
    """How far a date may run ahead, where so much history is kept: a tenth of it, 7 days at most."""
    return min(MOST_SLACK, history / 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A revision that was current when servers had run for `age` less than now."""

    age: timedelta
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryAge:
    """How old revisions are, by the time that servers have run for since. Time without a server is not counted."""

    marks: tuple[Mark, ...] = ()
    """The oldest first."""

    def looked(self, revision: int, *, passed: timedelta, kept: timedelta) -> "HistoryAge":
        """Once `revision` is current; this server has run for `passed` since the last look.

        Enough is remembered to tell what is older than `kept`.
        """
        aged = [replace(mark, age=mark.age + passed) for mark in self.marks]
        while len(aged) > 1 and aged[1].age >= kept:
            del aged[0]
        return HistoryAge(marks=(*aged, Mark(age=timedelta(), revision=revision)))

    def older_than(self, age: timedelta) -> int:
        """What was stored before this revision is older than `age`; 0: nothing is known to be."""
        return max((mark.revision for mark in self.marks if mark.age >= age), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockTrust:
    """What is known of the date, from one look at it to the next. It outlives the server."""

    expected: datetime
    """The date that was last believed, with the time that servers have run for since."""
    seen: datetime
    """The date at the last look, believed or not."""
    doubted_for: timedelta | None = None
    """For how long servers have run since the date went off; None: it is believed."""
    aging: HistoryAge = HistoryAge()

    @property
    def doubted(self) -> bool:
        """Whether nothing may be dropped by the date."""
        return self.doubted_for is not None

    def looked(self, now: datetime, *, passed: timedelta, slack: timedelta) -> "ClockTrust":
        """What is known once the date is `now`; this server has run for `passed` since the last look."""
        expected = self.expected + passed
        # A date that was put back takes nothing itself, and neither may what is measured against it later.
        if abs(now - expected) <= slack:
            return replace(self, expected=now, seen=now, doubted_for=None)
        steady = abs(now - self.seen - passed) <= slack
        former = self.doubted_for if steady else None
        doubted_for = timedelta() if former is None else former + passed
        if doubted_for >= PATIENCE:
            return replace(self, expected=now, seen=now, doubted_for=None)
        return replace(self, expected=expected, seen=now, doubted_for=doubted_for)

    @property
    def doubt(self) -> str:
        """Why nothing is dropped, and what to do, in words; empty: the date is believed."""
        if self.doubted_for is None:
            return ""
        left = PATIENCE - self.doubted_for
        hours = max(1, -(-left // timedelta(hours=1)))
        return (
            f"history is not pruned: the clock says {self.seen:%Y-%m-%d %H:%M} UTC, and the newest date"
            f" on record is {self.expected:%Y-%m-%d %H:%M} UTC. If the clock is wrong, correct it. If no"
            f" server ran in between, wait: pruning goes on after {hours} more hours of running"
        )
