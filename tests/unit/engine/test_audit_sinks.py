"""Audit sinks that read the audit log: what each is sent, in what order, and what a restart leaves of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tendhost.server.domain.access.audit import (
    FIRST_HASH,
    MISSED,
    AuditEntry,
    AuditRecord,
    Head,
    verified,
)
from tendhost.server.engine.audit_sinks import PAGE, AuditSinks, SinkStatus
from tendhost.server.engine.retention import BEFORE_ALL
from tendhost.server.outbound.audit_sink import AuditSink, SinkFailed
from tendhost.server.outbound.audit_webhook import WebhookSink
from tendhost.server.store.records import Change
from tests.unit.engine.duties import duties_of
from tests.unit.engine.world import World
from tests.unit.remote.web_receiver import receiving

A_DAY = timedelta(days=1)
SLEPT = timedelta(hours=1)


class FakeSink:
    """Keeps what it is given, and fails as often as a test wants."""

    def __init__(self, *, failures: int = 0) -> None:
        self.entries: list[AuditEntry] = []
        self.formers: list[str] = []
        self.failures = failures
        self.attempts = 0

    async def deliver(self, entries: Sequence[AuditEntry], former: str) -> None:
        """See AuditSink."""
        self.attempts += 1
        if self.failures:
            self.failures -= 1
            raise SinkFailed("Connection refused")
        self.entries.extend(entries)
        self.formers.append(former)

    @property
    def numbers(self) -> list[int]:
        return [entry.number for entry in self.entries]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "tendhost.db").remembered() as world:
        yield world


@asynccontextmanager
async def sending(world: World, **sinks: AuditSink) -> AsyncIterator[AuditSinks]:
    async with duties_of(world) as duties:
        found = AuditSinks(list(sinks.items()), store=world.store, duties=duties, clock=world.clock)
        async with found.running():
            yield found


async def until(world: World, condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Let tasks and threads go on, and pauses pass, until `condition` holds."""
    async with asyncio.timeout(20):
        while True:
            answer = condition()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.001)  # for threads, whose end no loop of ready tasks brings on
            world.clock.advance_to_next(within=SLEPT)


async def record(world: World, count: int = 1) -> None:
    """So many audit records."""
    for _ in range(count):
        now = world.clock.now()
        told = AuditRecord(at=now, principal="ann", method="/m", subject="web1")
        await world.store.commit(Change(events=(), audit=told, at=now))


async def stored(world: World, sink: str, number: int) -> bool:
    cursor = await world.store.audit_cursor(sink)
    return cursor is not None and cursor.number == number


async def sent(sinks: AuditSinks, name: str, number: int) -> bool:
    return (await status(sinks, name)).number == number


async def status(sinks: AuditSinks, name: str) -> SinkStatus:
    (found,) = [one for one in await sinks.delivery_status() if one.name == name]
    return found


async def prune_all(world: World) -> None:
    """Drop every record that nothing keeps, as if all were old."""
    now = world.clock.now()
    later = now + 100 * A_DAY
    await world.store.prune(before=later, now=later, requests_before=0, keep_events=0)


async def test_records__are_sent_in_order_as_they_are_committed_and_form_a_chain(world: World):
    sink = FakeSink()
    await record(world, 2)  # a new sink gets what is kept, too
    async with sending(world, siem=sink) as sinks:
        await until(world, lambda: sink.numbers == [1, 2])
        await record(world, 3)
        await until(world, lambda: sent(sinks, "siem", 5))
        assert await status(sinks, "siem") == SinkStatus(
            name="siem", delivered=5, number=5, delivered_at=world.clock.now()
        )
    assert sink.formers[0] == FIRST_HASH
    assert verified(sink.entries, Head()).number == 5
    assert sink.formers[1] == sink.entries[1].hash


async def test_records__are_sent_in_deliveries_of_a_bounded_size(world: World):
    sink = FakeSink()
    await record(world, PAGE + 1)
    async with sending(world, siem=sink):
        await until(world, lambda: stored(world, "siem", PAGE + 1))
    assert len(sink.formers) == 2
    assert verified(sink.entries, Head()).number == PAGE + 1


async def test_restart__continues_where_the_sink_was_and_sends_nothing_twice(world: World):
    first, second = FakeSink(), FakeSink()
    await record(world, 2)
    async with sending(world, siem=first):
        await until(world, lambda: stored(world, "siem", 2))
    await record(world, 2)  # while no server sends
    async with sending(world, siem=second):
        await until(world, lambda: stored(world, "siem", 4))
    assert (first.numbers, second.numbers) == ([1, 2], [3, 4])
    assert second.formers == [first.entries[-1].hash]


async def test_restart__sends_again_what_has_arrived_where_that_was_not_stored(world: World):
    first, second = FakeSink(), FakeSink()
    async with sending(world, siem=first):
        await until(world, lambda: stored(world, "siem", 0))
        world.store.outage_of = {"save_audit_cursor"}
        await record(world, 2)
        await until(world, lambda: len(first.numbers) > 0 and world.store.failures > 3)
        assert first.attempts == len(
            first.formers
        )  # a full disk does not make it send over and over
    world.store.outage_of = set()
    async with sending(world, siem=second):
        await until(world, lambda: stored(world, "siem", 2))
    assert second.numbers == [1, 2]


