"""The events that a state tells, in their order, and the ends that are not of the usual kind."""

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
    HostError,
    HostKeyChanged,
    HostUnreachable,
    KeyUnusable,
    RebootRefused,
    Unexpected,
    WindowClosed,
)
from tendhost.server.domain.hosts.host import Host, HostConfig, HostStatus, Problem
from tendhost.server.domain.hosts.states import HostState as S
from tendhost.server.domain.inventory.inventory import Reboot, RebootNeed
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


def led(state: OperationState, *outcomes: Outcome) -> OperationState:
    now = NOW
    for outcome in outcomes:
        now += timedelta(minutes=1)
        state = after_step(OperationState(operation=state.operation, host=state.host), outcome, now)
    return state


def bodies(state: OperationState) -> list[Any]:
    return [event.body for event in state.events]


def test_a_start_tells_the_state_then_the_step_of_host_operation_and_rollout():
    state = begun(OperationKind.QUERY)
    assert bodies(state) == [
        StateChanged(origin=S.IDLE, to=S.QUERYING, cause="query"),
        OperationChanged(
            kind=OperationKind.QUERY, status=OperationStatus.RUNNING, step=StepName.CONNECT
        ),
    ]
    assert {(e.host, e.operation, e.rollout, e.at) for e in state.events} == {
        ("web1", "op1", "r1", NOW)
    }


def test_a_failed_host_is_not_started_on():
    failed = host(state=S.VERIFYING).failed(step="verify", problem=REFUSED, now=NOW)
    with pytest.raises(HostFailed):
        begun(OperationKind.QUERY, failed)


def test_a_host_that_cannot_be_reached_is_left_as_it_was():
    error = HostUnreachable(host="web1", address="192.0.2.1", problem="connection refused")
    former = host(state=S.PENDING_UPDATES, pending_count=3)
    state = led(
        begun(OperationKind.UPDATE, former),
        Outcome(problem=Problem.of(error), needs_person=error.needs_person),
    )
    assert state.host.status.state is S.PENDING_UPDATES
    assert state.host.status.last_problem == Problem.of(error)
    assert bodies(state) == [
        HostDisconnected(reason=str(error)),
        OperationChanged(
            kind=OperationKind.UPDATE, status=OperationStatus.FAILED, message=str(error)
        ),
        StateChanged(origin=S.QUERYING, to=S.PENDING_UPDATES, cause="updates_pending"),
    ]


OTHER_KEY = HostKeyChanged(host="web1", address="192.0.2.1", pinned="SHA256:a", shown="SHA256:b")
NO_KEY = KeyUnusable(host="web1", address="192.0.2.1", problem="no key")
BUG = Unexpected(host="web1", step="connect")


def failing(error: HostError) -> Outcome:
    return Outcome(problem=Problem.of(error), needs_person=error.needs_person)


def test_another_host_key__fails_a_host_that_was_to_be_changed_before_anything_is_done():
    state = led(begun(OperationKind.UPDATE), failing(OTHER_KEY))
    failure = state.host.status.failure
    assert state.host.status.state is S.FAILED
    assert failure is not None
    assert (failure.step, failure.previous_state) == ("connect", S.QUERYING)
    assert failure.at_login


@pytest.mark.parametrize("error", [OTHER_KEY, NO_KEY, BUG], ids=lambda error: error.reason)
@pytest.mark.parametrize("rest", [S.IDLE, S.PENDING_UPDATES, S.WAITING_REBOOT])
@pytest.mark.parametrize("kind", [OperationKind.QUERY, OperationKind.CHECK, "dry run"])
def test_looking__never_locks_a_host(error: HostError, rest: S, kind: OperationKind | str):
    dry = kind == "dry run"
    operation = Operation(
        id="op1",
        host="web1",
        kind=OperationKind.UPDATE if dry else OperationKind(kind),
        dry_run=dry,
        created_at=NOW,
    )
    need = RebootNeed.NEEDED if rest is S.WAITING_REBOOT else RebootNeed.UNKNOWN
    former = host(
        state=rest, reboot=Reboot(need=need), pending_count=2 * (rest is S.PENDING_UPDATES)
    )
    state = led(started(operation, former, NOW), failing(error))
    assert state.operation.status is OperationStatus.FAILED
    assert state.host == former.troubled(Problem.of(error))


