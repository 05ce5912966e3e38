"""Hooks and health checks over the API: kept as they were said, and refused where they cannot be meant."""

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1 import policy_pb2, policy_service_pb2
from tendhost.v1.health_pb2 import HealthCheck, HealthChecks, HttpProbe, TcpProbe, UnitsProbe
from tendhost.v1.hook_pb2 import Hook, Hooks
from tendhost.v1.host_pb2 import HostConfig, Policy
from tests.rpc.api import Api, refusal

INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXIT = Hook(script="exit 3", timeout=Duration(seconds=9), allowed_exit_codes=[0, 3])
SPAN: Any = {"timeout": Duration(seconds=2), "interval": Duration(seconds=3), "attempts": 4}
CHECKS = HealthChecks(
    checks=[
        HealthCheck(command="true", **SPAN),
        HealthCheck(tcp=TcpProbe(port=5432), **SPAN),
        HealthCheck(
            http=HttpProbe(url="http://{address}:8080/h", statuses=[204], body="^ok"), **SPAN
        ),
        HealthCheck(units=UnitsProbe(units=["nginx.service", "getty@tty1.service"]), **SPAN),
    ],
    settle=Duration(seconds=30),
)


async def reconfigured(api: Api, policy: Policy, *mask: str) -> Policy:
    request = pb.ReconfigureHostRequest(
        name="web1", config=HostConfig(policy=policy), update_mask=FieldMask(paths=mask)
    )
    response = await api.hosts.ReconfigureHost(request)
    assert isinstance(response.host.config.policy, Policy)
    return response.host.config.policy


async def test_hooks_and_checks_come_back_as_they_were_said(api: Api):
    policy = Policy(hooks=Hooks(pre=EXIT, post=EXIT), health_checks=CHECKS)
    await api.register("web1", policy=policy)
    kept = (await api.host()).config.policy
    assert (kept.hooks, kept.health_checks) == (policy.hooks, CHECKS)


async def test_what_is_left_open_has_its_default(api: Api):
    checks = HealthChecks(checks=[HealthCheck(tcp=TcpProbe(port=1))])
    policy = Policy(hooks=Hooks(pre=Hook(script="true")), health_checks=checks)
    await api.register("web1", policy=policy)
    kept = (await api.host()).config.policy
    assert kept.hooks.pre.timeout.seconds == 300
    assert kept.hooks.pre.allowed_exit_codes == [0]
    (check,) = kept.health_checks.checks
    assert (check.timeout.seconds, check.attempts, check.interval.seconds) == (10, 3, 5)
    assert not kept.health_checks.HasField("settle")


async def test_one_hook_is_changed_and_taken_away_without_the_other(api: Api):
    await api.register("web1", policy=Policy(hooks=Hooks(pre=EXIT), health_checks=CHECKS))
    post = Policy(hooks=Hooks(post=Hook(script="true")))
    kept = await reconfigured(api, post, "policy.hooks.post")
    assert (kept.hooks.pre, kept.hooks.post.script) == (EXIT, "true")
    kept = await reconfigured(api, Policy(), "policy.hooks.pre", "policy.health_checks.checks")
    assert not kept.hooks.HasField("pre")
    assert kept.hooks.post.script == "true"
    assert kept.health_checks == HealthChecks(settle=CHECKS.settle)


def one(**check) -> Policy:
    return Policy(health_checks=HealthChecks(checks=[HealthCheck(**check)]))


def http(url: str = "http://web1/", **probe) -> Policy:
    return one(http=HttpProbe(url=url, **probe))


