"""Operations, their steps and results."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tendhost.client.models.health import HealthResult
from tendhost.client.models.hosts import Problem
from tendhost.client.models.inventory import PendingPackage


class ProjectOutcome(StrEnum):
    """Outcome of the update of a compose project."""

    UNCHANGED = "unchanged"
    UPDATED = "updated"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    DEFERRED = "deferred"
    UNRECOGNIZED = "unrecognized"


class OperationKind(StrEnum):
    """Kind of an operation."""

    QUERY = "query"
    UPDATE = "update"
    REBOOT = "reboot"
    CHECK = "check"
    UNRECOGNIZED = "unrecognized"


class OperationStatus(StrEnum):
    """Status of an operation."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNRECOGNIZED = "unrecognized"


class RebootOutcome(StrEnum):
    """Outcome of a REBOOT that succeeded; the last two were requested only if required."""

    REBOOTED = "rebooted"
    NOT_NEEDED = "not_needed"
    UNKNOWN = "unknown"
    UNRECOGNIZED = "unrecognized"


class StepStatus(StrEnum):
    """Status of a step."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageChange:
    """Package with its versions before and after the update; empty: not installed."""

    name: str
    from_version: str
    to_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChange:
    """Ids of a compose service's image before and after the update; empty: the service did not run."""

    service: str
    image: str
    from_image_id: str
    to_image_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectChange:
    """Change of a compose project by an update."""

    path: str
    outcome: ProjectOutcome
    problem: str
    services: tuple[ServiceChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoneChange:
    """Planned change of a package that did not happen. No `to_version`: the package was to be removed."""

    name: str
    from_version: str
    to_version: str
    reason: str
    """Empty: unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResult:
    """Result of an update: what it changed or, for a dry run, what it would change."""

    success: bool
    upgraded_count: int
    packages: tuple[PackageChange, ...]
    reboot_required: bool
    rebooted: bool
    withheld: tuple[PendingPackage, ...]
    kept_conffiles: tuple[str, ...]
    saved_conffiles: tuple[str, ...]
    """Paths at which the local versions of replaced or removed configuration files lie."""
    undone: tuple[UndoneChange, ...]
    """Planned changes that did not happen."""
    plan_differences: tuple[str, ...]
    """Differences between the pending updates and the approved plan."""
    download_bytes: int | None
    snapshot: str
    projects: tuple[ProjectChange, ...]
    restarted_services: tuple[str, ...]
    rolled_back: bool
    health: HealthResult | None
    """Result of the health checks after the update; None: they did not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Step of an operation."""

    name: str
    status: StepStatus
    started_at: datetime | None
    ended_at: datetime | None
    attempts: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationProgress:
    """Progress of the package manager: `percent` of the phase, 0 to 100. No package: the whole transaction."""

    package: str
    percent: float
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Operation: one piece of work on one host."""

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
    """Outcome of a REBOOT that succeeded; None: another kind, or not succeeded."""
    reboot_reason: str = ""
    """Why a reboot is needed or not, or why that is unknown; only if requested only if required."""
    progress: OperationProgress | None = None
    """Progress of the running step; None: the step has not reported any."""
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""

    @property
    def ended(self) -> bool:
        """Whether the status is final."""
        return self.ended_at is not None

    @property
    def succeeded(self) -> bool:
        """Whether the operation has ended and succeeded."""
        return self.status is OperationStatus.SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """Part of an operation's log, from `offset` (bytes) on."""

    offset: int
    data: bytes
