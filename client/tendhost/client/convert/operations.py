"""Conversion of operations, their steps and results."""

from tendhost.client.convert import health as convert_health
from tendhost.client.convert.enums import enum_names, instant, numbers, reading
from tendhost.client.convert.hosts import problem
from tendhost.client.convert.inventory import pending_package
from tendhost.client.models.operations import (
    Operation,
    OperationKind,
    OperationProgress,
    OperationStatus,
    PackageChange,
    ProjectChange,
    ProjectOutcome,
    RebootOutcome,
    ServiceChange,
    Step,
    StepStatus,
    UndoneChange,
    UpdateResult,
)
from tendhost.v1 import operation_pb2

_OPERATION_STATUSES = enum_names(OperationStatus, operation_pb2.OperationStatus)


operation_kind = reading(
    enum_names(OperationKind, operation_pb2.OperationKind), OperationKind.UNRECOGNIZED
)
operation_status = reading(_OPERATION_STATUSES, OperationStatus.UNRECOGNIZED)
_reboot_outcome = reading(
    enum_names(RebootOutcome, operation_pb2.RebootOutcome), RebootOutcome.UNRECOGNIZED
)
_step_status = reading(enum_names(StepStatus, operation_pb2.StepStatus), StepStatus.UNRECOGNIZED)


_project_outcome = reading(
    enum_names(ProjectOutcome, operation_pb2.ProjectOutcome), ProjectOutcome.UNRECOGNIZED
)


OPERATION_STATUS_NUMBERS = numbers(_OPERATION_STATUSES)


def operation(message: operation_pb2.Operation) -> Operation:
    """An operation."""
    return Operation(
        id=message.id,
        host=message.host,
        kind=operation_kind(message.kind),
        status=operation_status(message.status),
        dry_run=message.dry_run,
        rollout_id=message.rollout_id,
        created_by=message.created_by,
        created_at=instant(message, "created_at"),
        started_at=instant(message, "started_at"),
        ended_at=instant(message, "ended_at"),
        steps=tuple(_step(step) for step in message.steps),
        problem=problem(message.problem) if message.HasField("problem") else None,
        update=update_result(message.update) if message.HasField("update") else None,
        health=convert_health.health(message.health) if message.HasField("health") else None,
        log_size=message.log_size,
        resumes_operation_id=message.resumes_operation_id,
        reboot_outcome=_reboot_outcome(message.reboot_outcome) if message.reboot_outcome else None,
        reboot_reason=message.reboot_reason,
        revision=message.revision,
        progress=_progress(message.progress) if message.HasField("progress") else None,
        incomplete=message.incomplete,
    )


def _progress(message: operation_pb2.OperationProgress) -> OperationProgress:
    return OperationProgress(package=message.package, percent=message.percent, phase=message.phase)


def _step(message: operation_pb2.Step) -> Step:
    return Step(
        name=step_name(message.name),
        status=_step_status(message.status),
        started_at=instant(message, "started_at"),
        ended_at=instant(message, "ended_at"),
        attempts=message.attempts,
        detail=message.detail,
    )


def step_name(number: int) -> str:
    """The contract's word for a step, for a newer server's its number; empty for none."""
    if number == operation_pb2.STEP_NAME_UNSPECIFIED:
        return ""
    value = operation_pb2.StepName.DESCRIPTOR.values_by_number.get(number)
    return value.name.removeprefix("STEP_NAME_").lower() if value else str(number)


def update_result(message: operation_pb2.UpdateResult) -> UpdateResult:
    return UpdateResult(
        success=message.success,
        upgraded_count=message.upgraded_count,
        packages=tuple(
            PackageChange(
                name=change.name, from_version=change.from_version, to_version=change.to_version
            )
            for change in message.packages
        ),
        reboot_required=message.reboot_required,
        rebooted=message.rebooted,
        withheld=tuple(pending_package(package) for package in message.withheld),
        kept_conffiles=tuple(message.kept_conffiles),
        saved_conffiles=tuple(message.saved_conffiles),
        undone=tuple(
            UndoneChange(
                name=change.name,
                from_version=change.from_version,
                to_version=change.to_version,
                reason=change.reason,
            )
            for change in message.undone
        ),
        plan_differences=tuple(message.plan_differences),
        download_bytes=message.download_bytes if message.HasField("download_bytes") else None,
        snapshot=message.snapshot,
        projects=tuple(_project(project) for project in message.projects),
        restarted_services=tuple(message.restarted_services),
        rolled_back=message.rolled_back,
        health=convert_health.health(message.health) if message.HasField("health") else None,
    )


def _project(message: operation_pb2.ProjectChange) -> ProjectChange:
    return ProjectChange(
        path=message.path,
        outcome=_project_outcome(message.outcome),
        problem=message.problem,
        services=tuple(
            ServiceChange(
                service=s.service,
                image=s.image,
                from_image_id=s.from_image_id,
                to_image_id=s.to_image_id,
            )
            for s in message.services
        ),
    )
