"""Hosts, their settings and their states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, TypedDict

from tendhost.client.models.health import HealthChecks, Hook, Hooks


class HostState(StrEnum):
    """State of a host."""

    IDLE = "idle"
    QUERYING = "querying"
    PENDING_UPDATES = "pending_updates"
    UPDATING = "updating"
    WAITING_REBOOT = "waiting_reboot"
    REBOOTING = "rebooting"
    VERIFYING = "verifying"
    FAILED = "failed"
    UNRECOGNIZED = "unrecognized"


class RebootNeed(StrEnum):
    """Whether a host needs a reboot."""

    UNKNOWN = "unknown"
    NOT_NEEDED = "not_needed"
    NEEDED = "needed"


class RootAccess(StrEnum):
    """How the user who logs in on a host becomes root there."""

    UNKNOWN = "unknown"
    ROOT = "root"
    """The user is root."""
    SUDO = "sudo"
    """With `sudo -n`."""
    NONE = "none"


class AfterInterruption(StrEnum):
    """What to do after an upgrade that was interrupted on the host; see the contract."""

    UPGRADE = "upgrade"
    REPAIR = "repair"
    UNRECOGNIZED = "unrecognized"


class ComposeVersion(StrEnum):
    """Version of docker compose on a host."""

    AUTO = "auto"
    V1 = "v1"
    V2 = "v2"
    UNRECOGNIZED = "unrecognized"


class RestartServices(StrEnum):
    """What to do about services that still run replaced files after an update."""

    NEVER = "never"
    RESTART = "restart"
    REBOOT = "reboot"
    UNRECOGNIZED = "unrecognized"


class Snapshots(StrEnum):
    """Whether to make a file system snapshot before a change."""

    NEVER = "never"
    IF_POSSIBLE = "if_possible"
    REQUIRED = "required"
    UNRECOGNIZED = "unrecognized"


class Rollback(StrEnum):
    """Whether to roll back an update automatically."""

    NEVER = "never"
    UNHEALTHY = "unhealthy"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Error on a host: `reason` is for programs, `message` for people."""

    reason: str
    message: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceWindow:
    """When a host may be changed: HH:MM to HH:MM, on `days` ("mon" … "sun", empty: every day)."""

    start: str
    end: str
    days: tuple[str, ...] = ()
    time_zone: str = "UTC"
    cutoff: timedelta = timedelta()
    """Time before the end of the window in which nothing new starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateScope:
    """Part of the pending updates that an update installs; `include` and `exclude` are globs of package names."""

    security_only: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_removals: bool = False
    autoremove: bool = False
    download_first: bool = False


class HostSettings(TypedDict, total=False):
    """The keywords of `add_host` and `reconfigure_host` for the configuration of a host.

    None is as if it were not given: the server's default for a new host, and no change for another.
    Sequences replace those of before. See HostConfig and Policy in the contract.
    """

    port: int | None
    """1 to 65535; for a new host 22 unless it is given."""
    user: str | None
    """For a new host root unless it is given."""
    ssh_key: str | None
    """Path of a private key on the server; empty: the server's own."""
    jump: str | None
    """Name of the registered host through which it is reached; empty: directly."""
    jump_only: bool | None
    """Whether it is registered only as a jump for others; it is then neither queried nor changed."""
    compose_paths: Sequence[str] | None
    compose_version: ComposeVersion | None
    pull_before_update: bool | None
    compose_health_timeout: timedelta | None
    compose_prune: bool | None
    tags: Sequence[str] | None
    groups: Sequence[str] | None
    auto_reboot: bool | None
    windows: Sequence[MaintenanceWindow] | None
    """Empty: those of the host's groups, or of the fleet."""
    after_interruption: AfterInterruption | None
    scope: UpdateScope | None
    restart_services: RestartServices | None
    snapshots: Snapshots | None
    rollback: Rollback | None
    hooks: Hooks | None
    """Replaces both hooks."""
    pre_hook: Hook | Literal["none"] | None
    """Replaces one hook; "none" removes it."""
    post_hook: Hook | Literal["none"] | None
    """As `pre_hook`."""
    health_checks: HealthChecks | None
    """Replaces the checks, and the settling time where it has one."""
    settle: timedelta | None
    """Replaces the settling time alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeOverride:
    """Scope of one request; None and empty fields keep the value of each host's policy."""

    security_only: bool | None = None
    include: tuple[str, ...] = ()
    """Names of the packages to update, in place of those of the policy."""
    exclude: tuple[str, ...] = ()
    """Names of packages that must not change, in addition to those of the policy."""
    ignore_policy_packages: bool = False
    """Whether to ignore `include` and `exclude` of the policy."""
    allow_removals: bool | None = None
    autoremove: bool | None = None
    download_first: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reboot:
    """Whether a host needs a reboot, why, and since when."""

    need: RebootNeed
    reason: str
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a host is in FAILED, and who acknowledged it."""

    previous_state: HostState
    step: str
    problem: Problem
    failed_at: datetime | None
    retry_count: int
    acknowledged_by: str
    acknowledged_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Other registered host that is, or may be, the same machine, with what both have in common."""

    host: str
    same_host_key: bool
    same_address: bool
    same_machine_id: bool
    """If nothing else is the same, they may also be two copies of one image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Registered Linux machine: its configuration and its status."""

    name: str
    address: str
    port: int
    user: str
    ssh_key: str
    jump: str
    jump_only: bool
    compose_paths: tuple[str, ...]
    compose_version: ComposeVersion
    pull_before_update: bool
    compose_health_timeout: timedelta
    compose_prune: bool
    tags: tuple[str, ...]
    groups: tuple[str, ...]
    auto_reboot: bool
    windows: tuple[MaintenanceWindow, ...]
    """The host's own windows; empty: those of its groups or of the fleet."""
    after_interruption: AfterInterruption
    scope: UpdateScope
    restart_services: RestartServices
    snapshots: Snapshots
    rollback: Rollback
    hooks: Hooks
    health_checks: HealthChecks
    host_key_fingerprint: str
    """Of the first pinned host key."""
    registered_at: datetime | None
    state: HostState
    pending_updates: int
    pending_security_updates: int | None
    """None: the host's package sources do not say."""
    last_updated: datetime | None
    queried_at: datetime | None
    reboot: Reboot
    healthy: bool | None
    error: str
    failure: Failure | None
    retry_count: int
    os_name: str
    revision: int
    machine_id: str
    """Empty: the host has not reported one."""
    duplicate_of: tuple[Duplicate, ...]
    """Other registered hosts that are, or may be, the same machine."""
    etag: str
    """Changes with the configuration and the pinned host keys, not with the status."""
    host_key_fingerprints: tuple[str, ...] = ()
    """Of all pinned host keys, any of which the host may show."""
    host_key_certified: bool = False
    """Whether the host shows a certificate of its host authority, whatever its key is."""
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginFiles:
    """The smallest files with which the server can work on a host."""

    user: str
    public_keys: tuple[str, ...]
    """Those of the server for this host, as type and base64."""
    authorized_keys: str
    sudoers: str
    """Empty: the user is root, or the host is only a jump."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTest:
    """What a test of the login on a host found out."""

    reachable: bool
    host_key_fingerprint: str
    """Of the host key that the host presented; empty: it presented none."""
    host_key_pinned: bool
    logged_in: bool
    user: str
    """As the host says it; empty: it was not found out."""
    root_access: RootAccess
    duration: timedelta
    problem: Problem | None
    """What prevents operations on the host; None: the login works, and the user can become root."""
