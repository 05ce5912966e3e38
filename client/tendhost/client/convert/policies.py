"""Conversion of windows, freeze periods, group policies and effective policies."""

from typing import Any

from tendhost.client.convert import health as convert_health
from tendhost.client.convert.changes import field_changes
from tendhost.client.convert.enums import enum_names, instant, moment, reading, span
from tendhost.client.models import policies
from tendhost.client.models.events import PolicyChanged
from tendhost.client.models.hosts import MaintenanceWindow
from tendhost.v1 import event_pb2, host_pb2
from tendhost.v1 import policy_pb2 as pb

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_source_kind = reading(
    enum_names(policies.PolicySourceKind, pb.PolicySourceKind),
    policies.PolicySourceKind.UNRECOGNIZED,
)


def window(message: host_pb2.MaintenanceWindow) -> MaintenanceWindow:
    """A maintenance window."""
    return MaintenanceWindow(
        start=message.start,
        end=message.end,
        days=tuple(_DAYS[day - 1] if 0 < day <= len(_DAYS) else str(day) for day in message.days),
        time_zone=message.time_zone,
        cutoff=span(message.cutoff),
    )


def window_message(window: MaintenanceWindow) -> host_pb2.MaintenanceWindow:
    """A maintenance window for a request. Raises ValueError for a day that there is not."""
    days: list[Any] = []
    for day in window.days:
        if day not in _DAYS:
            raise ValueError(f"{day!r} is no day: expected one of {', '.join(_DAYS)}")
        days.append(_DAYS.index(day) + 1)
    message = host_pb2.MaintenanceWindow(
        start=window.start, end=window.end, days=days, time_zone=window.time_zone
    )
    if window.cutoff:
        message.cutoff.FromTimedelta(window.cutoff)
    return message


def _freeze(message: pb.FreezePeriod) -> policies.FreezePeriod:
    return policies.FreezePeriod(
        name=message.name,
        starts_at=moment(message.starts_at),
        ends_at=moment(message.ends_at),
        reason=message.reason,
        time_zone=message.time_zone,
    )


def freeze_message(freeze: policies.FreezePeriod) -> pb.FreezePeriod:
    message = pb.FreezePeriod(name=freeze.name, reason=freeze.reason, time_zone=freeze.time_zone)
    message.starts_at.FromDatetime(freeze.starts_at)
    message.ends_at.FromDatetime(freeze.ends_at)
    return message


def group_policy(message: pb.GroupPolicy) -> policies.GroupPolicy:
    """A group policy."""
    return policies.GroupPolicy(
        group=message.group,
        windows=tuple(map(window, message.windows)),
        freezes=tuple(map(_freeze, message.freezes)),
        hooks=convert_health.hooks(message.hooks),
        health_checks=convert_health.health_checks(message.health_checks),
        changed_by=message.changed_by,
        changed_at=instant(message, "changed_at"),
        revision=message.revision,
        etag=message.etag,
        warnings=tuple(message.warnings),
        incomplete=message.incomplete,
    )


def group_policy_message(value: policies.GroupPolicy) -> pb.GroupPolicy:
    """A group policy for a request. Raises ValueError as window_message and health_checks_message."""
    return pb.GroupPolicy(
        group=value.group,
        windows=map(window_message, value.windows),
        freezes=map(freeze_message, value.freezes),
        hooks=convert_health.hooks_message(value.hooks),
        health_checks=convert_health.health_checks_message(value.health_checks),
        etag=value.etag,
    )


def effective_policy(message: pb.EffectivePolicy) -> policies.EffectivePolicy:
    """What holds for a host."""
    settle = message.settle
    return policies.EffectivePolicy(
        host=message.host,
        windows=tuple(
            policies.EffectiveWindows(
                windows=tuple(map(window, part.windows)), source=_source(part.source)
            )
            for part in message.windows
        ),
        freezes=tuple(
            policies.EffectiveFreeze(freeze=_freeze(part.freeze), source=_source(part.source))
            for part in message.freezes
        ),
        pre_hook=_hook(message.pre_hook) if message.HasField("pre_hook") else None,
        post_hook=_hook(message.post_hook) if message.HasField("post_hook") else None,
        checks=tuple(
            policies.EffectiveCheck(
                check=convert_health.health_check(part.check), source=_source(part.source)
            )
            for part in message.checks
        ),
        settle=policies.EffectiveSettle(settle=span(settle.settle), source=_source(settle.source))
        if message.HasField("settle")
        else None,
        update_allowed=message.update_allowed,
        opens_at=instant(message, "opens_at"),
        detail=message.detail,
        incomplete=message.incomplete,
    )


def _hook(message: pb.EffectiveHook) -> policies.EffectiveHook:
    return policies.EffectiveHook(
        hook=convert_health.hook(message.hook), source=_source(message.source)
    )


def _source(message: pb.PolicySource) -> policies.PolicySource:
    return policies.PolicySource(kind=_source_kind(message.kind), group=message.group)


def policy_changed(message: event_pb2.PolicyChanged) -> PolicyChanged:
    """Something else is said for a group, or for the fleet."""
    return PolicyChanged(
        group=message.group,
        by=message.by,
        deleted=message.deleted,
        changes=field_changes(message.changes),
    )
