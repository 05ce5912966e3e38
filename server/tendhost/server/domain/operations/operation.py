"""An operation, which is one piece of work on one host, as a value: its steps, facts, job and result."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.bounds import text
from tendhost.server.domain.hosts.host import Duplicate, Failure, Problem, Snapshots
from tendhost.server.domain.inventory.compose import ProjectChange
from tendhost.server.domain.inventory.hardware import InventoryPart
from tendhost.server.domain.inventory.inventory import (
    Observation,
    PackageChange,
    PendingPackage,
    RebootNeed,
)
from tendhost.server.domain.inventory.scope import ScopeOverride, UpdateScope
from tendhost.server.domain.operations.permission import ChangeKind
from tendhost.server.domain.operations.step_traits import UNINTERRUPTIBLE, StepName
from tendhost.server.domain.operations.undone_changes import UndoneChange


class OperationKind(StrEnum):
    """What an operation does."""

    QUERY = "query"
    UPDATE = "update"
    REBOOT = "reboot"
    CHECK = "check"


class OperationStatus(StrEnum):
    """The status of an operation."""

    QUEUED = "queued"
    """The operation waits for the one that its host is busy with."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the operation has ended and will not change."""
        return self in _ENDED


_ENDED = frozenset({OperationStatus.SUCCEEDED, OperationStatus.FAILED, OperationStatus.CANCELLED})


class StepStatus(StrEnum):
    """The status of a step."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """The step was interrupted on its host; what it left is repaired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of an operation, as far as it is."""

    name: StepName
    status: StepStatus
    started_at: datetime
    ended_at: datetime | None = None
    attempts: int = 1
    """Number of attempts: a step that fails with a transient error is retried."""
    detail: str = ""
    """One line for a person: "12 updates pending, 3 of them security". While the step runs, the problem of its
    last attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job on the host, recorded before the job begins."""

    operation: str
    """The operation in whose folder the job lives: the one that began it."""
    kind: ChangeKind
    number: int
    """Which of the operation's jobs it is, counted from 1."""
    log_start: int = 0
    """Where in the operation's log its output begins, in bytes."""
    log_read: int = 0
    """Bytes of the job's log that are stored."""
    status_read: int = 0
    """Bytes of the job's status that were parsed."""
    begun: bool = False
    """Whether the host was seen to have begun the job. A job that has begun is never started again, also where
    its folder is gone."""
    concluded: bool = False
    """Whether the job's end was seen, so that its folder on the host can be removed. Until then every server that
    resumes the operation follows the job, and so does a retry."""

    @property
    def name(self) -> str:
        """The name of its folder on the host: "apply-1"."""
        return f"{self.kind}-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """Progress, as the package manager reports it."""

    package: str
    """Empty: the transaction as a whole."""
    percent: float
    """0 to 100, of the present phase's whole transaction."""
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResult:
    """What an UPDATE changed, or what a dry run would change."""

    success: bool = False
    changes: tuple[PackageChange, ...] = ()
    """Changes by the package database, not by the messages of the package manager."""
    planned: tuple[PendingPackage, ...] = ()
    """The pending packages when they were listed, withheld ones included."""
    planned_removals: tuple[tuple[str, str], ...] = ()
    """Name and version of each package that the plan removes."""
    undone: tuple[UndoneChange, ...] = ()
    """The planned changes that did not happen."""
    planned_unneeded: tuple[str, ...] = ()
    """Names of those that are removed because nothing needs them any more."""
    download_bytes: int | None = None
    """Size of the planned download in bytes; None: unknown."""
    differences: tuple[str, ...] = ()
    """How the pending packages differed from the approved plan, as text."""
    snapshot: str = ""
    """Name of the file system snapshot from before the change; empty: none."""
    projects: tuple[ProjectChange, ...] = ()
    """The compose projects, in the order of their folders."""
    restarted: tuple[str, ...] = ()
    """Outdated services that were restarted."""
    rolled_back: bool = False
    """Whether the changes were rolled back."""
    kept_conffiles: tuple[str, ...] = ()
    """Configuration files whose local version was kept although the package has another one."""
    saved_conffiles: tuple[str, ...] = ()
    """Where the local versions of configuration files lie that the update replaced or removed."""
    reboot_required: RebootNeed = RebootNeed.UNKNOWN
    rebooted: bool = False


