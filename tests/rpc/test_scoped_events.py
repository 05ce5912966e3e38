"""Events for a caller that is bound to hosts, and the end of what is done with a token that has ended."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import field_mask_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from tendhost.server.domain.events import DuplicatesChanged, Event, HostAcknowledged, RolloutChanged
from tendhost.server.domain.hosts.host import Duplicate
from tendhost.server.domain.rollouts.rollout import RolloutProgress, RolloutStatus
from tendhost.server.engine.waiting import CEILING
from tendhost.server.store.records import Change
from tendhost.v1 import access_service_pb2, event_service_pb2, host_pb2, operation_service_pb2
from tendhost.v1 import host_service_pb2 as pb
from tests.contract.store.samples import an_operation, change, stored_operation
from tests.rpc.api import refusal
from tests.rpc.scoped import CANARY, Fleet, bound, scoped_fleet
from tests.rpc.streams import happen, hello, until
from tests.rpc.test_access import token
from tests.unit.engine.world import World

VIEWER = access_service_pb2.ROLE_VIEWER


@pytest.fixture
async def fleet(world: World, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with scoped_fleet(world, tmp_path) as fleet:
        yield fleet


async def labelled(fleet: Fleet, name: str, *groups: str) -> int:
    """Have an admin give a host other groups; the revision then."""
    request = pb.ReconfigureHostRequest(
        name=name,
        config=host_pb2.HostConfig(groups=groups),
        update_mask=field_mask_pb2.FieldMask(paths=["groups"]),
    )
    await fleet.owner.hosts.ReconfigureHost(request)
    return int((await fleet.world.store.log_bounds()).current)


def watch(fleet: Fleet, **how: Any) -> Any:
    request = event_service_pb2.WatchEventsRequest(**how)
    return fleet.other.events.WatchEvents(request, metadata=fleet.metadata)


async def told(fleet: Fleet, revision: int, **how: Any) -> list[tuple[str, str]]:
    """What the bound caller is told up to a revision: hosts, and kinds of events."""
    stream = watch(fleet, resume_after=0, **how)
    await hello(stream)
    events = await until(stream, revision)
    stream.cancel()
    assert not any(CANARY in event.SerializeToString() for event in events)
    return [(event.host, event.WhichOneof("body")) for event in events]


# --- events -----------------------------------------------------------------------------------------


async def test_events__of_hosts_outside_and_of_no_host_are_not_sent(fleet: Fleet):
    now = fleet.world.clock.now()
    body = RolloutChanged(
        status=RolloutStatus.RUNNING,
        progress=RolloutProgress(total_hosts=1, pending=1),
        wave=0,
        waves=1,
        held_up="canary1 has failed",
    )
    await fleet.world.store.commit(Change(events=[Event(at=now, body=body, rollout="ro-1")]))
    await happen(fleet.world, 2, host="canary1")
    reached = await happen(fleet.world, 1, host="web1")
    assert await told(fleet, reached) == [
        ("web1", "host_registered"),
        ("web2", "host_registered"),
        ("web1", "host_acknowledged"),
    ]


async def test_events__of_a_filter_are_those_of_its_hosts_in_the_scope(fleet: Fleet):
    await happen(fleet.world, 1, host="canary1")
    reached = await happen(fleet.world, 1, host="web2")
    asked = host_pb2.HostFilter(names=["web2", "canary*"])
    assert await told(fleet, reached, filter=asked) == [
        ("web2", "host_registered"),
        ("web2", "host_acknowledged"),
    ]


async def test_duplicates__are_told_of_the_scope_only(fleet: Fleet):
    alike = tuple(
        Duplicate(host=name, host_key=False, address=False, machine_id=True)
        for name in ("canary1", "web2")
    )
    body = DuplicatesChanged(duplicate_of=alike)
    event = Event(at=fleet.world.clock.now(), body=body, host="web1")
    reached = (await fleet.world.store.commit(Change(events=[event]))).revision
    stream = watch(fleet, resume_after=reached - 1)
    await hello(stream)
    (seen,) = await until(stream, reached)
    assert [one.host for one in seen.duplicates_changed.duplicate_of] == ["web2"]


async def test_host_that_leaves_the_scope__is_told_as_removed_and_never_again(fleet: Fleet):
    stream = watch(fleet)
    await hello(stream)
    left = await labelled(fleet, "web1", "web-canary")
    (gone,) = await until(stream, left)
    assert (gone.host, gone.WhichOneof("body")) == ("web1", "host_unregistered")
    reached = await happen(fleet.world, 3, host="web1")
    await fleet.owner.hosts.UnregisterHost(pb.UnregisterHostRequest(name="web1"))
    reached = await happen(fleet.world, 1, host="web2")
    assert [event.host for event in await until(stream, reached)] == ["web2"]
    stream.cancel()


async def test_host_that_is_removed__is_told_in_the_words_of_one_that_left(fleet: Fleet):
    stream = watch(fleet)
    await hello(stream)
    left = await labelled(fleet, "web1", "web-canary")
    (gone,) = await until(stream, left)
    await fleet.owner.hosts.UnregisterHost(pb.UnregisterHostRequest(name="web2"))
    (removed,) = await until(stream, left + 1)
    gone.host, gone.revision = removed.host, removed.revision
    assert gone == removed
    stream.cancel()


async def test_host_that_joins_the_scope__is_told_as_registered(fleet: Fleet):
    stream = watch(fleet)
    await hello(stream)
    joined = await labelled(fleet, "canary2", "web")
    (event,) = await until(stream, joined)
    assert (event.host, event.WhichOneof("body")) == ("canary2", "host_registered")
    assert not event.host_registered.by
    stream.cancel()


async def test_host_that_had_left_before_the_token_was_made__is_not_told(fleet: Fleet):
    await labelled(fleet, "canary1", "web")
    await labelled(fleet, "canary1", "db")
    await fleet.owner.hosts.UnregisterHost(pb.UnregisterHostRequest(name="canary2"))
    fleet.world.clock.set_off(timedelta(seconds=1))
    fleet.metadata = await bound(fleet.owner, VIEWER, groups=["web"])
    reached = await happen(fleet.world, 1, host="web1")
    assert {host for host, _ in await told(fleet, reached)} == {"web1", "web2"}


async def test_snapshot__names_no_host_outside_that_changes_or_goes_meanwhile(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
):
    world, real = fleet.world, fleet.world.store.hosts_part
    alike = (Duplicate(host="canary1", host_key=False, address=False, machine_id=True),)
    host = await world.store.host("web2")
    await world.store.commit(change(hosts=(host.resembling(alike),)))

    async def busy(*args: Any, **kwargs: Any) -> Any:
        part = await real(*args, **kwargs)
        monkeypatch.undo()
        canary = await world.store.host("canary1")
        removed = await world.store.host("canary2")
        leaves = await world.store.host("web1")
        leaves = replace(leaves, config=replace(leaves.config, groups=("db",)))
        event = Event(at=world.clock.now(), body=HostAcknowledged(by="x"), host="canary1")
        await world.store.commit(
            Change(events=[event], hosts=(canary, leaves), removed_hosts=(removed,))
        )
        return part

    monkeypatch.setattr(world.store, "hosts_part", busy)
    stream = watch(fleet, snapshot=True)
    messages = [await hello(stream)]
    while messages[-1].phase != event_service_pb2.WATCH_PHASE_SNAPSHOT_END:
        messages.append(await stream.read())
    stream.cancel()
    assert not any(CANARY in message.SerializeToString() for message in messages)
    names = [host.config.name for message in messages for host in message.hosts]
    assert names == ["web1", "web2"]
    assert [name for message in messages for name in message.removed_hosts] == ["web1"]


async def test_host_outside_that_cannot_be_read__ends_no_stream(fleet: Fleet):
    reached = await happen(fleet.world, 1, host="canary1")
    with sqlite3.connect(fleet.world.directory / "tendhost.db") as database:
        database.execute("UPDATE hosts SET document = '{' WHERE name = 'canary1'")
    assert ("web1", "host_registered") in await told(fleet, reached)


# --- the end of a token -----------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [{}, {"scope": host_pb2.HostFilter(groups=["web"])}])
async def test_stream__ends_when_its_token_is_deleted(fleet: Fleet, scope: Any):
    made, fleet.metadata = await token(fleet.owner, VIEWER, **scope)
    stream = watch(fleet)
    await hello(stream)
    reading = asyncio.ensure_future(until(stream, 1_000_000))
    await fleet.owner.access.DeleteToken(access_service_pb2.DeleteTokenRequest(id=made.id))
    assert (await refusal(reading)).reason == "CREDENTIAL_INVALID"


async def test_stream_of_another_token__goes_on_when_one_is_deleted(fleet: Fleet):
    made, _ = await token(fleet.owner, VIEWER)
    stream = watch(fleet)
    await hello(stream)
    await fleet.owner.access.DeleteToken(access_service_pb2.DeleteTokenRequest(id=made.id))
    reached = await happen(fleet.world, 1, host="web1")
    assert len(await until(stream, reached)) == 1
    stream.cancel()


async def test_stream__ends_when_its_token_expires(fleet: Fleet):
    expires = Timestamp()
    expires.FromDatetime(fleet.world.clock.now() + timedelta(seconds=90))
    _, fleet.metadata = await token(fleet.owner, VIEWER, expires_at=expires)
    stream = watch(fleet)
    await hello(stream)
    reading = asyncio.ensure_future(until(stream, 1_000_000))
    while not reading.done():
        fleet.world.clock.advance_to_next(within=CEILING)
        await asyncio.sleep(0)
    assert (await refusal(reading)).reason == "CREDENTIAL_INVALID"


async def test_wait__ends_when_its_token_is_deleted(fleet: Fleet):
    made, metadata = await token(fleet.owner, VIEWER)
    begun = await stored_operation(fleet.world.store, an_operation("web1"))
    request = operation_service_pb2.WatchOperationRequest(id=begun.id)
    watched = fleet.other.operations.WatchOperation(request, metadata=metadata)
    assert (await watched.read()).operation.id == begun.id
    waiting = asyncio.ensure_future(
        fleet.other.operations.WaitOperation(
            operation_service_pb2.WaitOperationRequest(id=begun.id), metadata=metadata
        )
    )
    reading = asyncio.ensure_future(watched.read())
    # Both are answered by the same server in the order in which they came.
    await fleet.other.operations.GetOperation(
        operation_service_pb2.GetOperationRequest(id=begun.id), metadata=metadata
    )
    await fleet.owner.access.DeleteToken(access_service_pb2.DeleteTokenRequest(id=made.id))
    for call in (waiting, reading):
        assert (await refusal(call)).reason == "CREDENTIAL_INVALID"
