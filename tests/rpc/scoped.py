"""A fleet of which a token has one part, and calls of whoever uses that token."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from grpc_status import rpc_status

from tendhost.v1 import access_service_pb2, host_pb2
from tests.contract.store.samples import change
from tests.rpc.api import Api
from tests.rpc.test_access import bearer, guarded
from tests.unit.engine.fake_host import FakeHost
from tests.unit.engine.world import World

Metadata = Sequence[tuple[str, str]]
OUTSIDE = ("canary1", "canary2")
"""No answer to a bound caller may hold these, nor their labels."""
CANARY = b"canary"


@dataclass(kw_only=True)
class Fleet:
    """web1 and web2 in the group web, which a token is bound to, and two hosts outside."""

    world: World
    owner: Api
    other: Api
    metadata: Metadata
    fakes: dict[str, FakeHost]

    async def call(self, method: str, *, metadata: Metadata | None = None, **fields: Any) -> Any:
        """The answer to a call of the bound caller."""
        request = request_of(method)(**fields)
        answer = message_factory.GetMessageClass(described(method).output_type)
        stub = self.other.channel.unary_unary(
            method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return await stub(request, metadata=metadata or self.metadata, timeout=60)

    async def refused(self, method: str, **fields: Any) -> bytes:
        """The whole status of a call that is refused."""
        stream = self.other.channel.stream_stream(method, None, None)
        request = request_of(method)(**fields).SerializeToString()
        calling = stream(iter([request]), metadata=self.metadata, timeout=60)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await calling.read()
        status: Any = rpc_status.from_call(failed.value)  # type: ignore[arg-type]  # it reads what both have
        return bytes(status.SerializeToString(deterministic=True))

    async def relabel(self, name: str, *groups: str) -> None:
        """Give a host other groups."""
        host = await self.world.store.host(name)
        labelled = replace(host, config=replace(host.config, groups=groups))
        await self.world.store.commit(change(hosts=(labelled,)))


def described(method: str) -> Any:
    service, _, name = method[1:].partition("/")
    return descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]


def request_of(method: str) -> type[Message]:
    return message_factory.GetMessageClass(described(method).input_type)


async def bound(owner: Api, *roles: Any, **scope: Any) -> Metadata:
    """The metadata of a call with a new token that is bound to hosts."""
    request = access_service_pb2.CreateTokenRequest(
        principal="ci", roles=roles, scope=host_pb2.HostFilter(**scope)
    )
    return bearer((await owner.access.CreateToken(request)).text)


@asynccontextmanager
async def scoped_fleet(world: World, folder: Path) -> AsyncIterator[Fleet]:
    """A server with this fleet."""
    async with guarded(world, folder) as (owner, other):
        fakes = {}
        for name in ("web1", "web2"):
            fakes[name] = await owner.register(name, groups=["web"], tags=["prod"])
        for name in OUTSIDE:
            labels = {"groups": ["web-canary"], "tags": ["prod", "canary"]}
            fakes[name] = await owner.register(name, **labels)
        metadata = await bound(owner, access_service_pb2.ROLE_ADMIN, groups=["web"])
        yield Fleet(world=world, owner=owner, other=other, metadata=metadata, fakes=fakes)
