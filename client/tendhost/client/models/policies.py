"""Group, fleet and effective policies."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.client.models.health import HealthCheck, HealthChecks, Hook, Hooks
from tendhost.client.models.hosts import MaintenanceWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezePeriod:
    """Period from `starts_at` to `ends_at`, both aware, in which no host is changed, even if a window is open."""

    name: str
    starts_at: datetime
    ends_at: datetime
    reason: str = ""
    time_zone: str = "UTC"
    """IANA time zone in which messages show the period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPolicy:
    """Policy for every host of a group or of the fleet; a nearer policy overrides it."""

    group: str = ""
    """Empty: the fleet."""
    windows: tuple[MaintenanceWindow, ...] = ()
    """Empty: this policy sets no windows."""
    freezes: tuple[FreezePeriod, ...] = ()
    hooks: Hooks = Hooks()
    health_checks: HealthChecks = HealthChecks()
    changed_by: str = ""
    changed_at: datetime | None = None
    """None: the policy was never set."""
    revision: int = 0
    etag: str = ""
    """Changes with the policy. A change that sends it is refused if the policy has changed since."""
    warnings: tuple[str, ...] = ()
    """Possible mistakes: that no host is in the group; not set in lists."""
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""


class PolicySourceKind(StrEnum):
    """Kinds of policies that a setting of a host can come from."""

    HOST = "host"
    GROUP = "group"
    FLEET = "fleet"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySource:
    """Policy that a part of an effective policy comes from."""

    kind: PolicySourceKind
    group: str
    """Name of the group, for GROUP; otherwise empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveWindows:
    """Set of maintenance windows of which one must be open."""

    windows: tuple[MaintenanceWindow, ...]
    source: PolicySource


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveFreeze:
    """Freeze period that applies to a host."""

    freeze: FreezePeriod
    source: PolicySource


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveHook:
    """Hook that runs on a host."""

    hook: Hook
    source: PolicySource


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveCheck:
    """Health check that a host must pass."""

    check: HealthCheck
    source: PolicySource


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveSettle:
    """Settling time of a host's health checks."""

    settle: timedelta
    source: PolicySource


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectivePolicy:
    """Policy that applies to one host after inheritance, and when the host may be updated."""

    host: str
    windows: tuple[EffectiveWindows, ...]
    """Sets of windows; in each set one window must be open."""
    freezes: tuple[EffectiveFreeze, ...]
    pre_hook: EffectiveHook | None
    post_hook: EffectiveHook | None
    checks: tuple[EffectiveCheck, ...]
    settle: EffectiveSettle | None
    update_allowed: bool
    """Whether an update may start now."""
    opens_at: datetime | None
    """Next time at which an update may start, if not now; None: never."""
    detail: str
    """Why an update is not allowed now."""
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""
