"""Maintenance windows: midnight, weekdays, and both changes of daylight saving time."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.window import MaintenanceWindow, Weekday


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHT = MaintenanceWindow(start=time(22), end=time(4), days=frozenset({Weekday.FRIDAY}))


@pytest.mark.parametrize(
    ("at", "inside"),
    [
        ("2026-11-20T21:59", False),  # a Friday
        ("2026-11-20T22:00", True),
        ("2026-11-21T03:59", True),
        ("2026-11-21T04:00", False),
        ("2026-11-21T22:30", False),  # Saturday evening is no Friday
        ("2026-11-20T01:00", False),  # nor is the night from Thursday
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opens(at, inside):
    assert NIGHT.contains(utc(at)) is inside


def test_equal_start_and_end_are_a_whole_day():
    window = MaintenanceWindow(start=time(0), end=time(0))
    assert window.contains(utc("2026-11-20T00:00"))
    assert window.contains(utc("2026-11-20T23:59"))


def test_a_window_is_local_time_of_its_zone():
    window = MaintenanceWindow(start=time(2), end=time(4), time_zone="Asia/Kathmandu")
    assert window.contains(utc("2026-11-19T20:15"))  # 02:00 at +05:45
    assert not window.contains(utc("2026-11-20T02:30"))


def test_a_window_that_starts_in_the_vanished_hour_opens_where_the_clock_jumps_to():
    # Vienna, 2026-03-29: 02:00 becomes 03:00, which is 01:00 UTC.
    window = MaintenanceWindow(start=time(2, 30), end=time(5), time_zone="Europe/Vienna")
    assert not window.contains(utc("2026-03-29T00:59"))
    assert window.contains(utc("2026-03-29T01:30"))
    assert not window.contains(utc("2026-03-29T03:00"))


def test_a_window_in_the_doubled_hour_stays_open_through_both():
    # Vienna, 2026-10-25: 03:00 becomes 02:00 again; 02:30 is 00:30 and 01:30 UTC.
    window = MaintenanceWindow(start=time(2, 15), end=time(2, 45), time_zone="Europe/Vienna")
    assert window.contains(utc("2026-10-25T00:20"))
    assert window.contains(utc("2026-10-25T01:40"))
    assert not window.contains(utc("2026-10-25T01:45"))


windows = st.builds(
    MaintenanceWindow,
    start=st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    end=st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    days=st.frozensets(st.sampled_from(Weekday)),
    time_zone=st.sampled_from(
        ["UTC", "Europe/Vienna", "America/St_Johns", "Australia/Lord_Howe", "America/Santiago"]
    ),
)
YEARS = st.datetimes(datetime.fromisoformat("2024-01-01"), datetime.fromisoformat("2030-01-01"))
instants = YEARS.map(lambda at: at.replace(tzinfo=UTC))


@given(windows, instants)
def test_the_next_opening_lies_ahead_and_the_window_is_open_then(window, now):
    opens = window.next_opening(now)
    assert now < opens <= now + timedelta(days=9)
    # A window that lies wholly in the vanished hour has no length on that day.
    local = opens.astimezone(ZoneInfo(window.time_zone))
    in_gap = local.time().replace(tzinfo=None) != window.start
    assert window.contains(opens) or in_gap
