"""Between protobuf messages and the SDK's values: the only module of the client that knows both."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from tendhost.client import values
from tendhost.v1 import (
    event_pb2,
    host_pb2,
    operation_pb2,
    rollout_pb2,
    system_service_pb2,
)

E = TypeVar("E", bound=StrEnum)

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _words(kind: type[E], wire: Any) -> Mapping[int, E]:
    """Each number on the wire with the member that it means, by the contract's naming rule."""
    prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in wire.DESCRIPTOR.name)[1:]
    return {wire.Value(f"{prefix}_{member.name}"): member for member in kind}


_STATES = _words(values.HostState, host_pb2.HostState)
_NEEDS = _words(values.RebootNeed, host_pb2.RebootNeed)
_KINDS = _words(values.OperationKind, operation_pb2.OperationKind)
_OPERATION_STATUSES = _words(values.OperationStatus, operation_pb2.OperationStatus)
_STEP_STATUSES = _words(values.StepStatus, operation_pb2.StepStatus)
_ROLLOUT_STATUSES = _words(values.RolloutStatus, rollout_pb2.RolloutStatus)
_ROLLOUT_HOST_STATUSES = _words(values.RolloutHostStatus, rollout_pb2.RolloutHostStatus)
_WITHHELD = {
    host_pb2.WITHHELD_UNSPECIFIED: values.Withheld.NO,
    host_pb2.WITHHELD_HELD: values.Withheld.HELD,
    host_pb2.WITHHELD_KEPT_BACK: values.Withheld.KEPT_BACK,
    host_pb2.WITHHELD_PHASED: values.Withheld.PHASED,
}


def _numbers(words: Mapping[int, E]) -> Mapping[E, Any]:
    return {member: number for number, member in words.items()}


STATE_NUMBERS = _numbers(_STATES)
OPERATION_STATUS_NUMBERS = _numbers(_OPERATION_STATUSES)


def instant(message: Any, field: str) -> datetime | None:
    """An aware datetime, or None where the field is absent."""
    if not message.HasField(field):
        return None
    at: Timestamp = getattr(message, field)
    return at.ToDatetime(tzinfo=UTC)


def problem(message: host_pb2.Problem) -> values.Problem:
    """A problem."""
    return values.Problem(reason=message.reason, message=message.message, facts=dict(message.facts))


def host(message: host_pb2.Host) -> values.Host:
    """A host."""
    config, status = message.config, message.status
    window = config.policy.maintenance_window
    return values.Host(
        name=config.name,
        addr=config.addr,
        port=config.port,
        user=config.user,
        ssh_key=config.ssh_key,
        compose_paths=tuple(config.compose_paths),
        tags=tuple(config.tags),
        groups=tuple(config.groups),
        auto_reboot=config.policy.auto_reboot,
        maintenance_window=_window(window) if window.start else None,
        host_key_fingerprint=message.host_key_fingerprint,
        registered_at=instant(message, "registered_at"),
        state=_STATES[status.state],
        pending_updates=status.pending_updates,
        pending_security_updates=status.pending_security_updates,
        last_updated=instant(status, "last_updated"),
        queried_at=instant(status, "queried_at"),
        reboot=values.Reboot(
            need=_NEEDS[status.reboot.need],
            reason=status.reboot.reason,
            since=instant(status.reboot, "since"),
        ),
        healthy=status.healthy if status.HasField("healthy") else None,
        error=status.error,
        failure=_failure(status.failure) if status.HasField("failure") else None,
        retry_count=status.retry_count,
        os_name=status.os_name,
        revision=message.revision,
    )


def _window(message: host_pb2.MaintenanceWindow) -> values.MaintenanceWindow:
    return values.MaintenanceWindow(
        start=message.start,
        end=message.end,
        days=tuple(_DAYS[day - 1] for day in message.days),
        time_zone=message.time_zone,
    )


def _failure(message: host_pb2.Failure) -> values.Failure:
    return values.Failure(
        previous_state=_STATES[message.previous_state],
        step=message.step,
        problem=problem(message.problem),
        failed_at=instant(message, "failed_at"),
        retry_count=message.retry_count,
        acknowledged_by=message.acknowledged_by,
        acknowledged_at=instant(message, "acknowledged_at"),
    )


def window_message(window: values.MaintenanceWindow) -> host_pb2.MaintenanceWindow:
    """A maintenance window for a request. Raises ValueError for a day that there is not."""
    days: list[Any] = []
    for day in window.days:
        if day not in _DAYS:
            raise ValueError(f"{day!r} is no day: expected one of {', '.join(_DAYS)}")
        days.append(_DAYS.index(day) + 1)
    return host_pb2.MaintenanceWindow(
        start=window.start, end=window.end, days=days, time_zone=window.time_zone
    )


def filter_message(selection: values.HostFilter) -> host_pb2.HostFilter:
    """A filter for a request."""
    return host_pb2.HostFilter(
        names=selection.names,
        all_tags=selection.all_tags,
        any_tags=selection.any_tags,
        groups=selection.groups,
        states=[STATE_NUMBERS[state] for state in selection.states],
        exclude_hosts=selection.exclude_hosts,
        reboot_needed=selection.reboot_needed,
        search=selection.search,
    )


