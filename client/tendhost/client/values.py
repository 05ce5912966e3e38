"""What the SDK gives and takes: plain, typed, frozen values.

A server that is newer than this SDK may say words that it does not know: they become UNRECOGNIZED.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.client.health import HealthChecks, HealthResult, Hooks
from tendhost.client.inventory import PendingPackage


class HostState(StrEnum):
    """Where a host stands."""

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


class AfterInterruption(StrEnum):
    """What to do about an upgrade that was cut off on the host: see the contract."""

    UPGRADE = "upgrade"
    REPAIR = "repair"
    UNRECOGNIZED = "unrecognized"


class ComposeVersion(StrEnum):
    """Which docker compose a host has."""

    AUTO = "auto"
    V1 = "v1"
    V2 = "v2"
    UNRECOGNIZED = "unrecognized"


class RestartServices(StrEnum):
    """What to do about services that still run what an update replaced."""

    NEVER = "never"
    LISTED = "listed"
    REBOOT = "reboot"
    UNRECOGNIZED = "unrecognized"


class Snapshots(StrEnum):
    """Whether a file system snapshot is made before a host is changed."""

    NEVER = "never"
    IF_POSSIBLE = "if_possible"
    REQUIRED = "required"
    UNRECOGNIZED = "unrecognized"


class Rollback(StrEnum):
    """Whether an update is taken back by itself."""

    NEVER = "never"
    UNHEALTHY = "unhealthy"
    UNRECOGNIZED = "unrecognized"


class ProjectOutcome(StrEnum):
    """How the update of a compose project ended."""

    UNCHANGED = "unchanged"
    UPDATED = "updated"
    PUT_BACK = "put_back"
    FAILED = "failed"
    UNRECOGNIZED = "unrecognized"


class OperationKind(StrEnum):
    """What an operation does."""

    QUERY = "query"
    UPDATE = "update"
    REBOOT = "reboot"
    CHECK = "check"
    UNRECOGNIZED = "unrecognized"


class OperationStatus(StrEnum):
    """How far an operation is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNRECOGNIZED = "unrecognized"


class RebootOutcome(StrEnum):
    """What became of a reboot that succeeded; the last two were wanted only if required."""

    REBOOTED = "rebooted"
    NOT_NEEDED = "not_needed"
    NOT_KNOWN = "not_known"
    UNRECOGNIZED = "unrecognized"