@pytest.mark.parametrize("at_login", [True, False])
def test_looking__on_a_failed_host_without_success_leaves_it_failed(at_login: bool):
    failed = host(state=S.UPDATING).failed(
        step="connect", problem=REFUSED, now=NOW, at_login=at_login
    )
    query = Operation(
        id="op2",
        host="web1",
        kind=OperationKind.QUERY,
        created_at=NOW,
        retried=failed.status.failure,
    )
    state = led(started(query, failed.retried(), NOW), failing(NO_KEY))
    assert state.host.status.state is S.FAILED
    assert state.host.status.failure is not None
    assert state.host.status.failure.problem == Problem.of(NO_KEY)
    assert state.host.status.failure.at_login is at_login  # a change may be half done


def test_a_failure__that_a_retry_resumes_is_not_of_the_login_alone():
    update = Operation(
        id="op2",
        host="web1",
        kind=OperationKind.UPDATE,
        created_at=NOW,
        resumes="op1",
        resume_at=StepName.VERIFY,
    )
    state = led(started(update, host(), NOW), failing(NO_KEY))
    assert state.host.status.failure is not None
    assert not state.host.status.failure.at_login


def rebooting() -> OperationState:
    return led(begun(OperationKind.REBOOT), Outcome(), Outcome())


def test_a_reboot_that_was_asked_for_passes_through_waiting():
    state = rebooting()
    moves = [(b.origin, b.to) for b in bodies(state) if isinstance(b, StateChanged)]
    assert moves == [(S.QUERYING, S.WAITING_REBOOT), (S.WAITING_REBOOT, S.REBOOTING)]


def test_a_refused_reboot_leaves_the_host_idle_with_the_problem():
    state = led(rebooting(), Outcome(problem=REFUSED))
    assert state.operation.status is OperationStatus.FAILED
    assert state.host.status.state is S.IDLE
    assert state.host.status.last_problem == REFUSED
    assert bodies(state)[-1] == StateChanged(origin=S.REBOOTING, to=S.IDLE, cause="reboot_refused")


def test_a_host_that_does_not_come_back_has_failed():
    never = Problem(reason="REBOOT_NEVER_RETURNED", message="did not come back")
    state = led(rebooting(), Outcome(problem=never, needs_person=True))
    assert state.host.status.state is S.FAILED
    assert state.host.status.failure is not None
    assert state.host.status.failure.previous_state is S.REBOOTING


@pytest.mark.parametrize("why", ["window", "deadline"])
@pytest.mark.parametrize("pending", [0, 2])
def test_a_reboot_that_is_not_permitted_any_more_stays_due(why: str, pending: int):
    problem = CLOSED if why == "window" else LATE
    former = host(state=S.PENDING_UPDATES if pending else S.IDLE, pending_count=pending)
    state = led(begun(OperationKind.REBOOT, former), Outcome(), Outcome(), Outcome(problem=problem))
    assert state.operation.status is OperationStatus.FAILED
    assert (state.host.status.last_problem, state.host.status.failure) == (problem, None)
    assert state.host.status.state is (S.PENDING_UPDATES if pending else S.WAITING_REBOOT)
    assert state.host.status.reboot.need is RebootNeed.NEEDED


def test_a_link_lost_while_verifying_fails_the_host_for_something_was_changed():
    lost = Problem(reason="LINK_LOST", message="the link was lost")
    state = led(rebooting(), Outcome(), Outcome(problem=lost))
    assert state.host.status.state is S.FAILED


def test_an_update_tells_what_it_changed_before_it_tells_its_end():
    found = StepFacts(pending_count=1, reboot_need=RebootNeed.NOT_NEEDED)
    update = UpdateResult()
    state = led(
        begun(OperationKind.UPDATE),
        *(Outcome(), Outcome(), Outcome(facts=found, update=update)),
        *(Outcome(update=update), Outcome(facts=found), Outcome()),
    )
    told = bodies(state)
    completed = next(b for b in told if isinstance(b, UpdateCompleted))
    ended = next(b for b in told if isinstance(b, OperationChanged))
    assert told.index(completed) < told.index(ended)
    assert completed.result == state.operation.update
    assert completed.result.success
    assert completed.result.reboot_required is RebootNeed.NOT_NEEDED
    assert state.host.status.last_updated == state.operation.ended_at


