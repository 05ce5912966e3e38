"""When schedules recur: both kinds of rules, through the changes of clocks, and what never comes."""

import datetime as datetime_module
from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise, takewhile
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import dateutil.rrule
import pytest
from dateutil.rrule import rrulestr
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.request_errors import InvalidArgument
from tendhost.server.domain.schedules import short_rules
from tendhost.server.domain.schedules.recurrence import (
    Recurrence,
    anchored,
    unsound_recurrence,
    upcoming,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def recurrence(now: datetime = NOW, **asked: Any) -> Recurrence:
    defaults: dict[str, Any] = {"cron": "", "rrule": "", "time_zone": "UTC", "start": None}
    return anchored(now=now, **{**defaults, **asked})


def coming(count: int, now: datetime, **asked: Any) -> list[str]:
    """The next moments in UTC, as 2026-03-01 12:00."""
    found = upcoming(recurrence(now, **asked), now, count)
    return [f"{moment:%Y-%m-%d %H:%M}" for moment in found]


def refused(**asked: Any) -> tuple[str, str]:
    """The field that is refused, and why."""
    with pytest.raises(InvalidArgument) as caught:
        recurrence(**asked)
    (violation,) = caught.value.violations
    return violation.field, violation.description


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"cron": "0 3 * * 6"}, ["2026-03-07 03:00", "2026-03-14 03:00"]),
        ({"cron": "0 3 * * sat"}, ["2026-03-07 03:00", "2026-03-14 03:00"]),
        ({"cron": "30 22 13 * 5"}, ["2026-03-06 22:30", "2026-03-13 22:30"]),
        ({"cron": "0 0 29 2 *"}, ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ({"rrule": "FREQ=WEEKLY;BYDAY=SA;BYHOUR=3"}, ["2026-03-07 03:00", "2026-03-14 03:00"]),
        ({"rrule": "RRULE:FREQ=DAILY;INTERVAL=2"}, ["2026-03-03 00:00", "2026-03-05 00:00"]),
        (
            {"rrule": "freq=monthly;byday=2tu;byhour=22;byminute=30"},
            ["2026-03-10 22:30", "2026-04-14 22:30"],
        ),
        (
            {"rrule": "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"},
            ["2026-03-31 00:00", "2026-04-30 00:00"],
        ),
        (
            {"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"},
            ["2028-02-29 00:00", "2032-02-29 00:00"],
        ),
        ({"rrule": "FREQ=DAILY;COUNT=3;BYHOUR=20"}, ["2026-03-01 20:00", "2026-03-02 20:00"]),
        ({"rrule": "FREQ=DAILY;UNTIL=20260302"}, ["2026-03-02 00:00"]),
        ({"rrule": "FREQ=DAILY;UNTIL=20260302T000000Z"}, ["2026-03-02 00:00"]),
        ({"rrule": "FREQ=DAILY;UNTIL=20260303T000000"}, ["2026-03-02 00:00", "2026-03-03 00:00"]),
    ],
    ids=str,
)
def test_rules_come_when_they_say(asked: dict[str, str], expected: list[str]) -> None:
    assert coming(2, NOW, **asked) == expected


def test_rule_counts_from_where_it_is_said_to() -> None:
    start = datetime(2026, 2, 3, 8, 15, tzinfo=UTC)
    asked = {"rrule": "FREQ=WEEKLY;INTERVAL=2", "start": start}
    assert coming(2, NOW, **asked) == ["2026-03-03 08:15", "2026-03-17 08:15"]


@pytest.mark.parametrize("asked", [{"cron": "0 3 * * *"}, {"rrule": "FREQ=DAILY;BYHOUR=3"}])
def test_nothing_comes_before_its_start(asked: dict[str, str]) -> None:
    start = datetime(2026, 5, 1, 3, 0, tzinfo=UTC)
    assert coming(1, NOW, start=start, **asked) == ["2026-05-01 03:00"]


