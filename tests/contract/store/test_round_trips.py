"""Whatever is stored comes back equal: every type, every field, every script and every extreme."""

import itertools
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tendhost.server.domain.events import Event, EventBody
from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.selection import SavedSelection
from tendhost.server.domain.operations.operation import Operation
from tendhost.server.domain.rollouts.rollout import Member, Rollout
from tendhost.server.domain.schedules.schedule import Schedule
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Change, InventoryRecord, LogChunk, RequestRecord
from tests.contract.store.conftest import Database
from tests.contract.store.samples import change, every_host
from tests.contract.store.values import values_of

# Hypothesis makes the values of an example within a turn of the test's own.
pytestmark = pytest.mark.long_turns

# One store serves all examples: each stores under a key of its own.
one_store = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_numbers = itertools.count(1)


def a_key(given: str) -> str:
    """A key that no other example has."""
    return f"{given}#{next(_numbers)}"


@given(host=values_of(Host))
@one_store
async def test_any_host_comes_back_equal(store: Store, host: Host) -> None:
    name = a_key(host.name)
    host = replace(host, config=replace(host.config, name=name), revision=0)
    committed = await store.commit(change(hosts=(host,)))
    stored = replace(host, revision=committed.revision)
    assert await store.host(name) == stored
    assert stored in await every_host(store)


@given(operation=values_of(Operation))
@one_store
async def test_any_operation_comes_back_equal(store: Store, operation: Operation) -> None:
    id, host = a_key(operation.id), a_key(operation.host)
    operation = replace(operation, id=id, host=host, revision=0, quiet_writes=0)
    committed = await store.commit(change(operations=(operation,)))
    stored = replace(operation, revision=committed.revision)
    assert await store.operation(id) == stored
    assert (await store.operations(host=host, limit=9)).items == (stored,)


@given(schedule=values_of(Schedule))
@one_store
async def test_any_schedule_comes_back_equal(store: Store, schedule: Schedule) -> None:
    name = a_key(schedule.name)
    schedule = replace(schedule, spec=replace(schedule.spec, name=name), revision=0)
    committed = await store.commit(change(schedules=(schedule,)))
    assert await store.schedule(name) == replace(schedule, revision=committed.revision)


@given(selection=values_of(SavedSelection))
@one_store
async def test_any_saved_selection_comes_back_equal(
    store: Store, selection: SavedSelection
) -> None:
    selection = replace(selection, name=a_key(selection.name), revision=0)
    committed = await store.commit(change(selections=(selection,)))
    stored = replace(selection, revision=committed.revision)
    assert await store.selection(selection.name) == stored


@given(group_policies=values_of(GroupPolicy))
@one_store
async def test_any_defaults_come_back_equal(store: Store, group_policies: GroupPolicy) -> None:
    group_policies = replace(group_policies, group=a_key(group_policies.group), revision=0)
    committed = await store.commit(change(group_policies=(group_policies,)))
    stored = replace(group_policies, revision=committed.revision)
    assert stored in await store.group_policies()


@given(rollout=values_of(Rollout), members=st.lists(values_of(Member), max_size=3))
@one_store
async def test_any_rollout_and_its_members_come_back_equal(
    store: Store, rollout: Rollout, members: list[Member]
) -> None:
    rollout = replace(rollout, id=a_key(rollout.id), revision=0)
    mine = [
        replace(member, rollout=rollout.id, host=f"{n} {member.host}", position=n)
        for n, member in enumerate(members)
    ]
    committed = await store.commit(change(rollouts=(rollout,), members=mine))
    assert await store.rollout(rollout.id) == replace(rollout, revision=committed.revision)
    assert (await store.members(rollout.id, limit=9)).items == tuple(mine)


@given(record=values_of(InventoryRecord))
@one_store
async def test_any_inventory_comes_back_equal(store: Store, record: InventoryRecord) -> None:
    record = replace(record, host=a_key(record.host))
    await store.commit(change(inventories=(record,)))
    assert await store.inventory(record.host) == record


@given(data=st.binary(max_size=200), digest=st.binary(max_size=40), answer=st.binary(max_size=99))
@one_store
async def test_any_bytes_come_back_equal(
    store: Store, data: bytes, digest: bytes, answer: bytes
) -> None:
    key = a_key("bytes")
    request = RequestRecord(id=key, digest=digest, respond=lambda _: answer)
    chunk = LogChunk(operation=key, offset=0, data=data)
    await store.commit(change(log=(chunk,), request=request))
    assert (await store.log(key, offset=0, limit=999)).data == data
    assert await store.stored_response(key, digest) == answer


@pytest.mark.parametrize("kind", get_args(EventBody), ids=lambda kind: kind.__name__)
@given(data=st.data())
@one_store
async def test_any_event_comes_back_equal_from_memory_and_from_the_database(
    database: Database, kind: Any, data: st.DataObject
) -> None:
    events = data.draw(st.lists(values_of(Event), min_size=1, max_size=3))
    bodies = data.draw(st.lists(values_of(kind), min_size=3, max_size=3))
    async with database.opened() as store:
        before = (await store.log_bounds()).current
        numbered = [
            replace(event, body=body, revision=before + number)
            for number, (event, body) in enumerate(zip(events, bodies, strict=False), start=1)
        ]
        await store.commit(Change(events=tuple(replace(e, revision=0) for e in numbered)))
        assert list(await store.events(after=before, limit=9)) == numbered
    async with database.opened() as store:
        assert list(await store.events(after=before, limit=9)) == numbered
