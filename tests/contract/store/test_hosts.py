"""Hosts: stored once, replaced only by whoever saw the latest, found by name, label and state."""

from dataclasses import replace

import pytest

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import OperationStatus
from tendhost.server.domain.request_errors import (
    HostAlreadyExists,
    HostBusy,
    HostNotFound,
    InventoryNotFound,
)
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Conflict
from tests.contract.store.samples import (
    a_host,
    an_inventory,
    an_operation,
    change,
    stored_host,
    stored_operation,
)

EVERY = HostFilter()


async def test_host_reads_as_it_was_stored_with_the_revision_of_its_change(store: Store) -> None:
    host = a_host()
    committed = await store.commit(change(hosts=(host,), events=3))
    assert committed.revision == 3
    assert await store.host("web1") == replace(host, revision=3)


async def test_host_that_is_not_registered_is_not_found(store: Store) -> None:
    await stored_host(store, "web1")
    with pytest.raises(HostNotFound) as caught:
        await store.host("web")
    assert caught.value.host == "web"


async def test_second_host_of_a_name_is_refused_and_the_first_left_as_it_was(store: Store) -> None:
    first = await stored_host(store)
    with pytest.raises(HostAlreadyExists) as caught:
        await store.commit(change(hosts=(a_host(pending_count=9),)))
    assert caught.value.host == "web1"
    assert await store.host("web1") == first


async def test_host_is_replaced_by_whoever_saw_its_latest_revision(store: Store) -> None:
    host = await stored_host(store)
    moved = replace(host, status=replace(host.status, state=HostState.QUERYING))
    committed = await store.commit(change(hosts=(moved,)))
    assert await store.host("web1") == replace(moved, revision=committed.revision)


async def test_host_that_was_changed_since_it_was_read_conflicts(store: Store) -> None:
    read = await stored_host(store)
    await store.commit(change(hosts=(replace(read, host_key="first"),)))
    with pytest.raises(Conflict, match="web1"):
        await store.commit(change(hosts=(replace(read, host_key="second"),)))
    assert (await store.host("web1")).host_key == "first"


async def test_removed_host_is_gone_with_its_inventory_and_labels(store: Store) -> None:
    host = await stored_host(store)
    await store.commit(change(inventories=(an_inventory(),)))
    await store.commit(change(removed_hosts=(host,)))
    with pytest.raises(HostNotFound):
        await store.host("web1")
    with pytest.raises(HostNotFound):
        await store.inventory("web1")
    assert await store.tags() == []
    assert await store.groups() == []
    await stored_host(store)
    with pytest.raises(InventoryNotFound):
        await store.inventory("web1")


async def test_removing_a_host_that_was_changed_or_removed_since_conflicts(store: Store) -> None:
    read = await stored_host(store)
    committed = await store.commit(change(hosts=(read,)))
    with pytest.raises(Conflict):
        await store.commit(change(removed_hosts=(read,)))
    latest = replace(read, revision=committed.revision)
    await store.commit(change(removed_hosts=(latest,)))
    with pytest.raises(Conflict):
        await store.commit(change(removed_hosts=(latest,)))
    with pytest.raises(Conflict):
        await store.commit(change(hosts=(latest,)))


async def test_host_with_a_running_operation_is_not_removed(store: Store) -> None:
    host = await stored_host(store)
    running = await stored_operation(store, an_operation())
    with pytest.raises(HostBusy) as caught:
        await store.commit(change(removed_hosts=(host,)))
    assert caught.value.operation == running.id
    ended = replace(running, status=OperationStatus.CANCELLED, ended_at=running.created_at)
    await store.commit(change(operations=(ended,)))
    await store.commit(change(removed_hosts=(host,)))


async def test_hosts_are_counted(store: Store) -> None:
    assert await store.count_hosts() == 0
    await stored_host(store, "a")
    host = await stored_host(store, "b")
    assert await store.count_hosts() == 2
    await store.commit(change(removed_hosts=(host,)))
    assert await store.count_hosts() == 1


async def test_list_is_read_page_by_page_in_order_of_name(store: Store) -> None:
    names = [f"h{number:02}" for number in range(7)]
    for name in reversed(names):
        await stored_host(store, name)
    read, after = [], ""
    while True:
        page = await store.hosts(EVERY, after=after, limit=3)
        read.append([host.name for host in page.items])
        if not page.more:
            break
        after = page.items[-1].name
    assert read == [names[:3], names[3:6], names[6:]]


async def test_page_that_ends_the_list_exactly_says_that_nothing_follows(store: Store) -> None:
    for name in ("a", "b"):
        await stored_host(store, name)
    assert not (await store.hosts(EVERY, limit=2)).more
    assert (await store.hosts(EVERY, limit=1)).more
    assert not (await store.hosts(EVERY, after="b", limit=2)).items


async def test_labels_are_counted_and_follow_a_reconfiguration(store: Store) -> None:
    first = await stored_host(store, "a")
    await stored_host(store, "b")
    assert await store.tags() == [("web", 2)]
    assert await store.groups() == [("berlin", 2)]
    config = replace(first.config, tags=("web", "api", "api"), groups=())
    await store.commit(change(hosts=(replace(first, config=config),)))
    assert await store.tags() == [("api", 1), ("web", 2)]
    assert await store.groups() == [("berlin", 1)]
    found = await store.hosts(HostFilter(all_tags=("api",)), limit=9)
    assert [host.name for host in found.items] == ["a"]


async def test_labels_that_move_between_tags_and_groups_are_found_where_they_are(
    store: Store,
) -> None:
    host = await stored_host(store)
    odd = replace(host.config, tags=("groups", "a"), groups=())
    committed = await store.commit(change(hosts=(replace(host, config=odd),)))
    moved = replace(host.config, tags=(), groups=("a", "groups"))
    await store.commit(change(hosts=(replace(host, config=moved, revision=committed.revision),)))
    assert await store.tags() == []
    assert await store.groups() == [("a", 1), ("groups", 1)]


async def test_inventory_is_the_latest_of_its_host(store: Store) -> None:
    await stored_host(store)
    with pytest.raises(InventoryNotFound) as caught:
        await store.inventory("web1")
    assert caught.value.host == "web1"
    await store.commit(change(inventories=(an_inventory(version="1.0"),)))
    await store.commit(change(inventories=(an_inventory(version="1.1"),)))
    assert await store.inventory("web1") == an_inventory(version="1.1")
    with pytest.raises(HostNotFound):
        await store.inventory("web2")
