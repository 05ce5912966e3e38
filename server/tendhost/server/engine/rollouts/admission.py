"""Whether a member of a rollout may begin now: its host, its window, and the disruption budgets.

The one place at which it is decided who goes down: `lock` is held from the first look at the budgets
until what was decided by them is stored, so that two rollouts never spend the same room.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tendhost.server.clock import Clock
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.request_errors import HostFailed, HostNotFound
from tendhost.server.domain.rollouts.budgets import (
    FLEET,
    BoundBudget,
    Usage,
    bound,
    scopes,
    spent,
    spent_words,
)
from tendhost.server.domain.rollouts.rollout import (
    Member,
    MemberStatus,
    Rollout,
    RolloutSpec,
    WaitingFor,
)
from tendhost.server.domain.rollouts.rollout_update import RolloutUpdate
from tendhost.server.engine.fleet.availability import HostAvailability
from tendhost.server.store.protocol import Store

_DOWN = "down:"
_HOST = "host:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admit:
    """It may begin."""

    host: Host


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """It has to wait."""

    waiting: WaitingFor
    detail: str
    blocked_by: str = ""
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclude:
    """It never may."""

    detail: str


Verdict = Admit | Hold | Exclude


class Admission:
    """The budgets of every unfinished rollout, and who may begin under them."""

    def __init__(self, *, store: Store, clock: Clock, openings: HostAvailability) -> None:
        self._store = store
        self._clock = clock
        self._openings = openings
        self._budgets: dict[str, tuple[BoundBudget, ...]] = {}
        self.lock = asyncio.Lock()

    def hold(self, rollout: Rollout) -> None:
        """Let the rollout's budgets bind every rollout from now on."""
        self._budgets[rollout.id] = bound(rollout.spec, rollout.created_at)

    def release(self, rollout: str) -> None:
        """Forget the budgets of a rollout that is over."""
        self._budgets.pop(rollout, None)

    async def full(self, spec: RolloutSpec, tags: Sequence[str]) -> Sequence[str]:
        """Why hosts with these tags could not begin now under `spec`, in words, once for each scope."""
        if spec.dry_run:
            return ()
        budgets = (*bound(spec, self._clock.now()), *self._binding)
        usages = Usages(self._store, tuple(dict.fromkeys(budgets)))
        found = []
        for scope in dict.fromkeys(s for b in budgets for s in scopes(b.budget, tags)):
            words = await usages.full(scope)
            if words is not None:
                found.append(words)
        return found

    @property
    def _binding(self) -> Sequence[BoundBudget]:
        return tuple(dict.fromkeys(b for held in self._budgets.values() for b in held))

    async def turn(self, rollout: Rollout) -> "AdmissionRound":
        """A look at what is in use, for a rollout that is about to begin members; `lock` is held."""
        return AdmissionRound(
            rollout=rollout,
            store=self._store,
            openings=self._openings,
            now=self._clock.now(),
            budgets=() if rollout.spec.dry_run else self._binding,
            busy=await self._store.busy_hosts(),
        )


class Usages:
    """What is in use of some budgets, each scope looked at once."""

    def __init__(self, store: Store, budgets: Sequence[BoundBudget]) -> None:
        self._store = store
        self.budgets = budgets
        self._usages: dict[tuple[str, datetime | None], Usage] = {}

    async def full(self, scope: str) -> str | None:
        """Why no host of a scope may go down, in words; None: one may."""
        for since in dict.fromkeys(held.failed_since for held in self.budgets):
            if (scope, since) not in self._usages:
                used = await self._store.usage(scope, failed_since=since)
                self._usages[scope, since] = used
            used = self._usages[scope, since]
            alike = (held.budget for held in self.budgets if held.failed_since == since)
            budget = spent(alike, scope, used)
            if budget is not None:
                return spent_words(scope, used, budget)
        return None

    def begun(self, host: Host) -> None:
        """Count a host that was just begun and was not down before."""
        for key, used in self._usages.items():
            if key[0] in (FLEET, *host.config.tags):
                self._usages[key] = replace(used, down=used.down + 1)


