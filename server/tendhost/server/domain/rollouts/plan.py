"""What a rollout would do: its waves with their hosts, who is left out and why, and how long it takes.

Pure: `plan_rollout` looks at what is stored of the fleet, never at a host. A rollout begins with the
plan that is made when it is started; `plan_changes` says how that differs from one made before.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.policy.availability import Availability
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.domain.rollouts.budgets import require_sound_budgets, require_sound_failures
from tendhost.server.domain.rollouts.rollout import RolloutSpec
from tendhost.server.domain.rollouts.waves import Candidate, require_sound, wave_plan

TYPICAL_UPDATE = timedelta(minutes=3)
"""What the update of a host is taken to need where no host of the rollout was ever updated."""


class Exclusion(StrEnum):
    """Why a host has no place in a rollout although its filter is about such hosts."""

    EXCLUDED = "excluded"
    """The filter names it as one to leave out."""
    FAILED = "failed"
    """It is in FAILED: a person has to look at it, and retry it, first."""
    NEVER_OPEN = "never_open"
    """The windows that hold for it are never open for as long as its update takes."""


class PlannedHostCondition(StrEnum):
    """What is known beforehand of a host that has its place."""

    NOTHING_PENDING = "nothing_pending"
    """At the last look nothing was pending on it."""
    UNREACHABLE = "unreachable"
    """It did not answer when it was last contacted."""
    BUSY = "busy"
    """Another operation runs on it, which is waited for."""
    WINDOW_CLOSED = "window_closed"
    """Its windows are closed, or it is frozen, and that is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSummary:
    """What a plan needs to know of a registered host."""

    name: str
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    state: HostState = HostState.IDLE
    pending_count: int = 0
    security_count: int | None = 0
    """None: the host's archives do not tell."""
    queried_at: datetime | None = None
    last_updated: datetime | None = None
    update_took: timedelta | None = None
    """How long its last successful update took."""
    windows: tuple[MaintenanceWindow, ...] = ()
    """Its own; empty: those of its groups and of the fleet."""
    reboot_needed: bool = False
    unreachable: bool = False
    failed_with: str = ""
    """In FAILED: the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedHost:
    """One host of a plan, with what is expected of it."""

    name: str
    wave: int
    """From 0."""
    conditions: tuple[PlannedHostCondition, ...] = ()
    opens_at: datetime | None = None
    """With WINDOW: when."""
    detail: str = ""
    """The conditions in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedHost:
    """A host that has no place in a plan."""

    name: str
    why: Exclusion
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveOutline:
    """One wave of a plan."""

    stage: str
    hosts: int
    expected: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOutline:
    """A plan without its hosts, which may be very many."""

    id: str
    created_at: datetime
    spec: RolloutSpec
    waves: tuple[WaveOutline, ...]
    host_count: int
    excluded_count: int
    not_selected: int
    warnings: tuple[str, ...]
    known_durations: int

    @property
    def expected(self) -> timedelta:
        """How long the rollout would take, the waits for windows and approvals apart."""
        delays = self.spec.pause * max(0, len(self.waves) - 1)
        return sum((wave.expected for wave in self.waves), delays)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPart:
    """Some of the hosts of a plan: those that have their place in it come before those that have none."""

    hosts: tuple[PlannedHost, ...] = ()
    excluded: tuple[ExcludedHost, ...] = ()

    @property
    def all(self) -> tuple[PlannedHost | ExcludedHost, ...]:
        """The hosts in their order."""
        return (*self.hosts, *self.excluded)

    def cut(self, first: int, last: int) -> "PlanPart":
        """The hosts from the place `first` until before the place `last`, counted from 0 over both."""
        count = len(self.hosts)
        return PlanPart(
            hosts=self.hosts[first:last],
            excluded=self.excluded[max(0, first - count) : max(0, last - count)],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPlan:
    """What a rollout would do."""

    id: str
    created_at: datetime
    spec: RolloutSpec
    waves: tuple[WaveOutline, ...]
    hosts: tuple[PlannedHost, ...]
    """In the order of the rollout."""
    excluded: tuple[ExcludedHost, ...]
    """By name."""
    not_selected: int
    """How many registered hosts the filter is not about."""
    warnings: tuple[str, ...] = ()
    """What would hold it up if it began now, windows and busy hosts apart."""
    known_durations: int
    """For how many hosts it is known how long an update takes; the others are taken as their median."""

    @property
    def expected(self) -> timedelta:
        """How long the rollout would take, the waits for windows and approvals apart."""
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
            known_durations=self.known_durations,
        )

    @property
    def whole(self) -> PlanPart:
        """All of its hosts."""
        return PlanPart(hosts=self.hosts, excluded=self.excluded)


def plan_of(outline: PlanOutline, parts: Iterable[PlanPart]) -> RolloutPlan:
    """The plan of which this is the outline, with its hosts."""
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
        known_durations=outline.known_durations,
    )