HOOK, CHECK = "config.policy.hooks.pre", "config.policy.health_checks.checks[0]"


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (Policy(hooks=Hooks(pre=Hook())), f"{HOOK}.script"),
        (Policy(hooks=Hooks(pre=Hook(script=" \n\t"))), f"{HOOK}.script"),
        (Policy(hooks=Hooks(pre=Hook(script="a\0b"))), f"{HOOK}.script"),
        (Policy(hooks=Hooks(pre=Hook(script="é" * 32769))), f"{HOOK}.script"),
        (Policy(hooks=Hooks(pre=Hook(script="a", timeout=Duration()))), f"{HOOK}.timeout"),
        (
            Policy(hooks=Hooks(pre=Hook(script="a", timeout=Duration(seconds=86401)))),
            f"{HOOK}.timeout",
        ),
        (
            Policy(hooks=Hooks(pre=Hook(script="a", allowed_exit_codes=[0, 256]))),
            f"{HOOK}.allowed_exit_codes[1]",
        ),
        (
            Policy(hooks=Hooks(pre=Hook(script="a", allowed_exit_codes=[-1]))),
            f"{HOOK}.allowed_exit_codes[0]",
        ),
        (one(), f"{CHECK}.probe"),
        (one(command=" "), f"{CHECK}.command"),
        (one(tcp=TcpProbe(port=0)), f"{CHECK}.tcp.port"),
        (one(tcp=TcpProbe(port=65536)), f"{CHECK}.tcp.port"),
        (one(units=UnitsProbe()), f"{CHECK}.units.units"),
        (one(units=UnitsProbe(units=["-x"])), f"{CHECK}.units.units[0]"),
        (one(units=UnitsProbe(units=["a;b"])), f"{CHECK}.units.units[0]"),
        (one(command="true", attempts=101), f"{CHECK}.attempts"),
        (one(command="true", interval=Duration(nanos=1)), f"{CHECK}.interval"),
        (http("/health"), f"{CHECK}.http.url"),
        (http("http:///health"), f"{CHECK}.http.url"),
        (http("http://:80/"), f"{CHECK}.http.url"),
        (http("ftp://web1/"), f"{CHECK}.http.url"),
        (http("http://alex:secret@web1/"), f"{CHECK}.http.url"),
        (http("http://web1/a b"), f"{CHECK}.http.url"),
        (http("http://web1:0/"), f"{CHECK}.http.url"),
        (http("http://web1:65536/"), f"{CHECK}.http.url"),
        (http("http://[::1/"), f"{CHECK}.http.url"),
        (http("http://[1:2:3]/"), f"{CHECK}.http.url"),
        (http(statuses=[99]), f"{CHECK}.http.statuses[0]"),
        (http(body="(unclosed"), f"{CHECK}.http.body"),
        (http(body="a{9999}"), f"{CHECK}.http.body"),
        (http(body=r"(a)\1"), f"{CHECK}.http.body"),
        (http(body="(?=a)"), f"{CHECK}.http.body"),
        (
            Policy(health_checks=HealthChecks(settle=Duration(seconds=3601))),
            "config.policy.health_checks.settle",
        ),
    ],
)
async def test_what_cannot_be_meant_is_refused_by_its_field(api: Api, policy: Policy, field: str):
    with_it = HostConfig(name="web1", address="web1.example.org", policy=policy)
    refused = await refusal(api.hosts.RegisterHost(pb.RegisterHostRequest(config=with_it)))
    assert (refused.code, refused.fields) == (INVALID, [field])
    fake = await api.register("web1")
    whole = await refusal(reconfigured(api, policy, "policy"))
    assert (whole.code, whole.fields) == (INVALID, [field])
    assert not fake.ran


@pytest.mark.parametrize(
    "url",
    [
        "http://{address}/",
        "https://{address}:8443/health?x=1",
        "http://[2001:db8::1]:80/",
        "http://192.0.2.1",
        "http://web1.example.org?x",
    ],
)
async def test_urls_that_can_be_asked_are_taken(api: Api, url: str):
    await api.register("web1", policy=http(url))
    assert (await api.host()).config.policy.health_checks.checks[0].http.url == url


# --- secret hooks ---------------------------------------------------------------------------------

SECRET = Hook(script="echo s3cret", timeout=Duration(seconds=9), secret=True)
SHOWN = Hook(timeout=Duration(seconds=9), allowed_exit_codes=[0], secret=True)


async def script_of(api: Api) -> str:
    """The script of the hook before a change that the store has."""
    host = await api.world.store.host("web1")
    assert host.config.policy.hooks.pre is not None
    return str(host.config.policy.hooks.pre.script)


async def test_secret_hook__is_shown_without_its_script(api: Api):
    await api.register("web1", policy=Policy(hooks=Hooks(pre=SECRET)))
    assert (await api.host()).config.policy.hooks.pre == SHOWN
    effective = await api.policies.GetEffectivePolicy(
        policy_service_pb2.GetEffectivePolicyRequest(host="web1")
    )
    assert effective.policy.pre_hook.hook == SHOWN
    assert await script_of(api) == SECRET.script


