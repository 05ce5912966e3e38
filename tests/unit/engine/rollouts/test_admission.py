"""What a host lets be done to it: windows, policies, one operation at a time, retries."""

from datetime import time, timedelta
from itertools import pairwise

import pytest

from tendhost.server.domain.hosts.host import Policy
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.inventory.inventory import RebootNeed
from tendhost.server.domain.operations.operation import Operation, OperationKind, OperationStatus
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.domain.request_errors import (
    HostBusy,
    HostFailed,
    HostNotFound,
    InvalidTransition,
)
from tests.unit.engine.fake_clock import START
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.world import World, call

K, S = OperationKind, OperationStatus


def reason(operation: Operation) -> str:
    assert operation.problem is not None
    return operation.problem.reason


# --- when it may not ------------------------------------------------------------------------------


async def test_outside_its_window_a_host_is_looked_at_and_not_changed(world: World):
    closed = MaintenanceWindow(start=time(2), end=time(4))
    async with world.running():
        fake = await world.register("web1", policy=Policy(windows=(closed,)))
        fake.pending = {"web": Pending()}
        for kind in (K.UPDATE, K.REBOOT):
            operation = await world.run(kind)
            assert (operation.status, reason(operation)) == (S.FAILED, "WINDOW_CLOSED")
            assert "opens Mon 2026-03-02 02:00 UTC" in operation.problem.message  # type: ignore[union-attr]
        assert (await world.run(K.QUERY)).status is S.SUCCEEDED
        assert (await world.run(K.UPDATE, dry_run=True)).status is S.SUCCEEDED
        assert (fake.count(Command.UPGRADE), fake.count(Command.REBOOT)) == (0, 0)


async def test_a_window_that_closes_during_the_upgrade_holds_back_the_reboot(world: World):
    noon = MaintenanceWindow(start=START.time(), end=(START + timedelta(minutes=10)).time())
    async with world.running():
        fake = await world.register("web1", policy=Policy(windows=(noon,)))
        fake.pending = {"web": Pending(wants_reboot=True)}
        hold = fake.hold(Command.UPGRADE)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
        world.clock.advance(timedelta(minutes=20))
        hold.released.set()
        operation = await world.ended(operation.id)
        assert operation.status is S.SUCCEEDED
        assert fake.count(Command.REBOOT) == 0
        assert (await world.host()).status.state is HostState.WAITING_REBOOT


async def test_a_policy_without_reboots_leaves_the_host_waiting_for_its_reboot(world: World):
    async with world.running():
        fake = await world.register("web1", policy=Policy(auto_reboot=False))
        fake.pending = {"web": Pending(wants_reboot=True)}
        operation = await world.run(K.UPDATE)
        assert operation.status is S.SUCCEEDED
        assert fake.count(Command.REBOOT) == 0
        assert (await world.host()).status.state is HostState.WAITING_REBOOT
        # Somebody asks for it in so many words.
        assert (await world.run(K.REBOOT)).status is S.SUCCEEDED
        assert (await world.host()).status.state is HostState.IDLE


async def test_a_host_that_cannot_say_whether_it_needs_a_reboot_gets_none(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(wants_reboot=True)}
        fake.reboot_unreadable = True
        operation = await world.run(K.UPDATE)
        assert operation.status is S.SUCCEEDED
        assert fake.count(Command.REBOOT) == 0
        assert (await world.host()).status.reboot.need is RebootNeed.UNKNOWN


# --- busy, queued, retried, acknowledged ----------------------------------------------------------


async def test_a_busy_host_refuses_work_and_names_what_it_is_busy_with(world: World):
    async with world.running():
        fake = await world.register("web1")
        hold = fake.hold(Command.QUERY)
        first = await world.start(K.QUERY)
        await world.reached(hold)
        with pytest.raises(HostBusy) as refused:
            await world.start(K.CHECK)
        assert refused.value.operation == first.id
        hold.released.set()
        await world.ended(first.id)


