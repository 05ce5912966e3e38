"""What pruning takes, what it leaves, and what the event log says of itself afterwards."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tendhost.server.domain.access.audit import AuditRecord, Head, verified
from tendhost.server.domain.clock_trust import ClockTrust
from tendhost.server.domain.operations.operation import OperationStatus
from tendhost.server.domain.request_errors import OperationNotFound, PlanNotFound, RolloutNotFound
from tendhost.server.domain.rollouts.plan import PlannedHost
from tendhost.server.domain.rollouts.rollout import RolloutStatus
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import AuditFilter, Change, LogChunk, RequestRecord
from tests.contract.store.conftest import Database
from tests.contract.store.samples import (
    A_DAY,
    NOW,
    a_member,
    a_plan,
    a_rollout,
    a_wave,
    an_event,
    an_operation,
    change,
    stored_host,
    stored_operation,
    stored_rollout,
)

OLD = NOW - 10 * A_DAY
EVER = NOW - 10000 * A_DAY


async def pruned(
    store: Store,
    *,
    before: datetime = EVER,
    now: datetime = NOW,
    requests_before: int = 0,
    keep_events: int = 10**6,
) -> int:
    """Prune by one rule, the others being such that they take nothing."""
    return await store.prune(
        before=before, now=now, requests_before=requests_before, keep_events=keep_events
    )


async def test_operations_that_ended_long_ago_go_with_their_logs(store: Store) -> None:
    status = OperationStatus.FAILED
    old = await stored_operation(store, an_operation(status=status, ended_at=OLD))
    new = await stored_operation(store, an_operation(status=status, ended_at=NOW))
    chunks = tuple(LogChunk(operation=each.id, offset=0, data=b"log") for each in (old, new))
    await store.commit(change(log=chunks))
    assert await pruned(store, before=NOW - A_DAY) == 3
    with pytest.raises(OperationNotFound):
        await store.operation(old.id)
    assert (await store.log(old.id, offset=0, limit=9)).data == b""
    assert await store.operation(new.id) == new
    assert (await store.log(new.id, offset=0, limit=9)).data == b"log"


async def test_operations_that_have_not_ended_stay_whatever_their_age(store: Store) -> None:
    running = await stored_operation(store, an_operation())
    queued = await stored_operation(store, an_operation(status=OperationStatus.QUEUED))
    await store.commit(change(log=(LogChunk(operation=running.id, offset=0, data=b"log"),)))
    await pruned(store, before=NOW + 1000 * A_DAY)
    assert await store.unfinished_operations() == [running, queued]
    assert (await store.log(running.id, offset=0, limit=9)).data == b"log"


@pytest.mark.parametrize("ended", [False, True])
async def test_pruning__operations_of_a_rollout_stay_until_it_has_ended(
    ended: bool, store: Store
) -> None:
    status, at = (RolloutStatus.COMPLETED, NOW) if ended else (RolloutStatus.HALTED, None)
    rollout = a_rollout(status=status, ended_at=at)
    await store.commit(change(rollouts=(rollout,), at=OLD))
    made = an_operation(status=OperationStatus.FAILED, ended_at=OLD)
    old = await stored_operation(store, replace(made, rollout=rollout.id))
    await store.commit(change(log=(LogChunk(operation=old.id, offset=0, data=b"log"),)))
    assert await pruned(store, before=NOW - A_DAY) == (4 if ended else 2)
    assert (await store.log(old.id, offset=0, limit=9)).data == (b"" if ended else b"log")


async def test_clock_trust__what_is_known_of_the_date_outlives_the_store(
    store: Store, database: Database
) -> None:
    assert await store.clock_trust() is None
    trust = ClockTrust(expected=OLD, seen=NOW, doubted_for=A_DAY / 7)
    await store.save_clock_trust(replace(trust, doubted_for=None))
    await store.save_clock_trust(trust)
    assert await store.clock_trust() == trust


async def test_rollouts_that_ended_long_ago_go_with_their_members(store: Store) -> None:
    status = RolloutStatus.COMPLETED
    old = await stored_rollout(store, a_rollout(status=status, ended_at=OLD))
    new = await stored_rollout(store, a_rollout(status=status, ended_at=NOW))
    running = await stored_rollout(store, a_rollout())
    members = tuple(a_member(each, "web1") for each in (old, new, running))
    await store.commit(change(members=members))
    assert await pruned(store, before=NOW - A_DAY) == 3
    with pytest.raises(RolloutNotFound):
        await store.rollout(old.id)
    assert (await store.members(old.id, limit=9)).items == ()
    assert (await store.rollouts(limit=9)).items == (running, new)
    assert (await store.members(new.id, limit=9)).items == (members[1],)


async def test_rollout__that_ended_long_ago_goes_with_all_of_its_members_however_many(
    store: Store,
) -> None:
    count = 12_000
    old = await stored_rollout(store, a_rollout(status=RolloutStatus.COMPLETED, ended_at=OLD))
    members = tuple(a_member(old, f"h{n}", position=n) for n in range(count))
    waves = tuple(a_wave(old, number) for number in range(3))
    await store.commit(change(members=members, waves=waves))
    assert await pruned(store, before=NOW - A_DAY) == 1 + 1 + count + 3
    assert (await store.members(old.id, limit=9)).items == ()
    assert await store.waves(old.id, first=0, last=9) == []
    assert await pruned(store, before=NOW - A_DAY) == 0


async def test_plans_go_with_their_hosts_when_they_have_grown_old(store: Store) -> None:
    for number, at in enumerate((*[OLD] * 7, NOW)):
        hosts = tuple(PlannedHost(name=f"h{n}", wave=0) for n in range(300))
        await store.save_plan(a_plan(f"pl-{number}", hosts=hosts, created_at=at))
    assert await pruned(store, before=NOW - A_DAY) == 7
    for gone in range(7):
        with pytest.raises(PlanNotFound):
            await store.plan_page(f"pl-{gone}", first=0, last=9)
    assert len((await store.plan("pl-7")).hosts) == 300


async def test_long_logs_go_before_their_operation(store: Store) -> None:
    status = OperationStatus.FAILED
    old = await stored_operation(store, an_operation(status=status, ended_at=OLD))
    chunks = tuple(LogChunk(operation=old.id, offset=n, data=b".") for n in range(2500))
    await store.commit(change(log=chunks))
    assert await pruned(store, before=NOW - A_DAY) == 2502
    assert (await store.log(old.id, offset=0, limit=9)).data == b""


async def test_answers_to_requests__go_by_their_revision_and_no_date(store: Store) -> None:
    for id, at in (("old", NOW + 9 * A_DAY), ("new", EVER)):
        request = RequestRecord(id=id, digest=b"digest", respond=lambda revision: b"answer")
        await store.commit(Change(events=(an_event(at=at),), request=request))
    newest = (await store.log_bounds()).current
    assert await pruned(store, requests_before=newest) == 1
    assert await store.stored_response("old", b"digest") is None
    assert await store.stored_response("new", b"digest") == b"answer"


async def test_old_audit_rows_go(store: Store) -> None:
    for at in (OLD, NOW):
        audit = AuditRecord(at=at, principal="ann", method="RegisterHost", subject="web1")
        await store.commit(change(audit=audit, at=at))
    assert await pruned(store, before=NOW - A_DAY) == 2
    assert await pruned(store, before=NOW - A_DAY) == 0


async def test_audit_log__loses_its_beginning_only_and_stays_a_chain(store: Store) -> None:
    # A record that is dated late stands among old ones: a clock was put forward, and back again.
    for at in (OLD, OLD, NOW, OLD, NOW):
        await store.commit(change(audit=an_audit(at), at=at))
    before = (await store.audit_entries(AuditFilter(), before=0, limit=9)).items
    await pruned(store, before=NOW - A_DAY)
    after = (await store.audit_entries(AuditFilter(), before=0, limit=9)).items
    assert after == before[:3]
    start = Head(number=2, hash=before[3].hash)
    assert verified(reversed(after), start).number == 5


async def test_audit_log__goes_on_where_it_was_when_all_of_it_was_dropped(store: Store) -> None:
    await store.commit(change(audit=an_audit(OLD), at=OLD))
    (first,) = (await store.audit_entries(AuditFilter(), before=0, limit=9)).items
    await store.commit(change(at=OLD))
    assert await pruned(store, before=NOW - A_DAY)
    assert not (await store.audit_entries(AuditFilter(), before=0, limit=9)).items
    await store.commit(change(audit=an_audit(NOW), at=NOW))
    (second,) = (await store.audit_entries(AuditFilter(), before=0, limit=9)).items
    assert verified([second], Head(number=1, hash=first.hash)).number == 2


def an_audit(at: datetime) -> AuditRecord:
    return AuditRecord(at=at, principal="ann", method="RegisterHost", subject="web1")


async def test_old_events_go_and_the_log_says_where_it_begins(store: Store) -> None:
    for at in (OLD, OLD, NOW, NOW):
        await store.commit(Change(events=(an_event(at=at),)))
    assert await pruned(store, before=NOW - A_DAY) == 2
    bounds = await store.log_bounds()
    assert (bounds.oldest, bounds.current) == (3, 4)
    assert [event.revision for event in await store.events(after=0, limit=9)] == [3, 4]
    assert [event.revision for event in await store.events(after=3, limit=9)] == [4]


async def test_only_the_newest_events_are_kept(store: Store) -> None:
    await store.commit(change(events=10))
    assert await pruned(store, keep_events=4) == 6
    bounds = await store.log_bounds()
    assert (bounds.oldest, bounds.current) == (7, 10)
    assert len(await store.events(after=0, limit=99)) == 4


async def test_log_that_was_pruned_empty_goes_on_where_it_was(database: Database) -> None:
    async with database.opened() as store:
        await store.commit(change(events=5))
        await pruned(store, keep_events=0)
        bounds = await store.log_bounds()
        assert (bounds.oldest, bounds.current) == (6, 5)
        assert list(await store.events(after=0, limit=9)) == []
    async with database.opened() as store:
        assert await store.log_bounds() == bounds
        assert await pruned(store, keep_events=0) == 0
        assert await store.log_bounds() == bounds
        assert (await store.commit(change())).revision == 6
        assert [event.revision for event in await store.events(after=5, limit=9)] == [6]


async def test_pruning_with_nothing_to_take_changes_nothing(store: Store) -> None:
    host = await stored_host(store)
    before = await store.log_bounds()
    assert await pruned(store, before=NOW - A_DAY) == 0
    assert await store.log_bounds() == before
    assert await store.host("web1") == replace(host, revision=before.current)


async def test_event_with_an_old_time_stays_where_a_newer_one_stands_before_it(
    store: Store,
) -> None:
    for at in (OLD, NOW, OLD, NOW):  # the clock was set back
        await store.commit(Change(events=(an_event(at=at),)))
    assert await pruned(store, before=NOW - A_DAY) == 1
    assert [event.revision for event in await store.events(after=0, limit=9)] == [2, 3, 4]


async def test_all_old_operations_go_however_many_they_are(store: Store) -> None:
    status, count = OperationStatus.SUCCEEDED, 450
    operations = tuple(an_operation(status=status, ended_at=OLD) for _ in range(count))
    logs = tuple(LogChunk(operation=each.id, offset=0, data=b"log") for each in operations)
    await store.commit(change(operations=operations, log=logs, at=OLD))
    assert await pruned(store, before=NOW - A_DAY) == 2 * count + 1
    assert (await store.operations(limit=9)).items == ()
    assert (await store.log(operations[-1].id, offset=0, limit=9)).data == b""


async def test_all_events_but_the_newest_go_however_many_they_are(store: Store) -> None:
    for _ in range(5):
        await store.commit(change(events=5000))
    assert await pruned(store, keep_events=10) == 25_000 - 10
    bounds = await store.log_bounds()
    assert (bounds.oldest, bounds.current) == (24_991, 25_000)
    assert len(await store.events(after=0, limit=99)) == 10


async def test_pruning_comes_to_an_end_while_others_go_on_writing(store: Store) -> None:
    await store.commit(change(events=100))
    over = False

    async def write() -> None:
        while not over:
            await store.commit(change())

    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(write()) for _ in range(3)]
        await pruned(store, before=NOW + A_DAY, keep_events=5)
        over = True
    assert all(writer.done() for writer in writers)
    bounds = await store.log_bounds()
    events = await store.events(after=0, limit=10**6)
    assert [event.revision for event in events] == list(range(bounds.oldest, bounds.current + 1))


async def _recorded(store: Store, at: datetime) -> tuple[str, str]:
    """An operation and a rollout that ended then, with an audit row and an event of then."""
    operation = an_operation(status=OperationStatus.SUCCEEDED, ended_at=at)
    rollout = a_rollout(status=RolloutStatus.COMPLETED, ended_at=at)
    audit = AuditRecord(at=at, principal="ann", method="RegisterHost", subject="web1")
    await store.commit(
        change(operations=(operation,), rollouts=(rollout,), audit=audit, at=at),
    )
    return operation.id, rollout.id


async def _kept(store: Store) -> list[str]:
    return sorted(operation.id for operation in (await store.operations(limit=99)).items)


async def test_pruning__what_a_clock_far_behind_has_dated_stays_as_long_as_its_neighbours(
    store: Store,
) -> None:
    """A machine without a battery for its clock: after a power cut it is 1970 for a while."""
    await _recorded(store, OLD)
    kept = [(await _recorded(store, at))[0] for at in (NOW, EVER, EVER, NOW)]
    assert await pruned(store, before=NOW - A_DAY) == 4
    assert await _kept(store) == kept
    assert len((await store.rollouts(limit=9)).items) == 4
    assert await pruned(store, before=NOW + A_DAY, now=NOW + 2 * A_DAY) == 16
    assert await _kept(store) == []


async def test_pruning__what_a_clock_far_ahead_has_dated_goes_with_its_neighbours(
    store: Store,
) -> None:
    """Else one event of 2099 keeps every later one, and what belongs to it, for ever."""
    ahead = NOW + 10_000 * A_DAY
    for at in (OLD, ahead, OLD):
        await _recorded(store, at)
    kept = [(await _recorded(store, at))[0] for at in (ahead, NOW)]
    assert await pruned(store, before=NOW - A_DAY) == 12
    assert await _kept(store) == kept
    assert await pruned(store, before=NOW + A_DAY, now=NOW + 2 * A_DAY) == 8


async def test_audit_log__keeps_what_a_sink_was_not_sent_for_a_week_more(store: Store) -> None:
    for at in (NOW - 12 * A_DAY, OLD, OLD, OLD, NOW):
        await store.commit(change(audit=an_audit(at), at=at))
    first = (await store.audit_entries(AuditFilter(), before=0, limit=9)).items[-2]
    await store.save_audit_cursor("fast", Head(number=4, hash="f"))
    await store.save_audit_cursor("slow", Head(number=2, hash=first.hash))
    await pruned(store, before=OLD + A_DAY)
    assert [entry.number for entry in await store.audit_after(0, limit=9)] == [3, 4, 5]
    assert await store.dropped_audit() == Head(number=2, hash=first.hash)
    await store.retain_audit_cursors(["slow"])
    await pruned(store, before=OLD + 7 * A_DAY)
    assert [entry.number for entry in await store.audit_after(0, limit=1)] == [3]
    await pruned(store, before=OLD + 7 * A_DAY + timedelta(seconds=1))
    assert [entry.number for entry in await store.audit_after(0, limit=9)] == [5]


async def test_audit_log__keeps_nothing_for_a_sink_that_is_gone(store: Store) -> None:
    await store.commit(change(audit=an_audit(OLD), at=OLD))
    await store.save_audit_cursor("gone", Head())
    assert await store.audit_cursor("gone") == Head()
    await store.retain_audit_cursors(["other"])
    assert await store.audit_cursor("gone") is None
    assert await pruned(store, before=NOW - A_DAY)
    assert not await store.audit_after(0, limit=9)
