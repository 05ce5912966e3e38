"""Servers on one PostgreSQL, with simulated hosts: one is killed, one is stopped for longer than its lease."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import Any

import pytest

from tendhost.v1 import (
    host_pb2,
    host_service_pb2,
    host_service_pb2_grpc,
    operation_pb2,
    operation_service_pb2,
    operation_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
)
from tests.cluster.single import shared
from tests.rpc.process import Process, channel_to, serving_process
from tests.simulated import SimulatedFleet
from tests.tools import needs

pytestmark = [
    needs("psql"),
    pytest.mark.simulated,
    pytest.mark.slow,  # a lease lasts 15 seconds
    pytest.mark.timeout(240),
]

UPDATE_SECONDS = "3"
"""How long the package of a host takes to be installed."""
LONG = 90.0
"""Seconds that nothing takes which a test waits for."""


class Caller:
    """Asks one of the servers."""

    def __init__(self, channel: Any) -> None:
        self.hosts: Any = host_service_pb2_grpc.HostServiceStub(channel)
        self.operations: Any = operation_service_pb2_grpc.OperationServiceStub(channel)
        self.system: Any = system_service_pb2_grpc.SystemServiceStub(channel)

    async def start(self, name: str) -> str:
        """Id of an update of a host."""
        request = host_service_pb2.StartUpdateRequest(name=name)
        return str((await self.hosts.StartUpdate(request)).operation.id)

    async def get(self, id: str) -> Any:
        """An operation."""
        request = operation_service_pb2.GetOperationRequest(id=id)
        return (await self.operations.GetOperation(request)).operation

    async def revision(self) -> int:
        """The current revision."""
        request = system_service_pb2.GetServerInfoRequest()
        return int((await self.system.GetServerInfo(request)).revision)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LONG):
        while not await condition():  # noqa: ASYNC110  # what it waits for is in other processes
            await asyncio.sleep(0.1)


async def test_operations__of_servers_that_are_killed_or_stopped_go_on_once_on_another(
    tmp_path: Path,
) -> None:
    (name,) = shared().create()
    hosts = ("web1", "web2", "web3")
    async with AsyncExitStack() as stack:
        fleet = stack.enter_context(SimulatedFleet(dict.fromkeys(hosts, ("tb-slow",))))
        key = tmp_path / "key"
        key.touch(mode=0o600)
        key.write_bytes(fleet.private_key)
        servers: list[Process] = []
        callers: list[Caller] = []
        for number in range(4):
            server = await stack.enter_async_context(
                serving_process(
                    tmp_path, "--store", shared().address(name), state=tmp_path / str(number)
                )
            )
            channel = await stack.enter_async_context(channel_to(server))
            servers.append(server)
            callers.append(Caller(channel))
        killed, stopped, leaving, last = callers
        for machine in fleet.hosts:
            machine.write("/etc/tb-slow-seconds", UPDATE_SECONDS)
            config = host_pb2.HostConfig(
                name=machine.name,
                address=machine.address,
                port=machine.port,
                user="root",
                ssh_key=str(key),
            )
            request = host_service_pb2.RegisterHostRequest(
                config=config, expected_host_key=machine.host_key
            )
            await last.hosts.RegisterHost(request)
        ids = [
            await caller.start(host)
            for caller, host in zip((killed, stopped, leaving), hosts, strict=True)
        ]

        async def all_at_work() -> bool:
            return all(fleet[host].is_slow for host in hosts)

        await until(all_at_work)
        servers[0].process.send_signal(SIGKILL)
        servers[1].process.send_signal(SIGSTOP)
        servers[2].process.send_signal(SIGTERM)

        async def all_ended() -> bool:
            found = [await last.get(id) for id in ids]
            return all(operation.HasField("ended_at") for operation in found)

        await until(all_ended)
        ended = [await last.get(id) for id in ids]
        succeeded = operation_pb2.OPERATION_STATUS_SUCCEEDED
        assert [operation.status for operation in ended] == [succeeded] * 3
        revision = await last.revision()
        servers[1].process.send_signal(SIGCONT)
        # It begins a lease under another id, and answers from what others have stored.
        async with asyncio.timeout(LONG):
            assert await stopped.get(ids[1]) == ended[1]
            assert await stopped.revision() == revision
        for host in hosts:
            assert fleet[host].transactions().count("tb-slow 2.0-1") == 1
