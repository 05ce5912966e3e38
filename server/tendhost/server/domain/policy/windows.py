"""Maintenance windows: days, start and end in a time zone of their own."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from operator import itemgetter
from zoneinfo import ZoneInfo

from tendhost.server.domain.local_time import offset_spans, require_zone


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
    name. The window is open while the local clock shows a time inside it, also where the clock is
    changed: a time that the clock skips opens nothing, and one that it shows twice is inside twice.
    """

    start: time
    end: time
    days: frozenset[Weekday] = frozenset()
    time_zone: str = "UTC"
    cutoff: timedelta = timedelta()
    """Time before its end in which nothing new starts."""

    def contains(self, now: datetime) -> bool:
        """Whether the window is open at `now` (aware). The start is inside, the end is not."""
        local = now.astimezone(ZoneInfo(self.time_zone))
        if self.start < self.end:
            return self._opens_on(local.date()) and self.start <= local.time() < self.end
        if local.time() >= self.start and self._opens_on(local.date()):
            return True
        return local.time() < self.end and self._opens_on(local.date() - _DAY)

    @property
    def length(self) -> timedelta:
        """Length of the window in local time."""
        span = datetime.combine(date.min, self.end) - datetime.combine(date.min, self.start)
        return span if span > timedelta() else span + _DAY

    def open_spans(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The spans of time between `start` and `end` (aware) in which the window is open, in order.

        Each as its first instant and the first instant after it, in UTC. Two spans can adjoin.
        """
        length = self.length
        for span in offset_spans(self.time_zone, start, end):
            first = (span.start + span.offset).replace(tzinfo=None)
            last = (span.end + span.offset).replace(tzinfo=None)
            for day in _days(first.date() - _DAY, last.date()):
                if not self._opens_on(day):
                    continue
                # The offset is constant here, so that local times can be compared and counted.
                opens = datetime.combine(day, self.start)
                begun, ended = max(opens, first), min(opens + length, last)
                if begun < ended:
                    yield (
                        (begun - span.offset).replace(tzinfo=UTC),
                        (ended - span.offset).replace(tzinfo=UTC),
                    )

    def _opens_on(self, day: date) -> bool:
        return not self.days or Weekday(day.isoweekday()) in self.days

    def __str__(self) -> str:
        days = ",".join(d.name[:3].lower() for d in sorted(self.days)) or "daily"
        words = f"{days} {self.start:%H:%M}-{self.end:%H:%M} {self.time_zone}"
        return f"{words}, cut-off {self.cutoff} before its end" if self.cutoff else words


def _days(first: date, last: date) -> Iterator[date]:
    day = first
    while day <= last:
        yield day
        day += _DAY


def first_start(
    windows: Sequence[MaintenanceWindow], now: datetime, planned: timedelta = timedelta()
) -> datetime | None:
    """The first instant from `now` on at which work that takes `planned` may start in one of `windows`:
    before its cut-off, and so that the work ends before the window.

    Windows that adjoin or overlap count as one, with the cut-off of the one that closes last; of several
    that close last, with the longest. None: never, since they are never open that long.
    """
    strictest = max((window.cutoff for window in windows), default=timedelta())
    ways = (_with_cutoff(window, now) for window in windows)
    spans = heapq.merge(*ways, key=itemgetter(0))
    first = next(spans, None)
    while first is not None:
        opened, end, cutoff = first
        first = None
        for following in spans:
            opens, closes, its_cutoff = following
            # No later cut-off can be longer, so that nothing that follows makes the start impossible.
            if opened + max(strictest, planned) <= end:
                return opened
            if opens > end:
                first = following
                break
            end, cutoff = max((end, cutoff), (closes, its_cutoff))
        if opened + max(cutoff, planned) <= end:
            return opened
    return None


def _with_cutoff(
    window: MaintenanceWindow, now: datetime
) -> Iterator[tuple[datetime, datetime, timedelta]]:
    for opens, closes in window.open_spans(now, now + _AHEAD):
        yield opens, closes, window.cutoff


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


_DAY = timedelta(days=1)
_AHEAD = timedelta(days=15)
"""Time in which every window opens twice, so that one day on which a change of the clock shortens it, or
takes it away, does not hide the other."""
