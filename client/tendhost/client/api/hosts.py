"""Calls about hosts: registration, settings, inventory, and operations on one host."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.client.api.operations import OperationHandle
from tendhost.client.convert import hosts as convert_hosts
from tendhost.client.convert import inventory as convert_inventory
from tendhost.client.convert import operations as convert_operations
from tendhost.client.convert import policies as convert_policies
from tendhost.client.convert import reports as convert_reports
from tendhost.client.convert import selections as convert_selections
from tendhost.client.convert.host_settings import config_message
from tendhost.client.models.hosts import (
    Host,
    HostSettings,
    HostTest,
    LoginFiles,
    MaintenanceWindow,
    ScopeOverride,
)
from tendhost.client.models.inventory import (
    Inventory,
    InventoryPart,
    PendingEntry,
    PendingGrouping,
    PendingUpdates,
)
from tendhost.client.models.reports import Compliance, Explanation, OverdueHost
from tendhost.client.models.selections import HostFilter
from tendhost.client.transport import Connected, new_request_id
from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1.host_service_pb2_grpc import HostServiceStub

REGISTER_SECONDS = 90.0
"""A host that does not answer takes the server's timeouts, up to a minute, to be found out."""
PAGE = 500
_NEW_HOST = HostSettings(port=22, user="root")


