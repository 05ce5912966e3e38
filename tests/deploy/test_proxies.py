"""The proxies of deploy/, tried with real servers behind them: streams, and a replica that goes away."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from tendhost.client import Client, Connection, ServerUnreachable
from tendhost.client.errors import error_of
from tendhost.server.certificates import CA, SERVER, SERVER_KEY
from tendhost.v1 import event_service_pb2 as pb
from tendhost.v1 import system_service_pb2
from tendhost.v1.event_service_pb2_grpc import EventServiceStub
from tests.deploy.proxied import (
    READY_SECONDS,
    Place,
    checked,
    envoy,
    haproxy,
    nginx,
    place,
    running,
)
from tests.tools import needs

Commands = Callable[[Place], tuple[list[str], list[str]]]
OF_NEWER_NGINX = 'the "listen ... http2" directive is deprecated'
"""Since 1.25.1, which alone knows the directive that is to be used instead."""
PROXIES = (
    pytest.param(haproxy, id="haproxy", marks=needs("haproxy")),
    pytest.param(nginx, id="nginx", marks=needs("nginx")),
    pytest.param(envoy, id="envoy"),
)


@asynccontextmanager
async def calling(here: Place, token: str) -> AsyncIterator[Client]:
    """A client at the proxy, once that leads to a replica."""
    connection = Connection(
        server=f"tls://127.0.0.1:{here.port}", token=token, ca=str(here.tls / CA)
    )
    async with Client(connection) as client:
        await answered(client)
        yield client


async def answered(client: Client) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                await client.info()
            except ServerUnreachable:
                await asyncio.sleep(0.1)
            else:
                return


@pytest.mark.parametrize("commands", PROXIES)
async def test_recipe__is_one_that_the_program_takes(commands: Commands, tmp_path: Path) -> None:
    status, output = await checked(commands(place(tmp_path))[0])
    assert status == 0, output
    lines = [line for line in output.splitlines() if OF_NEWER_NGINX not in line]
    assert "warn" not in "\n".join(lines).lower()


@pytest.mark.slow
@pytest.mark.parametrize("commands", PROXIES)
async def test_stream__passes_while_it_is_idle_and_resumes_on_another_replica(
    commands: Commands, tmp_path: Path
) -> None:
    here = place(tmp_path)
    token = await here.alike()
    _, command = commands(here)
    async with (
        here.replica(0) as first,
        running(command, tmp_path / "proxy.log"),
        calling(here, token) as client,
    ):
        credentials = grpc.ssl_channel_credentials((here.tls / CA).read_bytes())
        async with grpc.aio.secure_channel(f"127.0.0.1:{here.port}", credentials) as channel:
            watch = EventServiceStub(channel).WatchEvents
            metadata = (("authorization", f"Bearer {token}"),)
            stream: Any = watch(pb.WatchEventsRequest(), metadata=metadata)
            opened = await stream.read()
            assert opened.phase == pb.WATCH_PHASE_OPENED
            idle = await stream.read()  # at the latest after 5 seconds
            assert not idle.events
            async with here.replica(1):
                await first.ended_after(signal.SIGKILL)
                with pytest.raises(grpc.aio.AioRpcError) as ended:
                    await stream.read()
                error = error_of(ended.value, target="the proxy")
                assert isinstance(error, ServerUnreachable)  # which the SDK waits out
                await answered(client)
                again: Any = watch(
                    pb.WatchEventsRequest(resume_after=idle.revision, log_id=opened.log_id),
                    metadata=metadata,
                )
                assert (await again.read()).log_id == opened.log_id
                again.cancel()


@asynccontextmanager
async def telling(here: Place, number: int, status: int) -> AsyncIterator[None]:
    """A server at the place of a replica that says this of its health, and its number as the id of its log."""

    async def info(_: bytes, __: object) -> bytes:
        answer = system_service_pb2.GetServerInfoResponse(log_id=str(number))
        return answer.SerializeToString()

    health = aio.HealthServicer()
    await health.set("", status)
    pair = ((here.tls / SERVER_KEY).read_bytes(), (here.tls / SERVER).read_bytes())
    server = grpc.aio.server()
    add_HealthServicer_to_server(health, server)
    methods = {"GetServerInfo": grpc.unary_unary_rpc_method_handler(info)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tendhost.v1.SystemService", methods),)
    )
    server.add_secure_port(f"127.0.0.1:{here.ports[number]}", grpc.ssl_server_credentials([pair]))
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


@pytest.mark.parametrize("commands", [PROXIES[0], PROXIES[2]])
async def test_replica_that_does_not_serve__gets_no_calls(
    commands: Commands, tmp_path: Path
) -> None:
    here = place(tmp_path)
    status = health_pb2.HealthCheckResponse
    async with (
        telling(here, 0, status.NOT_SERVING),
        telling(here, 1, status.SERVING),
        running(commands(here)[1], tmp_path / "proxy.log"),
    ):
        connection = Connection(server=f"tls://127.0.0.1:{here.port}", ca=str(here.tls / CA))
        async with Client(connection) as client:
            await answered(client)
            async with asyncio.timeout(READY_SECONDS):
                # Until it has been asked for its health, a replica counts as one that serves.
                while {await log_id(client) for _ in range(6)} != {"1"}:
                    pass


async def log_id(client: Client) -> str:
    return (await client.info()).log_id
