"""The store on SQLite: one writer, readers of their own, and the newest events in memory.

Rows that are found by their key are read on the event loop: a look-up takes less time than handing it
to a thread, and in WAL mode it waits for nobody. Lists and everything else whose size is not known go
to the readers' threads.
"""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from tendhost.server.clock import wait_for
from tendhost.server.domain.clock_trust import ClockTrust
from tendhost.server.domain.events import Event
from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.hosts.host import MOST_DUPLICATES, Duplicate, Host, most_alike
from tendhost.server.domain.hosts.selection import HostFilter, SavedSelection, is_glob
from tendhost.server.domain.hosts.unmatched import KnownNames
from tendhost.server.domain.notifications.notices import NotificationCursor
from tendhost.server.domain.operations.operation import Operation, OperationStatus
from tendhost.server.domain.request_errors import (
    HostNotFound,
    InventoryNotFound,
    OperationNotFound,
    PlanNotFound,
    RolloutNotFound,
    ScheduleNotFound,
    SelectionNotFound,
    StoreUnavailable,
)
from tendhost.server.domain.rollouts.budgets import NAMED, Usage
from tendhost.server.domain.rollouts.plan import (
    HostSummary,
    PlanOutline,
    PlanPart,
    RolloutPlan,
    plan_of,
)
from tendhost.server.domain.rollouts.rollout import (
    Member,
    MemberStatus,
    Rollout,
    RolloutStatus,
    Wave,
)
from tendhost.server.domain.schedules.schedule import Schedule
from tendhost.server.store import apply_change, host_sql, host_summaries, parts, rows, sql
from tendhost.server.store.database import LOG_ID, open_for_reading, open_for_writing, take_lock
from tendhost.server.store.event_cache import RecentEvents
from tendhost.server.store.records import (
    Change,
    Committed,
    HostCursor,
    HostPending,
    HostsPart,
    InventoryRecord,
    LogBounds,
    LogChunk,
    Page,
    RolloutCursor,
    RolloutView,
    Touched,
    Unreadable,
)
from tendhost.server.store.writer import Writer

T = TypeVar("T")

READERS = 4
SURVEYED_AT_ONCE = 200
"""Hosts that a survey reads in one go."""
ALL_PARTS = 2**31
"""More than any plan has."""


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


