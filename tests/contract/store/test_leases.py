"""Leases: who drives what, when that is free for others, and what whoever lost it cannot write any more."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.leases import LEASE, Held, LeaseKind, Replica
from tendhost.server.domain.operations.operation import Operation, OperationStatus
from tendhost.server.domain.rollouts.budgets import BoundBudget
from tendhost.server.domain.rollouts.rollout import DisruptionBudget
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import (
    AdmissionGuard,
    Change,
    Conflict,
    EndedOperation,
    LeaseLost,
    LogChunk,
    Touched,
)
from tendhost.server.store.sqlite import open_store
from tests.cluster.single import shared
from tests.contract.store.conftest import Database
from tests.contract.store.samples import (
    NOW,
    a_host,
    a_rollout,
    an_operation,
    change,
    stored_operation,
)
from tests.unit.engine.fake_clock import FakeClock

OPERATION, ROLLOUT, DUTY = LeaseKind.OPERATION, LeaseKind.ROLLOUT, LeaseKind.DUTY


class ClockTable:
    """The clock of a PostgreSQL database, moved by hand."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._sql("CREATE TABLE clock_table (at BIGINT); INSERT INTO clock_table VALUES (0)")
        self._sql(
            "CREATE OR REPLACE FUNCTION database_clock() RETURNS BIGINT LANGUAGE sql VOLATILE AS"
            " 'SELECT at FROM clock_table'"
        )

    def advance(self, duration: timedelta) -> None:
        """Let this much time pass."""
        passed = duration // timedelta(microseconds=1)
        self._sql(f"UPDATE clock_table SET at = at + {passed}")

    def _sql(self, text: str) -> None:
        shared().sql(text, database=self._database)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A store, and the clock by which leases in it end."""

    store: Store
    clock: FakeClock | ClockTable


@pytest.fixture
async def timed(database: Database) -> AsyncIterator[Timed]:
    if database.backend == "sqlite":
        clock = FakeClock()
        store: Store = await open_store(Path(database.address), clock=clock)
        timed = Timed(store=store, clock=clock)
    else:
        store = await database.opener(database.address)
        name = urlsplit(database.address).path.removeprefix("/")
        timed = Timed(store=store, clock=ClockTable(name))
    try:
        yield timed
    finally:
        await store.aclose()


@pytest.fixture
def store(timed: Timed) -> Store:
    return timed.store


@pytest.fixture
def clock(timed: Timed) -> FakeClock | ClockTable:
    """The database's clock, which tests move."""
    return timed.clock


def a_replica(id: str, **fields: object) -> Replica:
    return replace(Replica(id=id, started_at=NOW), **fields)  # type: ignore[arg-type]


async def entered(store: Store, *ids: str, lease: timedelta | None = LEASE) -> None:
    for id in ids:
        await store.enter_replica(a_replica(id), lease=lease)


async def owned_operation(store: Store, owner: str, host: str = "web1") -> tuple[Operation, Held]:
    """A running operation that `owner` drives from its first commit on."""
    operation = an_operation(host)
    held = Held(kind=OPERATION, id=operation.id, owner=owner, epoch=1)
    committed = await store.commit(change(operations=(operation,), taken=(held,)))
    return replace(operation, revision=committed.revision), held


async def test_claim__takes_what_nobody_has_driven_so_far(store: Store) -> None:
    await entered(store, "one")
    operation = await stored_operation(store, an_operation())
    assert await store.claim(OPERATION, "one", limit=10) == (
        Held(kind=OPERATION, id=operation.id, owner="one", epoch=1),
    )
    assert await store.owned(OPERATION, "one") == {operation.id}


async def test_claim__leaves_what_a_live_replica_drives(store: Store) -> None:
    await entered(store, "one", "two")
    await owned_operation(store, "one")
    assert await store.claim(OPERATION, "two", limit=10) == ()


@pytest.mark.parametrize("status", [OperationStatus.QUEUED, OperationStatus.SUCCEEDED])
async def test_claim__takes_no_operation_that_nobody_has_to_drive(
    store: Store, status: OperationStatus
) -> None:
    await entered(store, "one")
    ended_at = NOW if status.ended else None
    await stored_operation(store, an_operation(status=status, ended_at=ended_at))
    assert await store.claim(OPERATION, "one", limit=10) == ()