def inventory(message: host_pb2.Inventory) -> values.Inventory:
    """An inventory."""
    system = message.system
    return values.Inventory(
        host=message.host,
        os_id=system.os_id,
        os_version=system.os_version,
        os_name=system.os_name,
        kernel=system.kernel,
        architecture=system.architecture,
        boot_id=system.boot_id,
        uptime=system.uptime.ToTimedelta() if system.HasField("uptime") else None,
        package_manager=system.package_manager,
        container=system.container,
        pending_updates=tuple(_pending(package) for package in message.pending_updates),
        packages=tuple(values.Package(name=p.name, version=p.version) for p in message.packages),
        collected_at=instant(message, "collected_at"),
    )


def _pending(message: host_pb2.PendingPackage) -> values.PendingPackage:
    return values.PendingPackage(
        name=message.name,
        from_version=message.from_version,
        to_version=message.to_version,
        architecture=message.architecture,
        origin=message.origin,
        security=message.security,
        withheld=_WITHHELD[message.withheld],
    )


def operation(message: operation_pb2.Operation) -> values.Operation:
    """An operation."""
    return values.Operation(
        id=message.id,
        host=message.host,
        kind=_KINDS[message.kind],
        status=_OPERATION_STATUSES[message.status],
        dry_run=message.dry_run,
        rollout_id=message.rollout_id,
        created_by=message.created_by,
        created_at=instant(message, "created_at"),
        started_at=instant(message, "started_at"),
        ended_at=instant(message, "ended_at"),
        steps=tuple(_step(step) for step in message.steps),
        problem=problem(message.problem) if message.HasField("problem") else None,
        update=_update(message.update) if message.HasField("update") else None,
        health=values.HealthResult(healthy=message.health.healthy, message=message.health.message)
        if message.HasField("health")
        else None,
        log_size=message.log_size,
        revision=message.revision,
    )


def _step(message: operation_pb2.Step) -> values.Step:
    name = operation_pb2.StepName.Name(message.name).removeprefix("STEP_NAME_").lower()
    return values.Step(
        name=name,
        status=_STEP_STATUSES[message.status],
        started_at=instant(message, "started_at"),
        ended_at=instant(message, "ended_at"),
        detail=message.detail,
    )


def _update(message: operation_pb2.UpdateResult) -> values.UpdateResult:
    return values.UpdateResult(
        success=message.success,
        upgraded_count=message.upgraded_count,
        packages=tuple(
            values.PackageChange(
                name=change.name, from_version=change.from_version, to_version=change.to_version
            )
            for change in message.packages
        ),
        reboot_required=message.reboot_required,
        rebooted=message.rebooted,
        withheld=tuple(_pending(package) for package in message.withheld),
        kept_conffiles=tuple(message.kept_conffiles),
    )


def rollout(message: rollout_pb2.Rollout) -> values.Rollout:
    """A rollout."""
    spec, progress = message.spec, message.progress
    return values.Rollout(
        id=message.id,
        batch_size=spec.batch_size,
        delay_between_batches=spec.delay_between_batches.ToTimedelta(),
        tags=tuple(spec.filter.tags),
        groups=tuple(spec.filter.groups),
        exclude_hosts=tuple(spec.filter.exclude_hosts),
        dry_run=spec.dry_run,
        status=_ROLLOUT_STATUSES[message.status],
        progress=values.Progress(
            total_hosts=progress.total_hosts,
            pending=progress.pending,
            in_progress=progress.in_progress,
            completed=progress.completed,
            failed=progress.failed,
            skipped=progress.skipped,
        ),
        batch=message.batch,
        batches=message.batches,
        next_batch_at=instant(message, "next_batch_at"),
        created_by=message.created_by,
        created_at=instant(message, "created_at"),
        ended_at=instant(message, "ended_at"),
        revision=message.revision,
    )


def rollout_host(message: rollout_pb2.RolloutHost) -> values.RolloutHost:
    """One host of a rollout."""
    return values.RolloutHost(
        host=message.host,
        batch=message.batch,
        status=_ROLLOUT_HOST_STATUSES[message.status],
        operation_id=message.operation_id,
        detail=message.detail,
    )


def event(message: event_pb2.Event) -> values.Event:
    """An event."""
    kind = message.WhichOneof("body") or ""
    body = getattr(message, kind) if kind else None
    return values.Event(
        revision=message.revision,
        at=instant(message, "at"),
        host=message.host,
        operation_id=message.operation_id,
        rollout_id=message.rollout_id,
        kind=kind,
        details=_details(body) if body is not None else {},
    )


def _details(message: Any) -> dict[str, object]:
    table: dict[str, object] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    for field in message.DESCRIPTOR.fields:
        if field.enum_type is not None and field.name in table:
            prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in field.enum_type.name)
            word = str(table[field.name])
            table[field.name] = word.removeprefix(f"{prefix[1:]}_").lower()
    return table


def server_info(message: system_service_pb2.GetServerInfoResponse) -> values.ServerInfo:
    """What server this is."""
    return values.ServerInfo(
        version=message.version,
        log_id=message.log_id,
        revision=message.revision,
        oldest_revision=message.oldest_revision,
        hosts=message.hosts,
    )
