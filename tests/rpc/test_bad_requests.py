"""Requests that cannot be meant: each is refused with the field or the reason, and touches no host."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tendhost.server.rpc.paging import token
from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1.host_pb2 import (
    INVENTORY_PART_HARDWARE,
    INVENTORY_PART_UNSPECIFIED,
    HostConfig,
    HostFilter,
    Policy,
    ScopeOverride,
    UpdateScope,
)
from tendhost.v1.operation_pb2 import OPERATION_STATUS_FAILED, OPERATION_STATUS_SUCCEEDED
from tendhost.v1.operation_service_pb2 import WaitOperationRequest
from tendhost.v1.schedule_pb2 import ScheduleSpec
from tendhost.v1.schedule_service_pb2 import CreateScheduleRequest
from tests.rpc.api import Api, Refusal, refusal
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending

NO_STATE: Any = 99
UNSPECIFIED: Any = 0
INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def fleet(api: Api) -> None:
    """Three hosts that were asked, with four packages pending between them, and one that never was."""
    for number, name in enumerate(("web1", "web2", "web3")):
        fake = await api.register(name)
        fake.pending = {"web": Pending(to=f"{number + 2}.5"), "db": Pending(security=number == 0)}
        await api.run("StartQuery", name)
    await api.register("new")


async def pending(api: Api, **how: Any) -> pb.ListPendingUpdatesResponse:
    response = await api.hosts.ListPendingUpdates(pb.ListPendingUpdatesRequest(**how))
    assert isinstance(response, pb.ListPendingUpdatesResponse)
    return response


async def refused_update(api: Api, **how: Any) -> Refusal:
    return await refusal(api.hosts.StartUpdate(pb.StartUpdateRequest(name="web1", **how)))


# --- pending updates ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4, 1000])
async def test_pages_of_pending_updates_follow_each_other_and_count_the_unknown(
    api: Api, size: int
):
    await fleet(api)
    whole = await pending(api)
    found: list[pb.PendingEntry] = []
    following = ""
    while True:
        page = await pending(api, page_size=size, page_token=following)
        assert page.hosts_unknown == whole.hosts_unknown == 1
        assert len(page.entries) <= size
        found += page.entries
        following = page.next_page_token
        if not following:
            break
        assert len(page.entries) == size
    assert found == list(whole.entries)
    assert [(e.name, e.version, list(e.hosts)) for e in found] == [
        ("db", "2.0-1", ["web1", "web2", "web3"]),
        ("web", "2.5", ["web1"]),
        ("web", "3.5", ["web2"]),
        ("web", "4.5", ["web3"]),
    ]


@pytest.mark.parametrize(
    ("how", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_size": -(2**31)}, "page_size"),
        ({"group_by": 99}, "group_by"),
        ({"group_by": -1}, "group_by"),
        ({"packages": [""]}, "packages[0]"),
        ({"packages": ["web", "x" * 256]}, "packages[1]"),
        ({"fixes": [""]}, "fixes[0]"),
        ({"page_token": "A" * 4097}, "page_token"),
        ({"filter": HostFilter(states=[NO_STATE])}, "filter.states[0]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_field_of_a_list_of_pending_updates_that_makes_no_sense_is_named(
    api: Api, how: dict[str, Any], field: str
):
    refused = await refusal(pending(api, **how))
    assert (refused.code, refused.fields) == (INVALID, [field])


async def test_a_token_of_another_list_of_pending_updates_is_refused(api: Api):
    await fleet(api)
    following = (await pending(api, page_size=1)).next_page_token
    for other in (
        {"security_only": True},
        {"include_withheld": True},
        {"group_by": pb.PENDING_GROUPING_HOST},
        {"packages": ["db"]},
        {"filter": HostFilter(names=["web1"])},
    ):
        refused = await refusal(pending(api, page_token=following, **other))
        assert (refused.code, refused.reason) == (INVALID, "PAGE_TOKEN_INVALID")
    assert len((await pending(api, page_size=2, page_token=following)).entries) == 2


@pytest.mark.parametrize(
    "place",
    [
        *("5", "null", "nonsense", "[]", "[1]", '["a", 0, 0, "", ""]', "[0, 0, 0, 1, 2]"),
        *('{"a": 1}', "[" * 2000),
    ],
    ids=range(9),
)
async def test_a_token_that_was_made_up_for_the_right_list_is_refused(api: Api, place: str):
    await fleet(api)
    made_up = token(pb.ListPendingUpdatesRequest(), place)
    refused = await refusal(pending(api, page_token=made_up))
    assert (refused.code, refused.reason) == (INVALID, "PAGE_TOKEN_INVALID")


@pytest.mark.parametrize("garbage", ["x", "====", "é", base64.urlsafe_b64encode(b"8" * 8).decode()])
async def test_a_token_that_is_garbage_is_refused(api: Api, garbage: str):
    refused = await refusal(pending(api, page_token=garbage))
    assert (refused.code, refused.reason) == (INVALID, "PAGE_TOKEN_INVALID")


# --- what to update -------------------------------------------------------------------------------

NO_GLOBS = [
    *("", " ", "web db", "web;reboot", "$(reboot)", "`id`", "web|sh", "web&", "web>x", "web\n"),
    *("-o", "--purge", "web\\", "'web'", '"web"', "web{1,2}", "~nweb", "web/stable", "web=1.0"),
    *("\x00", "é", "+web", "x" * 256),
]


@pytest.mark.parametrize("name", NO_GLOBS)
@pytest.mark.parametrize("side", ["include", "exclude"])
async def test_a_scope_with_what_is_no_package_name_is_refused_and_its_place_named(
    api: Api, side: str, name: str
):
    fake = await api.register("web1")
    names = ["web", name]
    scope = ScopeOverride(include=names) if side == "include" else ScopeOverride(exclude=names)
    refused = await refused_update(api, scope=scope)
    assert (refused.code, refused.fields) == (INVALID, [f"scope.{side}[1]"])
    assert fake.ran == []


@pytest.mark.parametrize(
    "name", ["web", "*", "?", "lib*", "[wd]*", "g++", "web:amd64", "[!w]eb", "x" * 255]
)
async def test_a_scope_with_names_and_globs_is_taken(api: Api, name: str):
    await api.register("web1")
    operation = await api.run("StartUpdate", dry_run=True, scope=ScopeOverride(include=[name]))
    assert operation.status == OPERATION_STATUS_SUCCEEDED


async def test_a_package_that_is_included_and_excluded_is_excluded(api: Api):
    fake = await api.register("web1")
    fake.pending = {"db": Pending(), "web": Pending()}
    scope = ScopeOverride(include=["web", "db"], exclude=["db", "web"])
    operation = await api.run("StartUpdate", scope=scope)
    assert operation.status == OPERATION_STATUS_SUCCEEDED
    assert list(operation.update.packages) == []
    assert fake.count(Command.UPGRADE) == 0


async def test_the_scope_of_a_policy_is_held_to_the_same_rules(api: Api):
    api.world.fleet.add("web1.example.org")
    scope = UpdateScope(exclude=["$(reboot)"])
    config = HostConfig(name="web1", address="web1.example.org", policy=Policy(scope=scope))
    refused = await refusal(api.hosts.RegisterHost(pb.RegisterHostRequest(config=config)))
    assert (refused.code, refused.fields) == (INVALID, ["config.policy.scope.exclude[0]"])


async def test_exact_without_any_plan_is_refused_before_the_host_is_asked(api: Api):
    fake = await api.register("web1")
    refused = await refused_update(api, exact=True)
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.reason == "PLAN_UNUSABLE"
    assert "never been queried" in refused.text
    assert fake.ran == []


async def test_what_is_no_plan_for_the_host_is_refused_and_says_why(api: Api):
    fake = await api.register("web1")
    await api.register("web2")
    plans = {
        (await api.run("StartQuery")).id: "not a dry run",
        (await api.run("StartUpdate")).id: "not a dry run",
        (await api.run("StartUpdate", "web2", dry_run=True)).id: "a plan for web2",
    }
    ran = list(fake.ran)
    for plan, words in plans.items():
        refused = await refused_update(api, plan_operation_id=plan, exact=True)
        assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refused.reason == "PLAN_UNUSABLE"
        assert words in refused.text
    nowhere = await refused_update(api, plan_operation_id="nowhere")
    assert (nowhere.code, nowhere.reason) == (
        grpc.StatusCode.NOT_FOUND,
        "OPERATION_NOT_FOUND",
    )
    assert fake.ran == ran


# --- questions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([INVENTORY_PART_UNSPECIFIED], "parts[0]"),
        ([INVENTORY_PART_HARDWARE, 99], "parts[1]"),
        ([INVENTORY_PART_HARDWARE, INVENTORY_PART_HARDWARE], "parts"),
    ],
    ids=["unspecified", "unknown", "twice"],
)
async def test_a_query_for_parts_that_are_none_is_refused(api: Api, parts: list[Any], field: str):
    fake = await api.register("web1")
    request = pb.StartQueryRequest(name="web1", parts=parts)
    refused = await refusal(api.hosts.StartQuery(request))
    assert (refused.code, refused.fields) == (INVALID, [field])
    assert fake.ran == []


@pytest.mark.parametrize(
    "sql",
    [
        *("", " ", ";", "--", "nonsense", "select 1; select 2", "select 'x", "select 1\x00"),
        *("delete from users", "update users set uid = 0", "insert into x values (1)"),
        *("attach 'x' as y", "pragma journal_mode = off", "select * from curl", "vacuum"),
        *("with x as (select 1) delete from users", "explain delete from users", "x" * 10_001),
    ],
)
async def test_sql_that_does_not_only_look_is_refused_before_the_host_is_asked(api: Api, sql: str):
    fake = await api.register("web1")
    # Whoever asks a host that nobody answers for is told so: this call is refused before.
    fake.reachable = False
    request = pb.RunOsqueryRequest(name="web1", sql=sql)
    refused = await refusal(api.hosts.RunOsquery(request))
    assert (refused.code, refused.fields) == (INVALID, ["sql"])


async def test_osquery_of_a_host_that_does_not_answer_says_so(api: Api):
    fake = await api.register("web1")
    fake.reachable = False
    request = pb.RunOsqueryRequest(name="web1", sql="select 1")
    refused = await refusal(api.hosts.RunOsquery(request))
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "HOST_UNREACHABLE",
    )
    nobody = pb.RunOsqueryRequest(name="nobody", sql="select 1")
    refused = await refusal(api.hosts.RunOsquery(nobody))
    assert refused.code is grpc.StatusCode.NOT_FOUND


# --- the server's own machine ---------------------------------------------------------------------


async def own_machine(api: Api, **policy: Any) -> FakeHost:
    fake = api.world.fleet.add("local")
    config = HostConfig(name="web1", address="local", policy=Policy(**policy))
    await api.hosts.RegisterHost(pb.RegisterHostRequest(config=config))
    return fake


async def reconfigured(api: Api, *, auto_reboot: bool) -> None:
    config = HostConfig(policy=Policy(auto_reboot=auto_reboot))
    request = pb.ReconfigureHostRequest(name="web1", config=config)
    request.update_mask.paths.append("policy.auto_reboot")
    await api.hosts.ReconfigureHost(request)


@pytest.mark.parametrize("policy", [{}, {"auto_reboot": False}], ids=["unset", "no"])
async def test_own_machine_is_not_rebooted_unless_its_policy_names_it(
    api: Api, policy: dict[str, bool]
):
    fake = await own_machine(api, **policy)
    fake.pending = {"web": Pending(wants_reboot=True)}
    refused = await refusal(api.hosts.StartReboot(pb.StartRebootRequest(name="web1")))
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.reason == "REBOOT_NOT_ALLOWED"
    queued = await refusal(api.hosts.StartReboot(pb.StartRebootRequest(name="web1", queue=True)))
    assert queued.reason == "REBOOT_NOT_ALLOWED"
    done = await api.run("StartUpdate")
    assert (done.update.rebooted, done.update.reboot_required) == (False, True)
    assert fake.count(Command.REBOOT) == 0
    await reconfigured(api, auto_reboot=True)
    assert (await api.run("StartReboot")).status == OPERATION_STATUS_SUCCEEDED
    assert fake.count(Command.REBOOT) == 1


async def test_own_machine_is_not_rebooted_by_a_retry_after_its_policy_names_it_no_more(api: Api):
    fake = await own_machine(api, auto_reboot=True)
    fake.accepts_key = False
    assert (await api.run("StartReboot")).status == OPERATION_STATUS_FAILED
    fake.accepts_key = True
    await reconfigured(api, auto_reboot=False)
    refused = await refusal(api.hosts.RetryHost(pb.RetryHostRequest(name="web1")))
    assert refused.reason == "REBOOT_NOT_ALLOWED"
    assert fake.count(Command.REBOOT) == 0


# --- many faults at once --------------------------------------------------------------------------


async def test_refusal__arrives_however_many_fields_are_invalid(api: Api):
    config = HostConfig(name="x", address="y", tags=["é" * 70] * 64, groups=["é" * 70] * 64)
    refused = await refusal(api.hosts.RegisterHost(pb.RegisterHostRequest(config=config)))
    assert refused.code == INVALID
    assert refused.text.startswith("130 fields are invalid")
    names = HostFilter(names=["\x01" * 64] * 900)
    refused = await refusal(api.hosts.ListHosts(pb.ListHostsRequest(filter=names)))
    assert refused.code == INVALID


@pytest.mark.parametrize(
    "method",
    ["HostService/GetHost", "HostService/StartUpdate", "EventService/WatchEvents"],
)
async def test_call_without_a_message__is_refused_at_once(api: Api, method: str):
    async def nothing() -> AsyncIterator[bytes]:
        return
        yield

    call = api.channel.stream_unary(f"/tendhost.v1.{method}", bytes, bytes)(nothing())
    async with asyncio.timeout(10):
        refused = await refusal(call)
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields == ["request"]


async def test_invalid_fields__are_named_all_at_once_whatever_kind_of_rule_they_break(api: Api):
    config = HostConfig(name="web1", address="web1.example.org", port=70000)
    config.policy.windows.add(start="22:00", end="04:00", time_zone="Mars/Olympus")
    config.policy.windows.add(start="25:00", end="04:00", time_zone="Mars/Olympus")
    config.policy.health_checks.checks.add().http.url = "http://web1/"
    config.policy.health_checks.checks[0].http.body = "(a"
    refused = await refusal(api.hosts.RegisterHost(pb.RegisterHostRequest(config=config)))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refused.fields) == {
        "config.port",
        "config.policy.windows[0].time_zone",
        "config.policy.windows[1].start",
        "config.policy.windows[1].time_zone",
        "config.policy.health_checks.checks[0].http.body",
    }


async def test_invalid_fields__of_a_schedule_and_its_rollout_are_named_together(api: Api):
    spec = ScheduleSpec(name="Nightly", cron="61 * * * *", time_zone="Mars/Olympus")
    spec.rollout.waves.append("none")
    spec.rollout.max_failures = "few"
    refused = await refusal(api.schedules.CreateSchedule(CreateScheduleRequest(spec=spec)))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert {"spec.cron", "spec.time_zone", "spec.rollout.waves[0]"} <= set(refused.fields)


async def test_page_token__is_named_as_the_invalid_field(api: Api):
    refused = await refusal(api.hosts.ListHosts(pb.ListHostsRequest(page_token="garbage")))
    assert (refused.reason, refused.fields) == ("PAGE_TOKEN_INVALID", ["page_token"])
    assert (
        refused.text
        == "page_token: it does not belong to this list; start again without a page token"
    )
    assert refused.violations == [
        ("page_token", "it does not belong to this list; start again without a page token")
    ]


async def test_invalid_field__is_told_in_words_that_a_person_understands(api: Api):
    request = pb.ListHostsRequest(filter=HostFilter(states=[UNSPECIFIED, NO_STATE], names=[""]))
    refused = await refusal(api.hosts.ListHosts(request))
    assert refused.violations == [
        ("filter.names[0]", "must not be empty"),
        ("filter.states[0]", "0: must not be unspecified"),
        ("filter.states[1]", "99: is none of the values of this enum"),
    ]


async def test_invalid_field__shows_a_duration_and_says_what_stands_twice(api: Api):
    wait = WaitOperationRequest(id="op", timeout=Duration(seconds=-5, nanos=-500_000_000))
    ((field, words),) = (await refusal(api.operations.WaitOperation(wait))).violations
    assert (field, words.partition(": ")[0]) == ("timeout", "-5.5s")
    twice = pb.ReconfigureHostRequest(name="web1", add_tags=["a", "a"])
    refused = await refusal(api.hosts.ReconfigureHost(twice))
    assert refused.violations == [("add_tags", "must not name anything twice")]
