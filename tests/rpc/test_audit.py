"""The audit log through a real channel: mutations, refusals, and calls that execute something on a host."""

import itertools
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tendhost.server.domain.access import refusal_limit
from tendhost.server.domain.access.audit import FIRST_HASH, AuditEntry, Head, hash_of, verified
from tendhost.server.domain.access.refusal_limit import PER_CALLER, WINDOW
from tendhost.server.store.records import AuditFilter
from tendhost.v1 import access_service_pb2 as pb
from tendhost.v1 import host_service_pb2, policy_service_pb2, selection_service_pb2
from tests.rpc.api import Api, refusal
from tests.rpc.test_access import bearer, guarded, token
from tests.unit.engine.world import World

REQUEST_ID = "5f9d9f6e-2b1c-4c5e-9a52-0d6f3f6f1a11"


@pytest.fixture
async def doors(world: World, tmp_path: Path):
    async with guarded(world, tmp_path) as doors:
        yield doors


async def records(owner: Api, **wanted: Any) -> list[pb.AuditRecord]:
    """The audit records, oldest first."""
    response = await owner.access.ListAuditRecords(pb.ListAuditRecordsRequest(**wanted))
    return list(reversed(response.records))


def told(found: Sequence[pb.AuditRecord]) -> list[tuple[str, str, str, str]]:
    """Who, what, on what, with which result."""
    return [(r.principal, r.method.rpartition("/")[2], r.subject, r.result) for r in found]


async def refused(call: Any) -> str:
    """The reason of a refusal."""
    return (await refusal(call)).reason


# --- what is recorded -----------------------------------------------------------------------------


async def test_mutation__is_recorded_with_its_caller_its_credential_and_its_request(doors):
    owner, other = doors
    await owner.register("web1")
    made, metadata = await token(owner, pb.ROLE_OPERATOR)
    request = host_service_pb2.StartCheckRequest(name="web1", request_id=REQUEST_ID)
    for _ in range(2):  # the second is answered with the first one's answer
        await other.hosts.StartCheck(request, metadata=metadata)
    (record,) = await records(owner, principal="ci")
    assert told([record]) == [("ci", "StartCheck", "web1", "OK")]
    assert (record.credential_kind, record.credential_id) == (
        pb.CREDENTIAL_KIND_TOKEN,
        made.id,
    )
    assert record.address.startswith("ipv4:127.0.0.1")
    assert (record.request_id, record.omitted) == (REQUEST_ID, 0)


async def test_mutation__that_changes_nothing_is_recorded(doors):
    owner, _ = doors
    policy = policy_service_pb2.SetPolicyRequest()
    policy.policy.group = "db"
    for _ in range(2):
        await owner.policies.SetPolicy(policy)
    assert told(await records(owner)) == [("owner", "SetPolicy", "group db", "OK")] * 2


@pytest.mark.parametrize(
    ("request_", "subject", "reason"),
    [
        (host_service_pb2.StartCheckRequest(name="web9"), "web9", "HOST_NOT_FOUND"),
        (
            host_service_pb2.StartCheckRequest(name="web9", request_id="x"),
            "web9",
            "INVALID_ARGUMENT",
        ),
        (host_service_pb2.StartCheckRequest(name="w" * 5000), "w" * 128, "INVALID_ARGUMENT"),
    ],
)
async def test_mutation__that_is_refused_is_recorded_with_the_reason(
    doors, request_: Any, subject: str, reason: str
):
    owner, _ = doors
    assert await refused(owner.hosts.StartCheck(request_)) == reason
    assert told(await records(owner)) == [("owner", "StartCheck", subject, reason)]


async def test_call__that_is_not_admitted_is_recorded_whatever_its_method(doors):
    owner, other = doors
    _, metadata = await token(owner, pb.ROLE_VIEWER)
    listing = host_service_pb2.ListHostsRequest()
    assert await refused(other.hosts.ListHosts(listing)) == "CREDENTIAL_MISSING"
    wrong = bearer("tend_wrong")
    assert await refused(other.hosts.ListHosts(listing, metadata=wrong)) == "CREDENTIAL_INVALID"
    check = host_service_pb2.StartCheckRequest(name="web1")
    assert await refused(other.hosts.StartCheck(check, metadata=metadata)) == "PERMISSION_MISSING"
    *_, missing, invalid, forbidden = await records(owner)
    assert [r.result for r in (missing, invalid)] == ["CREDENTIAL_MISSING", "CREDENTIAL_INVALID"]
    assert missing.principal == missing.address == invalid.principal
    assert missing.address.startswith("ipv4:127.0.0.1")
    assert told([forbidden]) == [("ci", "StartCheck", "", "PERMISSION_MISSING")]
    assert forbidden.credential_kind == pb.CREDENTIAL_KIND_TOKEN


