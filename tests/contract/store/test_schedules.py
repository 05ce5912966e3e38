"""Schedules."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.request_errors import ScheduleAlreadyExists, ScheduleNotFound
from tendhost.server.domain.rollouts.rollout import RolloutSpec
from tendhost.server.domain.schedules.recurrence import Recurrence
from tendhost.server.domain.schedules.schedule import Schedule, ScheduleSpec
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Conflict
from tests.contract.store.samples import A_DAY, NOW, a_rollout, change

HOUR = timedelta(hours=1)


def a_schedule(
    name: str = "nightly", next_at: datetime | None = NOW + A_DAY, **fields: Any
) -> Schedule:
    """A schedule that is not stored yet."""
    spec = ScheduleSpec(
        name=name,
        recurrence=Recurrence(cron="0 3 * * *", start=NOW),
        rollout=RolloutSpec(filter=HostFilter(groups=("berlin",))),
    )
    return Schedule(spec=spec, created_at=NOW, next_at=next_at, **fields)


async def stored(store: Store, schedule: Schedule) -> Schedule:
    """A schedule, stored, as it reads from the store."""
    committed = await store.commit(change(schedules=(schedule,)))
    return replace(schedule, revision=committed.revision)


async def test_schedule_reads_as_it_was_stored_with_the_revision_of_its_change(
    store: Store,
) -> None:
    committed = await store.commit(change(schedules=(a_schedule(),), events=2))
    assert await store.schedule("nightly") == replace(a_schedule(), revision=committed.revision)
    assert committed.revision == 2


async def test_schedule_that_never_was_is_not_found(store: Store) -> None:
    with pytest.raises(ScheduleNotFound) as caught:
        await store.schedule("unheard-of")
    assert caught.value.schedule == "unheard-of"


async def test_schedule_of_a_name_is_there_once(store: Store) -> None:
    first = await stored(store, a_schedule())
    with pytest.raises(ScheduleAlreadyExists) as caught:
        await stored(store, a_schedule(next_at=NOW))
    assert caught.value.schedule == "nightly"
    assert await store.schedule("nightly") == first


async def test_schedule_that_was_changed_since_it_was_read_conflicts_and_takes_the_rollout_along(
    store: Store,
) -> None:
    read = await stored(store, a_schedule())
    moved_on = await stored(store, replace(read, next_at=NOW + 2 * A_DAY))
    rollout = a_rollout()
    with pytest.raises(Conflict, match="nightly"):
        await store.commit(change(schedules=(read,), rollouts=(rollout,)))
    assert await store.schedule("nightly") == moved_on
    assert (await store.rollouts(limit=9)).items == ()


async def test_schedule_that_was_removed_is_gone_and_its_name_is_free(store: Store) -> None:
    read = await stored(store, a_schedule())
    newer = await stored(store, replace(read, paused=True))
    with pytest.raises(Conflict, match="nightly"):
        await store.commit(change(removed_schedules=(read,)))
    await store.commit(change(removed_schedules=(newer,)))
    with pytest.raises(ScheduleNotFound):
        await store.schedule("nightly")
    with pytest.raises(Conflict):
        await stored(store, newer)
    assert (await stored(store, a_schedule())).revision > newer.revision


async def test_schedules_are_listed_by_name_page_by_page(store: Store) -> None:
    c, a, b = [await stored(store, a_schedule(name)) for name in ("c", "a", "b")]
    first = await store.schedules(limit=2)
    assert (first.items, first.more) == ((a, b), True)
    rest = await store.schedules(after="b", limit=2)
    assert (rest.items, rest.more) == ((c,), False)


async def test_due_are_those_whose_time_has_come_the_longest_due_first(store: Store) -> None:
    assert await store.next_due() is None
    assert await store.due_schedules(NOW, limit=9) == []
    later = await stored(store, a_schedule("later", NOW + HOUR))
    now = await stored(store, a_schedule("now", NOW))
    long = await stored(store, a_schedule("long", NOW - A_DAY))
    await stored(store, a_schedule("paused", None, paused=True))
    assert await store.due_schedules(NOW, limit=9) == [long, now]
    assert await store.due_schedules(NOW, limit=1) == [long]
    assert await store.due_schedules(NOW + HOUR, limit=9) == [long, now, later]
    assert await store.next_due() == NOW - A_DAY
    await store.commit(change(removed_schedules=(long,)))
    await stored(store, replace(now, next_at=None))
    assert await store.next_due() == NOW + HOUR


async def test_schedules_are_kept_whatever_their_age(store: Store) -> None:
    made = await stored(store, a_schedule(next_at=None))
    later = NOW + 1000 * A_DAY
    await store.prune(before=later, now=later, requests_before=0, keep_events=0)
    assert await store.schedule("nightly") == made
