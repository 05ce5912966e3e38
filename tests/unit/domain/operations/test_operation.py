"""The course of an operation as properties: any kind, any outcome of any step, cancelled at any moment."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import prod
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tendhost.server.domain.events import (
    HostConnected,
    HostDisconnected,
    OperationChanged,
    StateChanged,
    UpdateCompleted,
)
from tendhost.server.domain.host_errors import (
    HostError,
    HostGone,
    ShellUnusable,
    SshError,
    Unhealthy,
)
from tendhost.server.domain.hosts.host import Host, HostConfig, HostStatus, Problem, Snapshots
from tendhost.server.domain.hosts.states import TRANSITIONS, HostState
from tendhost.server.domain.inventory.inventory import (
    Inventory,
    Observation,
    PackageChange,
    Pending,
    PendingPackage,
    Reboot,
    RebootNeed,
)
from tendhost.server.domain.operations.operation import (
    HealthResult,
    JobRecord,
    Operation,
    OperationKind,
    OperationOptions,
    OperationStatus,
    Outcome,
    Step,
    StepFacts,
    StepStatus,
    UpdateResult,
)
from tendhost.server.domain.operations.permission import ChangeKind
from tendhost.server.domain.operations.step_sequence import next_step
from tendhost.server.domain.operations.step_traits import CHANGING, StepName
from tendhost.server.domain.transitions import OperationState, after_step, started

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
N = StepName
LONG_AGO = NOW - timedelta(days=100)
MOVES = {(origin, to) for (origin, _), to in TRANSITIONS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the world answers to one step, drawn at random."""

    fails: bool
    needs_person: bool
    pending: int
    reboot: RebootNeed
    allowed: bool
    interrupted: bool
    """Where the step is `apply`, and fails, it was cut off on the host."""
    overdue: bool
    again: bool
    """The policy wants an interrupted upgrade to be begun once more."""
    cancel: bool
    """Somebody asks for a cancellation while the step is under way."""
    download: bool = False
    snapshots: Snapshots = Snapshots.NEVER
    compose: bool = False
    services: bool = False
    rollback: bool = False
    pre_hook: bool = False
    post_hook: bool = False
    refused: bool = False
    """Where the step fails, and would change the host, its window has closed."""
    gone: bool = False
    """Where the step fails, it is because the host is out of reach."""


YES_OR_NO = (
    "needs_person",
    "allowed",
    "interrupted",
    "again",
    "download",
    "compose",
    "services",
    "rollback",
    "pre_hook",
    "post_hook",
    "refused",
)
CHANCES = {
    # Mostly well, or hardly any operation would get beyond its first steps.
    "fails": (False,) * 5 + (True,),
    "pending": (0, 1, 2),
    "reboot": tuple(RebootNeed),
    "overdue": (False,) * 19 + (True,),
    "cancel": (False,) * 9 + (True,),
    "snapshots": tuple(Snapshots),
    "gone": (False,) * 3 + (True,),
}


def drawn(flags: int, chances: int) -> Said:
    """What two numbers stand for: a draw for each field would take nine tenths of the tests' time."""
    fields: dict[str, Any] = {name: bool(flags >> bit & 1) for bit, name in enumerate(YES_OR_NO)}
    for name, values in CHANCES.items():
        chances, which = divmod(chances, len(values))
        fields[name] = values[which]
    return Said(**fields)


SAID = st.builds(
    drawn,
    flags=st.integers(0, 2 ** len(YES_OR_NO) - 1),
    chances=st.integers(0, prod(len(values) for values in CHANCES.values()) - 1),
)
KINDS = st.sampled_from(OperationKind)
RESTING = st.sampled_from([s for s in HostState if s.resting])
LENGTH = 20
"""More steps than any operation takes."""
SCRIPT = st.lists(SAID, min_size=LENGTH, max_size=LENGTH)
FINE = Said(
    fails=False,
    needs_person=False,
    pending=1,
    reboot=RebootNeed.NEEDED,
    allowed=True,
    interrupted=False,
    overdue=False,
    again=True,
    cancel=False,
)


def host_in(state: HostState) -> Host:
    """A host at rest whose facts are those of its state."""
    status = HostStatus(
        state=state,
        pending_count=1 if state is HostState.PENDING_UPDATES else 0,
        reboot=Reboot(
            need=RebootNeed.NEEDED if state is HostState.WAITING_REBOOT else RebootNeed.NOT_NEEDED
        ),
        last_updated=LONG_AGO,
        retry_count=2,
        last_problem=Problem(reason="OLD", message="an old problem"),
    )
    config = HostConfig(name="web1", address="192.0.2.1")
    return Host(config=config, host_key="ssh-ed25519 AAAA", registered_at=LONG_AGO, status=status)


def operation_of(kind: OperationKind, *, dry_run: bool = False) -> Operation:
    limit = timedelta(hours=1)
    return Operation(
        id="op1", host="web1", kind=kind, created_at=NOW, dry_run=dry_run, time_limit=limit
    )


def outcome_of(step: StepName, said: Said, operation: Operation, number: int) -> Outcome:
    """What the engine would report of `step`."""
    outcome = performed(step, said, operation, number)
    return replace(outcome, overdue=said.overdue)


