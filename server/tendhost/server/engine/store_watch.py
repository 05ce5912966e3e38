"""Watches whether the store can be used, and notifies listeners when that changes."""

import logging
from collections.abc import Callable
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.engine.waiting import CEILING
from tendhost.server.store.protocols.maintenance import StoreHealth

logger = logging.getLogger(__name__)

PROBE_PAUSE = timedelta(seconds=2)
"""Between probes of a store that cannot be used: a probe writes one page, and its recovery is soon known."""


class StoreWatch:
    """Waits for a write or a read that fails, and probes the store until it can be used again."""

    def __init__(self, *, store: StoreHealth, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []
        self.problem = ""
        """Why the store cannot be used; empty: it can."""

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever `problem` has changed."""
        self._listeners.append(listener)

    async def keep(self) -> None:
        """Watch the store, until cancelled."""
        while True:
            try:
                if await self._store.until_unusable(timeout=CEILING):
                    await self._until_usable()
            except Exception:
                logger.exception("the store is not watched")
                await self._clock.sleep(CEILING)

    async def _until_usable(self) -> None:
        # One write that does not fit is no outage: only what a probe says counts.
        while True:
            try:
                await self._store.probe()
            except StoreUnavailable as error:
                self._report(error.cause)
                await self._clock.sleep(PROBE_PAUSE)
            else:
                self._report("")
                return

    def _report(self, problem: str) -> None:
        if problem == self.problem:
            return
        if bool(problem) != bool(self.problem):
            message = "the store cannot be used" if problem else "the store can be used again"
            logger.warning(message, extra={"cause": problem or self.problem})
        self.problem = problem
        for listener in self._listeners:
            listener()
