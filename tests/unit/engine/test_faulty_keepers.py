"""Faults in what goes on beside operations: rollouts, schedules, notifications, policies, history."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tendhost.server.domain.events import Event, PolicyChanged, RolloutChanged
from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.notifications.target import NotifyTarget
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.rollouts.rollout import HaltCause, Rollout, RolloutSpec, RolloutStatus
from tendhost.server.domain.schedules.schedule import RunOutcome, Schedule, ScheduleRequest
from tendhost.server.engine.notifications import RETRY_FAULTS, NotificationWorker
from tendhost.server.engine.retention import Pruner
from tendhost.server.engine.rollouts.controller import RolloutController
from tendhost.server.engine.schedules import Schedules
from tendhost.server.engine.supervision import RETRY
from tendhost.server.engine.waiting import CEILING
from tendhost.server.store.records import Change, Conflict
from tests.unit.engine.duties import duties_of
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.world import World, call

K, S, R = OperationKind, OperationStatus, RolloutStatus
NIGHT = timedelta(hours=16)


def faulty(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str, error: Callable[[], Exception]
) -> list[int]:
    """Have a method fail by a fault as often as the list says; it counts down."""
    left, real = [10**6], getattr(owner, method)

    async def fails(self: Any, *args: Any, **kwargs: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise error()
        return await real(self, *args, **kwargs)

    monkeypatch.setattr(owner, method, fails)
    return left


async def begun(world: World) -> Rollout:
    fake = await world.register("web1")
    fake.pending = {"web": Pending()}
    return await world.engine.rollouts.start(RolloutSpec(filter=HostFilter()), call())


async def is_in(world: World, id: str, status: RolloutStatus) -> Rollout:
    async def there() -> bool:
        return bool((await world.store.rollout(id)).status is status)

    await world.until(there)
    found: Rollout = await world.store.rollout(id)
    return found


# --- rollouts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [lambda: AssertionError("unforeseen"), lambda: Conflict(what="wave 1")]
)
async def test_rollout__whose_controller_keeps_failing_halts_and_says_why(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]
) -> None:
    left = faulty(monkeypatch, RolloutController, "_start", error)
    async with world.running() as engine:
        rollout = await is_in(world, (await begun(world)).id, R.HALTED)
        assert rollout.halt is not None
        assert rollout.halt.cause is HaltCause.FAULT
        assert f"failed {RETRY.attempts} times" in rollout.halt.message
        told = [e.body for e in await world.events() if isinstance(e.body, RolloutChanged)]
        assert told[-1].message == rollout.halt.message
        left[0] = 0
        await engine.rollouts.resume(rollout.id, call())
        assert (await world.rollout_ended(rollout.id)).progress.completed == 1


async def test_rollout__fault_that_passes_costs_pauses_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = faulty(monkeypatch, RolloutController, "_start", lambda: AssertionError("unforeseen"))
    left[0] = RETRY.attempts - 1
    async with world.running():
        ended = await world.rollout_ended((await begun(world)).id)
    assert (ended.status, ended.progress.completed) == (R.COMPLETED, 1)


async def test_rollout__that_cannot_be_halted_either_is_tried_on_and_can_be_cancelled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running() as engine:
        rollout = await begun(world)
        left = faulty(
            monkeypatch, RolloutController, "_reconcile", lambda: AssertionError("unforeseen")
        )
        monkeypatch.setattr("tendhost.server.engine.rollouts.controller.halted", lambda *_: 1 / 0)
        for _ in range(60):
            await world.go_on()
        assert 10**6 - left[0] > RETRY.attempts
        left[0] = 0
        before = world.clock.now()
        await engine.rollouts.cancel(rollout.id, call())
        await world.rollout_ended(rollout.id)
        assert world.clock.now() - before < timedelta(minutes=2), "no pause is waited out"


# --- schedules ------------------------------------------------------------------------------------


async def scheduled(world: World) -> None:
    await world.register("web1")
    wish = ScheduleRequest(
        name="nightly", cron="0 3 * * *", rollout=RolloutSpec(filter=HostFilter())
    )
    await world.engine.schedules.create(wish, call())


async def test_schedule__whose_run_keeps_stumbling_lets_it_pass_by_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = faulty(monkeypatch, Schedules, "_take", lambda: AssertionError("unforeseen"))
    async with world.running():
        await scheduled(world)
        world.clock.advance(NIGHT)

        async def passed_by() -> bool:
            return (await world.store.schedule("nightly")).last_run is not None

        await world.until(passed_by)
        schedule = await world.store.schedule("nightly")
        assert schedule.last_run.outcome is RunOutcome.REFUSED
        assert "unexpected fault" in schedule.last_run.detail
        assert schedule.next_at > world.clock.now()
        left[0] = 0
        world.clock.advance(timedelta(days=1))

        async def began() -> bool:
            return bool((await world.store.schedule("nightly")).last_rollout)

        await world.until(began)


async def test_schedule__whose_run_cannot_even_pass_by_is_paused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty(monkeypatch, Schedules, "_take", lambda: AssertionError("unforeseen"))

    def broken(*_: Any) -> Schedule:
        raise AssertionError("and another one")

    monkeypatch.setattr(Schedule, "after", broken)
    async with world.running():
        await scheduled(world)
        world.clock.advance(NIGHT)

        async def paused() -> bool:
            return bool((await world.store.schedule("nightly")).paused)

        await world.until(paused)


# --- notifications, policies, history -------------------------------------------------------------


async def test_notifications__pass_over_an_event_that_cannot_be_told_and_count_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Sender:
        async def send(self, message: Any, reached: set[int]) -> None:
            told.append(message.title)

    real = NotificationWorker._take

    async def take(worker: NotificationWorker, notice: Any, place: Any) -> None:
        if notice.host == "bad1":
            raise AssertionError("unforeseen")
        await real(worker, notice, place)

    monkeypatch.setattr(NotificationWorker, "_take", take)
    target = NotifyTarget(name="team")
    worker = NotificationWorker(target, Sender(), store=world.store, clock=world.clock)
    async with world.running() as engine, duties_of(world) as duties:
        following = asyncio.create_task(duties.keep("notifications team", worker.run))
        for name in ("bad1", "web1"):
            fake = await world.register(name)
            fake.pending = {"web": Pending(breaks=True)}
        for _ in range(3):
            await world.go_on()
        await world.run(K.UPDATE, "bad1")
        await world.run(K.UPDATE, "web1")
        for _ in range(40 * RETRY_FAULTS):
            await world.go_on()
            if told:
                break
        following.cancel()
        assert engine is not None
    assert any("web1" in title for title in told)
    assert worker.status.undelivered == 1


async def test_policies__that_another_process_changed_hold_within_a_minute(world: World) -> None:
    async with world.running() as engine:
        heard: list[str] = []
        engine.policies.on_change(heard.append)
        body = PolicyChanged(group="web", by="another", deleted=False)
        event = Event(at=world.clock.now(), body=body)
        await world.store.commit(
            Change(
                events=(event,), group_policies=(GroupPolicy(group="web", changed_by="another"),)
            )
        )
        assert engine.policies.group_policy("web").changed_by == ""
        world.clock.advance(CEILING)
        await world.go_on()
        assert engine.policies.group_policy("web").changed_by == "another"
        assert heard == [""]
        world.clock.advance(CEILING)
        await world.go_on()
        assert heard == [""], "nothing has changed since"


async def test_pruning__that_fails_takes_nothing_else_down(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left = faulty(monkeypatch, Pruner, "_prune", lambda: AssertionError("unforeseen"))
    async with world.running():
        await world.register("web1")
        assert (await world.run(K.QUERY)).status is S.SUCCEEDED
        failed = 10**6 - left[0]
        assert failed >= 1
        world.clock.advance(timedelta(hours=1))
        await world.go_on()
        assert 10**6 - left[0] > failed, "it is tried again"
    assert any(record.exc_info for record in caplog.records)