def performed(step: StepName, said: Said, operation: Operation, number: int) -> Outcome:
    facts = operation.facts
    if step is StepName.REBOOT:
        facts = replace(facts, reboot_ordered_at=NOW)
    if said.fails and said.refused and step in CHANGING:
        problem = Problem(reason="WINDOW_CLOSED", message=f"{step} not permitted in turn {number}")
        return Outcome(problem=problem, facts=operation.facts)
    if said.fails:
        reason = "HOST_UNREACHABLE" if said.gone else "BROKE"
        problem = Problem(reason=reason, message=f"{step} broke in turn {number}")
        cut_off = said.interrupted and step is StepName.APPLY
        # A check either finds the host unhealthy or does not get to see it.
        unhealthy = step is StepName.VERIFY and said.needs_person
        return Outcome(
            problem=problem,
            health=HealthResult(healthy=False, message="unhealthy") if unhealthy else None,
            needs_person=said.needs_person,
            facts=facts,
            interrupted=cut_off,
        )
    observed, update, health = None, None, None
    if step in (StepName.LIST, StepName.REBOOT_CHECK):
        facts = replace(
            facts,
            pending_count=said.pending,
            reboot_need=said.reboot,
            reboot_allowed=said.allowed,
            services_due=said.services,
        )
        observed = seen(said)
        if operation.kind is OperationKind.UPDATE:
            update = operation.update or UpdateResult()
    if step is StepName.LIST and operation.kind is OperationKind.UPDATE:
        facts = replace(
            facts,
            download_due=said.download,
            pre_hook_due=said.pre_hook,
            post_hook_due=said.post_hook,
            snapshots=said.snapshots,
            compose_due=said.compose and not operation.only_prepares,
        )
    if step is StepName.REBOOT_CHECK:
        change = PackageChange(name="p0", from_version="1", to_version="2")
        update = replace(operation.update or UpdateResult(), changes=(change,))
    if step is StepName.PREFLIGHT:
        facts = replace(
            facts,
            reboot_allowed=said.allowed,
            boot_id="one",
            apply_again=said.again,
            rollback=said.rollback,
        )
    if step is StepName.VERIFY:
        health = HealthResult(healthy=True, message="healthy")
    return Outcome(
        detail=f"{step} done", facts=facts, observed=observed, update=update, health=health
    )


def seen(said: Said) -> Observation:
    """A look at the host that finds what `said` says."""
    packages = tuple(
        PendingPackage(name=f"p{n}", from_version="1", to_version="2") for n in range(said.pending)
    )
    return Observation(
        inventory=Inventory(),
        pending=Pending(packages=packages, queried_at=NOW),
        reboot=Reboot(need=said.reboot),
    )


def courses(
    kind: OperationKind, state: HostState, script: list[Said], *, dry_run: bool
) -> list[OperationState]:
    """The operation's course after its start and after each step; each holds its own events only."""
    now = NOW
    course = started(operation_of(kind, dry_run=dry_run), host_in(state), now)
    history = [course]
    for number, said in enumerate(script):
        if course.operation.status.ended:
            break
        now += timedelta(minutes=1)
        operation = course.operation
        if said.cancel:
            operation = replace(operation, cancel_requested_by="somebody")
        current = operation.current
        assert current is not None
        fresh = OperationState(operation=operation, host=course.host)
        course = after_step(fresh, outcome_of(current.name, said, operation, number), now)
        history.append(course)
    return history


def names(operation: Operation) -> list[StepName]:
    return [step.name for step in operation.steps]


def body_of(history: list[OperationState], kind: type) -> list[Any]:
    return [e.body for course in history for e in course.events if isinstance(e.body, kind)]


any_course = given(kind=KINDS, state=RESTING, script=SCRIPT, dry_run=st.booleans())


@any_course
def test_an_operation_always_ends(kind, state, script, dry_run):
    last = courses(kind, state, script, dry_run=dry_run)[-1].operation
    assert last.status.ended
    assert last.ended_at is not None
    assert next_step(last) is None
    assert last.current is None


@any_course
def test_a_host_moves_by_the_table_alone_and_each_move_is_told(kind, state, script, dry_run):
    history = courses(kind, state, script, dry_run=dry_run)
    moves = [(body.origin, body.to) for body in body_of(history, StateChanged)]
    assert set(moves) <= MOVES
    # The origin of each is the target of the former: nothing moves without telling.
    assert [origin for origin, _ in moves] == [state, *(to for _, to in moves[:-1])]
    assert moves[-1][1] is history[-1].host.status.state


@any_course
def test_a_host_is_busy_exactly_while_its_operation_runs(kind, state, script, dry_run):
    for course in courses(kind, state, script, dry_run=dry_run):
        running = course.operation.status is OperationStatus.RUNNING
        assert course.host.status.state.busy is running


