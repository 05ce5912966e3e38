"""Faults in the bookkeeping of operations and queues: taken up again, bounded, and then told."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tendhost.server.domain.breaking_off import broken_off
from tendhost.server.domain.events import OperationChanged
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import Operation, OperationKind, OperationStatus
from tendhost.server.domain.request_errors import HostBusy
from tendhost.server.domain.transitions import OperationState, after_step, queued
from tendhost.server.engine.operations import runner as driving
from tendhost.server.engine.operations.changes import operation_change
from tendhost.server.engine.operations.manager import SWEEP, OperationRequest
from tendhost.server.engine.supervision import RETRY
from tendhost.server.store.records import Change
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.world import World, call

K, S = OperationKind, OperationStatus


class Fault:
    """A fault that nobody foresaw, at the end of a step, so many times or until it is mended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: str, times: int = 10**6) -> None:
        self.left, self.met = times, 0
        real = after_step

        def faulty(state: OperationState, *args: Any) -> OperationState:
            assert state.operation.current is not None
            if state.operation.current.name == step and self.left:
                self.left -= 1
                self.met += 1
                raise AssertionError("a fault that nobody foresaw")
            return real(state, *args)

        monkeypatch.setattr("tendhost.server.engine.operations.runner.after_step", faulty)

    def mend(self) -> None:
        self.left = 0


async def with_update(world: World, name: str = "web1") -> FakeHost:
    fake = await world.register(name)
    fake.pending = {"web": Pending()}
    return fake


async def words_of(world: World, operation: Operation) -> list[str]:
    return [
        event.body.message
        for event in await world.events()
        if event.operation == operation.id and isinstance(event.body, OperationChanged)
    ]


def reason(operation: Operation) -> str:
    assert operation.problem is not None
    return operation.problem.reason


async def test_fault__costs_a_pause_and_nothing_is_done_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fault(monkeypatch, "reboot_check", times=2)
    async with world.running():
        fake = await with_update(world)
        ended = await world.run(K.UPDATE)
        assert ended.status is S.SUCCEEDED
        assert fake.count(Command.UPGRADE) == 1
        taken_up = "resumed after an unexpected fault of the server"
        assert (await words_of(world, ended)).count(taken_up) == 2
        assert (await world.run(K.QUERY)).status is S.SUCCEEDED


