"""A server that is told to stop in the middle of everything: it ends within ten seconds, and the next goes on."""

import asyncio
import signal
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import asyncssh
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tendhost.v1 import (
    event_service_pb2,
    host_service_pb2,
    operation_pb2,
    operation_service_pb2,
)
from tests.e2e.daemon import Daemon, daemon
from tests.simulated.fleet import RecordedFleet

DARK_HOSTS = 40
RUNNING = operation_pb2.OPERATION_STATUS_RUNNING


async def _begin_on_silent_hosts(server: Daemon, stack: ExitStack) -> list[str]:
    """Operations on hosts that have come to take connections and never say a word."""
    with RecordedFleet(DARK_HOSTS) as fleet:
        ports = {host.name: host.port for host in fleet.hosts}
        for name, port in ports.items():
            await server.register(name, "127.0.0.1", port=port)
    begun = []
    for name, port in ports.items():
        stack.enter_context(socket.create_server(("127.0.0.1", port), backlog=256))
        request = host_service_pb2.StartQueryRequest(name=name)
        begun.append((await server.hosts.StartQuery(request)).operation.id)
    return begun


async def test_stops_within_ten_seconds_whoever_watches_and_whatever_is_under_way(
    tmp_path,
):
    with ExitStack() as stack:
        await _stop_in_the_middle(tmp_path / "state", stack)


async def _stop_in_the_middle(state: Path, stack: ExitStack) -> None:
    key = state.with_suffix(".key")
    key.touch(mode=0o600)
    key.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    async with daemon(state, key=key) as server:
        begun = await _begin_on_silent_hosts(server, stack)
        events = server.events.WatchEvents(event_service_pb2.WatchEventsRequest())
        await events.read()
        watched = server.operations.WatchOperation(
            operation_service_pb2.WatchOperationRequest(id=begun[0])
        )
        await watched.read()
        waiting = asyncio.ensure_future(
            server.operations.WaitOperation(operation_service_pb2.WaitOperationRequest(id=begun[0]))
        )
        async with grpc.aio.insecure_channel(server.address) as channel:
            health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
            told_at = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            said = [answer.status for answer in await _rest(health)]
            assert await health.code() is grpc.StatusCode.OK
        assert await server.process.wait() == 0
        took = time.monotonic() - told_at
        last = (await _rest(events))[-1]
        assert last.revision > 0
        await _rest(watched)
        # None of them has come to its end, and each says so.
        await asyncio.wait((waiting,))
        for call in (events, watched):
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
        failed = waiting.exception()
        assert isinstance(failed, grpc.aio.AioRpcError)
        assert failed.code() is grpc.StatusCode.UNAVAILABLE
    assert said == [health_pb2.HealthCheckResponse.NOT_SERVING]
    assert took < 10, f"it took {took:.1f} s"
    async with daemon(state, key=key) as server:
        for id in begun:
            request = operation_service_pb2.GetOperationRequest(id=id)
            assert (await server.operations.GetOperation(request)).operation.status == RUNNING


async def _rest(stream: Any) -> list[Any]:
    """What is still said, up to the end of the stream."""
    messages = []
    with suppress(grpc.aio.AioRpcError):
        while (message := await stream.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
            messages.append(message)
    return messages
