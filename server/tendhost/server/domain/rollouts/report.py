"""Reports: the result of a rollout, and the compliance of a fleet, as sums of what is stored."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tendhost.server.domain.operations.operation import Operation
from tendhost.server.domain.rollouts.plan import HostSummary
from tendhost.server.domain.rollouts.rollout import Member, MemberStatus, Rollout, Wave
from tendhost.server.domain.slices import SortedInSlices

NAMED_HOSTS = 100
"""Hosts that a report names for each cause; it counts all of them."""


REBOOT_LEFT = "its reboot was left: "
"""Before the reason, in the detail of a member whose reboot was left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageLine:
    """A package version that hosts got; `to_version` empty: the package was removed."""

    name: str
    to_version: str
    hosts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseLine:
    """Hosts that failed, were skipped, or kept a needed reboot, for one cause."""

    reason: str
    """Reason of the problem, such as HOST_UNREACHABLE; for the others a text."""
    example: str
    """The message of one of the hosts."""
    count: int
    hosts: tuple[str, ...]
    """The first NAMED_HOSTS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReport:
    """The result of a rollout."""

    rollout: Rollout
    waves: tuple[Wave, ...]
    duration: timedelta | None
    """None: it has not ended."""
    packages: tuple[PackageLine, ...]
    """By name and version."""
    rebooted: tuple[str, ...]
    """The first NAMED_HOSTS."""
    reboots: int
    failures: tuple[CauseLine, ...]
    """The most frequent first."""
    skipped: tuple[CauseLine, ...]
    reboots_left: tuple[CauseLine, ...]
    """Completed hosts that kept a reboot which they need, by the reason."""
    longest: timedelta
    """Longest duration of an update."""
    longest_host: str


@dataclass(slots=True)
class _Cause:
    example: str = ""
    count: int = 0
    hosts: list[str] = field(default_factory=list)

    def add(self, host: str, words: str) -> None:
        self.count += 1
        self.example = self.example or words
        if len(self.hosts) < NAMED_HOSTS:
            self.hosts.append(host)


class ReportBuilder:
    """Builds the report of a rollout from its members and operations."""

    def __init__(self, rollout: Rollout, waves: Iterable[Wave]) -> None:
        self._rollout = rollout
        self._waves = tuple(waves)
        self._packages: dict[tuple[str, str], set[str]] = {}
        self._failures: dict[str, _Cause] = {}
        self._skipped: dict[str, _Cause] = {}
        self._reboots_left: dict[str, _Cause] = {}
        self._rebooted: dict[str, None] = {}
        self._longest = (timedelta(), "")

    def add_member(self, member: Member) -> None:
        """Count a member if it was skipped, or its reboot was left."""
        if member.reboot_left:
            words = member.detail.removeprefix(REBOOT_LEFT)
            self._reboots_left.setdefault(words, _Cause()).add(member.host, member.detail)
        if member.status is MemberStatus.SKIPPED:
            words = member.detail.partition(":")[0]
            self._skipped.setdefault(words, _Cause()).add(member.host, member.detail)

    def add_operation(self, operation: Operation, member: Member | None) -> None:
        """Count the changes of an operation; its failure counts only if it is the last one of its member."""
        update = operation.update
        if update is not None and not update.rolled_back and not operation.only_prepares:
            for change in update.changes:
                key = (change.name, change.to_version)
                self._packages.setdefault(key, set()).add(operation.host)
        if operation.rebooted:
            self._rebooted[operation.host] = None
        if operation.started_at is not None and operation.ended_at is not None:
            took = operation.ended_at - operation.started_at
            self._longest = max(self._longest, (took, operation.host))
        is_last = member is not None and member.operation == operation.id
        if is_last and member is not None and member.status.failed and operation.problem:
            problem = operation.problem
            self._failures.setdefault(problem.reason, _Cause()).add(operation.host, problem.message)

    def report(self) -> RolloutReport:
        """The report on everything that was added."""
        rollout = self._rollout
        ended = rollout.ended_at
        return RolloutReport(
            rollout=rollout,
            waves=self._waves,
            duration=None if ended is None else ended - rollout.created_at,
            packages=tuple(
                PackageLine(name=name, to_version=version, hosts=len(hosts))
                for (name, version), hosts in sorted(self._packages.items())
            ),
            rebooted=tuple(list(self._rebooted)[:NAMED_HOSTS]),
            reboots=len(self._rebooted),
            failures=_lines(self._failures),
            skipped=_lines(self._skipped),
            reboots_left=_lines(self._reboots_left),
            longest=self._longest[0],
            longest_host=self._longest[1],
        )


def _lines(causes: dict[str, _Cause]) -> tuple[CauseLine, ...]:
    found = (
        CauseLine(reason=reason, example=c.example, count=c.count, hosts=tuple(c.hosts))
        for reason, c in causes.items()
    )
    return tuple(sorted(found, key=lambda line: (-line.count, line.reason)))


DAYS = (1, 7, 30, 90)
"""Bounds of the ages by which hosts are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """Number of hosts whose last successful update is at most `days` ago, and longer than the bound before;
    `days` None: longer than any bound, or never."""

    days: int | None
    hosts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OverdueHost:
    """A host with open security updates, or without an update for too long."""

    host: str
    last_updated: datetime | None
    security: int | None
    """Number of open security updates; None: unknown."""
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compliance:
    """How up to date a fleet is."""

    hosts: int
    ages: tuple[Age, ...]
    without_open_fixes: int
    with_open_fixes: int
    fixes_unknown: int
    """Number of hosts for which it is unknown whether they have open security updates."""
    overdue_hosts: tuple[OverdueHost, ...]
    """The requested overdue hosts: most open security updates first, then longest time since the last update."""
    overdue_host_count: int
    """Number of all overdue hosts."""


