"""The events that a course tells, in their order, and the ends that are not of the usual kind."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tendhost.server.domain.events import (
    HostDisconnected,
    OperationChanged,
    StateChanged,
    UpdateCompleted,
)
from tendhost.server.domain.host_errors import (
    Cancelled,
    DeadlineExceeded,
    HostKeyChanged,
    HostUnreachable,
    RebootRefused,
    WindowClosed,
)
from tendhost.server.domain.hosts.host import Host, HostConfig, HostStatus, Problem
from tendhost.server.domain.hosts.states import HostState as S
from tendhost.server.domain.inventory.inventory import RebootNeed
from tendhost.server.domain.operations.operation import (
    HealthResult,
    JobRecord,
    Operation,
    OperationKind,
    OperationStatus,
    Outcome,
    StepFacts,
    UpdateResult,
)
from tendhost.server.domain.operations.permission import ChangeKind
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.domain.request_errors import HostFailed
from tendhost.server.domain.transitions import (
    OperationState,
    after_retry,
    after_step,
    queued,
    refused,
    started,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REFUSED = Problem.of(RebootRefused(host="web1", problem="refused to reboot (exit 1): no"))


def host(**status) -> Host:
    return Host(
        config=HostConfig(name="web1", address="192.0.2.1"),
        host_key="ssh-ed25519 AAAA",
        registered_at=NOW,
        status=HostStatus(**status),
    )


def begun(kind: OperationKind, former: Host | None = None) -> OperationState:
    operation = Operation(id="op1", host="web1", kind=kind, created_at=NOW, rollout="r1")
    return started(operation, former or host(), NOW)


def led(course: OperationState, *outcomes: Outcome) -> OperationState:
    now = NOW
    for outcome in outcomes:
        now += timedelta(minutes=1)
        course = after_step(
            OperationState(operation=course.operation, host=course.host), outcome, now
        )
    return course


def bodies(course: OperationState) -> list[Any]:
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
    with pytest.raises(HostFailed):
        begun(OperationKind.QUERY, failed)


def test_a_host_that_cannot_be_reached_is_left_as_it_was():
    error = HostUnreachable(host="web1", address="192.0.2.1", problem="connection refused")
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


def rebooting() -> OperationState:
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


@pytest.mark.parametrize("why", ["window", "deadline"])
@pytest.mark.parametrize("pending", [0, 2])
def test_a_reboot_that_is_not_permitted_any_more_stays_due(why: str, pending: int):
    problem = CLOSED if why == "window" else LATE
    former = host(state=S.PENDING_UPDATES if pending else S.IDLE, pending_count=pending)
    course = led(
        begun(OperationKind.REBOOT, former), Outcome(), Outcome(), Outcome(problem=problem)
    )
    assert course.operation.status is OperationStatus.FAILED
    assert (course.host.status.last_problem, course.host.status.failure) == (problem, None)
    assert course.host.status.state is (S.PENDING_UPDATES if pending else S.WAITING_REBOOT)
    assert course.host.status.reboot.need is RebootNeed.NEEDED


def test_a_link_lost_while_verifying_fails_the_host_for_something_was_changed():
    lost = Problem(reason="LINK_LOST", message="the link was lost")
    course = led(rebooting(), Outcome(), Outcome(problem=lost))
    assert course.host.status.state is S.FAILED


def test_an_update_tells_what_it_changed_before_it_tells_its_end():
    found = StepFacts(pending_count=1, reboot_need=RebootNeed.NOT_NEEDED)
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
    findings=StepFacts(pending_count=1, post_hook_due=True),
    update=UpdateResult(),
    detail="1 pending",
)


def applying(*more: Outcome, compose: bool = False, pending: int = 1) -> OperationState:
    """An update with its first transaction about to begin, and then what comes of it."""
    former = host(state=S.PENDING_UPDATES if pending else S.IDLE, pending_count=pending)
    assert LISTED.findings is not None
    findings = replace(LISTED.findings, pending_count=pending, compose_due=compose)
    listed = replace(LISTED, findings=findings)
    course = led(begun(OperationKind.UPDATE, former), Outcome(), Outcome(), listed)
    assert course.operation.current is not None
    assert course.operation.current.name is (StepName.APPLY if pending else StepName.COMPOSE)
    return led(course, *more)


def to_its_end(course: OperationState, last: Outcome) -> OperationState:
    """The course once nothing follows, with `last` as the outcome of its hook."""
    told: list[Any] = bodies(course)
    while not course.operation.status.ended:
        assert course.operation.current is not None
        hook = course.operation.current.name is StepName.POST_HOOK
        course = led(course, last if hook else Outcome())
        told += bodies(course)
    return course


def test_an_update_that_is_refused_right_before_its_transaction_leaves_its_host_as_it_was():
    course = to_its_end(applying(Outcome(problem=CLOSED)), Outcome())
    assert UpdateCompleted not in map(type, bodies(course))
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


LATE = Problem.of(DeadlineExceeded(host="web1", seconds=60))


@pytest.mark.parametrize("problem", [CLOSED, LATE], ids=["window", "deadline"])
@pytest.mark.parametrize("how", ["first", "tried before", "compose", "only compose", "interrupted"])
def test_not_permitted_before_a_transaction__leaves_the_host_pending(how: str, problem: Problem):
    course = put_off(how)
    course = to_its_end(led(course, Outcome(problem=problem)), Outcome())
    assert course.operation.status is OperationStatus.FAILED
    assert (course.host.status.last_problem, course.host.status.failure) == (problem, None)
    pending = how != "only compose"
    assert course.host.status.state is (S.PENDING_UPDATES if pending else S.IDLE)


@pytest.mark.parametrize("how", ["compose", "only compose", "interrupted"])
def test_cancelled_before_a_transaction__leaves_the_host_pending(how: str):
    course = put_off(how)
    operation = replace(course.operation, cancel_requested_by="alex")
    course = led(
        replace(course, operation=operation),
        Outcome(problem=Problem.of(Cancelled(host="web1")), cancelled=True),
    )
    course = to_its_end(course, Outcome())
    assert course.operation.status is OperationStatus.CANCELLED
    assert course.host.status.failure is None


ILL = Outcome(
    problem=Problem(reason="UNHEALTHY", message="web1: failed units: web.service"),
    needs_person=True,
    health=HealthResult(healthy=False, message="failed units: web.service"),
)
REBOOT_DUE = StepFacts(
    pending_count=1, reboot_need=RebootNeed.NEEDED, reboot_allowed=True, post_hook_due=True
)
SERVICES_DUE = StepFacts(
    pending_count=1,
    reboot_need=RebootNeed.NOT_NEEDED,
    services_due=True,
    post_hook_due=True,
)


def refused_after_a_change(what: str, how: str) -> OperationState:
    """An update whose packages were upgraded, and whose next change is refused."""
    course = applying(compose=what == "compose")
    limited = replace(course.operation, time_limit=timedelta(seconds=60))
    course = replace(course, operation=limited)
    between = how == "between"
    changed = Outcome(update=UpdateResult(), overdue=between)
    if what != "compose":
        course = led(course, Outcome(update=UpdateResult()))
        findings = REBOOT_DUE if what == "reboot" else SERVICES_DUE
        changed = Outcome(findings=findings, overdue=between)
    course = led(course, changed)
    if between:
        assert course.operation.problem is not None
        return course
    return led(course, Outcome(problem=CLOSED if how == "window" else LATE))


@pytest.mark.parametrize("how", ["window", "door", "between"])
@pytest.mark.parametrize("what", ["compose", "reboot", "restart_services"])
def test_put_off_after_a_change__the_host_is_verified_its_hook_runs_and_it_rests(
    what: str, how: str
):
    course = refused_after_a_change(what, how)
    assert course.operation.failed_step == what
    course = to_its_end(course, Outcome())
    steps = [step.name for step in course.operation.steps]
    assert steps[-2:] == [StepName.VERIFY, StepName.POST_HOOK]
    problem = course.operation.problem
    assert problem is not None
    assert problem.reason == ("WINDOW_CLOSED" if how == "window" else "DEADLINE_EXCEEDED")
    assert course.host.status.failure is None
    assert course.host.status.state.resting


@pytest.mark.parametrize("what", ["compose", "reboot", "restart_services"])
def test_put_off_after_a_change__a_host_that_is_not_healthy_has_failed_with_that(what: str):
    course = refused_after_a_change(what, "window")
    while course.operation.current is not None:
        verifies = course.operation.current.name is StepName.VERIFY
        course = led(course, ILL if verifies else Outcome())
    assert (course.operation.problem, course.operation.failed_step) == (
        ILL.problem,
        StepName.VERIFY,
    )
    failure = course.host.status.failure
    assert failure is not None
    assert (failure.problem, failure.step) == (ILL.problem, "verify")


@pytest.mark.parametrize("problem", [CLOSED, LATE], ids=["window", "deadline"])
def test_services_alone_that_may_not_be_restarted__leave_the_host_at_rest(problem: Problem):
    listed = replace(LISTED, findings=replace(SERVICES_DUE, pending_count=0))
    course = led(begun(OperationKind.UPDATE), Outcome(), Outcome(), listed)
    assert course.operation.current is not None
    assert course.operation.current.name is StepName.RESTART_SERVICES
    assert course.host.status.state is S.UPDATING
    course = to_its_end(led(course, Outcome(problem=problem)), Outcome())
    assert StepName.VERIFY not in [step.name for step in course.operation.steps]
    assert (course.host.status.state, course.host.status.failure) == (S.IDLE, None)
    assert course.host.status.last_problem == problem


def test_a_reboot_that_is_cancelled_before_its_order__leaves_what_was_known():
    course = rebooting()
    former = course.host.status.reboot
    operation = replace(course.operation, cancel_requested_by="alex")
    cancelled = Outcome(problem=Problem.of(Cancelled(host="web1")), cancelled=True)
    course = to_its_end(led(replace(course, operation=operation), cancelled), Outcome())
    assert course.operation.status is OperationStatus.CANCELLED
    assert (course.host.status.state, course.host.status.reboot) == (S.IDLE, former)


def put_off(how: str) -> OperationState:
    """An update whose next transaction is about to begin, after what `how` says."""
    if how == "tried before":
        return after_retry(applying(), REFUSED, timedelta(), NOW)
    if how == "compose":
        return led(applying(compose=True), Outcome(update=UpdateResult()))
    if how == "only compose":
        return applying(compose=True, pending=0)
    if how == "interrupted":
        cut_off = Problem(reason="INTERRUPTED", message="web1: apply was interrupted")
        outcome = Outcome(problem=cut_off, needs_person=True, interrupted=True)
        return led(applying(), outcome, Outcome(), LISTED)
    return applying()


@pytest.mark.parametrize(
    "how", ["retried", "other problem", "its end was not seen", "looked", "later"]
)
def test_a_transaction_that_may_have_begun_fails_the_host(how: str):
    course, problem = applying(), CLOSED
    if how == "retried":
        resumed = replace(course.operation, resume_at=StepName.APPLY)
        course = replace(course, operation=resumed)
    elif how == "its end was not seen":
        job = JobRecord(operation="op1", kind=ChangeKind.APPLY, number=1)
        course = replace(course, operation=replace(course.operation, job=job))
    elif how == "later":
        course = led(course, Outcome(update=UpdateResult()))
    elif how == "looked":
        # What came of it could not be looked at.
        course = led(course, Outcome(problem=CLOSED), Outcome(problem=REFUSED))
        assert course.operation.problem == REFUSED
        course = to_its_end(course, Outcome())
        assert course.host.status.state is S.FAILED
        return
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
