"""What the steps of an operation have done so far, as far as is recorded. Pure."""

from tendhost.server.domain.host_errors import DeadlineExceeded, WindowClosed
from tendhost.server.domain.operations.operation import JobRecord, Operation, StepStatus
from tendhost.server.domain.operations.permission import ChangeKind
from tendhost.server.domain.operations.step_traits import CHANGING, REFUSABLE, REPLACING, StepName


def has_applied(operation: Operation) -> bool:
    """Whether the step that changes packages has begun."""
    return any(step.name is StepName.APPLY for step in operation.steps)


def has_changed(operation: Operation) -> bool:
    """Whether a step that changes packages or compose projects has begun."""
    return any(step.name in REPLACING for step in operation.steps)


_NOT_PERMITTED = frozenset({WindowClosed.reason, DeadlineExceeded.reason})
"""Reasons with which the door refuses a change. (A cancellation is another, and no problem of the operation.)"""


def put_off(operation: Operation) -> bool:
    """Whether the next change was not permitted any more, and nothing else went wrong.

    The host then waits for its next window with the rest of the work.
    """
    problem, job = operation.problem, operation.job
    if problem is None or problem.reason not in _NOT_PERMITTED:
        return False
    if operation.failed_step not in REFUSABLE or (job is not None and not job.concluded):
        return False
    if operation.resume_at is not None and operation.failed_step is not StepName.REBOOT:
        return False  # the failure of the former operation is not repaired
    # A step that was retried had changed nothing: only transient failures are retried.
    failed = [step.name for step in operation.steps if step.status is StepStatus.FAILED]
    return failed in ([], [operation.failed_step])


def never_began(operation: Operation) -> bool:
    """Whether the first change was not permitted any more, so that nothing was changed."""
    statuses = [step.status for step in operation.steps if step.name in CHANGING]
    first = operation.resume_at is None and statuses in ([], [StepStatus.FAILED])
    return first and put_off(operation)


def unfinished_job(operation: Operation, kind: ChangeKind) -> JobRecord | None:
    """The operation's job of `kind` whose end is not recorded, if there is one."""
    job = operation.job
    return job if job is not None and job.kind is kind and not job.concluded else None
