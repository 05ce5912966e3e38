"""HostService over a real channel: which host keys are pinned, who pins others, and what is refused."""

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.server.domain.hosts.host_keys import fingerprint
from tendhost.server.rpc.convert.events import event_message
from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1.host_pb2 import Host, HostConfig
from tendhost.v1.operation_pb2 import OPERATION_STATUS_SUCCEEDED
from tests.rpc.api import Api, refusal
from tests.unit.domain.hosts.test_host_keys import made_up
from tests.unit.engine.fake_host import KEY

INVALID = grpc.StatusCode.INVALID_ARGUMENT
RSA_KEY = made_up("ssh-rsa", b"rsa" * 90)
OTHER_KEY = made_up("ssh-ed25519", b"o" * 32)
ECDSA_KEY = made_up("ecdsa-sha2-nistp256", b"ecdsa" * 9)


async def register(api: Api, expected: str = "") -> Host:
    config = HostConfig(name="web1", address="web1.example.org")
    request = pb.RegisterHostRequest(config=config, expected_host_key=expected)
    host: Host = (await api.hosts.RegisterHost(request)).host
    return host


async def repinned(api: Api, **change) -> Host:
    request = pb.ReconfigureHostRequest(name="web1", **change)
    host: Host = (await api.hosts.ReconfigureHost(request)).host
    return host


def prints(*keys: str) -> list[str]:
    return [fingerprint(key) for key in keys]


async def test_keys_of_an_enrolment__are_all_pinned_if_the_host_shows_one_of_them(api: Api):
    fake = api.world.fleet.add("web1.example.org")
    fake.further_keys = (RSA_KEY,)
    host = await register(api, f"web1 {OTHER_KEY}\nweb1 {RSA_KEY}\nweb1 {KEY}")
    assert list(host.host_key_fingerprints) == prints(KEY, RSA_KEY, OTHER_KEY)
    assert host.host_key_fingerprint == fingerprint(KEY)
    fake.key, fake.further_keys = OTHER_KEY, ()  # the rotation
    assert (await api.run("StartQuery")).status == OPERATION_STATUS_SUCCEEDED
    fake.key = ECDSA_KEY
    problem = (await api.run("StartQuery")).problem
    assert problem.reason == "HOST_KEY_CHANGED"
    assert problem.facts["pinned"] == ", ".join(prints(KEY, RSA_KEY, OTHER_KEY))


async def test_key_of_a_rotation__is_added_before_the_host_has_it_and_the_old_one_removed(
    api: Api,
):
    fake = api.world.fleet.add("web1.example.org")
    await register(api)
    host = await repinned(api, add_host_keys=f"{OTHER_KEY} root@web1")
    assert list(host.host_key_fingerprints) == prints(KEY, OTHER_KEY)
    etag = host.etag
    fake.key = OTHER_KEY
    assert (await api.run("StartQuery")).status == OPERATION_STATUS_SUCCEEDED
    host = await repinned(api, remove_host_keys=[fingerprint(KEY)])
    assert list(host.host_key_fingerprints) == prints(OTHER_KEY)
    assert host.etag != etag
    fake.key = KEY
    assert (await api.run("StartQuery")).problem.reason == "HOST_KEY_CHANGED"


async def test_fingerprint_that_is_added__is_one_that_the_host_shows_now(api: Api):
    fake = api.world.fleet.add("web1.example.org")
    await register(api)
    request = pb.ReconfigureHostRequest(name="web1", add_host_keys=fingerprint(RSA_KEY))
    refused = await refusal(api.hosts.ReconfigureHost(request))
    assert (refused.reason, refused.facts["shown"]) == ("HOST_KEY_MISMATCH", fingerprint(KEY))
    fake.further_keys = (RSA_KEY,)
    host = (await api.hosts.ReconfigureHost(request)).host
    assert list(host.host_key_fingerprints) == prints(KEY, RSA_KEY)


