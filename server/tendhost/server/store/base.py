"""What a store does with either database: writes through one writer, reads, and the newest events in memory."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from tendhost.server.domain.access.audit import AuditRecord, Head
from tendhost.server.domain.access.certificate_expiry import ToldExpiries
from tendhost.server.domain.clock_trust import ClockTrust
from tendhost.server.domain.events import Event
from tendhost.server.domain.leases import Held, LeaseKind, Replica
from tendhost.server.domain.notifications.notices import NotificationCursor
from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.domain.rollouts.plan import RolloutPlan
from tendhost.server.store import apply_change, audit_chain, leases, pruning, rows, sql
from tendhost.server.store.event_cache import RecentEvents
from tendhost.server.store.migrations import LOG_ID, MOVED_TO
from tendhost.server.store.reads.access import AccessReads
from tendhost.server.store.reads.hosts import HostReads
from tendhost.server.store.reads.operations import OperationReads
from tendhost.server.store.reads.policies import PolicyReads
from tendhost.server.store.reads.rollouts import RolloutReads
from tendhost.server.store.reads.scopes import ScopeReads
from tendhost.server.store.records import Change, Committed, LogBounds, Touched
from tendhost.server.store.session import DatabaseSession
from tendhost.server.store.tail import Tail

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Where the logs of a database begin and end."""

    log_id: str
    revision: int
    pruned_to: int
    audited: int


def ends_of(database: DatabaseSession) -> Ends:
    """Where the logs begin and end. Raises StoreUnavailable where everything was moved to another database."""
    moved = database.execute(sql.GET_META, (MOVED_TO,)).fetchone()
    if moved is not None:
        cause = (
            f"everything in this database was moved to {moved[0]}; start the server on that one; if the move did not"
            " come to its end, type the same `tendhostd migrate` again"
        )
        raise StoreUnavailable(cause=cause)
    return Ends(
        log_id=database.execute(sql.GET_META, (LOG_ID,)).fetchone()[0],
        revision=database.execute(sql.CURRENT_REVISION).fetchone()[0],
        pruned_to=pruning.pruned_to(database),
        audited=audit_chain.last(database).number,
    )


