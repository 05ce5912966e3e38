"""The client: everything that can be asked of a server."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.client import convert
from tendhost.client.errors import error_of
from tendhost.client.events import EventStream
from tendhost.client.operations import OperationHandle, new_request_id
from tendhost.client.transport import Patience, Transport, stream
from tendhost.client.values import (
    Host,
    HostFilter,
    Inventory,
    MaintenanceWindow,
    Operation,
    OperationStatus,
    Rollout,
    RolloutHost,
    RolloutUpdate,
    ServerInfo,
)
from tendhost.v1 import (
    host_pb2,
    host_service_pb2,
    operation_service_pb2,
    rollout_pb2,
    rollout_service_pb2,
    system_service_pb2,
)
from tendhost.v1.host_service_pb2_grpc import HostServiceStub
from tendhost.v1.operation_service_pb2_grpc import OperationServiceStub
from tendhost.v1.rollout_service_pb2_grpc import RolloutServiceStub
from tendhost.v1.system_service_pb2_grpc import SystemServiceStub

DEFAULT_TARGET = "127.0.0.1:50051"
REGISTER_SECONDS = 90.0
"""A host that does not answer takes the server's timeouts to be found out."""
PAGE = 500
WATCH_PATIENCE_SECONDS = 120.0


class Client:
    """A connection to a tendhost server; use it as an async context manager.

    Every call raises TendhostError or one of its kinds. Every mutation carries a fresh request id, so
    it happens once even where the answer was lost and the call is repeated.
    """

    def __init__(self, target: str = DEFAULT_TARGET) -> None:
        self.target = target
        self._opened: Transport | None = None

    async def __aenter__(self) -> Self:
        self._opened = Transport(self.target)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.__aexit__(kind, error, trace)

    @property
    def _transport(self) -> Transport:
        if self._opened is None:
            raise RuntimeError("the client is not open: use `async with Client(…) as tendhost:`")
        return self._opened

    # --- the registry of hosts --------------------------------------------------------------------

    async def add_host(
        self,
        name: str,
        addr: str,
        *,
        port: int = 22,
        user: str = "root",
        ssh_key: str = "",
        compose_paths: Sequence[str] = (),
        tags: Sequence[str] = (),
        groups: Sequence[str] = (),
        auto_reboot: bool = True,
        maintenance_window: MaintenanceWindow | None = None,
        expected_host_key: str = "",
    ) -> Host:
        """Register a host and pin the key that it shows, or that `expected_host_key` names."""
        config = host_pb2.HostConfig(
            name=name,
            addr=addr,
            port=port,
            user=user,
            ssh_key=ssh_key,
            compose_paths=compose_paths,
            tags=tags,
            groups=groups,
            policy=host_pb2.Policy(
                auto_reboot=auto_reboot,
                maintenance_window=convert.window_message(maintenance_window)
                if maintenance_window
                else None,
            ),
        )
        request = host_service_pb2.RegisterHostRequest(
            config=config, expected_host_key=expected_host_key, request_id=new_request_id()
        )
        response = await self._transport.call(
            self._hosts.RegisterHost, request, seconds=REGISTER_SECONDS
        )
        return convert.host(response.host)

    async def get_host(self, name: str) -> Host:
        """One host."""
        request = host_service_pb2.GetHostRequest(name=name)
        return convert.host((await self._transport.call(self._hosts.GetHost, request)).host)

    async def hosts(self, selection: HostFilter | None = None) -> AsyncIterator[Host]:
        """Every selected host, by name; pages are fetched as they are needed."""
        message = convert.filter_message(selection or HostFilter())
        request = host_service_pb2.ListHostsRequest(filter=message, page_size=PAGE)
        while True:
            page = await self._transport.call(self._hosts.ListHosts, request)
            for host in page.hosts:
                yield convert.host(host)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def set_host(
        self, name: str, *, repin_host_key: bool = False, expected_host_key: str = "", **fields: Any
    ) -> Host:
        """Change a host's configuration.

        `fields` are those of `add_host`; what is not named stays. `maintenance_window=None` takes the
        window away. With `repin_host_key` the key that the host shows now is pinned.
        """
        config, mask = _changed(name, fields)
        request = host_service_pb2.ReconfigureHostRequest(
            name=name,
            config=config,
            update_mask=FieldMask(paths=mask),
            repin_host_key=repin_host_key,
            expected_host_key=expected_host_key,
            request_id=new_request_id(),
        )
        response = await self._transport.call(
            self._hosts.ReconfigureHost, request, seconds=REGISTER_SECONDS
        )
        return convert.host(response.host)

    async def remove_host(self, name: str) -> None:
        """Forget a host; what was done on it stays on record."""
        request = host_service_pb2.UnregisterHostRequest(name=name, request_id=new_request_id())
        await self._transport.call(self._hosts.UnregisterHost, request)

    async def groups(self) -> Mapping[str, int]:
        """Every group with the number of its hosts."""
        response = await self._transport.call(
            self._hosts.ListGroups, host_service_pb2.ListGroupsRequest()
        )
        return {group.name: group.hosts for group in response.groups}

    async def tags(self) -> Mapping[str, int]:
        """Every tag with the number of its hosts."""
        response = await self._transport.call(
            self._hosts.ListTags, host_service_pb2.ListTagsRequest()
        )
        return {tag.name: tag.hosts for tag in response.tags}

    async def inventory(self, name: str) -> Inventory:
        """What the last query learnt of a host; the host is not asked."""
        request = host_service_pb2.GetInventoryRequest(name=name)
        response = await self._transport.call(self._hosts.GetInventory, request)
        return convert.inventory(response.inventory)

    # --- work on one host -------------------------------------------------------------------------

    async def query(self, name: str, *, queue: bool = False) -> OperationHandle:
        """Begin to look at a host. With `queue`, wait for what it is busy with."""
        request = host_service_pb2.QueryInventoryRequest(
            name=name, queue=queue, request_id=new_request_id()
        )
        return self._handle(await self._transport.call(self._hosts.QueryInventory, request))

    async def update(
        self, name: str, *, dry_run: bool = False, queue: bool = False
    ) -> OperationHandle:
        """Begin to update a host, or with `dry_run` to find out what that would do."""
        request = host_service_pb2.StartUpdateRequest(
            name=name, dry_run=dry_run, queue=queue, request_id=new_request_id()
        )
        return self._handle(await self._transport.call(self._hosts.StartUpdate, request))

    async def reboot(self, name: str, *, queue: bool = False) -> OperationHandle:
        """Begin to reboot a host."""
        request = host_service_pb2.RebootHostRequest(
            name=name, queue=queue, request_id=new_request_id()
        )
        return self._handle(await self._transport.call(self._hosts.RebootHost, request))

    async def check(self, name: str, *, queue: bool = False) -> OperationHandle:
        """Begin to check a host's health."""
        request = host_service_pb2.CheckHealthRequest(
            name=name, queue=queue, request_id=new_request_id()
        )
        return self._handle(await self._transport.call(self._hosts.CheckHealth, request))

    async def retry(self, name: str) -> OperationHandle:
        """Take a host out of FAILED and begin once more what failed."""
        request = host_service_pb2.RetryHostRequest(name=name, request_id=new_request_id())
        return self._handle(await self._transport.call(self._hosts.RetryHost, request))

    async def acknowledge(self, name: str) -> Host:
        """Record that somebody has seen a host's failure."""
        request = host_service_pb2.AcknowledgeHostRequest(name=name, request_id=new_request_id())
        response = await self._transport.call(self._hosts.AcknowledgeHost, request)
        return convert.host(response.host)

    # --- operations -------------------------------------------------------------------------------

    async def operation(self, id: str) -> OperationHandle:
        """One operation."""
        request = operation_service_pb2.GetOperationRequest(id=id)
        return self._handle(await self._transport.call(self._operations.GetOperation, request))

    async def operations(
        self,
        *,
        host: str = "",
        rollout_id: str = "",
        statuses: Sequence[OperationStatus] = (),
    ) -> AsyncIterator[Operation]:
        """Operations, newest first; pages are fetched as they are needed."""
        request = operation_service_pb2.ListOperationsRequest(
            host=host,
            rollout_id=rollout_id,
            statuses=[convert.OPERATION_STATUS_NUMBERS[status] for status in statuses],
        )
        while True:
            page = await self._transport.call(self._operations.ListOperations, request)
            for operation in page.operations:
                yield convert.operation(operation)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    # --- rollouts ---------------------------------------------------------------------------------

    async def start_rollout(
        self,
        *,
        tags: Sequence[str] = (),
        groups: Sequence[str] = (),
        exclude_hosts: Sequence[str] = (),
        batch_size: int = 2,
        delay: timedelta = timedelta(seconds=30),
        dry_run: bool = False,
    ) -> Rollout:
        """Begin to update every host that has all `tags` and is in one of `groups`, in batches."""
        pause = Duration()
        pause.FromTimedelta(delay)
        spec = rollout_pb2.RolloutSpec(
            batch_size=batch_size,
            delay_between_batches=pause,
            filter=rollout_pb2.RolloutFilter(tags=tags, groups=groups, exclude_hosts=exclude_hosts),
            dry_run=dry_run,
        )
        request = rollout_service_pb2.StartRolloutRequest(spec=spec, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.StartRollout, request)
        return convert.rollout(response.rollout)

    async def get_rollout(self, id: str) -> Rollout:
        """One rollout."""
        request = rollout_service_pb2.GetRolloutRequest(id=id, page_size=1)
        response = await self._transport.call(self._rollouts.GetRollout, request)
        return convert.rollout(response.rollout)

    async def rollout_hosts(self, id: str) -> AsyncIterator[RolloutHost]:
        """The hosts of a rollout, by batch and name."""
        request = rollout_service_pb2.GetRolloutRequest(id=id, page_size=PAGE)
        while True:
            page = await self._transport.call(self._rollouts.GetRollout, request)
            for host in page.hosts:
                yield convert.rollout_host(host)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def rollouts(self) -> AsyncIterator[Rollout]:
        """Rollouts, newest first."""
        request = rollout_service_pb2.ListRolloutsRequest()
        while True:
            page = await self._transport.call(self._rollouts.ListRollouts, request)
            for rollout in page.rollouts:
                yield convert.rollout(rollout)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def pause_rollout(self, id: str) -> Rollout:
        """Start nothing new; what runs goes on."""
        request = rollout_service_pb2.PauseRolloutRequest(id=id, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.PauseRollout, request)
        return convert.rollout(response.rollout)

    async def resume_rollout(self, id: str) -> Rollout:
        """Go on with a paused rollout."""
        request = rollout_service_pb2.ResumeRolloutRequest(id=id, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.ResumeRollout, request)
        return convert.rollout(response.rollout)

    async def cancel_rollout(self, id: str) -> Rollout:
        """Start nothing new any more; what runs goes on to its end."""
        request = rollout_service_pb2.CancelRolloutRequest(id=id, request_id=new_request_id())
        response = await self._transport.call(self._rollouts.CancelRollout, request)
        return convert.rollout(response.rollout)

    async def watch_rollout(self, id: str) -> AsyncIterator[RolloutUpdate]:
        """The rollout whenever it has changed, until it has ended. Reconnects by itself."""
        stub = RolloutServiceStub(self._transport.watches)
        patience = Patience(WATCH_PATIENCE_SECONDS)
        while True:
            request = rollout_service_pb2.WatchRolloutRequest(id=id)
            call = stream(stub.WatchRollout, request, self._transport)
            try:
                async for message in call:
                    patience.restored()
                    rollout = convert.rollout(message.rollout)
                    hosts = tuple(convert.rollout_host(host) for host in message.hosts)
                    yield RolloutUpdate(rollout=rollout, hosts=hosts)
                    if rollout.ended_at is not None:
                        return
            except grpc.aio.AioRpcError as failed:
                await patience.after(error_of(failed, target=self.target))
            finally:
                call.cancel()

    # --- the fleet --------------------------------------------------------------------------------

    def events(
        self,
        *,
        resume_after: int | None = None,
        log_id: str = "",
        snapshot: bool = False,
        selection: HostFilter | None = None,
        until: int | None = None,
    ) -> EventStream:
        """The fleet's events: after `resume_after` (0: from the oldest), else from now on.

        With `snapshot`, first the hosts as they are; with `until`, to that revision and no further.
        Reconnects by itself without a gap or a
        repetition; where the server has no such events any more, a Snapshot takes their place.
        """
        return EventStream(
            self._transport,
            resume_after=resume_after,
            log_id=log_id,
            snapshot=snapshot,
            selection=selection,
            until=until,
        )

    async def info(self) -> ServerInfo:
        """What server this is."""
        stub = SystemServiceStub(self._transport.calls)
        request = system_service_pb2.GetServerInfoRequest()
        return convert.server_info(await self._transport.call(stub.GetServerInfo, request))

    # --- inside -----------------------------------------------------------------------------------

    @property
    def _hosts(self) -> Any:
        return HostServiceStub(self._transport.calls)

    @property
    def _operations(self) -> Any:
        return OperationServiceStub(self._transport.calls)

    @property
    def _rollouts(self) -> Any:
        return RolloutServiceStub(self._transport.calls)

    def _handle(self, response: Any) -> OperationHandle:
        return OperationHandle(self._transport, convert.operation(response.operation))


def _changed(name: str, fields: Mapping[str, Any]) -> tuple[host_pb2.HostConfig, list[str]]:
    config = host_pb2.HostConfig(name=name)
    mask: list[str] = []
    for field, value in fields.items():
        if field == "auto_reboot":
            config.policy.auto_reboot = value
            mask.append("policy.auto_reboot")
        elif field == "maintenance_window":
            if value is not None:
                config.policy.maintenance_window.CopyFrom(convert.window_message(value))
            mask.append("policy.maintenance_window")
        else:
            config.MergeFrom(host_pb2.HostConfig(**{field: value}))
            mask.append(field)
    return config, mask