@any_course
def test_a_host_ends_at_rest_or_failed_and_failed_has_its_reason(kind, state, script, dry_run):
    last = courses(kind, state, script, dry_run=dry_run)[-1]
    status = last.host.status
    assert status.state.resting or status.state is HostState.FAILED
    assert (status.failure is not None) is (status.state is HostState.FAILED)
    if status.failure is not None:
        assert last.operation.problem is not None
        assert status.failure.problem == last.operation.problem
        assert status.failure.previous_state.busy
        assert status.failure.retry_count == 2
        assert status.failure.step == last.operation.failed_step


@any_course
def test_an_operation_reboots_once_and_applies_once_more_only_after_an_interruption(
    kind, state, script, dry_run
):
    last = courses(kind, state, script, dry_run=dry_run)[-1].operation
    counted = Counter(names(last))
    repeated = {name for name, count in counted.items() if count > 1}
    assert repeated <= {StepName.PREFLIGHT, StepName.LIST, StepName.APPLY}
    applied = [step for step in last.steps if step.name is StepName.APPLY]
    assert len(applied) <= 2
    assert all(step.status is StepStatus.INTERRUPTED for step in applied[:-1])
    assert not repeated or applied[0].status is StepStatus.INTERRUPTED


@any_course
def test_what_an_interruption_left_is_always_repaired(kind, state, script, dry_run):
    steps = courses(kind, state, script, dry_run=dry_run)[-1].operation.steps
    for step, following in pairwise(steps):
        if step.status is StepStatus.INTERRUPTED:
            assert following.name is StepName.PREFLIGHT
    assert not steps or steps[-1].status is not StepStatus.INTERRUPTED


@any_course
def test_an_upgrade_that_was_begun_is_looked_at_before_the_end(kind, state, script, dry_run):
    last = courses(kind, state, script, dry_run=dry_run)[-1].operation
    if StepName.APPLY in names(last):
        assert StepName.REBOOT_CHECK in names(last)


@any_course
def test_nothing_is_changed_once_the_time_is_over(kind, state, script, dry_run):
    for former, course in pairwise(courses(kind, state, script, dry_run=dry_run)):
        said = script[len(former.operation.steps) - 1]
        begun = names(course.operation)[len(former.operation.steps) :]
        assert not (said.overdue and {*begun} & CHANGING)


@any_course
def test_what_is_not_permitted_any_more__leaves_its_host_at_rest_and_verified(
    kind, state, script, dry_run
):
    last = courses(kind, state, script, dry_run=dry_run)[-1]
    operation = last.operation
    problem = operation.problem
    if problem is None or problem.reason not in ("WINDOW_CLOSED", "DEADLINE_EXCEEDED"):
        return
    assert last.host.status.state.resting
    done = [s.name for s in operation.steps if s.status is not StepStatus.FAILED]
    if {*done} & CHANGING:
        assert N.VERIFY in done


@any_course
def test_an_update_reboots_only_what_needs_it_and_may(kind, state, script, dry_run):
    history = courses(OperationKind.UPDATE, state, script, dry_run=dry_run)
    for former, course in pairwise(history):
        current = course.operation.current
        begins = current is not None and current.name is StepName.REBOOT
        if begins:
            facts = course.operation.facts
            assert facts.reboot_need is RebootNeed.NEEDED
            assert facts.reboot_allowed
            assert not course.operation.cancel_requested_by
            assert former.operation.problem is None


@any_course
def test_a_dry_run_changes_nothing(kind, state, script, dry_run):
    history = courses(OperationKind.UPDATE, state, script, dry_run=True)
    changing = {*StepName} - {StepName.CONNECT, StepName.PREFLIGHT, StepName.LIST}
    assert not changing & set(names(history[-1].operation))
    for course in history:
        assert course.host.status.state not in (HostState.UPDATING, HostState.REBOOTING)
        assert course.host.status.last_updated == LONG_AGO
    assert not body_of(history, UpdateCompleted)


@any_course
def test_only_an_update_that_succeeded_is_the_last_update(kind, state, script, dry_run):
    last = courses(kind, state, script, dry_run=dry_run)[-1]
    updated = (
        kind is OperationKind.UPDATE
        and last.operation.status is OperationStatus.SUCCEEDED
        and not dry_run
    )
    assert (last.host.status.last_updated != LONG_AGO) is updated


@any_course
def test_the_first_problem_is_the_operations_problem(kind, state, script, dry_run):
    last = courses(kind, state, script, dry_run=dry_run)[-1].operation
    assert (last.problem is not None) is (last.status is OperationStatus.FAILED)
    assert (last.problem is not None) is (last.failed_step is not None)
    if last.problem is None:
        assert all(step.status is not StepStatus.FAILED for step in last.steps)
        return
    if last.problem.reason == "DEADLINE_EXCEEDED":
        return
    bad = [step for step in last.steps if step.status is not StepStatus.SUCCEEDED]
    if len(bad) > 1:
        # That a change was put off is no failure, and hides none.
        bad = [step for step in bad if "not permitted" not in step.detail]
    made_good = bad[0].status is StepStatus.INTERRUPTED and bad[0].detail != last.problem.message
    source = bad[1] if made_good else bad[0]
    assert (source.name, source.detail) == (last.failed_step, last.problem.message)