CLOSED = Problem.of(WindowClosed(host="web1", problem="frozen until then", opens=""))
LISTED = Outcome(
    facts=StepFacts(pending_count=1, post_hook_due=True),
    update=UpdateResult(),
    detail="1 pending",
)


def applying(*more: Outcome, compose: bool = False, pending: int = 1) -> OperationState:
    """An update with its first transaction about to begin, and then what comes of it."""
    former = host(state=S.PENDING_UPDATES if pending else S.IDLE, pending_count=pending)
    assert LISTED.facts is not None
    facts = replace(LISTED.facts, pending_count=pending, compose_due=compose)
    listed = replace(LISTED, facts=facts)
    state = led(begun(OperationKind.UPDATE, former), Outcome(), Outcome(), listed)
    assert state.operation.current is not None
    assert state.operation.current.name is (StepName.APPLY if pending else StepName.COMPOSE)
    return led(state, *more)


def to_its_end(state: OperationState, last: Outcome) -> OperationState:
    """The state once nothing follows, with `last` as the outcome of its hook."""
    told: list[Any] = bodies(state)
    while not state.operation.status.ended:
        assert state.operation.current is not None
        hook = state.operation.current.name is StepName.POST_HOOK
        state = led(state, last if hook else Outcome())
        told += bodies(state)
    return state


def test_an_update_that_is_refused_right_before_its_transaction_leaves_its_host_as_it_was():
    state = to_its_end(applying(Outcome(problem=CLOSED)), Outcome())
    assert UpdateCompleted not in map(type, bodies(state))
    assert state.operation.status is OperationStatus.FAILED
    assert state.host.status.state is S.PENDING_UPDATES
    assert (state.host.status.last_problem, state.host.status.failure) == (CLOSED, None)
    assert state.host.status.last_updated is None


def test_a_hook_that_then_fails_fails_the_host():
    problem = Problem(reason="POST_HOOK_FAILED", message="web1: the hook failed")
    state = to_its_end(
        applying(Outcome(problem=CLOSED)), Outcome(problem=problem, needs_person=True)
    )
    assert state.host.status.state is S.FAILED


LATE = Problem.of(DeadlineExceeded(host="web1", seconds=60))


@pytest.mark.parametrize("problem", [CLOSED, LATE], ids=["window", "deadline"])
@pytest.mark.parametrize("how", ["first", "tried before", "compose", "only compose", "interrupted"])
def test_not_permitted_before_a_transaction__leaves_the_host_pending(how: str, problem: Problem):
    state = put_off(how)
    state = to_its_end(led(state, Outcome(problem=problem)), Outcome())
    assert state.operation.status is OperationStatus.FAILED
    assert (state.host.status.last_problem, state.host.status.failure) == (problem, None)
    pending = how != "only compose"
    assert state.host.status.state is (S.PENDING_UPDATES if pending else S.IDLE)


@pytest.mark.parametrize("how", ["compose", "only compose", "interrupted"])
def test_cancelled_before_a_transaction__leaves_the_host_pending(how: str):
    state = put_off(how)
    operation = replace(state.operation, cancel_requested_by="alex")
    state = led(
        replace(state, operation=operation),
        Outcome(problem=Problem.of(Cancelled(host="web1")), cancelled=True),
    )
    state = to_its_end(state, Outcome())
    assert state.operation.status is OperationStatus.CANCELLED
    assert state.host.status.failure is None


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
    state = applying(compose=what == "compose")
    limited = replace(state.operation, time_limit=timedelta(seconds=60))
    state = replace(state, operation=limited)
    between = how == "between"
    changed = Outcome(update=UpdateResult(), overdue=between)
    if what != "compose":
        state = led(state, Outcome(update=UpdateResult()))
        facts = REBOOT_DUE if what == "reboot" else SERVICES_DUE
        changed = Outcome(facts=facts, overdue=between)
    state = led(state, changed)
    if between:
        assert state.operation.problem is not None
        return state
    return led(state, Outcome(problem=CLOSED if how == "window" else LATE))