def test_what_a_rule_leaves_open_is_on_the_hour_of_its_time_zone() -> None:
    at = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC)
    found = coming(1, at, rrule="FREQ=DAILY;BYHOUR=3", time_zone="Asia/Kolkata")
    assert found == ["2026-03-01 21:30"]


@pytest.mark.parametrize(
    ("rule", "start", "expected"),
    [
        # dateutil believes that these have no date, as if they began at midnight.
        ("FREQ=HOURLY;INTERVAL=4;BYHOUR=1,5,9,13,17,21", "01:00", ["01:00", "05:00"]),
        ("FREQ=HOURLY;INTERVAL=6;BYHOUR=3,15", "03:30", ["03:30", "15:30"]),
        ("FREQ=HOURLY;INTERVAL=7;BYHOUR=1", "02:00", ["2026-03-07 01:00", "2026-03-14 01:00"]),
    ],
)
def test_hours_of_an_interval__are_counted_from_the_start_of_the_rule(rule, start, expected):
    start = datetime.fromisoformat(f"2026-03-02T{start}").replace(tzinfo=UTC)
    found = coming(2, NOW, rrule=rule, start=start)
    assert found == [at if " " in at else f"2026-03-02 {at}" for at in expected]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        # The fourth Tuesday of February is the 24th, of March the 24th, of April the 28th.
        (
            {"rrule": "FREQ=MONTHLY;BYDAY=4TU;BYHOUR=22", "offset_days": 10},
            ["2026-03-06 22:00", "2026-04-03 22:00", "2026-05-08 22:00"],
        ),
        (
            {"rrule": "FREQ=MONTHLY;BYDAY=2TU", "offset_days": -1},
            ["2026-03-09 00:00", "2026-04-13 00:00", "2026-05-11 00:00"],
        ),
        (
            {"cron": "0 3 * * 2#2", "offset_days": 1},
            ["2026-03-11 03:00", "2026-04-15 03:00", "2026-05-13 03:00"],
        ),
    ],
    ids=str,
)
def test_offset__is_counted_in_days_from_each_date(asked, expected):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert coming(3, NOW, start=start, **asked) == expected


@pytest.mark.parametrize(
    "asked", [{"rrule": "FREQ=MONTHLY;BYDAY=4TU;BYHOUR=22"}, {"cron": "0 22 * * 2#4"}]
)
def test_offset__counts_from_a_date_that_has_passed_when_the_schedule_is_made(asked):
    # The fourth Tuesday of February 2026 was the 24th, five days ago.
    assert coming(1, NOW, offset_days=10, **asked) == ["2026-03-06 22:00"]
    assert coming(1, NOW, offset_days=-2, **asked) == ["2026-03-22 22:00"]


def test_offset__keeps_the_local_time_through_a_change_of_the_clock() -> None:
    # Two days after 28 March 2026, 22:00 in Berlin is an hour earlier in UTC.
    asked = {"cron": "0 22 28 3 *", "time_zone": "Europe/Berlin", "offset_days": 2}
    assert coming(1, NOW, **asked) == ["2026-03-30 20:00"]


# --- clocks that are changed ----------------------------------------------------------------------

HALF_PAST = {"Europe/Berlin": 2, "Australia/Sydney": 2, "America/Santiago": 0}
FORWARD = [
    # zone, the day before, what cron and what the rule make of the time that is left out
    ("Europe/Berlin", "2026-03-28", "2026-03-29 01:00", "2026-03-29 01:30"),
    ("Australia/Sydney", "2026-10-03", "2026-10-03 16:00", "2026-10-03 16:30"),
    ("America/Santiago", "2026-09-05", "2026-09-06 04:00", "2026-09-06 04:30"),
]
BACK = [
    # zone, the day before, the first of the two, the second of the two
    ("Europe/Berlin", "2026-10-24", "2026-10-25 00:30", "2026-10-25 01:30"),
    ("Australia/Sydney", "2026-04-04", "2026-04-04 15:30", "2026-04-04 16:30"),
]


def morning_of(day: str, zone: str) -> datetime:
    return datetime.fromisoformat(f"{day}T06:00").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(("zone", "day", "by_cron", "by_rule"), FORWARD)
