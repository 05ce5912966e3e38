"""PolicyService: what groups and the fleet say, what holds for a host, and what is refused."""

from datetime import datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tendhost.server.rpc.convert.events import event_message
from tendhost.v1 import host_service_pb2, rollout_service_pb2
from tendhost.v1 import policy_pb2 as wire
from tendhost.v1 import policy_service_pb2 as pb
from tendhost.v1.health_pb2 import HealthCheck, HealthChecks, HttpProbe, TcpProbe
from tendhost.v1.hook_pb2 import Hook, Hooks
from tendhost.v1.host_pb2 import HostFilter, MaintenanceWindow, Policy
from tendhost.v1.rollout_pb2 import (
    ROLLOUT_HOST_STATUS_WAITING,
    ROLLOUT_STATUS_COMPLETED,
    RolloutSpec,
)
from tests.rpc.api import Api, refusal
from tests.unit.engine.fake_clock import START
from tests.unit.engine.fake_host import Pending

NIGHTS = MaintenanceWindow(start="22:00", end="04:00", time_zone="Europe/Berlin")
MORNINGS = MaintenanceWindow(start="02:00", end="06:00", time_zone="UTC")
REQUEST_ID = "5f9d9f6e-2b1c-4c5e-9a52-0d6f3f6f1a11"
HOST = wire.PolicySource(kind=wire.POLICY_SOURCE_KIND_HOST)
FLEET = wire.PolicySource(kind=wire.POLICY_SOURCE_KIND_FLEET)


def group(name: str) -> wire.PolicySource:
    return wire.PolicySource(kind=wire.POLICY_SOURCE_KIND_GROUP, group=name)


