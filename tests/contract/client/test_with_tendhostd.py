"""The SDK with the real server, over fake hosts and a fake clock: what the mock is told to say is true."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeVar

import pytest

from tendhost.client import (
    AlreadyExists,
    Client,
    Event,
    EventStream,
    HostFilter,
    HostState,
    HostUnreachable,
    InvalidRequest,
    NotAllowedNow,
    NotFound,
    OperationChanged,
    OperationStatus,
    RolloutSpec,
    Snapshot,
)
from tests.rpc.open_server import serving
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.world import World

T = TypeVar("T")


@pytest.fixture
async def world(tmp_path):
    async with World(tmp_path / "tendhost.db").remembered() as world:
        yield world


@asynccontextmanager
async def served(world: World, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """A server for as long as the context lasts; gives its address."""
    async with world.running() as engine, serving(engine, address) as bound:
        yield bound


@pytest.fixture
async def tendhost(world):
    async with served(world) as address, Client(address) as client:
        yield client


async def meanwhile(world: World, work: Awaitable[T]) -> T:
    """Let the world go on until `work` is done."""
    task = asyncio.ensure_future(work)

    async def done() -> bool:
        return task.done()

    await world.until(done)
    return task.result()


async def enrolled(world: World, client: Client, name: str, **config: object):
    """A fake host that is registered through the SDK."""
    fake = world.fleet.add(f"{name}.example.org")
    await client.add_host(name, fake.address, **config)  # type: ignore[arg-type]
    return fake


async def until_revision(stream: EventStream, revision: int) -> list[Event | Snapshot]:
    items = []
    async for item in stream:
        items.append(item)
        if item.revision >= revision:
            break
    return items


async def test_host_is_enrolled_updated_and_read(world, tendhost):
    fake = await enrolled(world, tendhost, "web1", tags=["web"])
    fake.pending["web"] = Pending(security=True)
    fake.pending["db"] = Pending(held=True)
    handle = await tendhost.update("web1")
    ended = await meanwhile(world, handle.wait())
    assert ended.succeeded
    assert [(p.name, p.to_version) for p in ended.update.packages] == [("web", "2.0-1")]
    assert [(p.name, str(p.withheld)) for p in ended.update.withheld] == [("db", "held")]
    log = b"".join([part async for part in handle.log()])
    assert len(log) == ended.log_size > 0
    host = await tendhost.get_host("web1")
    assert (host.state, host.healthy, host.pending_updates) == (HostState.IDLE, True, 0)
    assert host.last_updated is not None
    inventory = await tendhost.inventory("web1")
    assert ("web", "2.0-1") in [(p.name, p.version) for p in inventory.packages]
    assert await tendhost.tags() == {"web": 1}


async def test_refusals_are_typed(world, tendhost):
    await enrolled(world, tendhost, "web1")
    with pytest.raises(NotFound) as unknown:
        await tendhost.update("web9")
    assert unknown.value.metadata == {"host": "web9"}
    with pytest.raises(AlreadyExists):
        await tendhost.add_host("web1", "web1.example.org")
    with pytest.raises(InvalidRequest) as invalid:
        await tendhost.add_host("Web 1", "web1.example.org:22", port=70_000)
    fields = {violation.field for violation in invalid.value.violations}
    assert fields == {"config.name", "config.address", "config.port"}
    with pytest.raises(NotAllowedNow):
        await tendhost.retry("web1")
    world.fleet.add("dark.example.org").reachable = False
    with pytest.raises(HostUnreachable):
        await meanwhile(world, tendhost.add_host("dark", "dark.example.org"))


async def test_lists_are_whole_whatever_the_size_of_a_page(world, tendhost):
    for name in "edcba":
        await enrolled(world, tendhost, name)
    assert [host.name async for host in tendhost.hosts(page_size=2)] == list("abcde")
    for name in "abc":
        await meanwhile(world, (await tendhost.check(name)).wait())
    listed = [operation.host async for operation in tendhost.operations(page_size=2)]
    # They began at the same instant of the fake clock.
    assert sorted(listed) == ["a", "b", "c"]


async def test_operation_is_watched_from_its_queue_to_its_end(world, tendhost):
    fake = await enrolled(world, tendhost, "web1")
    hold = fake.hold(Command.UNITS)
    first = await tendhost.check("web1")
    await world.reached(hold)
    second = await tendhost.check("web1", queue=True)
    assert second.latest.status is OperationStatus.QUEUED
    hold.released.set()

    async def statuses() -> list[str]:
        return [str(item.status) async for item in second.watch()]

    seen = await meanwhile(world, statuses())
    assert seen[-1] == "succeeded"
    assert set(seen) <= {"queued", "running", "succeeded"}
    assert (await first.refresh()).succeeded


async def test_rollout_is_watched_to_its_end(world, tendhost):
    for name in ("web1", "web2", "web3"):
        await enrolled(world, tendhost, name, tags=["web"])
    world.fleet.hosts["web2.example.org"].pending["web"] = Pending(breaks=True)
    begun = await tendhost.start_rollout(
        RolloutSpec(filter=HostFilter(all_tags=("web",)), delay_between_waves=timedelta(seconds=5))
    )

    async def ends() -> dict[str, str]:
        members: dict[str, str] = {}
        async for update in tendhost.watch_rollout(begun.id):
            members.update((member.host, str(member.status)) for member in update.hosts)
        return members

    members = await meanwhile(world, ends())
    assert members == {"web1": "completed", "web2": "failed", "web3": "completed"}
    ended = await tendhost.get_rollout(begun.id)
    assert (ended.progress.completed, ended.progress.failed, ended.ended) == (2, 1, True)
    assert [m.host async for m in tendhost.rollout_hosts(begun.id, page_size=1)] == sorted(members)


async def test_events_and_waits_go_on_over_servers_that_come_and_go(world):
    async with served(world) as address, Client(address) as first:
        await enrolled(world, first, "web1")
    client = Client(address)
    async with client:
        stream = client.events(resume_after=0)
        seen: list[Event | Snapshot] = []
        async with served(world, address):
            seen += await until_revision(stream, 1)
            handle = await client.query("web1")
            waiting = asyncio.ensure_future(handle.wait())
        async with served(world, address):
            ended = await meanwhile(world, waiting)
            current = (await client.info()).revision
            seen += await until_revision(stream, current)
    assert ended.succeeded
    assert [item.revision for item in seen] == list(range(1, current + 1))
    ends = [
        item.operation_id
        for item in seen
        if isinstance(item, Event)
        and isinstance(item.body, OperationChanged)
        and item.body.status is OperationStatus.SUCCEEDED
    ]
    assert ends == [handle.id]


async def test_cursor_of_another_database_is_answered_with_a_snapshot(world, tendhost):
    await enrolled(world, tendhost, "web1")
    stream = tendhost.events(resume_after=1, log_id="of another server")
    (item,) = await until_revision(stream, 1)
    assert isinstance(item, Snapshot)
    assert [host.name for host in item.hosts] == ["web1"]
    assert stream.log_id == (await tendhost.info()).log_id
