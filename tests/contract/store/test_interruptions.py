"""Callers that go away and processes that are killed: what was stored stays, and is whole."""

import asyncio
import signal
import sys
from collections import Counter

import pytest

from tendhost.server.store.protocol import Store
from tests.contract.store.conftest import Database
from tests.contract.store.samples import a_host, change, every_host


async def test_change_whose_caller_went_away_is_stored_as_a_whole(store: Store) -> None:
    caller = asyncio.create_task(store.commit(change(hosts=(a_host("a"), a_host("b")))))
    await asyncio.sleep(0)  # it has handed its change in
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await store.commit(change(hosts=(a_host("c"),)))
    hosts = await every_host(store)
    assert [host.name for host in hosts] == ["a", "b", "c"]
    assert [event.revision for event in await store.events(after=0, limit=9)] == [1, 2]


async def test_store_that_is_closed_finishes_what_was_handed_in(database: Database) -> None:
    async with database.opened() as store:
        commits = [
            asyncio.create_task(store.commit(change(hosts=(a_host(f"h{number:03}"),))))
            for number in range(300)
        ]
        await asyncio.sleep(0)
    assert all(commit.done() for commit in commits)
    async with database.opened() as store:
        assert await store.count_hosts() == 300


async def test_killed_writer_loses_nothing_that_it_was_told_is_stored(database: Database) -> None:
    program = (sys.executable, "-m", "tests.contract.store.restless_writer")
    writer = await asyncio.create_subprocess_exec(
        *program, database.backend, database.address, stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    acknowledged: list[tuple[int, str, int]] = []
    async for line in writer.stdout:
        revision, name, number = line.split()
        acknowledged.append((int(revision), name.decode(), int(number)))
        if len(acknowledged) == 200:
            writer.send_signal(signal.SIGKILL)
    assert await writer.wait() == -signal.SIGKILL
    async with database.opened() as store:
        await _assert_consistent(store, acknowledged)


async def _assert_consistent(store: Store, acknowledged: list[tuple[int, str, int]]) -> None:
    """Every acknowledged change is there, and each change has all of its parts."""
    bounds = await store.log_bounds()
    events = await store.events(after=0, limit=10**6)
    assert [event.revision for event in events] == list(range(1, bounds.current + 1))
    host_of = {event.revision: event.host for event in events}
    assert all(host_of[revision] == name for revision, name, _ in acknowledged)
    # A writer's change number n is its host's pending_count n, and its event.
    written = Counter(event.host for event in events)
    for host in await every_host(store):
        assert host.status.pending_count == written[host.name]
        assert host_of[host.revision] == host.name
