"""Whether a member of a rollout may begin now: its host, dependencies, windows, freeze periods, and budgets.

The one place that decides which hosts go down: `Admission.lock` is held from the first read of the
budgets until the decisions are stored, so that two rollouts of a server do not plan on the same room. Those of
two servers may; then the database decides, by the guard of the transaction in which the hosts begin.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from tendhost.server.clock import Clock
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.request_errors import HostFailed, HostNotFound
from tendhost.server.domain.rollouts.budgets import (
    BoundBudget,
    Usage,
    bound,
    in_scope,
    scopes,
    spent,
    spent_message,
)
from tendhost.server.domain.rollouts.plan import FAILED_BEFORE, NEVER_OPEN
from tendhost.server.domain.rollouts.prerequisites import Dependence, MissingPrerequisites, missing
from tendhost.server.domain.rollouts.rollout import (
    Member,
    MemberStatus,
    Rollout,
    RolloutSpec,
    WaitingFor,
)
from tendhost.server.engine.fleet.availability import HostAvailability
from tendhost.server.store.protocols.hosts import HostStore
from tendhost.server.store.protocols.operations import OperationStore
from tendhost.server.store.protocols.rollouts import RolloutStore
from tendhost.server.store.records import AdmissionGuard, PoliciesVersion

_OUTSIDE = "its labels have changed since, so the token that the rollout was started with is not bound to it any more"
_SPENT = "a disruption budget lets no further host go down for now"
"""To a caller that is bound to hosts: how many are down elsewhere, and which, is not its business."""
_REMOVED = "it is not registered any longer"
_REGISTERED_AGAIN = (
    "it was removed and registered again, and counts as another host, which this rollout did not select:"
    " registered {:%Y-%m-%d %H:%M} UTC"
)
_BUDGET = "down:"
_HOST = "host:"
AFTER = "after:"
"""Begins the keys of members that depend on others."""
_UNSUCCESSFUL = (MemberStatus.FAILED, MemberStatus.ROLLED_BACK, MemberStatus.SKIPPED)
_NAMED = 3
"""Hosts that a reason names of those that a member depends on."""
_AT_MOST = 200
"""Hosts without success among which the named ones are looked for."""


class AdmissionStore(HostStore, OperationStore, RolloutStore, Protocol):
    """Hosts, how many are down, which are busy, and the members that others depend on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admit:
    """The member may begin."""

    host: Host


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The member has to wait."""

    waiting: WaitingFor
    detail: str
    blocked_by: str = ""
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclude:
    """The member may never begin."""

    detail: str
    """The same for every member with the same cause, up to the first colon: reports count by that."""
    blocked_by: str = ""
    """Key of the hosts that it depends on, whose retry gives it another chance; empty: it has none."""


Decision = Admit | Hold | Exclude


class Admission:
    """The budgets of every unfinished rollout, and the hosts that may begin under them."""

    def __init__(
        self, *, store: AdmissionStore, clock: Clock, host_availability: HostAvailability
    ) -> None:
        self._store = store
        self._clock = clock
        self._host_availability = host_availability
        self._budgets: dict[str, tuple[BoundBudget, ...]] = {}
        """Of unfinished rollouts, by id; those of a rollout never change."""
        self.lock = asyncio.Lock()

    async def budgets_with(self, spec: RolloutSpec) -> Sequence[BoundBudget]:
        """The budgets that would apply to a rollout of `spec` that starts now."""
        if spec.dry_run:
            return ()
        present = await self._present()
        return tuple(dict.fromkeys((*bound(spec, self._clock.now()), *_all(present))))

    async def spent_budgets(
        self, budgets: Sequence[BoundBudget], scopes: Iterable[str], *, named: bool
    ) -> Sequence[str]:
        """Messages about those of `budgets` that would hold up hosts of these scopes now, one for each scope.

        With `named` they have the numbers and the hosts; without it, one stands for all.
        """
        usages = BudgetUsages(self._store, budgets, named=named)
        found = []
        for scope in scopes:
            message = await usages.spent(scope)
            if message is not None:
                found.append(message)
        return list(dict.fromkeys(found))

    async def _present(self) -> Mapping[str, tuple[BoundBudget, ...]]:
        """The budgets of every unfinished rollout as of now, whichever replica drives it."""
        former, found = self._budgets, {}
        for id in await self._store.unfinished_rollouts():
            if id not in former:
                rollout = await self._store.find_rollout(id)
                if rollout is None:
                    continue  # it has ended, and is no longer kept
                found[id] = bound(rollout.spec, rollout.created_at)
            else:
                found[id] = former[id]
        self._budgets = found
        return found

    async def begin_round(self, rollout: Rollout) -> "AdmissionRound":
        """A round of decisions about members of `rollout`, as of now; the caller holds `lock`."""
        budgets = {} if rollout.spec.dry_run else await self._present()
        return AdmissionRound(
            rollout=rollout,
            store=self._store,
            host_availability=self._host_availability,
            now=self._clock.now(),
            budgets=budgets,
            policies=await self._host_availability.refreshed(),
            busy=await self._store.busy_hosts(),
        )


class BudgetUsages:
    """How much of some budgets is in use; each scope is read once."""

    def __init__(
        self, store: AdmissionStore, budgets: Sequence[BoundBudget], *, named: bool
    ) -> None:
        self._store = store
        self._named = named
        self.budgets = budgets
        self._usages: dict[tuple[str, datetime | None], Usage] = {}

    async def spent(self, scope: str) -> str | None:
        """Why no further host of `scope` may go down; None: one may."""
        for since in dict.fromkeys(budget.failed_since for budget in self.budgets):
            if (scope, since) not in self._usages:
                usage = await self._store.usage(scope, failed_since=since)
                self._usages[scope, since] = usage
            usage = self._usages[scope, since]
            alike = (b.budget for b in self.budgets if b.failed_since == since)
            budget = spent(alike, scope, usage)
            if budget is not None:
                return spent_message(scope, usage, budget) if self._named else _SPENT
        return None

    def add(self, host: Host) -> None:
        """Count a host that goes down now."""
        for key, usage in self._usages.items():
            if in_scope(key[0], host.config.tags):
                self._usages[key] = replace(usage, down=usage.down + 1)


class AdmissionRound:
    """One round of decisions, all by the same time, windows, busy hosts and budgets."""

    def __init__(
        self,
        *,
        rollout: Rollout,
        store: AdmissionStore,
        host_availability: HostAvailability,
        now: datetime,
        budgets: Mapping[str, tuple[BoundBudget, ...]],
        policies: PoliciesVersion,
        busy: frozenset[str],
    ) -> None:
        """`budgets`: those that apply, by the rollout that they are of."""
        self._policies = policies
        self._rollout = rollout
        self._spec = rollout.spec
        self._store = store
        self._host_availability = host_availability
        named = rollout.spec.bound_to is None
        self._usages = BudgetUsages(store, _all(budgets), named=named)
        self._rollouts = frozenset(budgets)
        self._spending: set[tuple[str, BoundBudget]] = set()
        """Scopes in which a host goes down in this round, with the budgets that count there."""
        self._busy = busy
        self._excluded: dict[str, Exclude] = {}
        """Decisions about members without a chance, by the key of the hosts that they depend on."""
        self.now = now

    async def decide(self, member: Member) -> Decision:
        """Whether `member`, pending or waiting, may begin, and if not, what it waits for.

        Windows come first for a member that waits for them: until they open nothing else matters to it.
        """
        try:
            host = await self._store.host(member.host)
            if not member.is_of(host.registered_at):
                return Exclude(detail=_REGISTERED_AGAIN.format(host.registered_at))
            if self._spec.bound_to is not None and not self._spec.bound_to.has(host):
                return Exclude(detail=_OUTSIDE)
            dependent = await self._prerequisites(member)
            if dependent is not None:
                return dependent
            closed = await self._outside_windows(host)
            if closed is not None and member.waiting is WaitingFor.WINDOW:
                return closed
            if not member.retry:
                host.require_not_failed()
        except HostNotFound:
            return Exclude(detail=_REMOVED)
        except HostFailed as error:
            return Exclude(detail=failed_before(error))
        busy = await self._block(f"{_HOST}{host.name}")
        return busy or closed or await self._over_budget(host) or Admit(host=host)

    async def blocks(self, keys: Iterable[str]) -> Mapping[str, Hold]:
        """What still holds up members with these `Member.blocked_by`, by key."""
        found = {key: await self._block(key) for key in keys}
        return {key: hold for key, hold in found.items() if hold is not None}

    def begin(self, host: Host) -> None:
        """Count a host that begins in this round."""
        self._busy = self._busy | {host.name}
        if host.status.failure is None:  # a failed host was down already
            self._usages.add(host)
            self._spending.update(
                (scope, bound_budget)
                for bound_budget in self._usages.budgets
                for scope in scopes(bound_budget.budget, host.config.tags)
            )

    @property
    def guard(self) -> AdmissionGuard | None:
        """What must still hold when the hosts of this round begin; None: they are not changed."""
        if self._rollout.spec.dry_run:
            return None
        return AdmissionGuard(
            policies=self._policies,
            rollouts=self._rollouts,
            budgets=frozenset(self._spending),
        )

    async def _block(self, key: str) -> Hold | None:
        """What the busy host, or the spent budget, of a `Member.blocked_by` holds up; None: nothing now."""
        if key.startswith(AFTER):
            dependence = _dependence_of(key)
            found = missing(self._rollout.prerequisites, dependence)
            return _hold_for(dependence, found) if found and not found.unsuccessful else None
        if key.startswith(_HOST):
            if key.removeprefix(_HOST) not in self._busy:
                return None
            detail = "another operation runs on it"
            return Hold(waiting=WaitingFor.HOST, detail=detail, blocked_by=key)
        message = await self._usages.spent(key.removeprefix(_BUDGET))
        if message is None:
            return None
        return Hold(waiting=WaitingFor.BUDGET, detail=message, blocked_by=key)

    async def _prerequisites(self, member: Member) -> Hold | Exclude | None:
        """What the hosts that must succeed before `member` require; None: all of them have."""
        dependence = member.dependence
        found = missing(self._rollout.prerequisites, dependence)
        if found is None:
            return None
        if not found.unsuccessful:
            return _hold_for(dependence, found)
        key = _key_of(dependence)
        if key not in self._excluded:
            detail = await self._unsuccessful(dependence, found)
            self._excluded[key] = Exclude(detail=detail, blocked_by=key)
        return self._excluded[key]

    async def _unsuccessful(self, dependence: Dependence, found: MissingPrerequisites) -> str:
        """Which hosts had to succeed and did not, as text."""
        page = await self._store.members(self._rollout.id, statuses=_UNSUCCESSFUL, limit=_AT_MOST)
        named = [
            f"{other.host} ({other.status.replace('_', ' ')})"
            for other in page.items
            if other.dependence.counts_for(dependence)
        ][:_NAMED]
        hosts = f": {', '.join(named)}" if named else ""
        tags = " and ".join(found.unsuccessful)
        return f"hosts with the tag {tags} must succeed before it, and not all of them did{hosts}"

    async def _outside_windows(self, host: Host) -> Hold | Exclude | None:
        """What the windows and freeze periods of `host` require; None: it may be changed now."""
        if self._spec.dry_run or self._spec.window_override_reason:
            return None
        availability = await self._host_availability.of(host, self.now)
        if availability is None:
            return None
        if availability.until is None:
            return Exclude(detail=f"{NEVER_OPEN}: {availability.message}")
        return Hold(
            waiting=WaitingFor.WINDOW,
            detail=availability.message,
            not_before=availability.until,
        )

    async def _over_budget(self, host: Host) -> Hold | None:
        """The first spent budget that `host` counts for; None: there is none."""
        if host.status.failure is not None:
            return None  # work on a host that is down takes no further host down
        for bound_budget in self._usages.budgets:
            for scope in scopes(bound_budget.budget, host.config.tags):
                hold = await self._block(f"{_BUDGET}{scope}")
                if hold is not None:
                    return hold
        return None


def _all(budgets: Mapping[str, tuple[BoundBudget, ...]]) -> tuple[BoundBudget, ...]:
    """The budgets of all these rollouts, each once."""
    return tuple(dict.fromkeys(one for several in budgets.values() for one in several))


def failed_before(error: HostFailed) -> str:
    """Why a member may not begin whose host is in FAILED."""
    return f"{FAILED_BEFORE}: {error}"


def _hold_for(dependence: Dependence, found: MissingPrerequisites) -> Hold:
    tags = " and ".join(found.unfinished)
    detail = f"hosts with the tag {tags} must succeed before it, and not all of them have ended"
    return Hold(waiting=WaitingFor.DEPENDENCY, detail=detail, blocked_by=_key_of(dependence))


def _key_of(dependence: Dependence) -> str:
    stage, level = dependence.rank
    return f"{AFTER}{stage}.{level}:{' '.join(dependence.after)}"


def _dependence_of(key: str) -> Dependence:
    """The dependence of a member with this key, as far as it depends on others."""
    rank, _, tags = key.removeprefix(AFTER).partition(":")
    stage, _, level = rank.partition(".")
    return Dependence(rank=(int(stage), int(level)), after=tuple(tags.split(" ")))
