"""This server's lease: renewed in time, asked before every order, and begun again under a new id once it was lost.

One row of the database is the lease of everything that this server drives, so a renewal costs the same
with one operation and with ten thousand.
"""

import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.leases import FIRST_EPOCH, Held, LeaseKind, Replica, Tenure
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.engine.waiting import CEILING, sleep_until_done
from tendhost.server.store.protocols.leases import LeaseStore
from tendhost.server.store.records import LeaseLost

logger = logging.getLogger(__name__)

RETRY_PAUSE = timedelta(seconds=1)
"""Between attempts to renew a lease, or to begin one, while the store is unavailable."""


def fresh_id() -> str:
    """An id that no replica has had."""
    return str(uuid.uuid4())


def tells_of_loss(error: Exception) -> bool:
    """Whether `error` is, or holds, a LeaseLost: another replica has what was being worked on."""
    if isinstance(error, ExceptionGroup):
        return any(tells_of_loss(one) for one in error.exceptions)
    return isinstance(error, LeaseLost)


class ReplicaLease:
    """The lease of this server, and what it says of everything that the server drives."""

    def __init__(
        self,
        *,
        store: LeaseStore,
        clock: Clock,
        replica: Replica,
        length: timedelta | None,
        new_id: Callable[[], str] = fresh_id,
    ) -> None:
        """`length` None: the lease does not end, for no other process can open the database."""
        self._store = store
        self._clock = clock
        self._replica = replica
        self._length = length
        self._new_id = new_id
        self._tenure: Tenure | None = None
        self._when_lost: list[Callable[[], Awaitable[None]]] = []

    @property
    def owner(self) -> str:
        """Id under which this server drives things now; empty: it may drive nothing."""
        return self._tenure.replica if self._tenure is not None and self.certain else ""

    @property
    def certain(self) -> bool:
        """Whether no other replica can have taken anything from this one."""
        return self._tenure is not None and self._tenure.certain(self._clock.elapsed())

    @property
    def interval(self) -> timedelta | None:
        """How often to look for what is free; None: no other replica leaves anything."""
        return None if self._length is None else Tenure(replica="", length=self._length).pause

    def first(self, kind: LeaseKind, id: str) -> tuple[Held, ...]:
        """What a change takes that begins `id`; nothing while this server may drive nothing."""
        owner = self.owner
        return (Held(kind=kind, id=id, owner=owner, epoch=FIRST_EPOCH),) if owner else ()

    def holds(self, held: Held) -> bool:
        """Whether `held` is of the present lease, and that is certain."""
        return held.owner == self.owner

    def require(self, held: Held) -> None:
        """Raise LeaseLost unless no other replica can drive what is held at this moment."""
        if not self.holds(held):
            raise LeaseLost(what=str(held))

    def on_loss(self, listener: Callable[[], Awaitable[None]]) -> None:
        """Await `listener` when the lease was lost: it ends everything that was driven under it, and writes nothing."""
        self._when_lost.append(listener)

    async def enter(self) -> None:
        """Begin a lease. Raises StoreUnavailable."""
        sent_at, id = self._clock.elapsed(), self._new_id()
        await self._store.enter_replica(replace(self._replica, id=id), lease=self._length)
        self._tenure = Tenure.begun(id, self._length, sent_at)

    async def leave(self) -> None:
        """End the lease: what it covered is free at once. Where that cannot be stored, it ends by itself."""
        tenure, self._tenure = self._tenure, None
        if tenure is None:
            return
        try:
            await self._store.leave_replica(tenure.replica)
        except StoreUnavailable as error:
            logger.warning("the lease was not ended", extra={"cause": error.cause})

    async def keep(self) -> None:
        """Renew the lease, and begin another one when it was lost, until cancelled."""
        while True:
            tenure = self._tenure
            if tenure is None:
                await self._enter_again()
            elif not self.certain:
                await self._lose(tenure)
            else:
                await self._clock.sleep(tenure.pause or CEILING)
                await self._renew(tenure)

    async def _renew(self, tenure: Tenure) -> None:
        """Renew the lease, in as many attempts as there is time for."""
        while self._tenure is tenure and tenure.length is not None and self.certain:
            # A database that does not answer must not keep this server from seeing that its lease ends.
            left = tenure.until - self._clock.elapsed()
            await sleep_until_done(self._clock, left, self._try_to_renew(tenure, tenure.length))

    async def _try_to_renew(self, tenure: Tenure, length: timedelta) -> None:
        sent_at = self._clock.elapsed()
        try:
            renewed = await self._store.renew_replica(tenure.replica, lease=length)
        except Exception as error:
            logger.warning("the lease was not renewed", extra={"cause": str(error)})
            await self._clock.sleep(RETRY_PAUSE)
        else:
            # What was driven has been told to stop where the lease was not certain for a moment. Where it was not
            # renewed, it has ended by the database's clock.
            goes_on = renewed and self.certain
            self._tenure = tenure.renewed(sent_at) if goes_on else replace(tenure, until=sent_at)

    async def _lose(self, tenure: Tenure) -> None:
        fields = {"replica": tenure.replica}
        logger.warning("the lease was lost: other replicas go on", extra=fields)
        self._tenure = None
        for listener in self._when_lost:
            await listener()

    async def _enter_again(self) -> None:
        try:
            await self.enter()
        except Exception as error:
            logger.warning("a new lease did not start", extra={"cause": str(error)})
            await self._clock.sleep(RETRY_PAUSE)
        else:
            logger.info("a new lease has started")
