"""What holds for every host of a group, or of the fleet, and what of it holds for one host.

The nearer says more: a host's own policy, then its groups in the order of their names, then the fleet.
A host's own windows take the place of those of its groups, and these of those of the fleet; windows of
several groups all have to be open. Freeze periods of all of them add up, and so do health checks. Of
hooks and of the settling time the nearest counts, each by itself.
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
"""In place of a group's name: every host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPolicy:
    """What holds for the hosts of a group, or of the fleet, as far as nothing nearer says otherwise."""

    group: str = FLEET
    windows: tuple[MaintenanceWindow, ...] = ()
    """Its hosts may be changed in any of them; empty: nothing is said of it here."""
    freezes: tuple[FreezePeriod, ...] = ()
    hooks: Hooks = Hooks()
    health_checks: HealthChecks = HealthChecks()
    changed_by: str = ""
    changed_at: datetime | None = None
    """None: nothing was ever said for it."""
    revision: int = 0
    """The fleet's revision at which it last changed; 0: it is not stored."""

    @property
    def said(self) -> tuple[object, ...]:
        """What is said, without who said it and when."""
        return self.windows, self.freezes, self.hooks, self.health_checks

    @property
    def etag(self) -> str:
        """Changes with what is said."""
        return etag_of(self.group, *self.said)


class SourceKind(StrEnum):
    """Who can say what holds for a host."""

    HOST = "host"
    GROUP = "group"
    FLEET = "fleet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a part of an effective policy comes from."""

    kind: SourceKind
    group: str = ""
    """With GROUP: its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sourced(Generic[T]):
    """A part of an effective policy, with where it comes from."""

    value: T
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectivePolicy:
    """What holds for a host, of all that is inherited."""

    windows: tuple[Sourced[tuple[MaintenanceWindow, ...]], ...] = ()
    """Of each of these sets one window has to be open."""
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
        """The hooks that run on it."""
        return Hooks(
            pre=self.pre_hook.value if self.pre_hook else None,
            post=self.post_hook.value if self.post_hook else None,
        )

    @property
    def health_checks(self) -> HealthChecks:
        """What it has to pass to count as healthy."""
        return HealthChecks(
            checks=tuple(part.value for part in self.checks),
            settle=self.settle.value if self.settle else None,
        )


def effective(config: HostConfig, group_policies: Mapping[str, GroupPolicy]) -> EffectivePolicy:
    """What holds for a host, with the defaults of every group that has some, and the fleet's."""
    policy = config.policy
    wider = _wider(config.groups, group_policies)
    hooks = [(_HOST, policy.hooks), *((source, d.hooks) for source, d in wider)]
    health = [(_HOST, policy.health_checks), *((source, d.health_checks) for source, d in wider)]
    checks: dict[HealthCheck, Source] = {}
    for source, part in health:
        for check in part.checks:
            checks.setdefault(check, source)
    return EffectivePolicy(
        windows=_windows(policy.maintenance_windows, wider),
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
    """When a host of these groups may be changed that has `windows` of its own."""
    wider = _wider(groups, group_policies)
    return EffectivePolicy(windows=_windows(windows, wider), freezes=_freezes(wider)).open_times


_HOST = Source(kind=SourceKind.HOST)
_Wider = Sequence[tuple[Source, GroupPolicy]]
"""The defaults that a host inherits from, the nearest first."""


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
    said = [Sourced(value=d.windows, source=source) for source, d in wider if d.windows]
    of_groups = tuple(part for part in said if part.source.kind is SourceKind.GROUP)
    return of_groups or tuple(said)


def _freezes(wider: _Wider) -> tuple[Sourced[FreezePeriod], ...]:
    return tuple(
        Sourced(value=freeze, source=source) for source, d in wider for freeze in d.freezes
    )


def _nearest(parts: Iterable[tuple[Source, T | None]]) -> Sourced[T] | None:
    for source, part in parts:
        if part is not None:
            return Sourced(value=part, source=source)
    return None
