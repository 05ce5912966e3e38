"""The store on SQLite: one writer, readers of their own (`reads`), and the newest events in memory."""

import os
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tendhost.server.clock import wait_for
from tendhost.server.domain.access.audit import AuditRecord, Head
from tendhost.server.domain.access.certificate_expiry import ToldExpiries
from tendhost.server.domain.clock_trust import ClockTrust
from tendhost.server.domain.events import Event
from tendhost.server.domain.notifications.notices import NotificationCursor
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.domain.rollouts.plan import RolloutPlan
from tendhost.server.store import apply_change, audit_chain, pruning, rows, sql
from tendhost.server.store.audit_tail import AuditTail
from tendhost.server.store.database import LOG_ID, open_for_writing, take_lock
from tendhost.server.store.event_cache import RecentEvents
from tendhost.server.store.reads.access import AccessReads
from tendhost.server.store.reads.hosts import HostReads
from tendhost.server.store.reads.operations import OperationReads
from tendhost.server.store.reads.policies import PolicyReads
from tendhost.server.store.reads.rollouts import RolloutReads
from tendhost.server.store.reads.scopes import ScopeReads
from tendhost.server.store.records import Change, Committed, LogBounds, Touched
from tendhost.server.store.writer import Writer


async def open_store(path: Path) -> "SqliteStore":
    """The store in the file `path`, which is made if it is not there.

    Raises ConfigurationError (the folder cannot be used) and StoreUnavailable (another server has it,
    it is no database, it is damaged, it is of a newer version).
    """
    with ExitStack() as undo:
        lock = take_lock(path)
        undo.callback(os.close, lock)
        database = open_for_writing(path)
        undo.callback(database.close)
        try:
            store = SqliteStore(path, database, lock)
        except sqlite3.Error as error:
            raise StoreUnavailable(cause=f"{path}: {error}") from error
        undo.pop_all()
        return store