async def test_refused_token__is_recorded_with_its_id(doors, world: World):
    owner, other = doors
    expires = Timestamp()
    expires.FromDatetime(world.clock.now() + timedelta(hours=1))
    expired, expired_metadata = await token(owner, pb.ROLE_VIEWER, expires_at=expires)
    deleted, deleted_metadata = await token(owner, pb.ROLE_VIEWER)
    await owner.access.DeleteToken(pb.DeleteTokenRequest(id=deleted.id))
    world.clock.advance(timedelta(hours=2))
    cut = bearer(expired_metadata[0][1].removeprefix("Bearer ")[:-1])
    twice = (*expired_metadata, *expired_metadata)
    for metadata in (expired_metadata, deleted_metadata, cut, twice, bearer("tend_x"), ()):
        assert await refused(
            other.hosts.ListHosts(host_service_pb2.ListHostsRequest(), metadata=metadata)
        )
    found = (await records(owner))[-6:]
    ids = [(record.credential_kind, record.credential_id) for record in found]
    kind = pb.CREDENTIAL_KIND_TOKEN
    assert ids[:2] == [(kind, expired.id), (kind, deleted.id)]
    assert ids[2:] == [(pb.CREDENTIAL_KIND_NONE, "")] * 4
    assert {record.principal for record in found} == {found[0].address}  # no name is believed


async def test_reading_call__that_is_admitted_is_not_recorded(doors):
    owner, _ = doors
    assert await refused(owner.hosts.GetHost(host_service_pb2.GetHostRequest(name="a"))) == (
        "HOST_NOT_FOUND"
    )
    await owner.hosts.ListHosts(host_service_pb2.ListHostsRequest())
    assert await records(owner) == []


async def test_call__that_executes_something_on_a_host_is_recorded_before_and_when_it_fails(doors):
    owner, _ = doors
    await owner.register("web1")
    await owner.hosts.TestHost(host_service_pb2.TestHostRequest(name="web1"))
    asked = owner.hosts.RunOsquery(host_service_pb2.RunOsqueryRequest(name="web9", sql="SELECT 1"))
    assert await refused(asked) == "HOST_NOT_FOUND"
    assert told(await records(owner))[1:] == [
        ("owner", "TestHost", "web1", "STARTED"),
        ("owner", "RunOsquery", "web9", "STARTED"),
        ("owner", "RunOsquery", "web9", "HOST_NOT_FOUND"),
    ]


# --- if it cannot be recorded ---------------------------------------------------------------------


async def test_call__that_cannot_be_recorded_is_not_carried_out(doors, world: World):
    owner, _ = doors
    await owner.register("web1")
    world.store.outage_of = {"commit"}
    test = owner.hosts.TestHost(host_service_pb2.TestHostRequest(name="web1"))
    assert await refused(test) == "STORE_UNAVAILABLE"
    selection = selection_service_pb2.CreateSelectionRequest(name="all")
    assert await refused(owner.selections.CreateSelection(selection)) == "STORE_UNAVAILABLE"
    world.store.outage_of = set()
    listed = selection_service_pb2.ListSelectionsRequest()
    assert not (await owner.selections.ListSelections(listed)).selections


# --- limits ---------------------------------------------------------------------------------------


