"""The gRPC server: its services, its options, its start and its end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, cast

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from tendhost.server.clock import Clock, SystemClock
from tendhost.server.domain.access.call_limits import CallLimits
from tendhost.server.domain.access.listen import Listener
from tendhost.server.domain.access.roles import Role
from tendhost.server.engine.engine import Engine
from tendhost.server.rpc.auditing import CallAudit
from tendhost.server.rpc.authentication import Authenticator
from tendhost.server.rpc.call_limiting import CallLimiter
from tendhost.server.rpc.interceptor import RequestInterceptor, validate
from tendhost.server.rpc.listeners import bind
from tendhost.server.rpc.scoping import Scopes
from tendhost.server.rpc.services.access import AccessServicer
from tendhost.server.rpc.services.events import EventServicer
from tendhost.server.rpc.services.health import HealthServicer
from tendhost.server.rpc.services.hosts import HostServicer
from tendhost.server.rpc.services.operations import OperationServicer
from tendhost.server.rpc.services.policies import PolicyServicer
from tendhost.server.rpc.services.reflection import add_reflection
from tendhost.server.rpc.services.rollouts import RolloutServicer
from tendhost.server.rpc.services.schedules import ScheduleServicer
from tendhost.server.rpc.services.selections import SelectionServicer
from tendhost.server.rpc.services.system import SystemServicer
from tendhost.server.rpc.streams.event_feed import EventFeed
from tendhost.server.rpc.tls import TlsFiles
from tendhost.server.rpc.unread_calls import UnreadCalls
from tendhost.v1 import (
    access_service_pb2,
    access_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    host_service_pb2,
    host_service_pb2_grpc,
    operation_service_pb2,
    operation_service_pb2_grpc,
    policy_service_pb2,
    policy_service_pb2_grpc,
    rollout_service_pb2,
    rollout_service_pb2_grpc,
    schedule_service_pb2,
    schedule_service_pb2_grpc,
    selection_service_pb2,
    selection_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
)

logger = logging.getLogger(__name__)

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (host_service_pb2, "HostService"),
        (operation_service_pb2, "OperationService"),
        (rollout_service_pb2, "RolloutService"),
        (schedule_service_pb2, "ScheduleService"),
        (selection_service_pb2, "SelectionService"),
        (policy_service_pb2, "PolicyService"),
        (access_service_pb2, "AccessService"),
        (event_service_pb2, "EventService"),
        (system_service_pb2, "SystemService"),
    )
)

DEFAULT_LIMITS = CallLimits()
SYSTEM_CLOCK = SystemClock()
GRACE_SECONDS = 5.0
"""How long calls that are under way may take to end when the server stops."""

MESSAGE_BYTES = 1 << 20
"""Of a request; gRPC refuses a larger one with RESOURCE_EXHAUSTED."""
METADATA_BYTES = 8 << 10
"""Of the metadata of a request, such as a token. gRPC refuses some requests beyond it, and all beyond twice as much
(GRPC_ARG_MAX_METADATA_SIZE, GRPC_ARG_ABSOLUTE_MAX_METADATA_SIZE)."""
_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_metadata_size", METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", 2 * METADATA_BYTES),
    ("grpc.so_reuseport", 0),  # else a second server on the port is not noticed
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Clients that ping eagerly are let be: a watch has to notice a dead link.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


@asynccontextmanager
async def serving(
    engine: Engine,
    *,
    listeners: Sequence[Listener],
    tls: TlsFiles | None = None,
    socket_owner: str,
    open_access: bool = False,
    certificates: Mapping[str, frozenset[Role]] = MappingProxyType({}),
    limits: CallLimits = DEFAULT_LIMITS,
    clock: Clock = SYSTEM_CLOCK,
) -> AsyncIterator[list[str]]:
    """Serve `engine` at the addresses of `listeners` while the context lasts.

    Gives the addresses with the ports that were really taken, which matters for port 0. `socket_owner` is the
    name of whoever uses a unix socket; with `open_access` no call needs a credential; `certificates` are the roles of
    clients with certificates, by name; `limits` are those of each caller, by `clock`. At the end the streams are
    told to end and calls under way are given GRACE_SECONDS. Raises ConfigurationError when an address
    cannot be had.
    """
    feed = EventFeed(engine.store)
    authenticator = Authenticator(
        tokens=engine.tokens,
        issuers=engine.issuers,
        socket_owner=socket_owner,
        open_access=open_access,
        certificates=certificates,
    )
    scopes = Scopes(engine.store)
    interceptor = RequestInterceptor(
        engine.store,
        authenticator,
        CallAudit(engine.audit),
        scopes,
        CallLimiter(limits, clock=clock),
        UnreadCalls(clock=clock),
    )
    server = grpc.aio.server(interceptors=(interceptor,), options=_OPTIONS)
    services = cast(
        grpc.aio.Server, _WithoutMethods(server)
    )  # which is what generated code asks for
    host_service_pb2_grpc.add_HostServiceServicer_to_server(HostServicer(engine, scopes), services)
    operation_service_pb2_grpc.add_OperationServiceServicer_to_server(
        OperationServicer(engine, feed, scopes), services
    )
    rollout_service_pb2_grpc.add_RolloutServiceServicer_to_server(
        RolloutServicer(engine, feed, scopes), services
    )
    schedule_service_pb2_grpc.add_ScheduleServiceServicer_to_server(
        ScheduleServicer(engine, scopes), services
    )
    selection_service_pb2_grpc.add_SelectionServiceServicer_to_server(
        SelectionServicer(engine), services
    )
    policy_service_pb2_grpc.add_PolicyServiceServicer_to_server(PolicyServicer(engine), services)
    event_service_pb2_grpc.add_EventServiceServicer_to_server(EventServicer(engine, feed), services)
    access_service_pb2_grpc.add_AccessServiceServicer_to_server(AccessServicer(engine), services)
    system_service_pb2_grpc.add_SystemServiceServicer_to_server(
        SystemServicer(engine, open_access=open_access), services
    )
    readiness = HealthServicer(SERVICES)
    health_pb2_grpc.add_HealthServicer_to_server(readiness, services)
    add_reflection(server, (*SERVICES, health.SERVICE_NAME))
    bound = bind(server, listeners, tls, clock=clock)
    # The first validation compiles the rules, which takes milliseconds: not at a user's cost.
    validate(host_service_pb2.ListHostsRequest())
    following = asyncio.create_task(feed.run())
    await server.start()
    watch = engine.store_watch
    watch.on_change(lambda: readiness.use_store(usable=not watch.problem))
    readiness.use_store(usable=not watch.problem)
    readiness.serve()
    try:
        yield bound
    finally:
        readiness.end()
        feed.close()
        await server.stop(GRACE_SECONDS)
        await interceptor.close()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


class _WithoutMethods:
    """Where generated code adds its services, to be found by the path of a call alone.

    Generated code also registers each method by itself. For every call grpc.aio would then wait anew for each of the
    methods, and serve them in turn: a call would cost more the more methods there are, and those of the method that
    is called most would wait while others pass (https://github.com/grpc/grpc/pull/43461).
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """See grpc.aio.Server."""
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Register none."""
