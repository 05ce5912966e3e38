"""grpc.health.v1: whether the server serves, asked once or watched.

The servicer of grpc_health keeps its watchers open when a server stops, which makes every stop wait out its
grace, and drops all watchers of a service when one of them leaves.
"""

import asyncio
from collections.abc import Collection
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tendhost.server.rpc.status import cut
from tendhost.server.rpc.streams.stream_writer import send

LONGEST_NAME = 100
"""Bytes of the name of an unknown service that are repeated: a status beyond 8 KiB never arrives."""


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # it is untyped
    """Reports the health of the server, under the empty name, and of each of its services."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = frozenset(("", *services))
        self._serving = False
        self._usable = True
        self._ended = False
        self._changed = asyncio.Event()

    def serve(self) -> None:
        """Report SERVING from now on."""
        self._serving = True
        self._announce()

    def use_store(self, *, usable: bool) -> None:
        """Report whether the store can be used: without it almost no call succeeds."""
        self._usable = usable
        self._announce()

    def end(self) -> None:
        """Report NOT_SERVING from now on, and end the streams of watchers."""
        self._serving, self._ended = False, True
        self._announce()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in self._services:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"no service {cut(request.service, LONGEST_NAME)!r}"
            )
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        sent = None
        while True:
            changed, status = self._changed, self._status(request.service)
            if status != sent:
                await send(context, health_pb2.HealthCheckResponse(status=status))
                sent = status
            if self._ended:
                return
            await changed.wait()

    def _status(self, service: str) -> int:
        words = health_pb2.HealthCheckResponse
        if service not in self._services:
            unknown: int = words.SERVICE_UNKNOWN
            return unknown
        status: int = words.SERVING if self._serving and self._usable else words.NOT_SERVING
        return status

    def _announce(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
