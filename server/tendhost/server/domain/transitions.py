"""How the course of an operation moves its host: the states it passes through and the events that tell.

Pure. `started`, `stepped` and `closed` each take the host as it was and give it back as it is, with the
events in the order in which things happened.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tendhost.server.domain.events import (
    DuplicatesChanged,
    Event,
    EventBody,
    HostConnected,
    HostDisconnected,
    OperationChanged,
    StateChanged,
    StepRetried,
    UpdateCompleted,
)
from tendhost.server.domain.host_errors import Cancelled, RebootRefused
from tendhost.server.domain.hosts.host import Host, Problem
from tendhost.server.domain.hosts.states import HostState, Trigger
from tendhost.server.domain.operations.operation import (
    Operation,
    OperationKind,
    OperationStatus,
    Outcome,
    StepStatus,
)
from tendhost.server.domain.operations.past_steps import has_changed, never_began, put_off
from tendhost.server.domain.operations.step_results import begin_step, finish_step, retry_step
from tendhost.server.domain.operations.step_sequence import next_step
from tendhost.server.domain.operations.step_traits import CONNECTING, TAKING, StepName


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationState:
    """An operation and its host at one moment, with what has happened since they were last saved."""

    operation: Operation
    host: Host
    events: tuple[Event, ...] = ()

    def told(self, body: EventBody, now: datetime) -> "OperationState":
        """The course with one more event."""
        operation = self.operation
        event = Event(
            at=now,
            body=body,
            host=operation.host,
            operation=operation.id,
            rollout=operation.rollout,
        )
        return replace(self, events=(*self.events, event))

    @property
    def only_looks(self) -> bool:
        """Whether the operation changes nothing on its host, and is one of many like it."""
        return self.operation.kind in (OperationKind.QUERY, OperationKind.CHECK)

    def at(self, revision: int, *, former: Host) -> "OperationState":
        """The course once it was stored at `revision`, where its host had been `former`."""
        host = self.host
        if host != former:
            host = replace(host, revision=revision)
        operation = replace(self.operation, revision=revision, quiet_writes=0)
        return OperationState(operation=operation, host=host)

    def triggered(self, trigger: Trigger, now: datetime) -> "OperationState":
        """The course with its host moved by `trigger`. Raises InvalidTransition."""
        return self._moved(self.host.after(trigger), str(trigger), now)

    def retried(self, now: datetime) -> "OperationState":
        """The course with its host out of FAILED. Raises InvalidTransition."""
        return self._moved(self.host.retried(), str(Trigger.RETRY), now)

    def _moved(self, host: Host, cause: str, now: datetime) -> "OperationState":
        origin = self.host.status.state
        moved = replace(self, host=host)
        if host.status.state is origin:
            return moved
        return moved.told(StateChanged(origin=origin, to=host.status.state, cause=cause), now)

    def with_progress(self, now: datetime, message: str = "") -> "OperationState":
        """The course with an event that tells how far its operation is, and what is new about it.

        Without `message` that is its problem, if it has one.
        """
        operation = self.operation
        step = operation.current.name if operation.current else None
        if not message and operation.problem is not None:
            message = operation.problem.message
        changed = OperationChanged(
            kind=operation.kind, status=operation.status, step=step, message=message
        )
        return self.told(changed, now)


def queued(operation: Operation, host: Host, now: datetime) -> OperationState:
    """An operation that waits for the one its host is busy with."""
    return OperationState(operation=operation, host=host).with_progress(now)


def refused(operation: Operation, problem: Problem, now: datetime) -> tuple[Operation, Event]:
    """A queued operation whose turn came when its host could not be worked on."""
    failed = replace(operation, status=OperationStatus.FAILED, ended_at=now, problem=problem)
    body = OperationChanged(kind=failed.kind, status=failed.status, message=problem.message)
    event = Event(at=now, body=body, host=failed.host, operation=failed.id, rollout=failed.rollout)
    return failed, event


def started(operation: Operation, host: Host, now: datetime) -> OperationState:
    """An operation with its first step under way, and its host taken.

    Raises HostFailed or InvalidTransition unless the host may be worked on.
    """
    host.require_startable()
    running = replace(operation, status=OperationStatus.RUNNING)
    first = next_step(running)
    assert first is not None, "every operation has a first step"
    course = OperationState(operation=begin_step(running, first, now), host=host)
    return course.triggered(Trigger.QUERY, now).with_progress(now)


def after_retry(
    course: OperationState, problem: Problem, pause: timedelta, now: datetime
) -> OperationState:
    """The course when the step under way failed with what passes by itself, and is tried again."""
    current = course.operation.current
    assert current is not None, "no step is under way"
    course = replace(course, operation=retry_step(course.operation, problem))
    if course.only_looks and course.host.is_away(problem.reason):
        return course
    retried = StepRetried(step=current.name, attempt=current.attempts, pause=pause, problem=problem)
    return course.told(retried, now)


def after_step(course: OperationState, outcome: Outcome, now: datetime) -> OperationState:
    """The course after the step under way has ended with `outcome`, and the next one, if any, begun.

    Of what only looks at its host the beginning and the end are told, and not the step between them.
    """
    current = course.operation.current
    assert current is not None, "no step is under way"
    former = course.host
    course = _connection_told(course, current.name, outcome, now)
    course = _facts_learnt(course, outcome, now)
    course = replace(course, operation=finish_step(course.operation, outcome, now))
    following = next_step(course.operation)
    if following is None:
        return _closed(course, former, current.name, outcome, now)
    course = replace(course, operation=begin_step(course.operation, following, now))
    course = _entered(course, following, now)
    told_at_the_end = course.only_looks and course.host == former
    return course if told_at_the_end else course.with_progress(now)


def _connection_told(
    course: OperationState, step: StepName, outcome: Outcome, now: datetime
) -> OperationState:
    problem = outcome.problem
    never_tried = problem is not None and problem.reason == Cancelled.reason
    if step not in CONNECTING or never_tried or (step is StepName.REBOOT and outcome.cancelled):
        return course
    if problem is not None:
        known = course.only_looks and course.host.is_away(problem.reason)
        return course if known else course.told(HostDisconnected(reason=problem.message), now)
    if step is StepName.REBOOT:
        course = course.told(HostDisconnected(reason="reboot"), now)
    return course.told(HostConnected(), now) if tells_connection(course, course.host) else course


def tells_connection(course: OperationState, former: Host) -> bool:
    """Whether the operation tells that it is connected to its host, which had been `former`.

    That a look at a host reached it is news only where the host was not reached before.
    """
    return not course.only_looks or former.unheard_of


def _facts_learnt(course: OperationState, outcome: Outcome, now: datetime) -> OperationState:
    host = course.host
    if outcome.observed is not None:
        host = host.observed(outcome.observed, now)
    if outcome.duplicates is not None and outcome.duplicates != host.status.duplicate_of:
        host = host.resembling(outcome.duplicates)
        course = course.told(DuplicatesChanged(duplicate_of=outcome.duplicates), now)
    if outcome.health is not None:
        host = host.checked(healthy=outcome.health.healthy)
    return replace(course, host=host)


def _entered(course: OperationState, step: StepName, now: datetime) -> OperationState:
    state = course.host.status.state
    match step:
        case step if step in TAKING and state is HostState.QUERYING:
            return _taken_for_update(course, now)
        case StepName.REBOOT:
            return course.triggered(Trigger.REBOOT_DUE, now).triggered(Trigger.REBOOT, now)
        case StepName.VERIFY if state is not HostState.QUERYING:
            return course.triggered(Trigger.VERIFY, now)
        case StepName.POST_HOOK if state is not HostState.QUERYING:
            return course
        case StepName.VERIFY | StepName.POST_HOOK if course.operation.kind is OperationKind.UPDATE:
            return _taken_for_update(course, now).triggered(Trigger.VERIFY, now)
        case _:
            return course


def _taken_for_update(course: OperationState, now: datetime) -> OperationState:
    return course.triggered(Trigger.UPDATES_PENDING, now).triggered(Trigger.UPDATE, now)


def _closed(
    course: OperationState, former: Host, last: StepName, outcome: Outcome, now: datetime
) -> OperationState:
    operation = course.operation
    if operation.kind is OperationKind.UPDATE and changed_anything(operation):
        assert operation.update is not None
        course = course.told(UpdateCompleted(result=operation.update), now)
    course = course.with_progress(now)
    gone_already = last in CONNECTING and outcome.problem is not None
    if last is StepName.POST_HOOK:
        # Of a host that did not reboot as it should, that it runs the hook is not told by itself.
        before = operation.steps[-2]
        gone_already = before.name in CONNECTING and before.status is StepStatus.FAILED
    if not gone_already and tells_connection(course, former):
        course = course.told(HostDisconnected(reason="the operation ended"), now)
    if operation.problem is None:
        return _closed_well(course, now)
    return _closed_badly(course, last, outcome, now)


def changed_anything(operation: Operation) -> bool:
    """Whether an UPDATE that has ended has changed its host, as far as that was seen."""
    if never_began(operation):
        return False
    if operation.job is not None and not operation.job.concluded:
        return False  # it may be at work still: an end that nobody has seen is not told of
    goes_on = operation.resume_at is not None
    return operation.update is not None and (goes_on or has_changed(operation))


def _closed_well(course: OperationState, now: datetime) -> OperationState:
    operation, host = course.operation, course.host
    cancelled = operation.status is OperationStatus.CANCELLED
    looked_at = operation.steps[-1].name is not StepName.CONNECT
    former = operation.retried
    if cancelled and former is not None and not looked_at:
        # A retry that was called off before it saw the host: nothing is known to be better.
        problem, of = former.problem, former.operation
        failed = host.failed(step=former.step, problem=problem, now=now, operation=of)
        return course._moved(failed, problem.message, now)
    if operation.status is OperationStatus.SUCCEEDED:
        taken_back = operation.update is not None and operation.update.rolled_back
        updated = operation.kind is OperationKind.UPDATE and not operation.only_prepares
        updated = updated and not taken_back
        began = operation.started_at
        took = now - began if updated and began is not None and has_changed(operation) else None
        host = host.succeeded(updated_at=now if updated else None, update_took=took)
    return replace(course, host=host).triggered(host.resting_trigger, now)


def _closed_badly(
    course: OperationState, last: StepName, outcome: Outcome, now: datetime
) -> OperationState:
    operation, host = course.operation, course.host
    problem = operation.problem
    assert problem is not None
    if operation.kind is OperationKind.REBOOT and operation.failed_step is StepName.REBOOT:
        # One that was called off is not due any more; one that did not come about is.
        host = host.reboot_ordered(reason="a reboot was asked for", now=now)
    state = host.status.state
    if put_off(operation):
        troubled = host.troubled(problem)
        return replace(course, host=troubled).triggered(troubled.resting_trigger, now)
    refused = not outcome.needs_person
    if last is StepName.POST_HOOK:
        refused = refused and problem.reason == RebootRefused.reason
    if state is HostState.REBOOTING and refused:
        # Refused before it began: the host runs on as it did.
        moved = replace(course, host=host.troubled(problem))
        return moved.triggered(Trigger.REBOOT_REFUSED, now)
    harmless = not outcome.needs_person and operation.resume_at is None
    if state is HostState.QUERYING and harmless:
        troubled = host.troubled(problem)
        return replace(course, host=troubled).triggered(troubled.resting_trigger, now)
    step = str(operation.failed_step or last)
    failed = host.failed(step=step, problem=problem, now=now, operation=operation.id)
    return course._moved(failed, problem.message, now)
