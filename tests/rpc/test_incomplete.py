"""What cannot be told as it is stored: it is told as such, and ends no list and no stream for anybody else."""

import asyncio
import sqlite3
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from tendhost.server.domain.events import Event, HostConnected
from tendhost.server.domain.hosts.host import Host, HostConfig
from tendhost.server.domain.hosts.selection import HostFilter as Selection
from tendhost.server.domain.hosts.selection import SavedSelection
from tendhost.server.domain.operations.operation import (
    Operation,
    OperationKind,
    OperationStatus,
    UpdateResult,
)
from tendhost.server.domain.rollouts.rollout import (
    Member,
    Rollout,
    RolloutProgress,
    RolloutSpec,
    Wave,
)
from tendhost.server.rpc.paging import PAGE_BYTES, parts
from tendhost.server.store.records import Change
from tendhost.v1 import (
    event_service_pb2,
    host_service_pb2,
    operation_service_pb2,
    rollout_service_pb2,
    schedule_service_pb2,
    selection_service_pb2,
)
from tendhost.v1.host_pb2 import HostConfig as Config
from tendhost.v1.rollout_pb2 import RolloutSpec as RolloutMessage
from tests.rpc.api import Api, refusal
from tests.rpc.test_paging import paged
from tests.unit.engine import fake_answers
from tests.unit.engine.fake_host import FakeHost, Pending

AT = datetime(2026, 3, 1, tzinfo=UTC)
CLIENT_LIMIT = 4 * 1024 * 1024
"""What every gRPC client takes by default."""


async def stored(api: Api, **what: Any) -> None:
    await api.world.store.commit(Change(events=[event()], **what))


def event() -> Event:
    return Event(at=AT, body=HostConnected(), host="web1")


def ended(id: str, **update: Any) -> Operation:
    return Operation(
        id=id,
        host="web1",
        kind=OperationKind.UPDATE,
        status=OperationStatus.SUCCEEDED,
        created_at=AT,
        ended_at=AT,
        update=UpdateResult(success=True, **update),
    )


def damage(api: Api, statement: str, *values: object) -> None:
    """Do to the database what an older or a newer program, or a bad disk, may have done."""
    with sqlite3.connect(api.world.directory / "tendhost.db") as database:
        database.execute(statement, values)
    database.close()


async def watched(api: Api, until: int) -> list[Any]:
    """The events from the beginning up to a revision."""
    request = event_service_pb2.WatchEventsRequest(resume_after=0)
    found: list[Any] = []
    async with asyncio.timeout(20):
        async for message in api.events.WatchEvents(request):
            found += message.events
            if message.revision >= until:
                break
    return found


