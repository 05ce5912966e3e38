"""HostService over a real channel: the registry, and the work on one host."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.server.domain.events import StateChanged
from tendhost.server.domain.hosts.host_keys import fingerprint
from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1.host_pb2 import (
    HOST_STATE_FAILED,
    HOST_STATE_IDLE,
    HOST_STATE_PENDING_UPDATES,
    REBOOT_NEED_NOT_NEEDED,
    HostConfig,
    HostFilter,
    MaintenanceWindow,
    Policy,
)
from tendhost.v1.operation_pb2 import (
    OPERATION_STATUS_QUEUED,
    OPERATION_STATUS_RUNNING,
    OPERATION_STATUS_SUCCEEDED,
    STEP_NAME_LIST,
)
from tests.rpc.api import Api, refusal, refusal_of
from tests.unit.domain.hosts.test_host_keys import made_up
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import KEY, OTHER_KEY, Pending

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def registration(
    name: str = "web1", address: str = "web1.example.org", **more
) -> pb.RegisterHostRequest:
    return pb.RegisterHostRequest(config=HostConfig(name=name, address=address, **more))


RSA_KEY = made_up("ssh-rsa", b"rsa" * 90)
ECDSA_KEY = made_up("ecdsa-sha2-nistp256", b"ecdsa" * 9)


def reconfiguration(mask: list[str], **config: Any) -> pb.ReconfigureHostRequest:
    return pb.ReconfigureHostRequest(
        name="web1", config=HostConfig(**config), update_mask=FieldMask(paths=mask)
    )


async def listed(api: Api, **selection: Any) -> list[str]:
    response = await api.hosts.ListHosts(pb.ListHostsRequest(filter=HostFilter(**selection)))
    return [host.config.name for host in response.hosts]


# --- registering ----------------------------------------------------------------------------------


async def test_a_registered_host_has_its_defaults_filled_in_and_its_key_pinned(api: Api):
    api.world.fleet.add("web1.example.org")
    response = await api.hosts.RegisterHost(registration(tags=["b", "a"]))
    host = response.host
    assert (host.config.port, host.config.user) == (22, "root")
    assert list(host.config.tags) == list(host.status.tags) == ["a", "b"]
    assert host.config.policy.auto_reboot
    assert not host.config.policy.windows
    assert host.status.state == HOST_STATE_IDLE
    assert not host.status.HasField("healthy")
    assert not host.status.HasField("last_updated")
    assert host.host_key_fingerprint == fingerprint(KEY)
    assert response.revision == host.revision > 0
    assert await api.host() == host


async def test_every_invalid_field_of_a_registration_is_named_at_once(api: Api):
    window = MaintenanceWindow(start="25:00", end="9:00", time_zone="Mars/Olympus")
    refused = await refusal(
        api.hosts.RegisterHost(
            registration(
                name="Web 1",
                address="web1:22",
                port=70000,
                user="no such user",
                tags=["fine", "not fine"],
                compose_paths=["relative"],
                policy=Policy(windows=[window]),
            )
        )
    )
    assert (refused.code, refused.reason) == (INVALID, "INVALID_ARGUMENT")
    assert set(refused.fields) == {
        "config.name",
        "config.address",
        "config.port",
        "config.user",
        "config.tags[1]",
        "config.compose_paths[0]",
        "config.policy.windows[0].start",
        "config.policy.windows[0].end",
        "config.policy.windows[0].time_zone",
    }


@pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "../../etc/passwd", "/etc/localtime"])
async def test_a_time_zone_that_does_not_exist_is_an_invalid_field(api: Api, zone: str):
    window = MaintenanceWindow(start="02:00", end="04:00", time_zone=zone)
    request = registration(policy=Policy(windows=[window]))
    refused = await refusal(api.hosts.RegisterHost(request))
    assert refused.code is INVALID
    assert refused.fields == ["config.policy.windows[0].time_zone"]


async def test_a_cut_off_that_leaves_nothing_of_a_window_is_refused(api: Api):
    window = MaintenanceWindow(start="02:00", end="04:00", cutoff=Duration(seconds=7200))
    refused = await refusal(api.hosts.RegisterHost(registration(policy=Policy(windows=[window]))))
    assert refused.fields == ["config.policy.windows[0].cutoff"]
    assert "open for 2:00:00" in refused.text


async def test_a_registration_without_a_configuration_is_refused(api: Api):
    refused = await refusal(api.hosts.RegisterHost(pb.RegisterHostRequest()))
    assert refused.fields == ["config"]


async def test_a_name_is_registered_once(api: Api):
    await api.register("web1")
    refused = await refusal(api.hosts.RegisterHost(registration()))
    assert refused.code is grpc.StatusCode.ALREADY_EXISTS
    assert (refused.reason, refused.facts) == ("HOST_ALREADY_EXISTS", {"host": "web1"})


async def test_a_host_that_does_not_answer_is_not_registered(api: Api):
    refused = await refusal(api.hosts.RegisterHost(registration()))
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.reason == "HOST_UNREACHABLE"
    assert await listed(api) == []


async def test_a_key_that_is_not_the_expected_one_is_not_pinned(api: Api):
    api.world.fleet.add("web1.example.org")
    request = registration()
    request.expected_host_key = fingerprint(OTHER_KEY)
    refused = await refusal(api.hosts.RegisterHost(request))
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.reason == "HOST_KEY_MISMATCH"
    assert refused.facts == {
        "host": "web1",
        "expected": fingerprint(OTHER_KEY),
        "shown": fingerprint(KEY),
    }
    for expected in (fingerprint(KEY), KEY, f"{KEY} a comment"):
        request.expected_host_key = expected
        await api.hosts.RegisterHost(request)
        await api.hosts.UnregisterHost(pb.UnregisterHostRequest(name="web1"))


async def test_expected_key__of_another_kind_than_the_best_one_is_found_and_pinned(api: Api):
    fake = api.world.fleet.add("web1.example.org")
    fake.further_keys = (RSA_KEY,)
    request = registration()
    for expected in (
        *(RSA_KEY, fingerprint(RSA_KEY), f"3072 {fingerprint(RSA_KEY)} root@web1 (RSA)"),
        f"web1.example.org {RSA_KEY}\nweb2 {ECDSA_KEY}",
    ):
        request.expected_host_key = expected
        host = (await api.hosts.RegisterHost(request)).host
        assert host.host_key_fingerprint == fingerprint(RSA_KEY)
        assert (await api.run("StartQuery")).status == OPERATION_STATUS_SUCCEEDED
        await api.hosts.UnregisterHost(pb.UnregisterHostRequest(name="web1"))
    request.expected_host_key = fingerprint(OTHER_KEY)
    refused = await refusal(api.hosts.RegisterHost(request))
    assert refused.facts["shown"] == f"{fingerprint(KEY)}, {fingerprint(RSA_KEY)}"
    request.expected_host_key = ECDSA_KEY
    refused = await refusal(api.hosts.RegisterHost(request))
    assert (refused.reason, refused.facts["shown"]) == ("HOST_KEY_MISMATCH", fingerprint(KEY))


@pytest.mark.parametrize(
    ("typed", "stored", "reached"),
    [
        ("b\u00fccher.example", "b\u00fccher.example", "xn--bcher-kva.example"),
        ("[2001:db8::5]", "2001:db8::5", "2001:db8::5"),
        ("fe80::5%eth0", "fe80::5%eth0", "fe80::5%eth0"),
        ("web_1.example.org", "web_1.example.org", "web_1.example.org"),
    ],
)
async def test_address__is_shown_as_it_was_typed_and_reached_by_its_name_in_the_network(
    api: Api, typed: str, stored: str, reached: str
):
    api.world.fleet.add(reached)
    user = "CORP\\first.last"
    host = (await api.hosts.RegisterHost(registration(address=typed, user=user))).host
    assert (host.config.address, host.config.user) == (stored, user)
    assert (await api.run("StartCheck")).status == OPERATION_STATUS_SUCCEEDED
    twin = registration(name="web2", address=reached)
    refused = await refusal(api.hosts.RegisterHost(twin))
    assert refused.reason == "HOST_DUPLICATE"
    moved = reconfiguration(["address"], address="\u2603.example")
    refused = await refusal(api.hosts.ReconfigureHost(moved))
    assert refused.fields == ["config.address"]


@pytest.mark.parametrize("expected", [KEY[:-2], "@revoked web1 " + KEY, "MD5:aa", "a path", " "])
async def test_expected_key__that_cannot_be_read_is_an_invalid_field(api: Api, expected: str):
    api.world.fleet.add("web1.example.org")
    request = registration()
    request.expected_host_key = expected
    refused = await refusal(api.hosts.RegisterHost(request))
    assert (refused.code, refused.fields) == (INVALID, ["expected_host_key"])
    assert await listed(api) == []


async def test_a_host_that_is_forgotten_is_gone_and_its_operations_stay(api: Api):
    await api.register("web1")
    operation = await api.run("StartCheck")
    response = await api.hosts.UnregisterHost(pb.UnregisterHostRequest(name="web1"))
    assert response.revision > operation.revision
    refused = await refusal(api.hosts.GetHost(pb.GetHostRequest(name="web1")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "HOST_NOT_FOUND")
    assert (await api.ended(operation.id)).host == "web1"


@pytest.mark.parametrize(
    "method",
    [
        *("GetHost", "UnregisterHost", "GetInventory", "StartQuery", "StartUpdate"),
        *("StartReboot", "StartCheck", "RetryHost", "AcknowledgeHost"),
    ],
)
async def test_a_host_that_nobody_knows_is_not_found(api: Api, method: str):
    request = getattr(pb, f"{method}Request")(name="nobody")
    refused = await refusal(getattr(api.hosts, method)(request))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "HOST_NOT_FOUND")
    assert refused.facts == {"host": "nobody"}
    empty = await refusal(getattr(api.hosts, method)(getattr(pb, f"{method}Request")()))
    assert (empty.code, empty.fields) == (INVALID, ["name"])


# --- reconfiguring --------------------------------------------------------------------------------


async def test_only_what_the_mask_names_is_changed(api: Api):
    await api.register("web1", tags=["old"], groups=["g"], user="alex")
    request = reconfiguration(["tags"], tags=["new"], groups=["other"], user="sam")
    host = (await api.hosts.ReconfigureHost(request)).host
    assert list(host.config.tags) == ["new"]
    assert (list(host.config.groups), host.config.user) == (["g"], "alex")
    assert await api.host() == host


async def test_a_masked_field_that_is_empty_goes_back_to_its_default(api: Api):
    await api.register("web1", tags=["old"], user="alex", port=2222)
    request = reconfiguration(["tags", "user", "port"])
    config = (await api.hosts.ReconfigureHost(request)).host.config
    assert (list(config.tags), config.user, config.port) == ([], "root", 22)


async def test_a_part_of_the_policy_is_changed_without_the_other(api: Api):
    window = MaintenanceWindow(start="02:00", end="04:00", time_zone="Europe/Vienna")
    await api.register("web1", policy=Policy(windows=[window]))
    request = reconfiguration(["policy.auto_reboot"], policy=Policy(auto_reboot=False))
    policy = (await api.hosts.ReconfigureHost(request)).host.config.policy
    assert not policy.auto_reboot
    assert policy.windows == [window]
    request = reconfiguration(["policy.windows"])
    policy = (await api.hosts.ReconfigureHost(request)).host.config.policy
    assert not policy.auto_reboot
    assert not policy.windows
    policy = (await api.hosts.ReconfigureHost(reconfiguration(["policy"]))).host.config.policy
    assert policy.auto_reboot


@pytest.mark.parametrize("path", ["name", "colour", "policy.colour", "tags.x", "config.tags", ""])
async def test_a_path_that_cannot_be_changed_is_refused(api: Api, path: str):
    await api.register("web1")
    refused = await refusal(api.hosts.ReconfigureHost(reconfiguration([path], name="web2")))
    assert (refused.code, refused.fields) == (INVALID, ["update_mask"])
    assert repr(path) in refused.text


async def test_the_rules_hold_for_what_the_mask_names_and_for_nothing_else(api: Api):
    await api.register("web1")
    bad = {"address": "web1:22", "tags": ["not fine"], "user": "no such user"}
    refused = await refusal(api.hosts.ReconfigureHost(reconfiguration(["tags", "address"], **bad)))
    assert set(refused.fields) == {"config.address", "config.tags[0]"}
    host = (await api.hosts.ReconfigureHost(reconfiguration(["groups"], groups=["g"], **bad))).host
    assert (list(host.config.groups), list(host.config.tags)) == (["g"], [])


async def test_a_bad_path_and_a_bad_value_are_both_named(api: Api):
    await api.register("web1")
    refused = await refusal(
        api.hosts.ReconfigureHost(reconfiguration(["tags", "colour"], tags=["not fine"]))
    )
    assert set(refused.fields) == {"config.tags[0]", "update_mask"}


async def test_a_reconfiguration_needs_a_mask(api: Api):
    await api.register("web1")
    refused = await refusal(api.hosts.ReconfigureHost(pb.ReconfigureHostRequest(name="web1")))
    assert refused.fields == ["update_mask"]


async def test_a_reinstalled_host_is_pinned_anew_only_when_somebody_says_so(api: Api):
    fake = await api.register("web1")
    fake.key = OTHER_KEY
    assert (await api.run("StartQuery")).problem.reason == "HOST_KEY_CHANGED"
    host = (await api.hosts.ReconfigureHost(reconfiguration(["tags"]))).host
    assert host.host_key_fingerprint == fingerprint(KEY)
    request = reconfiguration([])
    request.accept_new_host_key = True
    host = (await api.hosts.ReconfigureHost(request)).host
    assert host.host_key_fingerprint == fingerprint(OTHER_KEY)


@pytest.mark.parametrize("looks", ["StartQuery", "StartCheck"])
async def test_first_hour__a_host_without_a_usable_key_is_looked_at_until_it_has_one(
    api: Api, looks: str
):
    fake = await api.register("web1")
    fake.accepts_key = False
    for _ in range(2):
        assert (await api.run(looks)).problem.reason == "AUTHENTICATION_REFUSED"
        status = (await api.host()).status
        assert status.state == HOST_STATE_IDLE
        assert not status.HasField("failure")
        assert "tendhost host set web1 --ssh-key PATH" in status.error
    await api.hosts.ReconfigureHost(reconfiguration(["ssh_key"], ssh_key="/etc/tendhost/key"))
    fake.accepts_key = True
    assert (await api.run(looks)).status == OPERATION_STATUS_SUCCEEDED
    assert (await api.host()).status.error == ""


@pytest.mark.parametrize("work", ["StartUpdate", "StartReboot"])
async def test_first_hour__a_host_that_failed_at_the_login_is_free_once_that_has_other_settings(
    api: Api, work: str
):
    fake = await api.register("web1")
    fake.accepts_key = False
    await api.run(work)
    assert (await api.host()).status.state == HOST_STATE_FAILED
    host = (await api.hosts.ReconfigureHost(reconfiguration(["tags"], tags=["web"]))).host
    assert host.status.state == HOST_STATE_FAILED  # the login is as it was
    host = (
        await api.hosts.ReconfigureHost(reconfiguration(["ssh_key"], ssh_key="/etc/tendhost/key"))
    ).host
    assert host.status.state == HOST_STATE_IDLE
    event = (await api.world.events())[-1]
    assert isinstance(event.body, StateChanged)
    assert (str(event.body.to), event.body.cause) == ("idle", "the login has other settings")
    fake.accepts_key = True
    assert (await api.run("StartQuery")).status == OPERATION_STATUS_SUCCEEDED


async def test_a_busy_host_is_not_reconfigured_and_says_when_to_try_again(api: Api):
    fake = await api.register("web1")
    hold = fake.hold(Command.UNITS)
    id = await api.started("StartCheck")
    await api.world.reached(hold)
    refused = await refusal(api.hosts.ReconfigureHost(reconfiguration(["tags"])))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "HOST_BUSY")
    assert refused.facts == {"host": "web1", "operation": id}
    assert refused.kinds == ["ErrorInfo", "RetryInfo"]
    hold.released.set()
    await api.ended(id)


# --- listing --------------------------------------------------------------------------------------


async def test_hosts_are_selected_by_each_part_of_the_filter(api: Api):
    await api.register("web1", tags=["web", "prod"], groups=["eu"])
    await api.register("web2", tags=["web"], groups=["us"])
    await api.register("db1", tags=["db", "prod"], groups=["eu"])
    assert await listed(api) == ["db1", "web1", "web2"]
    assert await listed(api, names=["web?", "nothing"]) == ["web1", "web2"]
    assert await listed(api, all_tags=["web", "prod"]) == ["web1"]
    assert await listed(api, any_tags=["web", "db"]) == ["db1", "web1", "web2"]
    assert await listed(api, groups=["eu"]) == ["db1", "web1"]
    assert await listed(api, exclude_hosts=["web1"]) == ["db1", "web2"]
    assert await listed(api, name_prefix="web") == ["web1", "web2"]
    assert await listed(api, states=[HOST_STATE_IDLE]) == ["db1", "web1", "web2"]
    assert await listed(api, states=[HOST_STATE_FAILED]) == []
    assert await listed(api, reboot_needed=True) == []
    assert await listed(api, reboot_needed=False, groups=["us"]) == ["web2"]


async def test_groups_and_tags_are_counted(api: Api):
    await api.register("web1", tags=["web", "prod"], groups=["eu"])
    await api.register("web2", tags=["web"], groups=["eu"])
    tags = (await api.hosts.ListTags(pb.ListTagsRequest())).tags
    groups = (await api.hosts.ListGroups(pb.ListGroupsRequest())).groups
    assert [(t.name, t.host_count) for t in tags] == [("prod", 1), ("web", 2)]
    assert [(g.name, g.host_count) for g in groups] == [("eu", 2)]


# --- working --------------------------------------------------------------------------------------


async def test_a_query_fills_the_status_and_the_inventory(api: Api):
    fake = await api.register("web1")
    refused = await refusal(api.hosts.GetInventory(pb.GetInventoryRequest(name="web1")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "INVENTORY_NOT_FOUND")
    fake.pending = {"web": Pending(security=True), "db": Pending()}
    operation = await api.run("StartQuery")
    assert operation.status == OPERATION_STATUS_SUCCEEDED
    assert operation.steps[-1].name == STEP_NAME_LIST
    status = (await api.host()).status
    assert status.state == HOST_STATE_PENDING_UPDATES
    assert (status.pending_updates, status.pending_security_updates) == (2, 1)
    assert status.reboot.need == REBOOT_NEED_NOT_NEEDED
    assert status.os_name == "Debian GNU/Linux 12 (bookworm)"
    response = await api.hosts.GetInventory(pb.GetInventoryRequest(name="web1"))
    inventory = response.inventory
    assert [p.name for p in inventory.pending_updates] == ["db", "web"]
    assert {p.name: p.version for p in inventory.packages} == fake.installed
    assert (inventory.system.package_manager, inventory.host) == ("apt", "web1")


async def test_an_update_says_what_it_did(api: Api):
    fake = await api.register("web1")
    fake.pending = {"web": Pending(wants_reboot=True), "db": Pending(held=True)}
    tried = await api.run("StartUpdate", dry_run=True)
    assert [p.name for p in tried.update.packages] == ["web"]
    assert (tried.update.upgraded_count, tried.dry_run) == (0, True)
    done = (await api.run("StartUpdate")).update
    assert (done.success, done.rebooted, done.reboot_required) == (True, True, False)
    assert done.upgraded_count == 1
    assert (done.packages[0].from_version, done.packages[0].to_version) == ("1.0-1", "2.0-1")
    assert [w.name for w in done.withheld] == ["db"]
    assert (await api.host()).status.HasField("last_updated")


async def test_a_check_has_its_own_result(api: Api):
    fake = await api.register("web1")
    fake.failed_units = ["web.service"]
    operation = await api.run("StartCheck")
    assert operation.WhichOneof("result") == "health"
    assert not operation.health.healthy
    status = (await api.host()).status
    assert status.HasField("healthy")
    assert not status.healthy


async def test_a_busy_host_names_its_operation_and_queues_on_demand(api: Api):
    fake = await api.register("web1")
    hold = fake.hold(Command.UNITS)
    id = await api.started("StartCheck")
    await api.world.reached(hold)
    shown = await api.hosts.GetHost(pb.GetHostRequest(name="web1"))
    assert shown.operation_id == id
    refused = await refusal(api.hosts.StartUpdate(pb.StartUpdateRequest(name="web1")))
    assert (refused.code, refused.facts["operation"]) == (grpc.StatusCode.ABORTED, id)
    response = await api.hosts.StartUpdate(pb.StartUpdateRequest(name="web1", queue=True))
    assert response.operation.status == OPERATION_STATUS_QUEUED
    hold.released.set()
    assert (await api.ended(response.operation.id)).status == OPERATION_STATUS_SUCCEEDED
    assert (await api.hosts.GetHost(pb.GetHostRequest(name="web1"))).operation_id == ""


async def test_a_failed_host_is_shown_acknowledged_and_retried(api: Api):
    fake = await api.register("web1")
    for method in ("RetryHost", "AcknowledgeHost"):
        request = getattr(pb, f"{method}Request")(name="web1")
        refused = await refusal(getattr(api.hosts, method)(request))
        assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refused.reason == "INVALID_TRANSITION"
        assert refused.kinds == ["ErrorInfo", "PreconditionFailure"]
        assert (refused.facts["state"], refused.facts["allowed"]) == ("idle", "querying")
        assert refused.facts["to"] in ("idle", "failed")
        assert "web1: it is idle; only failed hosts can be " in refused.text
    fake.accepts_key = False
    await api.run("StartUpdate")
    failure = (await api.host()).status.failure
    assert (failure.step, failure.problem.reason) == ("connect", "AUTHENTICATION_REFUSED")
    refused = await refusal(api.hosts.StartUpdate(pb.StartUpdateRequest(name="web1")))
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "HOST_FAILED",
    )
    assert refused.text.endswith("retry it first: tendhost retry web1")
    seen = await api.hosts.AcknowledgeHost(
        pb.AcknowledgeHostRequest(name="web1"), metadata=(("tendhost-user", "sam"),)
    )
    assert seen.host.status.state == HOST_STATE_FAILED
    assert seen.host.status.failure.acknowledged_by.startswith("sam (")
    fake.accepts_key = True
    retried = await api.hosts.RetryHost(pb.RetryHostRequest(name="web1"))
    assert retried.operation.status == OPERATION_STATUS_RUNNING
    assert retried.host.status.retry_count == 1
    assert (await api.ended(retried.operation.id)).status == OPERATION_STATUS_SUCCEEDED


@pytest.mark.parametrize("user", ["a" * 65, "sam; rm", "s\u00e4m".encode().decode("latin-1"), ""])
async def test_a_name_that_is_none_is_not_taken_for_who_asked(api: Api, user: str):
    await api.register("web1")
    metadata = (("tendhost-user", user.encode("ascii", "replace").decode()),)
    response = await api.hosts.StartCheck(pb.StartCheckRequest(name="web1"), metadata=metadata)
    assert response.operation.created_by == "ipv4:127.0.0.1"
    await api.ended(response.operation.id)


# --- one machine, one name ------------------------------------------------------------------------


def named(name: str, **config: Any) -> pb.RegisterHostRequest:
    return pb.RegisterHostRequest(config=HostConfig(name=name, **config))


async def test_duplicate__the_same_key_or_address_under_another_name_is_refused(api: Api):
    first = await api.register("web1")
    twin = api.world.fleet.add("twin.example.org")
    twin.key = first.key
    for request, same in (
        (named("web2", address="WEB1.example.org"), "host key"),
        (named("web2", address=twin.address), "host key"),
    ):
        api.world.fleet.hosts["WEB1.example.org"] = first
        refused = await refusal(api.hosts.RegisterHost(request))
        assert (refused.code, refused.reason) == (
            *(grpc.StatusCode.ALREADY_EXISTS, "HOST_DUPLICATE"),
        )
        assert refused.facts == {"host": "web2", "other": "web1", "same": same}
        assert await listed(api) == ["web1"]
    first.key = OTHER_KEY  # reinstalled, and somebody registers it anew instead of pinning its key
    refused = await refusal(api.hosts.RegisterHost(named("web2", address=first.address)))
    assert refused.facts == {"host": "web2", "other": "web1", "same": "address"}
    request = named("web2", address=twin.address)
    request.allow_duplicate = True
    await api.hosts.RegisterHost(request)
    assert await listed(api) == ["web1", "web2"]


async def test_duplicate__of_registrations_at_once_one_wins(api: Api):
    fake = api.world.fleet.add("web.example.org")
    calls = (api.hosts.RegisterHost(named(f"w{n}", address=fake.address)) for n in range(5))

    async def outcome(call: Any) -> str:
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return refusal_of(error).reason
        return "registered"

    found = await asyncio.gather(*map(outcome, calls))
    assert sorted(found) == ["HOST_DUPLICATE"] * 4 + ["registered"]
    assert len(await listed(api)) == 1


async def test_duplicate__another_address_or_key_is_held_to_it_and_nothing_else_is(api: Api):
    first, second = await api.register("web1"), await api.register("web2")
    move = pb.ReconfigureHostRequest(
        name="web2",
        config=HostConfig(address=first.address),
        update_mask=FieldMask(paths=["address"]),
    )
    assert (await refusal(api.hosts.ReconfigureHost(move))).facts["other"] == "web1"
    second.key = first.key
    repin = pb.ReconfigureHostRequest(name="web2", accept_new_host_key=True)
    assert (await refusal(api.hosts.ReconfigureHost(repin))).reason == "HOST_DUPLICATE"
    repin.allow_duplicate = True
    await api.hosts.ReconfigureHost(repin)
    # It is a duplicate with permission now, and may be changed in whatever else.
    await api.hosts.ReconfigureHost(pb.ReconfigureHostRequest(name="web2", add_tags=["a"]))
    await api.run("StartCheck", "web2")