def test_time_that_a_clock_leaves_out_still_comes_once(
    zone: str, day: str, by_cron: str, by_rule: str
) -> None:
    now, hour = morning_of(day, zone), HALF_PAST[zone]
    cron = coming(2, now, cron=f"30 {hour} * * *", time_zone=zone)
    rule = coming(2, now, rrule=f"FREQ=DAILY;BYHOUR={hour};BYMINUTE=30", time_zone=zone)
    assert (cron[0], rule[0]) == (by_cron, by_rule)
    # The day after it is half past again, of the new offset.
    assert cron[1] == rule[1]
    after = datetime.fromisoformat(f"{rule[1]}+00:00").astimezone(ZoneInfo(zone))
    assert (after.hour, after.minute) == (hour, 30)


@pytest.mark.parametrize(("zone", "day", "first", "second"), BACK)
def test_time_that_a_clock_repeats_comes_at_the_first_of_the_two_only(
    zone: str, day: str, first: str, second: str
) -> None:
    now = morning_of(day, zone)
    for asked in ({"cron": "30 2 * * *"}, {"rrule": "FREQ=DAILY;BYHOUR=2;BYMINUTE=30"}):
        found = coming(2, now, time_zone=zone, **asked)
        assert found[0] == first
        assert second not in found


@pytest.mark.parametrize(("zone", "day", "first", "second"), BACK)
def test_cron_by_the_hour_comes_in_both_hours_that_a_clock_repeats(
    zone: str, day: str, first: str, second: str
) -> None:
    found = coming(48, morning_of(day, zone), cron="30 * * * *", time_zone=zone)
    assert {first, second} <= set(found)


def test_zone_whose_clock_goes_by_half_an_hour_is_followed() -> None:
    now = morning_of("2026-10-03", "Australia/Lord_Howe")
    found = coming(2, now, cron="15 2 * * *", time_zone="Australia/Lord_Howe")
    assert found == ["2026-10-03 15:30", "2026-10-04 15:15"]


def test_local_times_around_a_gap_stay_in_order() -> None:
    # 02:15 is 02:45 on that day, and 02:40 is 02:40.
    zone = "Australia/Lord_Howe"
    rule = "FREQ=DAILY;BYHOUR=2;BYMINUTE=15,40"
    found = coming(3, morning_of("2026-10-03", zone), rrule=rule, time_zone=zone)
    assert found == ["2026-10-03 15:40", "2026-10-03 15:45", "2026-10-04 15:15"]


