"""Updates of rollouts: which waves they need, and what they make of counts and of the estimate."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.rollouts.rollout import (
    Member,
    MemberStatus,
    Rollout,
    RolloutProgress,
    RolloutSpec,
    RolloutStatus,
    Wave,
)
from tendhost.server.domain.rollouts.rollout_update import RolloutUpdate

M = MemberStatus
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ROLLOUT = Rollout(
    id="ro1",
    spec=RolloutSpec(filter=HostFilter(), delay_between_waves=MINUTE),
    created_at=NOW,
    progress=RolloutProgress(total_hosts=4, pending=2, failed=1, completed=1),
    waves=2,
    wave=1,
    expected_rest=timedelta(),
)
FIRST = Wave(
    rollout="ro1",
    number=0,
    progress=RolloutProgress(total_hosts=2, pending=0, failed=1, completed=1),
    started_at=NOW,
    ended_at=NOW,
)
SECOND = Wave(
    rollout="ro1",
    number=1,
    progress=RolloutProgress(total_hosts=2, pending=2),
    expected=4 * MINUTE,
    started_at=NOW,
)
FAILED = Member(rollout="ro1", host="a", wave=0, position=0, status=M.FAILED)


def test_update__needs_the_current_wave_and_those_of_moved_members():
    update = RolloutUpdate(ROLLOUT)
    assert update.waves == [1]
    update.move(FAILED, M.SKIPPED)
    assert update.waves == [0, 1]


@pytest.mark.parametrize("status", [RolloutStatus.HALTED, RolloutStatus.CANCELLED])
def test_update__of_a_rollout_at_rest_needs_no_wave_and_has_no_estimate(status):
    estimated = replace(ROLLOUT, status=status, expected_end=NOW)
    update = RolloutUpdate(estimated)
    assert update.waves == []
    assert update.applied((), NOW).rollout.expected_end is None


def test_update__counts_a_member_in_the_wave_that_it_joins():
    update = RolloutUpdate(ROLLOUT)
    update.move(FAILED, M.PENDING, wave=1, retry=True)
    updated = update.applied((FIRST, SECOND), NOW)
    left, joined = updated.waves
    assert left.progress == RolloutProgress(total_hosts=1, pending=0, completed=1)
    assert joined.progress == RolloutProgress(total_hosts=3, pending=3)
    assert left.progress + joined.progress == updated.rollout.progress
    (member,) = updated.members
    assert (member.wave, member.status, member.retry) == (1, M.PENDING, True)


def test_update__stores_only_waves_that_change():
    update = RolloutUpdate(ROLLOUT)
    update.change_member(FAILED, check="op1")
    assert update.applied((FIRST, SECOND), NOW).waves == ()
    update.change_wave(1, settled_at=NOW)
    assert update.applied((FIRST, SECOND), NOW).waves == (replace(SECOND, settled_at=NOW),)


def test_estimate__is_the_same_right_before_and_after_a_wave_begins():
    before = replace(ROLLOUT, expected_rest=SECOND.expected + MINUTE)
    not_begun = replace(SECOND, started_at=None)
    end = RolloutUpdate(before).applied((not_begun,), NOW).rollout.expected_end
    assert end == NOW + SECOND.expected
    assert end == RolloutUpdate(ROLLOUT).applied((SECOND,), NOW).rollout.expected_end


@pytest.mark.parametrize("origin", [M.PENDING, M.WAITING])
@pytest.mark.parametrize("to", M)
def test_update__forgets_the_first_opening_with_every_move(origin, to):
    update = RolloutUpdate(replace(ROLLOUT, opens_at=NOW))
    waiting = replace(FAILED, status=origin)
    update.change_member(waiting, detail="other words")
    assert update.rollout.opens_at == NOW
    update.move(waiting, to)
    assert update.rollout.opens_at is None
