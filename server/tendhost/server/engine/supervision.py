"""What becomes of an operation, or of a queue, when the bookkeeping about it fails.

A driver ends with its operation. Where it ends by a fault (a change that cannot be stored, a row that somebody
else has changed, a mistake of the program), the operation is taken up again from what is stored, as by a new
server, after a pause and so many times; then it and its host end in FAILED, and a person is needed. An outage
of the store is no fault of an operation's, and is waited out.
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
from tendhost.server.domain.operations.backoff import Backoff
from tendhost.server.domain.operations.operation import Operation
from tendhost.server.domain.request_errors import OperationNotFound
from tendhost.server.domain.transitions import OperationState
from tendhost.server.engine.requests import retried_on_conflict
from tendhost.server.engine.waiting import retry_while_unavailable, sleep_until_called
from tendhost.server.store.protocols.operations import HostWorkStore
from tendhost.server.store.records import Change

logger = logging.getLogger(__name__)

RETRY = Backoff(first=timedelta(seconds=5), longest=timedelta(minutes=5), attempts=6)
"""For what fails by a fault of the server's own. In all it takes three minutes: what passes by itself (another
writer, a moment without memory) has passed by then, and what has not is a mistake that no pause mends."""
LONG_PAUSE = timedelta(minutes=10)
"""Between tries to store the end of an operation that even this fails for. There is no last one: until it is
stored nobody else can work on the host."""

FAULT = "an unexpected fault of the server"
"""What an operation is taken up again after, in words."""

Driven = Callable[[OperationState, str], Awaitable[Operation]]
"""Drives an operation, taken up again after this (in words; empty: it is new), and returns how it ended."""


class Supervisor:
    """Has each operation driven until it has ended."""

    def __init__(self, *, store: HostWorkStore, clock: Clock, driven: Driven) -> None:
        self._store = store
        self._clock = clock
        self._driven = driven
        self._woken: dict[str, asyncio.Event] = {}
        """By operation, of those that are supervised."""

    def __contains__(self, id: str) -> bool:
        return id in self._woken

    def wake(self, id: str) -> None:
        """Have an operation that rests after a fault taken up again now."""
        if id in self._woken:
            self._woken[id].set()

    async def see_to_its_end(
        self, id: str, state: OperationState | None, resumed_after: str = ""
    ) -> Operation | None:
        """The operation once it has ended; None: it is not on record any more.

        `state` None: as it is stored. Raises nothing but CancelledError, which leaves it as it is stored.
        """
        self._woken[id] = asyncio.Event()
        try:
            return await self._seen_to_its_end(id, state, resumed_after)
        finally:
            del self._woken[id]

    async def _seen_to_its_end(
        self, id: str, state: OperationState | None, resumed_after: str
    ) -> Operation | None:
        faults = 0

        async def drive() -> Operation:
            nonlocal state
            begun, state = state or await self._stored(id), None
            if begun.operation.status.ended:
                return begun.operation
            return await self._driven(begun, resumed_after)

        while True:
            try:
                return await retry_while_unavailable(
                    drive,
                    sleep=self._clock.sleep,
                    logger=logger,
                    waiting="an operation waits for the store",
                    run=id,
                )
            except OperationNotFound:
                return None
            except Exception:
                faults += 1
                fields = {"run": id, "faults": faults}
                logger.exception("the bookkeeping of an operation failed", extra=fields)
                ended = await self._after(id, faults)
                if ended is not None:
                    return ended
                resumed_after = FAULT

    async def _after(self, id: str, faults: int) -> Operation | None:
        """What follows so many faults: the operation's end, or a pause."""
        pause = RETRY.pause(faults, random.random())  # noqa: S311 (no secret)
        if pause is None:
            ended = await self._given_up(id, faults)
            if ended is not None:
                return ended
            pause = LONG_PAUSE
        await sleep_until_called(self._clock, pause, self._woken[id])
        self._woken[id].clear()
        return None

    async def _given_up(self, id: str, faults: int) -> Operation | None:
        """Store the end of an operation that was given up; None: that failed as well."""
        try:
            return await self._broken_off(id, faults)
        except Exception as error:
            # It goes on to be tried with long pauses; its host is busy until that succeeds.
            fields = {"run": id, "cause": str(error)}
            logger.exception("the end of an operation could not be stored", extra=fields)
            return None

    @retried_on_conflict
    async def _broken_off(self, id: str, faults: int) -> Operation:
        state = await self._stored(id)
        operation = state.operation
        if operation.status.ended or operation.current is None:
            return operation
        failed = BookkeepingFailed(
            host=operation.host, step=str(operation.current.name), attempts=faults
        )
        # Nothing of what the driver knew goes in, for it may be what cannot be stored.
        ended = broken_off(
            operation, state.host, Problem.of(failed), self._clock.now(), fails_host=True
        )
        hosts = (ended.host,) if ended.host != state.host else ()
        change = Change(events=ended.events, hosts=hosts, operations=(ended.operation,))
        committed = await self._store.commit(change)
        return replace(ended.operation, revision=committed.revision)

    async def _stored(self, id: str) -> OperationState:
        operation = await self._store.operation(id)
        return OperationState(operation=operation, host=await self._store.host(operation.host))
