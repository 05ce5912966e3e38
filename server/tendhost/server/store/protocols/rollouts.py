"""Rollouts with their waves and members, and the plans that they begin from."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tendhost.server.domain.rollouts.plan import PlanOutline, PlanPart, RolloutPlan
from tendhost.server.domain.rollouts.rollout import (
    Member,
    MemberStatus,
    Rollout,
    RolloutStatus,
    Wave,
)
from tendhost.server.store.records import Page, RolloutCursor, RolloutView


class RolloutStore(Protocol):
    """The rollouts of the fleet."""

    async def rollout(self, id: str) -> Rollout:
        """Raises RolloutNotFound."""
        ...

    async def find_rollout(self, id: str) -> Rollout | None:
        """The rollout with this id; None: it is not on record, or no longer."""
        ...

    async def rollouts(
        self, *, statuses: Sequence[RolloutStatus] = (), before: str = "", limit: int
    ) -> Page[Rollout]:
        """Rollouts, newest first, from the one that follows `before` on."""
        ...

    async def unfinished_rollouts(self) -> Sequence[str]:
        """Ids of every rollout that has not ended, oldest first."""
        ...

    async def rollout_view(
        self, id: str, *, after: RolloutCursor, limit: int, size: int
    ) -> RolloutView:
        """A rollout with what was stored of it after `after`. Raises RolloutNotFound.

        At most `limit` waves and as many members, and no more than about `size` bytes of each.
        """
        ...

    async def wave(self, rollout: str, number: int) -> Wave:
        """One wave, by its number from 0."""
        ...

    async def waves(self, rollout: str, *, first: int, last: int) -> Sequence[Wave]:
        """The waves whose numbers are between `first` and `last`, both included, in order."""
        ...

    async def member(self, rollout: str, host: str) -> Member | None:
        """One host of a rollout; None: the rollout does not have it."""
        ...

    async def memberships(self, host: str, *, limit: int) -> Sequence[tuple[Member, int]]:
        """The host as a member of the newest rollouts that have it, newest first.

        Each with the revision at which the member last changed.
        """
        ...

    async def members(
        self,
        rollout: str,
        *,
        wave: int | None = None,
        statuses: Sequence[MemberStatus] = (),
        after: int = -1,
        limit: int,
    ) -> Page[Member]:
        """Members in the order of the rollout, after the position `after`.

        Empty means any status, None any wave.
        """
        ...

    async def startable(
        self, rollout: str, wave: int, *, now: datetime, blocked: Sequence[str], limit: int
    ) -> Sequence[Member]:
        """The first members of a wave that have not begun and may begin now, as far as is stored.

        Their known window is open at `now`, and they wait for none of `blocked`.
        """
        ...

    async def blocked_by(self, rollout: str, wave: int) -> Sequence[str]:
        """What members of a wave wait for, apart from windows: each `Member.blocked_by` once."""
        ...

    async def next_opening(self, rollout: str, wave: int) -> datetime | None:
        """When the first window opens that a member of a wave waits for; None: none does."""
        ...


class PlanStore(Protocol):
    """Plans of rollouts."""

    async def save_plan(self, plan: RolloutPlan) -> None:
        """Store a plan. It is dropped with the other history that has grown old."""
        ...

    async def plan(self, id: str) -> RolloutPlan:
        """Raises PlanNotFound."""
        ...

    async def plan_page(self, id: str, *, first: int, last: int) -> tuple[PlanOutline, PlanPart]:
        """A plan without its hosts, and its hosts from the position `first` until before `last`.

        Raises PlanNotFound.
        """
        ...
