"""A server that goes away in the middle: what the next one takes up, and what it never does twice."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tendhost.server.domain.events import OperationChanged
from tendhost.server.domain.operations.operation import Operation, OperationKind, OperationStatus
from tendhost.server.engine.jobs.runner import FinishedJob, JobRunner
from tendhost.server.store.records import Change
from tests.unit.engine.fake_command import Command, Hold
from tests.unit.engine.fake_host import FakeHost, Pending, Rebooting
from tests.unit.engine.world import World, call

K, S = OperationKind, OperationStatus


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        (K.QUERY, Command.QUERY),
        (K.CHECK, Command.UNITS),
        (K.UPDATE, Command.PREFLIGHT),
        (K.UPDATE, Command.UNITS),
        (K.UPDATE, Command.QUERY),
        (K.UPDATE, Command.DRY_RUN),
        (K.UPDATE, Command.BOOT),
        (K.REBOOT, Command.PREFLIGHT),
        (K.REBOOT, Command.REBOOT),
        (K.REBOOT, Command.BOOT),
    ],
)
async def test_a_step_that_may_be_repeated_is_repeated_by_the_next_server(
    world: World, kind: OperationKind, held: Command
):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(wants_reboot=True)}
        hold = fake.hold(held)
        operation = await world.start(kind)
        await world.reached(hold)
        if held is Command.REBOOT:
            fake.reboot()  # the order arrives although nobody waits for its answer
    assert (await world.store.operation(operation.id)).status is S.RUNNING
    assert (await world.host()).status.state.busy
    async with world.running():
        ended = await world.ended(operation.id)
        assert ended.status is S.SUCCEEDED, ended.problem
    assert fake.count(Command.UPGRADE) <= 1
    assert fake.count(Command.REBOOT) <= 1
    assert world.fleet.open_connections == 0
    assert not (await world.host()).status.state.busy


async def test_a_reboot_on_record_is_waited_for_and_not_ordered_again(world: World):
    async with world.running():
        fake = await world.register("web1")
        hold = fake.hold(Command.BOOT)
        operation = await world.start(K.REBOOT)
        await world.reached(hold)
    assert (fake.count(Command.REBOOT), fake.boot) == (1, 2)
    async with world.running():
        assert (await world.ended(operation.id)).status is S.SUCCEEDED
    assert (fake.count(Command.REBOOT), fake.boot) == (1, 2)


async def test_an_order_that_was_recorded_and_never_given_is_given_by_the_next_server(world: World):
    async with world.running():
        fake = await world.register("web1")
        recorded = world.store.hold_after_commit(
            lambda change: any(o.facts.reboot_ordered_at for o in change.operations)
        )
        operation = await world.start(K.REBOOT)
        await world.reached(recorded)
    assert fake.boot == 1
    async with world.running():
        assert (await world.ended(operation.id)).status is S.SUCCEEDED
    assert (fake.count(Command.REBOOT), fake.boot) == (1, 2)


async def test_an_upgrade_goes_on_without_the_server_and_the_next_one_brings_it_to_its_end(
    world: World,
):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(wants_reboot=True)}
        hold = fake.hold(Command.UPGRADE)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
    hold.released.set()
    world.clock.advance(timedelta(hours=3))
    async with world.running():
        ended = await world.ended(operation.id)
        log = (await world.store.log(ended.id, offset=0, limit=1000)).data
    assert ended.status is S.SUCCEEDED, ended.problem
    assert ended.update is not None
    assert [c.name for c in ended.update.changes] == ["web"]
    assert log == b"Setting up web (2.0-1) ...\n"
    told = [e.body.message for e in await world.events() if isinstance(e.body, OperationChanged)]
    assert "resumed after a restart of the server" in told
    assert (fake.count(Command.UPGRADE), fake.count(Command.REBOOT)) == (1, 1)
    assert (fake.jobs.jobs, fake.jobs.epochs) == ({}, {})


async def test_an_upgrade_that_still_runs_is_waited_for_by_the_next_server(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        hold = fake.hold(Command.UPGRADE)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
    asked = fake.job_requests
    async with world.running():
        await world.until(lambda: _more_than(fake, asked + 5))
        assert (await world.store.operation(operation.id)).status is S.RUNNING
        hold.released.set()
        assert (await world.ended(operation.id)).status is S.SUCCEEDED
    assert fake.count(Command.UPGRADE) == 1


@pytest.mark.parametrize("recorded", ["apply", "apply-1"])
async def test_an_upgrade_that_was_yet_to_begin_is_begun_by_the_next_server(
    world: World, recorded: str
):
    def beginning(change: Change) -> bool:
        return any(
            (o.current is not None and o.current.name == recorded)
            or (o.job is not None and o.job.name == recorded)
            for o in change.operations
        )

    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        hold = world.store.hold_after_commit(beginning)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
    assert fake.count(Command.UPGRADE) == 0
    async with world.running():
        assert (await world.ended(operation.id)).status is S.SUCCEEDED
    assert fake.count(Command.UPGRADE) == 1


async def test_every_server_that_takes_an_operation_up_has_a_higher_epoch(world: World):
    epochs = []
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        hold = fake.hold(Command.UPGRADE)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
        epochs.append(fake.jobs.epochs[operation.id])
    for _ in range(2):
        async with world.running():
            before = epochs[-1]
            await world.until(partial(_epoch_above, fake, operation, before))
            epochs.append(fake.jobs.epochs[operation.id])
    assert epochs == sorted(set(epochs))


async def test_several_servers_in_turn_get_an_update_through(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(wants_reboot=True)}
        hold = fake.hold(Command.PREFLIGHT)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
    for held in (Command.PREFLIGHT, Command.QUERY, Command.DRY_RUN, Command.BOOT):
        hold = fake.hold(held)
        async with world.running():
            await world.reached(hold)
    async with world.running():
        ended = await world.ended(operation.id)
    assert ended.status is S.SUCCEEDED
    assert (fake.count(Command.UPGRADE), fake.count(Command.REBOOT)) == (1, 1)
    names = [str(step.name) for step in ended.steps]
    assert names == ["connect", "preflight", "list", "apply", "reboot_check", "reboot", "verify"]


async def test_what_was_queued_is_still_queued_after_a_restart(world: World):
    async with world.running():
        fake = await world.register("web1")
        hold = fake.hold(Command.QUERY)
        first = await world.start(K.QUERY)
        await world.reached(hold)
        world.clock.advance(timedelta(milliseconds=1))
        second = await world.start(K.CHECK, queue=True)
    hold = fake.hold(Command.QUERY)
    async with world.running():
        await world.reached(hold)
        assert (await world.store.operation(second.id)).status is S.QUEUED
        hold.released.set()
        assert (await world.ended(first.id)).status is S.SUCCEEDED
        assert (await world.ended(second.id)).status is S.SUCCEEDED


async def test_a_queue_whose_head_ended_as_the_server_went_away_goes_on(world: World):
    async with world.running():
        fake = await world.register("web1")
        hold = fake.hold(Command.UNITS)
        first = await world.start(K.CHECK)
        await world.reached(hold)
        world.clock.advance(timedelta(milliseconds=1))
        second = await world.start(K.QUERY, queue=True)
        ending = world.store.hold_after_commit(
            lambda change: any(o.id == first.id and o.status.ended for o in change.operations)
        )
        hold.released.set()
        await world.reached(ending)
    async with world.running():
        assert (await world.ended(second.id)).status is S.SUCCEEDED


async def test_a_host_that_is_forgotten_between_two_servers_does_not_keep_the_next_from_starting(
    world: World,
):
    async with world.running() as engine:
        fake = await world.register("web1")
        hold = fake.hold(Command.UNITS)
        first = await world.start(K.CHECK)
        await world.reached(hold)
        second = await world.start(K.QUERY, queue=True)
        ending = world.store.hold_after_commit(
            lambda change: any(o.id == first.id and o.status.ended for o in change.operations)
        )
        hold.released.set()
        await world.reached(ending)
        # Nothing runs on the host, and what is queued has not begun.
        await engine.registry.unregister("web1", call())
    async with world.running():
        refused = await world.ended(second.id)
        assert refused.status is S.FAILED
        assert refused.problem is not None
        assert refused.problem.reason == "HOST_NOT_FOUND"


async def test_a_cancellation_outlives_the_server_that_took_it(world: World):
    async with world.running() as engine:
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        hold = fake.hold(Command.QUERY)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
        await engine.operations.cancel(operation.id, call())
    async with world.running():
        assert (await world.ended(operation.id)).status is S.CANCELLED
    assert fake.count(Command.UPGRADE) == 0


async def test_a_host_that_comes_back_between_two_servers_is_found_rebooted(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.rebooting = Rebooting.NEVER_RETURNS
        operation = await world.start(K.REBOOT)
        await world.until(lambda: _ordered(world, operation))
    fake.boot, fake.reachable = 2, True
    async with world.running():
        assert (await world.ended(operation.id)).status is S.SUCCEEDED


async def _epoch_above(fake: FakeHost, operation: Operation, epoch: int) -> bool:
    return fake.jobs.epochs[operation.id] > epoch


async def _more_than(fake: FakeHost, requests: int) -> bool:
    return fake.job_requests > requests


async def _ordered(world: World, operation: Operation) -> bool:
    fake = world.fleet.hosts["web1.example.org"]
    return fake.count(Command.REBOOT) == 1 and not fake.reachable


async def test_a_transaction_whose_end_was_seen_and_not_stored_is_not_begun_again(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """Where the log of a job is stored in the moment in which its end was seen, and the server is killed."""
    seen = Hold()

    run = JobRunner.run

    async def run_and_wait(*arguments: Any, **how: Any) -> FinishedJob:
        ended = await run(*arguments, **how)
        await seen.wait()
        return ended

    monkeypatch.setattr(JobRunner, "run", run_and_wait)
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        operation = await world.start(K.UPDATE)
        await world.reached(seen)

        async def log_is_stored() -> bool:
            return bool((await world.store.operation(operation.id)).log_size > 0)

        await world.until(log_is_stored)
    seen.released.set()
    async with world.running():
        assert (await world.ended(operation.id)).status is S.SUCCEEDED
    assert fake.count(Command.UPGRADE) == 1
