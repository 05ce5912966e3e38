"""Tokens that are bound to hosts, through a real channel: what is outside is not there, in no answer."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tendhost.server.domain.access.roles import CallPermission
from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.hosts.host import Duplicate, Failure, Problem
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import OperationStatus
from tendhost.server.rpc.permissions import PERMISSIONS, REACH, UNSCOPED, Reach
from tendhost.server.store.records import Change
from tendhost.v1 import (
    access_service_pb2,
    host_pb2,
    operation_service_pb2,
    policy_pb2,
    policy_service_pb2,
    system_service_pb2,
)
from tendhost.v1 import host_service_pb2 as pb
from tests.contract.store.samples import an_operation, change, stored_operation
from tests.rpc.api import refusal
from tests.rpc.scoped import (
    CANARY,
    OUTSIDE,
    Fleet,
    bound,
    described,
    request_of,
    scoped_fleet,
)
from tests.rpc.test_access import code, guarded
from tests.rpc.test_policies import freeze
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.world import World

OTHER_ID = "op-99999999"


async def failed(world: World, name: str) -> None:
    """Have a host in FAILED."""
    host = await world.store.host(name)
    failure = Failure(
        previous_state=HostState.IDLE,
        step="query",
        problem=Problem(reason="TEST", message="it failed"),
        failed_at=world.clock.now(),
        retry_count=0,
    )
    status = replace(host.status, state=HostState.FAILED, failure=failure)
    await world.store.commit(change(hosts=(replace(host, status=status),)))


@pytest.fixture
async def fleet(world: World, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with scoped_fleet(world, tmp_path) as fleet:
        yield fleet


def named(reach: Reach) -> list[str]:
    return [method for method, how in REACH.items() if how is reach]


# --- every method -----------------------------------------------------------------------------------


async def test_methods__that_are_not_limited_to_hosts_are_refused_to_bound_callers(fleet: Fleet):
    for method, needs in PERMISSIONS.items():
        refused = await code(fleet.other.channel, method, fleet.metadata) == "CALL_NOT_SCOPED"
        may = method in REACH or needs is CallPermission.NOTHING
        assert refused is not may, method


def test_tables__have_every_method_that_needs_a_permission_in_one_of_the_two():
    assert not set(REACH) & set(UNSCOPED)
    guarded = {m for m, needs in PERMISSIONS.items() if needs is not CallPermission.NOTHING}
    assert set(REACH) | set(UNSCOPED) == guarded


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("SelectionService/ListSelections", "saved selections are shared by all callers"),
        ("PolicyService/SetPolicy", "policies are for all hosts of a group"),
        ("AccessService/CreateToken", "tokens and audit records are about all hosts"),
        ("HostService/ReconfigureHost", "how they are labelled, and so which of them tokens"),
    ],
)
async def test_refusal_of_a_bound_caller__says_why_and_what_to_ask_for(
    fleet: Fleet, method: str, why: str
):
    refused = await refusal(fleet.call(f"/tendhost.v1.{method}"))
    assert refused.text.startswith(
        f"ci may not call {method.partition('/')[2]}: its credential is bound to hosts (groups web), and "
    )
    assert why in refused.text
    assert refused.text.endswith(
        "bound to no hosts: another token (tendhost token create), or other claims in a JWT"
    )
    assert refused.facts["why"] in refused.text


def test_requests__name_hosts_and_operations_in_no_field_that_is_not_looked_at():
    """A new field that names a host or an operation needs a check in rpc/scoping.py, or to be known here."""
    texts = {
        (reach, field.name)
        for method, reach in REACH.items()
        if method.startswith("/tendhost.v1.")
        for field in request_of(method).DESCRIPTOR.fields
        if field.cpp_type == field.CPPTYPE_STRING
    }
    assert texts == {
        *((Reach.HOST, name) for name in ("name", "host", "plan_operation_id", "sql")),
        (Reach.HOST, "request_id"),
        *((Reach.OPERATION, name) for name in ("id", "request_id")),
        *((Reach.ROLLOUT, name) for name in ("id", "host", "max_failures")),
        *((Reach.ROLLOUT, name) for name in ("page_token", "request_id")),
        *((Reach.PLAN, name) for name in ("plan_id", "page_token", "request_id")),
        *((Reach.SCHEDULE, name) for name in ("name", "etag", "request_id")),
        *((Reach.NARROWED, name) for name in ("page_token", "packages", "fixes")),
        *((Reach.NARROWED, name) for name in ("host", "rollout_id", "log_id", "request_id")),
    }
    for method in named(Reach.HOST):
        # Exactly one names the host, so that none is looked at in place of the other.
        assert len({"name", "host"} & set(request_of(method).DESCRIPTOR.fields_by_name)) == 1
    for method in named(Reach.OPERATION):
        assert "id" in request_of(method).DESCRIPTOR.fields_by_name


@pytest.mark.parametrize("method", named(Reach.HOST))
async def test_host_outside__is_answered_in_the_words_of_one_that_does_not_exist(
    fleet: Fleet, method: str
):
    sql = {"sql": "select 1"} if method.endswith("RunOsquery") else {}
    field = "name" if "name" in request_of(method).DESCRIPTOR.fields_by_name else "host"
    outside = await fleet.refused(method, **{field: "canary1"}, **sql)
    missing = await fleet.refused(method, **{field: "nobody1"}, **sql)
    assert outside.replace(b"canary1", b"nobody1") == missing
    assert b"HOST_NOT_FOUND" in missing


@pytest.mark.parametrize("method", named(Reach.OPERATION))
async def test_operation_outside__is_answered_in_the_words_of_one_that_does_not_exist(
    fleet: Fleet, method: str
):
    ended = an_operation("canary1", OperationStatus.SUCCEEDED, ended_at=fleet.world.clock.now())
    there = (await stored_operation(fleet.world.store, ended)).id
    outside = await fleet.refused(method, id=there)
    missing = await fleet.refused(method, id=OTHER_ID)
    assert outside.replace(there.encode(), OTHER_ID.encode()) == missing
    assert b"OPERATION_NOT_FOUND" in missing


async def test_plan_of_an_operation_outside__is_answered_as_one_that_does_not_exist(fleet: Fleet):
    there = (await stored_operation(fleet.world.store, an_operation("canary1"))).id
    method = "/tendhost.v1.HostService/StartUpdate"
    outside = await fleet.refused(method, name="web1", plan_operation_id=there)
    missing = await fleet.refused(method, name="web1", plan_operation_id=OTHER_ID)
    assert outside.replace(there.encode(), OTHER_ID.encode()) == missing


@pytest.mark.parametrize(
    "method", [one for one in named(Reach.NARROWED) if "/List" in one or "/Get" in one]
)
async def test_lists__hold_nothing_of_what_is_outside(fleet: Fleet, method: str):
    for name in (*OUTSIDE, "web1"):
        await stored_operation(fleet.world.store, an_operation(name))
    wanted = request_of(method).DESCRIPTOR.fields_by_name
    requests: list[dict[str, Any]] = [{}]
    if "filter" in wanted:
        parts: list[dict[str, Any]] = [
            {"names": ["canary1"]},
            {"names": ["*"]},
            {"name_prefix": "canary"},
            {"any_tags": ["prod"]},
        ]
        requests += [{"filter": host_pb2.HostFilter(**part)} for part in parts]
    if "overdue_days" in wanted:
        requests = [{**request, "overdue_days": 1} for request in requests]
    if "group_by" in wanted:
        by_host = pb.PENDING_GROUPING_HOST
        requests = [{**request, "group_by": by_host} for request in requests]
    if "host" in wanted:
        requests.append({"host": "canary1"})
    for request in requests:
        assert CANARY not in (await fleet.call(method, **request)).SerializeToString(), request


async def test_pending_updates__of_hosts_outside_are_neither_listed_nor_counted(fleet: Fleet):
    for name in ("web1", "canary1"):
        fake = fleet.world.fleet.hosts[f"{name}.example.org"]
        fake.pending["web"] = Pending()
        await fleet.owner.run("StartQuery", name)
    method = "/tendhost.v1.HostService/ListPendingUpdates"
    by_host = pb.PENDING_GROUPING_HOST
    seen = await fleet.call(method, group_by=by_host)
    request = pb.ListPendingUpdatesRequest(group_by=by_host)
    everything = await fleet.owner.hosts.ListPendingUpdates(request)
    assert CANARY in everything.SerializeToString()
    assert CANARY not in seen.SerializeToString()
    assert (len(seen.entries), seen.hosts_unknown) == (1, 1)
    assert (len(everything.entries), everything.hosts_unknown) == (2, 2)


# --- what is there ----------------------------------------------------------------------------------


async def test_bound_caller__sees_and_counts_its_hosts_only(fleet: Fleet):
    hosts = (await fleet.call("/tendhost.v1.HostService/ListHosts", page_size=1)).hosts
    assert [host.config.name for host in hosts] == ["web1"]
    groups = (await fleet.call("/tendhost.v1.HostService/ListGroups")).groups
    tags = (await fleet.call("/tendhost.v1.HostService/ListTags")).tags
    assert [(one.name, one.host_count) for one in (*groups, *tags)] == [("web", 2), ("prod", 2)]
    compliance = await fleet.call("/tendhost.v1.HostService/GetCompliance")
    assert compliance.host_count == 2
    info = await fleet.call("/tendhost.v1.SystemService/GetServerInfo")
    assert info.host_count == 2
    everything = await fleet.owner.system.GetServerInfo(system_service_pb2.GetServerInfoRequest())
    assert everything.host_count == 4
    caller = await fleet.call("/tendhost.v1.AccessService/GetCaller")
    assert list(caller.scope.groups) == ["web"]


async def test_pages__of_a_bound_caller_meet_each_of_its_hosts_once(fleet: Fleet):
    seen, token = [], ""
    while True:
        page = await fleet.call("/tendhost.v1.HostService/ListHosts", page_size=1, page_token=token)
        seen += [host.config.name for host in page.hosts]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["web1", "web2"]


async def test_bound_caller__works_on_its_hosts_and_lists_their_operations(fleet: Fleet):
    begun = await fleet.call("/tendhost.v1.HostService/StartQuery", name="web1")
    await fleet.world.ended(begun.operation.id)
    await stored_operation(fleet.world.store, an_operation("canary1"))
    listed = await fleet.call("/tendhost.v1.OperationService/ListOperations")
    assert [operation.id for operation in listed.operations] == [begun.operation.id]
    assert (await fleet.call("/tendhost.v1.HostService/GetHost", name="web1")).host.config.name


@pytest.mark.parametrize(
    "method", ["StartQuery", "StartUpdate", "StartReboot", "StartCheck", "RetryHost"]
)
async def test_operation_of_a_bound_caller__keeps_its_scope(fleet: Fleet, method: str):
    if method == "RetryHost":
        await failed(fleet.world, "web1")
    begun = (await fleet.call(f"/tendhost.v1.HostService/{method}", name="web1")).operation
    stored = await fleet.world.store.operation(begun.id)
    assert stored.bound_to == Scope(groups=("web",))
    await fleet.world.ended(begun.id)
    if method == "RetryHost":
        await failed(fleet.world, "web1")
    request = request_of(f"/tendhost.v1.HostService/{method}")(name="web1")
    begun = (await getattr(fleet.owner.hosts, method)(request)).operation
    assert (await fleet.world.store.operation(begun.id)).bound_to is None
    await fleet.world.ended(begun.id)


def test_methods__that_begin_operations_on_one_host_are_all_tried_above():
    with_operation = {
        method.rpartition("/")[2]
        for method in REACH
        if "/tendhost.v1.HostService/" in method
        and "operation" in described(method).output_type.fields_by_name
    }
    assert with_operation == {"StartQuery", "StartUpdate", "StartReboot", "StartCheck", "RetryHost"}


async def test_host__that_is_labelled_otherwise_leaves_and_joins_at_the_next_call(fleet: Fleet):
    await fleet.relabel("web1", "web-canary")
    await fleet.relabel("canary1", "web")
    hosts = (await fleet.call("/tendhost.v1.HostService/ListHosts")).hosts
    assert [host.config.name for host in hosts] == ["canary1", "web2"]
    assert b"HOST_NOT_FOUND" in await fleet.refused(
        "/tendhost.v1.HostService/StartReboot", name="web1"
    )


async def test_wait__ends_once_the_host_has_left_the_scope(fleet: Fleet):
    begun = await stored_operation(fleet.world.store, an_operation("web1"))
    request = operation_service_pb2.WatchOperationRequest(id=begun.id)
    watch = fleet.other.operations.WatchOperation(request, metadata=fleet.metadata)
    assert (await watch.read()).operation.id == begun.id
    await fleet.relabel("web1", "web-canary")
    touching = asyncio.ensure_future(watch.read())
    ended = replace(begun, status=OperationStatus.SUCCEEDED, ended_at=fleet.world.clock.now())
    await fleet.world.store.commit(Change(events=(), operations=(ended,)))
    assert (await refusal(touching)).reason == "OPERATION_NOT_FOUND"


async def test_effective_policy__of_its_own_host_is_what_an_admin_sees_and_tells_of_no_other_group(
    fleet: Fleet,
):
    await fleet.relabel("web1", "web", "pci")
    for group, time_zone in (
        ("web", "Europe/Berlin"),
        ("pci", "UTC"),
        ("web-canary", "Asia/Tokyo"),
    ):
        window = host_pb2.MaintenanceWindow(start="22:00", end="04:00", time_zone=time_zone)
        policy = policy_pb2.GroupPolicy(
            group=group, windows=[window], freezes=[freeze(f"freeze of {group}")]
        )
        await fleet.owner.policies.SetPolicy(policy_service_pb2.SetPolicyRequest(policy=policy))
    request = policy_service_pb2.GetEffectivePolicyRequest(host="web1")
    whole = await fleet.owner.policies.GetEffectivePolicy(request)
    bound_to = await fleet.call("/tendhost.v1.PolicyService/GetEffectivePolicy", host="web1")
    assert bound_to == whole
    assert {found.source.group for found in bound_to.policy.windows} == {"web", "pci"}
    assert CANARY not in bound_to.SerializeToString()
    assert b"Tokyo" not in bound_to.SerializeToString()


async def test_hosts__that_resemble_one_are_told_only_where_they_are_in_the_scope(fleet: Fleet):
    host = await fleet.world.store.host("web1")
    alike = tuple(
        Duplicate(host=name, host_key=False, address=False, machine_id=True)
        for name in ("canary1", "web2")
    )
    await fleet.world.store.commit(change(hosts=(host.resembling(alike),)))
    everything = await fleet.owner.host("web1")
    assert [one.host for one in everything.status.duplicate_of] == ["canary1", "web2"]
    shown = (await fleet.call("/tendhost.v1.HostService/GetHost", name="web1")).host
    assert [one.host for one in shown.status.duplicate_of] == ["web2"]
    listed = await fleet.call("/tendhost.v1.HostService/ListHosts")
    assert CANARY not in listed.SerializeToString()
    await failed(fleet.world, "web1")
    acknowledged = await fleet.call("/tendhost.v1.HostService/AcknowledgeHost", name="web1")
    assert not acknowledged.host.status.duplicate_of


async def test_repeated_request__of_another_scope_gets_no_answer_of_the_first(fleet: Fleet):
    fields: dict[str, Any] = {"name": "web1", "request_id": "5f9d9f6e-2b1c-4c5e-9a52-0d6f3f6f1a11"}
    method = "/tendhost.v1.HostService/StartQuery"
    first = await fleet.call(method, **fields)
    assert (await fleet.call(method, **fields)).operation.id == first.operation.id
    operator = (access_service_pb2.ROLE_OPERATOR,)
    elsewhere = await bound(fleet.owner, *operator, any_tags=["canary"])
    refused = await refusal(fleet.call(method, metadata=elsewhere, **fields))
    assert refused.reason == "HOST_NOT_FOUND"
    wider = await bound(fleet.owner, *operator, any_tags=["prod"])
    refused = await refusal(fleet.call(method, metadata=wider, **fields))
    assert refused.reason == "REQUEST_ID_REUSED"


# --- tokens -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "field"),
    [
        ({}, "scope"),
        ({"names": ["web1"], "groups": ["web"]}, "scope.names"),
        ({"states": [1], "groups": ["web"]}, "scope.states"),
        ({"selection": "mine", "groups": ["web"]}, "scope.selection"),
        ({"groups": ["wbe"]}, "scope.groups[0]"),
        ({"any_tags": ["prod", "prd"]}, "scope.any_tags[1]"),
        ({"groups": ["web"], "all_tags": ["canary"]}, "scope"),
    ],
)
async def test_token__that_would_be_bound_to_no_host_or_to_what_changes_is_refused(
    fleet: Fleet, scope: dict[str, Any], field: str
):
    refused = await refusal(bound(fleet.owner, access_service_pb2.ROLE_VIEWER, **scope))
    assert refused.fields == [field]


async def test_bound_token__is_listed_with_its_scope_and_keeps_it_when_the_server_starts_again(
    world: World, tmp_path: Path
):
    async with guarded(world, tmp_path) as (owner, _):
        await owner.register("web1", groups=["web"])
        await owner.register("canary1", groups=["db"])
        metadata = await bound(owner, access_service_pb2.ROLE_VIEWER, groups=["web"])
        request = access_service_pb2.ListTokensRequest()
        (token,) = (await owner.access.ListTokens(request)).tokens
        assert list(token.scope.groups) == ["web"]
    async with guarded(world, tmp_path) as (_, other):
        listed = await other.hosts.ListHosts(pb.ListHostsRequest(), metadata=metadata)
        assert [host.config.name for host in listed.hosts] == ["web1"]


async def test_scope__whose_hosts_are_all_gone_has_none(fleet: Fleet):
    for name in ("web1", "web2"):
        await fleet.owner.hosts.UnregisterHost(pb.UnregisterHostRequest(name=name))
    assert not (await fleet.call("/tendhost.v1.HostService/ListHosts")).hosts
    assert not (await fleet.call("/tendhost.v1.HostService/ListGroups")).groups
