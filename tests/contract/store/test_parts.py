"""The fleet a part at a time: each part as of one revision, and nothing that changed meanwhile is missed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.request_errors import CursorCompacted
from tendhost.server.store import parts
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import HostCursor, HostsPart
from tests.contract.store.samples import NOW, a_host, change, stored_host

EVERY = HostFilter()
MUCH = 1 << 20


async def of_names(
    store: Store, after: str = "", selection: HostFilter = EVERY, limit: int = 99, size: int = MUCH
) -> HostsPart:
    return await store.hosts_part(selection, after=after, limit=limit, size=size)


async def since(
    store: Store,
    after: HostCursor,
    selection: HostFilter = EVERY,
    limit: int = 99,
    size: int = MUCH,
) -> HostsPart:
    return await store.changed_hosts(selection, after=after, limit=limit, size=size)


def names(part: HostsPart) -> list[str]:
    return [host.name for host in part.hosts]


async def test_part__holds_hosts_by_name_as_of_one_revision(store: Store) -> None:
    assert await of_names(store) == HostsPart(
        hosts=(), revision=0, last=HostCursor(0, ""), more=False
    )
    hosts = [await stored_host(store, name) for name in ("b", "a", "c")]
    whole = await of_names(store)
    assert whole.hosts == tuple(sorted(hosts, key=lambda host: host.name))
    assert (whole.revision, whole.more) == (3, False)


async def test_part__is_bounded_by_number_by_bytes_and_by_what_is_looked_through(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.commit(change(hosts=tuple(a_host(f"h{number}") for number in range(9))))
    first = await of_names(store, limit=2)
    assert (names(first), first.more) == (["h0", "h1"], True)
    assert names(await of_names(store, after=first.last.name, limit=2)) == ["h2", "h3"]
    assert names(await of_names(store, size=1)) == ["h0"]
    monkeypatch.setattr(parts, "ROWS_AT_ONCE", 4)
    glob = HostFilter(names=("*8",))
    looked = [await of_names(store, after=after, selection=glob) for after in ("", "h3", "h7")]
    assert [(names(part), part.more) for part in looked] == [
        ([], True),
        ([], True),
        (["h8"], False),
    ]
    assert [part.last.name for part in looked] == ["h3", "h7", "h8"]


async def test_changes__are_hosts_in_the_order_in_which_they_were_stored(store: Store) -> None:
    hosts = {name: await stored_host(store, name) for name in ("a", "b", "c", "d")}
    await store.commit(change(hosts=(hosts["c"], hosts["a"])))
    await store.commit(change(hosts=(hosts["b"],)))
    changed = await since(store, HostCursor(5))
    assert (names(changed), changed.gone) == (["a", "c", "b"], ())
    assert (changed.revision, changed.more) == (6, False)
    assert changed.hosts[0] == await store.host("a")
    first = await since(store, HostCursor(5), limit=1)
    assert (names(first), first.last, first.more) == (["a"], HostCursor(5, "a"), True)
    assert names(await since(store, first.last)) == ["c", "b"]
    assert (await since(store, HostCursor(7))).hosts == ()


async def test_changes__tell_of_hosts_that_were_removed_and_of_none_that_is_there_again(
    store: Store,
) -> None:
    hosts = [await stored_host(store, name) for name in ("a", "b")]
    await store.commit(change(removed_hosts=tuple(hosts)))
    removed = await since(store, HostCursor(3))
    assert (names(removed), removed.gone, removed.last) == ([], ("a", "b"), HostCursor(3, "b"))
    await stored_host(store, "a")
    again = await since(store, HostCursor(3))
    assert (names(again), again.gone) == (["a"], ("b",))


async def test_changes__tell_of_hosts_that_are_not_selected_any_more(store: Store) -> None:
    host = await stored_host(store, "web1")
    await stored_host(store, "db1")
    untagged = replace(host, config=replace(host.config, tags=()))
    await store.commit(change(hosts=(untagged,)))
    selection = HostFilter(names=("web*",), all_tags=("web",))
    changed = await since(store, HostCursor(1), selection)
    # Not of db1: no change of it makes it one of these hosts.
    assert (names(changed), changed.gone) == ([], ("web1",))


async def test_changes__are_refused_where_removals_are_forgotten(store: Store) -> None:
    host = await stored_host(store, "a")
    await store.commit(change(removed_hosts=(host,)))
    await store.commit(change(events=3))
    long_ago = NOW - timedelta(days=1)
    await store.prune(before=long_ago, now=long_ago, requests_before=0, keep_events=2)
    with pytest.raises(CursorCompacted):
        await since(store, HostCursor(2))
    assert (await since(store, HostCursor(4))).gone == ()
