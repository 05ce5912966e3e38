"""Group, fleet and effective policies."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.client.models.health import HealthCheck, HealthChecks, Hook, Hooks
from tendhost.client.models.hosts import MaintenanceWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezePeriod:
    """From `starts_at` until `ends_at`, both aware, nothing is changed, whatever the windows say."""

    name: str
    starts_at: datetime
    ends_at: datetime
    reason: str = ""
    time_zone: str = "UTC"
    """In which people are told of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPolicy:
    """What holds for the hosts of a group, or of the fleet, as far as nothing nearer says otherwise."""

    group: str = ""
    """Empty: the fleet."""
    windows: tuple[MaintenanceWindow, ...] = ()
    """Empty: nothing is said of it here."""
    freezes: tuple[FreezePeriod, ...] = ()
    hooks: Hooks = Hooks()
    health_checks: HealthChecks = HealthChecks()
    changed_by: str = ""
    changed_at: datetime | None = None
    """None: nothing was ever said for it."""
    revision: int = 0
    etag: str = ""
    """Of what is said. Given back with a change: nothing is changed where it is another one by now."""
    warnings: tuple[str, ...] = ()
    """What may be a mistake: that no host is in the group; not told in lists."""
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""


class PolicySourceKind(StrEnum):
    """Who can say what holds for a host."""

    HOST = "host"
    GROUP = "group"
    FLEET = "fleet"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySource:
    """Where a part of an effective policy comes from."""

    kind: PolicySourceKind
    group: str
    """With GROUP: which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveWindows:
    """Windows of which one has to be open."""

    windows: tuple[MaintenanceWindow, ...]
    source: PolicySource


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveFreeze:
    """A freeze period that holds for a host."""

    freeze: FreezePeriod
    source: PolicySource


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveHook:
    """A hook that runs on a host."""

    hook: Hook
    source: PolicySource


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveCheck:
    """A check that a host has to pass."""

    check: HealthCheck
    source: PolicySource


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveSettle:
    """For how long a host has to be healthy."""

    settle: timedelta
    source: PolicySource


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectivePolicy:
    """What holds for a host, of all that it inherits, and when it may be updated."""

    host: str
    windows: tuple[EffectiveWindows, ...]
    """Of each of them a window has to be open."""
    freezes: tuple[EffectiveFreeze, ...]
    pre_hook: EffectiveHook | None
    post_hook: EffectiveHook | None
    checks: tuple[EffectiveCheck, ...]
    settle: EffectiveSettle | None
    update_allowed: bool
    """Whether an update may begin now."""
    opens_at: datetime | None
    """If not: when; None: never."""
    detail: str
    """If not: why."""
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""