async def test_queued_operations_follow_in_the_order_in_which_they_were_asked_for(world: World):
    async with world.running():
        fake = await world.register("web1")
        hold = fake.hold(Command.QUERY)
        ids = [(await world.start(K.QUERY)).id]
        await world.reached(hold)
        for kind in (K.CHECK, K.UPDATE, K.QUERY):
            world.clock.advance(timedelta(milliseconds=1))
            waiting = await world.start(kind, queue=True)
            assert waiting.status is S.QUEUED
            ids.append(waiting.id)
        hold.released.set()
        done = [await world.ended(id) for id in ids]
        assert [d.status for d in done] == [S.SUCCEEDED] * 4
        started = [d.started_at for d in done]
        assert started == sorted(started)  # type: ignore[type-var]
        for former, later in pairwise(done):
            assert former.revision < later.revision


async def test_a_queue_behind_a_host_that_fails_is_refused_with_the_reason(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.accepts_key = False
        hold_on = await world.start(K.UPDATE)
        waiting = await world.start(K.CHECK, queue=True)
        assert (await world.ended(hold_on.id)).status is S.FAILED
        refused = await world.ended(waiting.id)
        assert (refused.status, reason(refused), refused.steps) == (S.FAILED, "HOST_FAILED", ())


async def test_an_unknown_host_is_named(world: World):
    async with world.running():
        with pytest.raises(HostNotFound, match="nobody"):
            await world.start(K.QUERY, "nobody")


async def test_a_retry_begins_once_more_what_failed(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(breaks=True)}
        failed = await world.start(K.UPDATE)
        world.clock.advance(timedelta(milliseconds=1))
        # A look that waited behind the update failed with it, later; it is not what went wrong.
        waiting = await world.start(K.QUERY, queue=True)
        await world.ended(failed.id)
        await world.ended(waiting.id)
        with pytest.raises(HostFailed):
            await world.start(K.QUERY)
        fake.pending = {"db": Pending()}
        retried = await world.engine.operations.retry("web1", call())
        assert retried.operation.kind is K.UPDATE
        assert retried.host.status.retry_count == 1
        assert (await world.ended(retried.operation.id)).status is S.SUCCEEDED
        host = await world.host()
        assert (host.status.state, host.status.retry_count) == (HostState.IDLE, 0)


async def test_retries_that_fail_are_counted(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.accepts_key = False
        await world.run(K.UPDATE)
        for count in (1, 2):
            retried = await world.engine.operations.retry("web1", call())
            await world.ended(retried.operation.id)
            host = await world.host()
            assert host.status.failure is not None
            assert host.status.failure.retry_count == count


async def test_an_acknowledged_host_stays_failed_and_records_who_has_seen_it(world: World):
    async with world.running():
        fake = await world.register("web1")
        with pytest.raises(InvalidTransition):
            await world.engine.registry.acknowledge("web1", call())
        with pytest.raises(InvalidTransition):
            await world.engine.operations.retry("web1", call())
        fake.accepts_key = False
        await world.run(K.UPDATE)
        seen = await world.engine.registry.acknowledge("web1", call("sam"))
        assert seen.status.failure is not None
        assert seen.status.failure.acknowledged_by == "sam"
        assert (await world.host()).status.state is HostState.FAILED


async def test_a_busy_host_is_neither_reconfigured_nor_forgotten(world: World):
    async with world.running():
        fake = await world.register("web1")
        hold = fake.hold(Command.QUERY)
        operation = await world.start(K.QUERY)
        await world.reached(hold)
        with pytest.raises(HostBusy):
            await world.engine.registry.unregister("web1", call())
        hold.released.set()
        await world.ended(operation.id)
        await world.engine.registry.unregister("web1", call())
        with pytest.raises(HostNotFound):
            await world.host()
        assert (await world.store.operation(operation.id)).status is S.SUCCEEDED
