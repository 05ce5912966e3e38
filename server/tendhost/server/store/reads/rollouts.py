"""Reads of rollouts with their waves and members, and of plans."""

from collections.abc import Sequence
from datetime import datetime

from tendhost.server.domain.request_errors import PlanNotFound, RolloutNotFound
from tendhost.server.domain.rollouts.plan import PlanOutline, PlanPart, RolloutPlan, plan_of
from tendhost.server.domain.rollouts.rollout import (
    Member,
    MemberStatus,
    Rollout,
    RolloutStatus,
    Wave,
)
from tendhost.server.store import apply_change, parts, rows, sql
from tendhost.server.store.reads.base import Reads
from tendhost.server.store.records import Page, RolloutCursor, RolloutView
from tendhost.server.store.session import DatabaseSession

ALL_PARTS = 2**31
"""More than any plan has."""


class RolloutReads(Reads):
    """See RolloutStore and PlanStore."""

    async def rollout(self, id: str) -> Rollout:
        found = await self.find_rollout(id)
        if found is None:
            raise RolloutNotFound(rollout=id)
        return found

    async def find_rollout(self, id: str) -> Rollout | None:
        text = await self._one(sql.GET_ROLLOUT, id)
        return None if text is None else rows.rollout_of(text)

    async def rollouts(
        self, *, statuses: Sequence[RolloutStatus] = (), before: str = "", limit: int
    ) -> Page[Rollout]:
        text, values = sql.select_rollouts(
            statuses=map(str, statuses), before=before, limit=limit + 1
        )
        return await self._page(text, values, rows.rollout_of, limit)

    async def unfinished_rollouts(self) -> Sequence[str]:
        return await self._all(sql.UNFINISHED_ROLLOUTS, (), str)

    async def rollout_view(
        self, id: str, *, after: RolloutCursor, limit: int, size: int
    ) -> RolloutView:
        return await self._read(
            lambda database: parts.rollout_view(database, id, after=after, limit=limit, size=size)
        )

    async def wave(self, rollout: str, number: int) -> Wave:
        text = await self._one(sql.GET_WAVES, rollout, number, number)
        if text is None:
            raise RolloutNotFound(rollout=rollout)
        return rows.wave_of(text)

    async def waves(self, rollout: str, *, first: int, last: int) -> Sequence[Wave]:
        return await self._all(sql.GET_WAVES, (rollout, first, last), rows.wave_of)

    async def member(self, rollout: str, host: str) -> Member | None:
        text = await self._one(sql.GET_MEMBER, rollout, host)
        return None if text is None else rows.member_of(text)

    async def memberships(self, host: str, *, limit: int) -> Sequence[tuple[Member, int]]:
        def work(database: DatabaseSession) -> Sequence[tuple[Member, int]]:
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
        at = await self._one(sql.NEXT_OPENING, rollout, wave)
        return None if at is None else rows.at_instant(at)

    async def plan(self, id: str) -> RolloutPlan:
        def work(database: DatabaseSession) -> RolloutPlan:
            parts = database.execute(sql.GET_PLAN_PARTS, (id, 0, ALL_PARTS))
            return plan_of(_outline(database, id), (rows.plan_part_of(text) for (text,) in parts))

        return await self._survey(work)

    async def plan_page(self, id: str, *, first: int, last: int) -> tuple[PlanOutline, PlanPart]:
        def work(database: DatabaseSession) -> tuple[PlanOutline, PlanPart]:
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


def _outline(database: DatabaseSession, id: str) -> PlanOutline:
    row = database.execute(sql.GET_PLAN, (id,)).fetchone()
    if row is None:
        raise PlanNotFound(plan=id)
    return rows.plan_outline_of(row[0])
