"""What was allowed once and may not be any more, and what was lost from sight and must not be lost track of."""

from dataclasses import replace
from datetime import time, timedelta

import pytest

from tendhost.server.domain.hosts.host import AfterInterruption, Policy
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.engine.engine import EngineSettings
from tendhost.server.engine.operations.manager import OperationSettings
from tendhost.server.remote.protocol import Target
from tendhost.server.store.records import Change
from tests.unit.engine.fake_command import Command, Hold
from tests.unit.engine.fake_host import Pending, Rebooting
from tests.unit.engine.jobs.test_jobs import in_the_middle, reason, steps
from tests.unit.engine.world import World, call

K, S = OperationKind, OperationStatus
AROUND_NOON = Policy(windows=(MaintenanceWindow(start=time(11), end=time(14)),))
UNBOUNDED = EngineSettings(operations=replace(OperationSettings(), time_limit=timedelta(days=30)))


def at(step: str, job: str = ""):
    """Whether a change stores an operation in `step`, with `job` if one is named."""

    def holds(change: Change) -> bool:
        return any(
            o.current is not None
            and o.current.name == step
            and (not job or (o.job is not None and o.job.name == job))
            for o in change.operations
        )

    return holds


@pytest.mark.parametrize(
    ("settings", "why"),
    [(EngineSettings(), "DEADLINE_EXCEEDED"), (UNBOUNDED, "WINDOW_CLOSED")],
    ids=["deadline", "window"],
)
@pytest.mark.parametrize("step", ["reboot", "apply"])
async def test_what_was_to_begin_hours_ago_does_not_begin_outside_its_time(
    world: World, step: str, settings: EngineSettings, why: str
):
    async with world.running(settings):
        fake = await world.register("web1", policy=AROUND_NOON)
        fake.pending = {"web": Pending(wants_reboot=True)}
        beginning = world.store.hold_after_commit(at(step, "apply-1" if step == "apply" else ""))
        operation = await world.start(K.UPDATE)
        await world.reached(beginning)
    world.clock.advance(timedelta(hours=10))
    async with world.running(settings):
        ended = await world.ended(operation.id)
    assert reason(ended) == why
    assert fake.count(Command.REBOOT) == 0
    assert fake.count(Command.UPGRADE) == (1 if step == "reboot" else 0)


async def test_cancelled_while_its_host_is_away_an_upgrade_that_had_not_begun_does_not_begin(
    world: World,
):
    async with world.running() as engine:
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        recorded = world.store.hold_after_commit(at("apply", "apply-1"))
        operation = await world.start(K.UPDATE)
        await world.reached(recorded)
        fake.reachable = False
        recorded.released.set()
        for _ in range(20):
            await world.go_on()
        await engine.operations.cancel(operation.id, call())
        fake.reachable = True
        ended = await world.ended(operation.id)
    assert (ended.status, fake.count(Command.UPGRADE)) == (S.CANCELLED, 0)


async def test_cancelled_right_before_the_order_nothing_is_rebooted(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(wants_reboot=True)}
        beginning = world.store.hold_after_commit(at("reboot"))
        operation = await world.start(K.UPDATE)
        await world.reached(beginning)
    connecting, connect = Hold(), world.fleet.connect

    async def slowly(target: Target):
        await connecting.wait()
        return await connect(target)

    monkeypatch.setattr(world.fleet, "connect", slowly)
    async with world.running() as engine:
        await world.reached(connecting)
        await engine.operations.cancel(operation.id, call())
        connecting.released.set()
        ended = await world.ended(operation.id)
    assert (ended.status, fake.count(Command.REBOOT)) == (S.CANCELLED, 0)


async def test_cancelled_between_two_tries_of_a_repair_the_host_is_repaired_all_the_same(
    world: World,
):
    async with world.running() as engine:
        fake, operation = await in_the_middle(world)
        fake.interrupted = True
        fake.jobs.kill()
        fake.cut_during = Command.PREFLIGHT

        async def tried_again() -> bool:
            stored = await world.store.operation(operation.id)
            last = stored.steps[-1]
            return bool(last.name == "preflight" and last.attempts > 1)

        await world.until(tried_again)
        await engine.operations.cancel(operation.id, call())
        ended = await world.ended(operation.id)
    assert ended.ended_at is not None
    assert (fake.count(Command.REPAIR), fake.interrupted) == (1, False)


async def test_a_cancelled_retry_that_never_saw_the_host_leaves_it_failed(world: World):
    async with world.running() as engine:
        fake = await world.register("web1")
        fake.pending = {"web": Pending(wants_reboot=True)}
        fake.fails_after_boot = ["db.service"]
        assert reason(await world.run(K.UPDATE)) == "UNHEALTHY"
        fake.reachable = False
        retried = await engine.operations.retry("web1", call())
        await engine.operations.cancel(retried.operation.id, call())
        ended = await world.ended(retried.operation.id)
        host = await world.host()
        assert (ended.status, steps(ended)) == (S.CANCELLED, ["connect"])
        assert host.status.state is HostState.FAILED
        assert host.status.failure is not None
        assert host.status.failure.problem.reason == "UNHEALTHY"
        fake.reachable, fake.failed_units = True, []
        again = await engine.operations.retry("web1", call())
        assert steps(await world.ended(again.operation.id)) == ["connect", "verify"]


