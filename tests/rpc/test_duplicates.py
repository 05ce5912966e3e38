"""One machine under several names: a query finds it, the host's status and one event say so."""

from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.server.domain.events import DuplicatesChanged
from tendhost.server.domain.hosts.host import MOST_DUPLICATES
from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1.host_pb2 import Duplicate, HostConfig
from tests.rpc.api import Api
from tests.unit.engine.fake_host import FakeHost

ID = "0123456789abcdef0123456789abcdef"


async def twins(api: Api) -> Sequence[FakeHost]:
    """Two hosts with a machine-id in common."""
    fakes = [await api.register("web1"), await api.register("web2")]
    for fake in fakes:
        fake.machine_id = ID
    return fakes


async def told(api: Api) -> list[tuple[str, tuple[str, ...]]]:
    """What events told of duplicates: of which host, and which others."""
    events = await api.world.store.events(after=0, limit=1000)
    return [
        (event.host, tuple(duplicate.host for duplicate in event.body.duplicate_of))
        for event in events
        if isinstance(event.body, DuplicatesChanged)
    ]


async def duplicates(api: Api, name: str) -> list[Duplicate]:
    return list((await api.host(name)).status.duplicate_of)


async def test_machine_id__of_another_host_is_told_once_by_a_query_of_each(api: Api):
    await twins(api)
    await api.run("StartQuery", "web1")
    assert (await api.host("web1")).status.machine_id == ID
    assert await duplicates(api, "web1") == []  # nobody knew the other's
    operation = await api.run("StartQuery", "web2")
    assert not operation.HasField("problem")
    assert await duplicates(api, "web2") == [Duplicate(host="web1", same_machine_id=True)]
    await api.run("StartQuery", "web1")
    assert await duplicates(api, "web1") == [Duplicate(host="web2", same_machine_id=True)]
    for name in ("web1", "web2", "web1"):
        await api.run("StartQuery", name)
    assert await told(api) == [("web2", ("web1",)), ("web1", ("web2",))]


async def test_machine_id__that_differs_again_is_told_once(api: Api):
    _, second = await twins(api)
    await api.run("StartQuery", "web1")
    await api.run("StartQuery", "web2")
    second.machine_id = ID[::-1]
    for _ in range(2):
        await api.run("StartQuery", "web2")
    assert await duplicates(api, "web2") == []
    assert await told(api) == [("web2", ("web1",)), ("web2", ())]
    await api.hosts.UnregisterHost(pb.UnregisterHostRequest(name="web1"))
    await api.run("StartQuery", "web2")
    assert await told(api) == [("web2", ("web1",)), ("web2", ())]


async def test_machine_id__that_is_not_told_is_no_duplicate_of_another(api: Api):
    for fake in await twins(api):
        fake.machine_id = "uninitialized"
    for name in ("web1", "web2"):
        operation = await api.run("StartQuery", name)
        assert not operation.HasField("problem")
        status = (await api.host(name)).status
        assert (status.machine_id, list(status.duplicate_of)) == ("", [])


async def test_duplicate__that_was_allowed_is_found_by_a_query(api: Api):
    first = await api.register("web1")
    twin = api.world.fleet.add("twin.example.org")
    twin.key = first.key
    request = pb.RegisterHostRequest(
        config=HostConfig(name="web2", address=twin.address), allow_duplicate=True
    )
    await api.hosts.RegisterHost(request)
    await api.run("StartQuery", "web1")
    assert await duplicates(api, "web1") == [Duplicate(host="web2", same_host_key=True)]
    api.world.fleet.hosts[twin.address] = first  # another name of the same address
    move = pb.ReconfigureHostRequest(
        name="web2",
        config=HostConfig(address=first.address),
        update_mask=FieldMask(paths=["address"]),
        allow_duplicate=True,
    )
    await api.hosts.ReconfigureHost(move)
    await api.run("StartQuery", "web2")
    assert await duplicates(api, "web2") == [
        Duplicate(host="web1", same_host_key=True, same_address=True, same_machine_id=True)
    ]


async def test_duplicate__local_and_over_ssh_is_told_by_the_machine_id(api: Api):
    local = api.world.fleet.add("local")
    local.machine_id = ID
    await api.hosts.RegisterHost(
        pb.RegisterHostRequest(config=HostConfig(name="here", address="local"))
    )
    (await api.register("web1")).machine_id = ID
    await api.run("StartQuery", "here")
    await api.run("StartQuery", "web1")
    assert await duplicates(api, "web1") == [Duplicate(host="here", same_machine_id=True)]


async def test_duplicates__of_one_image_are_bounded_and_the_surest_come_first(api: Api):
    for number in range(MOST_DUPLICATES + 4):
        (await api.register(f"clone{number:02}")).machine_id = ID
        await api.run("StartQuery", f"clone{number:02}")
    key = api.world.fleet.hosts["clone00.example.org"].key
    twin = api.world.fleet.add("z.example.org")
    twin.key, twin.machine_id = key, ID
    request = pb.RegisterHostRequest(
        config=HostConfig(name="z", address=twin.address), allow_duplicate=True
    )
    await api.hosts.RegisterHost(request)
    await api.run("StartQuery", "clone00")
    found = await duplicates(api, "clone00")
    assert found[0] == Duplicate(host="z", same_host_key=True)
    assert [one.host for one in found[1:]] == [f"clone{number:02}" for number in range(1, 16)]


async def test_duplicate__is_among_the_reasons_of_the_host(api: Api):
    await twins(api)
    for name in ("web1", "web2"):
        await api.run("StartQuery", name)
    explained = await api.hosts.ExplainHost(pb.ExplainHostRequest(name="web2"))
    (reason,) = [r for r in explained.reasons if r.kind == pb.REASON_KIND_DUPLICATE]
    words = "host web1 has the same machine-id: it may be the same machine"
    assert reason.message == words