@pytest.mark.parametrize("step", ["connect", "preflight", "apply", "reboot_check", "verify"])
async def test_fault__that_stays_ends_in_failed_with_a_person_needed(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    fault = Fault(monkeypatch, step)
    async with world.running() as engine:
        fake = await with_update(world)
        ended = await world.run(K.UPDATE)
        assert (ended.status, reason(ended)) == (S.FAILED, "BOOKKEEPING_FAILED")
        assert ended.problem is not None
        assert f"step '{step}'" in ended.problem.message
        assert "tendhost retry web1" in ended.problem.message
        assert fault.met == RETRY.attempts
        host = await world.host()
        assert host.status.state is HostState.FAILED
        assert host.status.failure is not None
        assert host.status.failure.problem.reason == "BOOKKEEPING_FAILED"
        assert ended.problem.message in await words_of(world, ended)
        assert fake.count(Command.UPGRADE) <= 1
        fault.mend()
        retried = await engine.operations.retry("web1", call())
        assert (await world.ended(retried.operation.id)).status is S.SUCCEEDED
        assert fake.count(Command.UPGRADE) == 1
    assert world.fleet.open_connections == 0


async def test_fault__keeps_the_problem_that_the_operation_had_already(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fault(monkeypatch, "reboot_check")
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(breaks=True)}
        ended = await world.run(K.UPDATE)
    assert reason(ended) == "PACKAGE_FAILED"
    assert ended.failed_step == "apply"
    host = await world.host()
    assert host.status.failure is not None
    assert host.status.failure.problem.reason == "BOOKKEEPING_FAILED"


async def test_fault__between_two_tries_a_cancellation_is_taken_and_heard(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault(monkeypatch, "list")
    async with world.running() as engine:
        fake = await with_update(world)
        operation = await world.start(K.UPDATE)

        async def rests() -> bool:
            return fault.met == 3 and operation.id not in engine.operations._runners

        await world.until(rests)
        fault.mend()
        began = world.clock.now()
        cancelled = await engine.operations.cancel(operation.id, call("kim"))
        assert cancelled.cancel_requested_by == "kim"
        assert (await world.ended(operation.id)).status is S.CANCELLED
        assert world.clock.now() - began < timedelta(seconds=5), "nobody waits for the pause"
        assert fake.count(Command.UPGRADE) == 0
        assert (await world.run(K.QUERY)).status is S.SUCCEEDED


async def test_fault__in_storing_the_end_leaves_nobody_without_one_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fault(monkeypatch, "list")
    real, left = broken_off, [3]

    def faulty(*args: Any, **kwargs: Any) -> OperationState:
        if left[0]:
            left[0] -= 1
            raise AssertionError("and another one")
        return real(*args, **kwargs)

    monkeypatch.setattr("tendhost.server.engine.supervision.broken_off", faulty)
    async with world.running():
        await with_update(world)
        ended = await world.run(K.UPDATE)
        assert reason(ended) == "BOOKKEEPING_FAILED"
        assert left == [0]


async def test_fault__of_what_is_told_meanwhile_does_not_pass_unnoticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a job prints is stored while its step goes on; where that fails, the step is begun again."""
    real, left = driving.OperationRunner._flush, [1]

    async def faulty(driver: driving.OperationRunner) -> None:
        if driver.operation.job is not None and left[0]:
            left[0] -= 1
            raise AssertionError("a fault that nobody foresaw")
        await real(driver)

    monkeypatch.setattr(driving.OperationRunner, "_flush", faulty)
    async with world.running():
        fake = await with_update(world)
        hold = fake.hold(Command.UPGRADE)
        operation = await world.start(K.UPDATE)

        async def taken_up() -> bool:
            return any("resumed after" in words for words in await words_of(world, operation))

        await world.until(taken_up)
        hold.released.set()
        assert (await world.ended(operation.id)).status is S.SUCCEEDED
    assert fake.count(Command.UPGRADE) == 1


async def test_change_that_cannot_be_stored__is_not_tried_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is well; it is this operation's own words that no database takes."""
    real = after_step

    def told_badly(state: OperationState, *args: Any) -> OperationState:
        return real(state, *args).with_progress(world.clock.now(), "\ud800")

    monkeypatch.setattr("tendhost.server.engine.operations.runner.after_step", told_badly)
    async with world.running():
        await with_update(world)
        ended = await world.run(K.UPDATE)
        assert reason(ended) == "BOOKKEEPING_FAILED"
        monkeypatch.undo()
        assert (await world.host()).status.state is HostState.FAILED


async def test_operation_that_nobody_drives__is_found_and_taken_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running() as engine:
        await world.register("web1")
        with monkeypatch.context() as lost:
            lost.setattr(engine.operations, "take_up", lambda *_: None)
            operation = await world.start(K.QUERY)
        with pytest.raises(HostBusy):
            await world.start(K.QUERY)
        for _ in range(2):
            world.clock.advance(SWEEP)
            await world.go_on()
        assert (await world.ended(operation.id)).status is S.SUCCEEDED


# --- queues ---------------------------------------------------------------------------------------


async def test_queue__that_nobody_called_goes_on(world: World) -> None:
    async with world.running() as engine:
        await world.register("web1")
        work = OperationRequest(host="web1", kind=K.QUERY)
        state = queued(
            engine.operations.new(work, by="alex"), await world.host(), world.clock.now()
        )
        await world.store.commit(operation_change(state, state.host))
        assert (await world.ended(state.operation.id)).status is S.SUCCEEDED


def faults_in(
    world: World, monkeypatch: pytest.MonkeyPatch, which: Callable[[Change], bool], times: int
) -> list[int]:
    """Have so many of such commits fail by a fault."""
    behind, left = world.store.behind, [times]
    commit = behind.commit

    async def faulty(change: Change) -> Any:
        if which(change) and left[0]:
            left[0] -= 1
            raise AssertionError("a fault that nobody foresaw")
        return await commit(change)

    monkeypatch.setattr(behind, "commit", faulty)
    return left


@pytest.mark.parametrize("times", [1, RETRY.attempts - 1])
async def test_queue__that_stumbles_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    async with world.running():
        fake = await world.register("web1")
        hold = fake.hold(Command.QUERY)
        await world.start(K.QUERY)
        await world.reached(hold)
        waiting = await world.start(K.CHECK, queue=True)
        left = faults_in(
            world, monkeypatch, lambda c: any(o.id == waiting.id for o in c.operations), times
        )
        hold.released.set()
        assert (await world.ended(waiting.id)).status is S.SUCCEEDED
        assert left == [0]


async def test_queue__whose_first_never_begins_ends_that_one_and_goes_on_with_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running():
        fake = await world.register("web1")
        hold = fake.hold(Command.QUERY)
        await world.start(K.QUERY)
        await world.reached(hold)
        first = await world.start(K.CHECK, queue=True)
        second = await world.start(K.QUERY, queue=True)
        faults_in(
            world,
            monkeypatch,
            lambda c: any(o.id == first.id and o.status is S.RUNNING for o in c.operations),
            10**6,
        )
        hold.released.set()
        ended = await world.ended(first.id)
        assert (ended.status, reason(ended)) == (S.FAILED, "BOOKKEEPING_FAILED")
        assert (await world.ended(second.id)).status is S.SUCCEEDED
        assert (await world.host()).status.state is not HostState.FAILED, "nothing was done to it"
