"""Between protobuf messages and the SDK's values: the only module of the client that knows both."""

from collections.abc import Callable, Mapping
from typing import Any

from tendhost.client import (
    convert_health,
    convert_policy,
    convert_rollout,
    convert_schedule,
    convert_selection,
)
from tendhost.client.convert_changes import field_changes
from tendhost.client.convert_inventory import pending_package
from tendhost.client.enums import instant, numbers, reading, span, words
from tendhost.client.models import events
from tendhost.client.models.hosts import (
    AfterInterruption,
    ComposeVersion,
    Duplicate,
    Failure,
    Host,
    Problem,
    Reboot,
    RebootNeed,
    RestartServices,
    Rollback,
    Snapshots,
)
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
    UpdateResult,
)
from tendhost.client.models.server import EventLoopLag, NotificationTarget, ServerInfo
from tendhost.v1 import (
    event_pb2,
    host_pb2,
    operation_pb2,
    system_service_pb2,
)

_AFTER_INTERRUPTION = words(AfterInterruption, host_pb2.AfterInterruption)
_OPERATION_STATUSES = words(OperationStatus, operation_pb2.OperationStatus)

_COMPOSE_VERSION = words(ComposeVersion, host_pb2.ComposeVersion)
_RESTART_SERVICES = words(RestartServices, host_pb2.RestartServices)
_SNAPSHOTS = words(Snapshots, host_pb2.Snapshots)
_ROLLBACK = words(Rollback, host_pb2.Rollback)

_reboot_need = reading(words(RebootNeed, host_pb2.RebootNeed), RebootNeed.UNKNOWN)
_operation_kind = reading(
    words(OperationKind, operation_pb2.OperationKind), OperationKind.UNRECOGNIZED
)
_operation_status = reading(_OPERATION_STATUSES, OperationStatus.UNRECOGNIZED)
_reboot_outcome = reading(
    words(RebootOutcome, operation_pb2.RebootOutcome), RebootOutcome.UNRECOGNIZED
)
_step_status = reading(words(StepStatus, operation_pb2.StepStatus), StepStatus.UNRECOGNIZED)
_after_interruption = reading(_AFTER_INTERRUPTION, AfterInterruption.UNRECOGNIZED)
_compose_version = reading(_COMPOSE_VERSION, ComposeVersion.UNRECOGNIZED)
_restart_services = reading(_RESTART_SERVICES, RestartServices.UNRECOGNIZED)
_snapshots = reading(_SNAPSHOTS, Snapshots.UNRECOGNIZED)
_rollback = reading(_ROLLBACK, Rollback.UNRECOGNIZED)
_project_outcome = reading(
    words(ProjectOutcome, operation_pb2.ProjectOutcome), ProjectOutcome.UNRECOGNIZED
)


AFTER_INTERRUPTION_NUMBERS = numbers(_AFTER_INTERRUPTION)
COMPOSE_VERSION_NUMBERS = numbers(_COMPOSE_VERSION)
RESTART_SERVICES_NUMBERS = numbers(_RESTART_SERVICES)
SNAPSHOTS_NUMBERS = numbers(_SNAPSHOTS)
ROLLBACK_NUMBERS = numbers(_ROLLBACK)
OPERATION_STATUS_NUMBERS = numbers(_OPERATION_STATUSES)


def problem(message: host_pb2.Problem) -> Problem:
    """A problem."""
    return Problem(reason=message.reason, message=message.message, facts=dict(message.facts))


