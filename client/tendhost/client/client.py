"""The client: a connection to one server, with all calls of the SDK."""

import os
from types import TracebackType
from typing import Self

from tendhost.client.api.access import AccessCalls
from tendhost.client.api.hosts import HostCalls
from tendhost.client.api.operations import OperationCalls
from tendhost.client.api.policies import PolicyCalls
from tendhost.client.api.rollouts import RolloutCalls
from tendhost.client.api.schedules import ScheduleCalls
from tendhost.client.api.selections import SelectionCalls
from tendhost.client.connection import Connection, default_connection
from tendhost.client.contexts import load_contexts
from tendhost.client.convert import server as convert_server
from tendhost.client.event_stream import EventStream
from tendhost.client.models.selections import HostFilter
from tendhost.client.models.server import ServerInfo
from tendhost.client.transport import Transport
from tendhost.v1 import system_service_pb2
from tendhost.v1.system_service_pb2_grpc import SystemServiceStub

PATIENCE_SECONDS = 120.0
"""A server that is being restarted is back sooner."""


class Client(
    HostCalls,
    OperationCalls,
    RolloutCalls,
    ScheduleCalls,
    SelectionCalls,
    PolicyCalls,
    AccessCalls,
):
    """A connection to a tendhost server; use it as an async context manager.

    Every call raises TendhostError or one of its kinds. Every mutation carries a fresh request id, so
    it happens once even where the answer was lost and the call is repeated. Waits and watches outlive
    a server that goes away for less than `patience_seconds`.
    """

    def __init__(
        self, server: Connection | str = "", *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """`server`: an address, or a Connection with a credential and more.

        What an address leaves open comes from TENDHOST_TOKEN and TENDHOST_CA, and from the context of that
        server; without an address it is that of TENDHOST_SERVER, of the current context, or of the server on
        this machine. Raises InvalidRequest where the file of contexts cannot be used.
        """
        if isinstance(server, str):
            server = default_connection(os.environ, load_contexts(os.environ), server=server)
        self.connection = server
        self._patience_seconds = patience_seconds

    async def __aenter__(self) -> Self:
        self._opened = Transport(self.connection, patience_seconds=self._patience_seconds)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    def events(
        self,
        *,
        resume_after: int | None = None,
        log_id: str = "",
        snapshot: bool = False,
        selection: HostFilter | None = None,
        until: int | None = None,
    ) -> EventStream:
        """The fleet's events: those after `resume_after` (0: from the oldest), else from now on.

        With `snapshot`, first the hosts as they are; with `until`, to that revision and no further.
        Reconnects by itself without a gap or a repetition; where the server has no such events any
        more, a Snapshot takes their place.
        """
        return EventStream(
            self._transport,
            resume_after=resume_after,
            log_id=log_id,
            snapshot=snapshot,
            selection=selection,
            until=until,
        )

    async def info(self) -> ServerInfo:
        """Version and condition of the server."""
        method = SystemServiceStub(self._transport.calls).GetServerInfo
        request = system_service_pb2.GetServerInfoRequest()
        return convert_server.server_info(await self._transport.call(method, request))
