"""The scope of the caller in a call: what it has not is not there, and is refused in the very same words."""

from google.protobuf.message import Message

from tendhost.server.domain.access.principal import Principal
from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.request_errors import HostNotFound, OperationNotFound
from tendhost.server.engine.fleet.selections import Selections
from tendhost.server.rpc.convert.selections import host_filter
from tendhost.server.rpc.permissions import REACH, Reach
from tendhost.server.store.protocols.access import ScopeStore
from tendhost.server.store.records import Unreadable
from tendhost.v1 import host_pb2

HOST_FIELD = "name"
OPERATION_FIELD = "id"
PLAN_FIELD = "plan_operation_id"
"""Of a request that also names an operation whose plan is to be carried out."""


class Scopes:
    """Keeps bound callers to their hosts."""

    def __init__(self, store: ScopeStore) -> None:
        self._store = store

    async def check(self, method: str, request: Message, principal: Principal) -> None:
        """Raise HostNotFound or OperationNotFound where the request names what the caller must not see.

        It comes before anything else is looked at, so that these errors come at the same point, with the same words and
        facts, as for what does not exist. Authenticator.admitted has refused what REACH does not have.
        """
        scope = principal.scope
        if scope is None:
            return
        reach = REACH[method]
        if reach is Reach.HOST:
            await self._require_host(scope, getattr(request, HOST_FIELD))
            plan = getattr(request, PLAN_FIELD, "")
            if plan:
                await self.require_operation(scope, plan)
        elif reach is Reach.OPERATION:
            await self.require_operation(scope, getattr(request, OPERATION_FIELD))

    async def _require_host(self, scope: Scope, name: str) -> None:
        if not await self._store.has_host(scope, name):
            raise HostNotFound(host=name)

    async def require_operation(self, scope: Scope | None, id: str) -> None:
        """Raise OperationNotFound unless the operation is on a host that the scope has now."""
        if scope is not None and not await self._store.has_operation(scope, id):
            raise OperationNotFound(operation=id)

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