def host(message: host_pb2.Host) -> Host:
    """A host."""
    config, status = message.config, message.status
    return Host(
        name=config.name,
        addr=config.addr,
        port=config.port,
        user=config.user,
        ssh_key=config.ssh_key,
        compose_paths=tuple(config.compose_paths),
        compose_version=_compose_version(config.compose_version),
        pull_before_update=config.pull_before_update,
        compose_health_timeout=span(config.compose_health_timeout),
        compose_prune=config.compose_prune,
        tags=tuple(config.tags),
        groups=tuple(config.groups),
        auto_reboot=config.policy.auto_reboot,
        maintenance_windows=tuple(map(convert_policy.window, config.policy.maintenance_windows)),
        after_interruption=_after_interruption(config.policy.after_interruption),
        scope=convert_selection.scope(config.policy.scope),
        restart_services=_restart_services(config.policy.restart_services),
        snapshots=_snapshots(config.policy.snapshots),
        rollback=_rollback(config.policy.rollback),
        hooks=convert_health.hooks(config.policy.hooks),
        health_checks=convert_health.health_checks(config.policy.health_checks),
        host_key_fingerprint=message.host_key_fingerprint,
        registered_at=instant(message, "registered_at"),
        state=convert_selection.state(status.state),
        pending_updates=status.pending_updates,
        pending_security_updates=(
            status.pending_security_updates if status.HasField("pending_security_updates") else None
        ),
        last_updated=instant(status, "last_updated"),
        queried_at=instant(status, "queried_at"),
        reboot=Reboot(
            need=_reboot_need(status.reboot.need),
            reason=status.reboot.reason,
            since=instant(status.reboot, "since"),
        ),
        healthy=status.healthy if status.HasField("healthy") else None,
        error=status.error,
        failure=_failure(status.failure) if status.HasField("failure") else None,
        retry_count=status.retry_count,
        os_name=status.os_name,
        machine_id=status.machine_id,
        duplicate_of=tuple(map(_duplicate, status.duplicate_of)),
        revision=message.revision,
        incomplete=message.incomplete,
        etag=message.etag,
    )


def _duplicate(message: host_pb2.Duplicate) -> Duplicate:
    return Duplicate(
        host=message.host,
        same_host_key=message.same_host_key,
        same_address=message.same_address,
        same_machine_id=message.same_machine_id,
    )


def _failure(message: host_pb2.Failure) -> Failure:
    return Failure(
        previous_state=convert_selection.state(message.previous_state),
        step=message.step,
        problem=problem(message.problem),
        failed_at=instant(message, "failed_at"),
        retry_count=message.retry_count,
        acknowledged_by=message.acknowledged_by,
        acknowledged_at=instant(message, "acknowledged_at"),
    )


def operation(message: operation_pb2.Operation) -> Operation:
    """An operation."""
    return Operation(
        id=message.id,
        host=message.host,
        kind=_operation_kind(message.kind),
        status=_operation_status(message.status),
        dry_run=message.dry_run,
        rollout_id=message.rollout_id,
        created_by=message.created_by,
        created_at=instant(message, "created_at"),
        started_at=instant(message, "started_at"),
        ended_at=instant(message, "ended_at"),
        steps=tuple(_step(step) for step in message.steps),
        problem=problem(message.problem) if message.HasField("problem") else None,
        update=_update(message.update) if message.HasField("update") else None,
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
        name=_step_name(message.name),
        status=_step_status(message.status),
        started_at=instant(message, "started_at"),
        ended_at=instant(message, "ended_at"),
        attempts=message.attempts,
        detail=message.detail,
    )


def _step_name(number: int) -> str:
    """The contract's word for a step, for a newer server's its number; empty for none."""
    if number == operation_pb2.STEP_NAME_UNSPECIFIED:
        return ""
    value = operation_pb2.StepName.DESCRIPTOR.values_by_number.get(number)
    return value.name.removeprefix("STEP_NAME_").lower() if value else str(number)


def _update(message: operation_pb2.UpdateResult) -> UpdateResult:
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
        differences=tuple(message.differences),
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
            ServiceChange(service=s.service, image=s.image, before=s.before, after=s.after)
            for s in message.services
        ),
    )


