"""The audit log beyond mutations that are carried out: refusals, and calls that read from a host."""

import logging
from datetime import datetime, timedelta
from typing import Protocol

from tendhost.server.clock import Clock
from tendhost.server.domain.access.audit import OMITTED, AuditEntry, AuditRecord
from tendhost.server.domain.access.refusal_limit import Omitted, RefusalLimit
from tendhost.server.domain.errors import TendhostError
from tendhost.server.engine.waiting import CEILING, repeat_every
from tendhost.server.store.protocols.access import AuditStore
from tendhost.server.store.protocols.commits import CommitStore
from tendhost.server.store.records import AuditFilter, Change, Page

logger = logging.getLogger(__name__)

NOT_RECORDED = "the number of refusals without a record was not recorded"


class AuditedStore(AuditStore, CommitStore, Protocol):
    """The audit log, and changes of it."""


class AuditLog:
    """Records what no mutation records in its own transaction."""

    def __init__(self, *, store: AuditedStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._limit = RefusalLimit()

    def now(self) -> datetime:
        """The time of a record that is made now."""
        return self._clock.now()

    async def started(self, record: AuditRecord) -> None:
        """Record a call before it is carried out. Raises StoreUnavailable: it must not be carried out."""
        await self._commit(record)

    async def refused(self, record: AuditRecord, *, authenticated: bool) -> None:
        """Record a refusal, or count it where its caller was refused too often. The caller is refused in any case.

        `authenticated`: whether the principal of `record` has proved its name.
        """
        elapsed = self._clock.elapsed()
        await self._tell_omitted(elapsed)
        if not self._limit.admits(record.principal, elapsed, authenticated=authenticated):
            return
        try:
            await self._commit(record)
        except TendhostError as error:
            logger.warning("a refusal was not recorded", extra={"cause": str(error)})
            omitted = Omitted(caller=record.principal, authenticated=authenticated, count=1)
            self._limit.put_back([omitted], elapsed)

    async def keep(self) -> None:
        """Record how many refusals have no record, once their window has ended, until cancelled."""
        await self._clock.sleep(CEILING)
        await repeat_every(
            CEILING, self._look, clock=self._clock, logger=logger, failed=NOT_RECORDED
        )

    async def close(self) -> None:
        """Record what was counted so far."""
        await self._record_omitted()

    async def entries(self, wanted: AuditFilter, *, before: int, limit: int) -> Page[AuditEntry]:
        """See AuditStore.audit_entries."""
        return await self._store.audit_entries(wanted, before=before, limit=limit)

    async def _look(self) -> None:
        await self._tell_omitted(self._clock.elapsed())

    async def _tell_omitted(self, elapsed: timedelta) -> None:
        if self._limit.ended(elapsed):
            await self._record_omitted()

    async def _record_omitted(self) -> None:
        """Record how many refusals have no record. What cannot be stored is counted on."""
        left = list(self._limit.take())
        try:
            while left:
                # What is handed to the store is stored, also where this task is cancelled meanwhile.
                omitted = left.pop()
                try:
                    await self._commit(self._omitted_record(omitted))
                except TendhostError as error:
                    left.append(omitted)
                    fields = {"cause": str(error), "refusals": sum(each.count for each in left)}
                    logger.warning(NOT_RECORDED, extra=fields)
                    return
        finally:
            self._limit.put_back(left, self._clock.elapsed())

    def _omitted_record(self, omitted: Omitted) -> AuditRecord:
        return AuditRecord(
            at=self._clock.now(),
            principal=omitted.caller,
            method="",
            subject="",
            result=OMITTED,
            omitted=omitted.count,
        )

    async def _commit(self, record: AuditRecord) -> None:
        await self._store.commit(Change(events=(), audit=record, at=record.at))
