"""Defaults of groups and of the fleet."""

from dataclasses import replace
from datetime import time, timedelta

import pytest

from tendhost.server.domain.hosts.group_policy import FLEET, GroupPolicy
from tendhost.server.domain.policy.freezes import FreezePeriod
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Conflict
from tests.contract.store.samples import A_DAY, NOW, change


def some(group: str = FLEET, by: str = "alex") -> GroupPolicy:
    """Defaults that are not stored yet."""
    return GroupPolicy(
        group=group,
        windows=(MaintenanceWindow(start=time(2), end=time(4), cutoff=timedelta(minutes=5)),),
        freezes=(FreezePeriod(name="year end", starts_at=NOW, ends_at=NOW + A_DAY),),
        changed_by=by,
        changed_at=NOW,
    )


async def stored(store: Store, group_policies: GroupPolicy) -> GroupPolicy:
    """Defaults, stored, as they read from the store."""
    committed = await store.commit(change(group_policies=(group_policies,)))
    return replace(group_policies, revision=committed.revision)


async def test_defaults_read_as_they_were_stored_the_fleets_first(store: Store) -> None:
    assert list(await store.group_policies()) == []
    written = [await stored(store, some(group)) for group in ("web", FLEET, "db")]
    assert list(await store.group_policies()) == [written[1], written[2], written[0]]


async def test_defaults_that_are_changed_take_the_place_of_the_former(store: Store) -> None:
    former = await stored(store, some("db"))
    changed = await stored(store, replace(former, freezes=(), changed_by="kim"))
    assert changed.revision > former.revision
    assert list(await store.group_policies()) == [changed]


async def test_defaults_that_were_changed_since_they_were_read_conflict(store: Store) -> None:
    former = await stored(store, some("db"))
    current = await stored(store, replace(former, changed_by="kim"))
    for late in (replace(former, changed_by="late"), some("db", by="late")):
        with pytest.raises(Conflict, match="another request changed the policy of group db"):
            await store.commit(change(group_policies=(late,)))
    with pytest.raises(Conflict):
        await store.commit(change(removed_group_policies=(former,)))
    assert list(await store.group_policies()) == [current]


async def test_defaults_that_are_removed_are_gone_and_can_be_set_again(store: Store) -> None:
    former = await stored(store, some())
    await store.commit(change(removed_group_policies=(former,)))
    assert list(await store.group_policies()) == []
    with pytest.raises(Conflict, match="another request changed the fleet policy"):
        await store.commit(change(removed_group_policies=(former,)))
    with pytest.raises(Conflict):
        await store.commit(change(group_policies=(replace(former, changed_by="late"),)))
    again = await stored(store, some())
    assert list(await store.group_policies()) == [again]