async def test_refusals__beyond_the_limit_are_counted_and_others_still_recorded(
    doors, world: World
):
    owner, other = doors
    for _ in range(PER_CALLER + 7):
        assert await refused(other.hosts.ListHosts(host_service_pb2.ListHostsRequest()))
    assert len(await records(owner, page_size=1000)) == PER_CALLER
    assert await refused(owner.hosts.StartCheck(host_service_pb2.StartCheckRequest(name="a")))
    assert told(await records(owner, principal="owner")) == [
        ("owner", "StartCheck", "a", "HOST_NOT_FOUND")
    ]
    world.clock.advance(WINDOW)
    assert await refused(owner.hosts.StartCheck(host_service_pb2.StartCheckRequest(name="b")))
    (omitted,) = [r for r in await records(owner, page_size=1000) if r.result == "OMITTED"]
    assert (omitted.omitted, omitted.method) == (7, "")
    assert omitted.principal.startswith("ipv4:127.0.0.1")


async def test_refusals__of_a_named_principal_are_recorded_whatever_strangers_do(
    doors, world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(refusal_limit, "IN_ALL", 3)
    owner, other = doors
    _, metadata = await token(owner, pb.ROLE_VIEWER)
    listing, check = (
        host_service_pb2.ListHostsRequest(),
        host_service_pb2.StartCheckRequest(name="a"),
    )
    for _ in range(5):
        assert await refused(other.hosts.ListHosts(listing)) == "CREDENTIAL_MISSING"
    assert await refused(other.hosts.StartCheck(check, metadata=metadata)) == "PERMISSION_MISSING"
    assert told(await records(owner, principal="ci")) == [
        ("ci", "StartCheck", "", "PERMISSION_MISSING")
    ]


async def test_record__is_written_for_what_was_omitted_without_another_refusal(
    world: World, tmp_path: Path
):
    async with guarded(world, tmp_path) as (_, other):
        for _ in range(PER_CALLER + 1):
            assert await refused(other.hosts.ListHosts(host_service_pb2.ListHostsRequest()))
    page = await world.store.audit_entries(AuditFilter(), before=0, limit=1000)
    assert [entry.record.omitted for entry in page.items][:2] == [1, 0]


# --- the list -------------------------------------------------------------------------------------


async def test_list__is_filtered_and_paged(doors, world: World):
    owner, _ = doors
    for name in ("web1", "web2"):
        await owner.register(name)
    world.clock.advance(timedelta(hours=1))
    later = Timestamp()
    later.FromDatetime(world.clock.now())
    await owner.started("StartCheck", "web1")
    assert told(await records(owner, subject="web1")) == [
        ("owner", "RegisterHost", "web1", "OK"),
        ("owner", "StartCheck", "web1", "OK"),
    ]
    checks = [("owner", "StartCheck", "web1", "OK")]
    assert told(await records(owner, method="StartCheck")) == checks
    full = "/tendhost.v1.HostService/StartCheck"
    assert told(await records(owner, method=full)) == checks
    assert told(await records(owner, since=later)) == checks
    assert len(await records(owner, until=later)) == 2
    assert await records(owner, principal="nobody") == []
    assert await records(owner, method="Nothing") == []
    numbers: list[int] = []
    page = ""
    while True:
        response = await owner.access.ListAuditRecords(
            pb.ListAuditRecordsRequest(page_size=1, page_token=page)
        )
        numbers.extend(record.number for record in response.records)
        page = response.next_page_token
        if not page:
            break
    assert numbers == [3, 2, 1]


async def test_list__is_for_admins(doors):
    owner, other = doors
    _, metadata = await token(owner, pb.ROLE_OPERATOR, pb.ROLE_APPROVER)
    asked = other.access.ListAuditRecords(pb.ListAuditRecordsRequest(), metadata=metadata)
    assert (await refusal(asked)).code is grpc.StatusCode.PERMISSION_DENIED


# --- the chain ------------------------------------------------------------------------------------


async def test_records__form_a_chain(doors, world: World):
    owner, _ = doors
    for name in ("web1", "web2", "web3"):
        await owner.register(name)
    page = await world.store.audit_entries(AuditFilter(), before=0, limit=1000)
    entries: list[AuditEntry] = list(reversed(page.items))
    assert [entry.number for entry in entries] == [1, 2, 3]
    assert entries[0].hash == hash_of(entries[0], FIRST_HASH)
    for former, entry in itertools.pairwise(entries):
        assert entry.hash == hash_of(entry, former.hash)
    assert verified(entries, Head()) == Head(number=3, hash=entries[-1].hash)
    shown = await records(owner)
    assert [record.hash for record in shown] == [entry.hash for entry in entries]
