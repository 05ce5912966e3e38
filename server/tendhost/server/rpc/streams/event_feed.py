"""The event log for streams: one reader wakes all of them, and they share the batches of events."""

import asyncio
import logging
from collections import OrderedDict
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Protocol

from tendhost.server.clock import wait_for
from tendhost.server.domain.event_view import EventView
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
"""An idle stream sends the revision that it has reached at least this often."""
LONGEST_WAIT = timedelta(seconds=10)
"""A stream that waits for a change reads what is stored at least this often, with or without a signal."""
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
        self._signals = Signals()
        self._membership = SelectionMembership(store)
        self.snapshots = FleetSnapshots(store, self._membership)
        self.idle = False
        """Whether the last wake-up came without new events: then streams send the revision that they have reached."""

    async def run(self) -> None:
        """Keep waking the streams, at every commit and every BOOKMARK_INTERVAL, until cancelled."""
        stop_listening = self._store.listen(self._on_commit)
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
        self.idle = reached == self._revision
        self._revision = reached
        self._wake_all()
        # An event that comes alone is sent at once; those that follow within GATHERING, together.
        await self._pause(GATHERING)

    async def _pause(self, time: timedelta) -> None:
        await wait_for(self._closed.wait(), timeout=time)

    def close(self) -> None:
        """Have every stream send the revision that it has reached, and end."""
        self._closed.set()
        self._wake_all()
        self._signals.call_all()

    def _wake_all(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def wait_for_news(self, revision: int) -> None:
        """Return once there are events after `revision`, or a bookmark is due, and after LONGEST_WAIT at most."""
        if self._revision <= revision and not self.closing:
            await wait_for(self._news.wait(), timeout=LONGEST_WAIT)

    @property
    def closing(self) -> bool:
        """Whether streams are to send the revision that they have reached, and end."""
        return self._closed.is_set()

    def has_after(self, revision: int) -> bool:
        """Whether there are events after `revision`."""
        return self._revision > revision

    async def batch(self, after: int, wanted: HostFilter | EventView = EVERYTHING) -> Batch:
        """The next events after `after` that concern the selected hosts, encoded once for all streams.

        Its revision is `after` where nothing follows. Raises CursorCompacted.
        """
        page = await self._page(after)
        if page is None:
            return Batch(b"", after)
        of_names = isinstance(wanted, HostFilter) and wanted.is_of_names
        version = 0 if of_names else self._membership.version
        known = page.batches.get(wanted)
        if known is not None and known[1] == version:
            return known[0]
        if isinstance(wanted, EventView):
            batch = await self._seen(page, wanted)
        elif wanted == EVERYTHING:
            batch = page.whole()
        else:
            batch = page.of_hosts(await self._membership.selected(page.hosts, wanted))
        page.batches[wanted] = batch, version
        return batch

    async def _seen(self, page: EventPage, view: EventView) -> Batch:
        inside = set(await self._membership.within(page.mentioned, view.scope.filter))
        selected = set(await self._membership.within(page.hosts & inside, view.asked))
        return page.of_view(view, inside=inside, selected=selected)

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
        """A signal that is called whenever the operation or the rollout with this id is stored."""
        return self._signals.subscribed(id)

    async def wait_for_change(self, signal: Signal) -> None:
        """Return once `signal` is called, and after LONGEST_WAIT at most.

        Raises ServerStopping.
        """
        if not self.closing:
            await wait_for(signal.wait(), timeout=LONGEST_WAIT)
        if self.closing:
            raise ServerStopping

    def _on_commit(self, touched: Touched) -> None:
        self._membership.forget(touched)
        self.snapshots.forget(touched)
        self._signals.call((*touched.operations, *touched.rollouts))