def compliance(
    fleet: Iterable[HostSummary], now: datetime, overdue: timedelta, *, first: int, last: int
) -> Compliance:
    """How up to date the hosts of `fleet` are, with the overdue hosts from position `first` to before `last`.

    A host without an update for longer than `overdue`, or with open security updates, is overdue.
    """
    ages = dict.fromkeys((*DAYS, None), 0)
    bounds = [(days, timedelta(days=days)) for days in DAYS]
    counts = {"without": 0, "with": 0, "unknown": 0}
    overdue_hosts: SortedInSlices[_OverdueKey] = SortedInSlices()
    total = 0
    for host in fleet:
        total += 1
        age = None if host.last_updated is None else now - host.last_updated
        bound = next((days for days, most in bounds if age is not None and age <= most), None)
        ages[bound] += 1
        security = host.security_count if host.queried_at is not None else None
        counts["unknown" if security is None else "with" if security else "without"] += 1
        if security or age is None or age > overdue:
            updated = host.last_updated
            key = (-(security or 0), updated is not None, updated or now, host.name)
            overdue_hosts.add((*key, security is None, str(host.state)))
    return Compliance(
        hosts=total,
        ages=tuple(Age(days=days, hosts=count) for days, count in ages.items()),
        without_open_fixes=counts["without"],
        with_open_fixes=counts["with"],
        fixes_unknown=counts["unknown"],
        overdue_hosts=tuple(_overdue_host(key) for key in overdue_hosts.between(first, last)),
        overdue_host_count=len(overdue_hosts),
    )


_OverdueKey = tuple[int, bool, datetime, str, bool, str]
"""Sort key of overdue hosts, followed by their other fields."""


def _overdue_host(key: _OverdueKey) -> OverdueHost:
    fixes, was_updated, updated, name, unknown, state = key
    return OverdueHost(
        host=name,
        last_updated=updated if was_updated else None,
        security=None if unknown else -fixes,
        state=state,
    )
