"""Local time: time zones by name, instants as text, and the spans of time in which an offset from UTC is constant."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_STEP = timedelta(days=2)
"""Less than the time between any two changes of an offset in the IANA database, which is four days."""
_SECOND = timedelta(seconds=1)


def require_zone(name: str) -> ZoneInfo:
    """The time zone of this name. Raises ValueError if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # OSError: a name such as "Europe", which is a folder of the database.
        words = f"{name!r} is not an IANA time zone such as 'Europe/Vienna'"
        raise ValueError(words) from None


def local_text(at: datetime, time_zone: str) -> str:
    """An instant in the local time of a zone: 2026-12-23 18:00 Europe/Berlin."""
    return f"{at.astimezone(ZoneInfo(time_zone)):%Y-%m-%d %H:%M} {time_zone}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetSpan:
    """A span of time in which the local time of a zone is `offset` ahead of UTC."""

    start: datetime
    """First instant of the span, in UTC."""
    end: datetime
    """First instant after the span, in UTC."""
    offset: timedelta


def offset_spans(time_zone: str, start: datetime, end: datetime) -> Iterator[OffsetSpan]:
    """The spans of constant offset between `start` and `end` (aware), in order and without gaps.

    `time_zone` is an IANA name. Raises ZoneInfoNotFoundError if it is unknown.
    """
    zone = ZoneInfo(time_zone)
    begun = start = start.astimezone(UTC)
    end = end.astimezone(UTC)
    for year in range(start.year, end.year + 1):
        for change in _changes(zone, year):
            if begun < change < end:
                yield OffsetSpan(start=begun, end=change, offset=_offset(zone, begun))
                begun = change
    if begun < end:
        yield OffsetSpan(start=begun, end=end, offset=_offset(zone, begun))


@lru_cache(maxsize=2048)
def _changes(zone: ZoneInfo, year: int) -> tuple[datetime, ...]:
    """The instants after the beginning of a year (UTC), until the beginning of the next one, at which the
    offset of the zone changes.

    By the object and not by its name: `ZoneInfo.clear_cache` makes a new one of changed rules.
    """
    at, last = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    found = []
    while at < last:
        following = min(at + _STEP, last)
        if _offset(zone, at) != _offset(zone, following):
            found.append(_first_after_change(zone, at, following))
        at = following
    return tuple(found)


def _first_after_change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first instant, to the second, with the offset of `after`; at `before` the offset is another."""
    while after - before > _SECOND:
        middle = before + (after - before) // _SECOND // 2 * _SECOND
        if _offset(zone, middle) == _offset(zone, after):
            after = middle
        else:
            before = middle
    return after


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    offset = at.astimezone(zone).utcoffset()
    assert offset is not None, "a ZoneInfo knows the offset of every instant"
    return offset
