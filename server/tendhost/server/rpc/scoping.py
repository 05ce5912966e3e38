"""The scope of the caller in a call: what it has not is not there, and is refused in the very same words."""

from typing import Protocol

from google.protobuf.message import Message

from tendhost.server.domain.access.principal import Principal
from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.request_errors import (
    HostNotFound,
    HostNotInRollout,
    OperationNotFound,
    PlanNotFound,
    RolloutNotFound,
    ScheduleNotFound,
)
from tendhost.server.domain.rollouts.rollout_view import reaches
from tendhost.server.engine.fleet.selections import Selections
from tendhost.server.rpc.convert.selections import host_filter
from tendhost.server.rpc.permissions import REACH, Reach
from tendhost.server.store.protocols.access import ScopeStore
from tendhost.server.store.protocols.policies import ScheduleStore
from tendhost.server.store.protocols.rollouts import PlanStore, RolloutStore
from tendhost.server.store.records import DocumentUnreadable, Unreadable
from tendhost.v1 import host_pb2

HOST_FIELDS = ("name", "host")
"""Of a request about a host, the first that it has: `host` in a service of others than hosts."""
OPERATION_FIELD = "id"
PLAN_FIELD = "plan_operation_id"
"""Of a request that also names an operation whose plan is to be carried out."""
ROLLOUT_FIELD = "id"
MEMBER_FIELD = "host"
"""Of a request about one host of a rollout."""
ROLLOUT_PLAN_FIELD = "plan_id"
SCHEDULE_FIELD = "name"


class ScopingStore(ScopeStore, RolloutStore, PlanStore, ScheduleStore, Protocol):
    """What is in a scope, and the scopes of rollouts and schedules."""


class Scopes:
    """Keeps bound callers to their hosts."""

    def __init__(self, store: ScopingStore) -> None:
        self._store = store

    async def check(self, method: str, request: Message, principal: Principal) -> None:
        """Raise HostNotFound, OperationNotFound and the like where the request names what the caller must not see.

        It comes before anything else is looked at, so that these errors come at the same point, with the same words and
        facts, as for what does not exist. Authenticator.admitted has refused what REACH does not have.
        """
        scope = principal.scope
        if scope is None:
            return
        reach = REACH[method]
        if reach is Reach.HOST:
            known = request.DESCRIPTOR.fields_by_name
            field = next(name for name in HOST_FIELDS if name in known)
            await self._require_host(scope, getattr(request, field))
            plan = getattr(request, PLAN_FIELD, "")
            if plan:
                await self.require_operation(scope, plan)
        elif reach is Reach.OPERATION:
            await self.require_operation(scope, getattr(request, OPERATION_FIELD))
        elif reach is Reach.ROLLOUT:
            await self._require_rollout(scope, getattr(request, ROLLOUT_FIELD))
            await self._require_member(scope, request)
        elif reach is Reach.SCHEDULE:
            await self._require_schedule(scope, getattr(request, SCHEDULE_FIELD))
        elif reach is Reach.PLAN and getattr(request, ROLLOUT_PLAN_FIELD):
            await self._require_plan(scope, getattr(request, ROLLOUT_PLAN_FIELD))

    async def _require_host(self, scope: Scope, name: str) -> None:
        if not await self._store.has_host(scope, name):
            raise HostNotFound(host=name)

    async def require_operation(self, scope: Scope | None, id: str) -> None:
        """Raise OperationNotFound unless the operation is on a host that the scope has now."""
        if scope is not None and not await self._store.has_operation(scope, id):
            raise OperationNotFound(operation=id)

    async def _require_rollout(self, scope: Scope, id: str) -> None:
        try:
            rollout = await self._store.find_rollout(id)
        except DocumentUnreadable:
            rollout = None
        if rollout is None or not reaches(scope, rollout.spec):
            raise RolloutNotFound(rollout=id)

    async def _require_member(self, scope: Scope, request: Message) -> None:
        """Raise HostNotInRollout where the request names a host that the scope does not have."""
        host = getattr(request, MEMBER_FIELD, "")
        if host and not await self._store.has_host(scope, host):
            raise HostNotInRollout(rollout=getattr(request, ROLLOUT_FIELD), host=host)

    async def _require_plan(self, scope: Scope, id: str) -> None:
        try:
            plan, _ = await self._store.plan_page(id, first=0, last=0)
        except DocumentUnreadable:
            raise PlanNotFound(plan=id) from None
        if not reaches(scope, plan.spec):
            raise PlanNotFound(plan=id)

    async def _require_schedule(self, scope: Scope, name: str) -> None:
        try:
            schedule = await self._store.schedule(name)
        except DocumentUnreadable:
            raise ScheduleNotFound(schedule=name) from None
        if not reaches(scope, schedule.spec.rollout):
            raise ScheduleNotFound(schedule=name)

    async def hidden(self, rollout: str, principal: Principal) -> frozenset[str]:
        """The hosts of a rollout that its caller is not to see any more; empty: no rollout."""
        scope = principal.scope
        if scope is None:
            return frozenset()
        return await self._store.members_outside(scope, rollout)

    async def hidden_of_plan(self, id: str, principal: Principal) -> frozenset[str]:
        """The hosts of a plan that its caller is not to see any more."""
        scope = principal.scope
        if scope is None:
            return frozenset()
        names = {host.name for host in (await self._store.plan(id)).whole.all}
        return frozenset(names - await self._store.hosts_within(scope, names))

    async def shown(self, host: Host | Unreadable, scope: Scope | None) -> Host | Unreadable:
        """The host as the caller sees it: of the hosts that resemble it, those that the caller may see."""
        if scope is None or isinstance(host, Unreadable) or not host.status.duplicate_of:
            return host
        alike = host.status.duplicate_of
        return host.resembling(
            tuple([one for one in alike if await self._store.has_host(scope, one.host)])
        )


def alone(host: Host, scope: Scope | None) -> Host:
    """The host in the answer to a mutation of a bound caller, which tells of no host that resembles it."""
    if scope is None or not host.status.duplicate_of:
        return host
    return host.resembling(())


async def selected_by(
    message: host_pb2.HostFilter, selections: Selections, principal: Principal
) -> HostFilter:
    """The filter of a request, with the saved selection that it names, and within the caller's scope.

    Raises SelectionNotFound.
    """
    asked = await selections.resolved(host_filter(message))
    return asked if principal.scope is None else principal.scope.narrow(asked)
