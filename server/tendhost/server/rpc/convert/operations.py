"""Operations, their steps and results, between messages and domain values."""

from collections.abc import Iterable

from tendhost.server.domain.bounds import text
from tendhost.server.domain.inventory.compose import ProjectChange, ProjectOutcome
from tendhost.server.domain.inventory.inventory import PackageChange, RebootNeed, Withheld
from tendhost.server.domain.inventory.scope import wanted
from tendhost.server.domain.operations.operation import (
    HealthResult,
    JobProgress,
    Operation,
    OperationKind,
    OperationStatus,
    RebootOutcome,
    Step,
    StepStatus,
    UpdateResult,
)
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.rpc.convert.common import numbers, problem_message, timestamp
from tendhost.server.rpc.convert.health import health_message
from tendhost.server.rpc.convert.inventory import pending_message
from tendhost.server.rpc.convert.whole import whole
from tendhost.v1 import operation_pb2

_PROJECT_OUTCOME = numbers(ProjectOutcome, operation_pb2.ProjectOutcome)


OPERATION_KIND = numbers(OperationKind, operation_pb2.OperationKind)
_REBOOT_OUTCOME = numbers(RebootOutcome, operation_pb2.RebootOutcome)
OPERATION_STATUS = numbers(OperationStatus, operation_pb2.OperationStatus)
STEP_NAME = numbers(StepName, operation_pb2.StepName)
_STEP_STATUS = numbers(StepStatus, operation_pb2.StepStatus)
_OPERATION_STATUS_OF = {number: status for status, number in OPERATION_STATUS.items()}


def operation_statuses(numbers: Iterable[int]) -> tuple[OperationStatus, ...]:
    """Validated statuses."""
    return tuple(_OPERATION_STATUS_OF[number] for number in numbers)


def _unread_operation(operation: Operation | str, why: str) -> operation_pb2.Operation:
    if isinstance(operation, str):
        return operation_pb2.Operation(id=text(operation), incomplete=why)
    named = text(operation.id), text(operation.host)
    return operation_pb2.Operation(id=named[0], host=named[1], incomplete=why)


@whole(_unread_operation)
def operation_message(operation: Operation) -> operation_pb2.Operation:
    """An operation as clients see it."""
    outcome = operation.reboot_outcome
    return operation_pb2.Operation(
        id=operation.id,
        host=operation.host,
        kind=OPERATION_KIND[operation.kind],
        status=OPERATION_STATUS[operation.status],
        dry_run=operation.dry_run,
        rollout_id=operation.rollout,
        created_by=operation.created_by,
        created_at=timestamp(operation.created_at),
        started_at=timestamp(operation.started_at),
        ended_at=timestamp(operation.ended_at),
        steps=[_step_message(step) for step in operation.steps],
        problem=problem_message(operation.problem),
        update=update_message(operation.update, dry_run=operation.dry_run, health=operation.health),
        health=health_message(operation.health) if operation.update is None else None,
        log_size=operation.log_size,
        resumes_operation_id=operation.resumes,
        reboot_outcome=(
            _REBOOT_OUTCOME[outcome]
            if outcome is not None
            else operation_pb2.REBOOT_OUTCOME_UNSPECIFIED
        ),
        reboot_reason=operation.reboot_reason,
        revision=operation.revision,
        progress=_operation_progress(operation.progress),
    )


def _operation_progress(progress: JobProgress | None) -> operation_pb2.OperationProgress | None:
    if progress is None:
        return None
    return operation_pb2.OperationProgress(
        package=progress.package, percent=progress.percent, phase=progress.phase
    )


def _step_message(step: Step) -> operation_pb2.Step:
    return operation_pb2.Step(
        name=STEP_NAME[step.name],
        status=_STEP_STATUS[step.status],
        started_at=timestamp(step.started_at),
        ended_at=timestamp(step.ended_at),
        detail=step.detail,
        attempts=step.attempts,
    )


def update_message(
    result: UpdateResult | None, *, dry_run: bool = False, health: HealthResult | None = None
) -> operation_pb2.UpdateResult | None:
    if result is None:
        return None
    changes = _planned_changes(result) if dry_run else result.changes
    return operation_pb2.UpdateResult(
        success=result.success,
        upgraded_count=0 if dry_run else len(result.changes),
        packages=[
            operation_pb2.PackageChange(
                name=change.name, from_version=change.from_version, to_version=change.to_version
            )
            for change in changes
        ],
        reboot_required=result.reboot_required is RebootNeed.NEEDED,
        rebooted=result.rebooted,
        withheld=[pending_message(p) for p in result.planned if p.withheld is not Withheld.NO],
        kept_conffiles=result.kept_conffiles,
        saved_conffiles=result.saved_conffiles,
        undone=[
            operation_pb2.UndoneChange(
                name=change.name,
                from_version=change.from_version,
                to_version=change.to_version,
                reason=change.reason,
            )
            for change in result.undone
        ],
        plan_differences=result.differences,
        download_bytes=result.download_bytes,
        snapshot=result.snapshot,
        projects=[_project_message(project) for project in result.projects],
        restarted_services=result.restarted,
        rolled_back=result.rolled_back,
        health=health_message(health),
    )


def _planned_changes(result: UpdateResult) -> tuple[PackageChange, ...]:
    """What a dry run would change."""
    removed = (
        PackageChange(name=name, from_version=version, to_version="")
        for name, version in result.planned_removals
    )
    return (*wanted(result.planned), *removed)


def _project_message(project: ProjectChange) -> operation_pb2.ProjectChange:
    return operation_pb2.ProjectChange(
        path=project.path,
        outcome=_PROJECT_OUTCOME[project.outcome],
        problem=project.problem,
        services=[
            operation_pb2.ServiceChange(
                service=s.service, image=s.image, from_image_id=s.before, to_image_id=s.after
            )
            for s in project.services
        ],
    )
