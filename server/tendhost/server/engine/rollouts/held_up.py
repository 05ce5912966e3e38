"""Rollouts that disruption budgets hold up: their members name who spends a budget, and people are notified."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.rollouts.rollout import MemberStatus, Rollout, WaitingFor
from tendhost.server.domain.rollouts.rollout_update import RolloutUpdate
from tendhost.server.engine.rollouts.admission import Hold
from tendhost.server.store.protocols.rollouts import RolloutStore

AT_A_TIME = 200
"""Members that one transaction changes at most."""


class HeldUp:
    """What one rollout says of the budgets that hold it up."""

    def __init__(
        self, id: str, *, store: RolloutStore, clock: Clock, notify_after: timedelta
    ) -> None:
        self._id = id
        self._store = store
        self._clock = clock
        self._notify_after = notify_after
        self._since: timedelta | None = None
        """Monotonic time since which budgets have held up a rollout of which nothing runs; None: they do not."""
        self._spent: Mapping[str, str] = {}
        """Messages of the spent budgets, by `Member.blocked_by`, as the members' details say."""
        self._details_after: int | None = None
        """Position after which members have outdated details; None: none has."""

    def members_begin(self) -> None:
        """Start again from zero: a budget has let members begin."""
        self._since = None

    async def update(self, rollout: Rollout, blocks: Mapping[str, Hold]) -> RolloutUpdate | None:
        """The next change of what is stored about `blocks`, which let nothing begin; None: all of it is stored."""
        spent = {
            key: hold.detail for key, hold in blocks.items() if hold.waiting is WaitingFor.BUDGET
        }
        if spent != self._spent:
            self._spent, self._details_after = spent, -1
        return await self._details(rollout) or self._held_up(rollout)

    async def _details(self, rollout: Rollout) -> RolloutUpdate | None:
        """New details of members that wait for a budget which others spend by now; None: all are up to date."""
        while self._details_after is not None:
            page = await self._store.members(
                self._id,
                wave=rollout.wave,
                statuses=(MemberStatus.WAITING,),
                after=self._details_after,
                limit=AT_A_TIME,
            )
            update = RolloutUpdate(rollout)
            for member in page.items:
                detail = self._spent.get(member.blocked_by, member.detail)
                if detail != member.detail:
                    update.change_member(member, detail=detail)
            if update.members:
                return update  # the page is read once more, in case that this is not stored
            self._details_after = page.items[-1].position if page.more else None
        return None

    def _held_up(self, rollout: Rollout) -> RolloutUpdate | None:
        """The rollout with the budgets that hold it up, and, after `notify_after`, an event that notifies people."""
        message = "; ".join(self._spent.values())
        if not message or rollout.progress.in_progress:
            return None
        now, elapsed = self._clock.now(), self._clock.elapsed()
        since = rollout.held_up_since or now
        if self._since is None:
            # The time under a former server is known by the date only: no more of it counts than is needed.
            waited = min(max(now - since, timedelta()), self._notify_after)
            self._since = elapsed - waited
        notified = rollout.held_up_told or elapsed - self._since >= self._notify_after
        held_up = replace(rollout, held_up=message, held_up_since=since, held_up_told=notified)
        if held_up == rollout:
            return None
        notifies = notified and not rollout.held_up_told
        return RolloutUpdate(held_up, message=message, held_up=message if notifies else "")
