"""Cancelling an operation: in each of its steps, in the queue, too late, and at the worst moments."""

import asyncio

import pytest

from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import Operation, OperationKind, OperationStatus
from tendhost.server.domain.request_errors import OperationEnded, OperationNotFound
from tendhost.server.engine.requests import AlreadyProcessed
from tendhost.server.store.records import Change, Conflict
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.world import World, call, call_with_id

K, S = OperationKind, OperationStatus


@pytest.mark.parametrize(
    ("held", "steps", "state", "upgrades"),
    [
        (Command.PREFLIGHT, ["connect", "preflight"], HostState.IDLE, 0),
        (Command.QUERY, ["connect", "preflight", "list"], HostState.PENDING_UPDATES, 0),
        (
            Command.UPGRADE,
            ["connect", "preflight", "list", "apply", "reboot_check", "verify"],
            HostState.WAITING_REBOOT,
            1,
        ),
        (
            Command.REBOOT,
            ["connect", "preflight", "list", "apply", "reboot_check", "reboot", "verify"],
            HostState.IDLE,
            1,
        ),
    ],
)
async def test_a_cancellation_takes_effect_where_that_is_sound(
    world: World, held: Command, steps: list[str], state: HostState, upgrades: int
):
    async with world.running() as engine:
        fake = await world.register("web1")
        fake.pending = {"web": Pending(wants_reboot=True)}
        hold = fake.hold(held)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
        marked = await engine.operations.cancel(operation.id, call("sam"))
        assert marked.cancel_requested_by == "sam"
        assert not marked.status.ended
        hold.released.set()
        ended = await world.ended(operation.id)
        assert ended.status is S.CANCELLED
        assert [str(step.name) for step in ended.steps] == steps
        assert fake.count(Command.UPGRADE) == upgrades
        host = await world.host()
        assert host.status.state is state
        assert host.status.last_updated is None


async def test_a_queued_operation_is_cancelled_at_once(world: World):
    async with world.running() as engine:
        fake = await world.register("web1")
        hold = fake.hold(Command.QUERY)
        first = await world.start(K.QUERY)
        await world.reached(hold)
        waiting = await world.start(K.UPDATE, queue=True)
        cancelled = await engine.operations.cancel(waiting.id, call())
        assert (cancelled.status, cancelled.steps) == (S.CANCELLED, ())
        hold.released.set()
        assert (await world.ended(first.id)).status is S.SUCCEEDED
        assert (await world.ended(waiting.id)).status is S.CANCELLED
        assert fake.count(Command.PREFLIGHT) == 0


async def test_what_has_ended_or_never_was_is_not_cancelled(world: World):
    async with world.running() as engine:
        await world.register("web1")
        operation = await world.run(K.CHECK)
        with pytest.raises(OperationEnded):
            await engine.operations.cancel(operation.id, call())
        with pytest.raises(OperationNotFound):
            await engine.operations.cancel("nothing", call())


async def test_an_operation_that_ends_while_its_cancellation_is_on_the_way_stays_as_it_ended(
    world: World,
):
    async with world.running() as engine:
        fake = await world.register("web1")
        hold = fake.hold(Command.UNITS)
        operation = await world.start(K.CHECK)
        await world.reached(hold)
        ending = world.store.hold_after_commit(lambda change: _ends(change, operation))
        hold.released.set()
        await world.reached(ending)
        # Stored as ended, and the driver is about to hear of it: the cancellation comes too late.
        cancelling = asyncio.ensure_future(engine.operations.cancel(operation.id, call()))
        await world.go_on()
        ending.released.set()
        with pytest.raises(OperationEnded):
            await cancelling
        assert (await world.ended(operation.id)).cancel_requested_by == ""


async def test_a_cancellation_that_waits_for_the_last_save_comes_too_late(world: World):
    async with world.running() as engine:
        fake = await world.register("web1")
        hold = fake.hold(Command.UNITS)
        operation = await world.start(K.CHECK)
        await world.reached(hold)
        read = world.store.hold_after_read("operation")
        cancelling = asyncio.ensure_future(engine.operations.cancel(operation.id, call()))
        await world.reached(read)  # it has read that the operation runs
        ending = world.store.hold_after_commit(lambda change: _ends(change, operation))
        hold.released.set()
        await world.reached(ending)
        read.released.set()
        await world.go_on()
        ending.released.set()
        with pytest.raises(OperationEnded):
            await cancelling
        ended = await world.ended(operation.id)
        assert (ended.status, ended.cancel_requested_by) == (S.SUCCEEDED, "")


async def test_an_operation_is_not_cancelled_behind_the_back_of_a_driver_that_is_yet_to_come(
    world: World,
):
    async with world.running() as engine:
        await world.register("web1")
        beginning = world.store.hold_after_commit(lambda change: bool(change.operations))
        starting = asyncio.create_task(world.start(K.CHECK))
        await world.reached(beginning)
        # Somebody who watches events sees the operation before whoever asked for it has the answer.
        (stored,) = (await world.store.operations(limit=1)).items
        cancelling = asyncio.ensure_future(engine.operations.cancel(stored.id, call()))
        await asyncio.wait((cancelling,), timeout=0)
        await world.go_on()
        beginning.released.set()
        await starting
        await asyncio.wait((cancelling,))
        assert cancelling.exception() is None or isinstance(cancelling.exception(), Conflict)
        await world.ended(stored.id)

        async def free() -> bool:
            return (await world.host()).status.state.resting

        await world.until(free)
        assert (await world.run(K.CHECK)).status is S.SUCCEEDED


async def test_the_same_cancellation_again_is_answered_with_the_same_words(world: World):
    async with world.running() as engine:
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        hold = fake.hold(Command.QUERY)
        operation = await world.start(K.UPDATE)
        read = world.store.hold_after_read("operation")
        asked = call_with_id(lambda o: repr(o).encode())
        cancelling = asyncio.ensure_future(engine.operations.cancel(operation.id, asked))
        await world.reached(read)
        await world.reached(hold)  # meanwhile it got on by two steps
        read.released.set()
        answer = asked.encode(await cancelling)
        with pytest.raises(AlreadyProcessed) as replayed:
            await engine.operations.cancel(operation.id, asked)
        assert replayed.value.response == answer
        hold.released.set()
        assert (await world.ended(operation.id)).status is S.CANCELLED


def _ends(change: Change, operation: Operation) -> bool:
    return any(o.id == operation.id and o.status.ended for o in change.operations)