async def test_claim__takes_the_oldest_first_and_no_more_than_asked_for(store: Store) -> None:
    await entered(store, "one", "two")
    ids = [(await stored_operation(store, an_operation(f"web{n}"))).id for n in range(3)]
    first = await store.claim(OPERATION, "one", limit=2)
    rest = await store.claim(OPERATION, "two", limit=2)
    assert [held.id for held in first] == ids[:2]
    assert [held.id for held in rest] == ids[2:]


async def test_claim__takes_unfinished_rollouts_only(store: Store) -> None:
    await entered(store, "one")
    going_on, over = a_rollout(), a_rollout(ended_at=NOW)
    await store.commit(change(rollouts=(going_on, over)))
    found = await store.claim(ROLLOUT, "one", limit=10)
    assert found == (Held(kind=ROLLOUT, id=going_on.id, owner="one", epoch=1),)


@pytest.mark.parametrize("renewals", [0, 1, 3])
async def test_lease__ends_when_it_was_not_renewed_for_its_length(
    store: Store, clock: FakeClock | ClockTable, renewals: int
) -> None:
    await entered(store, "one", "two")
    _, held = await owned_operation(store, "one")
    for _ in range(renewals):
        clock.advance(LEASE - timedelta(seconds=1))
        assert await store.renew_replica("one", lease=LEASE)
        assert await store.renew_replica("two", lease=LEASE)
    clock.advance(LEASE - timedelta(seconds=1))
    assert await store.renew_replica("two", lease=LEASE)
    assert await store.claim(OPERATION, "two", limit=1) == ()
    clock.advance(timedelta(seconds=1))
    assert await store.claim(OPERATION, "two", limit=1) == (replace(held, owner="two", epoch=2),)


async def test_lease__that_has_ended_is_not_renewed(
    store: Store, clock: FakeClock | ClockTable
) -> None:
    await entered(store, "one")
    clock.advance(LEASE)
    assert not await store.renew_replica("one", lease=LEASE)
    assert not await store.renew_replica("unheard-of", lease=LEASE)


async def test_lease__without_an_end_does_not_end(
    store: Store, clock: FakeClock | ClockTable
) -> None:
    await entered(store, "one", lease=None)
    await owned_operation(store, "one")
    clock.advance(timedelta(days=10_000))
    await entered(store, "two")
    assert await store.claim(OPERATION, "two", limit=1) == ()


async def test_lease__of_a_replica_that_leaves_ends_at_once(store: Store) -> None:
    await entered(store, "one", "two")
    _, held = await owned_operation(store, "one")
    await store.leave_replica("one")
    assert await store.claim(OPERATION, "two", limit=1) == (replace(held, owner="two", epoch=2),)


async def test_claim__by_a_replica_whose_own_lease_has_ended_takes_nothing(
    store: Store, clock: FakeClock | ClockTable
) -> None:
    await entered(store, "one")
    await stored_operation(store, an_operation())
    clock.advance(LEASE)
    with pytest.raises(LeaseLost):
        await store.claim(OPERATION, "one", limit=1)
    with pytest.raises(LeaseLost):
        await store.claim_duty("retention", "one")
    assert await store.owned(OPERATION, "one") == frozenset()


@pytest.mark.parametrize("quiet", [True, False])
async def test_write__of_whoever_lost_an_operation_changes_nothing(
    store: Store, quiet: bool
) -> None:
    await entered(store, "one", "two")
    operation, held = await owned_operation(store, "one")
    await store.leave_replica("one")
    await store.claim(OPERATION, "two", limit=1)
    late = LogChunk(operation=operation.id, offset=0, data=b"late")
    with pytest.raises(LeaseLost, match=operation.id):
        await store.commit(
            change(operations=(operation,), log=(late,), held=(held,), events=0 if quiet else 1)
        )
    assert (await store.operation(operation.id)).revision == operation.revision
    assert not (await store.log(operation.id, offset=0, limit=10)).data


