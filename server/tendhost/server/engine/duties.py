"""Duties: what one replica does for all of them, such as notifying a target; another one goes on where it stops."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tendhost.server.clock import Clock
from tendhost.server.domain.leases import Held
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.engine.replica import ReplicaLease
from tendhost.server.engine.waiting import STORE_PAUSE
from tendhost.server.store.protocols.leases import LeaseStore
from tendhost.server.store.records import LeaseLost

logger = logging.getLogger(__name__)

RETENTION = "retention"
SCHEDULES = "schedules"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldDuty:
    """A duty that this replica has."""

    held: Sequence[Held]
    """For the writes of the duty."""
    lease: ReplicaLease

    def require(self) -> None:
        """Raise LeaseLost where another replica may do it at this moment: asked before anything leaves the server."""
        for one in self.held:
            self.lease.require(one)


Work = Callable[[HeldDuty], Awaitable[None]]


class Duties:
    """Takes duties when they are free, and does them as long as the lease of this replica goes on."""

    def __init__(self, *, store: LeaseStore, lease: ReplicaLease, clock: Clock) -> None:
        self._store = store
        self._lease = lease
        self._clock = clock
        self._under_way: set[asyncio.Task[None]] = set()
        lease.on_loss(self._stop)

    async def keep(self, duty: str, work: Work) -> None:
        """Do `work` whenever this replica has the duty, until cancelled."""
        while True:
            held = await self._claimed(duty)
            if held is not None:
                await self._do(duty, work, HeldDuty(held=(held,), lease=self._lease))
                await self._release(held)
            await self._clock.sleep(self._lease.interval or STORE_PAUSE)

    async def _claimed(self, duty: str) -> Held | None:
        owner = self._lease.owner
        if not owner:
            return None
        try:
            return await self._store.claim_duty(duty, owner)
        except LeaseLost:
            return None
        except StoreUnavailable as error:
            logger.warning("a duty waits", extra={"duty": duty, "cause": error.cause})
            return None

    async def _do(self, duty: str, work: Work, held: HeldDuty) -> None:
        """Do `work` until it ends, the duty is lost, or this is cancelled."""
        task = asyncio.ensure_future(_ended(work(held)))
        self._under_way.add(task)
        try:
            await asyncio.wait((task,))
        finally:
            self._under_way.discard(task)
            task.cancel()
            (error,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(error, LeaseLost | asyncio.CancelledError):
            logger.warning("another replica has a duty, or may have it", extra={"duty": duty})
        elif error is not None:
            logger.error("a duty failed", extra={"duty": duty}, exc_info=error)

    async def _release(self, held: Held) -> None:
        """Have somebody take the duty again, this replica included."""
        try:
            await self._store.release(held.kind, held.id, held.owner)
        except StoreUnavailable as error:
            # Nobody takes it before the lease ends.
            logger.warning("a duty was not released", extra={"duty": held.id, "cause": error.cause})

    async def _stop(self) -> None:
        """Stop all work, and store nothing of it."""
        stopped = list(self._under_way)
        for task in stopped:
            task.cancel()
        await asyncio.gather(*stopped, return_exceptions=True)


async def _ended(work: Awaitable[None]) -> None:
    await work
