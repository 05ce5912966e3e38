"""A whole world for the engine: fake hosts, a fake clock, a real store, and engines that come and go."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from tendhost.server.domain.access.issuers import TrustedIssuer
from tendhost.server.domain.events import Event, StateChanged
from tendhost.server.domain.hosts.host import Host, HostConfig
from tendhost.server.domain.operations.operation import Operation, OperationKind
from tendhost.server.domain.rollouts.rollout import Rollout
from tendhost.server.engine.certificate_watch import ReadExpiries
from tendhost.server.engine.engine import NO_WAVE_HOOKS, Engine, EngineSettings, running_engine
from tendhost.server.engine.operations.manager import OperationRequest
from tendhost.server.engine.requests import MutationContext
from tendhost.server.engine.rollouts.wave_hooks import WaveHooks
from tendhost.server.outbound.key_sets import KeySetSource
from tendhost.server.store.protocol import Store
from tendhost.server.store.sqlite import open_store
from tests.unit.engine.fake_clock import FakeClock
from tests.unit.engine.fake_command import Hold
from tests.unit.engine.fake_host import FakeHost
from tests.unit.engine.fake_prober import FakeProber
from tests.unit.engine.fake_remote import FakeFleet
from tests.unit.engine.faulty_store import FaultyStore

BY_ITSELF = timedelta(minutes=30)
"""Sleepers that wake within this time are not waited for by tests; the hourly ones sleep on."""
MOST_ROUNDS = 50_000
"""More than any test needs for what it waits for."""


def call(by: str = "alex", encode: Callable[[Any], bytes] = lambda _: b"") -> MutationContext[Any]:
    """A mutation's caller who wants no answer kept."""
    return MutationContext(principal=by, user=by.partition(" ")[0], method="/test", encode=encode)


def call_with_id(encode: Callable[[Any], bytes]) -> MutationContext[Any]:
    """A mutation's caller who may ask the same again."""
    id = "5f9d9f6e-2b1c-4c5e-9a52-0d6f3f6f1a11"
    return MutationContext(
        principal="alex", user="alex", method="/test", request_id=id, digest=b"body", encode=encode
    )


class World:
    """Everything around the engine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.directory = path.parent
        self.clock = FakeClock()
        self.fleet = FakeFleet(self.clock)
        self.prober = FakeProber()
        self.store = FaultyStore()
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine that runs now."""
        assert self._engine is not None, "no engine runs"
        return self._engine

    @asynccontextmanager
    async def remembered(self) -> AsyncIterator["World"]:
        """The world with its store open."""
        self.store.behind = await open_store(self._path, clock=self.clock)
        try:
            yield self
        finally:
            await self.store.behind.aclose()

    @asynccontextmanager
    async def running(
        self,
        settings: EngineSettings | None = None,
        *,
        wave_hooks: WaveHooks = NO_WAVE_HOOKS,
        issuers: Sequence[tuple[TrustedIssuer, KeySetSource]] = (),
        read_expiries: ReadExpiries | None = None,
    ) -> AsyncIterator[Engine]:
        """An engine on the store; the next one finds what it left."""
        async with running_engine(
            store=cast(Store, self.store),
            connector=self.fleet,
            prober=self.prober,
            clock=self.clock,
            settings=settings or EngineSettings(),
            wave_hooks=wave_hooks,
            issuers=issuers,
            read_expiries=read_expiries,
        ) as engine:
            self._engine = engine
            try:
                yield engine
            finally:
                self._engine = None
        # The next server opens the store anew: only then is it sure what the last one has written.
        await self.store.behind.aclose()
        self.store.behind = await open_store(self._path, clock=self.clock)

    def use(self, engine: Engine) -> None:
        """Ask this one of several engines from now on."""
        self._engine = engine

    async def register(self, name: str, **config: Any) -> FakeHost:
        """A new host with a fake one behind it."""
        fake = self.fleet.add(f"{name}.example.org")
        await self.engine.registry.register(
            HostConfig(name=name, address=fake.address, **config), "", call()
        )
        return fake

    async def start(
        self,
        kind: OperationKind,
        host: str = "web1",
        *,
        dry_run: bool = False,
        queue: bool = False,
        by: str = "alex",
    ) -> Operation:
        """Begin an operation."""
        work = OperationRequest(host=host, kind=kind, dry_run=dry_run, queue=queue)
        return await self.engine.operations.start(work, call(by))

    async def run(self, kind: OperationKind, host: str = "web1", **how: Any) -> Operation:
        """An operation from its start to its end."""
        return await self.ended((await self.start(kind, host, **how)).id)

    async def ended(self, id: str) -> Operation:
        """The operation once it has ended."""

        async def over() -> bool:
            return bool((await self.store.operation(id)).status.ended)

        await self.until(over)
        return cast(Operation, await self.store.operation(id))

    async def rollout_ended(self, id: str) -> Rollout:
        """The rollout once nothing of it will change any more."""

        async def over() -> bool:
            return bool((await self.store.rollout(id)).over)

        await self.until(over)
        return cast(Rollout, await self.store.rollout(id))

    async def reached(self, hold: Hold) -> None:
        """Return once something waits at `hold`."""
        await self.until(lambda: _now(hold.reached.is_set()))

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Let the world go on until `condition` holds."""
        # Counted and not timed: how long a round takes is for the machine to say.
        for _ in range(MOST_ROUNDS):
            if await condition():
                return
            await self.go_on()
        raise AssertionError(f"it does not hold after {MOST_ROUNDS} rounds")

    async def go_on(self) -> None:
        """Let everything that can go on do so, then let time pass to the next thing that waits for it."""
        await self.go_on_at_once()
        if not self.store.calm.is_set():
            await self.store.calm.wait()
        else:
            self.clock.advance_to_next(within=BY_ITSELF)

    async def go_on_at_once(self) -> None:
        """Let everything go on that waits for no time."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def host(self, name: str = "web1") -> Host:
        """The host as it is stored."""
        return cast(Host, await self.store.host(name))

    async def events(self) -> list[Event]:
        """Every event so far."""
        return list(await self.store.events(after=0, limit=100_000))

    async def states(self, host: str = "web1") -> list[str]:
        """The states that the host went to, in order."""
        return [
            str(event.body.to)
            for event in await self.events()
            if isinstance(event.body, StateChanged) and event.host == host
        ]


async def _now(value: bool) -> bool:
    return value
