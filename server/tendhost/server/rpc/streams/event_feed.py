"""The event log as streams read it: news for all of them from one place, batches made once and shared."""

import asyncio
import logging
from collections import OrderedDict
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Protocol

from tendhost.server.clock import wait_for
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.request_errors import CursorCompacted, ServerStopping
from tendhost.server.engine.waiting import retry_while_unavailable
from tendhost.server.rpc.streams.event_pages import Batch, EventPage
from tendhost.server.rpc.streams.membership import SelectionMembership
from tendhost.server.rpc.streams.signals import Signal, Signals
from tendhost.server.rpc.streams.snapshots import FleetSnapshots
from tendhost.server.store.protocols.commits import CommitStore
from tendhost.server.store.protocols.events import EventLog
from tendhost.server.store.protocols.hosts import FleetStore, HostStore
from tendhost.server.store.records import Touched

logger = logging.getLogger(__name__)

GATHERING = timedelta(milliseconds=5)
"""Under load streams are woken no more often than this: a message costs as much as many events."""
BOOKMARK_INTERVAL = timedelta(seconds=5)
"""A quiet stream hears of the revision it has reached at least this often."""
LONGEST_WAIT = timedelta(seconds=10)
"""Whoever waits for a change looks at what is stored at least this often, whatever became of the signal."""
PAGE = 512
SHARED_PAGES = 64
EVERYTHING = HostFilter()


class FeedStore(CommitStore, EventLog, FleetStore, HostStore, Protocol):
    """Events and hosts, and the news of both."""


class EventFeed:
    """What every stream of this server reads from."""

    def __init__(self, store: FeedStore) -> None:
        self._store = store
        self._news = asyncio.Event()
        self._revision = 0
        self._pages: OrderedDict[int, EventPage] = OrderedDict()
        self._closed = asyncio.Event()
        self._followers = Signals()
        self._membership = SelectionMembership(store)
        self.snapshots = FleetSnapshots(store)
        self.quiet = False
        """Whether the last wake-up was for want of news: then streams say where they are."""

    async def run(self) -> None:
        """Keep waking the streams, at every commit and every BOOKMARK_INTERVAL, until cancelled."""
        stop_listening = self._store.listen(self._hear)
        try:
            self._revision = (await self._store.log_bounds()).current
            while True:
                await retry_while_unavailable(
                    self._wake_once,
                    sleep=self._pause,
                    logger=logger,
                    waiting="streams wait for the store",
                    pause=LONGEST_WAIT,
                )
        finally:
            stop_listening()

    async def _wake_once(self) -> None:
        reached = await self._store.wait_beyond(self._revision, timeout=BOOKMARK_INTERVAL)
        self.quiet = reached == self._revision
        self._revision = reached
        self._announce()
        # An event that comes alone is told at once; those that follow on its heels, together.
        await self._pause(GATHERING)

    async def _pause(self, time: timedelta) -> None:
        await wait_for(self._closed.wait(), timeout=time)

    def close(self) -> None:
        """Have every stream say where it is and end."""
        self._closed.set()
        self._announce()
        self._followers.call_all()

    def _announce(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def news(self, revision: int) -> None:
        """Return once there is anything beyond `revision`, or it is time for a bookmark.

        After LONGEST_WAIT in any case: then there is something to read, or there is not.
        """
        if self._revision <= revision and not self.closing:
            await wait_for(self._news.wait(), timeout=LONGEST_WAIT)

    @property
    def closing(self) -> bool:
        """Whether streams are to say where they are and end."""
        return self._closed.is_set()

    def beyond(self, revision: int) -> bool:
        """Whether there is anything beyond `revision`."""
        return self._revision > revision

    async def batch(self, after: int, selection: HostFilter = EVERYTHING) -> Batch:
        """The next events after `after` that concern the selected hosts, encoded once for all streams.

        Its revision is `after` where nothing follows. Raises CursorCompacted.
        """
        page = await self._page(after)
        if page is None:
            return Batch(b"", after)
        version = 0 if selection.is_of_names else self._membership.version
        known = page.batches.get(selection)
        if known is not None and known[1] == version:
            return known[0]
        if selection == EVERYTHING:
            batch = page.whole()
        else:
            batch = page.of_hosts(await self._membership.selected(page.hosts, selection))
        page.batches[selection] = batch, version
        return batch

    async def _page(self, after: int) -> EventPage | None:
        known = self._pages.get(after)
        if known is not None:
            return known
        # Pages end at the same revisions wherever they begin, so that streams come to share them.
        events = await self._store.events(after=after, limit=PAGE - after % PAGE)
        if not events:
            return None
        if events[0].revision > after + 1:
            # Revisions have no gaps: a stream that fell behind would miss something silently.
            bounds = await self._store.log_bounds()
            raise CursorCompacted(cursor=after, oldest=bounds.oldest, current=bounds.current)
        self._pages[after] = page = EventPage(events)
        if len(self._pages) > SHARED_PAGES:
            self._pages.popitem(last=False)
        return page

    def changes_of(self, id: str) -> AbstractContextManager[Signal]:
        """A signal that is called when the operation or the rollout of this id was stored anew."""
        return self._followers.subscribed(id)

    async def called(self, signal: Signal) -> None:
        """Return once `signal` was called, and after LONGEST_WAIT in any case.

        Raises ServerStopping.
        """
        if not self.closing:
            await wait_for(signal.wait(), timeout=LONGEST_WAIT)
        if self.closing:
            raise ServerStopping

    def _hear(self, touched: Touched) -> None:
        self._membership.hear(touched)
        self.snapshots.hear(touched)
        self._followers.call((*touched.operations, *touched.rollouts))
