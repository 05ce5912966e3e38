"""People are told of what happens: each target reads the event log at its own pace, in a task of its own.

A target's place in the log is stored after a message was delivered, or given up. So a server that is
killed between the two tells that one message again, and none is left out.
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
    FollowedRollouts,
    Notice,
    NoticeKind,
    NotificationCursor,
    noticed,
    pruned,
)
from tendhost.server.domain.notifications.rate_limit import RateLimit
from tendhost.server.domain.notifications.target import NotifyTarget
from tendhost.server.domain.notifications.templates import Gathered, Message
from tendhost.server.domain.operations.backoff import Backoff
from tendhost.server.engine.tasks import TaskSet
from tendhost.server.engine.waiting import retry_while_unavailable
from tendhost.server.outbound.apprise import NotDelivered, NotificationSender
from tendhost.server.store.paging import every_host
from tendhost.server.store.protocols.events import EventLog, NotificationCursors
from tendhost.server.store.protocols.hosts import HostStore
from tendhost.server.store.protocols.rollouts import RolloutStore

logger = logging.getLogger(__name__)

PAGE = 512
LONGEST_QUIET = timedelta(minutes=1)
"""A place that has moved without anything told is stored at least this often."""
UNSTORED = 5000
"""A place is stored at the latest after so many events without anything told."""
FAULT_PAUSE = timedelta(minutes=1)
RETRY_FAULTS = 6
"""So often an event is tried that cannot be told for a fault of the server's own."""
RETRY = Backoff(first=timedelta(seconds=5), longest=timedelta(minutes=10), attempts=10)
"""A message is given up after about half an hour."""
MATCHES_KEPT = 256
"""Rollouts of which it is remembered whether the target hears of them."""


