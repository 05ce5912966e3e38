"""HostService: hosts are registered, changed, listed and unregistered."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from tendhost.server.domain.hosts.amendments import LabelChange, WindowChange
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.reconfiguration import Reconfiguration, unknown_paths
from tendhost.server.domain.operations.operation import Operation, OperationKind, OperationOptions
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.engine.engine import Engine
from tendhost.server.engine.fleet.registry import RemovedHost
from tendhost.server.engine.operations.manager import OperationRequest, RetriedHost
from tendhost.server.rpc.convert.host_tests import host_test_message
from tendhost.server.rpc.convert.hosts import host_config, host_message
from tendhost.server.rpc.convert.inventory import inventory_message, inventory_parts
from tendhost.server.rpc.convert.operations import operation_message
from tendhost.server.rpc.convert.reports import explanation_message, overdue_host_message
from tendhost.server.rpc.convert.selections import scope_override
from tendhost.server.rpc.convert.windows import windows
from tendhost.server.rpc.interceptor import call, caller
from tendhost.server.rpc.paging import (
    LARGEST_PAGE,
    fill,
    first_part,
    number,
    page_size,
    position,
    token,
    told,
)
from tendhost.server.rpc.rules import violations_of
from tendhost.server.rpc.scoping import Scopes, alone, selected_by
from tendhost.server.rpc.services.pending_updates import list_pending
from tendhost.server.store.protocols.access import ScopeStore
from tendhost.server.store.protocols.hosts import HostStore, InventoryStore
from tendhost.server.store.protocols.operations import OperationStore
from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1 import host_service_pb2_grpc
from tendhost.v1.host_pb2 import HostConfig

R = TypeVar("R", bound=Message)


OVERDUE_DAYS = 30


class HostServiceStore(HostStore, InventoryStore, OperationStore, ScopeStore, Protocol):
    """Hosts, their inventories, their operations, and whose they are."""


class HostServicer(host_service_pb2_grpc.HostServiceServicer):
    """Manages the registered hosts, and starts operations on single hosts."""

    def __init__(self, engine: Engine, scopes: Scopes) -> None:
        self._engine = engine
        self._scopes = scopes
        self._store: HostServiceStore = engine.store

    async def RegisterHost(
        self, request: pb.RegisterHostRequest, context: Any
    ) -> pb.RegisterHostResponse:
        encode = with_host(pb.RegisterHostResponse)
        config = host_config(request.config)
        registry = self._engine.registry
        registering = registry.register(
            config,
            request.expected_host_key,
            call(encode),
            known_hosts=request.known_hosts,
            allow_duplicate=request.allow_duplicate,
        )
        return encode(await registering)

    async def GetHost(self, request: pb.GetHostRequest, context: Any) -> pb.GetHostResponse:
        host = await self._scopes.shown(await self._store.host(request.name), caller().scope)
        running = await self._store.running_operation(request.name)
        return pb.GetHostResponse(
            host=host_message(host), operation_id=running.id if running else ""
        )

    async def ListHosts(self, request: pb.ListHostsRequest, context: Any) -> pb.ListHostsResponse:
        page = await self._store.hosts(
            await selected_by(request.filter, self._engine.selections, caller()),
            after=position(request, request.page_token),
            limit=page_size(request.page_size),
        )
        rows = [await self._scopes.shown(host, caller().scope) for host in page.rows]
        response = pb.ListHostsResponse()
        response.next_page_token = await fill(
            response.hosts, request, rows, host_message, lambda host: host.name, more=page.more
        )
        return response

    async def ReconfigureHost(
        self, request: pb.ReconfigureHostRequest, context: Any
    ) -> pb.ReconfigureHostResponse:
        encode = with_host(pb.ReconfigureHostResponse)
        # Only what the mask names is meant, so only that is held to the rules; the rest is filled in.
        wanted = reconfiguration(request)
        return encode(await self._engine.registry.reconfigure(wanted, call(encode)))

    async def UnregisterHost(
        self, request: pb.UnregisterHostRequest, context: Any
    ) -> pb.UnregisterHostResponse:
        def encode(removed: RemovedHost) -> pb.UnregisterHostResponse:
            return pb.UnregisterHostResponse(revision=removed.revision)

        registry = self._engine.registry
        return encode(await registry.unregister(request.name, call(encode), etag=request.etag))

    async def ListGroups(
        self, request: pb.ListGroupsRequest, context: Any
    ) -> pb.ListGroupsResponse:
        scope = caller().scope
        found = self._store.groups() if scope is None else self._store.scoped_groups(scope)
        counts, following = _counts(request, await found)
        return pb.ListGroupsResponse(groups=counts, next_page_token=following)

    async def ListTags(self, request: pb.ListTagsRequest, context: Any) -> pb.ListTagsResponse:
        scope = caller().scope
        found = self._store.tags() if scope is None else self._store.scoped_tags(scope)
        counts, following = _counts(request, await found)
        return pb.ListTagsResponse(tags=counts, next_page_token=following)

    async def GetInventory(
        self, request: pb.GetInventoryRequest, context: Any
    ) -> pb.GetInventoryResponse:
        record = await self._store.inventory(request.name)
        return pb.GetInventoryResponse(inventory=inventory_message(record))

    async def ListPendingUpdates(
        self, request: pb.ListPendingUpdatesRequest, context: Any
    ) -> pb.ListPendingUpdatesResponse:
        return await list_pending(self._engine, request, caller())

    async def RunOsquery(
        self, request: pb.RunOsqueryRequest, context: Any
    ) -> pb.RunOsqueryResponse:
        rows = await self._engine.osquery.osquery(request.name, request.sql)
        shown = first_part((pb.OsqueryRow(values=row) for row in rows), most=len(rows))
        return pb.RunOsqueryResponse(rows=shown, omitted_rows=len(rows) - len(shown))

    async def TestHost(self, request: pb.TestHostRequest, context: Any) -> pb.TestHostResponse:
        return host_test_message(await self._engine.host_tester.test(request.name))

    async def GetLoginFiles(
        self, request: pb.GetLoginFilesRequest, context: Any
    ) -> pb.GetLoginFilesResponse:
        files = await self._engine.login_setup.files(request.name)
        return pb.GetLoginFilesResponse(
            user=files.user,
            public_keys=files.public_keys,
            authorized_keys=files.authorized_keys,
            sudoers=files.sudoers,
        )

    async def ExplainHost(
        self, request: pb.ExplainHostRequest, context: Any
    ) -> pb.ExplainHostResponse:
        found = await self._engine.reports.explanation(request.name, caller().scope)
        return explanation_message(found)

    async def GetCompliance(
        self, request: pb.GetComplianceRequest, context: Any
    ) -> pb.GetComplianceResponse:
        days = request.overdue_days if request.HasField("overdue_days") else OVERDUE_DAYS
        first = number(position(request, request.page_token), default=0)
        selection = await selected_by(request.filter, self._engine.selections, caller())
        last = first + page_size(request.page_size)
        found = await self._engine.reports.compliance(
            selection, timedelta(days=days), first=first, last=last
        )
        overdue_hosts = first_part(await told(found.overdue_hosts, overdue_host_message))
        reached = first + len(overdue_hosts)
        more = reached < found.overdue_host_count
        return pb.GetComplianceResponse(
            host_count=found.hosts,
            ages=[pb.ComplianceAge(days=age.days or 0, host_count=age.hosts) for age in found.ages],
            up_to_date_count=found.without_open_fixes,
            behind_count=found.with_open_fixes,
            unknown_count=found.fixes_unknown,
            overdue_hosts=overdue_hosts,
            overdue_host_count=found.overdue_host_count,
            next_page_token=token(request, str(reached)) if more else "",
        )

    async def StartQuery(
        self, request: pb.StartQueryRequest, context: Any
    ) -> pb.StartQueryResponse:
        work = OperationRequest(
            host=request.name,
            kind=OperationKind.QUERY,
            parts=inventory_parts(request.parts),
            queue=request.queue,
            bound_to=caller().scope,
        )
        encode = with_operation(pb.StartQueryResponse)
        return encode(await self._engine.operations.start(work, call(encode)))

    async def StartUpdate(
        self, request: pb.StartUpdateRequest, context: Any
    ) -> pb.StartUpdateResponse:
        work = OperationRequest(
            host=request.name,
            kind=OperationKind.UPDATE,
            dry_run=request.dry_run,
            options=OperationOptions(
                scope=scope_override(request.scope) if request.HasField("scope") else None,
                exact=request.exact,
                download_only=request.download_only,
            ),
            plan=request.plan_operation_id,
            queue=request.queue,
            bound_to=caller().scope,
        )
        encode = with_operation(pb.StartUpdateResponse)
        return encode(await self._engine.operations.start(work, call(encode)))

    async def StartReboot(
        self, request: pb.StartRebootRequest, context: Any
    ) -> pb.StartRebootResponse:
        work = OperationRequest(
            host=request.name,
            kind=OperationKind.REBOOT,
            options=OperationOptions(only_if_required=request.only_if_required),
            queue=request.queue,
            bound_to=caller().scope,
        )
        encode = with_operation(pb.StartRebootResponse)
        return encode(await self._engine.operations.start(work, call(encode)))

    async def StartCheck(
        self, request: pb.StartCheckRequest, context: Any
    ) -> pb.StartCheckResponse:
        work = OperationRequest(
            host=request.name,
            kind=OperationKind.CHECK,
            queue=request.queue,
            bound_to=caller().scope,
        )
        encode = with_operation(pb.StartCheckResponse)
        return encode(await self._engine.operations.start(work, call(encode)))

    async def RetryHost(self, request: pb.RetryHostRequest, context: Any) -> pb.RetryHostResponse:
        scope = caller().scope

        def encode(retried: RetriedHost) -> pb.RetryHostResponse:
            return pb.RetryHostResponse(
                host=host_message(alone(retried.host, scope)),
                operation=operation_message(retried.operation),
            )

        retrying = self._engine.operations.retry(request.name, call(encode), bound_to=scope)
        return encode(await retrying)

    async def AcknowledgeHost(
        self, request: pb.AcknowledgeHostRequest, context: Any
    ) -> pb.AcknowledgeHostResponse:
        tell, scope = with_host(pb.AcknowledgeHostResponse), caller().scope

        def encode(host: Host) -> pb.AcknowledgeHostResponse:
            return tell(alone(host, scope))

        return encode(await self._engine.registry.acknowledge(request.name, call(encode)))


def _counts(
    request: pb.ListGroupsRequest | pb.ListTagsRequest, found: Sequence[tuple[str, int]]
) -> tuple[list[pb.NameCount], str]:
    """A page of names with their counts, by name."""
    after, size = (
        position(request, request.page_token),
        page_size(request.page_size or LARGEST_PAGE),
    )
    following = [pair for pair in found if pair[0] > after]
    shown = [pb.NameCount(name=name, host_count=count) for name, count in following[:size]]
    return shown, token(request, shown[-1].name) if len(following) > size else ""


def with_host(response: Callable[..., R]) -> Callable[[Host], R]:
    """Makes the response that carries a host."""
    return lambda host: response(host=host_message(host), revision=host.revision)


def with_operation(response: Callable[..., R]) -> Callable[[Operation], R]:
    """Makes the response that carries an operation."""
    return lambda operation: response(operation=operation_message(operation))


def reconfiguration(request: pb.ReconfigureHostRequest) -> Reconfiguration:
    """The requested change. Raises InvalidArgument if the mask or a field that it names is invalid."""
    mask = FieldMask(paths=sorted({path.split(".")[0] for path in request.update_mask.paths}))
    probe = pb.RegisterHostRequest()
    known = FieldMask(paths=[p for p in mask.paths if p in HostConfig.DESCRIPTOR.fields_by_name])
    known.MergeMessage(request.config, probe.config)
    # The two that are always required, so that their absence is not what is complained about.
    probe.config.name = request.name
    probe.config.address = probe.config.address if "address" in mask.paths else "unchanged"
    violations = (*violations_of(probe), *unknown_paths(request.update_mask.paths), *_idle(request))
    if violations:
        raise InvalidArgument(*violations)
    return Reconfiguration(
        name=request.name,
        config=host_config(probe.config),
        mask=tuple(request.update_mask.paths),
        tags=LabelChange(added=tuple(request.add_tags), removed=tuple(request.remove_tags)),
        groups=LabelChange(added=tuple(request.add_groups), removed=tuple(request.remove_groups)),
        windows=WindowChange(
            added=windows(request.add_windows), removed=windows(request.remove_windows)
        ),
        accept_new_host_key=request.accept_new_host_key,
        expected_host_key=request.expected_host_key,
        known_hosts=request.known_hosts,
        added_host_keys=request.add_host_keys,
        removed_host_keys=tuple(request.remove_host_keys),
        allow_duplicate=request.allow_duplicate,
        etag=request.etag,
    )


_CHANGES = frozenset(
    {
        *(
            "accept_new_host_key",
            "known_hosts",
            "add_host_keys",
            "remove_host_keys",
            "add_tags",
            "remove_tags",
            "add_groups",
            "remove_groups",
        ),
        *("add_windows", "remove_windows"),
    }
)
"""The fields of ReconfigureHostRequest that ask for something, besides its mask."""


def _idle(request: pb.ReconfigureHostRequest) -> Iterator[FieldViolation]:
    """A violation if the request changes nothing."""
    asked = {field.name for field, _ in request.ListFields()} - {"update_mask"}
    if not request.update_mask.paths and not asked & _CHANGES:
        yield FieldViolation(
            "update_mask", "names no field; expected one, or something to add or remove"
        )