@pytest.mark.parametrize(
    "mask", ["policy", "policy.hooks", "policy.hooks.pre", "policy.auto_reboot"]
)
async def test_secret_hook__keeps_its_script_when_what_was_read_is_written_back(
    api: Api, mask: str
):
    await api.register("web1", policy=Policy(hooks=Hooks(pre=SECRET)))
    read = (await api.host()).config.policy
    read.hooks.pre.timeout.seconds = 11
    read.auto_reboot = False
    changed = await reconfigured(api, read, mask)
    assert changed.hooks.pre.secret
    assert changed.hooks.pre.script == ""
    assert changed.hooks.pre.timeout.seconds == (11 if "hooks" in mask or mask == "policy" else 9)
    assert await script_of(api) == SECRET.script


@pytest.mark.parametrize("secret", [True, False])
async def test_secret_hook__is_replaced_by_a_whole_script(api: Api, secret: bool):
    await api.register("web1", policy=Policy(hooks=Hooks(pre=SECRET)))
    new = Policy(hooks=Hooks(pre=Hook(script="true", secret=secret)))
    changed = await reconfigured(api, new, "policy.hooks.pre")
    assert changed.hooks.pre.script == ("" if secret else "true")
    assert await script_of(api) == "true"


@pytest.mark.parametrize(
    ("former", "given"),
    [
        (Hooks(pre=SECRET), Hooks(pre=Hook(script=""))),  # not made readable
        (Hooks(pre=SECRET), Hooks(post=SHOWN)),  # not copied
        (Hooks(pre=EXIT), Hooks(pre=SHOWN)),
        (Hooks(), Hooks(pre=SHOWN)),
    ],
)
async def test_hook__without_a_script_of_its_own_is_refused(api: Api, former: Hooks, given: Hooks):
    await api.register("web1", policy=Policy(hooks=former))
    refused = await refusal(reconfigured(api, Policy(hooks=given), "policy.hooks"))
    part = "post" if given.HasField("post") else "pre"
    assert (refused.code, refused.fields) == (INVALID, [f"config.policy.hooks.{part}.script"])
    assert (await api.host()).config.policy.hooks.pre.secret is former.pre.secret


async def test_registration__needs_the_script_of_a_secret_hook(api: Api):
    refused = await refusal(api.register("web1", policy=Policy(hooks=Hooks(pre=SHOWN))))
    assert (refused.code, refused.fields) == (INVALID, ["config.policy.hooks.pre.script"])


async def test_secret_hook__of_a_group_keeps_its_script(api: Api):
    policy = policy_pb2.GroupPolicy(group="web", hooks=Hooks(pre=SECRET))
    request = policy_service_pb2.SetPolicyRequest(policy=policy)
    answer = await api.policies.SetPolicy(request)
    assert answer.policy.hooks.pre == SHOWN
    answer.policy.hooks.pre.timeout.seconds = 11
    written = policy_service_pb2.SetPolicyRequest(
        policy=policy_pb2.GroupPolicy(group="web", hooks=answer.policy.hooks)
    )
    answer = await api.policies.SetPolicy(written)
    assert answer.policy.hooks.pre.timeout.seconds == 11
    listed = await api.policies.ListPolicies(policy_service_pb2.ListPoliciesRequest())
    assert "s3cret" not in str(listed)
    (kept,) = await api.world.store.group_policies()
    assert kept.hooks.pre is not None
    assert kept.hooks.pre.script == SECRET.script
    written.policy.hooks.CopyFrom(Hooks(post=SHOWN))
    refused = await refusal(api.policies.SetPolicy(written))
    assert refused.fields == ["policy.hooks.post.script"]


async def test_secret_hook__is_not_in_the_repeated_answer_of_a_request(api: Api):
    await api.register("web1")
    request = pb.ReconfigureHostRequest(
        name="web1",
        config=HostConfig(policy=Policy(hooks=Hooks(pre=SECRET))),
        update_mask=FieldMask(paths=["policy.hooks"]),
        request_id="c4a5ee1e-3f33-4d8a-9f50-6f6f1f0a0a02",
    )
    first, second = [await api.hosts.ReconfigureHost(request) for _ in range(2)]
    assert first == second
    assert first.host.config.policy.hooks.pre == SHOWN


@pytest.mark.parametrize("script", ["echo s3cret\0", "s3cret" * 20_000])
async def test_hook__that_is_refused_is_not_repeated(api: Api, script: str):
    policy = Policy(hooks=Hooks(pre=Hook(script=script, secret=True)))
    refused = await refusal(api.register("web1", policy=policy))
    assert refused.fields == ["config.policy.hooks.pre.script"]
    assert "s3cret" not in refused.text + str(refused.details)