@pytest.mark.parametrize("frequency", ["HOURLY", "DAILY", "WEEKLY"])
def test_day_that_a_country_left_out_comes_a_day_later(frequency: str) -> None:
    # Samoa went from 29 to 31 December 2011, so its Friday noon fell on Saturday noon.
    zone = "Pacific/Apia"
    saturday = datetime(2011, 12, 24, tzinfo=ZoneInfo(zone))
    now = datetime(2011, 12, 31, 0, 10, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    rule = f"FREQ={frequency};BYDAY=FR;BYHOUR=12"
    found = coming(2, now, rrule=rule, time_zone=zone, start=saturday)
    assert found == ["2011-12-30 22:00", "2012-01-05 22:00"]


# --- what holds of all ----------------------------------------------------------------------------

ZONES = st.sampled_from(
    ("UTC", *HALF_PAST, "Australia/Lord_Howe", "Pacific/Apia", "America/New_York", "Asia/Kolkata")
)
MOMENTS = st.datetimes(
    min_value=datetime(2020, 1, 1),  # noqa: DTZ001  # its zone is given beside it
    max_value=datetime(2035, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@st.composite
def crons(draw: st.DrawFn) -> str:
    minute = draw(st.sampled_from(("0", "30", "*/20", "59", "5,35", "*")))
    hour = draw(st.sampled_from(("0", "1", "2", "3", "23", "*", "*/6", "1-3")))
    day = draw(st.sampled_from(("*", "1", "31", "L", "*/10")))
    weekday = draw(st.sampled_from(("*", "0", "1-5", "SAT", "1#2")))
    return f"{minute} {hour} {day} * {weekday}"


@st.composite
def rules(draw: st.DrawFn) -> str:
    frequency = draw(st.sampled_from(("HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY")))
    parts = [f"FREQ={frequency}", f"INTERVAL={draw(st.integers(1, 9))}"]
    if frequency in ("DAILY", "WEEKLY", "MONTHLY"):
        parts.append(f"BYHOUR={draw(st.sampled_from(('0', '1', '2', '3', '2,3', '23')))}")
    if draw(st.booleans()):
        parts.append(f"BYMINUTE={draw(st.sampled_from(('0', '30', '15,45')))}")
    if frequency == "WEEKLY" and draw(st.booleans()):
        parts.append(f"BYDAY={draw(st.sampled_from(('MO', 'SA,SU', 'TU,TH')))}")
    if frequency == "MONTHLY" and draw(st.booleans()):
        parts.append(f"BYDAY={draw(st.sampled_from(('2TU', '-1FR', '1SU,3SU')))}")
    return ";".join(parts)


ASKED = st.one_of(
    crons().map(lambda text: {"cron": text}), rules().map(lambda text: {"rrule": text})
)


@given(asked=ASKED, zone=ZONES, now=MOMENTS)
def test_moments_ascend_and_each_is_the_next_of_the_one_before(
    asked: dict[str, str], zone: str, now: datetime
) -> None:
    made = recurrence(now, time_zone=zone, **asked)
    found = upcoming(made, now, 12)
    assert len(found) == 12
    before = now
    for moment in found:
        assert moment > before
        assert moment.tzinfo is UTC
        before = moment
    # Whoever asks only then, as a server that was restarted does, is told the same.
    for former, following in pairwise(found):
        assert made.next(former) == following
        assert made.next(following - timedelta(microseconds=1)) == following


@given(rule=rules(), zone=ZONES, start=MOMENTS, later=st.timedeltas(DAY, 400 * DAY))
def test_rule_that_is_read_from_later_on_is_still_the_same(
    rule: str, zone: str, start: datetime, later: timedelta
) -> None:
    start = start.replace(microsecond=0)
    made = Recurrence(rrule=rule, time_zone=zone, start=start)
    at = start + later
    # With a COUNT every moment from the start on is gone through.
    counted = Recurrence(rrule=f"{rule};COUNT=9999", time_zone=zone, start=start)
    expected = next(counted.moments(at), None)
    if expected is not None:
        assert made.next(at) == expected


def shown_or_next(local: datetime, zone: str) -> datetime | None:
    """The first instant at which the clock shows a local time; None: it skips that."""
    info = ZoneInfo(zone)
    at = local.replace(tzinfo=info).astimezone(UTC)
    return at if at.astimezone(info).replace(tzinfo=None) == local else None


@given(asked=ASKED, zone=ZONES, now=MOMENTS, days=st.integers(-40, 40).filter(bool))
def test_offset__moves_every_date_by_its_days(
    asked: dict[str, str], zone: str, now: datetime, days: int
) -> None:
    begun = datetime.combine((now - 60 * DAY).date(), time())
    start = begun.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    moved = recurrence(now, time_zone=zone, start=start, offset_days=days, **asked)
    # In UTC no time is skipped, so that the dates are those that the rule names.
    plain = recurrence(now, start=begun.replace(tzinfo=UTC), **asked)
    dates = takewhile(
        lambda at: at < (now + 50 * DAY).replace(tzinfo=UTC), plain.moments(now - 45 * DAY)
    )
    shifted = [shown_or_next(at.replace(tzinfo=None) + days * DAY, zone) for at in dates]
    within = {at for at in shifted if at is not None and now < at < now + 4 * DAY}
    found = set(takewhile(lambda at: at < now + 4 * DAY, moved.moments(now)))
    assert within <= found
    if None not in shifted:
        assert within == found


@pytest.mark.parametrize(
    "asked",
    [
        {"cron": "30 2 28 3 *"},
        {"rrule": "FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=28;BYHOUR=2;BYMINUTE=30"},
    ],
    ids=str,
)
def test_offset__counts_from_a_date_whose_time_the_clock_skips(asked: dict[str, str]) -> None:
    # There is no 02:30 in Berlin on 28 March 2027, and there is one ten days later.
    now = datetime(2027, 3, 1, tzinfo=UTC)
    assert coming(1, now, time_zone="Europe/Berlin", offset_days=10, **asked) == [
        "2027-04-07 00:30"
    ]
    # Where the clock skips the time of the run, it is as without an offset.
    there = coming(1, now, time_zone="Europe/Berlin", **asked)
    eve = {name: text.replace("28", "18") for name, text in asked.items()}
    assert coming(1, now, time_zone="Europe/Berlin", offset_days=10, **eve) == there


@pytest.mark.parametrize(
    "rule",
    [
        *("FREQ=WEEKLY;BYMONTHDAY=13", "FREQ=YEARLY;BYSETPOS=1", "FREQ=DAILY;BYHOUR=+3"),
        "FREQ=WEEKLY;BYWEEKNO=20",
    ],
)
def test_stored_rule__is_computed_also_where_it_would_be_refused_now(rule: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert Recurrence(rrule=rule, start=start).next(NOW) is not None
    assert refused(rrule=rule)[0] == "spec.rrule"


@given(asked=ASKED, zone=ZONES, now=MOMENTS, span=st.timedeltas(timedelta(), 2 * DAY))
def test_latest_is_the_last_of_a_span(
    asked: dict[str, str], zone: str, now: datetime, span: timedelta
) -> None:
    made = recurrence(now, time_zone=zone, **asked)
    within = []
    for moment in made.moments(now):
        if moment > now + span:
            break
        within.append(moment)
    assert made.latest(after=now, until=now + span) == (within[-1] if within else None)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cron",
    [
        *("", "@daily", "0 3 * *", "0 0 3 * * *", "60 * * * *", "0 24 * * *", "0 0 0 * *"),
        *("0 0 32 * *", "0 0 * 13 *", "0 0 * * 8", "a b c d e", "*/0 * * * *", "5-1 * * * *"),
        *("٣ 0 * * *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "* * */20 * 1L"),
    ],
)
def test_cron_that_is_none_or_never_comes_is_refused(cron: str) -> None:
    field, why = refused(cron=cron)
    assert field == "spec.cron"
    assert not cron or cron in why


@pytest.mark.parametrize(
    "rule",
    [
        *("DAILY", "FREQ=SECONDLY", "FREQ=MINUTELY", "FREQ=DAILY;FREQ=DAILY", "BYDAY=MO"),
        *("FREQ=DAILY;", "FREQ=DAILY;BYEASTER=1", "FREQ=DAILY;BYSECOND=1", "FREQ=DAILY;X-A=1"),
        *("FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;INTERVAL=-1", "FREQ=DAILY;INTERVAL=10000"),
        *("FREQ=DAILY;COUNT=0", "FREQ=DAILY;COUNT=10000", "FREQ=DAILY;COUNT=1;UNTIL=20270101"),
        *("FREQ=DAILY;BYHOUR=24", "FREQ=DAILY;BYMINUTE=60", "FREQ=DAILY;BYHOUR=-1"),
        *("FREQ=DAILY;BYMONTH=0", "FREQ=DAILY;BYMONTH=13", "FREQ=DAILY;BYMONTHDAY=0"),
        *("FREQ=DAILY;BYMONTHDAY=32", "FREQ=YEARLY;BYWEEKNO=54", "FREQ=YEARLY;BYYEARDAY=0"),
        *("FREQ=DAILY;BYDAY=2MO", "FREQ=WEEKLY;BYDAY=", "FREQ=HOURLY;BYMINUTE=1;BYSETPOS=2"),
        *("FREQ=MONTHLY;BYMONTHDAY=1;BYSETPOS=0", "FREQ=DAILY;UNTIL=20261301"),
        *("FREQ=DAILY;UNTIL=tomorrow", "FREQ=DAILY;BYHOUR=٣", "FREQ=HOURLY;INTERVAL=2;BYHOUR=1"),
        "FREQ=DAILY\nEXDATE:20260302T000000",
        # What RFC 5545, section 3.3.10, forbids.
        *("FREQ=MONTHLY;BYWEEKNO=20", "FREQ=WEEKLY;BYWEEKNO=20", "FREQ=DAILY;BYWEEKNO=20"),
        *("FREQ=HOURLY;BYWEEKNO=20", "FREQ=DAILY;BYYEARDAY=100", "FREQ=WEEKLY;BYYEARDAY=100"),
        *("FREQ=MONTHLY;BYYEARDAY=100", "FREQ=WEEKLY;BYMONTHDAY=13", "FREQ=YEARLY;BYSETPOS=1"),
        *("FREQ=YEARLY;BYWEEKNO=20;BYDAY=1MO", "FREQ=MONTHLY;BYDAY=0MO", "FREQ=YEARLY;BYDAY=54MO"),
        *("FREQ=DAILY;BYHOUR=+3", "FREQ=DAILY;BYHOUR=003", "FREQ=DAILY;BYMONTH=+1"),
        *("FREQ=DAILY;BYMINUTE=-1", "FREQ=MONTHLY;BYMONTHDAY=001", "FREQ=MONTHLY;BYSETPOS=1"),
    ],
)
def test_rule_that_cannot_be_understood_is_refused(rule: str) -> None:
    field, why = refused(rrule=rule)
    assert field == "spec.rrule"
    assert "invalid value" in why


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY;UNTIL=20260301",
        "FREQ=DAILY;UNTIL=20260301T120000Z;BYHOUR=12",
        "FREQ=DAILY;COUNT=1",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6",
        "FREQ=YEARLY;INTERVAL=5000",
    ],
)
def test_rule_that_never_comes_is_refused(rule: str) -> None:
    field, why = refused(rrule=rule)
    assert field == "spec.rrule"
    assert "has no run after" in why


EVERY_MINUTE = f"BYMINUTE={','.join(map(str, range(60)))}"


@pytest.mark.parametrize(
    "rule",
    [
        f"FREQ=HOURLY;{EVERY_MINUTE};BYMONTH=2;BYMONTHDAY=30",
        f"FREQ=HOURLY;INTERVAL=9999;{EVERY_MINUTE};BYMONTH=4;BYMONTHDAY=31",
        f"FREQ=HOURLY;{EVERY_MINUTE};BYYEARDAY=366;BYMONTH=1",
        f"FREQ=DAILY;{EVERY_MINUTE};BYMONTHDAY=-31;BYMONTH=6",
        f"FREQ=MONTHLY;{EVERY_MINUTE};BYMONTH=2;BYMONTHDAY=30;BYSETPOS=1,-1",
        f"FREQ=YEARLY;{EVERY_MINUTE};BYMONTH=2;BYMONTHDAY=30",
    ],
)
def test_rule_that_never_comes__work_until_that_is_known_is_bounded(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days are looked at, and no hours and minutes of days that do not suit."""
    work = {"days": 0, "months": 0, "times": 0}

    def counted(owner: Any, name: str, what: str) -> None:
        original = getattr(owner, name)

        def also_counted(*given: Any) -> Any:
            work[what] += 1
            return original(*given)

        monkeypatch.setattr(owner, name, also_counted)

    counted(short_rules._Days, "match", "days")
    counted(short_rules._Times, "on", "times")
    counted(dateutil.rrule._iterinfo, "rebuild", "months")
    assert "has no run after" in refused(rrule=rule)[1]
    assert work["days"] <= 61 * 366
    assert work["months"] <= 460 * 12
    assert work["times"] == 0


def test_rule_with_too_many_positions_is_refused() -> None:
    positions = ",".join(map(str, range(1, 33)))
    rule = f"FREQ=MONTHLY;BYDAY=MO;BYSETPOS={positions}"
    assert "BYSETPOS can have at most 31 numbers" in refused(rrule=rule)[1]


@st.composite
def short_rule_texts(draw: st.DrawFn) -> str:
    """Rules by the hour, day or week, with everything that RFC 5545 lets stand in them."""

    def some(low: int, high: int, *, most: int = 4) -> str:
        numbers = st.integers(low, high).filter(lambda number: number != 0 or low == 0)
        return ",".join(map(str, draw(st.lists(numbers, min_size=1, max_size=most))))

    frequency = draw(st.sampled_from(short_rules.SHORT))
    forbidden = {"WEEKLY": ("BYMONTHDAY", "BYYEARDAY"), "DAILY": ("BYYEARDAY",)}
    parts = [
        f"FREQ={frequency}",
        f"INTERVAL={draw(st.one_of(st.integers(1, 30), st.just(168), st.just(700)))}",
    ]
    for name, numbers in (
        ("BYMONTH", some(1, 12, most=8)),
        ("BYMONTHDAY", some(-31, 31, most=20)),
        ("BYYEARDAY", some(-366, 366, most=60)),
        ("BYHOUR", some(0, 23)),
        ("BYMINUTE", some(0, 59, most=3)),
    ):
        if draw(st.integers(0, 3)) == 0 and name not in forbidden.get(frequency, ()):
            parts.append(f"{name}={numbers}")
    if draw(st.booleans()):
        days = st.lists(st.sampled_from(("MO", "TU", "WE", "TH", "FR", "SA", "SU")), min_size=1)
        parts.append(f"BYDAY={','.join(draw(days))}")
    if draw(st.booleans()):
        parts.append(f"WKST={draw(st.sampled_from(('MO', 'SU', 'WE')))}")
    if draw(st.integers(0, 3)) == 0:
        parts.append(f"COUNT={draw(st.integers(1, 50))}")
    return ";".join(parts)


@given(rule=short_rule_texts(), start=st.datetimes(datetime(2020, 1, 1), datetime(2032, 1, 1)))  # noqa: DTZ001
def test_short_rule_comes_when_dateutil_says(rule: str, start: datetime) -> None:
    start = start.replace(microsecond=0)
    parts = dict(part.split("=") for part in rule.split(";"))
    ours = short_rules.local_times(parts, start, after=start)
    # dateutil ends with the last year that it knows, which is far away.
    end = start.year + 2
    with patch.object(datetime_module, "MAXYEAR", end):
        try:
            theirs = list(islice(rrulestr(rule, dtstart=start), 200))
        except ValueError:
            with pytest.raises(ValueError, match="never comes to its BYHOUR"):
                next(ours)
            return
    theirs = [found for found in theirs if found.year <= end]
    assert list(islice(takewhile(lambda found: found.year <= end, ours), 200)) == theirs


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "UTC\0", "naïve"]
)
def test_time_zone_that_nobody_knows_is_refused(zone: str) -> None:
    assert refused(cron="0 3 * * *", time_zone=zone)[0] == "spec.time_zone"


def test_one_kind_of_rule_is_asked_for() -> None:
    assert refused()[0] == "spec.cron"
    assert refused(cron="0 3 * * *", rrule="FREQ=DAILY")[0] == "spec.cron"


@pytest.mark.parametrize("years", [-11, 11])
def test_start_that_is_far_away_is_refused(years: int) -> None:
    start = NOW.replace(year=NOW.year + years)
    assert refused(cron="0 3 * * *", start=start)[0] == "spec.starts_at"


@pytest.mark.parametrize("frequency", ["MONTHLY", "YEARLY;BYMONTH=2", "YEARLY;BYMONTH=12"])
@pytest.mark.parametrize("number", [-53, -8, -6, 6, 7, 8, 53])
def test_weekday__that_no_month_has_so_often_is_refused(frequency: str, number: int):
    ((field, words),) = unsound_recurrence(
        cron="", rrule=f"FREQ={frequency};BYDAY={number}TU", time_zone="UTC"
    )
    assert field.endswith("rrule")
    assert "no month has a weekday more than 5 times" in words