class StepStatus(StrEnum):
    """How a step went."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What went wrong on a host: the reason is for programs, the message for people."""

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
    """So long before its end nothing more begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateScope:
    """What of the pending updates is wanted; `include` and `exclude` are globs of package names."""

    security_only: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_removals: bool = False
    autoremove: bool = False
    download_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeWish:
    """What one request wants, over what each host's policy says; None and empty: what that says."""

    security_only: bool | None = None
    include: tuple[str, ...] = ()
    """Only packages of these names, instead of those of the policy."""
    exclude: tuple[str, ...] = ()
    """No packages of these names, nor of those that the policy excludes."""
    any_package: bool = False
    """Leave the names of the policy out of account, those that it excludes as well."""
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
    """Why a host is in FAILED, and who knows of it."""

    previous_state: HostState
    step: str
    problem: Problem
    failed_at: datetime | None
    retry_count: int
    acknowledged_by: str
    acknowledged_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Another registered host that is, or may be, the same machine, and what both have in common."""

    host: str
    same_host_key: bool
    same_address: bool
    same_machine_id: bool
    """Alone, it may as well mean two copies of one image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A registered machine: how it is reached, what may be done to it, and what is known of it."""

    name: str
    addr: str
    port: int
    user: str
    ssh_key: str
    compose_paths: tuple[str, ...]
    compose_version: ComposeVersion
    pull_before_update: bool
    compose_health_timeout: timedelta
    compose_prune: bool
    tags: tuple[str, ...]
    groups: tuple[str, ...]
    auto_reboot: bool
    maintenance_windows: tuple[MaintenanceWindow, ...]
    """Its own; empty: as its groups and the fleet say."""
    after_interruption: AfterInterruption
    scope: UpdateScope
    restart_services: RestartServices
    snapshots: Snapshots
    rollback: Rollback
    hooks: Hooks
    health_checks: HealthChecks
    host_key_fingerprint: str
    registered_at: datetime | None
    state: HostState
    pending_updates: int
    pending_security_updates: int | None
    """None: the host's archives do not tell."""
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
    """Empty: it never told one."""
    duplicate_of: tuple[Duplicate, ...]
    """Other registered hosts that are, or may be, the same machine."""
    etag: str
    """Of its configuration and pinned key: what is known of it does not change it."""
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageChange:
    """A package with its version before and after; empty: it was not there."""

    name: str
    from_version: str
    to_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChange:
    """The image of a compose service before and after, by id; empty: it did not run."""

    service: str
    image: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectChange:
    """A compose project in an update."""

    path: str
    outcome: ProjectOutcome
    problem: str
    services: tuple[ServiceChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResult:
    """What an update did or, for a dry run, would do."""

    success: bool
    upgraded_count: int
    packages: tuple[PackageChange, ...]
    reboot_required: bool
    rebooted: bool
    withheld: tuple[PendingPackage, ...]
    kept_conffiles: tuple[str, ...]
    differences: tuple[str, ...]
    """How what was pending differed from the plan that had been agreed to."""
    download_bytes: int | None
    snapshot: str
    projects: tuple[ProjectChange, ...]
    restarted_services: tuple[str, ...]
    rolled_back: bool
    health: HealthResult | None
    """What the checks found after it; None: they were not made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A stage of an operation, as it went."""

    name: str
    status: StepStatus
    started_at: datetime | None
    ended_at: datetime | None
    attempts: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationProgress:
    """How far the package manager is: `percent` of the phase, 0 to 100. No package: the whole transaction."""

    package: str
    percent: float
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One piece of work on one host."""

    id: str
    host: str
    kind: OperationKind
    status: OperationStatus
    dry_run: bool
    rollout_id: str
    created_by: str
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    steps: tuple[Step, ...]
    problem: Problem | None
    update: UpdateResult | None
    health: HealthResult | None
    log_size: int
    resumes_operation_id: str
    revision: int
    reboot_outcome: RebootOutcome | None = None
    """What became of a reboot that succeeded; None: it is none, or has not."""
    reboot_reason: str = ""
    """Of one that was wanted only if required: why it is needed or not, or why that is not known."""
    progress: OperationProgress | None = None
    """Of the step under way, unless it has no progress or has reported none yet."""
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""

    @property
    def ended(self) -> bool:
        """Whether it will never change again."""
        return self.ended_at is not None

    @property
    def succeeded(self) -> bool:
        """Whether it ended and did what it was to do."""
        return self.status is OperationStatus.SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """A part of an operation's log, from `offset` (bytes) on."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFilter:
    """A selection of hosts: every part that is not empty must match.

    `names` and `exclude_hosts` may hold globs. In a rollout, what no host matches is an error.
    """

    names: tuple[str, ...] = ()
    all_tags: tuple[str, ...] = ()
    any_tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    states: tuple[HostState, ...] = ()
    exclude_hosts: tuple[str, ...] = ()
    reboot_needed: bool | None = None
    search: str = ""
    saved: str = ""
    """The name of a saved selection that hosts have to be in, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A selection that filters can name."""

    name: str
    filter: HostFilter
    saved_at: datetime | None
    saved_by: str
    revision: int
    etag: str
    """Of its filter."""
    warnings: tuple[str, ...] = ()
    """What it names and no host has; not told in lists."""
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationTarget:
    """How notifications to one target go, since the server started."""

    name: str
    delivered: int
    retried: int
    given_up: int
    """Messages that are lost."""
    gathered: int
    """Notices that wait for the rate limit now."""
    revision: int
    problem: str
    """What the latest attempt failed with; empty: it went well."""
    problem_at: datetime | None
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLoopLag:
    """How late the server's event loop came to what was due, in the last minute."""

    max: timedelta
    p99: timedelta
    """Of a hundred measurements 99 were no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What server this is."""

    version: str
    log_id: str
    revision: int
    oldest_revision: int
    hosts: int
    notifications: tuple[NotificationTarget, ...]
    pruning_held_up: str = ""
    """Why the server does not prune history at present; empty: history is pruned."""
    store_problem: str = ""
    """Why the database cannot be used at present; empty: it can. `hosts` may be 0 then without meaning it."""
    event_loop_lag: EventLoopLag | None = None
    """None: it is not measured."""
