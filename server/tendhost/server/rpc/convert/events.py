"""Events, from domain values to messages."""

from collections.abc import Callable, Mapping
from typing import Any

from tendhost.server.domain import events as domain_events
from tendhost.server.domain.access.certificate_expiry import CertificateUse
from tendhost.server.domain.bounds import text
from tendhost.server.domain.events import Event
from tendhost.server.rpc.convert import rollouts as convert_rollouts
from tendhost.server.rpc.convert import schedules as convert_schedules
from tendhost.server.rpc.convert import selections as convert_selections
from tendhost.server.rpc.convert.changes import change_messages
from tendhost.server.rpc.convert.common import duration, numbers, problem_message, timestamp
from tendhost.server.rpc.convert.hosts import duplicate_message
from tendhost.server.rpc.convert.operations import (
    OPERATION_KIND,
    OPERATION_STATUS,
    STEP_NAME,
    update_message,
)
from tendhost.server.rpc.convert.selections import HOST_STATE
from tendhost.server.rpc.convert.whole import whole
from tendhost.v1 import event_pb2, operation_pb2

CERTIFICATE_USE = numbers(CertificateUse, event_pb2.CertificateUse)


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


def _former_labels(labels: domain_events.FormerLabels | None) -> event_pb2.FormerLabels | None:
    return (
        None if labels is None else event_pb2.FormerLabels(groups=labels.groups, tags=labels.tags)
    )


def _state_changed(body: domain_events.StateChanged) -> event_pb2.StateChanged:
    return event_pb2.StateChanged(
        from_state=HOST_STATE[body.origin], to_state=HOST_STATE[body.to], cause=body.cause
    )


def _operation_changed(body: domain_events.OperationChanged) -> event_pb2.OperationChanged:
    return event_pb2.OperationChanged(
        kind=OPERATION_KIND[body.kind],
        status=OPERATION_STATUS[body.status],
        step=STEP_NAME[body.step] if body.step else operation_pb2.STEP_NAME_UNSPECIFIED,
        message=body.message,
    )


def _step_retried(body: domain_events.StepRetried) -> event_pb2.StepRetried:
    return event_pb2.StepRetried(
        step=STEP_NAME[body.step],
        attempt=body.attempt,
        pause=duration(body.pause),
        problem=problem_message(body.problem),
    )


def _rollout_changed(body: domain_events.RolloutChanged) -> event_pb2.RolloutChanged:
    return event_pb2.RolloutChanged(
        status=convert_rollouts.STATUS[body.status],
        progress=convert_rollouts.progress_message(body.progress),
        wave=body.wave + 1,
        wave_count=body.waves,
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
        lambda body: event_pb2.HostUnregistered(
            by=body.by, former_labels=_former_labels(body.former_labels)
        ),
    ),
    domain_events.HostReconfigured: (
        "host_reconfigured",
        lambda body: event_pb2.HostReconfigured(
            fields=body.fields,
            by=body.by,
            changes=change_messages(body.changes),
            former_labels=_former_labels(body.former_labels),
        ),
    ),
    domain_events.HostAcknowledged: (
        "host_acknowledged",
        lambda body: event_pb2.HostAcknowledged(by=body.by),
    ),
    domain_events.DuplicatesChanged: (
        "duplicates_changed",
        lambda body: event_pb2.DuplicatesChanged(
            duplicate_of=map(duplicate_message, body.duplicate_of)
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
        lambda body: event_pb2.UpdateCompleted(result=update_message(body.result)),
    ),
    domain_events.OperationChanged: ("operation_changed", _operation_changed),
    domain_events.StepRetried: ("step_retried", _step_retried),
    domain_events.RolloutChanged: ("rollout_changed", _rollout_changed),
    domain_events.ScheduleChanged: ("schedule_changed", convert_schedules.schedule_changed),
    domain_events.SelectionChanged: ("selection_changed", convert_selections.selection_changed),
    domain_events.PolicyChanged: (
        "policy_changed",
        lambda body: event_pb2.PolicyChanged(
            group=body.group,
            by=body.by,
            deleted=body.deleted,
            changes=change_messages(body.changes),
        ),
    ),
    domain_events.CertificateExpiring: (
        "certificate_expiring",
        lambda body: event_pb2.CertificateExpiring(
            use=CERTIFICATE_USE[body.use],
            file=body.file,
            expires_at=timestamp(body.expires_at),
            message=body.message,
        ),
    ),
}
