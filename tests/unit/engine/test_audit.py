"""Refusals that cannot be recorded: each is counted until its number can be stored."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tendhost.server.domain.access.audit import OMITTED, AuditRecord
from tendhost.server.domain.access.refusal_limit import PER_CALLER, WINDOW
from tendhost.server.engine.audit import AuditLog
from tendhost.server.store.records import AuditFilter, Change
from tests.unit.engine.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "tendhost.db").remembered() as world:
        yield world


@pytest.fixture
def log(world: World) -> AuditLog:
    return AuditLog(store=world.store, clock=world.clock)


async def refuse(world: World, log: AuditLog, count: int = 1, *, caller: str = "ci") -> None:
    """Refuse so many calls of a caller."""
    for _ in range(count):
        record = AuditRecord(
            at=world.clock.now(), principal=caller, method="/m", subject="", result="HOST_BUSY"
        )
        await log.refused(record, authenticated=True)


async def told(world: World) -> Counter[str]:
    """The number of refusals that the audit log tells of, by caller, however it does."""
    page = await world.store.audit_entries(AuditFilter(), before=0, limit=1000)
    found: Counter[str] = Counter()
    for entry in page.items:
        found[entry.record.principal] += entry.record.omitted or 1
    return found


async def test_refusal__that_the_store_did_not_take_is_counted(world: World, log: AuditLog):
    world.store.outage_of = {"commit"}
    await refuse(world, log, 3)
    world.store.outage_of = set()
    assert not await told(world)
    world.clock.advance(WINDOW)
    await refuse(world, log)
    assert await told(world) == {"ci": 4}


async def test_numbers__that_the_store_did_not_take_are_kept_and_stored_once(
    world: World, log: AuditLog
):
    for caller in ("ann", "ci"):
        await refuse(world, log, PER_CALLER + 5, caller=caller)
    world.store.outage_of = {"commit"}
    for _ in range(3):
        world.clock.advance(WINDOW)
        await refuse(world, log)
    world.store.outage_of = set()
    world.clock.advance(WINDOW)
    await refuse(world, log)
    assert await told(world) == {"ann": PER_CALLER + 5, "ci": PER_CALLER + 9}
    world.clock.advance(WINDOW)
    await refuse(world, log)
    await log.close()
    assert await told(world) == {"ann": PER_CALLER + 5, "ci": PER_CALLER + 10}


async def test_numbers__are_stored_in_part_where_the_store_fails_in_between(
    world: World, log: AuditLog
):
    for caller in ("ann", "ben", "ci"):
        await refuse(world, log, PER_CALLER + 5, caller=caller)
    held = world.store.hold_after_commit(is_number)
    closing = asyncio.create_task(log.close())
    await held.reached.wait()
    world.store.outage_of = {"commit"}
    held.released.set()
    await closing
    world.store.outage_of = set()
    assert sum((await told(world)).values()) == 3 * PER_CALLER + 5
    await log.close()
    assert await told(world) == dict.fromkeys(("ann", "ben", "ci"), PER_CALLER + 5)


async def test_numbers__are_kept_where_the_caller_that_led_to_their_record_goes_away(
    world: World, log: AuditLog
):
    for caller in ("ann", "ben"):
        await refuse(world, log, PER_CALLER + 5, caller=caller)
    world.clock.advance(WINDOW)
    held = world.store.hold_after_commit(is_number)
    going = asyncio.create_task(refuse(world, log))
    await held.reached.wait()
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    await log.close()
    found = await told(world)
    assert (found["ann"], found["ben"]) == (PER_CALLER + 5, PER_CALLER + 5)


def is_number(change: Change) -> bool:
    return change.audit is not None and change.audit.result == OMITTED