class RebootOutcome(StrEnum):
    """The outcome of a REBOOT that succeeded."""

    REBOOTED = "rebooted"
    NOT_NEEDED = "not_needed"
    """The reboot was asked for only if required, and the host does not need it."""
    UNKNOWN = "unknown"
    """The reboot was asked for only if required, and whether the host needs it is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationOptions:
    """Options of an UPDATE or a REBOOT, beside the host's policy."""

    scope: ScopeOverride | None = None
    """None: the scope of the host's policy when its packages are listed."""
    agreed: tuple[PackageChange, ...] | None = None
    """The approved plan; None: there is none."""
    exact: bool = False
    """Whether only the approved plan may be executed."""
    download_only: bool = False
    only_if_required: bool = False
    """Of a REBOOT: reboot only if the host is known to need it."""
    window_override_reason: str = ""
    """Reason to change the host outside its maintenance window; empty: the window applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of one health check when it was last tried."""

    name: str
    healthy: bool
    message: str
    tries: int
    failures: int
    """Number of those tries that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthResult:
    """The result of all health checks of a host."""

    healthy: bool
    message: str
    checks: tuple[CheckResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFacts:
    """What the steps so far have learnt that later decisions depend on."""

    pending_count: int = 0
    """Number of packages that the operation is to change."""
    scope: UpdateScope = UpdateScope()
    """The scope of the update when the packages were listed."""
    pre_hook_due: bool = False
    """Whether the host has a hook before a change."""
    post_hook_due: bool = False
    download_due: bool = False
    snapshots: Snapshots = Snapshots.NEVER
    compose_due: bool = False
    services_due: bool = False
    """Whether outdated services are to be restarted. Before a change: only those that a restart renews."""
    rollback: bool = False
    """Whether the changes are rolled back if the host is unhealthy after them."""
    reboot_need: RebootNeed = RebootNeed.UNKNOWN
    reboot_reason: str = ""
    """Why the reboot is needed, not needed or unknown, before the operation's reboot."""
    reboot_allowed: bool = False
    reboot_hindrance: str = ""
    """Why the operation may not reboot the host now, as text; empty: it may."""
    package_manager: str = ""
    """The host's package manager; empty: none that tendhost knows, or not asked yet."""
    boot_id: str = ""
    """The boot id of the host before the operation's reboot."""
    reboot_ordered_at: datetime | None = None
    """When the reboot was recorded, which is before its command is sent: the command may have been sent."""
    failed_units: tuple[str, ...] = ()
    """systemd units that had failed before any change."""
    apply_again: bool = True
    """Whether an interrupted upgrade begins again after the repair, by the host's policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A durable piece of work on one host."""

    id: str
    host: str
    kind: OperationKind
    created_at: datetime
    created_by: str = ""
    rollout: str = ""
    """The rollout that owns the operation; empty: none."""
    bound_to: Scope | None = None
    """The scope of the caller that started it, or of its rollout: it begins on no host outside. None: unbound."""
    dry_run: bool = False
    options: OperationOptions = OperationOptions()
    parts: tuple[InventoryPart, ...] = ()
    """Of a QUERY: the requested parts of the inventory; empty: all."""
    status: OperationStatus = OperationStatus.QUEUED
    started_at: datetime | None = None
    ended_at: datetime | None = None
    steps: tuple[Step, ...] = ()
    facts: StepFacts = StepFacts()
    problem: Problem | None = None
    failed_step: StepName | None = None
    """The step with the problem."""
    update: UpdateResult | None = None
    health: HealthResult | None = None
    cancel_requested_by: str = ""
    log_size: int = 0
    """Bytes of the operation's log that are stored."""
    progress: JobProgress | None = None
    """The latest progress of the current step; None: it has none."""
    time_limit: timedelta | None = None
    """Counted from `slot_at`; after that nothing more is changed on the host."""
    slot_at: datetime | None = None
    """When the operation got its first slot; None: it waits for one. The wait does not count."""
    epoch: int = 1
    """The number under which the host accepts requests about jobs. Each server that resumes the operation, and
    each job, uses a higher one than before."""
    job: JobRecord | None = None
    """The latest job on the host."""
    jobs_begun: int = 0
    resumes: str = ""
    """The failed operation that this one continues; empty: none."""
    resume_at: StepName | None = None
    """The step after `connect` then."""
    retried: Failure | None = None
    """The failure of the host that this operation retries; None: it is no retry."""
    revision: int = 0
    """The revision of the operation's last event; 0: the operation is not stored yet."""
    quiet_writes: int = 0
    """Number of writes without an event since then, for output and progress."""

    @property
    def current(self) -> Step | None:
        """The step that runs; None: none."""
        last = self.steps[-1] if self.steps else None
        return last if last is not None and last.status is StepStatus.RUNNING else None

    @property
    def waits_for_slot(self) -> bool:
        """Whether nothing has begun on the host, so that the operation waits for a slot like a new one.

        A step that only read from the host may be recorded as the first one still, and reads again.
        """
        return len(self.steps) <= 1 and self.job is None

    @property
    def only_prepares(self) -> bool:
        """Whether the operation changes nothing that the host runs: a dry run, or a download."""
        return self.dry_run or self.options.download_only

    @property
    def reboot_outcome(self) -> RebootOutcome | None:
        """The outcome of a REBOOT that succeeded; None: of any other operation."""
        if self.kind is not OperationKind.REBOOT or self.status is not OperationStatus.SUCCEEDED:
            return None
        if not self.options.only_if_required or self.follows_reboot:
            return RebootOutcome.REBOOTED
        known = self.facts.reboot_need is RebootNeed.NOT_NEEDED
        return RebootOutcome.NOT_NEEDED if known else RebootOutcome.UNKNOWN

    @property
    def rebooted(self) -> bool:
        """Whether the host came back from a reboot in this operation."""
        own = self._own_reboot
        return own is not None and own.status is StepStatus.SUCCEEDED

    @property
    def follows_reboot(self) -> bool:
        """Whether the host came back from a reboot in this operation, or in the one that it continues."""
        if self._own_reboot is not None:
            return self.rebooted
        continued = self.resume_at is not None and self.resume_at is not StepName.REBOOT
        return continued and self.facts.reboot_ordered_at is not None

    @property
    def _own_reboot(self) -> Step | None:
        return next((step for step in self.steps if step.name is StepName.REBOOT), None)

    @property
    def reboot_reason(self) -> str:
        """Why a REBOOT with `only_if_required` was executed or not; empty: unknown."""
        return self.facts.reboot_reason if self.options.only_if_required else ""

    @property
    def reboot_left(self) -> str:
        """Why an UPDATE that has succeeded left a reboot that its host needs, as text; empty: it left none."""
        left = (
            self.kind is OperationKind.UPDATE
            and self.status is OperationStatus.SUCCEEDED
            and not self.only_prepares
            and self.facts.reboot_need is RebootNeed.NEEDED
            and not self.facts.reboot_allowed
            and not self.follows_reboot
        )
        if not left:
            return ""
        return self.facts.reboot_hindrance or "neither its policy nor its window allowed it"

    @property
    def may_change(self) -> bool:
        """Whether the operation may change what its host runs."""
        changing = self.kind in (OperationKind.UPDATE, OperationKind.REBOOT)
        return changing and not self.only_prepares

    @property
    def looks_only(self) -> bool:
        """Whether the operation only reads from its host: a QUERY, a CHECK or a dry run."""
        return self.dry_run or self.kind in (OperationKind.QUERY, OperationKind.CHECK)

    @property
    def spares_its_host(self) -> bool:
        """Whether its host is not in FAILED after a problem of the operation: it only reads from the host.

        A retry moves the host back to FAILED, whatever it does: nothing was mended.
        """
        return self.looks_only and self.retried is None

    @property
    def disruptive(self) -> bool:
        """Whether the host counts as unavailable while the operation runs: not while a REBOOT only finds out
        whether one is required."""
        reads_only = (
            self.options.only_if_required and self.resume_at is None and self._own_reboot is None
        )
        return self.may_change and not reads_only

    @property
    def cancellation(self) -> str:
        """When a cancellation takes effect, as text."""
        current = self.current
        if self.status.ended:
            return f"the operation has ended: {self.status}"
        if current is None:
            return "the operation ends before its next step"
        if current.name is StepName.PRE_HOOK:
            return "the operation ends after its hook, which is not interrupted"
        if current.name is StepName.POST_HOOK:
            return "the hook after the change is the last step, and is not interrupted"
        if current.name in UNINTERRUPTIBLE:
            return (
                "a change under way is never interrupted: the operation waits for its end,"
                " and then only looks at the host"
            )
        return f"the operation ends after its present step, {current.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a step. Without a problem the step succeeded."""

    detail: str = ""
    problem: Problem | None = None
    needs_person: bool = False
    """With a problem: the host ends in FAILED even if nothing was changed on it."""
    transient: bool = False
    """With a problem: the step may succeed if it is retried."""
    cancelled: bool = False
    """With a transient problem: the operation was cancelled while it waited for the next attempt."""
    interrupted: bool = False
    """With a problem of `apply`: the transaction was interrupted on the host."""
    overdue: bool = False
    """The operation's time limit has passed."""
    facts: StepFacts | None = None
    """What is known now; None: what was known before."""
    observed: Observation | None = None
    """What a query of the host found."""
    duplicates: tuple[Duplicate, ...] | None = None
    """Other hosts that are, or may be, the same machine; None: they were not looked for."""
    update: UpdateResult | None = None
    health: HealthResult | None = None

    def __post_init__(self) -> None:
        # The details of all steps are bounded here, whatever they were composed of.
        object.__setattr__(self, "detail", text(self.detail))
