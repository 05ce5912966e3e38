"""Several engines over one store, each with a clock and a way to the store of its own: replicas in one process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

from tendhost.server.domain.leases import LEASE
from tendhost.server.domain.notifications.target import NotifyTarget
from tendhost.server.domain.operations.operation import OperationKind
from tendhost.server.engine.engine import Engine, EngineSettings, running_engine
from tendhost.server.engine.operations.manager import OperationRequest
from tendhost.server.outbound.apprise import NotificationSender
from tendhost.server.store.protocol import Store
from tests.unit.engine.fake_clock import FakeClock
from tests.unit.engine.faulty_store import FaultyStore
from tests.unit.engine.world import MOST_ROUNDS, World, call

A_LITTLE = timedelta(seconds=1)
"""By so much time passes at once: less than any part of a lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """An engine among others."""

    engine: Engine
    clock: FakeClock
    store: FaultyStore

    def cut_off(self) -> None:
        """Cut the replica off from its database."""
        self.store.outage = True

    def connect_again(self) -> None:
        """End the outage."""
        self.store.outage = False

    async def start(self, kind: OperationKind, host: str = "web1") -> str:
        """Id of an operation that this replica was asked for."""
        request = OperationRequest(host=host, kind=kind)
        return (await self.engine.operations.start(request, call())).id


class Replicas:
    """The replicas of a world, and the time that passes for all of them."""

    def __init__(self, world: World, stack: AsyncExitStack) -> None:
        self.world = world
        self._stack = stack
        self._all: list[Replica] = []
        self.frozen: set[int] = set()
        """Those for which no time passes, by their number: what they believe of their lease is out of date."""

    async def add(
        self,
        *,
        settings: EngineSettings | None = None,
        targets: Sequence[tuple[NotifyTarget, NotificationSender]] = (),
        off: timedelta = timedelta(),
        deaf: bool = False,
    ) -> Replica:
        """Another replica, whose date is `off`; one that is deaf hears of no commits."""
        store, clock = FaultyStore(deaf=deaf), FakeClock()
        store.behind = self.world.store.behind
        clock.set_off(off)
        clock.advance(self.world.clock.elapsed())
        engine = await self._stack.enter_async_context(
            running_engine(
                store=cast(Store, store),
                connector=self.world.fleet,
                prober=self.world.prober,
                clock=clock,
                settings=replace(settings or EngineSettings(), lease=LEASE),
                targets=targets,
            )
        )
        replica = Replica(engine=engine, clock=clock, store=store)
        self._all.append(replica)
        return replica

    def run(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run `work` in a task of its own."""
        return asyncio.create_task(work)

    def freeze(self, replica: Replica) -> None:
        """Have no time pass for a replica."""
        self.frozen.add(self._all.index(replica))

    def thaw(self, replica: Replica) -> None:
        """Have all the time pass for a replica that has passed meanwhile."""
        self.frozen.discard(self._all.index(replica))
        replica.clock.advance(self.world.clock.elapsed() - replica.clock.elapsed())

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Let time pass for everybody until `condition` holds."""
        for _ in range(MOST_ROUNDS):
            if await condition():
                return
            await self.go_on()
        raise AssertionError(f"it does not hold after {MOST_ROUNDS} rounds")

    async def pass_time(self, duration: timedelta) -> None:
        """Let so much time pass for everybody."""
        end = self.world.clock.elapsed() + duration
        while self.world.clock.elapsed() < end:
            await self.go_on()

    async def go_on(self) -> None:
        """Let everything that can go on do so, then let a little time pass."""
        await self.world.go_on_at_once()
        for replica in self._all:
            if not replica.store.calm.is_set():
                await replica.store.calm.wait()
                return
        self.world.clock.advance(A_LITTLE)
        for number, replica in enumerate(self._all):
            if number not in self.frozen:
                replica.clock.advance(A_LITTLE)

    async def ended(self, id: str) -> None:
        """Return once an operation has ended."""

        async def over() -> bool:
            return bool((await self.world.store.operation(id)).status.ended)

        await self.until(over)


@asynccontextmanager
async def replicas_of(world: World) -> AsyncIterator[Replicas]:
    """Replicas over the store of a world, which end with the context."""
    async with AsyncExitStack() as stack:
        yield Replicas(world, stack)
