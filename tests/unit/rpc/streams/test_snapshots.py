"""Snapshots while hosts come, change and go: what a client has at the end is the fleet as of one revision."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.rpc.streams import snapshots
from tendhost.server.rpc.streams.membership import SelectionMembership
from tendhost.server.rpc.streams.snapshots import FleetSnapshots
from tendhost.server.store.protocol import Store
from tendhost.server.store.sqlite import open_store
from tendhost.v1 import event_service_pb2 as pb
from tests.contract.store.samples import a_host, change, stored_host

NAMES = tuple(f"h{number}" for number in range(7))
FILTERS = (
    HostFilter(),
    HostFilter(names=("h1", "h4")),
    HostFilter(names=("h*[2-5]",)),
    HostFilter(name_prefix="h", exclude_hosts=("h3",)),
    HostFilter(all_tags=("web",)),
    HostFilter(states=(HostState.FAILED,)),
    HostFilter(selection="s", also=HostFilter(names=("h[0-4]",), any_tags=("web", "db"))),
)
CHANGES = st.sampled_from(("retag", "fail", "remove", "add"))
STEPS = st.lists(st.tuples(CHANGES, st.sampled_from(NAMES)), max_size=12)


@dataclass
class Fleet:
    """A store, every revision of its hosts, and what is yet to happen."""

    store: Store
    steps: list[tuple[str, str]]
    each: int
    now: dict[str, Host] = field(default_factory=dict)
    as_of: dict[int, dict[str, Host]] = field(default_factory=lambda: {0: {}})
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def go_on(self) -> None:
        async with self.turn:
            for _ in range(self.each):
                if self.steps:
                    await self._apply(*self.steps.pop(0))

    async def _apply(self, what: str, name: str) -> None:
        host = self.now.get(name)
        if host is None:
            await self._commit(hosts=(a_host(name),))
        elif what == "remove":
            await self._commit(removed_hosts=(host,))
        elif what == "retag":
            tags = () if host.config.tags else ("web",)
            await self._commit(hosts=(replace(host, config=replace(host.config, tags=tags)),))
        else:
            failed = replace(
                host.status, state=HostState.FAILED if what == "fail" else HostState.IDLE
            )
            await self._commit(hosts=(replace(host, status=failed),))

    async def _commit(self, hosts: Sequence[Host] = (), removed_hosts: Sequence[Host] = ()) -> None:
        revision = (
            await self.store.commit(change(hosts=hosts, removed_hosts=removed_hosts))
        ).revision
        self.now = dict(self.now)
        self.now.update((host.name, replace(host, revision=revision)) for host in hosts)
        for host in removed_hosts:
            del self.now[host.name]
        self.as_of[revision] = self.now


class Client:
    """Takes the messages of one snapshot, while the fleet goes on."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.hosts: dict[str, int] = {}
        self.end = -1
        self.sizes: list[int] = []

    async def write(self, raw: Any) -> None:
        message = raw if isinstance(raw, pb.WatchEventsResponse) else None
        if message is None:
            message = pb.WatchEventsResponse.FromString(raw)
        assert self.end == -1
        self.sizes.append(len(message.hosts))
        for name in message.removed_hosts:
            self.hosts.pop(name, None)
        for host in message.hosts:
            self.hosts[host.config.name] = host.revision
        if message.phase == pb.WATCH_PHASE_SNAPSHOT_END:
            self.end = message.revision
        await self._fleet.go_on()


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    before=STEPS,
    during=STEPS,
    each=st.integers(0, 2),
    filters=st.lists(st.sampled_from(FILTERS), min_size=1, max_size=4),
)
def test_snapshot__is_the_fleet_as_of_its_end_whatever_happens_meanwhile(
    before: list[tuple[str, str]],
    during: list[tuple[str, str]],
    each: int,
    filters: list[HostFilter],
) -> None:
    asyncio.run(_snapshots_are_true(before, during, each, filters))


async def _snapshots_are_true(
    before: list[tuple[str, str]],
    during: list[tuple[str, str]],
    each: int,
    filters: list[HostFilter],
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "HOSTS_PER_MESSAGE", 2)
        store = await open_store(Path(folder) / "tendhost.db")
        try:
            await _snapshots_of_a_busy_fleet_are_true(store, before, during, each, filters)
        finally:
            await store.aclose()


async def _snapshots_of_a_busy_fleet_are_true(
    store: Store,
    before: list[tuple[str, str]],
    during: list[tuple[str, str]],
    each: int,
    filters: list[HostFilter],
) -> None:
    shared = FleetSnapshots(store, SelectionMembership(store))
    store.listen(shared.forget)
    fleet = Fleet(store, before, each=len(before))
    await fleet.go_on()
    fleet.steps, fleet.each = during, each
    clients = [Client(fleet) for _ in filters]
    ends = await asyncio.gather(
        *(shared.send(chosen, client) for chosen, client in zip(filters, clients, strict=True))
    )
    for chosen, client, end in zip(filters, clients, ends, strict=True):
        assert client.end == end
        assert max(client.sizes) <= 2
        expected = {
            host.name: host.revision for host in fleet.as_of[end].values() if chosen.matches(host)
        }
        assert client.hosts == expected


class Counting:
    """A context that counts what is written to it."""

    def __init__(self) -> None:
        self.largest = 0

    async def write(self, raw: Any) -> None:
        if isinstance(raw, bytes):
            self.largest = max(self.largest, len(raw))


async def test_snapshot__is_read_once_for_all_that_want_it_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "HOSTS_PER_MESSAGE", 5)
    store = await open_store(tmp_path / "tendhost.db")
    await store.commit(change(hosts=tuple(a_host(f"h{number:02}") for number in range(20))))
    shared, reads = FleetSnapshots(store, SelectionMembership(store)), []
    store.listen(shared.forget)
    real = store.hosts_part

    async def counted(*args: Any, **kwargs: Any) -> Any:
        reads.append(kwargs["after"])
        return await real(*args, **kwargs)

    monkeypatch.setattr(store, "hosts_part", counted)
    await asyncio.gather(*(shared.send(HostFilter(), Counting()) for _ in range(50)))
    assert reads == ["", "h04", "h09", "h14", "h19"]
    await stored_host(store, "h99")
    await shared.send(HostFilter(), Counting())
    assert len(reads) == 10
    await store.aclose()


async def test_snapshot__comes_in_messages_of_a_bounded_size_however_large_hosts_are(
    tmp_path: Path,
) -> None:
    store = await open_store(tmp_path / "tendhost.db")
    labels = tuple(f"{number:03}-{'x' * 100}" for number in range(64))
    hosts = [a_host(f"h{number}") for number in range(40)]
    large = [
        replace(host, config=replace(host.config, tags=labels, groups=labels)) for host in hosts
    ]
    await store.commit(change(hosts=tuple(large)))
    client = Counting()
    await FleetSnapshots(store, SelectionMembership(store)).send(HostFilter(), client)
    assert 0 < client.largest < 2 * snapshots.PART_BYTES
    await store.aclose()