@pytest.mark.parametrize("quiet", [True, False])
async def test_write__of_an_owner_whose_lease_ended_counts_until_somebody_claims(
    store: Store, clock: FakeClock | ClockTable, quiet: bool
) -> None:
    await entered(store, "one")
    operation, held = await owned_operation(store, "one")
    clock.advance(LEASE * 2)
    await store.commit(change(operations=(operation,), held=(held,), events=0 if quiet else 1))


async def test_write__with_the_epoch_of_a_former_lease_of_the_same_owner_is_refused(
    store: Store,
) -> None:
    await entered(store, "one")
    operation, former = await owned_operation(store, "one")
    await store.release(OPERATION, operation.id, "one")
    (held,) = await store.claim(OPERATION, "one", limit=1)
    with pytest.raises(LeaseLost):
        await store.commit(change(operations=(operation,), held=(former,)))
    await store.commit(change(operations=(operation,), held=(held,)))


async def test_write__that_is_refused_takes_no_other_of_its_commit_down(store: Store) -> None:
    await entered(store, "one")
    operation, held = await owned_operation(store, "one")
    other = replace(held, owner="two")
    lost = change(operations=(operation,), held=(other,))
    await store.commit(change(hosts=(a_host("web2"),)))
    with pytest.raises(LeaseLost):
        await store.commit(lost)
    await store.commit(change(operations=(operation,), held=(held,)))


async def test_take__of_what_somebody_drives_conflicts(store: Store) -> None:
    await entered(store, "one", "two")
    operation, held = await owned_operation(store, "one")
    with pytest.raises(Conflict):
        await store.commit(change(operations=(operation,), taken=(replace(held, owner="two"),)))


async def test_change_by_a_user__needs_no_lease_and_leaves_the_owner_its_own(store: Store) -> None:
    await entered(store, "one")
    operation, held = await owned_operation(store, "one")
    marked = replace(operation, cancel_requested_by="sam")
    committed = await store.commit(change(operations=(marked,)))
    current = replace(marked, revision=committed.revision)
    await store.commit(change(operations=(current,), held=(held,)))


async def test_duty__is_held_by_one_replica(store: Store) -> None:
    await entered(store, "one", "two")
    held = await store.claim_duty("retention", "one")
    assert held == Held(kind=DUTY, id="retention", owner="one", epoch=1)
    assert await store.claim_duty("retention", "two") is None
    assert await store.claim_duty("notifications chat", "two") is not None
    await store.leave_replica("one")
    assert await store.claim_duty("retention", "two") == replace(held, owner="two", epoch=2)


async def test_release__by_another_replica_does_nothing(store: Store) -> None:
    await entered(store, "one", "two")
    operation, _ = await owned_operation(store, "one")
    await store.release(OPERATION, operation.id, "two")
    assert await store.owned(OPERATION, "one") == {operation.id}
    await store.release(OPERATION, operation.id, "one")
    assert await store.owned(OPERATION, "one") == frozenset()


async def test_replicas__are_listed_with_what_is_left_of_their_leases(
    store: Store, clock: FakeClock | ClockTable
) -> None:
    vienna = a_replica("one", name="b", labels=("site=vienna",), version="1.2")
    graz = a_replica("two", name="a")
    await store.enter_replica(vienna, lease=LEASE)
    clock.advance(timedelta(seconds=10))
    await store.enter_replica(graz, lease=LEASE)
    assert await store.replicas() == [(graz, LEASE), (vienna, timedelta(seconds=5))]
    clock.advance(timedelta(days=2))
    await entered(store, "three")
    assert [replica.id for replica, _ in await store.replicas()] == ["three"]


async def test_idle_queues__are_those_of_hosts_without_a_running_operation(store: Store) -> None:
    queued = OperationStatus.QUEUED
    await stored_operation(store, an_operation("busy"))
    for host in ("busy", "idle", "idle", "another"):
        await stored_operation(store, an_operation(host, status=queued))
    assert await store.idle_queues() == ["another", "idle"]


