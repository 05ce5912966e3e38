"""The event log as streams read it: news for all of them from one place, batches made once and shared."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta

from tendhost.server.domain.errors import CursorCompacted, ServerStopping
from tendhost.server.domain.events import Event
from tendhost.server.rpc.convert import event_message
from tendhost.server.rpc.signals import Signal, Signals
from tendhost.server.rpc.snapshots import Snapshots
from tendhost.server.store.protocol import Store, Touched
from tendhost.v1 import event_pb2, event_service_pb2

GATHERING_SECONDS = 0.005
"""Under load streams are woken no more often than this: a message costs as much as many events."""
BOOKMARK_INTERVAL = timedelta(seconds=5)
"""A quiet stream hears of the revision it has reached at least this often."""
LONGEST_WAIT = timedelta(seconds=10)
"""Whoever waits for a change looks at what is stored at least this often, whatever became of the signal."""
PAGE = 512
BATCH_BYTES = 64 * 1024
"""A message holds no more than this, unless a single event is larger."""
SHARED_BATCHES = 256


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
        self._followers = Signals()
        self.snapshots = Snapshots(store)
        self.quiet = False
        """Whether the last wake-up was for want of news: then streams say where they are."""

    async def run(self) -> None:
        """Keep waking the streams, at every commit and every BOOKMARK_INTERVAL, until cancelled."""
        self._revision = (await self._store.log_bounds()).current
        stop_listening = self._store.listen(self._hear)
        try:
            while True:
                await self._wake_once()
        finally:
            stop_listening()

    async def _wake_once(self) -> None:
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
        self._followers.call_all()

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

    def changes_of(self, id: str) -> AbstractContextManager[Signal]:
        """A signal that is called when the operation or the rollout of this id was stored anew."""
        return self._followers.subscribed(id)

    async def called(self, signal: Signal) -> None:
        """Return once `signal` was called, and after LONGEST_WAIT in any case.

        Raises ServerStopping.
        """
        if not self.closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_WAIT.total_seconds()):
                    await signal.wait()
        if self.closing:
            raise ServerStopping

    def _hear(self, touched: Touched) -> None:
        self.snapshots.hear(touched)
        self._followers.call((*touched.operations, *touched.rollouts))


def fitting(messages: list[event_pb2.Event]) -> list[event_pb2.Event]:
    """As many of the first events as one message may hold; at least one."""
    size = 0
    for count, message in enumerate(messages):
        size += message.ByteSize()
        if size > BATCH_BYTES:
            return messages[: max(1, count)]
    return messages
