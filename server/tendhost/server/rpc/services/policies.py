"""PolicyService: policies of groups and of the fleet."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.engine.engine import Engine
from tendhost.server.rpc.convert.policies import (
    group_policy_change,
    group_policy_message,
    policy_message,
)
from tendhost.server.rpc.interceptor import call
from tendhost.server.rpc.paging import fill, page_size, position
from tendhost.v1 import policy_service_pb2 as pb
from tendhost.v1 import policy_service_pb2_grpc

R = TypeVar("R", bound=Message)


class PolicyServicer(policy_service_pb2_grpc.PolicyServiceServicer):
    """Manages the policies of groups and of the fleet."""

    def __init__(self, engine: Engine) -> None:
        self._policies = engine.policies

    async def GetPolicy(self, request: pb.GetPolicyRequest, context: Any) -> pb.GetPolicyResponse:
        found = self._policies.group_policy(request.group)
        warnings = await self._policies.warnings(request.group)
        return with_group_policy(pb.GetPolicyResponse, warnings)(found)

    async def SetPolicy(self, request: pb.SetPolicyRequest, context: Any) -> pb.SetPolicyResponse:
        warnings = await self._policies.warnings(request.policy.group)
        encode = with_group_policy(pb.SetPolicyResponse, warnings)
        return encode(await self._policies.change(group_policy_change(request), call(encode)))

    async def ListPolicies(
        self, request: pb.ListPoliciesRequest, context: Any
    ) -> pb.ListPoliciesResponse:
        after, size = position(request, request.page_token), page_size(request.page_size)
        # The fleet's have no name, and a position is never empty.
        found = [d for d in self._policies.all_group_policies() if f"={d.group}" > after]
        response = pb.ListPoliciesResponse()
        response.next_page_token = await fill(
            response.policies,
            request,
            found[:size],
            group_policy_message,
            lambda known: f"={known.group}",
            more=len(found) > size,
        )
        return response

    async def DeletePolicy(
        self, request: pb.DeletePolicyRequest, context: Any
    ) -> pb.DeletePolicyResponse:
        def encode(deleted: GroupPolicy) -> pb.DeletePolicyResponse:
            return pb.DeletePolicyResponse(revision=deleted.revision)

        return encode(await self._policies.delete(request.group, call(encode), etag=request.etag))

    async def GetEffectivePolicy(
        self, request: pb.GetEffectivePolicyRequest, context: Any
    ) -> pb.GetEffectivePolicyResponse:
        view = await self._policies.view(request.host)
        return pb.GetEffectivePolicyResponse(policy=policy_message(view))


def with_group_policy(
    response: Callable[..., R], warnings: Sequence[str] = ()
) -> Callable[[GroupPolicy], R]:
    """Makes the response that carries a group policy."""
    return lambda policy: response(policy=group_policy_message(policy, warnings))
