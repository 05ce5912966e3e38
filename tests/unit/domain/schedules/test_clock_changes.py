"""Recurrences where clocks are changed, against an oracle that goes from day to day."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tendhost.server.domain.schedules.recurrence import Recurrence
from tests.unit.domain.clock_changes import CHANGES, ZONES

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LARGEST = 3 * HOUR
"""Debian's cron takes a larger change for a correction of the clock, and so catches up with nothing."""


def size(change: datetime, zone: ZoneInfo) -> timedelta:
    before = (change - MINUTE).astimezone(zone).utcoffset()
    after = change.astimezone(zone).utcoffset()
    assert before is not None
    assert after is not None
    return after - before


def times_near(change: datetime, zone: ZoneInfo) -> list[tuple[int, int]]:
    """Local hours and minutes at the change, half an hour before it and after it, by both offsets."""
    shown = [
        at.astimezone(zone) + n * 30 * MINUTE
        for at in (change - MINUTE, change)
        for n in range(-2, 3)
    ]
    return sorted({(at.hour, at.minute) for at in shown})


def first_instant(local: datetime, zone: ZoneInfo) -> datetime:
    """By the former offset, if the clock skips the local time; else at the first of two."""
    return local.replace(tzinfo=zone).astimezone(ZoneInfo("UTC"))


def exists(local: datetime, zone: ZoneInfo) -> bool:
    return first_instant(local, zone).astimezone(zone).replace(tzinfo=None) == local


def days_around(change: datetime, zone: ZoneInfo) -> list[datetime]:
    midnight = datetime.combine(change.astimezone(zone).date(), datetime.min.time())
    return [midnight + n * DAY for n in range(-2, 3)]


@pytest.mark.parametrize("name", ZONES)
def test_daily_time__comes_once_on_each_day_around_a_change(name: str) -> None:
    zone = ZoneInfo(name)
    for change in CHANGES[name]:
        if abs(size(change, zone)) >= LARGEST:
            continue
        first, last = change - 30 * HOUR, change + 30 * HOUR
        for hour, minute in times_near(change, zone):
            days = [day.replace(hour=hour, minute=minute) for day in days_around(change, zone)]
            by_rule = sorted(first_instant(day, zone) for day in days)
            by_cron = [first_instant(day, zone) if exists(day, zone) else change for day in days]
            rule = Recurrence(
                rrule=f"FREQ=DAILY;BYHOUR={hour};BYMINUTE={minute}",
                time_zone=name,
                start=change - 90 * DAY,
            )
            cron = Recurrence(
                cron=f"{minute} {hour} * * *", time_zone=name, start=change - 90 * DAY
            )
            for made, expected in ((rule, by_rule), (cron, sorted(by_cron))):
                found = []
                for moment in made.moments(first):
                    if moment > last:
                        break
                    found.append(moment)
                assert found == [at for at in expected if first < at <= last], (made, change)


@pytest.mark.parametrize("name", ZONES)
def test_hourly_cron__comes_whenever_the_clock_shows_its_minute(name: str) -> None:
    zone = ZoneInfo(name)
    for change in CHANGES[name]:
        first, last = change - 3 * HOUR, change + 3 * HOUR
        for minute in (0, 30, 59):
            cron = Recurrence(cron=f"{minute} * * * *", time_zone=name, start=change - DAY)
            shown = (first + n * MINUTE for n in range(1, (last - first) // MINUTE + 1))
            expected = [at for at in shown if at.astimezone(zone).minute == minute]
            found = []
            for moment in cron.moments(first):
                if moment > last:
                    break
                found.append(moment)
            assert found == expected, (cron, change)
