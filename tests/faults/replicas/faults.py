"""The faults: each strikes while operations are under way, lasts a moment, and is mended before the end is awaited."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from tests.cluster import Cluster
from tests.faults.replicas.replica import Replica
from tests.tools import faketime_library

LONGER_THAN_A_LEASE_SECONDS = 20.0
MOMENT_SECONDS = 3.0
DELAY_SECONDS = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What faults strike."""

    database: Cluster
    replicas: list[Replica]
    chance: random.Random

    def any_replica(self) -> Replica:
        return self.chance.choice(self.replicas)


@asynccontextmanager
async def replica_killed(stage: Stage) -> AsyncIterator[None]:
    """kill -9 of a replica, which is started again at the end."""
    replica = stage.any_replica()
    await replica.kill()
    yield
    await replica.start()


@asynccontextmanager
async def replica_restarted(stage: Stage) -> AsyncIterator[None]:
    """SIGTERM to a replica."""
    replica = stage.any_replica()
    await replica.stop()
    yield
    await replica.start()


@asynccontextmanager
async def replica_frozen(stage: Stage) -> AsyncIterator[None]:
    """SIGSTOP of a replica for longer than its lease, and SIGCONT."""
    replica = stage.any_replica()
    replica.freeze()
    try:
        await asyncio.sleep(LONGER_THAN_A_LEASE_SECONDS)
    finally:
        replica.thaw()
    yield


def _clock(offset: str) -> "Fault":
    """A replica whose wall clock is wrong; its monotonic clock goes on."""

    @asynccontextmanager
    async def wrong(stage: Stage) -> AsyncIterator[None]:
        replica = stage.any_replica()
        await replica.kill()
        await replica.start(
            {
                "LD_PRELOAD": str(faketime_library()),
                "FAKETIME": offset,
                "DONT_FAKE_MONOTONIC": "1",
            }
        )
        yield
        await replica.stop()
        await replica.start()

    return wrong


def _cut(mode: str, seconds: float) -> "Fault":
    @asynccontextmanager
    async def cut(stage: Stage) -> AsyncIterator[None]:
        link = stage.any_replica().link
        await link.cut(mode, DELAY_SECONDS)  # type: ignore[arg-type]  # one of its modes
        try:
            await asyncio.sleep(seconds)
        finally:
            await link.mend()
        yield

    return cut


@asynccontextmanager
async def primary_killed(stage: Stage) -> AsyncIterator[None]:
    """kill -9 of the primary, which comes back as a replica of the new one."""
    old = await stage.database.whole()
    await stage.database.kill(old)
    await stage.database.promoted(instead_of=old)
    await stage.database.restart(old)
    yield


@asynccontextmanager
async def postgresql_killed(stage: Stage) -> AsyncIterator[None]:
    """kill -9 of the primary's PostgreSQL alone."""
    await stage.database.kill_postgresql(await stage.database.whole())
    yield


@asynccontextmanager
async def failover(stage: Stage) -> AsyncIterator[None]:
    """An orderly failover."""
    await stage.database.failover()
    yield


@asynccontextmanager
async def no_quorum(stage: Stage) -> AsyncIterator[None]:
    """etcd without quorum, until the primary has stepped down."""
    async with stage.database.etcd_without_quorum():
        await asyncio.sleep(LONGER_THAN_A_LEASE_SECONDS)
    yield


@asynccontextmanager
async def pgbouncer_restarted(stage: Stage) -> AsyncIterator[None]:
    """kill -9 of PgBouncer, which every second replica goes through."""
    await stage.database.restart_pgbouncer()
    yield


Fault = Callable[[Stage], AbstractAsyncContextManager[None]]
FAULTS: dict[str, Fault] = {
    "replica_killed": replica_killed,
    "replica_restarted": replica_restarted,
    "replica_frozen": replica_frozen,
    "database_silent": _cut("silent", LONGER_THAN_A_LEASE_SECONDS),
    "database_refused": _cut("refused", MOMENT_SECONDS),
    "database_slow": _cut("slow", MOMENT_SECONDS),
    "primary_killed": primary_killed,
    "postgresql_killed": postgresql_killed,
    "failover": failover,
    "no_quorum": no_quorum,
    "pgbouncer_restarted": pgbouncer_restarted,
    "clock_ahead": _clock("+1h"),
    "clock_behind": _clock("-1h"),
}
