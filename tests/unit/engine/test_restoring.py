"""A database that was restored from a copy: what was unfinished in it ends, and nothing is done twice."""

import asyncio
from datetime import timedelta

import pytest

from tendhost.server.domain.events import (
    HostConnected,
    HostDisconnected,
    OperationChanged,
    RolloutChanged,
    StateChanged,
)
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import (
    Operation,
    OperationKind,
    OperationStatus,
    StepStatus,
)
from tendhost.server.domain.request_errors import InvalidRolloutStatus, StoreUnavailable
from tendhost.server.domain.rollouts.rollout import MemberStatus, RolloutSpec, RolloutStatus
from tendhost.server.domain.rollouts.waves import Division
from tendhost.server.domain.schedules.schedule import MissedRuns, RunOutcome, ScheduleRequest
from tendhost.server.store.backup import back_up, restore
from tendhost.server.store.sqlite import open_store
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.world import World, call

K, S = OperationKind, OperationStatus


def copied(world: World) -> None:
    """Have a copy of the database as it is now."""
    back_up(world.directory / "tendhost.db", world.directory / "copy", now=world.clock.now())


async def restored(world: World) -> None:
    """Put the copy in the database's place, while no server runs."""
    database = world.directory / "tendhost.db"
    await world.store.behind.aclose()
    restore(world.directory / "copy", database, now=world.clock.now())
    world.store.behind = await open_store(database)


async def copied_during(
    world: World, kind: OperationKind, held: Command, *, dry_run: bool = False
) -> tuple[FakeHost, Operation]:
    """A copy of the moment at which an operation waits in `held`; in truth it goes on to its end."""
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(wants_reboot=True)}
        hold = fake.hold(held)
        operation = await world.start(kind, dry_run=dry_run)
        await world.reached(hold)
        copied(world)
        hold.released.set()
        await world.ended(operation.id)
    await restored(world)
    return fake, operation


@pytest.mark.parametrize(
    ("kind", "held", "step"),
    [
        (K.UPDATE, Command.PREFLIGHT, "preflight"),
        (K.UPDATE, Command.UPGRADE, "apply"),
        (K.UPDATE, Command.REBOOT, "reboot"),
        (K.UPDATE, Command.BOOT, "reboot"),
        (K.REBOOT, Command.PREFLIGHT, "preflight"),
        (K.REBOOT, Command.REBOOT, "reboot"),
    ],
)
async def test_a_host_that_was_being_changed_wants_a_person_and_is_not_changed_again(
    world: World, kind: OperationKind, held: Command, step: str
):
    fake, operation = await copied_during(world, kind, held)
    done, now = list(fake.ran), world.clock.now()
    async with world.running():
        ended = await world.store.operation(operation.id)
        await world.go_on()
    assert fake.ran == done
    assert (ended.status, ended.ended_at) == (S.FAILED, now)
    assert ended.problem.reason == "DATABASE_RESTORED"
    assert ended.problem.facts["host"] == "web1"
    assert ended.problem.facts["copied_at"] in ended.problem.message
    assert (str(ended.steps[-1].name), ended.steps[-1].status) == (step, StepStatus.FAILED)
    assert ended.steps[-1].ended_at == now
    host = await world.host()
    assert host.status.state is HostState.FAILED
    assert host.status.failure is not None
    assert (host.status.failure.step, host.status.failure.problem) == (step, ended.problem)


@pytest.mark.parametrize(
    ("kind", "held", "dry_run"),
    [
        (K.QUERY, Command.QUERY, False),
        (K.CHECK, Command.UNITS, False),
        (K.UPDATE, Command.QUERY, True),
    ],
)
async def test_a_host_that_was_only_looked_at_is_at_rest_again(
    world: World, kind: OperationKind, held: Command, *, dry_run: bool
):
    fake, operation = await copied_during(world, kind, held, dry_run=dry_run)
    done = list(fake.ran)
    async with world.running():
        ended = await world.store.operation(operation.id)
        host = await world.host()
        await world.go_on()
        assert fake.ran == done
        assert (ended.status, ended.problem.reason) == (S.FAILED, "DATABASE_RESTORED")
        assert (host.status.state, host.status.last_problem) == (HostState.IDLE, ended.problem)
        assert (await world.run(K.QUERY)).status is S.SUCCEEDED


