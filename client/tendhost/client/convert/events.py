"""Conversion of events."""

from collections.abc import Callable, Mapping
from typing import Any

from tendhost.client.convert import policies as convert_policies
from tendhost.client.convert import rollouts as convert_rollouts
from tendhost.client.convert import schedules as convert_schedules
from tendhost.client.convert import selections as convert_selections
from tendhost.client.convert.changes import field_changes
from tendhost.client.convert.enums import enum_names, instant, reading, span
from tendhost.client.convert.hosts import duplicate, problem
from tendhost.client.convert.operations import (
    operation_kind,
    operation_status,
    step_name,
    update_result,
)
from tendhost.client.models import events
from tendhost.v1 import event_pb2


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


def _former_labels(
    message: event_pb2.HostUnregistered | event_pb2.HostReconfigured,
) -> events.FormerLabels | None:
    if not message.HasField("former_labels"):
        return None
    labels = message.former_labels
    return events.FormerLabels(groups=tuple(labels.groups), tags=tuple(labels.tags))


def _state_changed(message: event_pb2.StateChanged) -> events.StateChanged:
    return events.StateChanged(
        from_state=convert_selections.state(message.from_state),
        to_state=convert_selections.state(message.to_state),
        cause=message.cause,
    )


def _operation_changed(message: event_pb2.OperationChanged) -> events.OperationChanged:
    return events.OperationChanged(
        kind=operation_kind(message.kind),
        status=operation_status(message.status),
        step=step_name(message.step),
        message=message.message,
    )


def _step_retried(message: event_pb2.StepRetried) -> events.StepRetried:
    return events.StepRetried(
        step=step_name(message.step),
        attempt=message.attempt,
        pause=span(message.pause),
        problem=problem(message.problem),
    )


def _rollout_changed(message: event_pb2.RolloutChanged) -> events.RolloutChanged:
    return events.RolloutChanged(
        status=convert_rollouts.status(message.status),
        progress=convert_rollouts.progress(message.progress),
        wave=message.wave,
        wave_count=message.wave_count,
        message=message.message,
        held_up=message.held_up,
    )


certificate_use = reading(
    enum_names(events.CertificateUse, event_pb2.CertificateUse), events.CertificateUse.UNRECOGNIZED
)


def _certificate_expiring(message: event_pb2.CertificateExpiring) -> events.CertificateExpiring:
    return events.CertificateExpiring(
        use=certificate_use(message.use),
        file=message.file,
        expires_at=instant(message, "expires_at"),
        message=message.message,
    )


_BODIES: Mapping[str, Callable[[Any], events.EventBody]] = {
    "host_registered": lambda m: events.HostRegistered(
        by=m.by, host_key_fingerprint=m.host_key_fingerprint
    ),
    "host_unregistered": lambda m: events.HostUnregistered(
        by=m.by, former_labels=_former_labels(m)
    ),
    "duplicates_changed": lambda m: events.DuplicatesChanged(
        duplicate_of=tuple(map(duplicate, m.duplicate_of))
    ),
    "host_reconfigured": lambda m: events.HostReconfigured(
        fields=tuple(m.fields),
        by=m.by,
        changes=field_changes(m.changes),
        former_labels=_former_labels(m),
    ),
    "host_acknowledged": lambda m: events.HostAcknowledged(by=m.by),
    "host_connected": lambda m: events.HostConnected(),
    "host_disconnected": lambda m: events.HostDisconnected(reason=m.reason),
    "state_changed": _state_changed,
    "update_progress": lambda m: events.UpdateProgress(
        package=m.package, percent=m.percent, phase=m.phase
    ),
    "update_completed": lambda m: events.UpdateCompleted(result=update_result(m.result)),
    "operation_changed": _operation_changed,
    "step_retried": _step_retried,
    "rollout_changed": _rollout_changed,
    "schedule_changed": convert_schedules.schedule_changed,
    "selection_changed": convert_selections.selection_changed,
    "policy_changed": convert_policies.policy_changed,
    "certificate_expiring": _certificate_expiring,
}
