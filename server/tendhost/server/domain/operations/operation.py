"""One piece of work on one host, as a value: its steps so far, its facts, its result."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

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


class OperationKind(StrEnum):
    """What an operation does."""

    QUERY = "query"
    UPDATE = "update"
    REBOOT = "reboot"
    CHECK = "check"


class OperationStatus(StrEnum):
    """How far an operation is."""

    QUEUED = "queued"
    """It waits for the operation that its host is busy with."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the operation will never change again."""
        return self in _ENDED


_ENDED = frozenset({OperationStatus.SUCCEEDED, OperationStatus.FAILED, OperationStatus.CANCELLED})


class StepStatus(StrEnum):
    """How a step went."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """It was cut off on its host; what it left is repaired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A stage of an operation, as it went."""

    name: StepName
    status: StepStatus
    started_at: datetime
    ended_at: datetime | None = None
    attempts: int = 1
    """How often it was tried, for errors that pass by themselves."""
    detail: str = ""
    """One line for a person: "12 updates pending, 3 of them security". While it is under way, what its
    last attempt failed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job on the host that belongs to a step, on record before the job begins."""

    operation: str
    """Whose folder it lives in: that of the operation that began it."""
    kind: ChangeKind
    number: int
    """Which of the operation's jobs it is, counted from 1."""
    log_start: int = 0
    """Where in the operation's log its output begins, in bytes."""
    log_read: int = 0
    """Bytes of its log that are stored."""
    status_read: int = 0
    """Bytes of its status that were understood."""
    concluded: bool = False
    """Whether its end was seen, so that its folder on the host may go. Until then it is followed by
    whoever goes on with the operation, also by a retry."""

    @property
    def name(self) -> str:
        """The name of its folder on the host: "apply-1"."""
        return f"{self.kind}-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """How far the package manager says that it is."""

    package: str
    """Empty: the transaction as a whole."""
    percent: float
    """0 to 100, of the present phase's whole transaction."""
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResult:
    """What an UPDATE did, or, for a dry run, what it would do."""

    success: bool = False
    changes: tuple[PackageChange, ...] = ()
    """What the package database says was changed, not what the package manager announced."""
    planned: tuple[PendingPackage, ...] = ()
    """What was pending when it was listed, the withheld packages included."""
    planned_removals: tuple[tuple[str, str], ...] = ()
    """Name and version of what the plan removes."""
    planned_unneeded: tuple[str, ...] = ()
    """Which of these are removed for not being needed any more."""
    download_bytes: int | None = None
    """What was to be downloaded when it was planned; None: not known."""
    differences: tuple[str, ...] = ()
    """How what was pending differed from the plan that had been agreed to, in words."""
    snapshot: str = ""
    """The file system snapshot that was made before the change, as its own tool names it."""
    projects: tuple[ProjectChange, ...] = ()
    """The compose projects, in the order of their folders."""
    restarted: tuple[str, ...] = ()
    """Services that were restarted because they ran what had been replaced."""
    rolled_back: bool = False
    """Whether the changes were taken back."""
    kept_conffiles: tuple[str, ...] = ()
    """Configuration files whose local version was kept although the package ships another."""
    reboot_required: RebootNeed = RebootNeed.UNKNOWN
    rebooted: bool = False


