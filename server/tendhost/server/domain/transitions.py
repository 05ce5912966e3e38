"""Moves a host with its operation: the states that the host passes through, and the events that record them.

Pure. Each function takes the operation and the host as they were and returns them as they are, with the events
in the order in which things happened.
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
from tendhost.server.domain.host_errors import Cancelled, HostOutOfScope, RebootRefused
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

    def with_event(self, body: EventBody, now: datetime) -> "OperationState":
        """The state with one more event."""
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
    def reads_only(self) -> bool:
        """Whether the operation is a QUERY or a CHECK: it changes nothing on its host, and is one of many."""
        return self.operation.kind in (OperationKind.QUERY, OperationKind.CHECK)

    def at(self, revision: int, *, former: Host) -> "OperationState":
        """The state as it was stored at `revision`; `former` is the host as it was stored before."""
        host = self.host
        if host != former:
            host = replace(host, revision=revision)
        operation = replace(self.operation, revision=revision, quiet_writes=0)
        return OperationState(operation=operation, host=host)

    def triggered(self, trigger: Trigger, now: datetime) -> "OperationState":
        """The state with its host moved by `trigger`. Raises InvalidTransition."""
        return self._moved(self.host.after(trigger), str(trigger), now)

    def retried(self, now: datetime) -> "OperationState":
        """The state with its host out of FAILED. Raises InvalidTransition."""
        return self._moved(self.host.retried(), str(Trigger.RETRY), now)

    def _moved(self, host: Host, cause: str, now: datetime) -> "OperationState":
        origin = self.host.status.state
        moved = replace(self, host=host)
        if host.status.state is origin:
            return moved
        return moved.with_event(StateChanged(origin=origin, to=host.status.state, cause=cause), now)

    def with_progress(self, now: datetime, message: str = "") -> "OperationState":
        """The state with an event that says how far its operation is, and a message.

        Default of `message`: that of the operation's problem, if it has one.
        """
        operation = self.operation
        step = operation.current.name if operation.current else None
        if not message and operation.problem is not None:
            message = operation.problem.message
        changed = OperationChanged(
            kind=operation.kind, status=operation.status, step=step, message=message
        )
        return self.with_event(changed, now)


def queued(operation: Operation, host: Host, now: datetime) -> OperationState:
    """An operation that waits for the one its host is busy with."""
    return OperationState(operation=operation, host=host).with_progress(now)


def refused(operation: Operation, problem: Problem, now: datetime) -> tuple[Operation, Event]:
    """A queued operation that could not start when its host was free, as FAILED, and the event of that."""
    failed = replace(operation, status=OperationStatus.FAILED, ended_at=now, problem=problem)
    body = OperationChanged(kind=failed.kind, status=failed.status, message=problem.message)
    event = Event(at=now, body=body, host=failed.host, operation=failed.id, rollout=failed.rollout)
    return failed, event


def started(operation: Operation, host: Host, now: datetime) -> OperationState:
    """An operation with its first step begun, and its host busy with it.

    Every operation begins here. Raises HostOutOfScope if the host has left the scope that the operation is bound to,
    and OnlyJump, HostFailed or InvalidTransition unless the host is at rest and may be operated.
    """
    if operation.bound_to is not None and not operation.bound_to.has(host):
        raise HostOutOfScope(host=host.name, scope=str(operation.bound_to))
    host.require_startable()
    running = replace(operation, status=OperationStatus.RUNNING)
    first = next_step(running)
    assert first is not None, "every operation has a first step"
    state = OperationState(operation=begin_step(running, first, now), host=host)
    return state.triggered(Trigger.QUERY, now).with_progress(now)


def after_retry(
    state: OperationState, problem: Problem, pause: timedelta, now: datetime
) -> OperationState:
    """The state when the current step has failed with a transient error, and is retried after `pause`."""
    current = state.operation.current
    assert current is not None, "no step is under way"
    state = replace(state, operation=retry_step(state.operation, problem))
    if state.reads_only and state.host.is_away(problem.reason):
        return state
    retried = StepRetried(step=current.name, attempt=current.attempts, pause=pause, problem=problem)
    return state.with_event(retried, now)


def after_step(state: OperationState, outcome: Outcome, now: datetime) -> OperationState:
    """The state after the current step has ended with `outcome`, and the next one, if any, has begun.

    A QUERY or CHECK has events of its beginning and its end, and none of the step between them.
    """
    current = state.operation.current
    assert current is not None, "no step is under way"
    former = state.host
    state = _with_connection_events(state, current.name, outcome, now)
    state = _with_observation(state, outcome, now)
    state = replace(state, operation=finish_step(state.operation, outcome, now))
    following = next_step(state.operation)
    if following is None:
        return _ended(state, former, current.name, outcome, now)
    state = replace(state, operation=begin_step(state.operation, following, now))
    state = _begun(state, following, now)
    stays_quiet = state.reads_only and state.host == former
    return state if stays_quiet else state.with_progress(now)


def _with_connection_events(
    state: OperationState, step: StepName, outcome: Outcome, now: datetime
) -> OperationState:
    problem = outcome.problem
    never_tried = problem is not None and problem.reason == Cancelled.reason
    if step not in CONNECTING or never_tried or (step is StepName.REBOOT and outcome.cancelled):
        return state
    if problem is not None:
        known = state.reads_only and state.host.is_away(problem.reason)
        return state if known else state.with_event(HostDisconnected(reason=problem.message), now)
    if step is StepName.REBOOT:
        state = state.with_event(HostDisconnected(reason="reboot"), now)
    return (
        state.with_event(HostConnected(), now) if is_connection_news(state, state.host) else state
    )


def is_connection_news(state: OperationState, former: Host) -> bool:
    """Whether a connection to the host, which had been `former`, is worth an event.

    For a QUERY or CHECK it is only if the host had not been reached before.
    """
    return not state.reads_only or former.unheard_of


def _with_observation(state: OperationState, outcome: Outcome, now: datetime) -> OperationState:
    host = state.host
    if outcome.observed is not None:
        host = host.observed(outcome.observed, now)
    if outcome.duplicates is not None and outcome.duplicates != host.status.duplicate_of:
        host = host.resembling(outcome.duplicates)
        state = state.with_event(DuplicatesChanged(duplicate_of=outcome.duplicates), now)
    if outcome.health is not None:
        host = host.checked(healthy=outcome.health.healthy)
    return replace(state, host=host)


def _begun(state: OperationState, step: StepName, now: datetime) -> OperationState:
    host_state = state.host.status.state
    match step:
        case step if step in TAKING and host_state is HostState.QUERYING:
            return _to_updating(state, now)
        case StepName.REBOOT:
            return state.triggered(Trigger.REBOOT_DUE, now).triggered(Trigger.REBOOT, now)
        case StepName.VERIFY if host_state is not HostState.QUERYING:
            return state.triggered(Trigger.VERIFY, now)
        case StepName.POST_HOOK if host_state is not HostState.QUERYING:
            return state
        case StepName.VERIFY | StepName.POST_HOOK if state.operation.kind is OperationKind.UPDATE:
            return _to_updating(state, now).triggered(Trigger.VERIFY, now)
        case _:
            return state


def _to_updating(state: OperationState, now: datetime) -> OperationState:
    return state.triggered(Trigger.UPDATES_PENDING, now).triggered(Trigger.UPDATE, now)


def _ended(
    state: OperationState, former: Host, last: StepName, outcome: Outcome, now: datetime
) -> OperationState:
    operation = state.operation
    if operation.kind is OperationKind.UPDATE and changed_anything(operation):
        assert operation.update is not None
        state = state.with_event(UpdateCompleted(result=operation.update), now)
    state = state.with_progress(now)
    disconnected_already = last in CONNECTING and outcome.problem is not None
    if last is StepName.POST_HOOK:
        # Its reboot recorded that the host was gone; the connection of the hook has no event of its own.
        before = operation.steps[-2]
        disconnected_already = before.name in CONNECTING and before.status is StepStatus.FAILED
    if not disconnected_already and is_connection_news(state, former):
        state = state.with_event(HostDisconnected(reason="the operation ended"), now)
    if operation.problem is None:
        return _ended_without_problem(state, now)
    return _ended_with_problem(state, last, outcome, now)


def changed_anything(operation: Operation) -> bool:
    """Whether an UPDATE that has ended has changed its host, as far as that is known."""
    if never_began(operation):
        return False
    if operation.job is not None and not operation.job.concluded:
        return False  # the job may still run: there is no event of an end that nobody has seen
    goes_on = operation.resume_at is not None
    return operation.update is not None and (goes_on or has_changed(operation))


def _ended_without_problem(state: OperationState, now: datetime) -> OperationState:
    operation, host = state.operation, state.host
    cancelled = operation.status is OperationStatus.CANCELLED
    was_reached = operation.steps[-1].name is not StepName.CONNECT
    former = operation.retried
    if cancelled and former is not None and not was_reached:
        # A retry that was cancelled before it reached the host: nothing is known to be better.
        problem, of = former.problem, former.operation
        failed = host.failed(
            step=former.step, problem=problem, now=now, operation=of, at_login=former.at_login
        )
        return state._moved(failed, problem.message, now)
    if operation.status is OperationStatus.SUCCEEDED:
        rolled_back = operation.update is not None and operation.update.rolled_back
        updated = operation.kind is OperationKind.UPDATE and not operation.only_prepares
        updated = updated and not rolled_back
        began = operation.started_at
        took = now - began if updated and began is not None and has_changed(operation) else None
        host = host.succeeded(updated_at=now if updated else None, update_took=took)
    return replace(state, host=host).triggered(host.resting_trigger, now)


def _ended_with_problem(
    state: OperationState, last: StepName, outcome: Outcome, now: datetime
) -> OperationState:
    operation, host = state.operation, state.host
    problem = operation.problem
    assert problem is not None
    if operation.kind is OperationKind.REBOOT and operation.failed_step is StepName.REBOOT:
        # One that was called off is not due any more; one that did not come about is.
        host = host.reboot_ordered(reason="a reboot was asked for", now=now)
    host_state = host.status.state
    if put_off(operation):
        troubled = host.troubled(problem)
        return replace(state, host=troubled).triggered(troubled.resting_trigger, now)
    refused = not outcome.needs_person
    if last is StepName.POST_HOOK:
        refused = refused and problem.reason == RebootRefused.reason
    if host_state is HostState.REBOOTING and refused:
        # Refused before it began: the host runs on as it did.
        moved = replace(state, host=host.troubled(problem))
        return moved.triggered(Trigger.REBOOT_REFUSED, now)
    spared = operation.spares_its_host or not outcome.needs_person
    harmless = spared and operation.resume_at is None
    if host_state is HostState.QUERYING and harmless:
        troubled = host.troubled(problem)
        return replace(state, host=troubled).triggered(troubled.resting_trigger, now)
    step = operation.failed_step or last
    former = operation.retried
    failed = host.failed(
        step=str(step),
        problem=problem,
        now=now,
        operation=operation.id,
        at_login=step is StepName.CONNECT
        and operation.resume_at is None
        and (former is None or former.at_login),
    )
    return state._moved(failed, problem.message, now)
