"""Between protobuf messages and domain values: the only module of the server that knows both."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tendhost.server.domain import events as domain_events
from tendhost.server.domain.bounds import text
from tendhost.server.domain.events import Event
from tendhost.server.domain.hosts.host import (
    COMPOSE_HEALTH_TIMEOUT,
    AfterInterruption,
    Duplicate,
    Failure,
    Host,
    HostConfig,
    HostStatus,
    Policy,
    Problem,
    RestartServices,
    Rollback,
    Snapshots,
)
from tendhost.server.domain.inventory.compose import ComposeVersion, ProjectChange, ProjectOutcome
from tendhost.server.domain.inventory.inventory import PackageChange, Reboot, RebootNeed, Withheld
from tendhost.server.domain.inventory.scope import UpdateScope, wanted
from tendhost.server.domain.operations.operation import (
    HealthResult,
    JobProgress,
    Operation,
    OperationKind,
    OperationStatus,
    RebootOutcome,
    Step,
    StepName,
    StepStatus,
    UpdateResult,
)
from tendhost.server.domain.policy.health_checks import HealthChecks
from tendhost.server.domain.policy.hooks import Hooks
from tendhost.server.remote.hostkey import fingerprint
from tendhost.server.rpc import convert_rollout, convert_schedule, convert_selection
from tendhost.server.rpc.convert_changes import change_messages
from tendhost.server.rpc.convert_health import (
    health_checks,
    health_checks_message,
    health_message,
)
from tendhost.server.rpc.convert_hooks import hooks, hooks_message
from tendhost.server.rpc.convert_inventory import pending_message
from tendhost.server.rpc.convert_selection import HOST_STATE, scope_message, update_scope
from tendhost.server.rpc.convert_windows import window_message, windows
from tendhost.server.rpc.whole import whole
from tendhost.server.rpc.wire import duration, numbers, timestamp
from tendhost.v1 import event_pb2, host_pb2, operation_pb2

_AFTER_INTERRUPTION = numbers(AfterInterruption, host_pb2.AfterInterruption)
_AFTER_INTERRUPTION_OF = {number: word for word, number in _AFTER_INTERRUPTION.items()}
_COMPOSE_VERSION = numbers(ComposeVersion, host_pb2.ComposeVersion)
_COMPOSE_VERSION_OF = {number: word for word, number in _COMPOSE_VERSION.items()}
_RESTART_SERVICES = numbers(RestartServices, host_pb2.RestartServices)
_RESTART_SERVICES_OF = {number: word for word, number in _RESTART_SERVICES.items()}
_SNAPSHOTS = numbers(Snapshots, host_pb2.Snapshots)
_SNAPSHOTS_OF = {number: word for word, number in _SNAPSHOTS.items()}
_ROLLBACK = numbers(Rollback, host_pb2.Rollback)
_ROLLBACK_OF = {number: word for word, number in _ROLLBACK.items()}
_PROJECT_OUTCOME = numbers(ProjectOutcome, operation_pb2.ProjectOutcome)
_REBOOT_NEED = numbers(RebootNeed, host_pb2.RebootNeed)
_OPERATION_KIND = numbers(OperationKind, operation_pb2.OperationKind)
_REBOOT_OUTCOME = numbers(RebootOutcome, operation_pb2.RebootOutcome)
_OPERATION_STATUS = numbers(OperationStatus, operation_pb2.OperationStatus)
_STEP_NAME = numbers(StepName, operation_pb2.StepName)
_STEP_STATUS = numbers(StepStatus, operation_pb2.StepStatus)
_OPERATION_STATUS_OF = {number: status for status, number in _OPERATION_STATUS.items()}


# --- from requests --------------------------------------------------------------------------------


def host_config(message: host_pb2.HostConfig) -> HostConfig:
    """A validated configuration, its defaults filled in."""
    return HostConfig(
        name=message.name,
        address=message.addr,
        port=message.port or 22,
        user=message.user or "root",
        ssh_key=message.ssh_key,
        compose_paths=tuple(message.compose_paths),
        compose_version=_COMPOSE_VERSION_OF.get(message.compose_version, ComposeVersion.AUTO),
        pull_before_update=_given(message, "pull_before_update", default=True),
        compose_health_timeout=(
            message.compose_health_timeout.ToTimedelta()
            if message.HasField("compose_health_timeout")
            else COMPOSE_HEALTH_TIMEOUT
        ),
        compose_prune=message.compose_prune,
        tags=tuple(sorted(message.tags)),
        groups=tuple(sorted(message.groups)),
        policy=_policy(message.policy),
    )


def _given(message: Any, field: str, *, default: bool) -> bool:
    return bool(getattr(message, field)) if message.HasField(field) else default


def _policy(message: host_pb2.Policy) -> Policy:
    return Policy(
        auto_reboot=message.auto_reboot if message.HasField("auto_reboot") else None,
        maintenance_windows=windows(message.maintenance_windows),
        after_interruption=_AFTER_INTERRUPTION_OF.get(
            message.after_interruption, AfterInterruption.UPGRADE
        ),
        scope=update_scope(message.scope),
        restart_services=_RESTART_SERVICES_OF.get(message.restart_services, RestartServices.NEVER),
        snapshots=_SNAPSHOTS_OF.get(message.snapshots, Snapshots.NEVER),
        rollback=_ROLLBACK_OF.get(message.rollback, Rollback.NEVER),
        hooks=hooks(message.hooks),
        health_checks=health_checks(message.health_checks),
    )


def operation_statuses(numbers: Iterable[int]) -> tuple[OperationStatus, ...]:
    """Validated statuses."""
    return tuple(_OPERATION_STATUS_OF[number] for number in numbers)


# --- hosts ----------------------------------------------------------------------------------------


def _unread_host(host: Host | str, why: str) -> host_pb2.Host:
    named = host_pb2.HostConfig(name=text(host if isinstance(host, str) else host.name))
    return host_pb2.Host(config=named, incomplete=why)


@whole(_unread_host)
def host_message(host: Host) -> host_pb2.Host:
    """A host as clients see it."""
    return host_pb2.Host(
        config=_config_message(host.config),
        status=_status_message(host),
        host_key_fingerprint=fingerprint(host.host_key),
        registered_at=timestamp(host.registered_at),
        revision=host.revision,
        etag=host.etag,
    )


def _config_message(config: HostConfig) -> host_pb2.HostConfig:
    policy = host_pb2.Policy(
        auto_reboot=config.may_reboot,
        after_interruption=_AFTER_INTERRUPTION[config.policy.after_interruption],
        restart_services=_RESTART_SERVICES[config.policy.restart_services],
        snapshots=_SNAPSHOTS[config.policy.snapshots],
        rollback=_ROLLBACK[config.policy.rollback],
        maintenance_windows=map(window_message, config.policy.maintenance_windows),
    )
    if config.policy.scope != UpdateScope():
        policy.scope.CopyFrom(scope_message(config.policy.scope))
    if config.policy.hooks != Hooks():
        policy.hooks.CopyFrom(hooks_message(config.policy.hooks))
    if config.policy.health_checks != HealthChecks():
        policy.health_checks.CopyFrom(health_checks_message(config.policy.health_checks))
    return host_pb2.HostConfig(
        name=config.name,
        addr=config.address,
        port=config.port,
        user=config.user,
        ssh_key=config.ssh_key,
        compose_paths=config.compose_paths,
        compose_version=_COMPOSE_VERSION[config.compose_version],
        pull_before_update=config.pull_before_update,
        compose_health_timeout=duration(config.compose_health_timeout),
        compose_prune=config.compose_prune,
        tags=config.tags,
        groups=config.groups,
        policy=policy,
    )


def _status_message(host: Host) -> host_pb2.HostStatus:
    status: HostStatus = host.status
    return host_pb2.HostStatus(
        name=host.name,
        state=HOST_STATE[status.state],
        last_updated=timestamp(status.last_updated),
        pending_updates=status.pending_count,
        pending_security_updates=status.pending_security_count,
        error=status.last_problem.message if status.last_problem else "",
        tags=host.config.tags,
        queried_at=timestamp(status.queried_at),
        reboot=_reboot_message(status.reboot),
        healthy=status.healthy,
        failure=_failure_message(status.failure),
        retry_count=status.retry_count,
        os_name=status.os_name,
        machine_id=status.machine_id,
        duplicate_of=map(_duplicate_message, status.duplicate_of),
    )


def _duplicate_message(duplicate: Duplicate) -> host_pb2.Duplicate:
    return host_pb2.Duplicate(
        host=duplicate.host,
        same_host_key=duplicate.host_key,
        same_address=duplicate.address,
        same_machine_id=duplicate.machine_id,
    )


def _reboot_message(reboot: Reboot) -> host_pb2.Reboot:
    return host_pb2.Reboot(
        need=_REBOOT_NEED[reboot.need], reason=reboot.reason, since=timestamp(reboot.since)
    )


def _failure_message(failure: Failure | None) -> host_pb2.Failure | None:
    if failure is None:
        return None
    return host_pb2.Failure(
        previous_state=HOST_STATE[failure.previous_state],
        step=failure.step,
        problem=_problem_message(failure.problem),
        failed_at=timestamp(failure.failed_at),
        retry_count=failure.retry_count,
        acknowledged_by=failure.acknowledged_by,
        acknowledged_at=timestamp(failure.acknowledged_at),
    )


def _problem_message(problem: Problem | None) -> host_pb2.Problem | None:
    if problem is None:
        return None
    return host_pb2.Problem(reason=problem.reason, message=problem.message, facts=problem.facts)


# --- operations -----------------------------------------------------------------------------------


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
        kind=_OPERATION_KIND[operation.kind],
        status=_OPERATION_STATUS[operation.status],
        dry_run=operation.dry_run,
        rollout_id=operation.rollout,
        created_by=operation.created_by,
        created_at=timestamp(operation.created_at),
        started_at=timestamp(operation.started_at),
        ended_at=timestamp(operation.ended_at),
        steps=[_step_message(step) for step in operation.steps],
        problem=_problem_message(operation.problem),
        update=_update_message(
            operation.update, dry_run=operation.dry_run, health=operation.health
        ),
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
        name=_STEP_NAME[step.name],
        status=_STEP_STATUS[step.status],
        started_at=timestamp(step.started_at),
        ended_at=timestamp(step.ended_at),
        detail=step.detail,
        attempts=step.attempts,
    )


def _update_message(
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
        differences=result.differences,
        download_bytes=result.download_bytes,
        snapshot=result.snapshot,
        projects=[_project_message(project) for project in result.projects],
        restarted_services=result.restarted,
        rolled_back=result.rolled_back,
        health=health_message(health),
    )


def _planned_changes(result: UpdateResult) -> tuple[PackageChange, ...]:
    """What the update that was only tried would change."""
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
                service=s.service, image=s.image, before=s.before, after=s.after
            )
            for s in project.services
        ],
    )


# --- events ---------------------------------------------------------------------------------------


def _unread_event(event: Event, why: str) -> event_pb2.Event:
    return event_pb2.Event(
        revision=event.revision,
        at=timestamp(event.at),
        host=text(event.host),
        operation_id=text(event.operation),
        rollout_id=text(event.rollout),
        incomplete=why,
    )


@whole(_unread_event)
def event_message(event: Event) -> event_pb2.Event:
    """An event as clients see it."""
    if isinstance(event.body, domain_events.Undecodable):
        return _unread_event(event, event.body.problem)
    field, body = _BODIES[type(event.body)]
    return event_pb2.Event(
        revision=event.revision,
        at=timestamp(event.at),
        host=event.host,
        operation_id=event.operation,
        rollout_id=event.rollout,
        **{field: body(event.body)},
    )


def _state_changed(body: domain_events.StateChanged) -> event_pb2.StateChanged:
    message = event_pb2.StateChanged(to=HOST_STATE[body.to], cause=body.cause)
    setattr(message, "from", HOST_STATE[body.origin])
    return message


def _operation_changed(body: domain_events.OperationChanged) -> event_pb2.OperationChanged:
    return event_pb2.OperationChanged(
        kind=_OPERATION_KIND[body.kind],
        status=_OPERATION_STATUS[body.status],
        step=_STEP_NAME[body.step] if body.step else operation_pb2.STEP_NAME_UNSPECIFIED,
        message=body.message,
    )


def _step_retried(body: domain_events.StepRetried) -> event_pb2.StepRetried:
    return event_pb2.StepRetried(
        step=_STEP_NAME[body.step],
        attempt=body.attempt,
        pause=duration(body.pause),
        problem=_problem_message(body.problem),
    )


def _rollout_changed(body: domain_events.RolloutChanged) -> event_pb2.RolloutChanged:
    return event_pb2.RolloutChanged(
        status=convert_rollout.STATUS[body.status],
        progress=convert_rollout.progress_message(body.progress),
        wave=body.wave + 1,
        waves=body.waves,
        message=body.message,
        held_up=body.held_up,
    )


_BODIES: Mapping[type, tuple[str, Callable[[Any], Any]]] = {
    domain_events.HostRegistered: (
        "host_registered",
        lambda body: event_pb2.HostRegistered(
            by=body.by, host_key_fingerprint=body.host_key_fingerprint
        ),
    ),
    domain_events.HostUnregistered: (
        "host_unregistered",
        lambda body: event_pb2.HostUnregistered(by=body.by),
    ),
    domain_events.HostReconfigured: (
        "host_reconfigured",
        lambda body: event_pb2.HostReconfigured(
            fields=body.fields, by=body.by, changes=change_messages(body.changes)
        ),
    ),
    domain_events.HostAcknowledged: (
        "host_acknowledged",
        lambda body: event_pb2.HostAcknowledged(by=body.by),
    ),
    domain_events.DuplicatesChanged: (
        "duplicates_changed",
        lambda body: event_pb2.DuplicatesChanged(
            duplicate_of=map(_duplicate_message, body.duplicate_of)
        ),
    ),
    domain_events.HostConnected: ("host_connected", lambda _: event_pb2.HostConnected()),
    domain_events.HostDisconnected: (
        "host_disconnected",
        lambda body: event_pb2.HostDisconnected(reason=body.reason),
    ),
    domain_events.StateChanged: ("state_changed", _state_changed),
    domain_events.UpdateProgress: (
        "update_progress",
        lambda body: event_pb2.UpdateProgress(
            package=body.package, percent=body.percent, phase=body.phase
        ),
    ),
    domain_events.UpdateCompleted: (
        "update_completed",
        lambda body: event_pb2.UpdateCompleted(result=_update_message(body.result)),
    ),
    domain_events.OperationChanged: ("operation_changed", _operation_changed),
    domain_events.StepRetried: ("step_retried", _step_retried),
    domain_events.RolloutChanged: ("rollout_changed", _rollout_changed),
    domain_events.ScheduleChanged: ("schedule_changed", convert_schedule.schedule_changed),
    domain_events.SelectionChanged: ("selection_changed", convert_selection.selection_changed),
    domain_events.DefaultsChanged: (
        "defaults_changed",
        lambda body: event_pb2.DefaultsChanged(
            group=body.group,
            by=body.by,
            deleted=body.deleted,
            changes=change_messages(body.changes),
        ),
    ),
}