async def test_repin__replaces_every_pinned_key_and_tells_who_did_it_with_both_fingerprints(
    api: Api,
):
    fake = api.world.fleet.add("web1.example.org")
    await register(api, f"{KEY}\n{RSA_KEY}")
    fake.key = OTHER_KEY
    host = await repinned(api, accept_new_host_key=True)
    assert list(host.host_key_fingerprints) == prints(OTHER_KEY)
    told = event_message((await api.world.events())[-1]).host_reconfigured
    assert told.by
    (change,) = told.changes
    assert change.path == "host_key"
    assert (change.old, change.new) == (", ".join(prints(KEY, RSA_KEY)), fingerprint(OTHER_KEY))


async def test_repin__with_a_supplied_key_refuses_another_machine_and_changes_nothing(api: Api):
    fake = api.world.fleet.add("web1.example.org")
    before = await register(api)
    fake.key = OTHER_KEY
    request = pb.ReconfigureHostRequest(
        name="web1", accept_new_host_key=True, expected_host_key=RSA_KEY
    )
    assert (await refusal(api.hosts.ReconfigureHost(request))).reason == "HOST_KEY_MISMATCH"
    assert await api.host() == before


MANY = "\n".join(made_up("ssh-ed25519", bytes([n])) for n in range(16))


@pytest.mark.parametrize(
    ("change", "field", "why"),
    [
        ({"add_host_keys": "nonsense"}, "add_host_keys", "expected a fingerprint"),
        ({"add_host_keys": f"@revoked * {RSA_KEY}"}, "add_host_keys", "revokes this key"),
        ({"add_host_keys": MANY}, "add_host_keys", "17 keys; expected at most 16"),
        ({"remove_host_keys": [RSA_KEY]}, "remove_host_keys", "is not pinned; expected one of"),
        ({"remove_host_keys": [KEY]}, "remove_host_keys", "no pinned key would be left"),
        ({"remove_host_keys": ["nonsense"]}, "remove_host_keys", "expected a fingerprint"),
        ({"remove_host_keys": [""]}, "remove_host_keys[0]", "must"),
    ],
)
async def test_change_of_pins__that_means_nothing_is_refused(api: Api, change, field, why):
    api.world.fleet.add("web1.example.org")
    before = await register(api)
    refused = await refusal(
        api.hosts.ReconfigureHost(pb.ReconfigureHostRequest(name="web1", **change))
    )
    assert (refused.code, refused.fields) == (INVALID, [field])
    assert why in str(refused.text)
    assert await api.host() == before


async def test_duplicate__is_found_by_any_of_the_keys(api: Api):
    api.world.fleet.add("web1.example.org")
    await register(api)
    other = api.world.fleet.add("web2.example.org")
    other.further_keys = (RSA_KEY,)
    request = pb.RegisterHostRequest(
        config=HostConfig(name="web2", address="web2.example.org"),
        expected_host_key=f"{RSA_KEY}\n{KEY}",
    )
    assert (await refusal(api.hosts.RegisterHost(request))).reason == "HOST_DUPLICATE"


async def test_unusable_private_key__is_refused_when_it_is_named_and_changes_nothing(api: Api):
    api.world.fleet.add("web1.example.org")
    api.world.fleet.key_problems["/keys/bad"] = "the key /keys/bad is a public key; expected"
    config = HostConfig(name="web1", address="web1.example.org", ssh_key="/keys/bad")
    refused = await refusal(api.hosts.RegisterHost(pb.RegisterHostRequest(config=config)))
    assert (refused.code, refused.fields) == (INVALID, ["config.ssh_key"])
    assert "/keys/bad is a public key" in refused.text
    assert not (await api.hosts.ListHosts(pb.ListHostsRequest())).hosts
    before = await register(api)
    mask = FieldMask(paths=["ssh_key", "user"])
    request = pb.ReconfigureHostRequest(name="web1", config=config, update_mask=mask)
    refused = await refusal(api.hosts.ReconfigureHost(request))
    assert (refused.code, refused.fields) == (INVALID, ["config.ssh_key"])
    assert await api.host() == before
    # A key that has become unusable since is no reason to refuse other changes.
    request.config.ssh_key = "/keys/fine"
    await api.hosts.ReconfigureHost(request)
    api.world.fleet.key_problems["/keys/fine"] = "gone"
    assert (await repinned(api, add_tags=["a"])).config.tags == ["a"]


