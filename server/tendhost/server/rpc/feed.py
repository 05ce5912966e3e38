"""The event log as streams read it: news for all of them from one place, batches made once and shared."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from tendhost.server.domain.errors import CursorCompacted
from tendhost.server.domain.events import Event
from tendhost.server.rpc.convert import event_message
from tendhost.server.store.protocol import Store
from tendhost.server.store.signals import Signal
from tendhost.v1 import event_pb2, event_service_pb2

GATHERING_SECONDS = 0.005
"""Under load streams are woken no more often than this: a message costs as much as many events."""
BOOKMARK_INTERVAL = timedelta(seconds=5)
"""A quiet stream hears of the revision it has reached at least this often."""
PAGE = 512
BATCH_BYTES = 64 * 1024
"""A message holds no more than this, unless a single event is larger."""
SHARED_BATCHES = 256
CEILING_SECONDS = 2.0
"""Whoever waits for a signal looks at what is stored after this time, called or not: a signal comes from
this process only, and what another one commits is noticed so."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events from one revision on, as one message. `encoded` is empty where there are none."""

    encoded: bytes
    revision: int


class Feed:
    """What every stream of this server reads from."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._news = asyncio.Event()
        self._revision = 0
        self._batches: OrderedDict[int, Batch] = OrderedDict()
        self._closed = asyncio.Event()
        self.quiet = False
        """Whether the last wake-up was for want of news: then streams say where they are."""

    async def run(self) -> None:
        """Keep waking the streams, at every commit and every BOOKMARK_INTERVAL, until cancelled."""
        self._revision = (await self._store.log_bounds()).current
        while True:
            reached = await self._store.wait_beyond(self._revision, timeout=BOOKMARK_INTERVAL)
            self.quiet = reached == self._revision
            self._revision = reached
            self._announce()
            # An event that comes alone is told at once; those that follow on its heels, together.
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHERING_SECONDS):
                    await self._closed.wait()

    def close(self) -> None:
        """Have every stream say where it is and end."""
        self._closed.set()
        self._announce()

    def _announce(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def news(self, revision: int) -> None:
        """Return once there is anything beyond `revision`, or it is time for a bookmark."""
        if self._revision <= revision and not self.closing:
            await self._news.wait()

    @property
    def closing(self) -> bool:
        """Whether streams are to say where they are and end."""
        return self._closed.is_set()

    def beyond(self, revision: int) -> bool:
        """Whether there is anything beyond `revision`."""
        return self._revision > revision

    async def following(self, after: int) -> Sequence[Event]:
        """The next events after `after`. Raises CursorCompacted where some of them are pruned."""
        events = await self._store.events(after=after, limit=PAGE)
        if events and events[0].revision > after + 1:
            # Revisions have no gaps: a stream that fell behind would miss something silently.
            bounds = await self._store.log_bounds()
            raise CursorCompacted(cursor=after, oldest=bounds.oldest, current=bounds.current)
        return events

    async def batch(self, after: int) -> Batch:
        """The next events after `after`, of all hosts, encoded once for all streams.

        Raises CursorCompacted.
        """
        known = self._batches.get(after)
        if known is not None:
            return known
        events = await self.following(after)
        if not events:
            return Batch(b"", after)
        messages = fitting([event_message(event) for event in events])
        revision = messages[-1].revision
        response = event_service_pb2.WatchEventsResponse(events=messages, revision=revision)
        batch = Batch(response.SerializeToString(), revision)
        self._batches[after] = batch
        if len(self._batches) > SHARED_BATCHES:
            self._batches.popitem(last=False)
        return batch

    async def called(self, signal: Signal) -> None:
        """Return once `signal` was called, at the latest after CEILING_SECONDS or when the server closes."""
        if self.closing:
            return
        waits = [asyncio.ensure_future(each) for each in (signal.wait(), self._closed.wait())]
        try:
            await asyncio.wait(waits, timeout=CEILING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def until(self, after: int, concerns: Callable[[Event], bool]) -> int:
        """The revision that has been looked through, once an event after `after` concerns the caller.

        Returns early, with nothing found, when the server is closing.
        """
        while not self.closing:
            events = await self._store.events(after=after, limit=PAGE)
            if not events:
                await self.news(after)
                continue
            after = events[-1].revision
            if any(concerns(event) for event in events):
                break
        return after


def fitting(messages: list[event_pb2.Event]) -> list[event_pb2.Event]:
    """As many of the first events as one message may hold; at least one."""
    size = 0
    for count, message in enumerate(messages):
        size += message.ByteSize()
        if size > BATCH_BYTES:
            return messages[: max(1, count)]
    return messages
