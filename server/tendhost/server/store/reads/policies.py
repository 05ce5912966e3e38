"""Reads of what users keep under a name: saved selections, schedules, and the policies of groups."""

from collections.abc import Sequence
from datetime import datetime

from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.hosts.selection import SavedSelection
from tendhost.server.domain.request_errors import ScheduleNotFound, SelectionNotFound
from tendhost.server.domain.schedules.schedule import Schedule
from tendhost.server.store import admission, rows, sql
from tendhost.server.store.reads.base import Reads
from tendhost.server.store.records import Page, PoliciesVersion


class PolicyReads(Reads):
    """See SelectionStore, ScheduleStore and PolicyStore."""

    async def selection(self, name: str) -> SavedSelection:
        text = await self._one(sql.GET_SELECTION, name)
        if text is None:
            raise SelectionNotFound(selection=name)
        return rows.selection_of(text)

    async def selections(self, *, after: str = "", limit: int) -> Page[SavedSelection]:
        return await self._page(sql.GET_SELECTIONS, (after, limit + 1), rows.selection_of, limit)

    async def schedule(self, name: str) -> Schedule:
        text = await self._one(sql.GET_SCHEDULE, name)
        if text is None:
            raise ScheduleNotFound(schedule=name)
        return rows.schedule_of(text)

    async def schedules(self, *, after: str = "", limit: int) -> Page[Schedule]:
        return await self._page(sql.GET_SCHEDULES, (after, limit + 1), rows.schedule_of, limit)

    async def due_schedules(self, now: datetime, *, limit: int) -> Sequence[Schedule]:
        return await self._all(sql.DUE_SCHEDULES, (rows.instant(now), limit), rows.schedule_of)

    async def next_due(self) -> datetime | None:
        at = await self._one(sql.NEXT_DUE)
        return None if at is None else rows.at_instant(at)

    async def group_policies(self) -> Sequence[GroupPolicy]:
        return await self._all(sql.ALL_GROUP_POLICIES, (), rows.group_policy_of)

    async def policies_version(self) -> PoliciesVersion:
        return await self._look_up(admission.policies_version)
