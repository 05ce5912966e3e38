"""An update that changes less than it planned, whatever its package manager says."""

from tendhost.server.domain.hosts.host import Policy
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import (
    OperationKind,
    OperationOptions,
    OperationStatus,
)
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.domain.policy.hooks import Hook, Hooks
from tendhost.server.engine.operations.manager import OperationRequest
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.world import World, call

UPDATE = OperationKind.UPDATE


async def test_update__that_changed_nothing_is_no_success(world: World) -> None:
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(stays=True)}
        operation = await world.run(UPDATE)
        assert operation.status is OperationStatus.FAILED
        assert operation.problem is not None
        assert operation.problem.reason == "UPDATE_INCOMPLETE"
        assert "1 of 1 planned changes did not happen: web 1.0-1" in operation.problem.message
        assert operation.update is not None
        (undone,) = operation.update.undone
        assert (undone.name, undone.from_version, undone.to_version) == ("web", "1.0-1", "2.0-1")
        assert undone.reason == "it is still pending: the package manager did not change it"
        assert (await world.host("web1")).status.state is HostState.FAILED


async def test_update__that_changed_a_part_is_verified_rebooted_and_no_success(
    world: World,
) -> None:
    hooks = Hooks(post=Hook(script="true"))
    async with world.running():
        fake = await world.register("web1", policy=Policy(hooks=hooks))
        fake.pending = {"db": Pending(wants_reboot=True), "web": Pending(stays=True)}
        operation = await world.run(UPDATE)
        assert operation.status is OperationStatus.FAILED
        assert [s.name for s in operation.steps][-3:] == [
            StepName.REBOOT,
            StepName.VERIFY,
            StepName.POST_HOOK,
        ]
        assert operation.update is not None
        assert [u.name for u in operation.update.undone] == ["web"]
        assert [c.name for c in operation.update.changes] == ["db"]


async def test_update__by_an_exact_plan_that_installs_another_version_is_no_success(
    world: World,
) -> None:
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"db": Pending(wants_reboot=True), "web": Pending(arrives="2.1-1")}
        plan = await world.run(UPDATE, dry_run=True)
        work = OperationRequest(
            host="web1", kind=UPDATE, plan=plan.id, options=OperationOptions(exact=True)
        )
        operation = await world.ended((await world.engine.operations.start(work, call())).id)
        assert operation.problem is not None
        assert operation.problem.reason == "UPDATE_INCOMPLETE"
        assert "web 1.0-1 (planned: 2.0-1; 2.1-1 is installed" in operation.problem.message
        assert StepName.REBOOT in [step.name for step in operation.steps]


async def test_retry__of_an_incomplete_update_plans_again(world: World) -> None:
    async with world.running():
        fake = await world.register("web1")
        fake.pending = {"web": Pending(stays=True)}
        await world.run(UPDATE)
        fake.pending = {"web": Pending()}
        retried = await world.engine.operations.retry("web1", call())
        operation = await world.ended(retried.operation.id)
        assert operation.status is OperationStatus.SUCCEEDED
        assert operation.update is not None
        assert operation.update.undone == ()
        assert fake.count(Command.UPGRADE) == 2