class SqliteStore:
    """See Store, whose every method has its meaning there."""

    def __init__(self, path: Path, database: sqlite3.Connection, lock: int) -> None:
        self._path = path
        self._lock = lock
        (self._log_id,) = database.execute(sql.GET_META, (LOG_ID,)).fetchone()
        (revision,) = database.execute(sql.CURRENT_REVISION).fetchone()
        self._recent = RecentEvents(revision)
        self._pruned_to = apply_change.pruned_to(database)
        self._listeners: list[Callable[[Touched], None]] = []
        self._direct = open_for_reading(path)
        self._threads = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._surveyor = ThreadPoolExecutor(1, thread_name_prefix="store-surveyor")
        self._unusable = asyncio.Event()
        self._writer = Writer(
            database, self._committed, name=str(path), when_unusable=self._unusable.set
        )

    # --- writing ----------------------------------------------------------------------------------

    async def commit(self, change: Change) -> Committed:
        written = await self._writer.submit(lambda database: apply_change.write(database, change))
        return written.committed

    async def prune(
        self, *, before: datetime, now: datetime, requests_before: int, keep_events: int
    ) -> int:
        def work(database: sqlite3.Connection) -> apply_change.Pruned:
            return apply_change.prune(
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
        if events:
            self._recent.extend(events)
        for result in results:
            if isinstance(result, apply_change.Written):
                for listener in self._listeners:
                    listener(result.touched)

    # --- hosts ------------------------------------------------------------------------------------

    async def host(self, name: str) -> Host:
        found = await self.find_host(name)
        if found is None:
            raise HostNotFound(host=name)
        return found

    async def find_host(self, name: str) -> Host | None:
        text = self._one(sql.GET_HOST, name)
        return None if text is None else rows.host_of(text)

    async def hosts(self, selection: HostFilter, *, after: str = "", limit: int) -> Page[Host]:
        def work(database: sqlite3.Connection) -> Page[Host]:
            found: list[Host | Unreadable] = []
            position = after
            while True:
                text, values = host_sql.select_hosts(selection, after=position, limit=limit + 1)
                part = database.execute(text, values).fetchall()
                # By name first: where a pattern fits few hosts, only those are decoded.
                named = (
                    rows.row_of(rows.host_of, document, name)
                    for document, name in part
                    if selection.may_match(name)
                )
                # Whether an unreadable host matches is not known: it is part of the page.
                found.extend(
                    host
                    for host in named
                    if isinstance(host, Unreadable) or selection.matches(host)
                )
                if len(found) > limit or len(part) <= limit:
                    return Page(rows=tuple(found[:limit]), more=len(found) > limit)
                position = part[-1][1]

        return await self._read(work)

    async def count_hosts(self) -> int:
        return self._count("host", "")

    async def groups(self) -> Sequence[tuple[str, int]]:
        return await self._label_counts("group")

    async def tags(self) -> Sequence[tuple[str, int]]:
        return await self._label_counts("tag")

    async def _label_counts(self, kind: str) -> Sequence[tuple[str, int]]:
        return await self._read(
            lambda database: database.execute(sql.GET_COUNTS, (kind,)).fetchall()
        )

    def _count(self, kind: str, name: str) -> int:
        count: int | None = self._one(sql.GET_COUNT, kind, name)
        return count or 0

    async def known_names(self, selection: HostFilter) -> KnownNames:
        names = (*selection.names, *selection.exclude_hosts)
        tags = (*selection.all_tags, *selection.any_tags)

        def work(database: sqlite3.Connection) -> KnownNames:
            def found(text: str, wanted: Sequence[str]) -> frozenset[str]:
                rows = (database.execute(text, (name,)).fetchone() for name in wanted)
                return frozenset(row[0] for row in rows if row is not None)

            if any(map(is_glob, names)):
                hosts = frozenset(name for (name,) in database.execute(sql.HOST_NAMES))
            else:
                hosts = found(sql.HAS_HOST, names)
            return KnownNames(
                names=hosts,
                tags=found(sql.HAS_TAG, tags),
                groups=found(sql.HAS_GROUP, selection.groups),
            )

        return await self._read(work)

    async def inventory(self, host: str) -> InventoryRecord:
        row = self._row(sql.GET_INVENTORY, host)
        if row is None:
            await self.host(host)
            raise InventoryNotFound(host=host)
        return rows.inventory_of(host, row)

    async def hosts_part(
        self, selection: HostFilter, *, after: str, limit: int, size: int
    ) -> HostsPart:
        return await self._read(
            lambda database: parts.hosts_part(
                database, selection, after=after, limit=limit, size=size
            )
        )

    async def changed_hosts(
        self, selection: HostFilter, *, after: HostCursor, limit: int, size: int
    ) -> HostsPart:
        return await self._read(
            lambda database: parts.changed_hosts(
                database, selection, after=after, limit=limit, size=size
            )
        )

    # --- operations -------------------------------------------------------------------------------

    async def operation(self, id: str) -> Operation:
        found = await self.find_operation(id)
        if found is None:
            raise OperationNotFound(operation=id)
        return found

    async def find_operation(self, id: str) -> Operation | None:
        text = self._one(sql.GET_OPERATION, id)
        return None if text is None else rows.operation_of(text)

    async def operations(
        self,
        *,
        host: str = "",
        rollout: str = "",
        statuses: Sequence[OperationStatus] = (),
        before: str = "",
        limit: int,
    ) -> Page[Operation]:
        text, values = sql.select_operations(
            host=host,
            rollout=rollout,
            statuses=statuses,
            before=before,
            limit=limit + 1,
        )
        return await self._page(text, values, rows.operation_of, limit)

    async def running_operation(self, host: str) -> Operation | None:
        text = self._one(sql.RUNNING_OPERATION, host)
        return None if text is None else rows.operation_of(text)

    async def next_queued(self, host: str) -> Operation | None:
        text = self._one(sql.NEXT_QUEUED, host)
        return None if text is None else rows.operation_of(text)

    async def unfinished_operations(self) -> Sequence[Operation]:
        return await self._all(sql.UNFINISHED_OPERATIONS, (), rows.operation_of)

    async def log(self, operation: str, *, offset: int, limit: int) -> LogChunk:
        def work(database: sqlite3.Connection) -> LogChunk:
            begin, found = offset, bytearray()
            for position, data in database.execute(sql.GET_LOG, (operation, offset)):
                wanted = data[max(0, offset - position) :]
                if found and position > begin + len(found):
                    break  # what lies between was left out
                if wanted and not found:
                    begin = max(position, offset)
                found += wanted
                if len(found) >= limit:
                    break
            return LogChunk(operation=operation, offset=begin, data=bytes(found[:limit]))

        return await self._read(work)

    # --- rollouts ---------------------------------------------------------------------------------

    async def rollout(self, id: str) -> Rollout:
        found = await self.find_rollout(id)
        if found is None:
            raise RolloutNotFound(rollout=id)
        return found

    async def find_rollout(self, id: str) -> Rollout | None:
        text = self._one(sql.GET_ROLLOUT, id)
        return None if text is None else rows.rollout_of(text)

    async def rollouts(
        self, *, statuses: Sequence[RolloutStatus] = (), before: str = "", limit: int
    ) -> Page[Rollout]:
        text, values = sql.select_rollouts(
            statuses=map(str, statuses), before=before, limit=limit + 1
        )
        return await self._page(text, values, rows.rollout_of, limit)

    async def rollout_view(
        self, id: str, *, after: RolloutCursor, limit: int, size: int
    ) -> RolloutView:
        return await self._read(
            lambda database: parts.rollout_view(database, id, after=after, limit=limit, size=size)
        )

    async def wave(self, rollout: str, number: int) -> Wave:
        text = self._one(sql.GET_WAVES, rollout, number, number)
        if text is None:
            raise RolloutNotFound(rollout=rollout)
        return rows.wave_of(text)

    async def waves(self, rollout: str, *, first: int, last: int) -> Sequence[Wave]:
        return await self._all(sql.GET_WAVES, (rollout, first, last), rows.wave_of)

    async def member(self, rollout: str, host: str) -> Member | None:
        text = self._one(sql.GET_MEMBER, rollout, host)
        return None if text is None else rows.member_of(text)

    async def memberships(self, host: str, *, limit: int) -> Sequence[tuple[Member, int]]:
        def work(database: sqlite3.Connection) -> Sequence[tuple[Member, int]]:
            found = database.execute(sql.PLACES_OF_HOST, (host, limit))
            return [(rows.member_of(text), revision) for text, revision in found]

        return await self._read(work)

    async def members(
        self,
        rollout: str,
        *,
        wave: int | None = None,
        statuses: Sequence[MemberStatus] = (),
        after: int = -1,
        limit: int,
    ) -> Page[Member]:
        text, values = sql.select_members(
            rollout, wave=wave, statuses=map(str, statuses), after=after, limit=limit + 1
        )
        return await self._page(text, values, rows.member_of, limit)

    async def startable(
        self, rollout: str, wave: int, *, now: datetime, blocked: Sequence[str], limit: int
    ) -> Sequence[Member]:
        text, values = sql.select_startable(
            rollout, wave, now=rows.instant(now), blocked=blocked, limit=limit
        )
        return await self._all(text, values, rows.member_of)

    async def blocked_by(self, rollout: str, wave: int) -> Sequence[str]:
        return await self._all(sql.BLOCKED_BY, (rollout, wave), str)

    async def next_opening(self, rollout: str, wave: int) -> datetime | None:
        at = self._one(sql.NEXT_OPENING, rollout, wave)
        return None if at is None else rows.at_instant(at)

    async def usage(self, scope: str, *, failed_since: datetime | None = None) -> Usage:
        def work(database: sqlite3.Connection) -> Usage:
            kind = "tag" if scope else "host"
            hosts = database.execute(sql.GET_COUNT, (kind, scope)).fetchone()
            values = (scope, "" if failed_since is None else failed_since.isoformat())
            named = database.execute(sql.FAILED_NAMES, (*values, NAMED)).fetchall()
            return Usage(
                down=database.execute(sql.DOWN, values).fetchone()[0],
                hosts=hosts[0] if hosts else 0,
                failed=tuple(name for (name,) in named),
                failed_count=database.execute(sql.FAILED_OF_SCOPE, values).fetchone()[0],
            )

        return await self._read(work)

    async def duplicates(self, host: Host) -> tuple[Duplicate, ...]:
        mine = (host.host_key, host.config.endpoint, host.status.machine_id)
        statements = (sql.ALIKE_BY_HOST_KEY, sql.ALIKE_BY_ENDPOINT, sql.ALIKE_BY_MACHINE_ID)

        def work(database: sqlite3.Connection) -> tuple[Duplicate, ...]:
            found = [
                row
                for statement, value in zip(statements, mine, strict=True)
                if value
                for row in database.execute(statement, (value, host.name, MOST_DUPLICATES))
            ]
            return most_alike(
                Duplicate(
                    host=name,
                    host_key=key == mine[0],
                    address=endpoint == mine[1],
                    machine_id=machine_id == mine[2] != "",
                )
                for name, key, endpoint, machine_id in found
            )

        return await self._read(work)

    async def busy_hosts(self) -> frozenset[str]:
        return frozenset(await self._all(sql.RUNNING_HOSTS, (), str))

    async def survey(self, read: Callable[[Iterable[HostSummary]], T]) -> T:
        def work(database: sqlite3.Connection) -> T:
            fleet = (
                host_summaries.host_summary_of(row[0]) for row in database.execute(sql.ALL_HOSTS)
            )
            return read(fleet)

        return await self._read(work, self._surveyor)

    async def survey_pending(
        self, selection: HostFilter, read: Callable[[Iterable[HostPending]], T]
    ) -> T:
        return await self._read(
            lambda database: read(_pending(database, selection)), self._surveyor
        )

    async def save_plan(self, plan: RolloutPlan) -> None:
        await self._writer.submit(lambda database: apply_change.save_plan(database, plan))

    async def plan(self, id: str) -> RolloutPlan:
        def work(database: sqlite3.Connection) -> RolloutPlan:
            parts = database.execute(sql.GET_PLAN_PARTS, (id, 0, ALL_PARTS))
            return plan_of(_outline(database, id), (rows.plan_part_of(text) for (text,) in parts))

        return await self._read(work, self._surveyor)

    async def plan_page(self, id: str, *, first: int, last: int) -> tuple[PlanOutline, PlanPart]:
        def work(database: sqlite3.Connection) -> tuple[PlanOutline, PlanPart]:
            numbers = (
                first // apply_change.PLAN_PART,
                max(first, last - 1) // apply_change.PLAN_PART,
            )
            texts = database.execute(sql.GET_PLAN_PARTS, (id, *numbers))
            outline = _outline(database, id)
            found = plan_of(outline, (rows.plan_part_of(text) for (text,) in texts))
            before = numbers[0] * apply_change.PLAN_PART
            return outline, found.whole.cut(first - before, last - before)

        return await self._read(work)

    # --- saved selections -------------------------------------------------------------------------

    async def selection(self, name: str) -> SavedSelection:
        text = self._one(sql.GET_SELECTION, name)
        if text is None:
            raise SelectionNotFound(selection=name)
        return rows.selection_of(text)

    async def selections(self, *, after: str = "", limit: int) -> Page[SavedSelection]:
        return await self._page(sql.GET_SELECTIONS, (after, limit + 1), rows.selection_of, limit)

    # --- schedules and defaults ---------------------------------------------------------------------

    async def schedule(self, name: str) -> Schedule:
        text = self._one(sql.GET_SCHEDULE, name)
        if text is None:
            raise ScheduleNotFound(schedule=name)
        return rows.schedule_of(text)

    async def schedules(self, *, after: str = "", limit: int) -> Page[Schedule]:
        return await self._page(sql.GET_SCHEDULES, (after, limit + 1), rows.schedule_of, limit)

    async def due_schedules(self, now: datetime, *, limit: int) -> Sequence[Schedule]:
        return await self._all(sql.DUE_SCHEDULES, (rows.instant(now), limit), rows.schedule_of)

    async def next_due(self) -> datetime | None:
        at = self._one(sql.NEXT_DUE)
        return None if at is None else rows.at_instant(at)

    async def group_policies(self) -> Sequence[GroupPolicy]:
        return await self._all(sql.ALL_GROUP_POLICIES, (), rows.group_policy_of)

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

    async def wait_beyond(self, revision: int, *, timeout: timedelta) -> int:
        reached = await self._recent.wait_beyond(revision, timeout)
        if reached <= revision:
            # No signal is relied on: what is stored is looked at before the time is said to be over.
            self._recent.reach(self._one(sql.CURRENT_REVISION))
        return self._recent.revision

    def listen(self, listener: Callable[[Touched], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def clock_trust(self) -> ClockTrust | None:
        with self._errors_translated():
            return apply_change.clock_trust(self._direct)

    async def save_clock_trust(self, trust: ClockTrust) -> None:
        await self._writer.submit(lambda database: apply_change.save_clock_trust(database, trust))

    async def until_unusable(self, *, timeout: timedelta) -> bool:
        await wait_for(self._unusable.wait(), timeout=timeout)
        return self._unusable.is_set()

    async def probe(self) -> None:
        self._unusable.clear()
        await self._writer.submit(lambda database: database.execute(sql.TOUCH_COUNTER).rowcount)
        await self._read(lambda database: database.execute(sql.CURRENT_REVISION).fetchone())

    async def restored_from(self) -> datetime | None:
        with self._errors_translated():
            return apply_change.restored_from(self._direct)

    # --- inside -----------------------------------------------------------------------------------

    async def aclose(self) -> None:
        await self._writer.aclose()
        for threads in (self._readers, self._surveyor):
            await asyncio.to_thread(threads.shutdown)
        for database in (self._direct, *self._opened):
            database.close()
        os.close(self._lock)

    def _one(self, text: str, *values: object) -> Any:
        row = self._row(text, *values)
        return None if row is None else row[0]

    def _row(self, text: str, *values: object) -> Any:
        with self._errors_translated():
            return self._direct.execute(text, values).fetchone()

    async def _all(
        self, text: str, values: Sequence[object], decode: Callable[[str], T]
    ) -> Sequence[T]:
        def work(database: sqlite3.Connection) -> Sequence[T]:
            return [decode(row[0]) for row in database.execute(text, tuple(values))]

        return await self._read(work)

    async def _page(
        self, text: str, values: Sequence[object], decode: Callable[[str], T], limit: int
    ) -> Page[T]:
        def work(database: sqlite3.Connection) -> Page[T]:
            found = [
                rows.row_of(decode, document, str(key[0]), str(key[-1]))
                for document, *key in database.execute(text, tuple(values))
            ]
            return Page(rows=tuple(found[:limit]), more=len(found) > limit)

        return await self._read(work)

    async def _read(
        self, work: Callable[[sqlite3.Connection], T], threads: ThreadPoolExecutor | None = None
    ) -> T:
        def on_thread() -> T:
            database = getattr(self._threads, "database", None)
            if database is None:
                database = self._threads.database = open_for_reading(self._path)
                self._opened.append(database)
            return work(database)

        with self._errors_translated():
            return await asyncio.get_running_loop().run_in_executor(
                threads or self._readers, on_thread
            )

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._unusable.set()
            raise StoreUnavailable(cause=f"{self._path}: {error}") from error


def _outline(database: sqlite3.Connection, id: str) -> PlanOutline:
    row = database.execute(sql.GET_PLAN, (id,)).fetchone()
    if row is None:
        raise PlanNotFound(plan=id)
    return rows.plan_outline_of(row[0])


def _pending(database: sqlite3.Connection, selection: HostFilter) -> Iterator[HostPending]:
    position = ""
    while True:
        text, values = host_sql.select_pending(selection, after=position, limit=SURVEYED_AT_ONCE)
        part = database.execute(text, values).fetchall()
        for document, name, pending in part:
            if not selection.may_match(name):
                continue
            host = rows.row_of(rows.host_of, document, name)
            if isinstance(host, Unreadable) or selection.matches(host):
                # What cannot be read is not known, like what was never asked.
                known = rows.row_of(rows.pending_of, pending, name)
                known = None if isinstance(known, Unreadable) else known
                yield HostPending(host=name, pending=known)
        if len(part) < SURVEYED_AT_ONCE:
            return
        position = part[-1][1]