async def test_what_was_queued_ends_and_never_begins(world: World):
    async with world.running():
        fake = await world.register("web1")
        hold = fake.hold(Command.UNITS)
        await world.start(K.CHECK)
        await world.reached(hold)
        world.clock.advance(timedelta(milliseconds=1))
        queued = await world.start(K.REBOOT, queue=True)
        copied(world)
    await restored(world)
    async with world.running():
        ended = await world.store.operation(queued.id)
        await world.go_on()
    assert (ended.status, ended.problem.reason) == (S.FAILED, "DATABASE_RESTORED")
    assert ended.steps == ()
    assert fake.count(Command.REBOOT) == 0
    assert (await world.host()).status.state is HostState.IDLE


async def test_everything_that_ends_is_told_as_it_always_is(world: World):
    _, operation = await copied_during(world, K.UPDATE, Command.PREFLIGHT)
    before = (await world.store.log_bounds()).current
    async with world.running():
        events = await world.store.events(after=before, limit=100)
    told = [event.body for event in events]
    assert {(event.host, event.operation) for event in events} == {("web1", operation.id)}
    assert [type(body) for body in told] == [OperationChanged, HostDisconnected, StateChanged]
    assert (told[0].kind, told[0].status) == (K.UPDATE, S.FAILED)
    assert "restored from a copy" in told[0].message
    assert (told[2].origin, told[2].to) == (HostState.QUERYING, HostState.FAILED)


async def test_a_host_that_was_not_reached_yet_is_not_told_to_be_gone(world: World):
    async with world.running():
        await world.register("web1")
        beginning = world.store.hold_after_commit(
            lambda change: any(o.kind is K.QUERY for o in change.operations)
        )
        starting = asyncio.ensure_future(world.start(K.QUERY))
        await world.reached(beginning)
        copied(world)
        beginning.released.set()
        await starting
    await restored(world)
    async with world.running():
        told = [type(event.body) for event in await world.events()]
    assert HostConnected not in told
    assert HostDisconnected not in told


async def test_a_running_rollout_is_paused_and_goes_on_when_it_is_resumed(world: World):
    async with world.running() as engine:
        fakes = {name: await world.register(name) for name in "abc"}
        for fake in fakes.values():
            fake.pending = {"web": Pending()}
        hold = fakes["a"].hold(Command.UPGRADE)
        spec = RolloutSpec(filter=HostFilter(), division=Division(waves=("1",)))
        rollout = await engine.rollouts.start(spec, call())
        await world.reached(hold)
        copied(world)
    await restored(world)
    before = (await world.store.log_bounds()).current
    async with world.running() as engine:
        paused = await world.store.rollout(rollout.id)
        assert paused.status is RolloutStatus.PAUSED
        events = await world.store.events(after=before, limit=100)
        (told,) = [e.body for e in events if isinstance(e.body, RolloutChanged)][:1]
        assert told.status is RolloutStatus.PAUSED
        await world.go_on()
        assert fakes["b"].count(Command.UPGRADE) == 0
        await engine.rollouts.resume(rollout.id, call())
        over = await world.rollout_ended(rollout.id)
    assert over.status is RolloutStatus.COMPLETED
    statuses = {m.host: m.status for m in (await world.store.members(rollout.id, limit=9)).items}
    assert statuses == {
        "a": MemberStatus.FAILED,
        "b": MemberStatus.COMPLETED,
        "c": MemberStatus.COMPLETED,
    }
    assert [fakes[name].count(Command.UPGRADE) for name in "abc"] == [1, 1, 1]


async def test_restored_rollout__that_waited_for_an_approval_is_paused_and_asks_again(
    world: World,
):
    async with world.running() as engine:
        fakes = {name: await world.register(name) for name in "ab"}
        for fake in fakes.values():
            fake.pending = {"web": Pending()}
        spec = RolloutSpec(
            filter=HostFilter(),
            division=Division(waves=("1",)),
            approve_waves=True,
            delay_between_waves=timedelta(),
        )
        rollout = await engine.rollouts.start(spec, call())
        await world.until(lambda: is_now(world, rollout.id, RolloutStatus.AWAITING_APPROVAL))
        copied(world)
    await restored(world)
    before = (await world.store.log_bounds()).current
    async with world.running() as engine:
        # Nobody who has not heard of the restoration lets it go on.
        paused = await world.store.rollout(rollout.id)
        assert (paused.status, paused.approval_until) == (RolloutStatus.PAUSED, None)
        with pytest.raises(InvalidRolloutStatus):
            await engine.rollouts.approve(rollout.id, 1, call())
        (told,) = await world.store.events(after=before, limit=9)
        assert isinstance(told.body, RolloutChanged)
        assert "resume or cancel the rollout" in told.body.message
        world.clock.advance(timedelta(days=2))
        await world.go_on()
        assert await is_now(world, rollout.id, RolloutStatus.PAUSED)
        await engine.rollouts.resume(rollout.id, call())
        await world.until(lambda: is_now(world, rollout.id, RolloutStatus.AWAITING_APPROVAL))
        await engine.rollouts.approve(rollout.id, 1, call())
        assert (await world.rollout_ended(rollout.id)).progress.completed == 2


