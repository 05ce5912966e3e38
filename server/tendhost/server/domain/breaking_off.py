"""Ends a running operation in FAILED without knowing how far its host is."""

from dataclasses import replace
from datetime import datetime

from tendhost.server.domain.events import HostDisconnected, OperationChanged, StateChanged
from tendhost.server.domain.hosts.host import Host, Problem
from tendhost.server.domain.operations.operation import Operation, OperationStatus, StepStatus
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.domain.request_errors import InvalidTransition
from tendhost.server.domain.transitions import OperationState, is_connection_news


def broken_off(operation: Operation, host: Host, problem: Problem, now: datetime) -> OperationState:
    """A running operation that ends as FAILED, and its host: in FAILED as well, or at rest if it is spared.

    A problem that the operation had before remains its problem, and a retry continues where it failed.
    """
    current = operation.current
    assert current is not None, "a running operation has a step under way"
    step = replace(current, status=StepStatus.FAILED, ended_at=now, detail=problem.message)
    failed = replace(
        operation,
        status=OperationStatus.FAILED,
        ended_at=now,
        problem=operation.problem or problem,
        failed_step=operation.failed_step or step.name,
        steps=(*operation.steps[:-1], step),
    )
    state = OperationState(operation=failed, host=host)
    state = state.with_event(
        OperationChanged(kind=failed.kind, status=failed.status, message=problem.message), now
    )
    if current.name is not StepName.CONNECT and is_connection_news(state, host):
        state = state.with_event(HostDisconnected(reason="the operation ended"), now)
    if operation.spares_its_host:
        troubled = host.troubled(problem)
        return replace(state, host=troubled).triggered(troubled.resting_trigger, now)
    try:
        moved = host.failed(step=str(step.name), problem=problem, now=now, operation=operation.id)
    except InvalidTransition:
        return state  # no operation has the host, so its state stays
    changed = StateChanged(origin=host.status.state, to=moved.status.state, cause=problem.message)
    return replace(state, host=moved).with_event(changed, now)
