"""Runs each operation until it has ended, also if the bookkeeping about it fails.

An operation whose runner ends by a fault (a change that cannot be stored, a row that something else has
changed, a bug) is resumed from its stored state, as by a new server, after a pause and a limited number of
times; then the operation ends in FAILED, and so does its host unless the operation only looked at it. An outage
of the store is not a fault of an operation, and is waited out.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.breaking_off import broken_off
from tendhost.server.domain.host_errors import BookkeepingFailed
from tendhost.server.domain.hosts.host import Problem
from tendhost.server.domain.leases import Held
from tendhost.server.domain.operations.backoff import Backoff
from tendhost.server.domain.operations.operation import Operation
from tendhost.server.domain.request_errors import OperationNotFound
from tendhost.server.domain.transitions import OperationState
from tendhost.server.engine.replica import tells_of_loss
from tendhost.server.engine.requests import retried_on_conflict
from tendhost.server.engine.waiting import retry_while_unavailable, sleep_until_called
from tendhost.server.store.protocols.operations import HostWorkStore
from tendhost.server.store.records import Change

logger = logging.getLogger(__name__)

RETRY = Backoff(first=timedelta(seconds=5), longest=timedelta(minutes=5), attempts=6)
"""For faults of the server. In all it takes three minutes: transient faults (another writer, a moment without
memory) have passed by then, and what has not passed is a bug that no pause mends."""
LONG_PAUSE = timedelta(minutes=10)
"""Between attempts to store the end of an operation. There is no last one: until the end is stored, no other
operation can start on the host."""

FAULT = "an unexpected fault of the server"
"""The cause of a resumption, as text."""

Run = Callable[[OperationState, Held, str], Awaitable[Operation]]
"""Runs an operation to its end. The text is what it is resumed after; empty: the operation is new."""


class Supervisor:
    """Runs operations, each in a call of its own, until they have ended."""

    def __init__(self, *, store: HostWorkStore, clock: Clock, run: Run) -> None:
        self._store = store
        self._clock = clock
        self._run = run
        self._woken: dict[str, asyncio.Event] = {}
        """By id, for the supervised operations: set to end a pause."""

    def __contains__(self, id: str) -> bool:
        return id in self._woken

    def wake(self, id: str) -> None:
        """Resume an operation now that pauses after a fault."""
        if id in self._woken:
            self._woken[id].set()

    async def run_until_end(
        self, held: Held, state: OperationState | None, resumed_after: str = ""
    ) -> Operation | None:
        """The operation once it has ended; None: it is not stored any more, or another replica drives it.

        `state` None: the stored one. Raises nothing but CancelledError, which leaves the operation as stored.
        """
        self._woken[held.id] = asyncio.Event()
        try:
            return await self._run_until_end(held, state, resumed_after)
        finally:
            del self._woken[held.id]

    async def _run_until_end(
        self, held: Held, state: OperationState | None, resumed_after: str
    ) -> Operation | None:
        id, faults = held.id, 0

        async def run() -> Operation:
            nonlocal state
            begun, state = state or await self._stored(id), None
            if begun.operation.status.ended:
                return begun.operation
            return await self._run(begun, held, resumed_after)

        while True:
            try:
                return await retry_while_unavailable(
                    run,
                    sleep=self._clock.sleep,
                    logger=logger,
                    waiting="an operation waits for the store",
                    run=id,
                )
            except OperationNotFound:
                return None
            except Exception as error:
                if tells_of_loss(error):
                    logger.warning("another replica drives an operation", extra={"run": id})
                    return None
                faults += 1
                fields = {"run": id, "faults": faults}
                logger.exception("the bookkeeping of an operation failed", extra=fields)
                ended = await self._after(held, faults)
                if ended is not None:
                    return ended
                resumed_after = FAULT

    async def _after(self, held: Held, faults: int) -> Operation | None:
        """Pause after a number of faults; after too many, the operation as it ended."""
        pause = RETRY.pause(faults, random.random())  # noqa: S311 (no secret)
        if pause is None:
            ended = await self._end(held, faults)
            if ended is not None:
                return ended
            pause = LONG_PAUSE
        await sleep_until_called(self._clock, pause, self._woken[held.id])
        self._woken[held.id].clear()
        return None

    async def _end(self, held: Held, faults: int) -> Operation | None:
        """Store the end of an operation with too many faults; None: that failed as well."""
        try:
            return await self._break_off(held, faults)
        except Exception as error:
            # This is retried with long pauses; the host is busy until it succeeds.
            fields = {"run": held.id, "cause": str(error)}
            logger.exception("the end of an operation could not be stored", extra=fields)
            return None

    @retried_on_conflict
    async def _break_off(self, held: Held, faults: int) -> Operation:
        state = await self._stored(held.id)
        operation = state.operation
        if operation.status.ended or operation.current is None:
            return operation
        again = str(operation.kind) if operation.spares_its_host else "retry"
        failed = BookkeepingFailed(
            host=operation.host,
            step=str(operation.current.name),
            attempts=faults,
            command=f"tendhost {again} {operation.host}",
        )
        # Nothing of the runner's state goes in, for it may be what cannot be stored.
        ended = broken_off(
            operation,
            state.host,
            Problem.of(failed),
            self._clock.now(),
        )
        hosts = (ended.host,) if ended.host != state.host else ()
        change = Change(
            events=ended.events, hosts=hosts, operations=(ended.operation,), held=(held,)
        )
        committed = await self._store.commit(change)
        return replace(ended.operation, revision=committed.revision)

    async def _stored(self, id: str) -> OperationState:
        operation = await self._store.operation(id)
        return OperationState(operation=operation, host=await self._store.host(operation.host))
