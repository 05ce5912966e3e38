"""Queues of hosts: each operation that waits for its host starts when the one before it has ended."""

import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.host_errors import BookkeepingFailed, HostOutOfScope
from tendhost.server.domain.hosts.host import Problem
from tendhost.server.domain.leases import Held
from tendhost.server.domain.operations.operation import Operation
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.domain.request_errors import (
    HostBusy,
    HostFailed,
    HostNotFound,
    InvalidTransition,
    OnlyJump,
)
from tendhost.server.domain.transitions import OperationState, refused, started
from tendhost.server.engine.operations.changes import operation_change
from tendhost.server.engine.supervision import LONG_PAUSE, RETRY
from tendhost.server.engine.waiting import retry_while_unavailable
from tendhost.server.store.protocols.operations import HostWorkStore
from tendhost.server.store.records import Change, Conflict

logger = logging.getLogger(__name__)


class HostQueues:
    """The queues of all hosts. They are in the store alone: an operation waits while it is QUEUED."""

    def __init__(
        self,
        *,
        store: HostWorkStore,
        clock: Clock,
        begun: Callable[[Change], Change],
        take_up: Callable[[OperationState, Sequence[Held]], None],
    ) -> None:
        """`take_up` runs an operation that has started, as the change that `begun` made said."""
        self._begun = begun
        self._store = store
        self._clock = clock
        self._take_up = take_up
        self._failing: set[str] = set()
        """Hosts whose queue pauses after a fault."""

    async def start_next(self, name: str) -> None:
        """Start the first operation of a host's queue, however often the bookkeeping about it fails."""
        faults = 0
        while True:
            try:
                await retry_while_unavailable(
                    lambda: self._start_first(name),
                    sleep=self._clock.sleep,
                    logger=logger,
                    waiting="a queue waits for the store",
                    host=name,
                )
            except Exception:
                faults += 1
                logger.exception("a queue failed", extra={"host": name, "faults": faults})
                if name in self._failing and faults == 1:
                    return  # it is retried already
                self._failing.add(name)
                await self._clock.sleep(await self._after_fault(name, faults))
            else:
                break
        if faults:
            self._failing.discard(name)

    async def _after_fault(self, name: str, faults: int) -> timedelta:
        """The pause of a queue after a number of faults; after too many, its first operation is ended."""
        pause = RETRY.pause(faults, random.random())  # noqa: S311 (no secret)
        if pause is not None:
            return pause
        try:
            operation = await self._store.next_queued(name)
            if operation is not None:
                error = BookkeepingFailed(
                    host=name,
                    step=str(StepName.CONNECT),
                    attempts=faults,
                    command=f"tendhost {operation.kind} {name}",
                )
                await self._refuse(operation, error)
        except Exception as error:
            fields = {"host": name, "cause": str(error)}
            logger.exception("the end of a queued operation could not be stored", extra=fields)
            return LONG_PAUSE
        return timedelta()

    async def _start_first(self, name: str) -> None:
        while (operation := await self._store.next_queued(name)) is not None:
            try:
                host = await self._store.host(name)
                state = started(operation, host, self._clock.now())
            except (HostOutOfScope, OnlyJump, HostFailed, HostNotFound) as error:
                await self._refuse(operation, error)
                continue
            except InvalidTransition:
                return  # another operation runs on the host; its end starts the next one
            try:
                change = self._begun(operation_change(state, host))
                committed = await self._store.commit(change)
            except (Conflict, HostBusy):
                continue
            self._take_up(state.at(committed.revision, former=host), change.taken)
            return

    async def _refuse(self, operation: Operation, error: TendhostError) -> None:
        failed, event = refused(operation, Problem.of(error), self._clock.now())
        with suppress(Conflict):
            await self._store.commit(Change(events=(event,), operations=(failed,)))
