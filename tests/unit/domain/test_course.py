"""The events that a course tells, in their order, and the ends that are not of the usual kind."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tendhost.server.domain.course import Course, queued, refused, started, step_retried, stepped
from tendhost.server.domain.errors import (
    HostHasFailed,
    HostKeyChanged,
    RebootRefused,
    Unreachable,
    WindowClosed,
)
from tendhost.server.domain.events import (
    HostDisconnected,
    OperationChanged,
    StateChanged,
    UpdateCompleted,
)
from tendhost.server.domain.host import Host, HostConfig, HostStatus, Problem
from tendhost.server.domain.inventory import RebootNeed
from tendhost.server.domain.operation import (
    Findings,
    Operation,
    OperationKind,
    OperationStatus,
    Outcome,
    StepName,
    UpdateResult,
)
from tendhost.server.domain.states import HostState as S

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REFUSED = Problem.of(RebootRefused(host="web1", problem="refused to reboot (exit 1): no"))


def host(**status) -> Host:
    return Host(
        config=HostConfig(name="web1", address="192.0.2.1"),
        host_key="ssh-ed25519 AAAA",
        registered_at=NOW,
        status=HostStatus(**status),
    )


def begun(kind: OperationKind, former: Host | None = None) -> Course:
    operation = Operation(id="op1", host="web1", kind=kind, created_at=NOW, rollout="r1")
    return started(operation, former or host(), NOW)


def led(course: Course, *outcomes: Outcome) -> Course:
    now = NOW
    for outcome in outcomes:
        now += timedelta(minutes=1)
        course = stepped(Course(operation=course.operation, host=course.host), outcome, now)
    return course


def bodies(course: Course) -> list[Any]:
    return [event.body for event in course.events]


def test_a_start_tells_the_state_then_the_step_of_host_operation_and_rollout():
    course = begun(OperationKind.QUERY)
    assert bodies(course) == [
        StateChanged(origin=S.IDLE, to=S.QUERYING, cause="query"),
        OperationChanged(
            kind=OperationKind.QUERY, status=OperationStatus.RUNNING, step=StepName.CONNECT
        ),
    ]
    assert {(e.host, e.operation, e.rollout, e.at) for e in course.events} == {
        ("web1", "op1", "r1", NOW)
    }


def test_a_failed_host_is_not_started_on():
    failed = host(state=S.VERIFYING).failed(step="verify", problem=REFUSED, now=NOW)
    with pytest.raises(HostHasFailed):
        begun(OperationKind.QUERY, failed)


def test_a_host_that_cannot_be_reached_is_left_as_it_was():
    error = Unreachable(host="web1", address="192.0.2.1", problem="connection refused")
    former = host(state=S.PENDING_UPDATES, pending_count=3)
    course = led(
        begun(OperationKind.UPDATE, former),
        Outcome(problem=Problem.of(error), needs_person=error.needs_person),
    )
    assert course.host.status.state is S.PENDING_UPDATES
    assert course.host.status.last_problem == Problem.of(error)
    assert bodies(course) == [
        HostDisconnected(reason=str(error)),
        OperationChanged(
            kind=OperationKind.UPDATE, status=OperationStatus.FAILED, message=str(error)
        ),
        StateChanged(origin=S.QUERYING, to=S.PENDING_UPDATES, cause="updates_pending"),
    ]


def test_another_host_key_fails_the_host_before_anything_is_done_on_it():
    error = HostKeyChanged(host="web1", address="192.0.2.1", pinned="SHA256:a", shown="SHA256:b")
    course = led(
        begun(OperationKind.QUERY),
        Outcome(problem=Problem.of(error), needs_person=error.needs_person),
    )
    assert course.host.status.state is S.FAILED
    assert course.host.status.failure is not None
    assert course.host.status.failure.step == "connect"
    assert course.host.status.failure.previous_state is S.QUERYING


def rebooting() -> Course:
    return led(begun(OperationKind.REBOOT), Outcome(), Outcome())


def test_a_reboot_that_was_asked_for_passes_through_waiting():
    course = rebooting()
    moves = [(b.origin, b.to) for b in bodies(course) if isinstance(b, StateChanged)]
    assert moves == [(S.QUERYING, S.WAITING_REBOOT), (S.WAITING_REBOOT, S.REBOOTING)]


def test_a_refused_reboot_leaves_the_host_idle_with_the_problem():
    course = led(rebooting(), Outcome(problem=REFUSED))
    assert course.operation.status is OperationStatus.FAILED
    assert course.host.status.state is S.IDLE
    assert course.host.status.last_problem == REFUSED
    assert bodies(course)[-1] == StateChanged(origin=S.REBOOTING, to=S.IDLE, cause="reboot_refused")


def test_a_host_that_does_not_come_back_has_failed():
    never = Problem(reason="REBOOT_NEVER_RETURNED", message="did not come back")
    course = led(rebooting(), Outcome(problem=never, needs_person=True))
    assert course.host.status.state is S.FAILED
    assert course.host.status.failure is not None
    assert course.host.status.failure.previous_state is S.REBOOTING


def test_a_link_lost_while_verifying_fails_the_host_for_something_was_changed():
    lost = Problem(reason="LINK_LOST", message="the link was lost")
    course = led(rebooting(), Outcome(), Outcome(problem=lost))
    assert course.host.status.state is S.FAILED


def test_an_update_tells_what_it_changed_before_it_tells_its_end():
    found = Findings(pending_count=1, reboot_need=RebootNeed.NOT_NEEDED)
    update = UpdateResult()
    course = led(
        begun(OperationKind.UPDATE),
        *(Outcome(), Outcome(), Outcome(findings=found, update=update)),
        *(Outcome(update=update), Outcome(findings=found), Outcome()),
    )
    told = bodies(course)
    completed = next(b for b in told if isinstance(b, UpdateCompleted))
    ended = next(b for b in told if isinstance(b, OperationChanged))
    assert told.index(completed) < told.index(ended)
    assert completed.result == course.operation.update
    assert completed.result.success
    assert completed.result.reboot_required is RebootNeed.NOT_NEEDED
    assert course.host.status.last_updated == course.operation.ended_at


CLOSED = Problem.of(WindowClosed(host="web1", problem="frozen until then", opens=""))
LISTED = Outcome(
    findings=Findings(pending_count=1, post_hook_due=True),
    update=UpdateResult(),
    detail="1 pending",
)


def applying(*more: Outcome) -> Course:
    """An update with its transaction about to begin, and then what comes of it."""
    former = host(state=S.PENDING_UPDATES, pending_count=1)
    course = led(begun(OperationKind.UPDATE, former), Outcome(), Outcome(), LISTED)
    assert course.operation.current is not None
    assert course.operation.current.name is StepName.APPLY
    return led(course, *more)


def to_its_end(course: Course, last: Outcome) -> Course:
    """The course once nothing follows, with `last` as the outcome of its hook."""
    told: list[Any] = bodies(course)
    while not course.operation.status.ended:
        assert course.operation.current is not None
        hook = course.operation.current.name is StepName.POST_HOOK
        course = led(course, last if hook else Outcome())
        told += bodies(course)
    assert UpdateCompleted not in map(type, told) or course.host.status.state is S.FAILED
    return course


def test_an_update_that_is_refused_right_before_its_transaction_leaves_its_host_as_it_was():
    course = to_its_end(applying(Outcome(problem=CLOSED)), Outcome())
    assert course.operation.status is OperationStatus.FAILED
    assert course.host.status.state is S.PENDING_UPDATES
    assert (course.host.status.last_problem, course.host.status.failure) == (CLOSED, None)
    assert course.host.status.last_updated is None


def test_a_hook_that_then_fails_fails_the_host():
    problem = Problem(reason="POST_HOOK_FAILED", message="web1: the hook failed")
    course = to_its_end(
        applying(Outcome(problem=CLOSED)), Outcome(problem=problem, needs_person=True)
    )
    assert course.host.status.state is S.FAILED


@pytest.mark.parametrize("how", ["tried before", "retried", "other problem", "later step"])
def test_a_transaction_that_may_have_begun_fails_the_host(how: str):
    course, problem = applying(), CLOSED
    if how == "tried before":
        course = step_retried(course, REFUSED, timedelta(), NOW)
    elif how == "retried":
        resumed = replace(course.operation, resume_at=StepName.APPLY)
        course = replace(course, operation=resumed)
    elif how == "later step":
        course = led(course, Outcome(update=UpdateResult()))
    else:
        problem = REFUSED
    course = to_its_end(led(course, Outcome(problem=problem)), Outcome())
    assert course.host.status.state is S.FAILED


def test_a_queued_operation_is_told_of_and_leaves_the_host_alone():
    busy = begun(OperationKind.QUERY).host
    waiting = Operation(id="op2", host="web1", kind=OperationKind.CHECK, created_at=NOW)
    course = queued(waiting, busy, NOW)
    assert course.host is busy
    assert bodies(course) == [
        OperationChanged(kind=OperationKind.CHECK, status=OperationStatus.QUEUED)
    ]


def test_a_queued_operation_whose_host_has_failed_meanwhile_fails_without_a_step():
    waiting = Operation(id="op2", host="web1", kind=OperationKind.CHECK, created_at=NOW)
    failed, event = refused(waiting, REFUSED, NOW)
    assert (failed.status, failed.steps, failed.problem) == (OperationStatus.FAILED, (), REFUSED)
    assert failed.ended_at == NOW
    assert event.operation == "op2"
    assert event.body == OperationChanged(
        kind=OperationKind.CHECK, status=OperationStatus.FAILED, message=REFUSED.message
    )
