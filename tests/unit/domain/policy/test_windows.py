"""Maintenance windows: midnight, weekdays, and both changes of daylight saving time."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.policy.windows import MaintenanceWindow, Weekday, first_start


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def next_start(
    window: MaintenanceWindow, now: datetime, planned: timedelta = timedelta()
) -> datetime | None:
    return first_start((window,), now, planned)


def allows_start(
    window: MaintenanceWindow, now: datetime, planned: timedelta = timedelta()
) -> bool:
    return next_start(window, now, planned) == now


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


planned_times = st.integers(0, 26 * 60).map(lambda minutes: timedelta(minutes=minutes))


@given(windows, instants, planned_times)
def test_what_is_planned_begins_when_the_window_is_open_and_ends_before_it_closes(
    window, now, planned
):
    starts = next_start(window, now, planned)
    if starts is None:
        # It is too long for the window, on every day of two weeks.
        assert max(window.cutoff, planned) > timedelta() or window.length <= timedelta(hours=1)
        return
    assert starts >= now
    assert window.contains(starts)
    assert allows_start(window, starts, planned)
    last = starts + max(planned, window.cutoff) - timedelta(microseconds=1)
    assert window.contains(max(starts, last))
    assert allows_start(window, now, planned) is (starts == now)


@given(windows, instants)
def test_a_window_opens_within_a_fortnight_and_is_never_begun_in_after_its_cut_off(window, now):
    starts = next_start(window, now)
    assert starts is None or starts <= now + timedelta(days=15)
    strict = replace(window, cutoff=window.length / 2)
    begins = next_start(strict, now)
    if begins is not None:
        assert window.contains(begins)
        end = begins + window.length / 2 - timedelta(microseconds=1)
        assert window.contains(end)


@pytest.mark.parametrize(
    ("zone", "at", "hours"),
    [
        ("Europe/Berlin", "2026-03-28T22:00", 5),  # an hour less in the night to the 29th
        ("Europe/Berlin", "2026-10-24T21:00", 7),  # an hour more in the night to the 25th
        ("Australia/Sydney", "2026-10-03T13:00", 5),  # in the south it is the other way round
        ("Australia/Sydney", "2026-04-04T12:00", 7),
        ("America/Santiago", "2026-09-06T03:00", 5),  # its clocks change at midnight
        ("Australia/Lord_Howe", "2026-10-03T12:30", 5.5),  # by half an hour
    ],
)
def test_what_fits_is_told_by_the_hours_that_there_really_are(zone, at, hours):
    window = MaintenanceWindow(start=time(23), end=time(5), time_zone=zone)
    opens = next_start(window, utc(at) - timedelta(hours=3))
    assert opens is not None
    span = timedelta(hours=hours)
    assert allows_start(window, opens, span)
    assert not allows_start(window, opens, span + timedelta(minutes=1))


def test_what_is_too_long_for_a_window_never_begins():
    window = MaintenanceWindow(start=time(2), end=time(4))
    now = utc("2026-11-20T03:00")
    assert next_start(window, now, timedelta(hours=1)) == now
    assert next_start(window, now, timedelta(hours=2)) == utc("2026-11-21T02:00")
    assert next_start(window, now, timedelta(hours=2, minutes=1)) is None


def test_nothing_begins_after_the_cut_off():
    window = MaintenanceWindow(start=time(2), end=time(4), cutoff=timedelta(minutes=30))
    assert allows_start(window, utc("2026-11-20T03:30"))
    assert not allows_start(window, utc("2026-11-20T03:31"))
    assert window.contains(utc("2026-11-20T03:31"))
    assert str(window) == "daily 02:00-04:00 UTC, cut-off 0:30:00 before its end"
