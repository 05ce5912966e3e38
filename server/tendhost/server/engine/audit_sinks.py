"""Audit sinks: a worker for each sink reads the audit log at its own pace and sends records on.

The cursor of a sink is stored after records have arrived. A server that is killed between the two sends these
records again, and leaves none out.
"""

import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.access.audit import MISSED, AuditEntry, AuditRecord, Head, head_at
from tendhost.server.domain.operations.backoff import EndlessBackoff
from tendhost.server.engine.duties import Duties, HeldDuty
from tendhost.server.engine.tasks import running
from tendhost.server.engine.waiting import CEILING, retry_while_unavailable
from tendhost.server.outbound.audit_sink import AuditSink, SinkFailed
from tendhost.server.store.protocols.access import AuditCursors
from tendhost.server.store.records import LeaseLost

logger = logging.getLogger(__name__)

PAGE = 100
"""Records of one delivery at most: some 50 KB."""
RETRY = EndlessBackoff(first=timedelta(seconds=5), longest=timedelta(minutes=10))
"""Attempts never end: a record is given up only when it is pruned."""
FAULT_PAUSE = timedelta(minutes=1)
"""Pause of a worker after an unexpected fault."""
SERVER = "tendhostd"
"""The principal of what the server itself records of its sinks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkStatus:
    """Deliveries to one sink since the server started."""

    name: str
    delivered: int = 0
    """Number of records."""
    retried: int = 0
    """Number of repeated attempts."""
    missed: int = 0
    """Number of records that were pruned before they could be sent."""
    waiting: int = 0
    """Number of records that are not sent yet."""
    number: int = 0
    """Number of the record up to which all have been sent."""
    problem: str = ""
    """Problem of the latest attempt; empty: it succeeded."""
    problem_at: datetime | None = None
    delivered_at: datetime | None = None


class SinkWorker:
    """Sends the audit log to one sink."""

    def __init__(self, name: str, sink: AuditSink, *, store: AuditCursors, clock: Clock) -> None:
        self._sink = sink
        self._store = store
        self._clock = clock
        self._duty: HeldDuty | None = None
        """None: it does not run."""
        self.status = SinkStatus(name=name)

    async def run(self, duty: HeldDuty) -> None:
        """Send records until cancelled. Raises LeaseLost where another replica does it."""
        self._duty = duty
        while True:
            try:
                await self._retry_while_unavailable(self._follow, "an audit sink waits")
            except LeaseLost:
                raise
            except Exception:
                logger.exception("an audit sink failed", extra={"sink": self.status.name})
                problem = "an unexpected fault; see the server's log"
                self._note(problem=problem, problem_at=self._clock.now())
                await self._clock.sleep(FAULT_PAUSE)

    async def _follow(self) -> None:
        """Read the log from the stored cursor on."""
        cursor = await self._start_cursor()
        self._note(number=cursor.number)
        while True:
            entries = await self._store.audit_after(cursor.number, limit=PAGE)
            if not entries or entries[0].number > cursor.number + 1:
                start = await self._store.dropped_audit()
                if start.number > cursor.number:
                    cursor = await self._skip(cursor, start)
                    continue
            if not entries:
                await self._store.wait_for_audit(cursor.number, timeout=CEILING)
                continue
            await self._deliver(entries, cursor.hash)
            last = entries[-1]
            cursor = head_at(last.number, last.hash)
            await self._store_cursor(cursor)

    async def _start_cursor(self) -> Head:
        stored = await self._store.audit_cursor(self.status.name)
        if stored is not None:
            return stored
        # A new sink gets every record that is kept: rather twice than not at all.
        cursor = await self._store.dropped_audit()
        await self._store_cursor(cursor)
        return cursor

    async def _skip(self, cursor: Head, start: Head) -> Head:
        """The cursor behind records that were pruned, once it is recorded that the sink missed them."""
        missed = start.number - cursor.number
        fields = {"sink": self.status.name, "records": missed}
        logger.error("an audit sink missed records: they were pruned", extra=fields)
        record = AuditRecord(
            at=self._clock.now(),
            principal=SERVER,
            method="",
            subject=f"audit sink {self.status.name}",
            result=MISSED,
            omitted=missed,
        )
        await self._store_cursor(start, record)
        self._note(missed=self.status.missed + missed)
        return start

    async def _store_cursor(self, cursor: Head, missed: AuditRecord | None = None) -> None:
        # To read on from the stored cursor would send records again, over and over while a disk is full.
        assert self._duty is not None, "only a worker that runs stores its cursor"
        held = self._duty.held
        await self._retry_while_unavailable(
            lambda: self._store.save_audit_cursor(
                self.status.name, cursor, missed=missed, held=held
            ),
            "the cursor of an audit sink was not stored",
        )
        self._note(number=cursor.number)

    async def _deliver(self, entries: Sequence[AuditEntry], former: str) -> None:
        """Deliver records, in as many attempts as it takes."""
        assert self._duty is not None, "only a worker that runs sends records"
        attempt = 1
        while True:
            self._duty.require()
            try:
                await self._sink.deliver(entries, former)
            except SinkFailed as error:
                fields = {"sink": self.status.name, "attempt": attempt, "cause": str(error)}
                logger.warning("audit records were not delivered", extra=fields)
                self._note(problem=str(error), problem_at=self._clock.now())
            else:
                delivered = self.status.delivered + len(entries)
                now = self._clock.now()
                self._note(delivered=delivered, problem="", problem_at=None, delivered_at=now)
                return
            await self._clock.sleep(RETRY.length(attempt, random.random()))  # noqa: S311
            self._note(retried=self.status.retried + 1)
            attempt += 1

    async def _retry_while_unavailable(
        self, work: Callable[[], Awaitable[None]], waiting: str
    ) -> None:
        await retry_while_unavailable(
            work, sleep=self._clock.sleep, logger=logger, waiting=waiting, sink=self.status.name
        )

    def _note(self, **changed: object) -> None:
        self.status = replace(self.status, **changed)  # type: ignore[arg-type]


class AuditSinks:
    """The workers of all sinks."""

    def __init__(
        self,
        sinks: Sequence[tuple[str, AuditSink]],
        *,
        store: AuditCursors,
        duties: Duties,
        clock: Clock,
    ) -> None:
        """`sinks`: each with its name, by which its cursor is stored."""
        self._store = store
        self._duties = duties
        self._workers = [SinkWorker(name, sink, store=store, clock=clock) for name, sink in sinks]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run every worker while the context lasts. Records that are being sent when it ends are sent again by
        the next server."""
        await self._store.retain_audit_cursors([worker.status.name for worker in self._workers])
        async with running(
            self._duties.keep(f"audit sink {worker.status.name}", worker.run)
            for worker in self._workers
        ):
            yield

    async def delivery_status(self) -> Sequence[SinkStatus]:
        """Deliveries since the server started, sink by sink."""
        last = await self._store.last_audit()
        return [
            replace(worker.status, waiting=max(0, last - worker.status.number))
            for worker in self._workers
        ]
