"""Which events make which notices, and that nothing is told twice or left out, wherever one reads on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.events import (
    Event,
    EventBody,
    OperationChanged,
    RolloutChanged,
    StateChanged,
    UpdateProgress,
)
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.notifications.notices import (
    ENDED_KEPT,
    KIND_OF_STATUS,
    FollowedRollouts,
    Notice,
    NoticeKind,
    NotificationCursor,
    noticed,
    pruned,
)
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.rollouts.rollout import RolloutProgress, RolloutStatus

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
K, R, S = NoticeKind, RolloutStatus, OperationStatus
FRESH = RolloutProgress(total_hosts=4, pending=4)
HALF = RolloutProgress(total_hosts=4, pending=2, completed=1, failed=1)
OVER = RolloutProgress(total_hosts=4, pending=0, completed=3, failed=1)


def event(body: EventBody, revision: int = 1, **where: str) -> Event:
    return Event(at=NOW, body=body, revision=revision, **where)


def rollout(
    status: RolloutStatus = R.RUNNING,
    progress: RolloutProgress = HALF,
    wave: int = 0,
    *,
    id: str = "ro1",
    message: str = "",
) -> Event:
    body = RolloutChanged(status=status, progress=progress, wave=wave, waves=3, message=message)
    return event(body, rollout=id)


def operation(
    status: OperationStatus, kind: OperationKind = OperationKind.UPDATE, message: str = ""
) -> Event:
    body = OperationChanged(kind=kind, status=status, message=message)
    return event(body, host="web1", operation="op1", rollout="ro1")


def stranded(**where: Any) -> Event:
    body = StateChanged(origin=HostState.UPDATING, to=HostState.FAILED, cause="it broke")
    return event(body, host="web1", **where)


def told(*events: Event, following: FollowedRollouts | None = None) -> list[Notice]:
    """What is told of these events, one after the other."""
    following = following or FollowedRollouts()
    found: list[Notice] = []
    for one in events:
        following, notices = noticed(following, one)
        found.extend(notices)
    return found


def kinds(*events: Event) -> list[str]:
    return [str(notice.kind) for notice in told(*events)]


def test_every_status_of_a_rollout_says_what_is_told_of_it():
    assert set(KIND_OF_STATUS) == set(RolloutStatus)


def test_a_rollout_is_told_from_its_start_to_its_end():
    course = (
        rollout(progress=FRESH),
        rollout(),
        rollout(),
        rollout(wave=1),
        rollout(R.HALTED, wave=1, message="2 failed"),
        rollout(R.HALTED, wave=1),
        rollout(wave=1),
        rollout(R.AWAITING_APPROVAL, wave=1),
        rollout(wave=1),
        rollout(wave=2),
        rollout(R.COMPLETED, OVER, wave=2),
    )
    assert kinds(*course) == [
        "rollout_started",
        "wave_done",
        "rollout_halted",
        "approval_wanted",
        "wave_done",
        "rollout_ended",
    ]


def test_a_wave_that_is_done_is_told_by_its_own_number():
    (_, done) = told(rollout(progress=FRESH), rollout(wave=1, message="wave 2 begins"))
    assert (done.kind, done.wave, done.waves, done.message) == (K.WAVE_DONE, 1, 3, "")


def test_a_rollout_that_halts_says_why_and_in_which_wave():
    (halted,) = told(rollout(R.HALTED, wave=1, message="2 failed: web1, web2"))
    assert (halted.wave, halted.message) == (2, "2 failed: web1, web2")


def test_a_rollout_that_halts_again_is_told_again():
    assert kinds(rollout(R.HALTED), rollout(), rollout(R.HALTED)) == ["rollout_halted"] * 2


def test_each_wave_that_wants_approval_is_told():
    course = (rollout(R.AWAITING_APPROVAL), rollout(wave=1), rollout(R.AWAITING_APPROVAL, wave=1))
    assert kinds(*course) == ["approval_wanted", "wave_done", "approval_wanted"]


@pytest.mark.parametrize("status", [R.CANCELLED, R.EXPIRED])
def test_a_rollout_that_is_wound_up_has_ended_when_nothing_of_it_is_under_way(status):
    busy = RolloutProgress(total_hosts=4, pending=0, in_progress=1, skipped=3)
    gone = RolloutProgress(total_hosts=4, pending=0, completed=1, skipped=3)
    assert kinds(rollout(), rollout(status), rollout(status, busy)) == []
    assert kinds(rollout(), rollout(status), rollout(status, gone)) == ["rollout_ended"]


def test_a_rollout_that_has_an_event_after_its_end_ends_once():
    gone = RolloutProgress(total_hosts=4, pending=0, completed=1, skipped=3)
    assert kinds(rollout(), *[rollout(R.CANCELLED, gone)] * 3) == ["rollout_ended"]


def test_of_a_rollout_that_is_met_on_its_way_only_what_follows_is_told():
    assert kinds(rollout(wave=1), rollout(wave=1), rollout(wave=2)) == ["wave_done"]


def test_rollouts_side_by_side_are_told_apart():
    course = (
        rollout(progress=FRESH, id="a"),
        rollout(progress=FRESH, id="b"),
        rollout(id="a", wave=1),
        rollout(R.HALTED, id="b"),
        rollout(R.COMPLETED, OVER, id="a", wave=1),
        rollout(id="b"),
    )
    named = [(notice.rollout, str(notice.kind)) for notice in told(*course)]
    assert named == [
        ("a", "rollout_started"),
        ("b", "rollout_started"),
        ("a", "wave_done"),
        ("b", "rollout_halted"),
        ("a", "rollout_ended"),
    ]


def test_what_is_remembered_does_not_grow_with_the_rollouts_that_have_ended():
    following = FollowedRollouts()
    for number in range(2 * ENDED_KEPT):
        for one in (rollout(id=f"{number}"), rollout(R.COMPLETED, OVER, id=f"{number}")):
            following, _ = noticed(following, one)
    assert (len(following.ended), following.rollouts) == (ENDED_KEPT, {})


@pytest.mark.parametrize("kind", [OperationKind.UPDATE, OperationKind.REBOOT])
def test_an_update_or_a_reboot_that_fails_is_told_with_its_reason(kind):
    (failed,) = told(operation(S.RUNNING, kind), operation(S.FAILED, kind, "no space left"))
    assert (failed.kind, failed.host, failed.rollout) == (K.HOST_FAILED, "web1", "ro1")
    assert failed.message == "no space left"


@pytest.mark.parametrize("kind", [OperationKind.QUERY, OperationKind.CHECK])
def test_a_look_that_fails_is_told_only_if_the_host_has_failed_by_it(kind):
    failed = operation(S.FAILED, kind, "another host key")
    assert kinds(failed) == []
    assert kinds(stranded(operation="op1"), failed) == ["host_failed"]


def test_a_host_that_fails_with_its_operation_is_told_once_with_the_operations_words():
    course = (stranded(operation="op1"), operation(S.RUNNING), operation(S.FAILED, message="bad"))
    assert [notice.message for notice in told(*course)] == ["bad"]


def test_a_host_that_fails_without_an_operation_is_told_at_once():
    (notice,) = told(stranded())
    assert (notice.host, notice.message) == ("web1", "it broke")


@pytest.mark.parametrize("status", [S.SUCCEEDED, S.CANCELLED, S.RUNNING, S.QUEUED])
def test_an_operation_that_does_not_fail_is_not_told(status):
    assert kinds(operation(status)) == []


def test_progress_is_not_told_and_costs_nothing():
    following = FollowedRollouts(stranded=("op1",))
    body = UpdateProgress(package="bash", percent=3.0, phase="unpack")
    after, notices = noticed(following, event(body, operation="op1"))
    assert after is following
    assert notices == ()


def test_pruned_events_are_counted():
    notice = pruned(revision=10, first=21, at=NOW)
    assert (notice.kind, notice.revision) == (K.EVENTS_PRUNED, 20)
    assert notice.message.startswith("10 events (revisions 11 to 20)")


def test_pruned_events_concern_everybody_and_cannot_be_chosen():
    from tendhost.server.domain.notifications.notices import CHOOSABLE

    assert set(CHOOSABLE) == set(NoticeKind) - {K.EVENTS_PRUNED}


progresses = st.sampled_from([FRESH, HALF, OVER])
bodies = st.one_of(
    st.builds(
        rollout,
        status=st.sampled_from(RolloutStatus),
        progress=progresses,
        wave=st.integers(0, 2),
        id=st.sampled_from(["a", "b"]),
    ),
    st.builds(operation, st.sampled_from(OperationStatus), st.sampled_from([*OperationKind])),
    st.sampled_from([stranded(), stranded(operation="op1"), stranded(operation="op2")]),
)


@given(events=st.lists(bodies, max_size=30), cut=st.integers(0, 30))
def test_a_reader_that_goes_on_from_a_stored_place_tells_what_one_that_never_stopped_tells(
    events, cut
):
    from tendhost.server.store import rows

    following = FollowedRollouts()
    first: list[Notice] = []
    for one in events[:cut]:
        following, notices = noticed(following, one)
        first.extend(notices)
    stored = rows.notification_cursor_of(
        rows.document(NotificationCursor(revision=cut, following=following))
    )
    rest = told(*events[cut:], following=stored.following)
    assert first + rest == told(*events)


@given(events=st.lists(bodies, max_size=40))
def test_nothing_of_a_rollout_is_told_after_its_end(events):
    ended = set()
    for notice in told(*events):
        if notice.rollout in ("a", "b"):
            assert notice.rollout not in ended
        if notice.kind is K.ROLLOUT_ENDED:
            ended.add(notice.rollout)


@given(events=st.lists(bodies, max_size=40))
def test_the_time_and_the_number_of_an_event_go_into_what_is_told_of_it(events):
    numbered = [
        replace(one, revision=number, at=NOW + timedelta(seconds=number))
        for number, one in enumerate(events, start=1)
    ]
    for notice in told(*numbered):
        assert notice.at == NOW + timedelta(seconds=notice.revision)
