"""Maintenance windows where clocks are changed, against an oracle that reads the clock minute by minute."""

from datetime import UTC, datetime, time, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.local_time import offset_spans
from tendhost.server.domain.policy.windows import MaintenanceWindow, Weekday, first_start
from tests.unit.domain.clock_changes import CHANGES, YEARS, ZONES

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def reads_inside(window: MaintenanceWindow, at: datetime) -> bool:
    """The rule, word for word: the wall clock shows a minute of the window, of its day or of the night after it."""
    return is_inside(window, at.astimezone(ZoneInfo(window.time_zone)))


def is_inside(window: MaintenanceWindow, local: datetime) -> bool:
    minute = local.hour * 60 + local.minute
    starts = window.start.hour * 60 + window.start.minute
    ends = window.end.hour * 60 + window.end.minute
    if ends <= starts:
        ends += 24 * 60
    today, yesterday = local.isoweekday(), (local.isoweekday() - 2) % 7 + 1
    return (starts <= minute < ends and (not window.days or today in window.days)) or (
        starts <= minute + 24 * 60 < ends and (not window.days or yesterday in window.days)
    )


def of_the_day(minutes: int) -> time:
    return time(minutes // 60 % 24, minutes % 60)


def open_at(window: MaintenanceWindow, first: datetime, last: datetime) -> set[datetime]:
    return {
        opens + n * MINUTE
        for opens, closes in window.open_spans(first, last)
        for n in range((closes - opens) // MINUTE)
    }


@pytest.mark.parametrize("zone", ZONES)
def test_a_window__is_open_while_the_clock_shows_a_time_inside_it(zone):
    for change in CHANGES[zone]:
        before = (change - MINUTE).astimezone(ZoneInfo(zone))
        after = change.astimezone(ZoneInfo(zone))
        shown = {at.hour * 60 + at.minute + n for at in (before, after) for n in (-29, 1)}
        first, last = change - 2 * HOUR, change + 2 * HOUR
        minutes = [first + n * MINUTE for n in range((last - first) // MINUTE)]
        clock = [(at, at.astimezone(ZoneInfo(zone))) for at in minutes]
        for start, end in product({0, *shown}, repeat=2):
            window = MaintenanceWindow(start=of_the_day(start), end=of_the_day(end), time_zone=zone)
            expected = {at for at, local in clock if is_inside(window, local)}
            assert open_at(window, first, last) == expected, (window, change)
            assert window.contains(change) is (change in expected)


times = st.integers(0, 24 * 60 - 1).map(of_the_day)


@st.composite
def windows_at_a_change(draw) -> tuple[list[MaintenanceWindow], datetime]:
    """Windows in one zone or two, and an instant near a change of the clock of the first."""
    zone = draw(st.sampled_from([zone for zone in ZONES if CHANGES[zone]]))
    change = draw(st.sampled_from(CHANGES[zone]))
    window = st.builds(
        MaintenanceWindow,
        start=times,
        end=times,
        days=st.frozensets(st.sampled_from(Weekday)),
        time_zone=st.sampled_from([zone, "UTC"]),
        cutoff=st.integers(0, 180).map(lambda minutes: minutes * MINUTE),
    )
    several = draw(st.lists(window, min_size=1, max_size=3))
    return several, change + draw(st.integers(-30 * 60, 6 * 60)) * MINUTE


@given(windows_at_a_change(), st.integers(0, 240).map(lambda minutes: minutes * MINUTE))
def test_work__starts_at_the_first_minute_that_leaves_it_room(drawn, planned):
    windows, now = drawn
    found = first_start(windows, now, planned)
    open_now = [any(reads_inside(w, now + n * MINUTE) for w in windows) for n in range(3 * 24 * 60)]
    for n in range(24 * 60):
        at = now + n * MINUTE
        if not open_now[n]:
            continue
        end = next((m for m in range(n, len(open_now)) if not open_now[m]), None)
        if end is None:  # open for days, so that everything fits
            expected = at
            break
        last = now + (end - 1) * MINUTE
        cutoff = max(window.cutoff for window in windows if reads_inside(window, last))
        if at + max(cutoff, planned) <= now + end * MINUTE:
            expected = at
            break
    else:
        assert found is None or found >= now + DAY
        return
    assert found == expected


@pytest.mark.parametrize(
    ("window", "zone", "opens", "closes"),
    [
        ("22:00-02:30", "Europe/Berlin", "2027-03-27T21:00", "2027-03-28T01:00"),
        ("02:00-03:00", "Europe/Berlin", None, None),
        ("22:00-00:00", "America/Santiago", "2026-09-06T02:00", "2026-09-06T04:00"),
        ("01:45-02:15", "Australia/Lord_Howe", "2026-10-03T15:15", "2026-10-03T15:30"),
        ("02:15-02:45", "Australia/Lord_Howe", "2026-10-03T15:30", "2026-10-03T15:45"),
    ],
)
def test_a_window_at_a_skipped_hour__ends_or_begins_where_the_clock_is_put_forward(
    window, zone, opens, closes
):
    start, _, end = window.partition("-")
    made = MaintenanceWindow(
        start=time.fromisoformat(start), end=time.fromisoformat(end), time_zone=zone
    )
    change = utc(closes or "2027-03-28T01:00")
    night = list(made.open_spans(change - 6 * HOUR, change + 6 * HOUR))
    assert night == ([] if opens is None else [(utc(opens), utc(closes))])


def test_a_window_of_whole_days__is_open_through_a_midnight_that_comes_twice_or_never():
    window = MaintenanceWindow(start=time(), end=time(), time_zone="America/Santiago")
    for change in CHANGES["America/Santiago"]:
        assert all(window.contains(change + n * MINUTE) for n in range(-120, 120))
        assert first_start((window,), change - HOUR, 30 * HOUR) == change - HOUR


def test_overlapping_windows__have_the_cut_off_of_the_one_that_closes_last():
    late = MaintenanceWindow(start=time(1), end=time(4), cutoff=timedelta(hours=2, minutes=30))
    windows = (MaintenanceWindow(start=time(22), end=time(2)), late)
    assert first_start(windows, utc("2026-11-20T01:30")) == utc("2026-11-20T01:30")
    assert first_start(windows, utc("2026-11-20T01:45")) == utc("2026-11-20T22:00")
    same_end = (MaintenanceWindow(start=time(2), end=time(4)), late)
    assert first_start(same_end, utc("2026-11-20T01:31")) == utc("2026-11-21T01:00")


@pytest.mark.parametrize("zone", ZONES)
def test_offset_spans__are_without_gaps_and_change_where_the_clock_is_changed(zone):
    start, end = datetime(YEARS[0], 1, 1, tzinfo=UTC), datetime(YEARS[1], 1, 1, tzinfo=UTC)
    spans = list(offset_spans(zone, start, end))
    assert [span.end for span in spans] == [*CHANGES[zone], end]
    assert [span.start for span in spans] == [start, *CHANGES[zone]]
    for span in spans:
        assert span.start.astimezone(ZoneInfo(zone)).utcoffset() == span.offset