class AdmissionRound:
    """One round in which a rollout begins members."""

    def __init__(
        self,
        *,
        rollout: Rollout,
        store: Store,
        openings: HostAvailability,
        now: datetime,
        budgets: Sequence[BoundBudget],
        busy: frozenset[str],
    ) -> None:
        self._rollout = rollout
        self._store = store
        self._openings = openings
        self._usages = Usages(store, budgets)
        self._busy = busy
        self.now = now

    async def still_blocked(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `Member.blocked_by` that hold members up even now."""
        found = []
        for key in keys:
            if key.startswith(_HOST):
                if key.removeprefix(_HOST) in self._busy:
                    found.append(key)
            elif await self._usages.full(key.removeprefix(_DOWN)) is not None:
                found.append(key)
        return tuple(found)

    async def budget_words(self, keys: Iterable[str]) -> Mapping[str, str]:
        """Why the budgets of `Member.blocked_by` are spent, in words, by key; busy hosts are not in it."""
        found = {}
        for key in keys:
            if key.startswith(_DOWN):
                words = await self._usages.full(key.removeprefix(_DOWN))
                if words is not None:
                    found[key] = words
        return found

    async def verdict(self, member: Member) -> Verdict:
        """Whether `member` may begin."""
        try:
            host = await self._store.host(member.host)
            if not member.retry:
                host.require_not_failed()
        except (HostNotFound, HostFailed) as error:
            return Exclude(detail=str(error))
        if host.name in self._busy:
            words = "another operation runs on it"
            key = f"{_HOST}{host.name}"
            return Hold(waiting=WaitingFor.HOST, detail=words, blocked_by=key)
        closed = await self._closed(host)
        return closed or await self._over_budget(host) or Admit(host=host)

    async def window(self, member: Member) -> Hold | Exclude | None:
        """What its windows and freeze periods have against `member`; None: nothing."""
        try:
            return await self._closed(await self._store.host(member.host))
        except HostNotFound as error:
            return Exclude(detail=str(error))

    def begun(self, host: Host) -> None:
        """Count a host that was just begun."""
        self._busy = self._busy | {host.name}
        if host.status.failure is not None:
            return  # it was down already
        self._usages.begun(host)

    async def _closed(self, host: Host) -> Hold | Exclude | None:
        spec = self._rollout.spec
        if spec.dry_run or spec.window_override_reason:
            return None
        opening = await self._openings.of(host, self.now)
        if opening is None:
            return None
        if opening.until is None:
            return Exclude(detail=opening.words)
        return Hold(waiting=WaitingFor.WINDOW, detail=opening.words, not_before=opening.until)

    async def _over_budget(self, host: Host) -> Hold | None:
        if host.status.failure is not None:
            return None  # it is down: to work on it takes no other host down
        for bound_budget in self._usages.budgets:
            for scope in scopes(bound_budget.budget, host.config.tags):
                words = await self._usages.full(scope)
                if words is not None:
                    key = f"{_DOWN}{scope}"
                    return Hold(waiting=WaitingFor.BUDGET, detail=words, blocked_by=key)
        return None


async def look_at_windows(
    members: Iterable[Member], turn: AdmissionRound, tally: RolloutUpdate
) -> None:
    """Move those whose windows, or freeze periods, say something else than when they began to wait."""
    for member in members:
        if member.waiting is not WaitingFor.WINDOW:
            continue
        match await turn.window(member):
            case None:
                tally.move(member, MemberStatus.PENDING, detail="")
            case Exclude(detail=detail):
                tally.move(member, MemberStatus.SKIPPED, detail=detail)
            case Hold(detail=detail, not_before=at):
                if (detail, at) != (member.detail, member.not_before):
                    tally.move(
                        member,
                        MemberStatus.WAITING,
                        waiting=WaitingFor.WINDOW,
                        not_before=at,
                        detail=detail,
                    )
