"""PolicyService."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from tendhost.server.domain.hosts.defaults import Defaults
from tendhost.server.engine.engine import Engine
from tendhost.server.rpc.convert.policies import defaults_change, defaults_message, policy_message
from tendhost.server.rpc.interceptor import call
from tendhost.server.rpc.paging import fill, page_size, position
from tendhost.v1 import policy_service_pb2 as pb
from tendhost.v1 import policy_service_pb2_grpc

R = TypeVar("R", bound=Message)


class PolicyServicer(policy_service_pb2_grpc.PolicyServiceServicer):
    """What hosts inherit from their groups and from the fleet."""

    def __init__(self, engine: Engine) -> None:
        self._policies = engine.policies

    async def GetDefaults(
        self, request: pb.GetDefaultsRequest, context: Any
    ) -> pb.GetDefaultsResponse:
        found = self._policies.defaults(request.group)
        warnings = await self._policies.warnings(request.group)
        return with_defaults(pb.GetDefaultsResponse, warnings)(found)

    async def SetDefaults(
        self, request: pb.SetDefaultsRequest, context: Any
    ) -> pb.SetDefaultsResponse:
        warnings = await self._policies.warnings(request.defaults.group)
        encode = with_defaults(pb.SetDefaultsResponse, warnings)
        return encode(await self._policies.change(defaults_change(request), call(encode)))

    async def ListDefaults(
        self, request: pb.ListDefaultsRequest, context: Any
    ) -> pb.ListDefaultsResponse:
        after, size = position(request, request.page_token), page_size(request.page_size)
        # The fleet's have no name, and a position is never empty.
        found = [d for d in self._policies.all_defaults() if f"={d.group}" > after]
        defaults, following = fill(
            request,
            found[:size],
            defaults_message,
            lambda known: f"={known.group}",
            more=len(found) > size,
        )
        return pb.ListDefaultsResponse(defaults=defaults, next_page_token=following)

    async def DeleteDefaults(
        self, request: pb.DeleteDefaultsRequest, context: Any
    ) -> pb.DeleteDefaultsResponse:
        def encode(deleted: Defaults) -> pb.DeleteDefaultsResponse:
            return pb.DeleteDefaultsResponse(revision=deleted.revision)

        return encode(await self._policies.delete(request.group, call(encode), etag=request.etag))

    async def GetEffectivePolicy(
        self, request: pb.GetEffectivePolicyRequest, context: Any
    ) -> pb.GetEffectivePolicyResponse:
        view = await self._policies.view(request.host)
        return pb.GetEffectivePolicyResponse(policy=policy_message(view))


def with_defaults(
    response: Callable[..., R], warnings: Sequence[str] = ()
) -> Callable[[Defaults], R]:
    """Makes the response that carries defaults."""
    return lambda defaults: response(defaults=defaults_message(defaults, warnings))
