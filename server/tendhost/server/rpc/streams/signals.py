"""Signals by name: a stream that watches one operation or rollout is woken when something of it is committed.

A signal is not a fact. It may come without a change, and where another process has committed it does not
come at all, so each wait has a ceiling after which the stored state is looked at.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Signal:
    """Remembers one call until it is waited for."""

    def __init__(self) -> None:
        self._called = asyncio.Event()

    async def wait(self) -> None:
        """Return as soon as there was a call since `wait` returned the last time.

        Subscribe, then read, then wait: so no change is missed that was committed after the reading.
        """
        await self._called.wait()
        self._called.clear()

    def call(self) -> None:
        """Wake the one that waits, now or later."""
        self._called.set()


class Signals:
    """All signals, by the name that they wait for."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[Signal]] = {}

    @contextmanager
    def subscribed(self, name: str) -> Iterator[Signal]:
        """A signal that is called for `name` while the context lasts."""
        signal = Signal()
        self._waiting.setdefault(name, set()).add(signal)
        try:
            yield signal
        finally:
            others = self._waiting[name]
            others.discard(signal)
            if not others:
                del self._waiting[name]

    def call(self, names: Iterable[str]) -> None:
        """Call every signal of one of `names`."""
        for name in names:
            for signal in self._waiting.get(name, ()):
                signal.call()

    def call_all(self) -> None:
        """Call every signal."""
        self.call(list(self._waiting))