async def test_database_that_is_opened_again__has_no_replicas(tmp_path: Path) -> None:
    """SQLite's file has one owner: whoever drove anything in it is gone, however long a lease was."""
    path = tmp_path / "again" / "tendhost.db"
    store = await open_store(path)
    await entered(store, "one", lease=None)
    operation, held = await owned_operation(store, "one")
    await store.aclose()
    store = await open_store(path)
    try:
        assert await store.replicas() == []
        await entered(store, "two", lease=None)
        (taken,) = await store.claim(OPERATION, "two", limit=10)
        assert (taken.id, taken.epoch) == (operation.id, held.epoch + 1)
    finally:
        await store.aclose()


def going_down(host: str) -> dict[str, Any]:
    """The parts of a change with which a host goes down."""
    operation = an_operation(host)
    assert operation.disruptive
    return {"operations": (operation,)}


@pytest.mark.parametrize(("limit", "fits"), [("1", 1), ("2", 2), ("50%", 2)])
async def test_guard__lets_as_many_hosts_go_down_as_the_budget_has_room_for(
    store: Store, limit: str, fits: int
) -> None:
    await store.commit(change(hosts=tuple(a_host(f"web{n}") for n in range(4))))
    budget = BoundBudget(budget=DisruptionBudget(limit=limit))
    guard = AdmissionGuard(policies=(0, 0), rollouts=frozenset(), budgets=frozenset({("", budget)}))
    for number in range(fits):
        await store.commit(change(guard=guard, **going_down(f"web{number}")))
    with pytest.raises(Conflict):
        await store.commit(change(guard=guard, **going_down("web3")))
    assert len(await store.busy_hosts()) == fits


async def test_guard__refuses_what_was_decided_without_an_unfinished_rollout(store: Store) -> None:
    first, second, over = a_rollout(), a_rollout(), a_rollout(ended_at=NOW)
    known = AdmissionGuard(policies=(0, 0), rollouts=frozenset({first.id}), budgets=frozenset())
    await store.commit(change(rollouts=(first, over), guard=known))
    assert await store.unfinished_rollouts() == [first.id]
    await store.commit(change(guard=known, **going_down("web1")))
    await store.commit(change(rollouts=(second,)))
    with pytest.raises(Conflict):
        await store.commit(change(guard=known, **going_down("web2")))
    both = replace(known, rollouts=frozenset({first.id, second.id}))
    await store.commit(change(guard=both, **going_down("web2")))


async def test_guard__refuses_what_was_decided_before_a_policy_was_changed(store: Store) -> None:
    guard = AdmissionGuard(policies=(0, 0), rollouts=frozenset(), budgets=frozenset())
    await store.commit(change(guard=guard, **going_down("web1")))
    policy = GroupPolicy(group="web")
    committed = await store.commit(change(group_policies=(policy,)))
    with pytest.raises(Conflict, match="policies"):
        await store.commit(change(guard=guard, **going_down("web2")))
    present = await store.policies_version()
    assert present == (1, committed.revision)
    await store.commit(change(guard=replace(guard, policies=present), **going_down("web2")))
    stored = replace(policy, revision=committed.revision)
    await store.commit(change(removed_group_policies=(stored,)))
    assert await store.policies_version() == (0, 0)


async def test_listener__is_told_which_operations_have_ended(store: Store) -> None:
    heard: list[Touched] = []
    store.listen(heard.append)
    operation = an_operation("web1", rollout="ro-1")
    stored = await stored_operation(store, operation)
    await stored_operation(store, replace(stored, status=OperationStatus.FAILED, ended_at=NOW))
    assert [touched.ended for touched in heard] == [
        (),
        (EndedOperation(host="web1", rollout="ro-1"),),
    ]
    assert {kind for touched in heard for kind in touched.kinds} == {"host_connected"}


async def test_change__without_events_cannot_take_anything(store: Store) -> None:
    held = Held(kind=OPERATION, id="op-1", owner="one", epoch=1)
    with pytest.raises(Exception, match="without events"):
        await store.commit(Change(events=(), taken=(held,), at=NOW))
