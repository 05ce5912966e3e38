"""An operation that is ended where it stands, by somebody who does not know how far its host is."""

from dataclasses import replace
from datetime import datetime

from tendhost.server.domain.events import HostDisconnected, OperationChanged, StateChanged
from tendhost.server.domain.hosts.host import Host, Problem
from tendhost.server.domain.operations.operation import Operation, OperationStatus, StepStatus
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.domain.request_errors import InvalidTransition
from tendhost.server.domain.transitions import OperationState, tells_connection


def broken_off(
    operation: Operation, host: Host, problem: Problem, now: datetime, *, fails_host: bool
) -> OperationState:
    """A running operation that ends as FAILED, and its host: in FAILED as well, or at rest again.

    The problem that it had already stays its own, and so does where a retry goes on.
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
    course = OperationState(operation=failed, host=host)
    course = course.told(
        OperationChanged(kind=failed.kind, status=failed.status, message=problem.message), now
    )
    if current.name is not StepName.CONNECT and tells_connection(course, host):
        course = course.told(HostDisconnected(reason="the operation ended"), now)
    if not fails_host:
        troubled = host.troubled(problem)
        return replace(course, host=troubled).triggered(troubled.resting_trigger, now)
    try:
        moved = host.failed(step=str(step.name), problem=problem, now=now, operation=operation.id)
    except InvalidTransition:
        return course  # no operation has it, so that it is as it was left
    changed = StateChanged(origin=host.status.state, to=moved.status.state, cause=problem.message)
    return replace(course, host=moved).told(changed, now)