async def is_now(world: World, rollout: str, status: RolloutStatus) -> bool:
    return bool((await world.store.rollout(rollout)).status is status)


async def test_rollouts_that_do_not_run_are_left_as_they_are(world: World):
    async with world.running() as engine:
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        done = await engine.rollouts.start(RolloutSpec(filter=HostFilter()), call())
        await world.rollout_ended(done.id)
        copied(world)
    before = await world.store.rollout(done.id)
    await restored(world)
    async with world.running():
        assert await world.store.rollout(done.id) == before


@pytest.mark.parametrize("missed", list(MissedRuns))
async def test_a_run_that_was_due_since_the_copy_does_not_begin_again(
    world: World, missed: MissedRuns
):
    hours = timedelta(hours=1)
    rollout = RolloutSpec(filter=HostFilter())
    async with world.running() as engine:
        await world.register("web1")
        for name, cron in (("due", "0 13 * * *"), ("later", "0 20 * * *")):
            wish = ScheduleRequest(name=name, cron=cron, rollout=rollout, missed=missed)
            await engine.schedules.create(wish, call())
        copied(world)
        due_at = (await world.store.schedule("due")).next_at
        assert due_at is not None
        world.clock.advance(1 * hours)
        await world.until(lambda: has_run(world, "due"))
    world.clock.advance(timedelta(minutes=5))
    await restored(world)
    async with world.running():
        due, later = (await world.store.schedules(limit=9)).items
        assert due.last_run is not None
        assert due.last_run.outcome is RunOutcome.MISSED
        assert "was restored from a copy" in due.last_run.detail
        assert due.next_at == due_at + 24 * hours
        assert later.last_run is None
        await world.go_on()
        assert (await world.store.rollouts(limit=9)).items == ()
        world.clock.advance(7 * hours)
        await world.until(lambda: has_run(world, "later"))
        assert len((await world.store.rollouts(limit=9)).items) == 1


async def has_run(world: World, name: str) -> bool:
    """Whether a run of this schedule was due, and its rollout has ended."""
    schedule = await world.store.schedule(name)
    if not schedule.last_rollout:
        return schedule.last_run is not None
    return bool((await world.store.rollout(schedule.last_rollout)).over)


async def test_a_restoration_that_left_nothing_to_do_is_settled_without_an_event(world: World):
    async with world.running():
        await world.register("web1")
        copied(world)
    await restored(world)
    before = (await world.store.log_bounds()).current
    assert await world.store.restored_from() is not None
    async with world.running():
        assert await world.store.restored_from() is None
        assert (await world.store.log_bounds()).current == before


async def test_only_the_first_server_after_a_restore_ends_anything(world: World):
    await copied_during(world, K.QUERY, Command.QUERY)
    async with world.running():
        fake = world.fleet.hosts["web1.example.org"]
        hold = fake.hold(Command.UNITS)
        operation = await world.start(K.CHECK)
        await world.reached(hold)
    async with world.running():
        assert (await world.ended(operation.id)).status is S.SUCCEEDED


async def test_a_server_that_cannot_settle_a_restoration_starts_nothing_and_the_next_one_does(
    world: World,
):
    fake, operation = await copied_during(world, K.UPDATE, Command.PREFLIGHT)
    done = list(fake.ran)
    world.store.outage_of = {"commit"}
    with pytest.raises(StoreUnavailable):
        async with world.running():
            pass
    assert (await world.store.operation(operation.id)).status is S.RUNNING
    world.store.outage_of = set()
    async with world.running():
        assert (await world.store.operation(operation.id)).status is S.FAILED
    assert fake.ran == done


async def test_a_retry_goes_back_to_the_job_that_may_still_run_on_the_host(world: World):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        hold = fake.hold(Command.UPGRADE)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
        copied(world)
    for _ in range(3):  # servers that the copy knows nothing of, each with a higher epoch
        async with world.running():
            await world.go_on()
    assert (await world.store.operation(operation.id)).status is S.RUNNING
    await restored(world)
    async with world.running() as engine:
        retried = await engine.operations.retry("web1", call())
        await world.go_on()
        hold.released.set()
        ended = await world.ended(retried.operation.id)
    assert ended.status is S.SUCCEEDED, ended.problem
    assert fake.count(Command.UPGRADE) == 1
    assert fake.installed["web"] == "2.0-1"