def event(message: event_pb2.Event) -> events.Event:
    """An event."""
    kind = message.WhichOneof("body")
    return events.Event(
        revision=message.revision,
        at=instant(message, "at"),
        host=message.host,
        operation_id=message.operation_id,
        rollout_id=message.rollout_id,
        body=_BODIES[kind](getattr(message, kind)) if kind else events.Unrecognized(),
        incomplete=message.incomplete,
    )


def _state_changed(message: Any) -> events.StateChanged:
    # `from` is a word of Python's, too.
    origin = getattr(message, "from")
    return events.StateChanged(
        from_state=convert_selection.state(origin),
        to_state=convert_selection.state(message.to),
        cause=message.cause,
    )


def _operation_changed(message: event_pb2.OperationChanged) -> events.OperationChanged:
    return events.OperationChanged(
        kind=_operation_kind(message.kind),
        status=_operation_status(message.status),
        step=_step_name(message.step),
        message=message.message,
    )


def _step_retried(message: event_pb2.StepRetried) -> events.StepRetried:
    return events.StepRetried(
        step=_step_name(message.step),
        attempt=message.attempt,
        pause=span(message.pause),
        problem=problem(message.problem),
    )


def _rollout_changed(message: event_pb2.RolloutChanged) -> events.RolloutChanged:
    return events.RolloutChanged(
        status=convert_rollout.status(message.status),
        progress=convert_rollout.progress(message.progress),
        wave=message.wave,
        waves=message.waves,
        message=message.message,
        held_up=message.held_up,
    )


_BODIES: Mapping[str, Callable[[Any], events.EventBody]] = {
    "host_registered": lambda m: events.HostRegistered(
        by=m.by, host_key_fingerprint=m.host_key_fingerprint
    ),
    "host_unregistered": lambda m: events.HostUnregistered(by=m.by),
    "duplicates_changed": lambda m: events.DuplicatesChanged(
        duplicate_of=tuple(map(_duplicate, m.duplicate_of))
    ),
    "host_reconfigured": lambda m: events.HostReconfigured(
        fields=tuple(m.fields), by=m.by, changes=field_changes(m.changes)
    ),
    "host_acknowledged": lambda m: events.HostAcknowledged(by=m.by),
    "host_connected": lambda m: events.HostConnected(),
    "host_disconnected": lambda m: events.HostDisconnected(reason=m.reason),
    "state_changed": _state_changed,
    "update_progress": lambda m: events.UpdateProgress(
        package=m.package, percent=m.percent, phase=m.phase
    ),
    "update_completed": lambda m: events.UpdateCompleted(result=_update(m.result)),
    "operation_changed": _operation_changed,
    "step_retried": _step_retried,
    "rollout_changed": _rollout_changed,
    "schedule_changed": convert_schedule.schedule_changed,
    "selection_changed": convert_selection.selection_changed,
    "defaults_changed": convert_policy.defaults_changed,
}


def server_info(message: system_service_pb2.GetServerInfoResponse) -> ServerInfo:
    """What server this is."""
    return ServerInfo(
        version=message.version,
        log_id=message.log_id,
        revision=message.revision,
        oldest_revision=message.oldest_revision,
        hosts=message.hosts,
        notifications=tuple(map(_notification_target, message.notifications)),
        pruning_held_up=message.pruning_held_up,
        store_problem=message.store_problem,
        event_loop_lag=EventLoopLag(
            max=message.event_loop_lag.max.ToTimedelta(),
            p99=message.event_loop_lag.p99.ToTimedelta(),
        )
        if message.HasField("event_loop_lag")
        else None,
    )


def _notification_target(
    message: system_service_pb2.NotificationTarget,
) -> NotificationTarget:
    return NotificationTarget(
        name=message.name,
        delivered=message.delivered,
        retried=message.retried,
        given_up=message.given_up,
        gathered=message.gathered,
        revision=message.revision,
        problem=message.problem,
        problem_at=instant(message, "problem_at"),
        delivered_at=instant(message, "delivered_at"),
    )
