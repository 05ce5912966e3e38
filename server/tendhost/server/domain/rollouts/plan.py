"""Plans of rollouts: the waves with their hosts, the excluded hosts with the reason, and the duration.

Pure: `plan_rollout` uses what is stored of the fleet and asks no host. A rollout starts with the plan
that is made at its start; `plan_changes` compares that with an earlier plan.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.server.domain.abbreviation import abbreviated
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.policy.availability import Availability
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.domain.rollouts.budgets import require_sound_budgets, require_sound_failures
from tendhost.server.domain.rollouts.plan_notes import NotedHost, opens_too_late, plan_notes
from tendhost.server.domain.rollouts.prerequisites import Dependence
from tendhost.server.domain.rollouts.rollout import RolloutSpec
from tendhost.server.domain.rollouts.waves import (
    Candidate,
    dependence_by_tags,
    require_sound,
    wave_plan,
)

TYPICAL_UPDATE = timedelta(minutes=3)
"""Estimated duration of an update where no host of the rollout was ever updated."""


FAILED_BEFORE = "it has failed and has to be retried first"
"""Begins the reason of hosts that are in FAILED before their rollout comes to them."""
ONLY_JUMP = "it is registered only as a jump for other hosts"
NEVER_OPEN = "its windows are never open for as long as its update takes"
"""Begins the reason of hosts that their windows never let be updated."""


class Exclusion(StrEnum):
    """Why a rollout does not update a host that its filter selects."""

    EXCLUDED = "excluded"
    """The filter excludes it by name."""
    FAILED = "failed"
    """It is in FAILED, and a person has to retry it first."""
    NEVER_OPEN = "never_open"
    """Its windows are never open for as long as its update takes."""
    JUMP_ONLY = "jump_only"
    """It is registered only as a jump for other hosts."""


class PlannedHostCondition(StrEnum):
    """Conditions of a planned host that are known before the rollout starts."""

    NOTHING_PENDING = "nothing_pending"
    """Nothing was pending on it at the last query."""
    UNREACHABLE = "unreachable"
    """It did not answer when it was last contacted."""
    BUSY = "busy"
    """Another operation runs on it, and the rollout waits for that."""
    WINDOW_CLOSED = "window_closed"
    """Its windows are closed, or it is frozen, and the rollout waits for the end of that."""
    OPENS_TOO_LATE = "opens_too_late"
    """The rollout expires before the end of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSummary:
    """A registered host as plans, reports and the compliance of the fleet need it."""

    name: str
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    state: HostState = HostState.IDLE
    pending_count: int = 0
    security_count: int | None = 0
    """None: the host's archives do not say which updates are security updates."""
    queried_at: datetime | None = None
    last_updated: datetime | None = None
    update_took: timedelta | None = None
    """Duration of its last successful update."""
    windows: tuple[MaintenanceWindow, ...] = ()
    """Windows of its own; empty: those of its groups and of the fleet."""
    reboot_needed: bool = False
    unreachable: bool = False
    failed_with: str = ""
    """The error of a host in FAILED."""
    registered_at: datetime | None = None
    jump_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedHost:
    """One host of a plan, with its conditions."""

    name: str
    wave: int
    """From 0."""
    conditions: tuple[PlannedHostCondition, ...] = ()
    opens_at: datetime | None = None
    """When its window opens, with WINDOW_CLOSED."""
    detail: str = ""
    """Message about the conditions."""
    registered_at: datetime | None = None
    """Tells the host from a later one of the same name; None: unknown, in a plan of an older version."""
    dependence: Dependence = Dependence()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedHost:
    """A host that a plan excludes."""

    name: str
    why: Exclusion
    detail: str
    dependence: Dependence = Dependence()


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveOutline:
    """One wave of a plan."""

    stage: str
    hosts: int
    expected: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOutline:
    """A plan without its hosts, of which there may be very many."""

    id: str
    created_at: datetime
    spec: RolloutSpec
    waves: tuple[WaveOutline, ...]
    host_count: int
    excluded_count: int
    not_selected: int
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    known_durations: int

    @property
    def expected(self) -> timedelta:
        """Estimated duration of the rollout, without waits for windows and approvals."""
        delays = self.spec.pause * max(0, len(self.waves) - 1)
        return sum((wave.expected for wave in self.waves), delays)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPart:
    """Some of the hosts of a plan; planned hosts come before excluded ones."""

    hosts: tuple[PlannedHost, ...] = ()
    excluded: tuple[ExcludedHost, ...] = ()

    @property
    def all(self) -> tuple[PlannedHost | ExcludedHost, ...]:
        """The hosts in their order."""
        return (*self.hosts, *self.excluded)

    def cut(self, first: int, last: int) -> "PlanPart":
        """The hosts from position `first` to before position `last`, from 0 over planned and excluded ones."""
        count = len(self.hosts)
        return PlanPart(
            hosts=self.hosts[first:last],
            excluded=self.excluded[max(0, first - count) : max(0, last - count)],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPlan:
    """The plan of a rollout."""

    id: str
    created_at: datetime
    spec: RolloutSpec
    waves: tuple[WaveOutline, ...]
    hosts: tuple[PlannedHost, ...]
    """In the order of the rollout."""
    excluded: tuple[ExcludedHost, ...]
    """By name."""
    not_selected: int
    """Number of registered hosts that the filter does not select."""
    warnings: tuple[str, ...] = ()
    """What would hold it up if it started now, without windows and busy hosts."""
    notes: tuple[str, ...] = ()
    """What its specification means for these hosts, by domain/rollouts/plan_notes.py."""
    known_durations: int
    """Number of hosts whose update duration is known; the others count with the median."""

    @property
    def expected(self) -> timedelta:
        """Estimated duration of the rollout, without waits for windows and approvals."""
        return self.outline.expected

    @property
    def outline(self) -> PlanOutline:
        """All but the hosts."""
        return PlanOutline(
            id=self.id,
            created_at=self.created_at,
            spec=self.spec,
            waves=self.waves,
            host_count=len(self.hosts),
            excluded_count=len(self.excluded),
            not_selected=self.not_selected,
            warnings=self.warnings,
            notes=self.notes,
            known_durations=self.known_durations,
        )

    @property
    def whole(self) -> PlanPart:
        """All of its hosts."""
        return PlanPart(hosts=self.hosts, excluded=self.excluded)


def plan_of(outline: PlanOutline, parts: Iterable[PlanPart]) -> RolloutPlan:
    """The plan with this outline and these hosts."""
    hosts: list[PlannedHost] = []
    excluded: list[ExcludedHost] = []
    for part in parts:
        hosts.extend(part.hosts)
        excluded.extend(part.excluded)
    return RolloutPlan(
        id=outline.id,
        created_at=outline.created_at,
        spec=outline.spec,
        waves=outline.waves,
        hosts=tuple(hosts),
        excluded=tuple(excluded),
        not_selected=outline.not_selected,
        warnings=outline.warnings,
        notes=outline.notes,
        known_durations=outline.known_durations,
    )


def require_sound_spec(spec: RolloutSpec) -> None:
    """Raise InvalidArgument unless `spec` is valid on its own."""
    require_sound(spec.division)
    require_sound_failures(spec.max_failures)


def plan_rollout(
    spec: RolloutSpec,
    fleet: Sequence[HostSummary],
    *,
    id: str,
    now: datetime,
    at_once: int,
    availability: Mapping[str, Availability],
    busy: frozenset[str],
    retry: frozenset[str] = frozenset(),
) -> RolloutPlan:
    """The plan of a rollout over `fleet`, which is every registered host.

    `availability` has the hosts that may not be changed now; `at_once` is the number of hosts of a rollout that
    may be in progress; `retry` are the hosts of a retry that are planned in FAILED, too. Raises InvalidArgument.
    """
    require_sound_spec(spec)
    depends = dependence_by_tags(spec.division)
    excluded: list[ExcludedHost] = []
    taken: dict[str, HostSummary] = {}
    tags: set[str] = set()
    lacking: dict[str, list[str]] = {}
    not_selected = 0
    for host in fleet:
        if not concerned(spec.filter, host):
            not_selected += 1
            continue
        tags.update(host.tags)
        reason = _exclusion(host, spec.filter, availability)
        if reason is None or (host.name in retry and reason.why is Exclusion.FAILED):
            taken[host.name] = host
        else:
            excluded.append(replace(reason, dependence=depends(host.tags)))
            for tag in host.tags:
                lacking.setdefault(tag, []).append(f"{host.name} ({reason.detail})")
    if taken and not retry:
        # A retry has a part of a selection for which the budgets were checked at its start.
        require_sound_budgets(spec.budgets, tags)
    candidates = [
        Candidate(name=h.name, tags=h.tags, last_updated=h.last_updated) for h in taken.values()
    ]
    cuts = (
        wave_plan(spec.division, candidates, excluded=lacking, require_tags=not retry)
        if candidates
        else ()
    )
    known = [h.update_took for h in taken.values() if h.update_took is not None]
    typical = statistics.median_low(known) if known else TYPICAL_UPDATE
    hosts: list[PlannedHost] = []
    waves: list[WaveOutline] = []
    for number, cut in enumerate(cuts):
        hosts.extend(
            replace(
                _planned(taken[name], number, availability.get(name), spec, now, busy=name in busy),
                dependence=depends(taken[name].tags),
            )
            for name in cut.hosts
        )
        took = [taken[name].update_took or typical for name in cut.hosts]
        waves.append(
            WaveOutline(stage=cut.stage, hosts=len(took), expected=_side_by_side(took, at_once))
        )
    plan = RolloutPlan(
        id=id,
        created_at=now,
        spec=spec,
        waves=tuple(waves),
        hosts=tuple(hosts),
        excluded=tuple(sorted(excluded, key=lambda host: host.name)),
        not_selected=not_selected,
        known_durations=len(known),
    )
    return replace(plan, notes=_notes(plan, taken))


def _notes(plan: RolloutPlan, taken: Mapping[str, HostSummary]) -> tuple[str, ...]:
    hosts = [
        NotedHost(name=h.name, tags=taken[h.name].tags, wave=h.wave, opens_at=h.opens_at)
        for h in plan.hosts
    ]
    return plan_notes(plan.spec, hosts, plan.created_at, plan.expected)


def plan_changes(former: RolloutPlan, current: RolloutPlan, *, named: int = 10) -> tuple[str, ...]:
    """Messages about the differences between `former` and `current`; empty: there are none.

    Only the hosts and their waves count. Each message names at most `named` hosts.
    """
    then = {host.name: host.wave for host in former.hosts}
    now = {host.name: host.wave for host in current.hosts}
    why = {host.name: host.detail for host in current.excluded}
    gone = sorted(then.keys() - now.keys())
    come = sorted(now.keys() - then.keys())
    moved = sorted(name for name in then.keys() & now.keys() if then[name] != now[name])
    registered = {host.name: host.registered_at for host in current.hosts}
    others = sorted(
        host.name
        for host in former.hosts
        if host.registered_at
        and host.registered_at != registered.get(host.name, host.registered_at)
    )
    kinds = (
        ("no longer in it", [f"{n} ({why[n]})" if n in why else n for n in gone]),
        ("new in it", come),
        ("removed and registered again", others),
        ("in another wave", [f"{n} ({then[n] + 1} → {now[n] + 1})" for n in moved]),
    )
    return tuple(f"{words}: {abbreviated(names, most=named)}" for words, names in kinds if names)


def concerned(selection: HostFilter, host: HostSummary) -> bool:
    """Whether the filter selects `host`, or would if it did not exclude it by name."""
    return (
        host.name.startswith(selection.name_prefix)
        and (not selection.names or selection.names_match(host.name))
        and all(tag in host.tags for tag in selection.all_tags)
        and (not selection.any_tags or any(tag in host.tags for tag in selection.any_tags))
        and (not selection.groups or any(group in host.groups for group in selection.groups))
        and (not selection.states or host.state in selection.states)
        and selection.reboot_needed in (None, host.reboot_needed)
        and (selection.also is None or _within(selection.also, host))
    )


def _within(saved: HostFilter, host: HostSummary) -> bool:
    return not saved.excludes(host.name) and concerned(saved, host)


def _exclusion(
    host: HostSummary, selection: HostFilter, availability: Mapping[str, Availability]
) -> ExcludedHost | None:
    if selection.excludes(host.name):
        words = "the filter excludes it by name"
        return ExcludedHost(name=host.name, why=Exclusion.EXCLUDED, detail=words)
    if host.jump_only:
        return ExcludedHost(name=host.name, why=Exclusion.JUMP_ONLY, detail=ONLY_JUMP)
    if host.state is HostState.FAILED:
        words = f"{FAILED_BEFORE}: {host.failed_with}"
        return ExcludedHost(name=host.name, why=Exclusion.FAILED, detail=words)
    closed = availability.get(host.name)
    if closed is not None and closed.until is None:
        return ExcludedHost(
            name=host.name, why=Exclusion.NEVER_OPEN, detail=f"{NEVER_OPEN}: {closed.message}"
        )
    return None


def _planned(
    host: HostSummary,
    wave: int,
    closed: Availability | None,
    spec: RolloutSpec,
    now: datetime,
    *,
    busy: bool,
) -> PlannedHost:
    found: list[tuple[PlannedHostCondition, str]] = []
    if closed is not None:
        found.append((PlannedHostCondition.WINDOW_CLOSED, closed.message))
        if opens_too_late(spec, closed.until, now):
            words = "the rollout expires before that and skips it"
            found.append((PlannedHostCondition.OPENS_TOO_LATE, words))
    if busy:
        found.append((PlannedHostCondition.BUSY, "another operation runs on it"))
    if host.unreachable:
        found.append(
            (PlannedHostCondition.UNREACHABLE, "it did not answer when it was last contacted")
        )
    if host.queried_at is not None and not host.pending_count:
        seen = f"nothing was pending at the last query, {host.queried_at:%Y-%m-%d %H:%M} UTC"
        found.append((PlannedHostCondition.NOTHING_PENDING, seen))
    return PlannedHost(
        name=host.name,
        wave=wave,
        conditions=tuple(kind for kind, _ in found),
        opens_at=closed.until if closed is not None else None,
        detail="; ".join(words for _, words in found),
        registered_at=host.registered_at,
    )


def _side_by_side(took: Sequence[timedelta], at_once: int) -> timedelta:
    """Shortest duration of updates that take `took`, `at_once` of them at the same time."""
    return max(*took, sum(took, timedelta()) / min(at_once, len(took)))
