"""Calls about group and fleet policies, and the effective policy of a host."""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Literal

from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.client.convert import policies as convert_policies
from tendhost.client.models.health import HealthCheck, HealthChecks, Hook, Hooks
from tendhost.client.models.hosts import MaintenanceWindow
from tendhost.client.models.policies import EffectivePolicy, FreezePeriod, GroupPolicy
from tendhost.client.transport import Connected, new_request_id
from tendhost.v1 import policy_service_pb2 as pb
from tendhost.v1.policy_service_pb2_grpc import PolicyServiceStub

NoHook = Literal["none"]


class PolicyCalls(Connected):
    """Policies that hosts inherit from their groups and from the fleet."""

    @property
    def _policies(self) -> PolicyServiceStub:
        return PolicyServiceStub(self._transport.calls)

    async def get_policy(self, group: str = "") -> GroupPolicy:
        """The policy of a group or of the fleet; with revision 0, no policy is set."""
        request = pb.GetPolicyRequest(group=group)
        response = await self._transport.call(self._policies.GetPolicy, request)
        return convert_policies.group_policy(response.policy)

    async def set_policy(self, policy: GroupPolicy) -> GroupPolicy:
        """Say all of this, and nothing else any more, of a group or of the fleet; it holds at once.

        `changed_by`, `changed_at` and `revision` are not read. Where it has an `etag`, because it was read
        before, and something else is said by now, nothing is changed: raises EtagMismatch. See
        `change_policy` for what needs no reading, and `retry_on_conflict`.
        """
        request = pb.SetPolicyRequest(
            policy=convert_policies.group_policy_message(policy), request_id=new_request_id()
        )
        response = await self._transport.call(self._policies.SetPolicy, request)
        return convert_policies.group_policy(response.policy)

    async def change_policy(
        self,
        group: str = "",
        *,
        windows: Sequence[MaintenanceWindow] | None = None,
        freezes: Sequence[FreezePeriod] | None = None,
        pre_hook: Hook | NoHook | None = None,
        post_hook: Hook | NoHook | None = None,
        health_checks: Sequence[HealthCheck] | None = None,
        settle: timedelta | None = None,
        add_windows: Sequence[MaintenanceWindow] = (),
        remove_windows: Sequence[MaintenanceWindow] = (),
        add_freezes: Sequence[FreezePeriod] = (),
        remove_freezes: Sequence[str] = (),
        etag: str = "",
    ) -> GroupPolicy:
        """Change what is given of what is said of a group, or of the fleet; the rest stays as it is.

        `windows`, `freezes` and `health_checks` replace those of before; what is added and removed is so on
        the server, at the moment of the change: of two clients that add a freeze each, both win. A freeze
        takes the place of one of its name and is removed by its name, a window by one that is equal to it.
        "none" takes a hook away. Raises InvalidRequest (also where what is to be removed is not there),
        EtagMismatch.
        """
        hooks = Hooks(
            pre=None if pre_hook == "none" else pre_hook,
            post=None if post_hook == "none" else post_hook,
        )
        given = GroupPolicy(
            group=group,
            windows=tuple(windows or ()),
            freezes=tuple(freezes or ()),
            hooks=hooks,
            health_checks=HealthChecks(checks=tuple(health_checks or ()), settle=settle),
            etag=etag,
        )
        fields = {
            "windows": windows,
            "freezes": freezes,
            "hooks.pre": pre_hook,
            "hooks.post": post_hook,
            "health_checks.checks": health_checks,
            "health_checks.settle": settle,
        }
        request = pb.SetPolicyRequest(
            policy=convert_policies.group_policy_message(given),
            update_mask=FieldMask(paths=[path for path, v in fields.items() if v is not None]),
            add_windows=map(convert_policies.window_message, add_windows),
            remove_windows=map(convert_policies.window_message, remove_windows),
            add_freezes=map(convert_policies.freeze_message, add_freezes),
            remove_freezes=remove_freezes,
            request_id=new_request_id(),
        )
        response = await self._transport.call(self._policies.SetPolicy, request)
        return convert_policies.group_policy(response.policy)

    async def policies(self, *, page_size: int = 50) -> AsyncGenerator[GroupPolicy, None]:
        """The fleet policy, then the policies of groups by name; pages are loaded when needed."""
        request = pb.ListPoliciesRequest(page_size=page_size)
        async for page in self._transport.pages(self._policies.ListPolicies, request):
            for policy in page.policies:
                yield convert_policies.group_policy(policy)

    async def delete_policy(self, group: str = "", *, etag: str = "") -> None:
        """Delete the policy of a group or of the fleet.

        Raises NotFound where no policy is set, EtagMismatch.
        """
        request = pb.DeletePolicyRequest(group=group, etag=etag, request_id=new_request_id())
        await self._transport.call(self._policies.DeletePolicy, request)

    async def effective_policy(self, host: str) -> EffectivePolicy:
        """The policy that applies to a host, with its sources, and when the host may be updated."""
        request = pb.GetEffectivePolicyRequest(host=host)
        response = await self._transport.call(self._policies.GetEffectivePolicy, request)
        return convert_policies.effective_policy(response.policy)
