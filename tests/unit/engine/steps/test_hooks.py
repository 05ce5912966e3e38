"""Hooks and checks from the server in the engine: cancelled, cut off, taken up again, and settled."""

from datetime import timedelta

import pytest

from tendhost.server.domain.host_errors import HostUnreachable
from tendhost.server.domain.hosts.host import Policy
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.domain.policy.health_checks import (
    HealthCheck,
    HealthChecks,
    HttpProbe,
    TcpProbe,
)
from tendhost.server.domain.policy.health_evaluation import CheckFinding
from tendhost.server.domain.policy.hooks import Hook, Hooks
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.world import World, call

UPDATE, CHECK = OperationKind.UPDATE, OperationKind.CHECK
ILL = CheckFinding(holds=False, words="ill")
WELL = CheckFinding(holds=True, words="well")


async def hooked(world: World, *, pre: bool = True, post: bool = False, **policy) -> FakeHost:
    hook = Hook(script="true")
    hooks = Hooks(pre=hook if pre else None, post=hook if post else None)
    fake = await world.register("web1", policy=Policy(hooks=hooks, **policy))
    fake.pending = {"web": Pending()}
    return fake


async def test_a_failed_hook_tells_its_exit_status_and_its_last_lines(world: World):
    async with world.running():
        fake = await hooked(world)
        fake.hook_status = 3
        operation = await world.run(UPDATE)
    assert operation.problem is not None
    assert operation.problem.reason == "PRE_HOOK_FAILED"
    assert operation.problem.facts == {
        "host": "web1",
        "problem": "ended with exit status 3",
        "exit_status": "3",
        "output": "two; three; four; five; six",
    }
    assert fake.count(Command.UPGRADE) == 0
    assert fake.jobs.jobs == {}


async def test_exit_statuses_that_are_allowed_are_no_failure(world: World):
    hooks = Hooks(pre=Hook(script="true", allowed_exit_codes=(3, 4)))
    async with world.running():
        fake = await world.register("web1", policy=Policy(hooks=hooks))
        fake.pending, fake.hook_status = {"web": Pending()}, 4
        assert (await world.run(UPDATE)).status is OperationStatus.SUCCEEDED
        fake.pending, fake.hook_status = {"web": Pending(to="3.0-1")}, 0
        assert (await world.run(UPDATE)).status is OperationStatus.FAILED


async def test_a_cancellation_waits_for_the_hook_and_changes_nothing(world: World):
    async with world.running() as engine:
        fake = await hooked(world, post=True)
        held = fake.hold(Command.HOOK)
        begun = await world.start(UPDATE)
        await world.reached(held)
        asked = await engine.operations.cancel(begun.id, call())
        assert "after its hook" in asked.cancellation
        held.released.set()
        operation = await world.ended(begun.id)
    assert operation.status is OperationStatus.CANCELLED
    assert (fake.count(Command.HOOK), fake.count(Command.UPGRADE)) == (1, 0)


async def test_a_hook_that_runs_while_the_server_goes_is_followed_by_the_next(world: World):
    async with world.running():
        fake = await hooked(world, post=True)
        held = fake.hold(Command.HOOK)
        begun = await world.start(UPDATE)
        await world.reached(held)
    held.released.set()
    async with world.running():
        operation = await world.ended(begun.id)
    assert operation.status is OperationStatus.SUCCEEDED
    assert fake.count(Command.HOOK) == 2
    assert [s.name for s in operation.steps].count(StepName.PRE_HOOK) == 1


async def test_a_hook_that_was_cut_off_on_its_host_is_not_run_again_by_itself(world: World):
    async with world.running():
        fake = await hooked(world)
        held = fake.hold(Command.HOOK)
        begun = await world.start(UPDATE)
        await world.reached(held)
        fake.jobs.kill()
        operation = await world.ended(begun.id)
    assert operation.problem is not None
    assert operation.problem.reason == "PRE_HOOK_FAILED"
    assert "it was killed" in operation.problem.message
    assert fake.count(Command.HOOK) == 1


async def test_a_check_asks_the_host_itself_unless_a_url_names_another(world: World):
    checks = HealthChecks(
        checks=(
            HealthCheck(tcp=TcpProbe(port=22)),
            HealthCheck(http=HttpProbe(url="http://{address}/")),
        )
    )
    async with world.running():
        fake = await world.register("web1", policy=Policy(health_checks=checks))
        operation = await world.run(CHECK)
    assert operation.health is not None
    assert operation.health.healthy
    assert operation.health.message == "healthy, 2 checks hold"
    assert world.prober.asked == [(fake.address, 22), (fake.address, "http://{address}/")]
    assert world.prober.tunnels == [None, None]


async def test_a_check_of_a_host_behind_a_jump__has_a_tunnel_through_the_jump(world: World):
    checks = HealthChecks(checks=(HealthCheck(tcp=TcpProbe(port=5432)),))
    async with world.running():
        await world.register("bastion")
        fake = await world.register("web1", jump="bastion", policy=Policy(health_checks=checks))
        operation = await world.run(CHECK)
        assert operation.health is not None
        assert operation.health.healthy
        (tunnel,) = world.prober.tunnels
        assert tunnel is not None
        with pytest.raises(HostUnreachable, match=f"{fake.address}.*through bastion:5432"):
            await tunnel(5432)


async def test_a_host_is_healthy_only_when_all_has_held_for_the_settling_time(world: World):
    check = HealthCheck(tcp=TcpProbe(port=22))
    checks = HealthChecks(checks=(check,), settle=timedelta(seconds=12))
    world.prober.answers[22] = [ILL, WELL, ILL, WELL]
    async with world.running():
        await world.register("web1", policy=Policy(health_checks=checks))
        operation = await world.run(CHECK)
    assert operation.health is not None
    systemd, tcp = operation.health.checks
    assert (systemd.healthy, tcp.healthy, tcp.failures) == (True, True, 2)
    assert operation.health.message == "healthy, 1 check holds, for 12 s"
    (verify,) = [s for s in operation.steps if s.name is StepName.VERIFY]
    assert verify.ended_at is not None
    assert verify.ended_at - verify.started_at >= timedelta(seconds=15 + 12)


@pytest.mark.parametrize("kind", [UPDATE, CHECK])
async def test_what_an_unhealthy_host_failed_is_told_check_by_check(world: World, kind):
    checks = HealthChecks(checks=(HealthCheck(tcp=TcpProbe(port=22), attempts=2),))
    world.prober.answers[22] = [ILL]
    async with world.running():
        fake = await world.register("web1", policy=Policy(health_checks=checks))
        fake.pending = {"web": Pending()}
        operation = await world.run(kind)
    assert operation.health is not None
    assert operation.health.message == "tcp 22: ill"
    assert [(c.name, c.healthy, c.tries) for c in operation.health.checks] == [
        ("systemd", True, 2),
        ("tcp 22", False, 2),
    ]
    assert (operation.problem is not None) is (kind is UPDATE)


async def test_a_check_that_settles_can_be_called_off(world: World):
    checks = HealthChecks(settle=timedelta(hours=1))
    async with world.running() as engine:
        fake = await world.register("web1", policy=Policy(health_checks=checks))
        held = fake.hold(Command.UNITS)
        begun = await world.start(CHECK)
        await world.reached(held)
        await engine.operations.cancel(begun.id, call())
        held.released.set()
        assert (await world.ended(begun.id)).status is OperationStatus.CANCELLED
    assert fake.count(Command.UNITS) == 1