async def test_download__of_exabytes_is_unknown_and_everything_else_is_told(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    real = fake_answers.dry_run

    def boasting(host: FakeHost) -> bytes:
        return real(host).replace(b"20.0 MB", b"10.0 EB")

    monkeypatch.setattr(fake_answers, "dry_run", boasting)
    fake = await api.register("web1")
    fake.pending = {"web": Pending()}
    operation = await api.run("StartUpdate", dry_run=True)
    assert operation.update.success
    assert not operation.update.HasField("download_bytes")
    assert operation.incomplete == ""
    listed = await api.operations.ListOperations(operation_service_pb2.ListOperationsRequest())
    assert [one.id for one in listed.operations] == [operation.id]


async def test_number__that_an_older_server_stored_ends_no_list_and_no_stream(api: Api):
    await api.register("web1")
    await stored(api, operations=[ended("o1", download_bytes=10**19), ended("o2")])
    listed = await api.operations.ListOperations(operation_service_pb2.ListOperationsRequest())
    shown = {one.id: one.incomplete for one in listed.operations}
    assert shown["o2"] == ""
    assert shown["o1"].startswith("some values are out of range")


async def test_event__that_cannot_be_read_is_told_and_the_stream_goes_on(api: Api):
    await api.register("web1")
    bounds = await api.world.store.log_bounds()
    damage(api, "UPDATE events SET kind = 'host_sang' WHERE revision = 1")
    behind: Any = api.world.store.behind
    behind._recent.forget(bounds.current)  # so that they are read from the database
    await stored(api)
    found = await watched(api, bounds.current + 1)
    assert [one.revision for one in found] == list(range(1, bounds.current + 2))
    assert found[0].WhichOneof("body") is None
    assert found[0].incomplete.startswith("host_sang cannot be read")
    assert {one.incomplete for one in found[1:]} == {""}


async def test_documents__that_cannot_be_read_stand_in_their_lists_and_are_refused_alone(api: Api):
    for name in ("web1", "web2", "web3"):
        await api.register(name)
    await stored(api, operations=[ended("o1"), ended("o2")])
    selection = SavedSelection(
        name="s1", filter=Selection(names=("web*",)), changed_at=AT, changed_by="alex"
    )
    await stored(api, selections=[selection])
    for table, key, named in (
        ("hosts", "name", "web2"),
        ("operations", "id", "o1"),
        ("selections", "name", "s1"),
    ):
        damage(api, f"UPDATE {table} SET document = '{{}}' WHERE {key} = ?", named)

    async def hosts(**how: Any) -> Any:
        return await api.hosts.ListHosts(host_service_pb2.ListHostsRequest(**how))

    for size in (1, 2, 3):
        pages = await paged(hosts, lambda r: [h.config.name for h in r.hosts], size)
        assert [name for page in pages for name in page] == ["web1", "web2", "web3"]
    (_, unread, _) = (await hosts()).hosts
    assert "missing required field" in unread.incomplete
    operations = await api.operations.ListOperations(operation_service_pb2.ListOperationsRequest())
    assert {o.id: bool(o.incomplete) for o in operations.operations} == {"o1": True, "o2": False}
    selections = await api.selections.ListSelections(selection_service_pb2.ListSelectionsRequest())
    assert [(s.name, bool(s.incomplete)) for s in selections.selections] == [("s1", True)]
    refused = await refusal(api.hosts.GetHost(host_service_pb2.GetHostRequest(name="web2")))
    assert refused.code == grpc.StatusCode.DATA_LOSS
    assert refused.reason == "DOCUMENT_UNREADABLE"
    pending = await api.hosts.ListPendingUpdates(host_service_pb2.ListPendingUpdatesRequest())
    assert pending.hosts_unknown == 3


# --- pages and messages, by bytes -----------------------------------------------------------------

LABELS = tuple(f"{'label' * 18}-{number:02}" for number in range(64))
FLEET = [f"web{number:03}" for number in range(400)]


def host(name: str) -> Host:
    config = HostConfig(name=name, address="192.0.2.1", tags=LABELS, groups=LABELS)
    return Host(config=config, host_key="ssh-ed25519 AAAA", registered_at=AT)


def rollout(id: str, spec: RolloutSpec) -> Rollout:
    return Rollout(
        id=id,
        spec=spec,
        progress=RolloutProgress(total_hosts=400, pending=400),
        waves=1,
        created_at=AT,
    )


async def test_pages__of_large_items_stay_below_what_a_client_takes(api: Api):
    await stored(api, hosts=[host(name) for name in FLEET])
    restarted = tuple(f"{'unit' * 60}-{number}.service" for number in range(100))
    ids = [f"o{number:03}" for number in range(400)]
    await stored(api, operations=[ended(id, restarted=restarted) for id in ids])
    rollouts = [f"r{number:03}" for number in range(60)]
    spec = RolloutSpec(filter=Selection(names=tuple(f"{'n' * 60}{n}" for n in range(900))))
    await stored(api, rollouts=[rollout(id, spec) for id in rollouts])
    waves = [Wave(rollout="r000", number=0, progress=RolloutProgress(total_hosts=400, pending=400))]
    members = [
        Member(rollout="r000", host=name, wave=0, position=n, detail="d" * 4000)
        for n, name in enumerate(FLEET)
    ]
    await stored(api, waves=waves, members=members)
    saved = [
        SavedSelection(name=f"s{n:03}", filter=spec.filter, changed_at=AT, changed_by="alex")
        for n in range(60)
    ]
    await stored(api, selections=saved)

    async def walked(call: Any, request: Any, items: Any, key: Any) -> list[str]:
        async def page(**how: Any) -> Any:
            asked = type(request)()
            asked.CopyFrom(request)
            asked.MergeFrom(type(request)(**how))
            response = await call(asked)
            assert response.ByteSize() < CLIENT_LIMIT
            return response

        pages = await paged(page, lambda response: [key(one) for one in items(response)], 1000)
        assert len(pages) > 1
        return [one for some in pages for one in some]

    assert (
        await walked(
            api.hosts.ListHosts,
            host_service_pb2.ListHostsRequest(),
            lambda r: r.hosts,
            lambda one: one.config.name,
        )
        == FLEET
    )
    assert ids[::-1] == await walked(
        api.operations.ListOperations,
        operation_service_pb2.ListOperationsRequest(),
        lambda r: r.operations,
        lambda one: one.id,
    )
    assert rollouts[::-1] == await walked(
        api.rollouts.ListRollouts,
        rollout_service_pb2.ListRolloutsRequest(),
        lambda r: r.rollouts,
        lambda one: one.id,
    )
    assert (
        await walked(
            api.rollouts.GetRollout,
            rollout_service_pb2.GetRolloutRequest(id="r000"),
            lambda r: r.hosts,
            lambda one: one.host,
        )
        == FLEET
    )
    assert [one.name for one in saved] == await walked(
        api.selections.ListSelections,
        selection_service_pb2.ListSelectionsRequest(),
        lambda r: r.selections,
        lambda one: one.name,
    )
    schedules = await api.schedules.ListSchedules(schedule_service_pb2.ListSchedulesRequest())
    assert not schedules.next_page_token

    seen: list[str] = []
    async with asyncio.timeout(20):
        watch = rollout_service_pb2.WatchRolloutRequest(id="r000")
        async for message in api.rollouts.WatchRollout(watch):
            assert message.ByteSize() < CLIENT_LIMIT
            seen += [one.host for one in message.hosts]
            if not message.more:
                break
    assert seen == FLEET

    seen = []
    async with asyncio.timeout(20):
        snapshot = event_service_pb2.WatchEventsRequest(snapshot=True)
        async for message in api.events.WatchEvents(snapshot):
            assert message.ByteSize() < CLIENT_LIMIT
            seen += [one.config.name for one in message.hosts]
            if len(seen) == len(FLEET):
                break
    assert seen == FLEET


async def test_pages__of_plans_overdue_hosts_and_updates_give_each_host_once(api: Api):
    names = [f"web{number:02}" for number in range(30)]
    await stored(api, hosts=[host(name) for name in names])
    first = rollout_service_pb2.PlanRolloutRequest(spec=RolloutMessage(waves=("rest",)))
    plan = (await api.rollouts.PlanRollout(first)).plan.id

    async def planned(**how: Any) -> Any:
        asked = rollout_service_pb2.PlanRolloutRequest(plan_id=plan, **how)
        return await api.rollouts.PlanRollout(asked)

    async def overdue(**how: Any) -> Any:
        return await api.hosts.GetCompliance(host_service_pb2.GetComplianceRequest(**how))

    for size in (1, 7, 30):
        pages = await paged(planned, lambda r: [one.host for one in r.hosts], size)
        assert sorted(name for page in pages for name in page) == names
        pages = await paged(overdue, lambda r: [one.host for one in r.overdue_hosts], size)
        assert sorted(name for page in pages for name in page) == names


async def test_names__of_tags_and_groups_are_paged(api: Api):
    for name in ("web1", "web2"):
        await api.register(name, tags=[f"{name}-{n}" for n in range(5)], groups=["all", name])

    async def tags(**how: Any) -> Any:
        return await api.hosts.ListTags(host_service_pb2.ListTagsRequest(**how))

    pages = await paged(tags, lambda r: [one.name for one in r.tags], 4)
    assert [len(page) for page in pages] == [4, 4, 2]
    groups = await api.hosts.ListGroups(host_service_pb2.ListGroupsRequest(page_size=2))
    assert [(one.name, one.host_count) for one in groups.groups] == [("all", 2), ("web1", 1)]
    assert groups.next_page_token


def test_page__holds_at_least_one_item():
    large, small = Config(name="x" * (PAGE_BYTES + 1)), Config(name="y")
    assert list(parts([large, small, small, large])) == [[large], [small, small], [large]]
    assert list(parts([small] * 5, most=2)) == [[small] * 2, [small] * 2, [small]]
    assert list(parts([])) == []
