"""Rollouts and their members."""

from dataclasses import replace

import pytest

from tendhost.server.domain.errors import RolloutNotFound
from tendhost.server.domain.rollout import MemberStatus, RolloutStatus
from tendhost.server.store.protocol import Conflict, Store
from tests.contract.store.samples import NOW, a_member, a_rollout, change, stored_rollout


async def test_rollout_reads_as_it_was_stored_with_the_revision_of_its_change(
    store: Store,
) -> None:
    rollout = a_rollout()
    committed = await store.commit(change(rollouts=(rollout,), events=2))
    assert await store.rollout(rollout.id) == replace(rollout, revision=committed.revision)
    assert committed.revision == 2


async def test_rollout_that_never_was_is_not_found(store: Store) -> None:
    with pytest.raises(RolloutNotFound) as caught:
        await store.rollout("ro-unheard-of")
    assert caught.value.rollout == "ro-unheard-of"


async def test_rollout_that_was_changed_since_it_was_read_conflicts(store: Store) -> None:
    read = await stored_rollout(store, a_rollout())
    await stored_rollout(store, replace(read, batch=1))
    with pytest.raises(Conflict, match=read.id):
        await stored_rollout(store, replace(read, status=RolloutStatus.PAUSED))
    assert (await store.rollout(read.id)).status is RolloutStatus.RUNNING


async def test_rollout_is_stored_under_its_id_once(store: Store) -> None:
    first = await stored_rollout(store, a_rollout())
    with pytest.raises(Conflict, match=first.id):
        await stored_rollout(store, replace(first, revision=0, batch=1))
    assert await store.rollout(first.id) == first


async def test_rollouts_are_listed_newest_first_by_status(store: Store) -> None:
    a = await stored_rollout(store, a_rollout(status=RolloutStatus.COMPLETED, ended_at=NOW))
    b = await stored_rollout(store, a_rollout())
    c = await stored_rollout(store, a_rollout(status=RolloutStatus.PAUSED))
    first = await store.rollouts(limit=2)
    assert (first.items, first.more) == ((c, b), True)
    rest = await store.rollouts(before=b.id, limit=2)
    assert (rest.items, rest.more) == ((a,), False)
    wanted = (RolloutStatus.PAUSED, RolloutStatus.COMPLETED)
    assert (await store.rollouts(statuses=wanted, limit=9)).items == (c, a)
    assert (await store.rollouts(statuses=(RolloutStatus.CANCELLED,), limit=9)).items == ()


async def test_members_are_read_by_batch_and_page_by_page(store: Store) -> None:
    rollout = await stored_rollout(store, a_rollout())
    other = await stored_rollout(store, a_rollout())
    members = tuple(a_member(rollout, f"h{n}", batch=n // 2) for n in range(5))
    await store.commit(change(members=(*reversed(members), a_member(other, "h0"))))
    assert await store.batch(rollout.id, 0) == list(members[:2])
    assert await store.batch(rollout.id, 2) == list(members[4:])
    assert await store.batch(rollout.id, 3) == []
    first = await store.members(rollout.id, limit=3)
    assert (first.items, first.more) == (members[:3], True)
    rest = await store.members(rollout.id, after="h2", limit=3)
    assert (rest.items, rest.more) == (members[3:], False)


async def test_member_is_replaced_in_place(store: Store) -> None:
    rollout = await stored_rollout(store, a_rollout())
    member = a_member(rollout, "h0")
    await store.commit(change(members=(member, a_member(rollout, "h1"))))
    failed = replace(member, status=MemberStatus.FAILED, detail="höher")
    await store.commit(change(members=(failed,)))
    assert await store.batch(rollout.id, 0) == [failed, a_member(rollout, "h1")]
