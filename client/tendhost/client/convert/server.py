"""Conversion of information about the server."""

from tendhost.client.convert.enums import instant
from tendhost.client.convert.events import certificate_use
from tendhost.client.models.server import (
    AuditSink,
    EventLoopLag,
    NotificationTarget,
    ServerCertificate,
    ServerInfo,
)
from tendhost.v1 import system_service_pb2


def server_info(message: system_service_pb2.GetServerInfoResponse) -> ServerInfo:
    """What server this is."""
    return ServerInfo(
        version=message.version,
        log_id=message.log_id,
        revision=message.revision,
        oldest_revision=message.oldest_revision,
        host_count=message.host_count,
        notifications=tuple(map(_notification_target, message.notifications)),
        audit_sinks=tuple(map(_audit_sink, message.audit_sinks)),
        pruning_problem=message.pruning_problem,
        store_problem=message.store_problem,
        open_access=message.open_access,
        certificates=tuple(map(_certificate, message.certificates)),
        event_loop_lag=EventLoopLag(
            max=message.event_loop_lag.max.ToTimedelta(),
            p99=message.event_loop_lag.p99.ToTimedelta(),
        )
        if message.HasField("event_loop_lag")
        else None,
    )


def _certificate(message: system_service_pb2.ServerCertificate) -> ServerCertificate:
    return ServerCertificate(
        use=certificate_use(message.use),
        file=message.file,
        expires_at=instant(message, "expires_at"),
        problem=message.problem,
    )


def _notification_target(
    message: system_service_pb2.NotificationTarget,
) -> NotificationTarget:
    return NotificationTarget(
        name=message.name,
        delivered=message.delivered,
        retried=message.retried,
        undelivered=message.undelivered,
        waiting=message.waiting,
        revision=message.revision,
        problem=message.problem,
        problem_at=instant(message, "problem_at"),
        delivered_at=instant(message, "delivered_at"),
    )


def _audit_sink(message: system_service_pb2.AuditSink) -> AuditSink:
    return AuditSink(
        name=message.name,
        delivered=message.delivered,
        retried=message.retried,
        missed=message.missed,
        waiting=message.waiting,
        number=message.number,
        problem=message.problem,
        problem_at=instant(message, "problem_at"),
        delivered_at=instant(message, "delivered_at"),
    )
