"""A store in front of the real one that can fail, and that knows whether it is at work."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any

from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Change
from tests.unit.engine.fake_command import Hold

_NOT_WORK = ("wait_beyond", "wait_for_audit", "listen", "until_unusable", "aclose")


class FaultyStore:
    """Hands every call on to the store `behind` it, unless a test wants it to go wrong."""

    behind: Store

    def __init__(self, *, deaf: bool = False) -> None:
        """`deaf`: whoever listens hears nothing."""
        self._deaf = deaf
        self._under_way = 0
        self.calm = asyncio.Event()
        self.calm.set()
        self.outage = False
        """While set, every call fails."""
        self.outage_of: set[str] = set()
        """The methods that fail, when not all do."""
        self.failures = 0
        self.calls: Counter[str] = Counter()
        self.after_commit: tuple[Callable[[Change], bool], Hold] | None = None
        self.before_read: tuple[str, Hold] | None = None
        self.after_read: tuple[str, Hold] | None = None

    def hold_after_commit(self, which: Callable[[Change], bool]) -> Hold:
        """Have the caller of the next such commit wait once it is done."""
        hold = Hold()
        self.after_commit = (which, hold)
        return hold

    def hold_after_read(self, method: str) -> Hold:
        """Have the caller of the next such read wait once it is done."""
        self.after_read = (method, Hold())
        return self.after_read[1]

    def hold_before_read(self, method: str) -> Hold:
        """Have the next such read wait before it is done."""
        self.before_read = (method, Hold())
        return self.before_read[1]

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.behind, name)
        if name == "listen" and self._deaf:
            return lambda listener: lambda: None
        if name in _NOT_WORK:
            return method

        @wraps(method)
        async def observed(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            if self.outage or name in self.outage_of:
                self.failures += 1
                raise StoreUnavailable(cause="database or disk is full")
            if self.before_read is not None and self.before_read[0] == name:
                hold, self.before_read = self.before_read[1], None
                await hold.wait()
            result = await self._counted(method, *args, **kwargs)
            if name == "commit":
                await self._held_after_commit(args[0])
            if self.after_read is not None and self.after_read[0] == name:
                hold, self.after_read = self.after_read[1], None
                await hold.wait()
            return result

        return observed

    async def _counted(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        self._under_way += 1
        self.calm.clear()
        try:
            return await method(*args, **kwargs)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self.calm.set()

    async def _held_after_commit(self, change: Change) -> None:
        if self.after_commit is not None and self.after_commit[0](change):
            hold, self.after_commit = self.after_commit[1], None
            await hold.wait()