class SqliteStore(HostReads, OperationReads, RolloutReads, PolicyReads, AccessReads, ScopeReads):
    """See Store and the protocols that it is composed of: each method has its meaning there."""

    def __init__(self, path: Path, database: sqlite3.Connection, lock: int) -> None:
        # Before anything else is opened: a damaged database fails here.
        (self._log_id,) = database.execute(sql.GET_META, (LOG_ID,)).fetchone()
        (revision,) = database.execute(sql.CURRENT_REVISION).fetchone()
        super().__init__(path)
        self._lock = lock
        self._recent = RecentEvents(revision)
        self._pruned_to = pruning.pruned_to(database)
        self._audit_tail = AuditTail(audit_chain.last(database).number)
        self._listeners: list[Callable[[Touched], None]] = []
        self._writer = Writer(
            database, self._committed, name=str(path), when_unusable=self._unusable.set
        )

    # --- writes -----------------------------------------------------------------------------------

    async def commit(self, change: Change) -> Committed:
        written = await self._writer.submit(lambda database: apply_change.write(database, change))
        return written.committed

    async def save_plan(self, plan: RolloutPlan) -> None:
        await self._writer.submit(lambda database: apply_change.save_plan(database, plan))

    async def prune(
        self, *, before: datetime, now: datetime, requests_before: int, keep_events: int
    ) -> int:
        def work(database: sqlite3.Connection) -> pruning.Pruned:
            return pruning.prune(
                database,
                before=before,
                now=now,
                requests_before=requests_before,
                keep_events=keep_events,
            )

        dropped, more = 0, True
        while more:
            pruned = await self._writer.submit(work)
            dropped, more = dropped + pruned.rows, pruned.more
            self._pruned_to = pruned.up_to
            self._recent.forget(pruned.up_to)
        return dropped

    def _committed(self, results: Sequence[Any]) -> None:
        events: list[Event] = []
        for result in results:
            if isinstance(result, apply_change.Written):
                events.extend(result.events)
                self._audit_tail.reach(result.audited)
        if events:
            self._recent.extend(events)
        for result in results:
            if isinstance(result, apply_change.Written):
                for listener in self._listeners:
                    listener(result.touched)

    def listen(self, listener: Callable[[Touched], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # --- requests and events ----------------------------------------------------------------------

    async def stored_response(self, request: str, digest: bytes) -> bytes | None:
        with self._errors_translated():
            return apply_change.stored_response(self._direct, request, digest)

    async def log_bounds(self) -> LogBounds:
        return LogBounds(
            log_id=self._log_id, oldest=self._pruned_to + 1, current=self._recent.revision
        )

    async def events(self, *, after: int, limit: int) -> Sequence[Event]:
        newest = self._recent.after(after, limit)
        if newest is not None:
            return newest

        def work(database: sqlite3.Connection) -> Sequence[Event]:
            return [rows.event_of(row) for row in database.execute(sql.GET_EVENTS, (after, limit))]

        return await self._read(work)

    async def wait_beyond(self, revision: int, *, timeout: timedelta) -> int:
        reached = await self._recent.wait_beyond(revision, timeout)
        if reached <= revision:
            # No signal is relied on: what is stored is looked at before the time is said to be over.
            self._recent.reach(self._one(sql.CURRENT_REVISION))
        return self._recent.revision

    async def notification_cursor(self, target: str) -> NotificationCursor | None:
        text = self._one(sql.GET_CURSOR, target)
        return None if text is None else rows.notification_cursor_of(text)

    async def save_notification_cursor(self, target: str, cursor: NotificationCursor) -> None:
        await self._writer.submit(
            lambda database: apply_change.save_notification_cursor(database, target, cursor)
        )

    async def retain_notification_cursors(self, targets: Collection[str]) -> None:
        await self._writer.submit(
            lambda database: apply_change.retain_notification_cursors(database, targets)
        )

    # --- the audit log ----------------------------------------------------------------------------

    async def last_audit(self) -> int:
        return self._audit_tail.number

    async def wait_for_audit(self, number: int, *, timeout: timedelta) -> int:
        reached = await self._audit_tail.wait_beyond(number, timeout)
        if reached <= number:
            # As with events, no signal is relied on.
            with self._errors_translated():
                self._audit_tail.reach(audit_chain.last(self._direct).number)
        return self._audit_tail.number

    async def audit_cursor(self, sink: str) -> Head | None:
        with self._errors_translated():
            return audit_chain.cursor_of(self._direct, sink)

    async def save_audit_cursor(
        self, sink: str, head: Head, *, missed: AuditRecord | None = None
    ) -> None:
        def work(database: sqlite3.Connection) -> apply_change.Written | None:
            audit_chain.save_cursor(database, sink, head)
            if missed is None:
                return None
            return apply_change.write(database, Change(events=(), audit=missed, at=missed.at))

        await self._writer.submit(work)

    async def retain_audit_cursors(self, sinks: Collection[str]) -> None:
        await self._writer.submit(lambda database: audit_chain.retain_cursors(database, sinks))

    # --- maintenance ------------------------------------------------------------------------------

    async def until_unusable(self, *, timeout: timedelta) -> bool:
        await wait_for(self._unusable.wait(), timeout=timeout)
        return self._unusable.is_set()

    async def probe(self) -> None:
        self._unusable.clear()
        await self._writer.submit(lambda database: database.execute(sql.TOUCH_COUNTER).rowcount)
        await self._read(lambda database: database.execute(sql.CURRENT_REVISION).fetchone())

    async def clock_trust(self) -> ClockTrust | None:
        with self._errors_translated():
            return apply_change.clock_trust(self._direct)

    async def save_clock_trust(self, trust: ClockTrust) -> None:
        await self._writer.submit(lambda database: apply_change.save_clock_trust(database, trust))

    async def told_expiries(self) -> ToldExpiries | None:
        with self._errors_translated():
            return apply_change.told_expiries(self._direct)

    async def restored_from(self) -> datetime | None:
        with self._errors_translated():
            return apply_change.restored_from(self._direct)

    async def aclose(self) -> None:
        await self._writer.aclose()
        await self._close()
        os.close(self._lock)
