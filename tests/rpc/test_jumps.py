"""Jumps over a real channel: which are accepted, through which a host is reached, and who keeps one from removal."""

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.server.domain.events import Event, HostAcknowledged
from tendhost.server.store.records import Change
from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1.host_pb2 import HostConfig
from tendhost.v1.operation_pb2 import OPERATION_STATUS_SUCCEEDED
from tendhost.v1.rollout_pb2 import EXCLUSION_JUMP_ONLY, EXCLUSION_UNSPECIFIED, RolloutSpec
from tendhost.v1.rollout_service_pb2 import PlanRolloutRequest
from tests.rpc.api import Api, refusal

INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def add(api: Api, name: str, jump: str = "", address: str = "") -> Any:
    address = address or f"{name}.example.org"
    if address not in api.world.fleet.hosts:
        api.world.fleet.add(address)
    host = HostConfig(name=name, address=address, jump=jump)
    return (await api.hosts.RegisterHost(pb.RegisterHostRequest(config=host))).host


def changed(name: str, **config: Any) -> pb.ReconfigureHostRequest:
    return pb.ReconfigureHostRequest(
        name=name, config=HostConfig(**config), update_mask=FieldMask(paths=list(config))
    )


async def test_jump__is_part_of_the_configuration_and_of_every_connection(api: Api):
    await add(api, "edge")
    await add(api, "bastion", "edge")
    assert (await add(api, "web1", "bastion")).config.jump == "bastion"
    await api.hosts.TestHost(pb.TestHostRequest(name="web1"))
    jump = api.world.fleet.jumps["web1"]
    assert jump is not None
    assert jump.jump is not None
    assert (jump.host, jump.jump.host, jump.jump.jump) == ("bastion", "edge", None)
    pinned = await api.world.store.host("bastion")
    assert jump.host_key == pinned.host_key
    await api.hosts.ReconfigureHost(changed("web1", jump=""))
    await api.hosts.TestHost(pb.TestHostRequest(name="web1"))
    assert api.world.fleet.jumps["web1"] is None


@pytest.mark.parametrize(
    ("jump", "words"),
    [
        ("nosuch", "jump 'nosuch' is not registered"),
        ("web9", "host 'web9' cannot be its own jump"),
        ("here", "is the server's own machine"),
        ("Not A Name", "must be empty or the name of a registered host"),
    ],
)
async def test_jump__that_cannot_be_one_is_an_invalid_field_of_a_registration(
    api: Api, jump: str, words: str
):
    await add(api, "here", address="local")
    refused = await refusal(add(api, "web9", jump))
    assert refused.code == INVALID
    assert words in dict(refused.violations)["config.jump"]
    assert await api.world.store.find_host("web9") is None


async def test_jumps__that_lead_in_a_circle_are_refused_and_change_nothing(api: Api):
    for name, jump in (("a", ""), ("b", "a"), ("c", "b")):
        await add(api, name, jump)
    for jump, circle in (("a", "its own jump"), ("b", "a → b → a"), ("c", "a → c → b → a")):
        refused = await refusal(api.hosts.ReconfigureHost(changed("a", jump=jump)))
        assert refused.code == INVALID
        assert circle in dict(refused.violations)["config.jump"]
    assert (await api.world.store.host("a")).config.jump == ""


async def test_jumps__that_two_calls_turn_into_a_circle_are_refused_to_one_of_them(api: Api):
    for name in ("a", "b"):
        await add(api, name)
    calls = (changed("a", jump="b"), changed("b", jump="a"))
    done = await asyncio.gather(
        *(api.hosts.ReconfigureHost(call) for call in calls), return_exceptions=True
    )
    assert sum(isinstance(one, BaseException) for one in done) == 1
    hosts = [await api.world.store.host(name) for name in ("a", "b")]
    assert sorted(host.config.jump for host in hosts) in (["", "a"], ["", "b"])


async def test_jump_in_use__stays_registered_and_names_its_users(api: Api):
    await add(api, "bastion")
    for number in range(7):
        await add(api, f"web{number}", "bastion")
    refused = await refusal(api.hosts.UnregisterHost(pb.UnregisterHostRequest(name="bastion")))
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "JUMP_IN_USE",
    )
    assert "it is the jump of web0, web1, web2, web3, web4 and others" in refused.text
    assert (await api.host("bastion")).config.name == "bastion"
    refused = await refusal(api.hosts.ReconfigureHost(changed("bastion", address="local")))
    assert "is the jump of web0" in dict(refused.violations)["config.address"]
    for number in range(7):
        await api.hosts.ReconfigureHost(changed(f"web{number}", jump=""))
    await api.hosts.UnregisterHost(pb.UnregisterHostRequest(name="bastion"))


