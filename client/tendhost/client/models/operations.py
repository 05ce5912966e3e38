"""Operations, their steps and results."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tendhost.client.models.health import HealthResult
from tendhost.client.models.hosts import Problem
from tendhost.client.models.inventory import PendingPackage


class ProjectOutcome(StrEnum):
    """How the update of a compose project ended."""

    UNCHANGED = "unchanged"
    UPDATED = "updated"
    ROLLED_BACK = "rolled_back"
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
    UNKNOWN = "unknown"
    UNRECOGNIZED = "unrecognized"


class StepStatus(StrEnum):
    """How a step went."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    UNRECOGNIZED = "unrecognized"


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
    from_image_id: str
    to_image_id: str


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
    plan_differences: tuple[str, ...]
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
