"""Maintenance windows: days, start and end in a time zone of their own."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from operator import itemgetter
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class Weekday(IntEnum):
    """ISO 8601 weekdays, Monday is 1."""

    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceWindow:
    """Open on each of `days` from `start` until `end`, local time in `time_zone`.

    An `end` at or before `start` means the next day, so 22:00–04:00 on Friday ends on Saturday
    morning, and 00:00–00:00 is the whole day. Empty `days` mean every day. `time_zone` is an IANA
    name. Where daylight saving time makes a local time happen twice, the window opens at the first
    of the two and closes at the second; where it makes one vanish, the window moves with the clock
    (PEP 495's rule for a time in the gap).
    """

    start: time
    end: time
    days: frozenset[Weekday] = frozenset()
    time_zone: str = "UTC"
    cutoff: timedelta = timedelta()
    """Time before its end in which nothing new starts."""

    def contains(self, now: datetime) -> bool:
        """Whether the window is open at `now` (aware). The start is inside, the end is not."""
        return any(opens <= now < closes for opens, closes in self.occurrences(now, days_ahead=0))

    @property
    def length(self) -> timedelta:
        """Length of the window in local time."""
        day = timedelta(days=1)
        span = datetime.combine(date.min, self.end) - datetime.combine(date.min, self.start)
        return span if span > timedelta() else span + day

    def occurrences(self, now: datetime, *, days_ahead: int) -> Iterator[tuple[datetime, datetime]]:
        """Start and end (UTC) of each time it is open, in order, from the day before `now` on."""
        today = now.astimezone(ZoneInfo(self.time_zone)).date()
        for offset in range(-1, days_ahead + 1):
            day = today + timedelta(days=offset)
            if not self.days or Weekday(day.isoweekday()) in self.days:
                yield self._on(day)

    def _on(self, day: date) -> tuple[datetime, datetime]:
        zone = ZoneInfo(self.time_zone)
        last = day if self.start < self.end else day + timedelta(days=1)
        opens = datetime.combine(day, self.start, tzinfo=zone)
        closes = datetime.combine(last, self.end, tzinfo=zone).replace(fold=1)
        # Comparisons of two datetimes in one zone ignore the offset, so both go to UTC.
        return opens.astimezone(UTC), closes.astimezone(UTC)

    def __str__(self) -> str:
        days = ",".join(d.name[:3].lower() for d in sorted(self.days)) or "daily"
        words = f"{days} {self.start:%H:%M}-{self.end:%H:%M} {self.time_zone}"
        return f"{words}, cut-off {self.cutoff} before its end" if self.cutoff else words


def first_start(
    windows: Sequence[MaintenanceWindow], now: datetime, planned: timedelta = timedelta()
) -> datetime | None:
    """The first instant from `now` on at which work that takes `planned` may start in one of `windows`:
    before its cut-off, and so that the work ends before the window.

    Windows that follow each other without a gap, or overlap, count as one, with the cut-off of the
    one that closes last. None: never, since they are never open that long.
    """
    opened: datetime | None = None
    end = now
    ways = (_with_cutoff(window, now) for window in windows)
    for opens, closes, cutoff in heapq.merge(*ways, key=itemgetter(0)):
        if opened is None or opens > end:
            opened, end = opens, closes
        elif closes < end:
            continue
        end = closes
        start = max(opened, now)
        if start < end and start + max(cutoff, planned) <= end:
            return start
    return None


def _with_cutoff(
    window: MaintenanceWindow, now: datetime
) -> Iterator[tuple[datetime, datetime, timedelta]]:
    for opens, closes in window.occurrences(now, days_ahead=_AHEAD):
        yield opens, closes, window.cutoff


def require_zone(name: str) -> ZoneInfo:
    """The time zone of this name. Raises ValueError if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # OSError: a name such as "Europe", which is a folder of the database.
        words = f"{name!r} is not an IANA time zone such as 'Europe/Vienna'"
        raise ValueError(words) from None


def unsound_windows(windows: Iterable[MaintenanceWindow]) -> Iterator[tuple[str, str]]:
    """Faults of windows that no rule of the contract covers: the field, and the fault."""
    for number, window in enumerate(windows):
        try:
            require_zone(window.time_zone)
        except ValueError as error:
            yield f"[{number}].time_zone", str(error)
        if window.cutoff >= window.length:
            yield (
                f"[{number}].cutoff",
                f"must be shorter than the window, which is open for {window.length}",
            )


_AHEAD = 15
"""Days in which every window opens twice, so that one day on which daylight saving time shortens it, or
takes it away, does not hide the other."""
