"""Whether the date is believed when history is dropped: never at once where it ran ahead, and in the end always."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.clock_trust import PATIENCE, ClockTrust, HistoryAge, slack_of

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SLACK = slack_of(90 * DAY)
AHEAD = 91 * DAY


def known(at: datetime = NOW) -> ClockTrust:
    return ClockTrust(expected=at, seen=at)


def after(trust: ClockTrust, hours: int, *, first: datetime) -> ClockTrust:
    """What is known after a server has looked at once and then each hour, from the date `first` on."""
    trust = trust.looked(first, passed=timedelta(), slack=SLACK)
    for hour in range(1, hours + 1):
        trust = trust.looked(first + hour * HOUR, passed=HOUR, slack=SLACK)
    return trust


@pytest.mark.parametrize(
    ("history", "slack"), [(90 * DAY, 7 * DAY), (10 * DAY, DAY), (DAY, DAY / 10)]
)
def test_slack__is_a_tenth_of_what_is_kept_at_most_a_week(
    history: timedelta, slack: timedelta
) -> None:
    assert slack_of(history) == slack


@pytest.mark.parametrize("off", [timedelta(), HOUR, 7 * DAY, -HOUR, -7 * DAY])
def test_date_that_is_near_is_believed(off: timedelta) -> None:
    assert known().looked(NOW + off, passed=timedelta(), slack=SLACK) == known(NOW + off)


def test_date_that_ran_ahead_is_doubted_until_a_day_has_passed() -> None:
    trust = after(known(), 23, first=NOW + AHEAD)
    assert trust.doubted
    assert trust.expected == NOW + 23 * HOUR
    assert "after 1 more hours of running" in trust.doubt
    assert not after(known(), 24, first=NOW + AHEAD).doubted


def test_date_that_was_put_right_is_believed_at_once() -> None:
    trust = after(known(), 5, first=NOW + AHEAD)
    right = NOW + 6 * HOUR
    assert trust.looked(right, passed=HOUR, slack=SLACK) == known(right)


def test_date_far_behind__is_not_what_later_dates_are_measured_against() -> None:
    """It is 1970 after each start until the network is there: the right date is believed at once then."""
    trust = after(known(), 2, first=NOW - 20_000 * DAY)
    assert trust.doubted
    assert trust.looked(NOW + 3 * HOUR, passed=HOUR, slack=SLACK) == known(NOW + 3 * HOUR)


def test_date_that_was_put_back_for_good_is_believed_after_a_day() -> None:
    assert after(known(), 24, first=NOW - 400 * DAY) == known(NOW - 400 * DAY + DAY)


def test_aging__knows_what_was_current_when_servers_had_run_for_so_much_less() -> None:
    aging = HistoryAge()
    assert aging.older_than(timedelta()) == 0
    for hour in range(100):
        aging = aging.looked(hour * 10, passed=HOUR, kept=DAY)
        assert aging.older_than(DAY) == max(0, hour - 24) * 10
        assert len(aging.marks) <= 26


def test_date_that_jumps_on_is_doubted_from_the_beginning() -> None:
    trust = after(known(), 23, first=NOW + AHEAD)
    trust = trust.looked(trust.seen + AHEAD, passed=HOUR, slack=SLACK)
    assert trust.doubted_for == timedelta()


def test_restarts_do_not_begin_the_doubt_again() -> None:
    trust = known()
    for day in range(4):
        trust = after(trust, 7, first=NOW + AHEAD + day * DAY)
    assert not trust.doubted


@given(
    looks=st.lists(
        st.tuples(st.timedeltas(timedelta(), 2 * HOUR), st.timedeltas(-200 * DAY, 200 * DAY)),
        min_size=1,
        max_size=80,
    )
)
def test_date_that_is_believed_was_near_or_steady_for_a_day(
    looks: list[tuple[timedelta, timedelta]],
) -> None:
    """Whatever a clock does, no date is believed that ran ahead less than a day of running ago."""
    trust, real = known(), NOW
    ran: list[tuple[timedelta, datetime]] = []
    at = timedelta()
    for passed, off in looks:
        at, real = at + passed, real + passed
        date = real + off
        former, trust = trust, trust.looked(date, passed=passed, slack=SLACK)
        ran.append((at, date))
        if not trust.doubted and date > former.expected + passed + SLACK:
            since = next(time for time, _ in reversed(ran) if at - time >= PATIENCE)
            steady = [(time, seen) for time, seen in ran if time >= since]
            for (one, first), (two, second) in itertools.pairwise(steady):
                assert abs(second - first - (two - one)) <= SLACK