class HostCalls(Connected):
    """Registered hosts, and operations on single hosts."""

    @property
    def _hosts(self) -> HostServiceStub:
        return HostServiceStub(self._transport.calls)

    async def add_host(
        self,
        name: str,
        address: str,
        *,
        expected_host_key: str = "",
        known_hosts: str = "",
        allow_duplicate: bool = False,
        **settings: Unpack[HostSettings],
    ) -> Host:
        """Register a host and pin its host keys.

        `expected_host_key` has the keys to pin, one a line, in any form that `RegisterHostRequest.expected_host_key`
        names; empty: the best key that the host shows now. `known_hosts` are the contents of a known_hosts file
        instead, whose lines count if they name the host. Nobody logs in; `test_host` does.

        Raises AlreadyExists also where another host has the same host key or address (HOST_DUPLICATE),
        unless `allow_duplicate`.
        """
        config, _ = config_message(name, {"address": address, **_NEW_HOST, **settings})
        request = pb.RegisterHostRequest(
            config=config,
            expected_host_key=expected_host_key,
            known_hosts=known_hosts,
            allow_duplicate=allow_duplicate,
            request_id=new_request_id(),
        )
        response = await self._transport.call(
            self._hosts.RegisterHost, request, seconds=REGISTER_SECONDS
        )
        return convert_hosts.host(response.host)

    async def get_host(self, name: str) -> Host:
        """One host."""
        response = await self._transport.call(self._hosts.GetHost, pb.GetHostRequest(name=name))
        return convert_hosts.host(response.host)

    async def hosts(
        self, selection: HostFilter | None = None, *, page_size: int = PAGE
    ) -> AsyncGenerator[Host, None]:
        """All matching hosts, sorted by name; pages are loaded when needed."""
        message = convert_selections.filter_message(selection or HostFilter())
        request = pb.ListHostsRequest(filter=message, page_size=page_size)
        async for page in self._transport.pages(self._hosts.ListHosts, request):
            for host in page.hosts:
                yield convert_hosts.host(host)

    async def reconfigure_host(
        self,
        name: str,
        *,
        address: str | None = None,
        add_tags: Sequence[str] = (),
        remove_tags: Sequence[str] = (),
        add_groups: Sequence[str] = (),
        remove_groups: Sequence[str] = (),
        add_windows: Sequence[MaintenanceWindow] = (),
        remove_windows: Sequence[MaintenanceWindow] = (),
        accept_new_host_key: bool = False,
        expected_host_key: str = "",
        known_hosts: str = "",
        add_host_keys: Sequence[str] = (),
        remove_host_keys: Sequence[str] = (),
        allow_duplicate: bool = False,
        etag: str = "",
        **settings: Unpack[HostSettings],
    ) -> Host:
        """Change a host's configuration; settings that are None or not given keep their values.

        The server adds and removes at the moment of the change: of two clients that add a tag each, both
        win. A window is removed by one that is equal to it.

        With `accept_new_host_key` the key that the host shows now is pinned in place of the pinned ones, for a host
        that was reinstalled. `add_host_keys` pins further keys beside them, as for a rotation of keys, and
        `remove_host_keys` removes pinned ones; both take the forms of `expected_host_key`. `known_hosts`, the contents
        of a known_hosts file, adds the keys that it has for the host; a pinned key must be among them, or the host
        must show one of them with `accept_new_host_key`.
        With `etag`, that of the host as it was read, nothing is changed where it has been reconfigured
        since: raises EtagMismatch. See `retry_on_conflict`.
        """
        config, mask = config_message(name, {"address": address, **settings})
        request = pb.ReconfigureHostRequest(
            name=name,
            config=config,
            update_mask=FieldMask(paths=mask),
            add_tags=add_tags,
            remove_tags=remove_tags,
            add_groups=add_groups,
            remove_groups=remove_groups,
            add_windows=map(convert_policies.window_message, add_windows),
            remove_windows=map(convert_policies.window_message, remove_windows),
            accept_new_host_key=accept_new_host_key,
            expected_host_key=expected_host_key,
            known_hosts=known_hosts,
            add_host_keys="\n".join(add_host_keys),
            remove_host_keys=remove_host_keys,
            allow_duplicate=allow_duplicate,
            etag=etag,
            request_id=new_request_id(),
        )
        response = await self._transport.call(
            self._hosts.ReconfigureHost, request, seconds=REGISTER_SECONDS
        )
        return convert_hosts.host(response.host)

    async def remove_host(self, name: str, *, etag: str = "") -> None:
        """Unregister a host; its operations remain. Raises EtagMismatch: see reconfigure_host."""
        request = pb.UnregisterHostRequest(name=name, etag=etag, request_id=new_request_id())
        await self._transport.call(self._hosts.UnregisterHost, request)

    async def groups(self) -> Mapping[str, int]:
        """All groups with the number of their hosts."""
        counts: dict[str, int] = {}
        request = pb.ListGroupsRequest()
        while True:
            response = await self._transport.call(self._hosts.ListGroups, request)
            counts |= {group.name: group.host_count for group in response.groups}
            request.page_token = response.next_page_token
            if not request.page_token:
                return counts

    async def tags(self) -> Mapping[str, int]:
        """All tags with the number of their hosts."""
        counts: dict[str, int] = {}
        request = pb.ListTagsRequest()
        while True:
            response = await self._transport.call(self._hosts.ListTags, request)
            counts |= {tag.name: tag.host_count for tag in response.tags}
            request.page_token = response.next_page_token
            if not request.page_token:
                return counts

    async def inventory(self, name: str) -> Inventory:
        """The stored inventory of a host, without a connection to the host."""
        request = pb.GetInventoryRequest(name=name)
        response = await self._transport.call(self._hosts.GetInventory, request)
        return convert_inventory.inventory(response.inventory)

    async def pending_updates(
        self,
        selection: HostFilter | None = None,
        *,
        group_by: PendingGrouping = PendingGrouping.PACKAGE,
        security_only: bool = False,
        packages: Sequence[str] = (),
        fixes: Sequence[str] = (),
        withheld: bool = False,
    ) -> PendingUpdates:
        """The pending updates of the fleet as of the last queries, security updates first.

        `packages` are globs of names, `fixes` ids of advisories and CVEs; `withheld` adds what an
        update leaves alone.
        """
        request = pb.ListPendingUpdatesRequest(
            filter=convert_selections.filter_message(selection or HostFilter()),
            group_by=convert_inventory.GROUPING_NUMBERS[group_by],
            security_only=security_only,
            packages=packages,
            fixes=fixes,
            include_withheld=withheld,
            page_size=PAGE,
        )
        entries: list[PendingEntry] = []
        unknown = security_unknown = fixes_unknown = 0
        async for page in self._transport.pages(self._hosts.ListPendingUpdates, request):
            entries += map(convert_inventory.pending_entry, page.entries)
            unknown, security_unknown = page.hosts_unknown, page.hosts_security_unknown
            fixes_unknown = page.hosts_fixes_unknown
        return PendingUpdates(
            entries=tuple(entries),
            hosts_unknown=unknown,
            hosts_security_unknown=security_unknown,
            hosts_fixes_unknown=fixes_unknown,
        )

    async def explain(self, name: str) -> Explanation:
        """Why a host was, or was not, updated and rebooted, from stored events."""
        request = pb.ExplainHostRequest(name=name)
        return convert_reports.explanation(
            await self._transport.call(self._hosts.ExplainHost, request)
        )

    async def compliance(
        self, selection: HostFilter | None = None, *, overdue_days: int = 30
    ) -> Compliance:
        """How up to date the matching hosts are, as of the last queries.

        The overdue_hosts have open security fixes, or were not updated for `overdue_days`.
        """
        request = pb.GetComplianceRequest(
            filter=convert_selections.filter_message(selection or HostFilter()),
            overdue_days=overdue_days,
            page_size=PAGE,
        )
        overdue_hosts: list[OverdueHost] = []
        last = pb.GetComplianceResponse()
        async for last in self._transport.pages(self._hosts.GetCompliance, request):
            overdue_hosts += map(convert_reports.overdue_host, last.overdue_hosts)
        return Compliance(
            host_count=last.host_count,
            ages={age.days: age.host_count for age in last.ages},
            up_to_date_count=last.up_to_date_count,
            behind_count=last.behind_count,
            unknown_count=last.unknown_count,
            overdue_hosts=tuple(overdue_hosts),
        )

    async def osquery(self, name: str, sql: str) -> tuple[Mapping[str, str], ...]:
        """The answer of a host's osquery to one read-only SQL statement."""
        request = pb.RunOsqueryRequest(name=name, sql=sql)
        response = await self._transport.call(
            self._hosts.RunOsquery, request, seconds=REGISTER_SECONDS
        )
        return tuple(dict(row.values) for row in response.rows)

    async def test_host(self, name: str) -> HostTest:
        """Log in on a host now and tell what was found out; nothing is changed, and nothing is stored.

        What fails on the host raises nothing: it is the `problem` of the test.
        """
        request = pb.TestHostRequest(name=name)
        response = await self._transport.call(
            self._hosts.TestHost, request, seconds=REGISTER_SECONDS
        )
        return convert_hosts.host_test(response)

    async def login_files(self, name: str) -> LoginFiles:
        """The smallest authorized_keys and sudoers files with which the server can work on a host."""
        request = pb.GetLoginFilesRequest(name=name)
        response = await self._transport.call(
            self._hosts.GetLoginFiles, request, seconds=REGISTER_SECONDS
        )
        return convert_hosts.login_files(response)

    # --- work on one host -------------------------------------------------------------------------

    async def query(
        self, name: str, *, parts: Sequence[InventoryPart] = (), queue: bool = False
    ) -> OperationHandle:
        """Start a query of a host: of `parts`, or of everything. With `queue`, wait while the host is busy."""
        request = pb.StartQueryRequest(
            name=name,
            queue=queue,
            parts=[convert_inventory.PART_NUMBERS[part] for part in parts],
            request_id=new_request_id(),
        )
        return self._begun(await self._transport.call(self._hosts.StartQuery, request))

    async def update(
        self,
        name: str,
        *,
        dry_run: bool = False,
        scope: ScopeOverride | None = None,
        plan: str = "",
        exact: bool = False,
        download_only: bool = False,
        queue: bool = False,
    ) -> OperationHandle:
        """Start an update of a host; with `dry_run`, only find out what the update would do.

        `scope` None is what the host's policy says. `plan` is the id of a dry run that is to be carried
        out; with `exact` nothing is changed where what is pending differs from it, or without a plan
        from what was pending when the host was last queried. `download_only` fetches for a later update.
        """
        request = pb.StartUpdateRequest(
            name=name,
            dry_run=dry_run,
            scope=convert_selections.override_message(scope) if scope is not None else None,
            plan_operation_id=plan,
            exact=exact,
            download_only=download_only,
            queue=queue,
            request_id=new_request_id(),
        )
        return self._begun(await self._transport.call(self._hosts.StartUpdate, request))

    async def reboot(
        self, name: str, *, only_if_required: bool = False, queue: bool = False
    ) -> OperationHandle:
        """Start a reboot of a host, needed or not.

        With `only_if_required` a look at it decides: where it needs none, and where that is not known, the
        operation succeeds without a reboot, and its `reboot_outcome` says which.
        """
        request = pb.StartRebootRequest(
            name=name,
            only_if_required=only_if_required,
            queue=queue,
            request_id=new_request_id(),
        )
        return self._begun(await self._transport.call(self._hosts.StartReboot, request))

    async def check(self, name: str, *, queue: bool = False) -> OperationHandle:
        """Start a check of a host's health, which changes nothing."""
        request = pb.StartCheckRequest(name=name, queue=queue, request_id=new_request_id())
        return self._begun(await self._transport.call(self._hosts.StartCheck, request))

    async def retry(self, name: str) -> OperationHandle:
        """Take a host out of FAILED and retry the failed operation, from the failed step where that is sound."""
        request = pb.RetryHostRequest(name=name, request_id=new_request_id())
        return self._begun(await self._transport.call(self._hosts.RetryHost, request))

    async def acknowledge(self, name: str) -> Host:
        """Record that a person has seen a host's failure; the host stays in FAILED."""
        request = pb.AcknowledgeHostRequest(name=name, request_id=new_request_id())
        response = await self._transport.call(self._hosts.AcknowledgeHost, request)
        return convert_hosts.host(response.host)

    def _begun(self, response: Any) -> OperationHandle:
        return OperationHandle(self._transport, convert_operations.operation(response.operation))