def require_sound_spec(spec: RolloutSpec) -> None:
    """Raise InvalidArgument unless the parts of `spec` can be understood and met."""
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
    retry: bool = False,
) -> RolloutPlan:
    """The plan of a rollout over `fleet`, which is every registered host.

    `availability` holds the hosts that may not be changed now; `at_once` is how many hosts of a rollout may
    be under way; with `retry` hosts in FAILED have their place. Raises InvalidArgument.
    """
    require_sound_spec(spec)
    excluded: list[ExcludedHost] = []
    taken: dict[str, HostSummary] = {}
    tags: set[str] = set()
    not_selected = 0
    for host in fleet:
        if not concerned(spec.filter, host):
            not_selected += 1
            continue
        tags.update(host.tags)
        reason = _left_out(host, spec.filter, availability)
        if reason is None or (retry and reason.why is Exclusion.FAILED):
            taken[host.name] = host
        else:
            excluded.append(reason)
    if taken and not retry:
        # Of a retry they were sound for the whole selection, of which few hosts may be left.
        require_sound_budgets(spec.budgets, tags)
    candidates = [
        Candidate(name=h.name, tags=h.tags, last_updated=h.last_updated) for h in taken.values()
    ]
    cuts = wave_plan(spec.division, candidates) if candidates else ()
    known = [h.update_took for h in taken.values() if h.update_took is not None]
    typical = statistics.median_low(known) if known else TYPICAL_UPDATE
    hosts: list[PlannedHost] = []
    waves: list[WaveOutline] = []
    for number, cut in enumerate(cuts):
        hosts.extend(
            _planned(taken[name], number, availability.get(name), name in busy)
            for name in cut.hosts
        )
        took = [taken[name].update_took or typical for name in cut.hosts]
        waves.append(
            WaveOutline(stage=cut.stage, hosts=len(took), expected=_side_by_side(took, at_once))
        )
    return RolloutPlan(
        id=id,
        created_at=now,
        spec=spec,
        waves=tuple(waves),
        hosts=tuple(hosts),
        excluded=tuple(sorted(excluded, key=lambda host: host.name)),
        not_selected=not_selected,
        known_durations=len(known),
    )


def plan_changes(former: RolloutPlan, current: RolloutPlan, *, named: int = 10) -> tuple[str, ...]:
    """How the rollout of `current` differs from that of `former`, in words; empty: not at all.

    Only what would be done differently counts: who is in it, and in which wave. Of each kind of
    difference at most `named` hosts are named.
    """
    then = {host.name: host.wave for host in former.hosts}
    now = {host.name: host.wave for host in current.hosts}
    why = {host.name: host.detail for host in current.excluded}
    gone = sorted(then.keys() - now.keys())
    come = sorted(now.keys() - then.keys())
    moved = sorted(name for name in then.keys() & now.keys() if then[name] != now[name])
    kinds = (
        ("no longer in it", [f"{n} ({why[n]})" if n in why else n for n in gone]),
        ("new in it", come),
        ("in another wave", [f"{n} ({then[n] + 1} → {now[n] + 1})" for n in moved]),
    )
    return tuple(
        f"{words}: {', '.join(names[:named])}"
        + (f" and {len(names) - named} more" if len(names) > named else "")
        for words, names in kinds
        if names
    )


def concerned(selection: HostFilter, host: HostSummary) -> bool:
    """Whether the filter is about such hosts, the ones that it excludes by name included."""
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


def _left_out(
    host: HostSummary, selection: HostFilter, availability: Mapping[str, Availability]
) -> ExcludedHost | None:
    if selection.excludes(host.name):
        words = "the filter excludes it by name"
        return ExcludedHost(name=host.name, why=Exclusion.EXCLUDED, detail=words)
    if host.state is HostState.FAILED:
        words = f"it has failed and has to be retried first: {host.failed_with}"
        return ExcludedHost(name=host.name, why=Exclusion.FAILED, detail=words)
    closed = availability.get(host.name)
    if closed is not None and closed.until is None:
        return ExcludedHost(name=host.name, why=Exclusion.NEVER_OPEN, detail=closed.message)
    return None


def _planned(host: HostSummary, wave: int, closed: Availability | None, busy: bool) -> PlannedHost:
    found: list[tuple[PlannedHostCondition, str]] = []
    if closed is not None:
        found.append((PlannedHostCondition.WINDOW_CLOSED, closed.message))
    if busy:
        found.append((PlannedHostCondition.BUSY, "another operation runs on it"))
    if host.unreachable:
        found.append((PlannedHostCondition.UNREACHABLE, "it did not answer at the last contact"))
    if host.queried_at is not None and not host.pending_count:
        seen = f"nothing was pending at the last look, {host.queried_at:%Y-%m-%d %H:%M} UTC"
        found.append((PlannedHostCondition.NOTHING_PENDING, seen))
    if not found:
        return PlannedHost(name=host.name, wave=wave)
    return PlannedHost(
        name=host.name,
        wave=wave,
        conditions=tuple(kind for kind, _ in found),
        opens_at=closed.until if closed is not None else None,
        detail="; ".join(words for _, words in found),
    )


def _side_by_side(took: Sequence[timedelta], at_once: int) -> timedelta:
    """How long work takes of which `at_once` pieces are under way at a time, at least."""
    return max(*took, sum(took, timedelta()) / min(at_once, len(took)))
