"""A real `tendhostd` process for tests, with stubs to talk to it."""

import asyncio
import base64
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.v1 import (
    event_service_pb2,
    event_service_pb2_grpc,
    host_pb2,
    host_service_pb2,
    host_service_pb2_grpc,
    operation_pb2,
    operation_service_pb2,
    operation_service_pb2_grpc,
    rollout_pb2,
    rollout_service_pb2,
    rollout_service_pb2_grpc,
)
from tests.fleet import Host

ENDED = {
    operation_pb2.OPERATION_STATUS_SUCCEEDED,
    operation_pb2.OPERATION_STATUS_FAILED,
    operation_pb2.OPERATION_STATUS_CANCELLED,
}


async def until_jobs_are_removed(host: Host) -> None:
    """Wait until a host holds no folder of a job: a server that runs removes the last after the operation's end."""
    gone = "while [ -e /var/lib/tendhost/ops ]; do sleep 0.1; done"
    await asyncio.to_thread(host.output, gone)


@dataclass
class Daemon:
    """A running server: its process, its address, and a stub for each service."""

    process: asyncio.subprocess.Process
    address: str
    log: Path
    hosts: host_service_pb2_grpc.HostServiceStub
    operations: operation_service_pb2_grpc.OperationServiceStub
    rollouts: rollout_service_pb2_grpc.RolloutServiceStub
    events: event_service_pb2_grpc.EventServiceStub

    async def register(
        self,
        name: str,
        address: str,
        *,
        port: int = 22,
        allow_duplicate: bool = False,
        **config: Any,
    ) -> host_pb2.Host:
        """Register a host."""
        request = host_service_pb2.RegisterHostRequest(
            config=host_pb2.HostConfig(name=name, address=address, port=port, **config),
            allow_duplicate=allow_duplicate,
        )
        return (await self.hosts.RegisterHost(request)).host

    async def host(self, name: str) -> host_pb2.Host:
        """The host as it is stored."""
        return (await self.hosts.GetHost(host_service_pb2.GetHostRequest(name=name))).host

    async def inventory(self, name: str) -> host_pb2.Inventory:
        """The stored inventory."""
        request = host_service_pb2.GetInventoryRequest(name=name)
        return (await self.hosts.GetInventory(request)).inventory

    async def query(self, name: str) -> operation_pb2.Operation:
        """Query a host to the end."""
        request = host_service_pb2.StartQueryRequest(name=name)
        return await self.ended((await self.hosts.StartQuery(request)).operation.id)

    async def reconfigure(self, name: str, **config: Any) -> host_pb2.Host:
        """Change these fields of a host's configuration."""
        request = host_service_pb2.ReconfigureHostRequest(
            name=name,
            config=host_pb2.HostConfig(**config),
            update_mask=FieldMask(paths=sorted(config)),
        )
        return (await self.hosts.ReconfigureHost(request)).host

    async def update(self, name: str, **how: Any) -> operation_pb2.Operation:
        """Update a host to the end."""
        return await self.ended((await self.start_update(name, **how)).id)

    async def start_update(self, name: str, **how: Any) -> operation_pb2.Operation:
        """Begin an update, as a StartUpdateRequest with these fields asks for."""
        request = host_service_pb2.StartUpdateRequest(name=name, **how)
        return (await self.hosts.StartUpdate(request)).operation

    async def reboot(self, name: str) -> operation_pb2.Operation:
        """Reboot a host to the end."""
        request = host_service_pb2.StartRebootRequest(name=name)
        return await self.ended((await self.hosts.StartReboot(request)).operation.id)

    async def check(self, name: str) -> operation_pb2.Operation:
        """Check a host to the end."""
        request = host_service_pb2.StartCheckRequest(name=name)
        return await self.ended((await self.hosts.StartCheck(request)).operation.id)

    async def retry(self, name: str) -> operation_pb2.Operation:
        """Retry a host to the end."""
        request = host_service_pb2.RetryHostRequest(name=name)
        return await self.ended((await self.hosts.RetryHost(request)).operation.id)

    async def ended(self, id: str) -> operation_pb2.Operation:
        """The operation once it has ended."""
        request = operation_service_pb2.WaitOperationRequest(id=id)
        while True:
            operation = (await self.operations.WaitOperation(request)).operation
            if operation.status in ENDED:
                return operation

    async def log_of(self, id: str) -> bytes:
        """The whole log of an operation that has ended."""
        request = operation_service_pb2.WatchOperationRequest(id=id)
        parts = [m.log.data async for m in self.operations.WatchOperation(request)]
        return b"".join(parts)

    async def rollout(self, **spec: Any) -> rollout_pb2.Rollout:
        """Begin a rollout."""
        request = rollout_service_pb2.StartRolloutRequest(spec=rollout_pb2.RolloutSpec(**spec))
        return (await self.rollouts.StartRollout(request)).rollout

    async def rollout_ended(
        self, id: str
    ) -> tuple[rollout_pb2.Rollout, Mapping[str, rollout_pb2.RolloutHost]]:
        """The rollout once it has ended, with its hosts."""
        members: dict[str, rollout_pb2.RolloutHost] = {}
        rollout = rollout_pb2.Rollout()
        request = rollout_service_pb2.WatchRolloutRequest(id=id)
        async for message in self.rollouts.WatchRollout(request):
            rollout = message.rollout
            members.update((host.host, host) for host in message.hosts)
        return rollout, members

    async def all_events(self) -> list[Any]:
        """Every event so far."""
        events: list[Any] = []
        request = event_service_pb2.WatchEventsRequest(resume_after=0)
        current = None
        stream = self.events.WatchEvents(request)
        async for message in stream:
            if current is None:
                current = message.current_revision
            events.extend(message.events)
            if message.revision >= current:
                break
        stream.cancel()
        return events


def encoded(key: Path) -> str:
    """A private key as TENDHOST_SSH_KEY has it."""
    return base64.b64encode(key.read_bytes()).decode()


@asynccontextmanager
async def daemon(
    state: Path, *, key: Path | None = None, options: Sequence[str] = ()
) -> AsyncIterator[Daemon]:
    """A server with its database in `state`, and `key` for hosts that name none."""
    environment = dict(os.environ)
    if key is not None:
        environment["TENDHOST_SSH_KEY"] = encoded(key)
    state.parent.mkdir(parents=True, exist_ok=True)
    log = state.with_suffix(".log")
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tendhost.server.main"),
            *("--listen", "127.0.0.1:0", "--auth", "none"),
            *("--state-dir", str(state), *options),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    try:
        assert process.stdout is not None
        ready = (await process.stdout.readline()).decode()
        assert ready, f"tendhostd did not start: {log.read_text()}"
        address = ready.split()[-1]
        async with grpc.aio.insecure_channel(address) as channel:
            yield Daemon(
                process=process,
                address=address,
                log=log,
                hosts=host_service_pb2_grpc.HostServiceStub(channel),
                operations=operation_service_pb2_grpc.OperationServiceStub(channel),
                rollouts=rollout_service_pb2_grpc.RolloutServiceStub(channel),
                events=event_service_pb2_grpc.EventServiceStub(channel),
            )
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await process.wait()