async def test_jump_in_use__cannot_be_removed_while_a_host_is_added_behind_it(api: Api):
    await add(api, "bastion")
    done = await asyncio.gather(
        add(api, "web1", "bastion"),
        api.hosts.UnregisterHost(pb.UnregisterHostRequest(name="bastion")),
        return_exceptions=True,
    )
    assert sum(isinstance(one, BaseException) for one in done) == 1
    behind = await api.world.store.find_host("web1")
    bastion = await api.world.store.find_host("bastion")
    assert behind is None or bastion is not None


async def test_private_address__may_be_that_of_another_host_behind_another_jump(api: Api):
    for name in ("east", "west"):
        await add(api, name)
    await add(api, "web1", "east", address="10.0.0.5")
    api.world.fleet.add("10.0.0.5").key = "ssh-ed25519 AAAAother"
    await add(api, "web2", "west", address="10.0.0.5")
    refused = await refusal(add(api, "web3", "west", address="10.0.0.5"))
    assert refused.reason == "HOST_DUPLICATE"


async def test_jump__that_is_gone_is_told_by_each_connection_and_hinders_no_other_change(api: Api):
    await add(api, "web1")
    # As no call can make it; a database that was changed by hand can be like that.
    host = await api.world.store.host("web1")
    behind = replace(host, config=replace(host.config, jump="nosuch"))
    event = Event(at=api.world.clock.now(), body=HostAcknowledged(by="test"), host="web1")
    await api.world.store.commit(Change(events=(event,), hosts=(behind,)))
    found = await api.hosts.TestHost(pb.TestHostRequest(name="web1"))
    assert found.problem.reason == "JUMP_FAILED"
    assert found.problem.facts["jump"] == "nosuch"
    assert "jump 'nosuch' is not registered" in found.problem.message
    assert not found.reachable
    await api.hosts.ReconfigureHost(changed("web1", tags=["a"]))
    request = changed("web1")
    request.accept_new_host_key = True
    refused = await refusal(api.hosts.ReconfigureHost(request))
    assert "is not registered" in dict(refused.violations)["config.jump"]
    await api.hosts.ReconfigureHost(changed("web1", jump=""))
    assert (await api.hosts.TestHost(pb.TestHostRequest(name="web1"))).logged_in


async def test_login_files__of_a_jump_name_the_hosts_behind_it(api: Api):
    await add(api, "bastion")
    await add(api, "web1", "bastion", address="10.0.0.5")
    await api.hosts.ReconfigureHost(changed("bastion", user="tend"))
    files = await api.hosts.GetLoginFiles(pb.GetLoginFilesRequest(name="bastion"))
    assert files.user == "tend"
    assert files.authorized_keys == (
        'restrict,port-forwarding,permitopen="10.0.0.5:22" ssh-ed25519 AAAAserver tendhost\n'
    )
    assert "tend ALL=(root) NOPASSWD: /bin/sh, /usr/bin/sh\n" in files.sudoers
    assert list(files.public_keys) == ["ssh-ed25519 AAAAserver"]


async def test_login_files__of_no_host_and_of_the_servers_machine_are_refused(api: Api):
    await add(api, "here", address="local")
    refused = await refusal(api.hosts.GetLoginFiles(pb.GetLoginFilesRequest(name="here")))
    assert refused.code == INVALID
    refused = await refusal(api.hosts.GetLoginFiles(pb.GetLoginFilesRequest(name="nosuch")))
    assert refused.reason == "HOST_NOT_FOUND"


async def test_jump_only__is_left_out_of_all_work_and_all_reports(api: Api):
    await add(api, "bastion")
    await add(api, "web1", "bastion")
    await api.hosts.ReconfigureHost(changed("bastion", jump_only=True))
    for method, request in (
        ("StartQuery", pb.StartQueryRequest(name="bastion")),
        ("StartUpdate", pb.StartUpdateRequest(name="bastion")),
        ("StartReboot", pb.StartRebootRequest(name="bastion")),
        ("StartCheck", pb.StartCheckRequest(name="bastion")),
    ):
        refused = await refusal(getattr(api.hosts, method)(request))
        assert refused.reason == "ONLY_JUMP", method
        assert "tendhost host set bastion --no-jump-only" in refused.text
    plan = await api.rollouts.PlanRollout(PlanRolloutRequest(spec=RolloutSpec()))
    assert [(host.host, host.wave, host.exclusion) for host in plan.hosts] == [
        ("web1", 1, EXCLUSION_UNSPECIFIED),
        ("bastion", 0, EXCLUSION_JUMP_ONLY),
    ]
    report = await api.hosts.GetCompliance(pb.GetComplianceRequest())
    assert report.host_count == 1
    found = await api.hosts.TestHost(pb.TestHostRequest(name="bastion"))
    assert found.logged_in
    assert not found.HasField("problem")
    assert api.world.fleet.hosts["bastion.example.org"].ran == []
    await api.hosts.ReconfigureHost(changed("bastion", jump_only=False))
    operation = await api.run("StartQuery", "bastion")
    assert operation.status == OPERATION_STATUS_SUCCEEDED
