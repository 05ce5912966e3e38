"""When hosts may be changed by several windows and freeze periods: what fits, when, and in which words."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.policy.availability import REACH, ChangeWindows, planned_time
from tendhost.server.domain.policy.freezes import LONGEST_AHEAD, FreezePeriod, unsound_freezes
from tendhost.server.domain.policy.windows import MaintenanceWindow, Weekday, unsound_windows

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ZONES = [
    *("UTC", "Europe/Berlin", "Australia/Sydney", "America/Santiago", "Australia/Lord_Howe"),
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NOON = utc("2026-12-24T12:00")
SATURDAYS = MaintenanceWindow(
    start=time(22), end=time(4), days=frozenset({Weekday.SATURDAY}), time_zone="Europe/Berlin"
)
YEAR_END = FreezePeriod(
    name="year end",
    starts_at=utc("2026-12-20T17:00"),
    ends_at=utc("2027-01-02T05:00"),
    reason="holidays",
    time_zone="Europe/Berlin",
)
ALWAYS = MaintenanceWindow(start=time(0), end=time(0))


# --- any windows, any freezes ---------------------------------------------------------------------

times = st.integers(0, 24 * 60 - 1).map(lambda minute: time(minute // 60, minute % 60))
windows = st.builds(
    MaintenanceWindow,
    start=times,
    end=times,
    days=st.frozensets(st.sampled_from(Weekday)),
    time_zone=st.sampled_from(ZONES),
    cutoff=st.integers(0, 90).map(lambda minutes: timedelta(minutes=minutes)),
)
changes_of_clocks = st.sampled_from(
    [
        *(utc("2026-03-29T01:00"), utc("2026-10-25T01:00")),  # Europe/Berlin
        *(utc("2026-04-04T16:00"), utc("2026-10-03T16:00")),  # Australia/Sydney
        *(utc("2026-04-05T03:00"), utc("2026-09-06T04:00")),  # America/Santiago
        *(utc("2026-04-04T15:00"), utc("2026-10-03T15:30")),  # Australia/Lord_Howe
    ]
)
moments = st.builds(
    lambda at, minutes: at + timedelta(minutes=minutes),
    changes_of_clocks,
    st.integers(-3 * 24 * 60, 3 * 24 * 60),
)
freezes = st.builds(
    lambda at, minutes, zone: FreezePeriod(
        name="freeze", starts_at=at, ends_at=at + timedelta(minutes=minutes), time_zone=zone
    ),
    moments,
    st.integers(1, 9 * 24 * 60),
    st.sampled_from(ZONES),
)
open_times = st.builds(
    ChangeWindows,
    windows=st.lists(st.lists(windows, min_size=1, max_size=3).map(tuple), max_size=2).map(tuple),
    freezes=st.lists(freezes, max_size=3).map(tuple),
)
spans = st.integers(0, 8 * 60).map(lambda minutes: timedelta(minutes=minutes))


@given(open_times, moments, spans)
def test_what_begins_is_in_a_window_of_each_set_and_meets_no_freeze(when, now, planned):
    start = when.next_start(now, planned)
    assert when.allow(now, planned) is (start == now)
    if start is None:
        assert when.windows, "freezes alone pass"
        return
    assert start >= now
    assert when.allow(start, planned)
    last = max(start, start + planned - timedelta(microseconds=1))
    for at in (start, start + planned / 2, last):
        assert not any(freeze.contains(at) for freeze in when.freezes)
        for several in when.windows:
            assert any(window.contains(at) for window in several)


@given(open_times, moments, spans, st.integers(0, 14 * 24 * 60))
def test_no_moment_before_the_first_start_allows_one(when, now, planned, minutes):
    start = when.next_start(now, planned)
    at = now + timedelta(minutes=minutes)
    if start is None or at < start:
        assert not when.allow(at, planned)


@given(open_times, moments, spans)
def test_what_takes_longer_never_begins_earlier(when, now, planned):
    first, later = when.next_start(now, planned), when.next_start(now, planned + 10 * MINUTE)
    if later is not None:
        assert first is not None
        assert first <= later


@given(open_times, moments, spans)
def test_availability__is_the_first_start_with_a_message(when, now, planned):
    availability = when.availability(now, planned)
    if availability is None:
        assert when.allow(now, planned)
        return
    assert availability.until == when.next_start(now, planned)
    assert ("frozen until" in availability.message) is any(f.contains(now) for f in when.freezes)
    assert availability.message


# --- several windows ------------------------------------------------------------------------------


def daily(start: int, end: int, **more) -> MaintenanceWindow:
    return MaintenanceWindow(start=time(start), end=time(end), **more)


def test_any_window_of_a_set_will_do_and_each_set_needs_one():
    either = ChangeWindows(windows=((daily(2, 4), daily(14, 15)),))
    assert either.next_start(NOON) == utc("2026-12-24T14:00")
    both = ChangeWindows(windows=((daily(2, 4), daily(14, 15)), (daily(3, 5),)))
    assert both.next_start(NOON) == utc("2026-12-25T03:00")
    assert both.next_start(NOON, HOUR) == utc("2026-12-25T03:00")
    assert both.next_start(NOON, HOUR + MINUTE) is None


def test_windows_that_follow_each_other_are_one_with_the_cut_off_of_the_last():
    night = daily(22, 0, cutoff=30 * MINUTE)
    morning = daily(0, 2, cutoff=10 * MINUTE)
    when = ChangeWindows(windows=((night, morning),))
    assert when.allow(utc("2026-12-24T23:45"), 2 * HOUR)
    assert not when.allow(utc("2026-12-24T23:45"), 2 * HOUR + 16 * MINUTE)
    assert when.allow(utc("2026-12-25T01:50"))
    assert not when.allow(utc("2026-12-25T01:51"))


def test_a_window_within_another_one_does_not_shorten_it():
    when = ChangeWindows(windows=((daily(0, 10), daily(2, 3), daily(10, 12)),))
    assert when.allow(utc("2026-12-24T09:00"), 2 * HOUR)


def test_a_window_that_an_hour_takes_away_opens_a_week_later():
    # Berlin, 2026-03-29: 02:00 becomes 03:00.
    sundays = daily(2, 3, days=frozenset({Weekday.SUNDAY}), time_zone="Europe/Berlin")
    when = ChangeWindows(windows=((sundays,),))
    assert when.next_start(utc("2026-03-22T12:00")) == utc("2026-04-05T00:00")


@pytest.mark.parametrize(("took", "minutes"), [(None, 0), (0, 0), (1, 1), (60, 1), (61, 2)])
def test_the_time_that_is_planned_is_what_the_last_update_took_in_whole_minutes(took, minutes):
    last = None if took is None else timedelta(seconds=took)
    assert planned_time(last) == minutes * MINUTE


def test_a_window_of_the_whole_day_is_always_open_for_whatever_it_is():
    when = ChangeWindows(windows=((ALWAYS,),))
    assert when.allow(utc("2026-12-24T23:59"), 30 * HOUR)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-28", 5),
        ("Europe/Berlin", "2026-10-24", 7),
        ("Australia/Sydney", "2026-10-03", 5),
        ("Australia/Sydney", "2026-04-04", 7),
        ("America/Santiago", "2026-09-05", 5),
        ("America/Santiago", "2026-04-04", 7),
        ("Australia/Lord_Howe", "2026-10-03", 5.5),
        ("Australia/Lord_Howe", "2026-04-04", 6.5),
    ],
)
def test_what_fits_before_a_freeze_is_told_by_the_hours_that_there_really_are(zone, day, hours):
    opens = datetime.fromisoformat(f"{day}T23:00").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    ends = opens + timedelta(hours=hours)
    freeze = FreezePeriod(name="f", starts_at=ends, ends_at=ends + 30 * HOUR)
    window = MaintenanceWindow(start=time(23), end=time(8), time_zone=zone)
    when = ChangeWindows(windows=((window,),), freezes=(freeze,))
    local = ends.astimezone(ZoneInfo(zone))
    assert f"{local:%H:%M}" == "05:00"
    assert when.allow(opens, timedelta(hours=hours))
    assert not when.allow(opens, timedelta(hours=hours) + MINUTE)


def test_windows_of_two_groups_that_meet_once_a_year_are_found():
    # For a week in March the clocks of New York are an hour nearer to those of Berlin.
    berlin = daily(13, 14, time_zone="Europe/Berlin")
    new_york = daily(8, 9, time_zone="America/New_York")
    when = ChangeWindows(windows=((berlin,), (new_york,)))
    assert when.next_start(NOON) == utc("2027-03-14T12:00")


def test_windows_that_never_meet_never_open():
    when = ChangeWindows(windows=((daily(2, 4),), (daily(4, 6),)))
    availability = when.availability(NOON)
    assert availability is not None
    assert availability.until is None
    assert availability.message == (
        "its windows daily 02:00-04:00 UTC and daily 04:00-06:00 UTC are never open at the same time"
    )


# --- freezes --------------------------------------------------------------------------------------


def test_a_freeze_has_its_first_instant_and_not_its_last():
    when = ChangeWindows(freezes=(YEAR_END,))
    assert when.allow(YEAR_END.starts_at - timedelta(microseconds=1))
    assert not when.allow(YEAR_END.starts_at)
    assert when.allow(YEAR_END.ends_at)
    assert when.next_start(NOON) == YEAR_END.ends_at


def test_a_freeze_longer_than_the_reach_is_waited_for():
    long = FreezePeriod(name="f", starts_at=NOON, ends_at=NOON + 3 * REACH)
    when = ChangeWindows(windows=((SATURDAYS,),), freezes=(long,))
    start = when.next_start(NOON)
    assert start is not None
    assert NOON + 3 * REACH <= start <= NOON + 3 * REACH + timedelta(days=7)


@pytest.mark.parametrize(
    ("when", "now", "planned", "words"),
    [
        (
            ChangeWindows(windows=((SATURDAYS,),)),
            NOON,
            0,
            "its window opens Sat 2026-12-26 22:00 Europe/Berlin",
        ),
        (
            ChangeWindows(freezes=(YEAR_END,)),
            NOON,
            0,
            "frozen until 2027-01-02 06:00 Europe/Berlin (year end: holidays)",
        ),
        (
            ChangeWindows(windows=((SATURDAYS,),), freezes=(YEAR_END,)),
            NOON,
            0,
            "frozen until 2027-01-02 06:00 Europe/Berlin (year end: holidays);"
            " after that its window opens Sat 2027-01-02 22:00 Europe/Berlin",
        ),
        (
            ChangeWindows(windows=((SATURDAYS,),)),
            NOON,
            8,
            "an update, which took 8:00:00 the last time, never fits into its windows"
            " sat 22:00-04:00 Europe/Berlin",
        ),
        (
            ChangeWindows(windows=((SATURDAYS,),)),
            utc("2026-12-27T02:30"),
            1,
            "too late in its window for an update, which took 1:00:00 the last time;"
            " its window opens Sat 2027-01-02 22:00 Europe/Berlin",
        ),
        (
            ChangeWindows(freezes=(YEAR_END,)),
            utc("2026-12-20T16:30"),
            1,
            "too late before the freeze of 2026-12-20 18:00 Europe/Berlin (year end: holidays)"
            " for an update, which took 1:00:00 the last time;"
            " it may be changed from 2027-01-02 06:00 Europe/Berlin on",
        ),
    ],
)
def test_it_is_told_why_not_now_and_when(when, now, planned, words):
    availability = when.availability(now, timedelta(hours=planned))
    assert availability is not None
    assert availability.message == words


def test_of_two_freezes_the_one_that_lasts_longer_is_told():
    longer = FreezePeriod(
        name="audit",
        starts_at=YEAR_END.starts_at - HOUR,
        ends_at=YEAR_END.ends_at + HOUR,
        time_zone="UTC",
    )
    availability = ChangeWindows(freezes=(YEAR_END, longer)).availability(NOON)
    assert availability is not None
    assert availability.message == "frozen until 2027-01-02 06:00 UTC (audit)"


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "field", "words"),
    [
        (daily(2, 4, time_zone="Europe/Atlantis"), "[1].time_zone", "is not an IANA time zone"),
        (daily(2, 4, time_zone="Europe"), "[1].time_zone", "is not an IANA time zone"),
        (daily(2, 4, time_zone="../etc/passwd"), "[1].time_zone", "is not an IANA time zone"),
        (daily(2, 4, cutoff=2 * HOUR), "[1].cutoff", "which is open for 2:00:00"),
    ],
)
def test_a_window_that_cannot_open_is_refused_by_its_place(window, field, words):
    ((found, said),) = unsound_windows((daily(2, 4, cutoff=2 * HOUR - MINUTE), window))
    assert found == field
    assert words in said


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"ends_at": YEAR_END.starts_at}, "[0].ends_at", "must be after starts_at"),
        (
            {"starts_at": NOON - 2 * HOUR, "ends_at": NOON},
            "[0].ends_at",
            "must not have passed already",
        ),
        ({"ends_at": NOON + LONGEST_AHEAD + MINUTE}, "[0].ends_at", "must be within ten years"),
        ({"time_zone": "Mars/Olympus"}, "[0].time_zone", "is not an IANA time zone"),
    ],
)
def test_a_freeze_that_cannot_hold_is_refused(changes, field, words):
    sound = {"starts_at": YEAR_END.starts_at, "ends_at": YEAR_END.ends_at, "time_zone": "UTC"}
    freeze = FreezePeriod(name="f", **{**sound, **changes})
    ((found, said),) = unsound_freezes([freeze], NOON, known=())
    assert found == field
    assert words in said


def test_two_freezes_of_one_name_are_refused_and_one_that_has_passed_may_stay():
    passed = FreezePeriod(name="f", starts_at=NOON - 2 * HOUR, ends_at=NOON - HOUR)
    assert list(unsound_freezes([passed, YEAR_END], NOON, known=[passed])) == []
    ((field, words),) = unsound_freezes([YEAR_END, YEAR_END], NOON, known=())
    assert (field, words) == ("[1].name", "'year end' already exists")
