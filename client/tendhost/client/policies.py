"""Policies: what groups and the fleet say for their hosts, and what of it holds for one."""

from collections.abc import AsyncGenerator

from tendhost.client import convert_policy
from tendhost.client.policy_values import Defaults, EffectivePolicy
from tendhost.client.transport import Connected, new_request_id
from tendhost.v1 import policy_service_pb2 as pb
from tendhost.v1.policy_service_pb2_grpc import PolicyServiceStub


class PolicyCalls(Connected):
    """What hosts inherit from their groups and from the fleet."""

    @property
    def _policies(self) -> PolicyServiceStub:
        return PolicyServiceStub(self._transport.calls)

    async def get_defaults(self, group: str = "") -> Defaults:
        """What is said of a group, or of the fleet; with revision 0 it is nothing."""
        request = pb.GetDefaultsRequest(group=group)
        response = await self._transport.call(self._policies.GetDefaults, request)
        return convert_policy.defaults(response.defaults)

    async def set_defaults(self, defaults: Defaults) -> Defaults:
        """Say all of this, and nothing else any more, of a group or of the fleet; it holds at once.

        `changed_by`, `changed_at` and `revision` are not read.
        """
        request = pb.SetDefaultsRequest(
            defaults=convert_policy.defaults_message(defaults), request_id=new_request_id()
        )
        response = await self._transport.call(self._policies.SetDefaults, request)
        return convert_policy.defaults(response.defaults)

    async def all_defaults(self, *, page_size: int = 50) -> AsyncGenerator[Defaults, None]:
        """What is said of the fleet, and then of groups by name; a page is fetched when it is needed."""
        request = pb.ListDefaultsRequest(page_size=page_size)
        async for page in self._transport.pages(self._policies.ListDefaults, request):
            for defaults in page.defaults:
                yield convert_policy.defaults(defaults)

    async def delete_defaults(self, group: str = "") -> None:
        """Say nothing any more of a group, or of the fleet. Raises NotFound where nothing is said."""
        request = pb.DeleteDefaultsRequest(group=group, request_id=new_request_id())
        await self._transport.call(self._policies.DeleteDefaults, request)

    async def effective_policy(self, host: str) -> EffectivePolicy:
        """What holds for a host, where it comes from, and when the host may be updated."""
        request = pb.GetEffectivePolicyRequest(host=host)
        response = await self._transport.call(self._policies.GetEffectivePolicy, request)
        return convert_policy.effective_policy(response.policy)