@any_course
def test_a_failed_upgrade_is_looked_at_and_not_rebooted(kind, state, script, dry_run):
    last = courses(OperationKind.UPDATE, state, script, dry_run=False)[-1].operation
    for step in last.steps:
        if step.name is StepName.APPLY and step.status is StepStatus.FAILED:
            at = last.steps.index(step)
            after = names(last)[at + 1 :]
            assert N.REBOOT not in after
            if N.VERIFY in after:
                # What had been done before an interruption, when the rest was not permitted any more.
                assert "not permitted" in step.detail
                assert N.APPLY in names(last)[:at]
                continue
            assert after in ([N.REBOOT_CHECK], [N.REBOOT_CHECK, N.POST_HOOK])


@any_course
def test_steps_follow_each_other_without_overlap_or_gap(kind, state, script, dry_run):
    history = courses(kind, state, script, dry_run=dry_run)
    for course in history:
        *done, last = course.operation.steps
        assert all(step.ended_at and step.status is not StepStatus.RUNNING for step in done)
        if course.operation.status is OperationStatus.RUNNING:
            assert last.status is StepStatus.RUNNING
            assert last.ended_at is None
        else:
            assert last.ended_at == course.operation.ended_at
    steps = history[-1].operation.steps
    assert [s.started_at for s in steps[1:]] == [s.ended_at for s in steps[:-1]]
    assert history[-1].operation.started_at == steps[0].started_at


@any_course
def test_a_failure_without_harm_does_not_strand_the_host(kind, state, script, dry_run):
    last = courses(kind, state, script, dry_run=dry_run)[-1]
    untouched = {StepName.CONNECT, StepName.PREFLIGHT, StepName.LIST}
    failed = [s.name for s in last.operation.steps if s.status is StepStatus.FAILED]
    if not failed or not set(names(last.operation)) <= untouched:
        return
    said = script[len(last.operation.steps) - 1]
    if said.needs_person and not last.operation.looks_only:
        assert last.host.status.state is HostState.FAILED
        return
    assert last.host.status.state.resting
    assert last.host.status.last_problem == last.operation.problem