@pytest.mark.parametrize("how", ["window", "door", "between"])
@pytest.mark.parametrize("what", ["compose", "reboot", "restart_services"])
def test_put_off_after_a_change__the_host_is_verified_its_hook_runs_and_it_rests(
    what: str, how: str
):
    state = refused_after_a_change(what, how)
    assert state.operation.failed_step == what
    state = to_its_end(state, Outcome())
    steps = [step.name for step in state.operation.steps]
    assert steps[-2:] == [StepName.VERIFY, StepName.POST_HOOK]
    problem = state.operation.problem
    assert problem is not None
    assert problem.reason == ("WINDOW_CLOSED" if how == "window" else "DEADLINE_EXCEEDED")
    assert state.host.status.failure is None
    assert state.host.status.state.resting


@pytest.mark.parametrize("what", ["compose", "reboot", "restart_services"])
def test_put_off_after_a_change__a_host_that_is_not_healthy_has_failed_with_that(what: str):
    state = refused_after_a_change(what, "window")
    while state.operation.current is not None:
        verifies = state.operation.current.name is StepName.VERIFY
        state = led(state, ILL if verifies else Outcome())
    assert (state.operation.problem, state.operation.failed_step) == (
        ILL.problem,
        StepName.VERIFY,
    )
    failure = state.host.status.failure
    assert failure is not None
    assert (failure.problem, failure.step) == (ILL.problem, "verify")


@pytest.mark.parametrize("problem", [CLOSED, LATE], ids=["window", "deadline"])
def test_services_alone_that_may_not_be_restarted__leave_the_host_at_rest(problem: Problem):
    listed = replace(LISTED, facts=replace(SERVICES_DUE, pending_count=0))
    state = led(begun(OperationKind.UPDATE), Outcome(), Outcome(), listed)
    assert state.operation.current is not None
    assert state.operation.current.name is StepName.RESTART_SERVICES
    assert state.host.status.state is S.UPDATING
    state = to_its_end(led(state, Outcome(problem=problem)), Outcome())
    assert StepName.VERIFY not in [step.name for step in state.operation.steps]
    assert (state.host.status.state, state.host.status.failure) == (S.IDLE, None)
    assert state.host.status.last_problem == problem


def test_a_reboot_that_is_cancelled_before_its_order__leaves_what_was_known():
    state = rebooting()
    former = state.host.status.reboot
    operation = replace(state.operation, cancel_requested_by="alex")
    cancelled = Outcome(problem=Problem.of(Cancelled(host="web1")), cancelled=True)
    state = to_its_end(led(replace(state, operation=operation), cancelled), Outcome())
    assert state.operation.status is OperationStatus.CANCELLED
    assert (state.host.status.state, state.host.status.reboot) == (S.IDLE, former)


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
    state, problem = applying(), CLOSED
    if how == "retried":
        resumed = replace(state.operation, resume_at=StepName.APPLY)
        state = replace(state, operation=resumed)
    elif how == "its end was not seen":
        job = JobRecord(operation="op1", kind=ChangeKind.APPLY, number=1)
        state = replace(state, operation=replace(state.operation, job=job))
    elif how == "later":
        state = led(state, Outcome(update=UpdateResult()))
    elif how == "looked":
        # What came of it could not be looked at.
        state = led(state, Outcome(problem=CLOSED), Outcome(problem=REFUSED))
        assert state.operation.problem == REFUSED
        state = to_its_end(state, Outcome())
        assert state.host.status.state is S.FAILED
        return
    else:
        problem = REFUSED
    state = to_its_end(led(state, Outcome(problem=problem)), Outcome())
    assert state.host.status.state is S.FAILED


def test_a_queued_operation_is_told_of_and_leaves_the_host_alone():
    busy = begun(OperationKind.QUERY).host
    waiting = Operation(id="op2", host="web1", kind=OperationKind.CHECK, created_at=NOW)
    state = queued(waiting, busy, NOW)
    assert state.host is busy
    assert bodies(state) == [
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
