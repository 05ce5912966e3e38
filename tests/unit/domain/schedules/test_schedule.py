"""What a schedule decides: due or not, in time or missed, begun or skipped; and never twice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.request_errors import InvalidArgument
from tendhost.server.domain.rollouts.rollout import (
    Rollout,
    RolloutProgress,
    RolloutSpec,
    RolloutStatus,
)
from tendhost.server.domain.rollouts.waves import Division
from tendhost.server.domain.schedules.schedule import (
    DueRun,
    MissedRuns,
    RunOutcome,
    Schedule,
    ScheduledRun,
    ScheduleRequest,
    ScheduleStatus,
    decide,
    forgone,
    missed_before,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DUE = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)


def wish(**asked: Any) -> ScheduleRequest:
    asked.setdefault("cron", "" if "rrule" in asked else "0 3 * * *")
    asked.setdefault("rollout", RolloutSpec(filter=HostFilter()))
    return ScheduleRequest(name="nightly", **asked)


def a_schedule(now: datetime = NOW, **asked: Any) -> Schedule:
    """A schedule as it is once it was made."""
    return Schedule(spec=wish(**asked).spec(now), created_at=now, next_at=None).going(now)


def a_rollout(*, over: bool) -> Rollout:
    return Rollout(
        id="ro1",
        spec=RolloutSpec(filter=HostFilter()),
        created_at=NOW,
        progress=RolloutProgress(total_hosts=1, pending=1),
        waves=1,
        status=RolloutStatus.COMPLETED if over else RolloutStatus.PAUSED,
        ended_at=NOW if over else None,
    )


def test_schedule_goes_from_active_through_paused_to_ended() -> None:
    made = a_schedule(rrule="FREQ=DAILY;BYHOUR=3;UNTIL=20260303")
    assert (made.status, made.next_at) == (ScheduleStatus.ACTIVE, DUE)
    assert made.next_runs() == (DUE, DUE + DAY)
    held = made.held()
    assert (held.status, held.next_at, held.next_runs()) == (ScheduleStatus.PAUSED, None, ())
    going = held.going(DUE)
    assert (going.status, going.next_at) == (ScheduleStatus.ACTIVE, DUE + DAY)
    ended = going.going(DUE + DAY)
    assert (ended.status, ended.next_runs()) == (ScheduleStatus.ENDED, ())


def test_five_runs_are_shown() -> None:
    assert a_schedule().next_runs() == tuple(DUE + n * DAY for n in range(5))


@pytest.mark.parametrize("early", [timedelta(microseconds=1), HOUR])
def test_nothing_is_due_before_its_time(early: timedelta) -> None:
    assert decide(a_schedule(), None, DUE - early) is None


@pytest.mark.parametrize("late", [timedelta(), MINUTE, 15 * MINUTE])
def test_run_within_the_grace_begins(late: timedelta) -> None:
    assert decide(a_schedule(), None, DUE + late) == DueRun(due_at=DUE)


def test_run_after_the_grace_is_skipped_or_made_up_for_by_the_policy() -> None:
    now = DUE + 15 * MINUTE + timedelta(microseconds=1)
    skipped = decide(a_schedule(), None, now)
    assert isinstance(skipped, ScheduledRun)
    assert (skipped.outcome, skipped.due_at, skipped.at) == (RunOutcome.MISSED, DUE, now)
    assert skipped.detail == (
        "it was due 2026-03-02 03:00 UTC and no server started it within 0:15:00"
    )
    made_up = decide(a_schedule(missed=MissedRuns.RUN_ONCE), None, now)
    assert made_up == DueRun(due_at=DUE, detail=f"caught up: {skipped.detail}")


@pytest.mark.parametrize(("runs", "told"), [(1, 0), (4, 3), (21, 20), (500, 20)])
def test_missed_runs__are_told_one_by_one_up_to_a_bound(runs: int, told: int) -> None:
    made, now = a_schedule(), DUE + (runs - 1) * DAY + HOUR
    skipped = decide(made, None, now)
    assert isinstance(skipped, ScheduledRun)
    assert skipped.due_at == DUE + (runs - 1) * DAY
    before = missed_before(made, skipped, now)
    assert [run.due_at for run in before] == [DUE + n * DAY for n in range(told)]
    assert all(f"{run.due_at:%Y-%m-%d %H:%M} UTC" in run.detail for run in before)
    assert any("those that followed" in run.detail for run in before) is (runs - 1 > told)


def test_missed_runs__of_every_minute_of_years_take_little_work() -> None:
    made, now = a_schedule(cron="* * * * *"), DUE + 3650 * DAY
    run = decide(made, None, now)
    assert run is not None
    assert run.due_at == now
    assert len(missed_before(made, run, now)) == 20
    rare = a_schedule(cron="0 0 29 2 *")
    skipped = decide(rare, None, datetime(2033, 1, 1, tzinfo=UTC))
    assert skipped is not None
    assert skipped.due_at == datetime(2032, 2, 29, tzinfo=UTC)


def test_missed_run__is_told_in_the_time_zone_of_its_schedule() -> None:
    made = a_schedule(time_zone="Asia/Kathmandu")
    skipped = decide(made, None, DUE + HOUR)
    assert isinstance(skipped, ScheduledRun)
    assert skipped.detail.startswith("it was due 2026-03-02 03:00 Asia/Kathmandu and no server")


def test_run_that_is_in_time_stands_for_those_that_were_missed_before() -> None:
    assert decide(a_schedule(), None, DUE + 3 * DAY + MINUTE) == DueRun(due_at=DUE + 3 * DAY)


@pytest.mark.parametrize("missed", list(MissedRuns))
def test_run_does_not_begin_while_the_former_rollout_has_not_ended(missed: MissedRuns) -> None:
    made = a_schedule(missed=missed)
    skipped = decide(made, a_rollout(over=False), DUE)
    assert isinstance(skipped, ScheduledRun)
    assert (skipped.outcome, skipped.rollout) == (RunOutcome.OVERLAPPED, "")
    assert skipped.detail == "rollout ro1 of an earlier run has not ended: it is paused"
    assert decide(made, a_rollout(over=True), DUE) == DueRun(due_at=DUE)


def test_skipped_run_leaves_the_last_rollout_known() -> None:
    began = ScheduledRun(due_at=DUE, at=DUE, outcome=RunOutcome.STARTED, rollout="ro1")
    skipped = replace(began, due_at=DUE + DAY, outcome=RunOutcome.OVERLAPPED, rollout="")
    schedule = a_schedule().after(began, DUE).after(skipped, DUE + DAY)
    assert (schedule.last_run, schedule.last_rollout) == (skipped, "ro1")
    assert schedule.next_at == DUE + 2 * DAY


def test_runs_of_a_restored_database_that_were_due_since_the_copy_are_skipped() -> None:
    copied_at = DUE - HOUR
    for missed in MissedRuns:
        made = a_schedule(missed=missed)
        assert forgone(made, copied_at, DUE - MINUTE) is None
        assert forgone(made.held(), copied_at, DUE + MINUTE) is None
        skipped = forgone(made, copied_at, DUE + MINUTE)
        assert skipped is not None
        assert skipped.next_at == DUE + DAY
        assert skipped.last_run is not None
        assert skipped.last_run.outcome is RunOutcome.MISSED
        assert "copy of 2026-03-02 02:00 UTC" in skipped.last_run.detail


def test_rollout_that_cannot_be_understood_is_refused_with_its_place() -> None:
    spec = RolloutSpec(filter=HostFilter(), division=Division(waves=("none",)))
    with pytest.raises(InvalidArgument) as caught:
        wish(rollout=spec).spec(NOW)
    assert [v.field for v in caught.value.violations] == ["spec.rollout.waves[0]"]


# --- whatever the clock does ----------------------------------------------------------------------

CRONS = st.sampled_from(("0 3 * * *", "*/15 * * * *", "30 * * * *", "0 3 * * 6", "30 2 * * *"))
STEPS = st.lists(
    st.one_of(
        st.timedeltas(timedelta(), 2 * HOUR),
        st.timedeltas(-3 * DAY, 3 * DAY),
        st.sampled_from((MINUTE, 15 * MINUTE, HOUR, DAY)),
    ),
    max_size=40,
)


@given(
    cron=CRONS,
    missed=st.sampled_from(MissedRuns),
    zone=st.sampled_from(("UTC", "Europe/Berlin", "Australia/Sydney")),
    steps=STEPS,
    start=st.sampled_from(
        (NOW, datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 4, 4, tzinfo=UTC))
    ),
)
def test_no_moment_has_two_runs_and_none_begins_early(
    cron: str, missed: MissedRuns, zone: str, steps: list[timedelta], start: datetime
) -> None:
    now = start
    schedule = a_schedule(now, cron=cron, missed=missed, time_zone=zone)
    begun: list[datetime] = []
    for step in steps:
        now = max(start, now + step)
        turn = decide(schedule, None, now)
        if turn is None:
            assert schedule.next_at is not None
            assert schedule.next_at > now
            continue
        assert turn.due_at <= now
        outcome = RunOutcome.STARTED if isinstance(turn, DueRun) else turn.outcome
        if isinstance(turn, DueRun):
            begun.append(turn.due_at)
            if missed is MissedRuns.SKIP:
                assert now - turn.due_at <= schedule.spec.grace
        run = ScheduledRun(due_at=turn.due_at, at=now, outcome=outcome)
        schedule = schedule.after(run, now)
        # Moved on, nothing is left to do at the same moment.
        assert decide(schedule, None, now) is None
    assert begun == sorted(set(begun))


@given(steps=st.lists(st.timedeltas(timedelta(), 14 * MINUTE), min_size=1, max_size=60))
def test_server_that_is_never_away_for_longer_than_the_grace_misses_nothing(
    steps: list[timedelta],
) -> None:
    now = NOW
    schedule = a_schedule(now, cron="*/20 * * * *")
    begun = []
    for step in steps:
        now += step
        turn = decide(schedule, None, now)
        if turn is not None:
            assert isinstance(turn, DueRun)
            begun.append(turn.due_at)
            run = ScheduledRun(due_at=turn.due_at, at=now, outcome=RunOutcome.STARTED)
            schedule = schedule.after(run, now)
    passed = (now - NOW) // (20 * MINUTE)
    assert begun == [NOW + n * 20 * MINUTE for n in range(1, passed + 1)]


# --- a clock that was wrong, and time zones that change -------------------------------------------

FAR = datetime(2036, 2, 7, 3, 6, tzinfo=UTC)
"""A date that a broken clock says; at 03:06 a nightly run is within its grace."""


def begun(begin: DueRun, at: datetime) -> ScheduledRun:
    return ScheduledRun(due_at=begin.due_at, at=at, outcome=RunOutcome.STARTED, rollout="ro1")


@pytest.mark.parametrize("wrong", [FAR, FAR + 3 * HOUR])
@pytest.mark.parametrize("missed", list(MissedRuns))
def test_recomputed__clock_that_was_far_ahead_leaves_no_trace(
    wrong: datetime, missed: MissedRuns
) -> None:
    schedule = a_schedule(missed=missed)
    decided = decide(schedule, None, wrong)
    assert decided is not None, "a run is due at the wrong date"
    run = decided if isinstance(decided, ScheduledRun) else begun(decided, wrong)
    schedule = schedule.after(run, wrong)
    assert schedule.next_at is not None
    assert schedule.next_at > wrong
    right = NOW + 5 * MINUTE
    mended = schedule.recomputed(right)
    assert mended is not None
    # The run of the coming night counts as had only where it was: by its own date.
    assert mended.next_at == (DUE if run.due_at == FAR - 6 * MINUTE else DUE + DAY)
    assert mended.recomputed(right) is None
    assert schedule.held().going(right).next_at == mended.next_at


def test_recomputed__schedule_that_ended_because_the_clock_was_ahead_goes_on() -> None:
    schedule = a_schedule(rrule="FREQ=DAILY;BYHOUR=3;UNTIL=20270101")
    ended = schedule.going(FAR)
    assert ended.status is ScheduleStatus.ENDED
    mended = ended.recomputed(NOW)
    assert mended is not None
    assert (mended.status, mended.next_at) == (ScheduleStatus.ACTIVE, DUE)


@pytest.mark.parametrize("asked", [{"cron": "0 3 * * *"}, {"rrule": "FREQ=DAILY;BYHOUR=3"}])
def test_recomputed__schedule_that_was_made_while_the_clock_was_ahead_begins_now(
    asked: dict[str, str],
) -> None:
    mended = a_schedule(FAR, **asked).recomputed(NOW)
    assert mended is not None
    assert mended.next_at == DUE
    assert mended.recomputed(NOW) is None


def test_recomputed__start_that_was_asked_for_is_kept() -> None:
    start = NOW + 30 * DAY
    mended = a_schedule(starts_at=start).going(FAR).recomputed(NOW)
    assert mended is not None
    assert mended.next_at == datetime(2026, 4, 1, 3, 0, tzinfo=UTC)


def test_recomputed__clock_that_was_far_behind_makes_no_run_due() -> None:
    begun = a_schedule(starts_at=NOW - 3000 * DAY, missed=MissedRuns.RUN_ONCE)
    behind = begun.going(NOW - 2000 * DAY)
    assert isinstance(decide(behind, None, NOW), DueRun)
    mended = behind.recomputed(NOW)
    assert mended is not None
    assert mended.next_at == DUE


def test_recomputed__run_that_is_due_stays_due() -> None:
    schedule = a_schedule()
    for late in (timedelta(), MINUTE, 91 * DAY):
        assert schedule.recomputed(DUE + late) is None


def test_recomputed__paused_schedule_stays_as_it_is() -> None:
    assert a_schedule().held().recomputed(FAR) is None


def test_recomputed__rules_of_a_time_zone_that_changed_move_the_next_run() -> None:
    made = a_schedule(time_zone="Europe/Berlin")
    assert made.next_at == DUE - HOUR
    by_former_rules = replace(made, next_at=DUE)
    assert by_former_rules.recomputed(NOW) == made
    # Where the new moment has passed already the run is due, and not lost.
    assert by_former_rules.recomputed(DUE - HOUR / 2) == made


@given(
    passed=st.timedeltas(timedelta(), 3 * DAY),
    ahead=st.timedeltas(timedelta(), 4000 * DAY),
    grace=st.timedeltas(MINUTE, DAY),
    missed=st.sampled_from(MissedRuns),
)
def test_recomputed__what_a_clock_that_was_ahead_costs_is_bounded(
    passed: timedelta, ahead: timedelta, grace: timedelta, missed: MissedRuns
) -> None:
    schedule = a_schedule(cron="0 * * * *", grace=grace, missed=missed)
    right = NOW + passed
    wrong = right + ahead
    while (run := decide(schedule, None, wrong)) is not None:
        if isinstance(run, DueRun):
            run = begun(run, wrong)
        schedule = schedule.after(run, wrong)
    schedule = schedule.recomputed(right) or schedule
    assert schedule.next_at is not None
    # No run comes again, and the next one comes within a day and an hour.
    assert right < schedule.next_at <= right + DAY + HOUR or schedule.next_at <= right
    if schedule.last_run is not None and schedule.last_run.due_at <= right + DAY:
        assert schedule.next_at > schedule.last_run.due_at