class RebootOutcome(StrEnum):
    """What became of a REBOOT that ended well."""

    REBOOTED = "rebooted"
    NOT_NEEDED = "not_needed"
    """It was wanted only if required, and a look at the host found that it is not."""
    UNKNOWN = "unknown"
    """It was wanted only if required, and whether it is could not be found out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationOptions:
    """What was asked of an UPDATE or a REBOOT, beyond the host's own policy."""

    scope: ScopeOverride | None = None
    """None: what the host's policy says when its packages are listed."""
    agreed: tuple[PackageChange, ...] | None = None
    """The plan that was agreed to; None: none."""
    exact: bool = False
    """Whether nothing but the agreed plan may be done."""
    download_only: bool = False
    only_if_required: bool = False
    """Of a REBOOT: whether a look at the host decides, which reboots it if it is known to need that."""
    window_override_reason: str = ""
    """Why its host is changed outside its window as well; empty: it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one check found when it was last tried."""

    name: str
    healthy: bool
    message: str
    tries: int
    failures: int
    """Of those tries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthResult:
    """What the checks of a host found together."""

    healthy: bool
    message: str
    checks: tuple[CheckResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFacts:
    """What the steps so far learnt that later decisions hang on."""

    pending_count: int = 0
    """How many packages this operation is to change."""
    scope: UpdateScope = UpdateScope()
    """What it is to change, as it was when the packages were listed."""
    pre_hook_due: bool = False
    """Whether the host has a hook that runs before a change."""
    post_hook_due: bool = False
    download_due: bool = False
    snapshots: Snapshots = Snapshots.NEVER
    compose_due: bool = False
    services_due: bool = False
    """Whether services are to be restarted that run what was replaced. Before a change: those alone that a
    restart renews."""
    rollback: bool = False
    """Whether the changes are to be taken back where the host is not healthy after them."""
    reboot_need: RebootNeed = RebootNeed.UNKNOWN
    reboot_reason: str = ""
    """Why it is needed or not, or why that is not known, before any reboot was ordered."""
    reboot_allowed: bool = False
    package_manager: str = ""
    """The one that the host uses; empty: none that tendhost knows, or nobody has asked yet."""
    boot_id: str = ""
    """The boot that the host ran when it was last asked before any reboot was ordered."""
    reboot_ordered_at: datetime | None = None
    """Written before the order is given, so that a successor knows that it may have been."""
    failed_units: tuple[str, ...] = ()
    """systemd units that had failed before anything was touched."""
    apply_again: bool = True
    """Whether the host's policy wants an interrupted upgrade to be begun once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A durable piece of work on one host."""

    id: str
    host: str
    kind: OperationKind
    created_at: datetime
    created_by: str = ""
    rollout: str = ""
    """The rollout that owns it; empty for one of its own."""
    dry_run: bool = False
    order: OperationOptions = OperationOptions()
    parts: tuple[InventoryPart, ...] = ()
    """Of a QUERY: what is asked for; empty: everything."""
    status: OperationStatus = OperationStatus.QUEUED
    started_at: datetime | None = None
    ended_at: datetime | None = None
    steps: tuple[Step, ...] = ()
    facts: StepFacts = StepFacts()
    problem: Problem | None = None
    failed_step: StepName | None = None
    """Which step the problem came from."""
    update: UpdateResult | None = None
    health: HealthResult | None = None
    cancel_requested_by: str = ""
    log_size: int = 0
    """Bytes of its log that are stored."""
    progress: JobProgress | None = None
    """The latest of the step under way; None: it tells of none."""
    time_limit: timedelta | None = None
    """From `placed_at` on; after that nothing more of the host is changed."""
    placed_at: datetime | None = None
    """When it got its place among those that run side by side; the wait for it is not counted. None: it
    has none yet."""
    epoch: int = 1
    """The number under which its jobs are acted on; each server that takes it up, and each job, has
    a higher one than those before."""
    job: JobRecord | None = None
    """Its latest job on the host."""
    jobs_begun: int = 0
    resumes: str = ""
    """The failed operation that it goes on with; empty for one of its own."""
    resume_at: StepName | None = None
    """Which step follows `connect` then."""
    retried: Failure | None = None
    """What its host had failed with, out of which it was taken for this; None: it is no retry."""
    revision: int = 0
    """The fleet's revision of its last event; 0: it is not stored yet."""
    quiet_writes: int = 0
    """How often it was stored since then without an event, for output and progress."""

    @property
    def current(self) -> Step | None:
        """The step that is under way."""
        last = self.steps[-1] if self.steps else None
        return last if last is not None and last.status is StepStatus.RUNNING else None

    @property
    def waits_for_place(self) -> bool:
        """Whether nothing of it has begun on its host, so that it waits for its turn like a new one.

        What looked at its host alone may be on record as in its first step still, and looks once more.
        """
        return len(self.steps) <= 1 and self.job is None

    @property
    def only_prepares(self) -> bool:
        """Whether nothing of what the host runs is to be changed."""
        return self.dry_run or self.order.download_only

    @property
    def reboot_outcome(self) -> RebootOutcome | None:
        """What became of a REBOOT that ended well; None: it is none, or it has not."""
        if self.kind is not OperationKind.REBOOT or self.status is not OperationStatus.SUCCEEDED:
            return None
        if not self.order.only_if_required or any(s.name is StepName.REBOOT for s in self.steps):
            return RebootOutcome.REBOOTED
        known = self.facts.reboot_need is RebootNeed.NOT_NEEDED
        return RebootOutcome.NOT_NEEDED if known else RebootOutcome.UNKNOWN

    @property
    def reboot_reason(self) -> str:
        """Why a REBOOT that was wanted only if required was done, or was not; empty: nothing was found."""
        return self.facts.reboot_reason if self.order.only_if_required else ""

    @property
    def may_change(self) -> bool:
        """Whether it is there to change what its host runs."""
        changing = self.kind in (OperationKind.UPDATE, OperationKind.REBOOT)
        return changing and not self.only_prepares

    @property
    def disruptive(self) -> bool:
        """Whether its host counts as down while it runs: while it only looks whether to reboot, it does not."""
        reads_only = (
            self.order.only_if_required
            and self.resume_at is None
            and not any(step.name is StepName.REBOOT for step in self.steps)
        )
        return self.may_change and not reads_only

    @property
    def cancellation(self) -> str:
        """When a cancellation takes effect, in words."""
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
    """How a step went. Without a problem it succeeded."""

    detail: str = ""
    problem: Problem | None = None
    needs_person: bool = False
    """With a problem: the host ends in FAILED even where nothing was changed on it."""
    transient: bool = False
    """With a problem: the same step may well succeed a little later."""
    cancelled: bool = False
    """With a transient problem: the operation was cancelled while it waited for the next attempt."""
    interrupted: bool = False
    """With a problem of `apply`: the transaction did not come to its end on the host."""
    overdue: bool = False
    """The operation's time is over."""
    facts: StepFacts | None = None
    """What is known now; None leaves it as it was."""
    observed: Observation | None = None
    """What a look at the host found."""
    duplicates: tuple[Duplicate, ...] | None = None
    """Other hosts that are, or may be, the same machine; None: it was not looked for them."""
    update: UpdateResult | None = None
    health: HealthResult | None = None

    def __post_init__(self) -> None:
        # Every step's words go through here, whatever they were put together from.
        object.__setattr__(self, "detail", text(self.detail))