async def test_a_retry_goes_back_to_a_repair_and_begins_no_upgrade_beside_it(world: World):
    async with world.running() as engine:
        only_repair = Policy(after_interruption=AfterInterruption.REPAIR)
        fake, operation = await in_the_middle(world, policy=only_repair)
        fake.interrupted = True
        hold = fake.hold(Command.REPAIR)
        fake.jobs.kill()
        await world.reached(hold)
        fake.reachable = False
        ended = await world.ended(operation.id)
        assert ended.job is not None
        assert (ended.job.name, ended.job.concluded) == ("repair-2", False)
        fake.reachable = True
        hold.released.set()
        retried = await engine.operations.retry("web1", call())
        again = await world.ended(retried.operation.id)
    assert again.status is S.SUCCEEDED, again.problem
    assert steps(again)[:3] == ["connect", "preflight", "list"]
    assert fake.count(Command.REPAIR) == 1


async def test_a_retry_believes_no_reboot_that_somebody_else_did_before_it(world: World):
    async with world.running() as engine:
        fake = await world.register("web1")
        fake.pending = {"web": Pending(wants_reboot=True)}
        fake.rebooting = Rebooting.NEVER_RETURNS
        assert reason(await world.run(K.UPDATE)) == "REBOOT_NEVER_RETURNED"
        # Power-cycled by a person; by now it needs another reboot.
        fake.reachable, fake.boot, fake.reboot_required = True, 2, True
        fake.rebooting = Rebooting.COMES_BACK
        retried = await engine.operations.retry("web1", call())
        again = await world.ended(retried.operation.id)
    assert again.status is S.SUCCEEDED, again.problem
    assert fake.boot == 3


async def test_a_retry_finds_what_failed_whatever_became_of_the_servers_clock(world: World):
    async with world.running() as engine:
        fake = await world.register("web1")
        fake.pending = {"db": Pending(breaks=True)}
        assert reason(await world.run(K.UPDATE)) == "PACKAGE_FAILED"
        await world.ended((await engine.operations.retry("web1", call())).operation.id)
        world.clock.advance(timedelta(days=-1))
        fake.pending = {"web": Pending()}
        hold = fake.hold(Command.UPGRADE)
        operation = await world.start(K.UPDATE)
        await world.reached(hold)
        fake.reachable = False
        assert reason(await world.ended(operation.id)) == "HOST_GONE"
        fake.reachable = True
        hold.released.set()
        upgrades = fake.count(Command.UPGRADE)
        retried = await engine.operations.retry("web1", call())
        again = await world.ended(retried.operation.id)
    assert again.resumes == operation.id
    assert fake.count(Command.UPGRADE) == upgrades


async def test_a_host_that_is_dark_for_a_while_after_its_upgrade_is_waited_for(world: World):
    async with world.running():
        fake, operation = await in_the_middle(world)
        looking = fake.hold(Command.QUERY)
        fake.jobs.release()
        await world.reached(looking)
        fake.dark_until = world.clock.now() + timedelta(minutes=5)
        looking.released.set()
        ended = await world.ended(operation.id)
    assert ended.status is S.SUCCEEDED, ended.problem


async def test_a_job_that_its_host_never_ends_is_let_go_of_and_gone_back_to(world: World):
    async with world.running(UNBOUNDED) as engine:
        fake, operation = await in_the_middle(world)
        for _ in range(5):
            world.clock.advance(timedelta(hours=1))
            await world.go_on()
        ended = await world.ended(operation.id)
        assert reason(ended) == "TIMEOUT"
        assert ended.job is not None
        assert not ended.job.concluded
        fake.jobs.release()
        retried = await engine.operations.retry("web1", call())
        assert (await world.ended(retried.operation.id)).status is S.SUCCEEDED
    assert fake.count(Command.UPGRADE) == 1


async def test_a_folder_that_went_with_a_power_cut_before_anything_began_is_made_again(
    world: World,
):
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending()}
        fake.jobs.forget_after_attach = True
        operation = await world.run(K.UPDATE)
    assert operation.status is S.SUCCEEDED, operation.problem
    assert fake.count(Command.UPGRADE) == 1


async def test_waiting_for_a_place_does_not_use_up_an_operations_time(world: World):
    settings = EngineSettings(
        operations=replace(OperationSettings(), at_once=1, time_limit=timedelta(minutes=10))
    )
    async with world.running(settings):
        first = await world.register("web1")
        await world.register("web2")
        hold = first.hold(Command.UNITS)
        await world.start(K.CHECK)
        await world.reached(hold)
        waiting = await world.start(K.QUERY, "web2")
        world.clock.advance(timedelta(hours=1))
        hold.released.set()
        assert (await world.ended(waiting.id)).status is S.SUCCEEDED