class BaseStore(HostReads, OperationReads, RolloutReads, PolicyReads, AccessReads, ScopeReads):
    """See Store and the protocols that it is composed of: each method has its meaning there."""

    def __init__(self, ends: Ends) -> None:
        self._log_id = ends.log_id
        self._recent = RecentEvents(ends.revision)
        self._pruned_to = ends.pruned_to
        self._audit_tail = Tail(ends.audited)
        self._listeners: list[Callable[[Touched], None]] = []

    @abstractmethod
    async def _submit(self, work: Callable[[DatabaseSession], T]) -> T:
        """What `work` returns, run in a transaction that is committed then. See Gathering.submit."""

    # --- writes -----------------------------------------------------------------------------------

    async def commit(self, change: Change) -> Committed:
        written = await self._submit(lambda database: apply_change.write(database, change))
        return written.committed

    async def save_plan(self, plan: RolloutPlan) -> None:
        await self._submit(lambda database: apply_change.save_plan(database, plan))

    async def prune(
        self, *, before: datetime, now: datetime, requests_before: int, keep_events: int
    ) -> int:
        def work(database: DatabaseSession) -> pruning.Pruned:
            return pruning.prune(
                database,
                before=before,
                now=now,
                requests_before=requests_before,
                keep_events=keep_events,
            )

        dropped, more = 0, True
        while more:
            pruned = await self._submit(work)
            dropped, more = dropped + pruned.rows, pruned.more
            self._forget(pruned.up_to)
        return dropped

    def _forget(self, up_to: int) -> None:
        self._pruned_to = up_to
        self._recent.forget(up_to)

    def _committed(self, results: Sequence[Any]) -> None:
        events: list[Event] = []
        for result in results:
            if isinstance(result, apply_change.Written):
                events.extend(result.events)
                self._audit_tail.reach(result.audited)
        if events:
            self._add_events(events)
        for result in results:
            if isinstance(result, apply_change.Written):
                self._tell(result.touched)

    def _add_events(self, events: Sequence[Event]) -> None:
        """Add what this process has committed to the events in memory."""
        self._recent.extend(events)

    def _tell(self, touched: Touched) -> None:
        for listener in self._listeners:
            listener(touched)

    def listen(self, listener: Callable[[Touched], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # --- leases -----------------------------------------------------------------------------------

    async def enter_replica(self, replica: Replica, *, lease: timedelta | None) -> None:
        await self._submit(lambda database: leases.enter(database, replica, lease))

    async def renew_replica(self, replica: str, *, lease: timedelta) -> bool:
        return await self._submit(lambda database: leases.renew(database, replica, lease))

    async def leave_replica(self, replica: str) -> None:
        await self._submit(lambda database: leases.leave(database, replica))

    async def replicas(self) -> Sequence[tuple[Replica, timedelta]]:
        return await self._submit(leases.replicas)

    async def claim(self, kind: LeaseKind, replica: str, *, limit: int) -> Sequence[Held]:
        return await self._submit(lambda database: leases.claim(database, kind, replica, limit))

    async def claim_duty(self, duty: str, replica: str) -> Held | None:
        return await self._submit(lambda database: leases.claim_duty(database, duty, replica))

    async def owned(self, kind: LeaseKind, replica: str) -> frozenset[str]:
        return await self._submit(lambda database: leases.owned(database, kind, replica))

    async def release(self, kind: LeaseKind, id: str, replica: str) -> None:
        await self._submit(lambda database: leases.release(database, kind, id, replica))

    # --- requests and events ----------------------------------------------------------------------

    async def stored_response(self, request: str, digest: bytes) -> bytes | None:
        return await self._look_up(
            lambda database: apply_change.stored_response(database, request, digest)
        )

    async def log_bounds(self) -> LogBounds:
        return LogBounds(
            log_id=self._log_id, oldest=self._pruned_to + 1, current=self._recent.revision
        )

    async def events(self, *, after: int, limit: int) -> Sequence[Event]:
        newest = self._recent.after(after, limit)
        if newest is not None:
            return newest

        def work(database: DatabaseSession) -> Sequence[Event]:
            return [rows.event_of(row) for row in database.execute(sql.GET_EVENTS, (after, limit))]

        return await self._read(work)

    async def wait_beyond(self, revision: int, *, timeout: timedelta) -> int:
        reached = await self._recent.wait_beyond(revision, timeout)
        if reached <= revision:
            # No signal is relied on: what is stored is looked at before the time is said to be over.
            self._recent.reach(await self._one(sql.CURRENT_REVISION))
        return self._recent.revision

    async def notification_cursor(self, target: str) -> NotificationCursor | None:
        text = await self._one(sql.GET_CURSOR, target)
        return None if text is None else rows.notification_cursor_of(text)

    async def save_notification_cursor(
        self, target: str, cursor: NotificationCursor, *, held: Sequence[Held] = ()
    ) -> None:
        await self._submit(
            lambda database: apply_change.save_notification_cursor(database, target, cursor, held)
        )

    async def retain_notification_cursors(self, targets: Collection[str]) -> None:
        await self._submit(
            lambda database: apply_change.retain_notification_cursors(database, targets)
        )

    # --- the audit log ----------------------------------------------------------------------------

    async def last_audit(self) -> int:
        return self._audit_tail.number

    async def wait_for_audit(self, number: int, *, timeout: timedelta) -> int:
        reached = await self._audit_tail.wait_beyond(number, timeout)
        if reached <= number:
            # As with events, no signal is relied on.
            self._audit_tail.reach((await self._look_up(audit_chain.last)).number)
        return self._audit_tail.number

    async def audit_cursor(self, sink: str) -> Head | None:
        return await self._look_up(lambda database: audit_chain.cursor_of(database, sink))

    async def save_audit_cursor(
        self,
        sink: str,
        head: Head,
        *,
        missed: AuditRecord | None = None,
        held: Sequence[Held] = (),
    ) -> None:
        def work(database: DatabaseSession) -> apply_change.Written | None:
            leases.require_held(database, held)
            audit_chain.save_cursor(database, sink, head)
            if missed is None:
                return None
            return apply_change.write(database, Change(events=(), audit=missed, at=missed.at))

        await self._submit(work)

    async def retain_audit_cursors(self, sinks: Collection[str]) -> None:
        await self._submit(lambda database: audit_chain.retain_cursors(database, sinks))

    # --- maintenance ------------------------------------------------------------------------------

    async def clock_trust(self) -> ClockTrust | None:
        return await self._look_up(apply_change.clock_trust)

    async def save_clock_trust(self, trust: ClockTrust) -> None:
        await self._submit(lambda database: apply_change.save_clock_trust(database, trust))

    async def told_expiries(self) -> ToldExpiries | None:
        return await self._look_up(apply_change.told_expiries)

    async def restored_from(self) -> datetime | None:
        return await self._look_up(apply_change.restored_from)