MANY = 25
"""Attempts: far more than anything that ends makes."""


async def test_sink__that_fails_is_tried_without_end_and_gets_everything(world: World):
    sink = FakeSink(failures=MANY)
    async with sending(world, siem=sink) as sinks:
        await record(world)
        await until(world, lambda: sink.attempts > 3)
        failing = await status(sinks, "siem")
        assert (failing.problem, failing.waiting, failing.delivered) == ("Connection refused", 1, 0)
        await until(world, lambda: sent(sinks, "siem", 1))
        mended = await status(sinks, "siem")
        assert (mended.problem, mended.problem_at, mended.waiting) == ("", None, 0)
        assert mended.retried == MANY
    assert sink.numbers == [1]


async def test_sink__that_fails_in_an_unforeseen_way_is_tried_again(world: World):
    sink = FakeSink()
    faults = [AssertionError("unforeseen")]
    real = sink.deliver

    async def deliver(entries: Sequence[AuditEntry], former: str) -> None:
        if faults:
            raise faults.pop()
        await real(entries, former)

    sink.deliver = deliver  # type: ignore[method-assign]
    async with sending(world, siem=sink) as sinks:
        await record(world)
        await until(world, lambda: not faults)
        await until(world, lambda: sent(sinks, "siem", 1))
        assert (await status(sinks, "siem")).problem == ""
    assert sink.numbers == [1]


async def test_sink__that_fails_does_not_delay_another(world: World):
    broken, sound = FakeSink(failures=10**6), FakeSink()
    async with sending(world, broken=broken, sound=sound):
        await record(world, 3)
        await until(world, lambda: stored(world, "sound", 3))
    assert broken.numbers == []
    assert await stored(world, "broken", 0)


async def test_sink__that_missed_pruned_records_has_that_recorded_once_and_is_sent_it(
    world: World,
):
    late, sound = FakeSink(), FakeSink()
    await record(world)
    async with sending(world, late=late, sound=sound):
        await until(world, lambda: stored(world, "late", 1))
        await until(world, lambda: stored(world, "sound", 1))
    await record(world, 4)
    async with sending(world, late=FakeSink(failures=10**6), sound=sound):
        await until(world, lambda: stored(world, "sound", 5))
    await prune_all(world)
    async with sending(world, late=late, sound=sound) as sinks:
        await until(world, lambda: sent(sinks, "late", 6))
        await until(world, lambda: sent(sinks, "sound", 6))
        assert (await status(sinks, "late")).missed == 4
        assert (await status(sinks, "sound")).missed == 0
    assert late.numbers == [1, 6]
    assert sound.numbers == [1, 2, 3, 4, 5, 6]
    gap = late.entries[-1].record
    assert (gap.result, gap.subject, gap.omitted) == (MISSED, "audit sink late", 4)
    assert verified(sound.entries, Head()).number == 6


async def test_pruning__waits_for_a_sink_that_is_behind(world: World):
    await record(world, 3)
    async with sending(world, siem=FakeSink(failures=10**6)):
        await until(world, lambda: stored(world, "siem", 0))
        soon = world.clock.now() + A_DAY
        await world.store.prune(before=soon, now=soon, requests_before=0, keep_events=0)
        assert len(await world.store.audit_after(0, limit=9)) == 3
        await world.store.prune(before=BEFORE_ALL, now=soon, requests_before=0, keep_events=0)
        assert len(await world.store.audit_after(0, limit=9)) == 3
    async with sending(world):  # it is not configured any more
        await world.store.prune(before=soon, now=soon, requests_before=0, keep_events=0)
    assert not await world.store.audit_after(0, limit=9)


async def test_sink__without_news_reads_nothing(world: World):
    sink = FakeSink()
    async with sending(world, siem=sink):
        await record(world)
        await until(world, lambda: stored(world, "siem", 1))
        await until(world, lambda: world.store.calls["audit_after"] >= 2)
        read = world.store.calls["audit_after"]
        for _ in range(100):
            world.clock.advance(timedelta(minutes=5))
            await asyncio.sleep(0)
        assert world.store.calls["audit_after"] == read


async def test_webhook__that_fails_first_gets_each_record_once_it_answers(world: World):
    async with receiving(503, 500, 200) as receiver:
        sink = WebhookSink("siem", f"http://127.0.0.1:{receiver.port}/", secret=b"key")
        await record(world, 2)
        async with sending(world, siem=sink) as sinks:
            await until(world, lambda: sent(sinks, "siem", 2))
            assert (await status(sinks, "siem")).retried == 2
        async with sending(world, siem=sink):
            await record(world)
            await until(world, lambda: stored(world, "siem", 3))
    taken = [[one["number"] for one in document["records"]] for document in receiver.documents]
    assert taken == [[1, 2], [1, 2], [1, 2], [3]]