def moment(at: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(at)
    return message


def freeze(name: str = "year end", **changes: Any) -> wire.FreezePeriod:
    """A freeze of three hours from now on."""
    fields: dict[str, Any] = {
        "starts_at": moment(START),
        "ends_at": moment(START + timedelta(hours=3)),
        "reason": "holidays",
        "time_zone": "Europe/Berlin",
    }
    return wire.FreezePeriod(name=name, **{**fields, **changes})


async def say(api: Api, *, request_id: str = "", **defaults: Any) -> wire.GroupPolicy:
    request = pb.SetPolicyRequest(policy=wire.GroupPolicy(**defaults), request_id=request_id)
    found = (await api.policies.SetPolicy(request)).policy
    assert isinstance(found, wire.GroupPolicy)
    return found


async def said(api: Api, group: str = "") -> wire.GroupPolicy:
    response = await api.policies.GetPolicy(pb.GetPolicyRequest(group=group))
    assert isinstance(response.policy, wire.GroupPolicy)
    return response.policy


async def holds(api: Api, host: str = "web1") -> wire.EffectivePolicy:
    request = pb.GetEffectivePolicyRequest(host=host)
    policy = (await api.policies.GetEffectivePolicy(request)).policy
    assert isinstance(policy, wire.EffectivePolicy)
    return policy


async def test_that_nothing_is_said_is_an_answer(api: Api):
    for group in ("", "db"):
        nothing = await said(api, group)
        assert nothing.etag
        warnings = ["'db' is a group that no host is in"] if group else []
        assert nothing == wire.GroupPolicy(group=group, etag=nothing.etag, warnings=warnings)


async def test_what_is_said_reads_as_it_was_said_with_who_and_when(api: Api):
    hooks = Hooks(
        pre=Hook(script="drain\n", timeout=Duration(seconds=60), allowed_exit_codes=[0, 3])
    )
    check = HealthCheck(
        tcp=TcpProbe(port=80),
        timeout=Duration(seconds=1),
        attempts=2,
        interval=Duration(seconds=4),
    )
    checks = HealthChecks(checks=[check], settle=Duration(seconds=30))
    fields: dict[str, Any] = {
        "windows": [NIGHTS, MORNINGS],
        "freezes": [freeze(), freeze("audit", reason="")],
        "hooks": hooks,
        "health_checks": checks,
    }
    told = await say(api, group="db", changed_by="mallory", revision=99, **fields)
    (event,) = await api.world.events()
    expected = wire.GroupPolicy(group="db", changed_at=moment(START), **fields)
    expected.changed_by, expected.revision = told.changed_by, event.revision
    expected.etag = told.etag
    expected.warnings.append("'db' is a group that no host is in")
    assert told == expected
    assert told.changed_by not in ("", "mallory")
    assert await said(api, "db") == told
    body = event_message(event).policy_changed
    assert (body.group, body.by, body.deleted) == ("db", told.changed_by, False)


async def test_a_second_wish_replaces_the_first_as_a_whole(api: Api):
    await say(api, windows=[NIGHTS], freezes=[freeze()])
    await say(api, freezes=[freeze("audit")])
    now = await said(api)
    assert (list(now.windows), [f.name for f in now.freezes]) == ([], ["audit"])


async def test_a_wish_that_is_repeated_is_carried_out_once(api: Api):
    first = await say(api, request_id=REQUEST_ID, windows=[NIGHTS])
    await say(api, windows=[MORNINGS])
    assert await say(api, request_id=REQUEST_ID, windows=[NIGHTS]) == first
    assert list((await said(api)).windows) == [MORNINGS]
    request = pb.DeletePolicyRequest(group="", request_id=REQUEST_ID)
    refused = await refusal(api.policies.DeletePolicy(request))
    assert refused.reason == "REQUEST_ID_REUSED"


async def test_defaults_are_listed_the_fleets_first_page_by_page(api: Api):
    for name in ("web", "", "db"):
        await say(api, group=name, windows=[NIGHTS])
    found, token = [], ""
    for _ in range(3):
        request = pb.ListPoliciesRequest(page_size=1, page_token=token)
        page = await api.policies.ListPolicies(request)
        found += [one.group for one in page.policies]
        token = page.next_page_token
    assert (found, token) == (["", "db", "web"], "")
    request = pb.ListPoliciesRequest(page_token="nonsense")
    assert (await refusal(api.policies.ListPolicies(request))).reason == "PAGE_TOKEN_INVALID"


async def test_what_is_deleted_is_not_said_any_more_and_cannot_be_deleted_again(api: Api):
    await say(api, group="db", windows=[NIGHTS])
    response = await api.policies.DeletePolicy(pb.DeletePolicyRequest(group="db"))
    assert response.revision == 2
    assert not (await said(api, "db")).windows
    refused = await refusal(api.policies.DeletePolicy(pb.DeletePolicyRequest(group="db")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "POLICY_NOT_FOUND")
    assert refused.text.startswith("no policy is set for group 'db'; ")


async def test_an_effective_policy_tells_where_each_part_comes_from(api: Api):
    own = HealthCheck(tcp=TcpProbe(port=22))
    policy = Policy(health_checks=HealthChecks(checks=[own]), hooks=Hooks(post=Hook(script="own")))
    await api.register("web1", groups=["web", "db"], policy=policy)
    await say(
        api,
        windows=[NIGHTS],
        freezes=[freeze()],
        hooks=Hooks(pre=Hook(script="fleet"), post=Hook(script="fleet")),
        health_checks=HealthChecks(settle=Duration(seconds=30)),
    )
    await say(api, group="db", windows=[MORNINGS], hooks=Hooks(post=Hook(script="db")))
    await say(api, group="web", health_checks=HealthChecks(checks=[own]), freezes=[freeze("w")])
    found = await holds(api)
    assert found.host == "web1"
    assert [(list(w.windows), w.source) for w in found.windows] == [([MORNINGS], group("db"))]
    names = [(f.freeze.name, f.source) for f in found.freezes]
    assert names == [("w", group("web")), ("year end", FLEET)]
    assert (found.pre_hook.hook.script, found.pre_hook.source) == ("fleet", FLEET)
    assert (found.post_hook.hook.script, found.post_hook.source) == ("own", HOST)
    assert [(c.check.tcp.port, c.source) for c in found.checks] == [(22, HOST)]
    assert (found.settle.settle.seconds, found.settle.source) == (30, FLEET)
    assert not found.update_allowed
    assert found.opens_at == moment(START + timedelta(hours=14))
    assert found.detail == (
        "frozen until 2026-03-01 16:00 Europe/Berlin (w: holidays);"
        " after that its window opens Mon 2026-03-02 02:00 UTC"
    )


async def test_a_host_of_which_nothing_is_said_may_always_be_changed(api: Api):
    await api.register("web1")
    assert await holds(api) == wire.EffectivePolicy(host="web1", update_allowed=True)
    request = pb.GetEffectivePolicyRequest(host="web2")
    assert (await refusal(api.policies.GetEffectivePolicy(request))).reason == "HOST_NOT_FOUND"


@pytest.mark.parametrize(
    ("defaults", "fields"),
    [
        ({"group": "two words"}, ["policy.group"]),
        (
            {"windows": [MaintenanceWindow(start="25:00", end="04:00")]},
            ["policy.windows[0].start"],
        ),
        (
            {"windows": [NIGHTS, MaintenanceWindow(start="22:00", end="23:00", time_zone="Mars")]},
            ["policy.windows[1].time_zone"],
        ),
        (
            {
                "windows": [
                    MaintenanceWindow(start="22:00", end="23:00", cutoff=Duration(seconds=3600))
                ]
            },
            ["policy.windows[0].cutoff"],
        ),
        ({"freezes": [freeze(name="")]}, ["policy.freezes[0].name"]),
        ({"freezes": [freeze(name="a\nb")]}, ["policy.freezes[0].name"]),
        ({"freezes": [freeze(reason="x" * 501)]}, ["policy.freezes[0].reason"]),
        ({"freezes": [freeze(starts_at=None)]}, ["policy.freezes[0].starts_at"]),
        ({"freezes": [freeze(ends_at=None)]}, ["policy.freezes[0].ends_at"]),
        ({"freezes": [freeze(ends_at=moment(START))]}, ["policy.freezes[0].ends_at"]),
        (
            {"freezes": [freeze(starts_at=moment(START - timedelta(1)), ends_at=moment(START))]},
            ["policy.freezes[0].ends_at"],
        ),
        (
            {"freezes": [freeze(ends_at=Timestamp(seconds=2**60))]},
            ["policy.freezes[0].ends_at"],
        ),
        (
            {"freezes": [freeze(), freeze(time_zone="Mars")]},
            ["policy.freezes[1].name", "policy.freezes[1].time_zone"],
        ),
        ({"hooks": Hooks(pre=Hook(script=""))}, ["policy.hooks.pre.script"]),
        (
            {"health_checks": HealthChecks(checks=[HealthCheck(tcp=TcpProbe())])},
            ["policy.health_checks.checks[0].tcp.port"],
        ),
        (
            {
                "health_checks": HealthChecks(
                    checks=[HealthCheck(http=HttpProbe(url="http://h/", body="("))]
                )
            },
            ["policy.health_checks.checks[0].http.body"],
        ),
    ],
)
async def test_what_cannot_hold_is_refused_by_its_field_and_nothing_is_said(
    api: Api, defaults: dict[str, Any], fields: list[str]
):
    request = pb.SetPolicyRequest(policy=wire.GroupPolicy(**defaults))
    refused = await refusal(api.policies.SetPolicy(request))
    assert (refused.code, refused.reason) == (
        *(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    )
    assert refused.fields == fields
    assert await api.world.events() == []


async def test_a_frozen_rollout_waits_says_why_and_goes_on_when_it_is_lifted(api: Api):
    fake = await api.register("web1", tags=["web"])
    fake.pending = {"web": Pending()}
    await say(api, freezes=[freeze()])
    spec = RolloutSpec(waves=["1"], filter=HostFilter(all_tags=["web"]))
    start = rollout_service_pb2.StartRolloutRequest(spec=spec)
    rollout = (await api.rollouts.StartRollout(start)).rollout
    request = rollout_service_pb2.GetRolloutRequest(id=rollout.id)

    async def waits() -> bool:
        (member,) = (await api.rollouts.GetRollout(request)).hosts
        return bool(member.status == ROLLOUT_HOST_STATUS_WAITING)

    await api.world.until(waits)
    (member,) = (await api.rollouts.GetRollout(request)).hosts
    words = "frozen until 2026-03-01 16:00 Europe/Berlin (year end: holidays)"
    assert member.detail == words
    why = await api.hosts.ExplainHost(host_service_pb2.ExplainHostRequest(name="web1"))
    assert words in why.update
    await say(api)
    await api.world.rollout_ended(rollout.id)
    shown = (await api.rollouts.GetRollout(request)).rollout
    assert (shown.status, shown.progress.completed) == (ROLLOUT_STATUS_COMPLETED, 1)
