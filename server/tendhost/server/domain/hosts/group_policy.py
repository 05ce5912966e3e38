"""Policies of groups and of the fleet, and the effective policy of one host.

The order of precedence: the host's own policy, then its groups by name, then the fleet. A host's own windows
replace those of its groups, and these replace those of the fleet; windows of several groups must all be
open. Freeze periods of all levels add up, and so do health checks. Each hook, and the settling time, comes
from the first level that has it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

from tendhost.server.domain.etags import etag_of
from tendhost.server.domain.hosts.host import HostConfig
from tendhost.server.domain.policy.availability import ChangeWindows
from tendhost.server.domain.policy.freezes import FreezePeriod
from tendhost.server.domain.policy.health_checks import HealthCheck, HealthChecks
from tendhost.server.domain.policy.hooks import Hook, Hooks
from tendhost.server.domain.policy.windows import MaintenanceWindow

T = TypeVar("T")

FLEET = ""
"""Name of the policy for every host, in place of a group's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPolicy:
    """The policy of a group, or of the fleet, which hosts inherit."""

    group: str = FLEET
    windows: tuple[MaintenanceWindow, ...] = ()
    """Its hosts may be changed in any of these windows; empty: not set here."""
    freezes: tuple[FreezePeriod, ...] = ()
    hooks: Hooks = Hooks()
    health_checks: HealthChecks = HealthChecks()
    changed_by: str = ""
    changed_at: datetime | None = None
    """None: the policy was never set."""
    revision: int = 0
    """Revision at which it last changed; 0: it is not stored."""

    @property
    def settings(self) -> tuple[object, ...]:
        """The settings, without who changed them and when."""
        return self.windows, self.freezes, self.hooks, self.health_checks

    @property
    def etag(self) -> str:
        """Changes with the settings."""
        return etag_of(self.group, *self.settings)


class SourceKind(StrEnum):
    """The levels of policies."""

    HOST = "host"
    GROUP = "group"
    FLEET = "fleet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a part of an effective policy comes from."""

    kind: SourceKind
    group: str = ""
    """Name of the group, with GROUP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sourced(Generic[T]):
    """A part of an effective policy, with its source."""

    value: T
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectivePolicy:
    """The effective policy of a host, with the source of each part."""

    windows: tuple[Sourced[tuple[MaintenanceWindow, ...]], ...] = ()
    """Sets of windows; one window of each must be open."""
    freezes: tuple[Sourced[FreezePeriod], ...] = ()
    pre_hook: Sourced[Hook] | None = None
    post_hook: Sourced[Hook] | None = None
    checks: tuple[Sourced[HealthCheck], ...] = ()
    settle: Sourced[timedelta] | None = None

    @property
    def open_times(self) -> ChangeWindows:
        """When the host may be changed."""
        return ChangeWindows(
            windows=tuple(part.value for part in self.windows),
            freezes=tuple(part.value for part in self.freezes),
        )

    @property
    def hooks(self) -> Hooks:
        """The hooks that run on the host."""
        return Hooks(
            pre=self.pre_hook.value if self.pre_hook else None,
            post=self.post_hook.value if self.post_hook else None,
        )

    @property
    def health_checks(self) -> HealthChecks:
        """The checks that the host must pass to count as healthy."""
        return HealthChecks(
            checks=tuple(part.value for part in self.checks),
            settle=self.settle.value if self.settle else None,
        )


def effective(config: HostConfig, group_policies: Mapping[str, GroupPolicy]) -> EffectivePolicy:
    """The effective policy of a host, with the policies of its groups and of the fleet."""
    policy = config.policy
    wider = _wider(config.groups, group_policies)
    hooks = [(_HOST, policy.hooks), *((source, d.hooks) for source, d in wider)]
    health = [(_HOST, policy.health_checks), *((source, d.health_checks) for source, d in wider)]
    checks: dict[HealthCheck, Source] = {}
    for source, part in health:
        for check in part.checks:
            checks.setdefault(check, source)
    return EffectivePolicy(
        windows=_windows(policy.windows, wider),
        freezes=_freezes(wider),
        pre_hook=_nearest((source, part.pre) for source, part in hooks),
        post_hook=_nearest((source, part.post) for source, part in hooks),
        checks=tuple(Sourced(value=check, source=source) for check, source in checks.items()),
        settle=_nearest((source, part.settle) for source, part in health),
    )


def open_times(
    windows: tuple[MaintenanceWindow, ...],
    groups: Iterable[str],
    group_policies: Mapping[str, GroupPolicy],
) -> ChangeWindows:
    """When a host with these windows of its own and in these groups may be changed."""
    wider = _wider(groups, group_policies)
    return EffectivePolicy(windows=_windows(windows, wider), freezes=_freezes(wider)).open_times


_HOST = Source(kind=SourceKind.HOST)
_Wider = Sequence[tuple[Source, GroupPolicy]]
"""The policies that a host inherits from, in order of precedence."""


def _wider(groups: Iterable[str], group_policies: Mapping[str, GroupPolicy]) -> _Wider:
    found = [
        (Source(kind=SourceKind.GROUP, group=name), group_policies[name])
        for name in sorted(set(groups))
        if name in group_policies
    ]
    if FLEET in group_policies:
        found.append((Source(kind=SourceKind.FLEET), group_policies[FLEET]))
    return found


def _windows(
    own: tuple[MaintenanceWindow, ...], wider: _Wider
) -> tuple[Sourced[tuple[MaintenanceWindow, ...]], ...]:
    if own:
        return (Sourced(value=own, source=_HOST),)
    inherited = [Sourced(value=d.windows, source=source) for source, d in wider if d.windows]
    of_groups = tuple(part for part in inherited if part.source.kind is SourceKind.GROUP)
    return of_groups or tuple(inherited)


def _freezes(wider: _Wider) -> tuple[Sourced[FreezePeriod], ...]:
    return tuple(
        Sourced(value=freeze, source=source) for source, d in wider for freeze in d.freezes
    )


def _nearest(parts: Iterable[tuple[Source, T | None]]) -> Sourced[T] | None:
    for source, part in parts:
        if part is not None:
            return Sourced(value=part, source=source)
    return None
