"""Notifications: a worker for each target reads the event log at its own pace and sends messages.

The cursor of a target is stored after a message was delivered or has failed for good. A server that is
killed between the two sends that one message again, and misses none.
"""

import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from tendhost.server.clock import Clock
from tendhost.server.domain.notifications.notices import (
    OF_THE_SERVER,
    FollowedRollouts,
    Notice,
    NotificationCursor,
    noticed,
    pruned,
)
from tendhost.server.domain.notifications.rate_limit import RateLimit
from tendhost.server.domain.notifications.target import NotifyTarget
from tendhost.server.domain.notifications.templates import Message, WaitingNotices
from tendhost.server.domain.operations.backoff import Backoff
from tendhost.server.engine.duties import Duties, HeldDuty
from tendhost.server.engine.tasks import running
from tendhost.server.engine.waiting import retry_while_unavailable, sleep_until_done
from tendhost.server.outbound.apprise import NotDelivered, NotificationSender
from tendhost.server.store.paging import every_host
from tendhost.server.store.protocols.events import EventLog, NotificationCursors
from tendhost.server.store.protocols.hosts import HostStore
from tendhost.server.store.protocols.rollouts import RolloutStore
from tendhost.server.store.records import LeaseLost

logger = logging.getLogger(__name__)

PAGE = 512
LONGEST_QUIET = timedelta(minutes=1)
"""Longest time after which a cursor that has moved without a message is stored."""
UNSTORED = 5000
"""Number of events without a message after which the cursor is stored at the latest."""
FAULT_PAUSE = timedelta(minutes=1)
"""Pause of a worker after an unexpected fault."""
RETRY_FAULTS = 6
"""Number of unexpected faults after which the worker skips the event that causes them."""
RETRY = Backoff(first=timedelta(seconds=5), longest=timedelta(minutes=10), attempts=10)
"""For a message that is not delivered: ten attempts take about half an hour."""
MATCHES_KEPT = 256
"""Rollouts for which a worker remembers whether the target selects one of their hosts."""


