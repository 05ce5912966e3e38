"""A list under a filter holds just what the filter's own definition selects, in whatever pages."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.inventory.inventory import Reboot, RebootNeed
from tendhost.server.store.protocol import Store
from tests.contract.store.samples import a_host, change, every_host, stored_host

NAMES = ("a", "ab", "abc", "b", "b-1", "b-2", "b.c", "ü", "z[1]", "Z")
LABELS = ("web", "db", "ö")
STATES = (HostState.IDLE, HostState.FAILED, HostState.UPDATING)

some_labels = st.lists(st.sampled_from(LABELS), unique=True, max_size=3).map(tuple)
some_names = st.lists(
    st.sampled_from((*NAMES, "*", "a*", "b-?", "[ab]", "z[[]1]", "nobody", "*c")), max_size=3
).map(tuple)


@st.composite
def fleets(draw: st.DrawFn) -> list[Host]:
    """Hosts of all sorts."""
    fleet = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        host = a_host(
            name,
            state=draw(st.sampled_from(STATES)),
            reboot=Reboot(need=draw(st.sampled_from(RebootNeed))),
        )
        labels = replace(host.config, tags=draw(some_labels), groups=draw(some_labels))
        fleet.append(replace(host, config=labels))
    return fleet


plain_filters = st.builds(
    HostFilter,
    names=some_names,
    all_tags=some_labels,
    any_tags=some_labels,
    groups=some_labels,
    states=st.lists(st.sampled_from(STATES), unique=True).map(tuple),
    exclude_hosts=st.lists(st.sampled_from((*NAMES, "*")), max_size=2).map(tuple),
    reboot_needed=st.none() | st.booleans(),
    name_prefix=st.sampled_from(("", "", "a", "ab", "b", "z[", "%", "_")),
)
saved_filters = st.builds(replace, plain_filters, also=st.none() | plain_filters)
"""With a saved selection, or a scope."""
filters = st.builds(replace, plain_filters, also=st.none() | saved_filters)


async def listed(store: Store, selection: HostFilter, *, limit: int) -> list[Host]:
    """The whole list, read page by page."""
    found: list[Host] = []
    while True:
        after = found[-1].name if found else ""
        page = await store.hosts(selection, after=after, limit=limit)
        assert len(page.items) == limit or not page.more
        found.extend(page.items)
        if not page.more:
            return found


@given(
    fleet=fleets(), selections=st.lists(filters, min_size=1, max_size=8), limit=st.integers(1, 4)
)
@example(fleet=[a_host(name) for name in NAMES], selections=[HostFilter()], limit=3)
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_list_holds_what_the_filter_selects(
    store: Store, fleet: list[Host], selections: list[HostFilter], limit: int
) -> None:
    stored = await _replaced_by(store, fleet)
    for selection in selections:
        expected = [host for host in stored if selection.matches(host)]
        assert await listed(store, selection, limit=limit) == expected


async def _replaced_by(store: Store, fleet: list[Host]) -> list[Host]:
    """Has the store hold `fleet` and no other host; the hosts as they are stored, by name."""
    await store.commit(change(removed_hosts=await every_host(store)))
    committed = await store.commit(change(hosts=tuple(fleet)))
    stored = [replace(host, revision=committed.revision) for host in fleet]
    return sorted(stored, key=lambda host: host.name)


@pytest.mark.parametrize("step", [1, 37])
async def test_page_is_filled_from_matches_that_lie_far_apart(store: Store, step: int) -> None:
    fleet = [a_host(f"h{number:03}-{'x' if number % step else 'y'}") for number in range(150)]
    await store.commit(change(hosts=tuple(fleet)))
    wanted = HostFilter(names=("*-y",))
    found = await listed(store, wanted, limit=2)
    assert [host.name for host in found] == [f"h{n:03}-y" for n in range(0, 150, step)]


async def test_filter_by_state_follows_the_state(store: Store) -> None:
    host = await stored_host(store)
    failed = HostFilter(states=(HostState.FAILED,))
    assert (await store.hosts(failed, limit=9)).items == ()
    await store.commit(
        change(hosts=(replace(host, status=replace(host.status, state=HostState.FAILED)),))
    )
    assert len((await store.hosts(failed, limit=9)).items) == 1


async def test_hosts_within__are_found_among_more_names_than_a_statement_takes(store: Store):
    await store.commit(change(hosts=(a_host("inside"),)))
    names = {"inside", *(f"host-{number}" for number in range(300_000))}
    assert await store.hosts_within(Scope(groups=("berlin",)), names) == {"inside"}
    assert await store.hosts_within(Scope(groups=("paris",)), names) == frozenset()
