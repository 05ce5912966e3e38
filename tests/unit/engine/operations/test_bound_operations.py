"""Operations of callers that are bound to hosts: a host that has left their scope is not touched."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.host_errors import HostOutOfScope
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import Operation
from tendhost.server.domain.operations.operation import OperationKind as K
from tendhost.server.domain.operations.operation import OperationStatus as S
from tendhost.server.domain.request_errors import HostNotFound
from tendhost.server.engine.operations.manager import OperationRequest
from tests.contract.store.samples import an_operation, change, stored_operation
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.world import World, call

WEB = Scope(groups=("web",))


async def queued(world: World, kind: K, scope: Scope | None) -> Operation:
    """An operation that waits in the queue of web1 when the server starts."""
    operation = replace(an_operation("web1", S.QUEUED, bound_to=scope), kind=kind)
    return await stored_operation(world.store.behind, operation)


async def registered(world: World) -> FakeHost:
    async with world.running():
        return await world.register("web1", groups=("web",), tags=("prod",))


async def moved_to(world: World, group: str) -> None:
    host = await world.store.host("web1")
    await world.store.commit(
        change(hosts=(replace(host, config=replace(host.config, groups=(group,))),))
    )


async def failed(world: World, fake: FakeHost) -> None:
    """Have web1 in FAILED by a package that breaks."""
    fake.pending["libssl3"] = Pending(breaks=True)
    await world.run(K.UPDATE)
    assert (await world.store.host("web1")).status.state is HostState.FAILED


@pytest.mark.parametrize("kind", [K.UPDATE, K.REBOOT, K.QUERY, K.CHECK])
@pytest.mark.parametrize(
    "scope", [WEB, Scope(all_tags=("prod",), groups=("web",)), Scope(any_tags=("a", "b"))], ids=str
)
async def test_queued_operation__does_not_begin_on_a_host_that_has_left_its_scope(
    world: World, kind: K, scope: Scope
):
    fake = await registered(world)
    mine, theirs = await queued(world, kind, scope), await queued(world, K.CHECK, None)
    await moved_to(world, "db")
    fake.ran.clear()
    async with world.running():
        refused = await world.ended(mine.id)
        assert refused.problem is not None
        assert (refused.status, refused.steps, fake.ran) == (S.FAILED, (), [])
        assert refused.problem.reason == HostOutOfScope.reason
        assert (
            f"web1: not started: the host has left the scope that the operation is bound to ({scope})"
            in (refused.problem.message)
        )
        # The rest of the queue goes on, and the host is none the worse.
        assert (await world.ended(theirs.id)).status is S.SUCCEEDED
        assert (await world.store.host("web1")).status.state is not HostState.FAILED


async def test_queued_operation__begins_on_a_host_that_is_still_in_its_scope(world: World):
    await registered(world)
    mine = await queued(world, K.CHECK, WEB)
    async with world.running():
        assert (await world.ended(mine.id)).status is S.SUCCEEDED


async def test_retry__keeps_the_scope_of_its_caller_and_not_of_the_operation_that_failed(
    world: World,
):
    fake = await registered(world)
    async with world.running() as engine:
        await failed(world, fake)
        retried = await engine.operations.retry("web1", call(), bound_to=WEB)
        assert retried.operation.bound_to == WEB
        await world.ended(retried.operation.id)
        again = await engine.operations.retry("web1", call())
        assert again.operation.bound_to is None


def begin(world: World) -> Awaitable[object]:
    work = OperationRequest(host="web1", kind=K.REBOOT, queue=True, bound_to=WEB)
    return world.engine.operations.start(work, call())


def retry(world: World) -> Awaitable[object]:
    return world.engine.operations.retry("web1", call(), bound_to=WEB)


@pytest.mark.parametrize("how", [begin, retry])
async def test_host__that_leaves_the_scope_after_the_call_was_admitted_is_not_there(
    world: World, how: Callable[[World], Awaitable[object]]
):
    fake = await registered(world)
    async with world.running():
        await failed(world, fake)
        await moved_to(world, "db")
        fake.ran.clear()
        before = (await world.store.operations(limit=10)).items
        with pytest.raises(HostNotFound):
            await how(world)
        assert ((await world.store.operations(limit=10)).items, fake.ran) == (before, [])
        assert (await world.store.host("web1")).status.state is HostState.FAILED