class NotificationStore(EventLog, NotificationCursors, HostStore, RolloutStore, Protocol):
    """Events, how far they were read, and what they are about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatus:
    """Deliveries to one target since the server started."""

    name: str
    delivered: int = 0
    """Number of messages delivered; a summary counts as one."""
    retried: int = 0
    undelivered: int = 0
    """Number of messages that did not reach every service of the target in all attempts."""
    waiting: int = 0
    """Number of notices that wait for the rate limit now."""
    revision: int = 0
    """Revision up to which every event has been handled."""
    problem: str = ""
    """Problem of the latest attempt; empty: it succeeded."""
    problem_at: datetime | None = None
    delivered_at: datetime | None = None


class NotificationWorker:
    """Sends notifications to one target."""

    def __init__(
        self,
        target: NotifyTarget,
        sender: NotificationSender,
        *,
        store: NotificationStore,
        clock: Clock,
    ) -> None:
        self._target = target
        self._sender = sender
        self._store = store
        self._clock = clock
        self._duty: HeldDuty | None = None
        """None: it does not run."""
        self._limit = RateLimit(per_minute=target.per_minute)
        self._waiting = WaitingNotices()
        self._urgent = WaitingNotices()
        """Those of the waiting notices that go before the others."""
        self._urgent_keys: tuple[str, ...] = ()
        self._cursor = NotificationCursor(revision=0)
        """The cursor as it is stored."""
        self._matches: dict[str, bool] = {}
        self._at = 0
        """Revision of the event in work; 0: none is."""
        self._faults: dict[int, int] = {}
        """Number of unexpected faults that an event has caused, by its revision."""
        self.status = DeliveryStatus(name=target.name)

    async def run(self, duty: HeldDuty) -> None:
        """Send notifications until cancelled. Raises LeaseLost where another replica does it."""
        self._duty = duty
        while True:
            try:
                await self._retry_while_unavailable(self._follow, "notifications wait")
            except LeaseLost:
                raise
            except Exception:
                logger.exception("notifications failed", extra={"target": self._target.name})
                self._note(problem="an unexpected fault; see the server's log")
                self._count_fault()
                await self._clock.sleep(FAULT_PAUSE)

    def _count_fault(self) -> None:
        """Count a fault of the event in work; after RETRY_FAULTS it is skipped until the server restarts."""
        if self._at == 0:
            return
        self._faults[self._at] = self._faults.get(self._at, 0) + 1
        if self._faults[self._at] == RETRY_FAULTS:
            fields = {"target": self._target.name, "revision": self._at}
            logger.error("an event was skipped: it caused a fault each time", extra=fields)
            self._note(undelivered=self.status.undelivered + 1)

    # --- the log ----------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Read the log from the stored cursor on."""
        self._at = 0
        cursor = await self._start_cursor()
        self._waiting, self._urgent, self._urgent_keys = WaitingNotices(), WaitingNotices(), ()
        self._note(waiting=0, revision=cursor.revision)
        while True:
            events = await self._store.events(after=cursor.revision, limit=PAGE)
            first = events[0].revision if events else (await self._store.log_bounds()).oldest
            if first > cursor.revision + 1:
                cursor = await self._skip(cursor, first)
            for event in events:
                if self._faults.get(event.revision, 0) >= RETRY_FAULTS:
                    cursor = replace(cursor, revision=event.revision)
                    continue
                self._at = event.revision
                before = cursor
                following, notices = noticed(cursor.following, event)
                cursor = before.behind(event.revision, following)
                for notice in notices:
                    # An event with several notices is handled with its last one.
                    await self._take(notice, cursor if notice is notices[-1] else before)
            self._at = 0
            await self._flush(cursor)
            if cursor.revision - self._cursor.revision >= UNSTORED:
                await self._store_cursor(cursor)
            if not events:
                await self._wait(cursor)

    async def _start_cursor(self) -> NotificationCursor:
        stored = await self._store.notification_cursor(self._target.name)
        if stored is not None:
            self._cursor = stored
            return stored
        # A new target gets notifications of later events only.
        cursor = NotificationCursor(revision=(await self._store.log_bounds()).current)
        await self._save(cursor)
        return cursor

    async def _skip(self, cursor: NotificationCursor, first: int) -> NotificationCursor:
        """The cursor behind events that were pruned, after a notification about them."""
        following = await self._without_ended(cursor.following)
        gap = pruned(revision=cursor.revision, first=first, at=self._clock.now())
        beyond = cursor.behind(first - 1, following)
        await self._take(gap, beyond)
        return beyond

    async def _without_ended(self, following: FollowedRollouts) -> FollowedRollouts:
        """What to remember of rollouts whose last events may have been pruned."""
        left = {}
        for id, seen in following.rollouts.items():
            rollout = await self._store.find_rollout(id)
            if rollout is not None and not rollout.over:
                left[id] = seen
        return replace(following, rollouts=left, stranded=())

    async def _wait(self, cursor: NotificationCursor) -> None:
        """Wait for the next event, or until the rate limit allows a message."""
        waiting = ((self._waiting, False), (self._urgent, True))
        now = self._clock.elapsed()
        pauses = [self._limit.wait(now, urgent=u) for notices, u in waiting if notices.total]
        if pauses:
            # A new notice may be urgent, so an event ends this sleep, too.
            news = self._store.wait_beyond(cursor.revision, timeout=LONGEST_QUIET)
            await sleep_until_done(self._clock, min(pauses), news)
            return
        reached = await self._store.wait_beyond(cursor.revision, timeout=LONGEST_QUIET)
        if reached == cursor.revision != self._cursor.revision:
            await self._store_cursor(cursor)

    async def _store_cursor(self, cursor: NotificationCursor) -> None:
        """Store the cursor, unless a notice before it still waits."""
        if self._waiting.total or self._urgent.total:
            return
        # To read on from the stored cursor would send it again, over and over while a disk is full.
        await self._retry_while_unavailable(
            lambda: self._save(cursor), "the cursor of notifications was not stored"
        )
        self._note(revision=cursor.revision)

    async def _store_sent_ahead(self, keys: tuple[str, ...]) -> None:
        """Store that these notices were sent before others, so that the next server does not repeat them."""
        cursor = replace(self._cursor, sent_ahead=(*self._cursor.sent_ahead, *keys))
        await self._retry_while_unavailable(
            lambda: self._save(cursor), "the cursor of notifications was not stored"
        )

    async def _save(self, cursor: NotificationCursor) -> None:
        assert self._duty is not None, "only a worker that runs stores its cursor"
        await self._store.save_notification_cursor(self._target.name, cursor, held=self._duty.held)
        self._cursor = cursor

    # --- messages ---------------------------------------------------------------------------------

    async def _take(self, notice: Notice, cursor: NotificationCursor) -> None:
        """Send a notice, or keep it for the next summary."""
        if not self._target.wants(notice) or not await self._concerns(notice):
            return
        if notice.key in self._cursor.sent_ahead:
            return
        if notice.urgent:
            self._urgent = self._urgent.with_(notice)
            self._urgent_keys = (*self._urgent_keys, notice.key)
            # Of the notices of one event the cursor is behind the last one only.
            await self._flush_urgent(cursor)
        elif not self._waiting.total and not self._limit.wait(self._clock.elapsed(), urgent=False):
            await self._send(self._target.message(notice), cursor)
        else:
            self._waiting = self._waiting.with_(notice)
        self._note(waiting=self._waiting.total + self._urgent.total)

    async def _flush(self, cursor: NotificationCursor) -> None:
        """Send the waiting notices, urgent ones first, as far as the rate limit allows."""
        await self._flush_urgent(cursor)
        waiting = self._waiting
        if waiting.total and not self._limit.wait(self._clock.elapsed(), urgent=False):
            self._waiting = WaitingNotices()
            await self._send(self._message(waiting), cursor)
        self._note(waiting=self._waiting.total + self._urgent.total)

    async def _flush_urgent(self, cursor: NotificationCursor) -> None:
        urgent, keys = self._urgent, self._urgent_keys
        if urgent.total and not self._limit.wait(self._clock.elapsed(), urgent=True):
            self._urgent, self._urgent_keys = WaitingNotices(), ()
            await self._send(self._message(urgent), cursor, ahead=keys)

    def _message(self, waiting: WaitingNotices) -> Message:
        alone = waiting.total == 1
        return self._target.message(waiting.first[0]) if alone else waiting.message()

    async def _send(
        self, message: Message, cursor: NotificationCursor, *, ahead: tuple[str, ...] = ()
    ) -> None:
        """Deliver a message, and store the cursor behind it, or, while others wait, what was sent `ahead`."""
        await self._deliver(message)
        self._limit = self._limit.after(self._clock.elapsed())
        if ahead and self._waiting.total:
            await self._store_sent_ahead(ahead)
        await self._store_cursor(cursor)

    async def _deliver(self, message: Message) -> None:
        """Deliver the message, with up to RETRY.attempts attempts."""
        reached: set[int] = set()
        attempt = 1
        assert self._duty is not None, "only a worker that runs sends messages"
        while True:
            self._duty.require()
            try:
                await self._sender.send(message, reached)
            except NotDelivered as error:
                pause = RETRY.pause(attempt, random.random())  # noqa: S311
                self._failed(message, error, attempt, pause)
                if pause is None:
                    return
            else:
                delivered = self.status.delivered + 1
                self._note(delivered=delivered, problem="", delivered_at=self._clock.now())
                return
            await self._clock.sleep(pause)
            attempt += 1

    def _failed(
        self, message: Message, error: NotDelivered, attempt: int, pause: timedelta | None
    ) -> None:
        fields = {"target": self._target.name, "title": message.title, "cause": str(error)}
        self._note(problem=str(error), problem_at=self._clock.now())
        if pause is None:
            logger.error("a notification was not delivered", extra={**fields, "attempts": attempt})
            self._note(undelivered=self.status.undelivered + 1)
            return
        logger.warning("a notification is retried", extra={**fields, "attempt": attempt})
        self._note(retried=self.status.retried + 1)

    async def _retry_while_unavailable(
        self, work: Callable[[], Awaitable[None]], waiting: str
    ) -> None:
        await retry_while_unavailable(
            work,
            sleep=self._clock.sleep,
            logger=logger,
            waiting=waiting,
            target=self._target.name,
        )

    def _note(self, **changed: object) -> None:
        self.status = replace(self.status, **changed)  # type: ignore[arg-type]

    # --- filters -------------------------------------------------------------------------

    async def _concerns(self, notice: Notice) -> bool:
        """Whether a notice is about a host that the target selects."""
        selection = self._target.selection
        if selection is None or notice.kind in OF_THE_SERVER:
            return True
        if notice.host:
            host = await self._store.find_host(notice.host)
            # The tags of a removed host are unknown: rather one message too many.
            return host is None or selection.matches(host)
        if notice.rollout not in self._matches:
            if len(self._matches) >= MATCHES_KEPT:
                self._matches.pop(next(iter(self._matches)))
            self._matches[notice.rollout] = await self._selects(notice.rollout)
        return self._matches[notice.rollout]

    async def _selects(self, rollout: str) -> bool:
        selection = self._target.selection
        assert selection is not None, "called only for a target with a selection"
        async for host in every_host(self._store, selection):
            if await self._store.member(rollout, host.name) is not None:
                return True
        return False


class Notifier:
    """The workers of all targets."""

    def __init__(
        self,
        targets: Sequence[tuple[NotifyTarget, NotificationSender]],
        *,
        store: NotificationStore,
        duties: Duties,
        clock: Clock,
    ) -> None:
        self._store = store
        self._duties = duties
        self._workers = [
            NotificationWorker(target, sender, store=store, clock=clock)
            for target, sender in targets
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run every worker while the context lasts. A message that is being sent when it ends is sent again
        by the next server."""
        await self._store.retain_notification_cursors(
            [worker.status.name for worker in self._workers]
        )
        async with running(
            self._duties.keep(f"notifications {worker.status.name}", worker.run)
            for worker in self._workers
        ):
            yield

    @property
    def delivery_status(self) -> Sequence[DeliveryStatus]:
        """Deliveries since the server started, target by target."""
        return [worker.status for worker in self._workers]
