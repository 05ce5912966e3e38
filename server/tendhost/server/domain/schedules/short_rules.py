"""Hourly, daily and weekly rules of RFC 5545: their local times, found day by day.

dateutil goes through every period, and every minute of it, whether or not its day matches. For a rule that
recurs seldom or never this takes seconds. Here only matching days are expanded, and their number is bounded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

SHORT = ("HOURLY", "DAILY", "WEEKLY")
"""The frequencies whose periods are of one length."""
HORIZON = timedelta(days=366 * 60)
"""How far ahead of the last time, or of the start, to search for the next one. Days that match by month, day
and weekday come within 40 years if ever (29 February on one weekday, around 2100)."""
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_DAY = timedelta(days=1)
_LAST = date(9990, 1, 1)
"""Last day that is searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Days:
    """The days on which a rule recurs."""

    months: frozenset[int]
    month_days: frozenset[int]
    year_days: frozenset[int]
    weekdays: frozenset[int]
    """From 0, Monday. In all of these: empty means any."""
    first_weekday: int
    """The weekday with which a week starts."""

    def match(self, day: date) -> bool:
        """Whether the rule recurs on this day."""
        if self.months and day.month not in self.months:
            return False
        if self.weekdays and day.weekday() not in self.weekdays:
            return False
        if self.month_days and self.month_days.isdisjoint(_both(day.day, _month_length(day))):
            return False
        length = (date(day.year + 1, 1, 1) - date(day.year, 1, 1)).days
        return not self.year_days or not self.year_days.isdisjoint(_both(_year_day(day), length))

    def week_start(self, day: date) -> date:
        """The first day of the day's week."""
        return day - timedelta(days=(day.weekday() - self.first_weekday) % 7)


def local_times(
    parts: Mapping[str, str], start: datetime, *, after: datetime
) -> Iterator[datetime]:
    """The local times of a rule with these parts that are not before `start`, nor much before `after`.

    `parts` are sound, and have no UNTIL. With a COUNT the first are counted from `start` on. Raises
    ValueError where none of the hours can ever be reached.
    """
    count = int(parts["COUNT"]) if "COUNT" in parts else None
    first = start if count is not None else max(start, after)
    found = _unbounded(parts, start, first.date())
    for number, moment in enumerate(moment for moment in found if moment >= start):
        if number == count:
            return
        yield moment


def _unbounded(parts: Mapping[str, str], start: datetime, first: date) -> Iterator[datetime]:
    interval = int(parts.get("INTERVAL", "1"))
    days = _days_of(parts, start)
    times = _Times.of(parts, start)
    begun = days.week_start(start.date())
    day, last = first, _later(first)
    while day < last:
        if parts["FREQ"] == "WEEKLY":
            off = (days.week_start(day) - begun).days // 7 % interval
            ahead = days.week_start(day) + timedelta(weeks=interval - off) - day
        elif parts["FREQ"] == "DAILY":
            off = (day - start.date()).days % interval
            ahead = timedelta(days=interval - off)
        else:
            off, ahead = 0, _DAY
        if off:
            day += min(ahead, _LAST - day)
            continue
        if days.match(day):
            moments = times.on(day)
            yield from moments
            if moments:
                last = _later(day)
        day += _DAY


def _later(day: date) -> date:
    return min(_LAST, day + min(HORIZON, date.max - day))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    """The times of a day at which a rule recurs."""

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    second: int
    interval: int
    """Hours between two possible times of an hourly rule; 1 for other rules."""
    start: datetime

    @classmethod
    def of(cls, parts: Mapping[str, str], start: datetime) -> "_Times":
        hourly = parts["FREQ"] == "HOURLY"
        hours = _numbers(parts, "BYHOUR") or (range(24) if hourly else [start.hour])
        interval = int(parts.get("INTERVAL", "1")) if hourly else 1
        reached = {(start.hour + step * interval) % 24 for step in range(24)}
        if hourly and reached.isdisjoint(hours):
            raise ValueError(
                f"an INTERVAL of {interval} hours from {start:%H:%M} never comes to its BYHOUR"
            )
        return cls(
            hours=tuple(sorted(set(hours))),
            minutes=tuple(sorted(set(_numbers(parts, "BYMINUTE") or [start.minute]))),
            second=start.second,
            interval=interval,
            start=start,
        )

    def on(self, day: date) -> list[datetime]:
        """The times on a matching day."""
        hours_before = (day - self.start.date()).days * 24 - self.start.hour
        return [
            datetime.combine(day, time(hour, minute, self.second))
            for hour in self.hours
            if (hours_before + hour) % self.interval == 0
            for minute in self.minutes
        ]


def _days_of(parts: Mapping[str, str], start: datetime) -> _Days:
    weekdays = [_DAYS.index(name) for name in parts.get("BYDAY", "").split(",") if name]
    if parts["FREQ"] == "WEEKLY" and "BYDAY" not in parts:
        weekdays = [start.weekday()]
    return _Days(
        months=frozenset(_numbers(parts, "BYMONTH")),
        month_days=frozenset(_numbers(parts, "BYMONTHDAY")),
        year_days=frozenset(_numbers(parts, "BYYEARDAY")),
        weekdays=frozenset(weekdays),
        first_weekday=_DAYS.index(parts.get("WKST", "MO")),
    )


def _numbers(parts: Mapping[str, str], name: str) -> list[int]:
    return [int(number) for number in parts.get(name, "").split(",") if number]


def _both(number: int, of: int) -> tuple[int, int]:
    """A number from the beginning, from 1, and the same from the end, from -1."""
    return number, number - of - 1


def _month_length(day: date) -> int:
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return (following - date(day.year, day.month, 1)).days


def _year_day(day: date) -> int:
    return day.timetuple().tm_yday
