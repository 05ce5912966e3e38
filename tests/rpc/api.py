"""A server on loopback over a world of fake hosts, with a stub for each of its services."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tendhost.server.engine.engine import EngineSettings
from tendhost.v1 import (
    access_service_pb2_grpc,
    event_service_pb2_grpc,
    host_pb2,
    host_service_pb2,
    host_service_pb2_grpc,
    operation_pb2,
    operation_service_pb2,
    operation_service_pb2_grpc,
    policy_service_pb2_grpc,
    rollout_service_pb2_grpc,
    schedule_service_pb2_grpc,
    selection_service_pb2_grpc,
    system_service_pb2_grpc,
)
from tests.rpc.open_server import serving
from tests.unit.engine.fake_host import FakeHost
from tests.unit.engine.world import World

M = TypeVar("M", bound=Message)


@dataclass(kw_only=True)
class Api:
    """A client of the server."""

    world: World
    address: str
    channel: grpc.aio.Channel
    hosts: Any
    operations: Any
    rollouts: Any
    schedules: Any
    selections: Any
    policies: Any
    events: Any
    system: Any
    access: Any

    async def register(self, name: str, **config: Any) -> FakeHost:
        """A new host with a fake one behind it."""
        fake = self.world.fleet.add(f"{name}.example.org")
        message = host_pb2.HostConfig(name=name, address=fake.address, **config)
        await self.hosts.RegisterHost(host_service_pb2.RegisterHostRequest(config=message))
        return fake

    async def host(self, name: str = "web1") -> host_pb2.Host:
        """The host as the server tells it."""
        response = await self.hosts.GetHost(host_service_pb2.GetHostRequest(name=name))
        assert isinstance(response.host, host_pb2.Host)
        return response.host

    async def started(self, method: str, name: str = "web1", **how: Any) -> str:
        """The id of an operation that was begun by this method of HostService."""
        stub = getattr(self.hosts, method)
        request = getattr(host_service_pb2, f"{method}Request")(name=name, **how)
        return str((await stub(request)).operation.id)

    async def ended(self, id: str) -> operation_pb2.Operation:
        """The operation once it has ended."""
        await self.world.ended(id)
        request = operation_service_pb2.GetOperationRequest(id=id)
        operation = (await self.operations.GetOperation(request)).operation
        assert isinstance(operation, operation_pb2.Operation)
        return operation

    async def run(self, method: str, name: str = "web1", **how: Any) -> operation_pb2.Operation:
        """An operation from its start to its end."""
        return await self.ended(await self.started(method, name, **how))


@asynccontextmanager
async def client(world: World, address: str, *options: tuple[str, Any]) -> AsyncIterator[Api]:
    """A client with a connection of its own."""
    # Without a pool of its own a channel shares its connection with the others of the process.
    own = (*options, ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.insecure_channel(address, options=own) as channel:
        yield Api(
            world=world,
            address=address,
            channel=channel,
            hosts=host_service_pb2_grpc.HostServiceStub(channel),
            operations=operation_service_pb2_grpc.OperationServiceStub(channel),
            rollouts=rollout_service_pb2_grpc.RolloutServiceStub(channel),
            schedules=schedule_service_pb2_grpc.ScheduleServiceStub(channel),
            selections=selection_service_pb2_grpc.SelectionServiceStub(channel),
            policies=policy_service_pb2_grpc.PolicyServiceStub(channel),
            events=event_service_pb2_grpc.EventServiceStub(channel),
            system=system_service_pb2_grpc.SystemServiceStub(channel),
            access=access_service_pb2_grpc.AccessServiceStub(channel),
        )


@asynccontextmanager
async def served(world: World, settings: EngineSettings | None = None) -> AsyncIterator[Api]:
    """An engine, a server and a client, for as long as the context lasts."""
    async with (
        world.running(settings) as engine,
        serving(engine, "127.0.0.1:0") as address,
        client(world, address) as api,
    ):
        yield api


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A status that is not OK, taken apart."""

    code: grpc.StatusCode
    text: str
    details: tuple[Message, ...]

    def detail(self, kind: type[M]) -> M:
        """The one detail of this kind."""
        (found,) = [d for d in self.details if isinstance(d, kind)]
        return found

    @property
    def kinds(self) -> list[str]:
        """The names of the details, in their order."""
        return [type(detail).__name__ for detail in self.details]

    @property
    def reason(self) -> str:
        """The ErrorInfo's reason."""
        return self.detail(error_details_pb2.ErrorInfo).reason

    @property
    def facts(self) -> dict[str, str]:
        """The ErrorInfo's metadata."""
        return dict(self.detail(error_details_pb2.ErrorInfo).metadata)

    @property
    def fields(self) -> list[str]:
        """The invalid fields of a BadRequest."""
        return [field for field, _ in self.violations]

    @property
    def violations(self) -> list[tuple[str, str]]:
        """The invalid fields of a BadRequest, and what is wrong with each."""
        found = self.detail(error_details_pb2.BadRequest).field_violations
        return [(each.field, each.description) for each in found]


async def refusal(call: Awaitable[Any]) -> Refusal:
    """What a call that fails is told."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """What an error of a call says."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # its stub knows no asyncio
    details = []
    for packed in status.details if status is not None else ():
        kind = getattr(error_details_pb2, packed.type_url.rpartition(".")[2])
        details.append(kind.FromString(packed.value))
    return Refusal(code=error.code(), text=error.details() or "", details=tuple(details))