@any_course
def test_connections_that_are_told_of_open_and_close_by_turns(kind, state, script, dry_run):
    history = courses(kind, state, script, dry_run=dry_run)
    told = [
        type(event.body)
        for course in history
        for event in course.events
        if isinstance(event.body, HostConnected | HostDisconnected)
    ]
    if told == [HostDisconnected]:
        return  # it could not be made
    assert told[::2] == [HostConnected] * (len(told) // 2)
    assert told[1::2] == [HostDisconnected] * (len(told) // 2)
    assert len(told) % 2 == 0


@any_course
def test_every_change_of_an_operation_tells_of_it(kind, state, script, dry_run):
    history = courses(kind, state, script, dry_run=dry_run)
    looks = kind in (OperationKind.QUERY, OperationKind.CHECK)
    for number, course in enumerate(history):
        if looks and number > 0 and not course.operation.status.ended:
            assert course.host == history[number - 1].host
            assert not body_of([course], OperationChanged)
            continue
        *_, told = body_of([course], OperationChanged)
        current = course.operation.current
        assert told.status is course.operation.status
        assert told.step is (current.name if current else None)
    for course in history:
        assert all(e.operation == "op1" and e.host == "web1" for e in course.events)


@any_course
def test_a_cancelled_operation_begins_no_further_change(kind, state, script, dry_run):
    history = courses(kind, state, script, dry_run=dry_run)
    changes = {*CHANGING}
    for former, course in pairwise(history):
        cancelled = bool(course.operation.cancel_requested_by)
        begun = set(names(course.operation)[len(former.operation.steps) :])
        assert not (cancelled and begun & changes)


@any_course
def test_a_change_is_taken_back_only_where_the_host_was_seen_unhealthy_and_where_the_policy_wants_it(
    kind, state, script, dry_run
):
    history = courses(OperationKind.UPDATE, state, script, dry_run=dry_run)
    last = history[-1].operation
    steps = last.steps
    for former, step in pairwise(steps):
        if step.name is StepName.ROLLBACK:
            assert former.name in (StepName.VERIFY, StepName.POST_HOOK)
            assert last.facts.rollback
            assert step is steps[-1]
            assert last.status is OperationStatus.FAILED
            hook = steps[-2].name is StepName.POST_HOOK and steps[-2].status is StepStatus.FAILED
            seen_ill = last.health is not None and not last.health.healthy
            assert hook or seen_ill
    unhealthy = last.health is not None and not last.health.healthy
    changed = last.update is not None and bool(last.update.changes)
    at_its_end = steps[-1].name is StepName.VERIFY
    assert not (at_its_end and unhealthy and last.facts.rollback and changed)


@any_course
def test_a_snapshot_that_is_wanted_comes_before_every_change_and_once(kind, state, script, dry_run):
    last = courses(OperationKind.UPDATE, state, script, dry_run=dry_run)[-1].operation
    steps = names(last)
    assert steps.count(StepName.SNAPSHOT) <= 1
    changes = [n for n, name in enumerate(steps) if name in (StepName.APPLY, StepName.COMPOSE)]
    if not changes:
        return
    at_first = steps.index(StepName.LIST)
    wanted = script[at_first].snapshots is not Snapshots.NEVER
    if wanted:
        assert steps.index(StepName.SNAPSHOT) < changes[0]
        assert last.steps[steps.index(StepName.SNAPSHOT)].status is StepStatus.SUCCEEDED


@any_course
def test_compose_projects_follow_the_packages_and_are_looked_at(kind, state, script, dry_run):
    last = courses(OperationKind.UPDATE, state, script, dry_run=dry_run)[-1].operation
    for former, step in pairwise(last.steps):
        if step.name is StepName.COMPOSE and former.name is StepName.APPLY:
            assert former.status is StepStatus.SUCCEEDED
        if former.name is StepName.COMPOSE:
            assert step.name is StepName.REBOOT_CHECK
    assert not last.steps or last.steps[-1].name is not StepName.COMPOSE


@any_course
def test_services_are_restarted_instead_of_the_host_and_never_beside_it(
    kind, state, script, dry_run
):
    last = courses(OperationKind.UPDATE, state, script, dry_run=dry_run)[-1].operation
    steps = names(last)
    for former, step in pairwise(steps):
        if step is StepName.RESTART_SERVICES:
            nothing_else = former in (StepName.LIST, StepName.PRE_HOOK)
            assert former is StepName.REBOOT_CHECK or nothing_else
    assert not {StepName.REBOOT, StepName.RESTART_SERVICES} <= set(steps)


@any_course
def test_the_hook_before_a_change_runs_once_and_where_it_fails_nothing_is_changed(
    kind, state, script, dry_run
):
    last = courses(OperationKind.UPDATE, state, script, dry_run=dry_run)[-1].operation
    steps = names(last)
    assert steps.count(N.PRE_HOOK) <= 1
    begun = [n for n, name in enumerate(steps) if name in CHANGING or name is N.DOWNLOAD]
    if begun and script[steps.index(N.LIST)].pre_hook:
        assert steps.index(N.PRE_HOOK) < begun[0]
        assert last.steps[steps.index(N.PRE_HOOK)].status is StepStatus.SUCCEEDED
    if not begun and N.PRE_HOOK in steps:
        cancelled = bool(last.cancel_requested_by)
        late = last.problem is not None and last.problem.reason == "DEADLINE_EXCEEDED"
        broke = last.problem is not None and last.failed_step in (N.PRE_HOOK, N.SNAPSHOT)
        assert cancelled or late or broke


@any_course
def test_the_hook_after_a_change_runs_once_at_the_end_of_what_was_begun(
    kind, state, script, dry_run
):
    last = courses(OperationKind.UPDATE, state, script, dry_run=dry_run)[-1].operation
    steps = names(last)
    changed = bool({*steps} & CHANGING)
    reached = last.problem is None or last.problem.reason != "HOST_UNREACHABLE"
    # A host that goes out of reach only for the hook, or its check, was still there for the rest.
    if N.POST_HOOK in steps:
        assert changed
        assert steps.count(N.POST_HOOK) == 1
        assert {*steps[steps.index(N.POST_HOOK) + 1 :]} <= {N.ROLLBACK}
    elif changed and reached:
        assert not last.facts.post_hook_due


@any_course
def test_no_other_kind_of_operation_runs_a_hook(kind, state, script, dry_run):
    steps = names(courses(kind, state, script, dry_run=dry_run)[-1].operation)
    assert kind is OperationKind.UPDATE or not {N.PRE_HOOK, N.POST_HOOK} & {*steps}


@any_course
def test_only_success_forgets_the_retries_and_the_last_problem(kind, state, script, dry_run):
    last = courses(kind, state, script, dry_run=dry_run)[-1]
    status = last.host.status
    match last.operation.status:
        case OperationStatus.SUCCEEDED:
            assert (status.retry_count, status.last_problem) == (0, None)
        case OperationStatus.CANCELLED:
            assert status.retry_count == 2
            assert status.last_problem == host_in(state).status.last_problem
        case _:
            assert status.retry_count == 2
            assert status.last_problem == last.operation.problem


@pytest.mark.parametrize("state", [s for s in HostState if s.resting])
@given(script=SCRIPT)
@example(script=[FINE] * LENGTH)
def test_a_host_rests_where_its_facts_call_for(state, script):
    last = courses(OperationKind.UPDATE, state, script, dry_run=False)[-1]
    status = last.host.status
    refused = any(
        s.name is StepName.REBOOT and s.status is StepStatus.FAILED for s in last.operation.steps
    )
    if status.state is HostState.FAILED or refused:
        return
    if status.pending_count:
        assert status.state is HostState.PENDING_UPDATES
    elif status.reboot.need is RebootNeed.NEEDED:
        assert status.state is HostState.WAITING_REBOOT
    else:
        assert status.state is HostState.IDLE


# --- the courses that everybody should know by heart ----------------------------------------------


def course_of(kind: OperationKind, *said: Said, dry_run: bool = False) -> Operation:
    rest = [FINE] * (LENGTH - len(said))
    return courses(kind, HostState.IDLE, [*said, *rest], dry_run=dry_run)[-1].operation


def test_an_update_that_needs_a_reboot_takes_every_step():
    operation = course_of(OperationKind.UPDATE)
    assert names(operation) == [
        "connect",
        "preflight",
        "list",
        "apply",
        "reboot_check",
        "reboot",
        "verify",
    ]
    assert operation.status is OperationStatus.SUCCEEDED
    assert operation.update is not None
    assert operation.update.success


def test_an_update_of_everything_takes_its_steps_in_order():
    everything = replace(
        FINE, download=True, snapshots=Snapshots.REQUIRED, compose=True, services=True
    )
    no_reboot = replace(everything, reboot=RebootNeed.NOT_NEEDED)
    operation = course_of(OperationKind.UPDATE, *[no_reboot] * 9)
    assert names(operation) == [
        *("connect", "preflight", "list", "download", "snapshot", "apply", "compose"),
        *("reboot_check", "restart_services", "verify"),
    ]


CUT_OFF = replace(FINE, fails=True, interrupted=True)
HOOKED = replace(FINE, pre_hook=True, post_hook=True)


def test_hooks_stand_around_everything_that_is_fetched_changed_and_verified():
    operation = course_of(OperationKind.UPDATE, *[replace(HOOKED, download=True)] * 10)
    assert names(operation) == [
        *("connect", "preflight", "list", "pre_hook", "download", "apply", "reboot_check"),
        *("reboot", "verify", "post_hook"),
    ]
    assert operation.status is OperationStatus.SUCCEEDED


def test_hooks_stand_around_a_reboot_alone():
    due = replace(HOOKED, pending=0)
    assert names(course_of(OperationKind.UPDATE, *[due] * 8)) == [
        *("connect", "preflight", "list", "pre_hook", "reboot", "verify", "post_hook"),
    ]


def test_a_failed_hook_before_the_change_leaves_the_host_at_rest():
    script = [HOOKED, HOOKED, HOOKED, replace(HOOKED, fails=True), *[HOOKED] * 16]
    last = courses(OperationKind.UPDATE, HostState.IDLE, script, dry_run=False)[-1]
    assert names(last.operation) == ["connect", "preflight", "list", "pre_hook"]
    assert last.host.status.state is HostState.PENDING_UPDATES
    assert last.operation.failed_step is StepName.PRE_HOOK


@pytest.mark.parametrize("fails_at", [7, 8], ids=["verify", "post_hook"])
def test_a_change_is_taken_back_after_its_hook_has_run(fails_at):
    said = [replace(HOOKED, rollback=True)] * 10
    said[fails_at - 1] = replace(said[0], fails=True, needs_person=True)
    no_reboot = [replace(one, reboot=RebootNeed.NOT_NEEDED) for one in said]
    operation = course_of(OperationKind.UPDATE, *no_reboot)
    assert names(operation)[-3:] == ["verify", "post_hook", "rollback"]


def test_after_an_interruption_the_hook_before_the_change_is_not_asked_again():
    operation = course_of(
        OperationKind.UPDATE, *[HOOKED] * 4, replace(CUT_OFF, pre_hook=True), *[HOOKED] * 6
    )
    assert names(operation)[3:] == [
        *("pre_hook", "apply", "preflight", "list", "apply", "reboot_check", "reboot"),
        *("verify", "post_hook"),
    ]


def test_a_host_that_never_came_back_is_not_asked_to_run_its_hook():
    gone = replace(HOOKED, fails=True, gone=True)
    operation = course_of(OperationKind.UPDATE, *[HOOKED] * 6, gone)
    assert names(operation)[-1] == "reboot"
    came_back_wrong = replace(gone, gone=False)
    operation = course_of(OperationKind.UPDATE, *[HOOKED] * 6, came_back_wrong)
    assert names(operation)[-2:] == ["reboot", "post_hook"]


def ssh_errors(kind: type[SshError] = SshError) -> list[type[SshError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in ssh_errors(below))]


@pytest.mark.parametrize("error", [*ssh_errors(), ShellUnusable, HostGone], ids=lambda e: e.reason)
def test_host__on_which_nothing_can_be_run_is_not_asked_to_run_its_hook(error: type[HostError]):
    verify = Step(name=N.VERIFY, status=StepStatus.FAILED, started_at=NOW)
    failed = Operation(
        id="op1",
        host="web1",
        kind=OperationKind.UPDATE,
        created_at=NOW,
        status=OperationStatus.RUNNING,
        steps=(replace(verify, name=N.APPLY, status=StepStatus.SUCCEEDED), verify),
        facts=StepFacts(post_hook_due=True),
        problem=Problem(reason=Unhealthy.reason, message="it runs what it is told"),
        failed_step=N.VERIFY,
    )
    assert next_step(failed) is N.POST_HOOK
    assert next_step(replace(failed, problem=Problem(reason=error.reason, message="so"))) is None


def test_a_retry_that_saw_a_hook_to_its_end_looks_at_the_host_anew():
    waiting = Operation(
        id="op2",
        host="web1",
        kind=OperationKind.UPDATE,
        created_at=NOW,
        resumes="op1",
        resume_at=StepName.PRE_HOOK,
        job=JobRecord(operation="op1", kind=ChangeKind.PRE_HOOK, number=1),
        facts=StepFacts(pre_hook_due=True, pending_count=3),
    )
    course = started(waiting, host_in(HostState.IDLE), NOW)
    while not course.operation.status.ended:
        operation = course.operation
        assert operation.current is not None
        outcome = outcome_of(operation.current.name, HOOKED, operation, 0)
        course = after_step(replace(course, events=()), outcome, NOW)
        if operation.current.name is StepName.PRE_HOOK and course.operation.job is not None:
            concluded = replace(course.operation.job, concluded=True)
            course = replace(course, operation=replace(course.operation, job=concluded))
    assert names(course.operation)[:5] == ["connect", "pre_hook", "preflight", "list", "apply"]
    assert names(course.operation).count(StepName.PRE_HOOK) == 1


def test_an_order_to_fetch_alone_ends_with_that():
    operation = replace(
        operation_of(OperationKind.UPDATE), options=OperationOptions(download_only=True)
    )
    course = started(operation, host_in(HostState.IDLE), NOW)
    while not course.operation.status.ended:
        current = course.operation.current
        assert current is not None
        outcome = outcome_of(current.name, FINE, course.operation, 0)
        course = after_step(replace(course, events=()), outcome, NOW)
    assert names(course.operation) == ["connect", "preflight", "list", "download"]
    assert course.host.status.state is HostState.PENDING_UPDATES
    assert course.host.status.last_updated == LONG_AGO


def test_compose_projects_alone_are_updated_without_packages():
    nothing = replace(FINE, pending=0, reboot=RebootNeed.NOT_NEEDED, compose=True)
    operation = course_of(OperationKind.UPDATE, *[nothing] * 7)
    assert names(operation) == [
        *("connect", "preflight", "list", "compose", "reboot_check", "verify"),
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (OperationKind.QUERY, ["connect", "list"]),
        (OperationKind.CHECK, ["connect", "verify"]),
        (OperationKind.REBOOT, ["connect", "preflight", "reboot", "verify"]),
    ],
)
def test_other_kinds_take_the_steps_that_their_description_says(kind, expected):
    assert names(course_of(kind)) == expected


def test_an_update_without_anything_to_do_ends_after_its_look():
    calm = replace(FINE, pending=0, reboot=RebootNeed.NOT_NEEDED)
    operation = course_of(OperationKind.UPDATE, calm, calm, calm)
    assert names(operation) == ["connect", "preflight", "list"]
    assert operation.status is OperationStatus.SUCCEEDED


def test_an_update_with_nothing_pending_still_does_the_reboot_that_is_due():
    due = replace(FINE, pending=0)
    operation = course_of(OperationKind.UPDATE, due, due, due)
    assert names(operation) == ["connect", "preflight", "list", "reboot", "verify"]


@pytest.mark.parametrize("need", [RebootNeed.UNKNOWN, RebootNeed.NOT_NEEDED])
def test_what_is_not_known_to_be_needed_is_no_reason_to_reboot(need):
    operation = course_of(OperationKind.UPDATE, *[replace(FINE, reboot=need)] * 8)
    assert StepName.REBOOT not in names(operation)
    assert operation.status is OperationStatus.SUCCEEDED


def test_what_goes_wrong_after_a_failed_upgrade_does_not_hide_it():
    broken = replace(FINE, fails=True)
    script = [FINE, FINE, FINE, broken, broken]
    last = courses(OperationKind.UPDATE, HostState.IDLE, script, dry_run=False)[-1]
    assert names(last.operation)[-2:] == [StepName.APPLY, StepName.REBOOT_CHECK]
    assert last.operation.problem is not None
    assert last.operation.problem.message == "apply broke in turn 3"
    assert last.host.status.failure is not None
    assert last.host.status.failure.step == "apply"


def test_a_cancellation_during_the_upgrade_lets_it_end_and_skips_the_reboot():
    asked = replace(FINE, cancel=True)
    operation = course_of(OperationKind.UPDATE, FINE, FINE, FINE, asked)
    assert names(operation) == ["connect", "preflight", "list", "apply", "reboot_check", "verify"]
    assert operation.status is OperationStatus.CANCELLED
    assert operation.update is not None
    assert not operation.update.success


def test_the_words_for_a_cancellation_say_when_it_takes_effect():
    operation = operation_of(OperationKind.UPDATE)
    assert operation.cancellation == "the operation ends before its next step"
    begun = started(operation, host_in(HostState.IDLE), NOW).operation
    assert "after its present step, connect" in begun.cancellation
    history = courses(OperationKind.UPDATE, HostState.IDLE, [FINE] * 8, dry_run=False)
    applying = next(
        c.operation
        for c in history
        if c.operation.current is not None and c.operation.current.name is StepName.APPLY
    )
    assert "never interrupted" in applying.cancellation
    assert "has ended: succeeded" in history[-1].operation.cancellation


def test_a_finding_that_an_order_to_reboot_was_given_forbids_another():
    ordered = StepFacts(reboot_need=RebootNeed.NEEDED, reboot_allowed=True, reboot_ordered_at=NOW)
    history = courses(OperationKind.UPDATE, HostState.IDLE, [FINE] * 8, dry_run=False)
    checking = next(
        c.operation
        for c in history
        if c.operation.current is not None and c.operation.current.name is StepName.REBOOT_CHECK
    )
    course = OperationState(operation=checking, host=history[4].host)
    after = after_step(course, Outcome(facts=ordered), NOW)
    assert names(after.operation)[-1] is StepName.VERIFY


def test_an_interrupted_upgrade_is_repaired_and_begun_once_more():
    operation = course_of(OperationKind.UPDATE, FINE, FINE, FINE, CUT_OFF)
    assert names(operation)[3:] == [
        *("apply", "preflight", "list", "apply", "reboot_check", "reboot", "verify"),
    ]
    assert operation.status is OperationStatus.SUCCEEDED
    assert operation.problem is None


def test_a_repair_that_finishes_the_upgrade_leaves_nothing_to_begin_again():
    nothing = replace(FINE, pending=0)
    operation = course_of(OperationKind.UPDATE, FINE, FINE, FINE, CUT_OFF, FINE, nothing)
    assert names(operation)[3:] == [
        *("apply", "preflight", "list", "reboot_check", "reboot", "verify"),
    ]
    assert operation.status is OperationStatus.SUCCEEDED


def test_a_second_interruption_is_repaired_and_is_the_end():
    said = (FINE, FINE, FINE, CUT_OFF, FINE, FINE, CUT_OFF)
    operation = course_of(OperationKind.UPDATE, *said)
    assert names(operation)[3:] == [
        *("apply", "preflight", "list", "apply", "preflight", "reboot_check"),
    ]
    assert operation.status is OperationStatus.FAILED
    assert operation.failed_step is StepName.APPLY


def test_a_policy_that_wants_the_repair_alone_gets_no_second_upgrade():
    only_repair = replace(FINE, again=False)
    operation = course_of(OperationKind.UPDATE, FINE, only_repair, FINE, CUT_OFF)
    assert names(operation)[3:] == ["apply", "preflight", "reboot_check"]
    assert operation.status is OperationStatus.FAILED


def test_a_cancelled_upgrade_that_is_interrupted_is_repaired_and_not_begun_again():
    cancelled = replace(CUT_OFF, cancel=True)
    operation = course_of(OperationKind.UPDATE, FINE, FINE, FINE, cancelled)
    assert names(operation)[3:] == ["apply", "preflight", "reboot_check"]
    assert operation.status is OperationStatus.FAILED


def test_while_a_job_may_still_be_at_work_nothing_is_said_of_its_host():
    operation = course_of(OperationKind.UPDATE)
    applying = replace(
        operation,
        status=OperationStatus.RUNNING,
        steps=operation.steps[:4],
        problem=Problem(reason="HOST_GONE", message="gone"),
        job=JobRecord(operation="op1", kind=ChangeKind.APPLY, number=1),
    )
    assert next_step(applying) is None
    assert applying.job is not None
    seen = replace(applying, job=replace(applying.job, concluded=True))
    assert next_step(seen) is StepName.REBOOT_CHECK


def test_a_host_that_could_not_be_looked_at_is_not_rolled_back():
    lost = replace(FINE, fails=True, needs_person=False)
    course = course_of(OperationKind.UPDATE, *[replace(FINE, rollback=True)] * 6, lost)
    assert names(course)[-1] is StepName.VERIFY
    assert course.status is OperationStatus.FAILED


def test_an_update_with_nothing_pending_restarts_the_services_that_are_left():
    due = replace(FINE, pending=0, services=True, reboot=RebootNeed.NOT_NEEDED)
    operation = course_of(OperationKind.UPDATE, due, due, due)
    assert names(operation) == ["connect", "preflight", "list", "restart_services", "verify"]


def test_a_failed_restart_of_services_is_followed_by_a_look_at_the_host():
    fine = replace(FINE, services=True, reboot=RebootNeed.NOT_NEEDED)
    course = course_of(OperationKind.UPDATE, *[fine] * 5, replace(fine, fails=True), fine)
    assert names(course)[-2:] == [StepName.RESTART_SERVICES, StepName.VERIFY]
    assert (course.status, course.failed_step) == (
        OperationStatus.FAILED,
        StepName.RESTART_SERVICES,
    )


@pytest.mark.parametrize("need", RebootNeed)
@pytest.mark.parametrize("cancelled", ["", "alex"])
def test_reboot__only_if_required_reboots_only_where_it_is_known_to_be(need, cancelled):
    operation = Operation(
        id="o",
        host="web1",
        kind=OperationKind.REBOOT,
        created_at=NOW,
        options=OperationOptions(only_if_required=True),
        status=OperationStatus.RUNNING,
        cancel_requested_by=cancelled,
    )
    for name in (StepName.CONNECT, StepName.PREFLIGHT, StepName.LIST):
        done = Step(name=name, status=StepStatus.SUCCEEDED, started_at=NOW, ended_at=NOW)
        operation = replace(operation, steps=(*operation.steps, done))
    operation = replace(operation, facts=StepFacts(reboot_need=need))
    wanted = need is RebootNeed.NEEDED and not cancelled
    assert next_step(operation) == (StepName.REBOOT if wanted else None)