async def test_host_with_a_certificate__is_trusted_by_it_whatever_its_key_becomes(api: Api):
    fake = api.world.fleet.add("web1.example.org")
    fake.certificate = KEY
    host = await register(api)
    assert (host.host_key_certified, list(host.host_key_fingerprints)) == (True, prints(KEY))
    fake.key = fake.certificate = OTHER_KEY
    assert (await api.run("StartQuery")).status == OPERATION_STATUS_SUCCEEDED
    fake.certificate = ""
    problem = (await api.run("StartQuery")).problem
    assert problem.reason == "HOST_CERTIFICATE_REFUSED"
    assert "--repin --host-key KEY" in problem.message
    etag, host = host.etag, await repinned(api, add_host_keys=OTHER_KEY)
    assert (host.host_key_certified, list(host.host_key_fingerprints)) == (False, prints(OTHER_KEY))
    assert host.etag != etag
    told = event_message((await api.world.events())[-1]).host_reconfigured
    (change,) = told.changes
    assert (change.old, change.new) == (f"{prints(KEY)[0]} (certified)", prints(OTHER_KEY)[0])
    assert (await api.run("StartQuery")).status == OPERATION_STATUS_SUCCEEDED


async def test_key_that_is_supplied__is_pinned_also_where_there_is_a_certificate(api: Api):
    api.world.fleet.add("web1.example.org").certificate = KEY
    assert not (await register(api, KEY)).host_key_certified
    assert (await repinned(api, accept_new_host_key=True)).host_key_certified
    request = pb.ReconfigureHostRequest(name="web1", remove_host_keys=[KEY])
    refused = await refusal(api.hosts.ReconfigureHost(request))
    assert refused.fields == ["remove_host_keys"]


KNOWN = f"web1.example.org {KEY}\nweb1 {RSA_KEY}\nweb9 {OTHER_KEY}\n@revoked web1 {ECDSA_KEY}\n"


async def test_known_hosts_file__has_the_keys_of_a_new_host(api: Api):
    fake = api.world.fleet.add("web1.example.org")
    config = HostConfig(name="web1", address="web1.example.org")
    request = pb.RegisterHostRequest(config=config, known_hosts=KNOWN)
    for fake.key in (OTHER_KEY, ECDSA_KEY):
        refused = await refusal(api.hosts.RegisterHost(request))
        assert refused.reason == "HOST_KEY_MISMATCH"
    fake.key = KEY
    host = (await api.hosts.RegisterHost(request)).host
    assert list(host.host_key_fingerprints) == prints(KEY, RSA_KEY)
    request.config.port = 2222
    request.config.name = "web2"
    refused = await refusal(api.hosts.RegisterHost(request))
    assert refused.fields == ["known_hosts"]
    assert "names [web1.example.org]:2222 or [web2]:2222" in refused.text


async def test_known_hosts_file__adds_keys_beside_a_pinned_one_that_it_has(api: Api):
    api.world.fleet.add("web1.example.org")
    before = await register(api)
    host = await repinned(api, known_hosts=KNOWN)
    assert list(host.host_key_fingerprints) == prints(KEY, RSA_KEY)
    assert (await repinned(api, known_hosts=KNOWN)).revision == host.revision
    request = pb.ReconfigureHostRequest(name="web1", known_hosts=f"web1 {OTHER_KEY}")
    refused = await refusal(api.hosts.ReconfigureHost(request))
    assert refused.reason == "HOST_KEY_MISMATCH"
    request.known_hosts = f"web2 {KEY}"
    refused = await refusal(api.hosts.ReconfigureHost(request))
    assert refused.fields == ["known_hosts"]
    assert await api.host() == host != before


async def test_known_hosts_file__and_a_key_are_not_named_both(api: Api):
    api.world.fleet.add("web1.example.org")
    config = HostConfig(name="web1", address="web1.example.org")
    request = pb.RegisterHostRequest(config=config, known_hosts=KNOWN, expected_host_key=KEY)
    assert "two ways to name the keys" in (await refusal(api.hosts.RegisterHost(request))).text
    await register(api)
    change = pb.ReconfigureHostRequest(
        name="web1", accept_new_host_key=True, known_hosts=KNOWN, expected_host_key=KEY
    )
    assert "two ways to name the keys" in (await refusal(api.hosts.ReconfigureHost(change))).text
