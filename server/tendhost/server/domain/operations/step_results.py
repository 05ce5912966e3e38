"""Begins, retries and finishes the steps of operations. Pure."""

from dataclasses import replace
from datetime import datetime

from tendhost.server.domain.host_errors import DeadlineExceeded, Unhealthy, UpdateIncomplete
from tendhost.server.domain.hosts.host import Problem
from tendhost.server.domain.inventory.inventory import Withheld
from tendhost.server.domain.operations.operation import (
    Operation,
    OperationStatus,
    Outcome,
    Step,
    StepStatus,
)
from tendhost.server.domain.operations.past_steps import put_off
from tendhost.server.domain.operations.step_sequence import next_step
from tendhost.server.domain.operations.step_traits import CHANGING, StepName
from tendhost.server.domain.operations.undone_changes import undone_message


def begin_step(operation: Operation, step: StepName, now: datetime) -> Operation:
    """The operation with `step` begun."""
    running = Step(name=step, status=StepStatus.RUNNING, started_at=now)
    return replace(
        operation,
        status=OperationStatus.RUNNING,
        started_at=operation.started_at or now,
        steps=(*operation.steps, running),
    )


def retry_step(operation: Operation, problem: Problem) -> Operation:
    """The operation with its current step, which failed with `problem`, begun again."""
    current = operation.current
    assert current is not None, "no step is under way"
    again = replace(current, attempts=current.attempts + 1, detail=problem.message)
    return replace(operation, steps=(*operation.steps[:-1], again))


def finish_step(operation: Operation, outcome: Outcome, now: datetime) -> Operation:
    """The operation after its current step has ended with `outcome`.

    Its status is the final one if no step follows. The first problem is the operation's problem: the
    problem of a later step does not replace it, unless the first one is that a change was put off.
    """
    current = operation.current
    assert current is not None, "no step is under way"
    detail = outcome.problem.message if outcome.problem else outcome.detail
    done = replace(current, status=_status_of(outcome), ended_at=now, detail=detail)
    dropped = outcome.cancelled or _goes_on_after(operation, outcome)
    problem = None if dropped else outcome.problem
    if problem is not None and put_off(operation):
        operation = replace(operation, problem=None, failed_step=None)
    moved = replace(
        operation,
        steps=(*operation.steps[:-1], done),
        facts=outcome.facts or operation.facts,
        problem=operation.problem or problem,
        failed_step=operation.failed_step or (current.name if problem else None),
        update=outcome.update or operation.update,
        health=outcome.health or operation.health,
        progress=None,
    )
    following = next_step(moved)
    if outcome.overdue and (following in CHANGING or following is StepName.PRE_HOOK):
        # The same result as if the step had begun and been refused.
        moved = replace(moved, problem=_deadline_problem(moved), failed_step=following)
        following = next_step(moved)
    return moved if following is not None else _finished(moved, now)


def _status_of(outcome: Outcome) -> StepStatus:
    if outcome.interrupted:
        return StepStatus.INTERRUPTED
    return StepStatus.FAILED if outcome.problem else StepStatus.SUCCEEDED


def _goes_on_after(operation: Operation, outcome: Outcome) -> bool:
    """Whether the upgrade goes on after an interruption: once, if the policy says so."""
    before = any(step.status is StepStatus.INTERRUPTED for step in operation.steps)
    wanted = operation.facts.apply_again and not operation.cancel_requested_by
    return outcome.interrupted and wanted and not before


def _deadline_problem(operation: Operation) -> Problem:
    assert operation.time_limit is not None
    seconds = operation.time_limit.total_seconds()
    return Problem.of(DeadlineExceeded(host=operation.host, seconds=seconds))


def _finished(operation: Operation, now: datetime) -> Operation:
    if operation.problem is None and operation.resume_at is StepName.ROLLBACK:
        # An update that left the host unhealthy has not succeeded, although its rollback has.
        problem = "it was unhealthy after the update, so the changes were rolled back"
        unhealthy = Problem.of(Unhealthy(host=operation.host, problem=problem))
        operation = replace(operation, problem=unhealthy, failed_step=StepName.VERIFY)
    if operation.problem is None and (incomplete := _incomplete(operation)):
        operation = replace(operation, problem=incomplete, failed_step=StepName.APPLY)
    if operation.problem is not None:
        status = OperationStatus.FAILED
    elif operation.cancel_requested_by:
        status = OperationStatus.CANCELLED
    else:
        status = OperationStatus.SUCCEEDED
    update = operation.update
    if update is not None:
        update = replace(
            update,
            success=status is OperationStatus.SUCCEEDED,
            reboot_required=operation.facts.reboot_need,
        )
    return replace(operation, status=status, ended_at=now, update=update)


def _incomplete(operation: Operation) -> Problem | None:
    """The problem of an update that planned more than it changed, which is never a plain success."""
    update = operation.update
    if update is None or not update.undone or update.rolled_back or operation.cancel_requested_by:
        return None
    planned = sum(1 for package in update.planned if package.withheld is Withheld.NO)
    return Problem.of(
        UpdateIncomplete(
            host=operation.host,
            undone=len(update.undone),
            planned=planned + len(update.planned_removals),
            changes=undone_message(update.undone),
        )
    )
