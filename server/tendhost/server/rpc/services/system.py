"""SystemService: the version of the server, its event log and its health."""

from importlib.metadata import version
from typing import Any, Protocol

from tendhost.server.domain.access.certificate_expiry import CertificateExpiry
from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.engine.audit_sinks import SinkStatus
from tendhost.server.engine.engine import Engine
from tendhost.server.engine.loop_monitor import LoopLag
from tendhost.server.engine.notifications import DeliveryStatus
from tendhost.server.rpc.convert.common import timestamp
from tendhost.server.rpc.convert.events import CERTIFICATE_USE
from tendhost.server.rpc.interceptor import caller
from tendhost.server.store.protocols.access import ScopeStore
from tendhost.server.store.protocols.events import EventLog
from tendhost.server.store.protocols.hosts import HostStore
from tendhost.v1 import system_service_pb2 as pb
from tendhost.v1 import system_service_pb2_grpc

VERSION = version("tendhost")
"""Read once: looking it up takes longer than the rest of the call."""


class SystemServiceStore(EventLog, HostStore, ScopeStore, Protocol):
    """The event log, and the number of hosts."""


class SystemServicer(system_service_pb2_grpc.SystemServiceServicer):
    """Reports on the server itself."""

    def __init__(self, engine: Engine, *, open_access: bool) -> None:
        self._open_access = open_access
        self._store: SystemServiceStore = engine.store
        self._notifier = engine.notifier
        self._audit_sinks = engine.audit_sinks
        self._certificates = engine.certificates
        self._pruner = engine.pruner
        self._monitor = engine.loop_monitor
        self._store_watch = engine.store_watch

    async def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: Any
    ) -> pb.GetServerInfoResponse:
        bounds = await self._store.log_bounds()
        scope = caller().scope
        response = pb.GetServerInfoResponse(
            version=VERSION,
            log_id=bounds.log_id,
            revision=bounds.current,
            oldest_revision=bounds.oldest,
            host_count=await self._count_hosts(scope),
            store_problem=self._store_watch.problem,
            open_access=self._open_access,
            pruning_problem=await self._pruner.problem(),
            event_loop_lag=None if self._monitor is None else _lag(self._monitor.lag()),
        )
        if scope is None:  # notifications are of all hosts, and a problem may name some
            response.notifications.extend(map(_target, self._notifier.delivery_status))
            response.audit_sinks.extend(map(_sink, await self._audit_sinks.delivery_status()))
            response.certificates.extend(map(_certificate, self._certificates.expiries))
        return response

    async def _count_hosts(self, scope: Scope | None) -> int:
        try:
            if scope is not None:
                return await self._store.scoped_host_count(scope)
            return await self._store.count_hosts()
        except StoreUnavailable:
            if not self._store_watch.problem:
                raise
            return 0  # what the problem is for: it is not known


def _lag(lag: LoopLag) -> pb.EventLoopLag:
    message = pb.EventLoopLag()
    message.max.FromTimedelta(lag.longest)
    message.p99.FromTimedelta(lag.p99)
    return message


def _certificate(found: CertificateExpiry) -> pb.ServerCertificate:
    return pb.ServerCertificate(
        use=CERTIFICATE_USE[found.use],
        file=found.file,
        expires_at=timestamp(found.expires_at),
        problem=found.problem,
    )


def _target(status: DeliveryStatus) -> pb.NotificationTarget:
    return pb.NotificationTarget(
        name=status.name,
        delivered=status.delivered,
        retried=status.retried,
        undelivered=status.undelivered,
        waiting=status.waiting,
        revision=status.revision,
        problem=status.problem,
        problem_at=timestamp(status.problem_at),
        delivered_at=timestamp(status.delivered_at),
    )


def _sink(status: SinkStatus) -> pb.AuditSink:
    return pb.AuditSink(
        name=status.name,
        delivered=status.delivered,
        retried=status.retried,
        missed=status.missed,
        waiting=status.waiting,
        number=status.number,
        problem=status.problem,
        problem_at=timestamp(status.problem_at),
        delivered_at=timestamp(status.delivered_at),
    )