class NotificationStore(EventLog, NotificationCursors, HostStore, RolloutStore, Protocol):
    """Events, how far they were read, and what they are about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatus:
    """How notifications to one target go, since the server started."""

    name: str
    delivered: int = 0
    """Messages, a summary being one."""
    retried: int = 0
    given_up: int = 0
    """Messages that reached nobody, or not everybody, in all attempts."""
    gathered: int = 0
    """Notices that wait for the rate limit now."""
    revision: int = 0
    """Everything up to it was told."""
    problem: str = ""
    """What the latest attempt failed with; empty: it went well."""
    problem_at: datetime | None = None
    delivered_at: datetime | None = None


class NotificationWorker:
    """Tells one target."""

    def __init__(
        self,
        target: NotifyTarget,
        announcer: NotificationSender,
        *,
        store: NotificationStore,
        clock: Clock,
    ) -> None:
        self._target = target
        self._announcer = announcer
        self._store = store
        self._clock = clock
        self._limit = RateLimit(per_minute=target.per_minute)
        self._gathered = Gathered()
        self._stored = 0
        self._matches: dict[str, bool] = {}
        self._at = 0
        """The event that is being told; 0: none is."""
        self._faults: dict[int, int] = {}
        """How often an event could not be told for a fault of the server's own, by its revision."""
        self.standing = DeliveryStatus(name=target.name)

    async def run(self) -> None:
        """Tell whatever happens, until cancelled."""
        while True:
            try:
                await self._patiently(self._follow, "notifications wait")
            except Exception:
                logger.exception("notifications stumbled", extra={"target": self._target.name})
                self._note(problem="an unexpected fault; see the server's log")
                self._count_fault()
                await self._clock.sleep(FAULT_PAUSE)

    def _count_fault(self) -> None:
        """Count a fault; an event that has caused so many is passed over, until the next start."""
        if self._at == 0:
            return
        self._faults[self._at] = self._faults.get(self._at, 0) + 1
        if self._faults[self._at] == RETRY_FAULTS:
            fields = {"target": self._target.name, "revision": self._at}
            logger.error("an event is passed over that cannot be told", extra=fields)
            self._note(given_up=self.standing.given_up + 1)

    # --- the log ----------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Read on from the stored place."""
        self._at = 0
        place = await self._begin()
        self._gathered = Gathered()
        self._note(gathered=0, revision=place.revision)
        while True:
            events = await self._store.events(after=place.revision, limit=PAGE)
            first = events[0].revision if events else (await self._store.log_bounds()).oldest
            if first > place.revision + 1:
                place = await self._skip(place, first)
            for event in events:
                if self._faults.get(event.revision, 0) >= RETRY_FAULTS:
                    place = replace(place, revision=event.revision)
                    continue
                self._at = event.revision
                before = place
                following, notices = noticed(place.following, event)
                place = NotificationCursor(revision=event.revision, following=following)
                for notice in notices:
                    # Of an event with several it is passed only with the last.
                    await self._take(notice, place if notice is notices[-1] else before)
            self._at = 0
            await self._flush(place)
            if place.revision - self._stored >= UNSTORED:
                await self._keep(place)
            if not events:
                await self._wait(place)

    async def _begin(self) -> NotificationCursor:
        stored = await self._store.notification_cursor(self._target.name)
        if stored is not None:
            self._stored = stored.revision
            return stored
        # A target that is new hears of what is yet to happen.
        place = NotificationCursor(revision=(await self._store.log_bounds()).current)
        await self._store.save_notification_cursor(self._target.name, place)
        self._stored = place.revision
        return place

    async def _skip(self, place: NotificationCursor, first: int) -> NotificationCursor:
        """The place behind events that are gone, which is told as well."""
        following = await self._without_the_ended(place.following)
        gap = pruned(revision=place.revision, first=first, at=self._clock.now())
        beyond = NotificationCursor(revision=first - 1, following=following)
        await self._take(gap, beyond)
        return beyond

    async def _without_the_ended(self, following: FollowedRollouts) -> FollowedRollouts:
        """What is worth remembering of rollouts whose last events may be gone."""
        left = {}
        for id, seen in following.rollouts.items():
            rollout = await self._store.find_rollout(id)
            if rollout is not None and not rollout.over:
                left[id] = seen
        return replace(following, rollouts=left, stranded=())

    async def _wait(self, place: NotificationCursor) -> None:
        """Until there is news, or the rate limit lets what is gathered go."""
        pause = LONGEST_QUIET
        if self._gathered.total:
            pause = self._limit.wait(self._clock.elapsed())
            # News are gathered too, so that there is nothing to be woken for.
            await self._clock.sleep(pause)
            return
        reached = await self._store.wait_beyond(place.revision, timeout=pause)
        if reached == place.revision != self._stored:
            await self._keep(place)

    async def _keep(self, place: NotificationCursor) -> None:
        """Store the place, unless something before it has not been told."""
        if self._gathered.total:
            return
        # To read on from the stored cursor would send it again, over and over while a disk is full.
        await self._patiently(
            lambda: self._store.save_notification_cursor(self._target.name, place),
            "how far notifications are was not stored",
        )
        self._stored = place.revision
        self._note(revision=place.revision)

    # --- what is told -----------------------------------------------------------------------------

    async def _take(self, notice: Notice, place: NotificationCursor) -> None:
        """Tell a notice, or keep it for the next summary."""
        if not self._target.hears(notice) or not await self._concerns(notice):
            return
        if not self._gathered.total and not self._limit.wait(self._clock.elapsed()):
            await self._tell(self._target.message(notice), place)
            return
        self._gathered = self._gathered.with_(notice)
        self._note(gathered=self._gathered.total)

    async def _flush(self, place: NotificationCursor) -> None:
        """Tell what is gathered, once the rate limit allows."""
        gathered = self._gathered
        if not gathered.total or self._limit.wait(self._clock.elapsed()):
            return
        alone = gathered.total == 1
        message = self._target.message(gathered.first[0]) if alone else gathered.message()
        self._gathered = Gathered()
        await self._tell(message, place)
        self._note(gathered=0)

    async def _tell(self, message: Message, place: NotificationCursor) -> None:
        await self._deliver(message)
        self._limit = self._limit.after(self._clock.elapsed())
        await self._keep(place)

    async def _deliver(self, message: Message) -> None:
        """Have the message delivered, in as many attempts as it may take."""
        reached: set[int] = set()
        attempt = 1
        while True:
            try:
                await self._announcer.send(message, reached)
            except NotDelivered as error:
                pause = RETRY.pause(attempt, random.random())  # noqa: S311
                self._failed(message, error, attempt, pause)
                if pause is None:
                    return
            else:
                delivered = self.standing.delivered + 1
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
            logger.error("a notification was given up", extra={**fields, "attempts": attempt})
            self._note(given_up=self.standing.given_up + 1)
            return
        logger.warning("a notification is tried again", extra={**fields, "attempt": attempt})
        self._note(retried=self.standing.retried + 1)

    async def _patiently(self, work: Callable[[], Awaitable[None]], waiting: str) -> None:
        await retry_while_unavailable(
            work,
            sleep=self._clock.sleep,
            logger=logger,
            waiting=waiting,
            target=self._target.name,
        )

    def _note(self, **changed: object) -> None:
        self.standing = replace(self.standing, **changed)  # type: ignore[arg-type]

    # --- whom it concerns -------------------------------------------------------------------------

    async def _concerns(self, notice: Notice) -> bool:
        """Whether a notice is about a host that the target hears about."""
        selection = self._target.selection
        if selection is None or notice.kind is NoticeKind.EVENTS_PRUNED:
            return True
        if notice.host:
            host = await self._store.find_host(notice.host)
            # What a removed host was is not known any more: rather one message too many.
            return host is None or selection.matches(host)
        if notice.rollout not in self._matches:
            if len(self._matches) >= MATCHES_KEPT:
                self._matches.pop(next(iter(self._matches)))
            self._matches[notice.rollout] = await self._has_selected(notice.rollout)
        return self._matches[notice.rollout]

    async def _has_selected(self, rollout: str) -> bool:
        selection = self._target.selection
        assert selection is not None, "asked only where there is one"
        async for host in every_host(self._store, selection):
            if await self._store.member(rollout, host.name) is not None:
                return True
        return False


class Notifier:
    """Every target of notifications."""

    def __init__(
        self,
        targets: Sequence[tuple[NotifyTarget, NotificationSender]],
        *,
        store: NotificationStore,
        clock: Clock,
    ) -> None:
        self._store = store
        self._tellers = [
            NotificationWorker(target, announcer, store=store, clock=clock)
            for target, announcer in targets
        ]

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Tell every target while the context lasts. What is on its way at its end is told again by the
        next server, for nothing is waited for."""
        await self._store.retain_notification_cursors(
            [teller.standing.name for teller in self._tellers]
        )
        running: TaskSet[None] = TaskSet()
        for teller in self._tellers:
            running.start(teller.run())
        try:
            yield
        finally:
            await running.cancel()

    @property
    def standings(self) -> Sequence[DeliveryStatus]:
        """How notifications go, target by target."""
        return [teller.standing for teller in self._tellers]
