"""Rollouts and their plans."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.client.models.hosts import ScopeOverride
from tendhost.client.models.selections import HostFilter


class RolloutStatus(StrEnum):
    """Status of a rollout."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    HALTED = "halted"
    AWAITING_APPROVAL = "awaiting_approval"
    EXPIRED = "expired"
    UNRECOGNIZED = "unrecognized"


class RolloutHostStatus(StrEnum):
    """Status of one host of a rollout."""

    PENDING = "pending"
    WAITING = "waiting"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    SKIPPED = "skipped"
    UNRECOGNIZED = "unrecognized"


class WaitingFor(StrEnum):
    """What a host in WAITING waits for."""

    WINDOW = "window"
    BUDGET = "budget"
    HOST = "host"
    DEPENDENCY = "dependency"
    UNRECOGNIZED = "unrecognized"


class HostOrder(StrEnum):
    """Order in which a rollout updates hosts."""

    NAME = "name"
    RANDOM = "random"
    LAST_UPDATE = "last_update"
    UNRECOGNIZED = "unrecognized"


class HaltCause(StrEnum):
    """Why a rollout halted."""

    FAILURES = "failures"
    APPROVAL = "approval"
    WAVE_HOOK = "wave_hook"
    UNHEALTHY = "unhealthy"
    FAULT = "fault"
    REBOOT_LEFT = "reboot_left"
    UNRECOGNIZED = "unrecognized"


class Exclusion(StrEnum):
    """Why a rollout does not update a host that its filter refers to."""

    EXCLUDED = "excluded"
    FAILED = "failed"
    NEVER_OPEN = "never_open"
    JUMP_ONLY = "jump_only"
    UNRECOGNIZED = "unrecognized"


class PlannedHostCondition(StrEnum):
    """Condition of a host in a plan that can affect its update."""

    NOTHING_PENDING = "nothing_pending"
    UNREACHABLE = "unreachable"
    BUSY = "busy"
    WINDOW_CLOSED = "window_closed"
    OPENS_TOO_LATE = "opens_too_late"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStage:
    """Stage of a rollout: the hosts with one tag. `waves` empty: the sizes of the rollout."""

    tag: str
    waves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutDependency:
    """Hosts with the tag `before` are updated before those with the tag `after`, within a stage."""

    before: str
    after: str
    only_if_succeeded: bool = False
    """Whether the later hosts are updated only if all of the earlier ones are completed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisruptionBudget:
    """Number of hosts that may be unavailable at the same time: "2" or "10%", in the fleet or per value of a tag."""

    limit: str
    per_tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """Definition of a rollout."""

    filter: HostFilter = HostFilter()
    waves: tuple[str, ...] = ("2",)
    """Sizes of the waves: "5", "20%" or "rest"; the last size repeats."""
    stages: tuple[RolloutStage, ...] = ()
    dependencies: tuple[RolloutDependency, ...] = ()
    order: HostOrder = HostOrder.NAME
    seed: int = 0
    """Seed of HostOrder.RANDOM; 0: the server chooses one."""
    delay_between_waves: timedelta = timedelta(seconds=30)
    settle: timedelta | None = None
    """Time for which the hosts of a wave must stay healthy after the delay; None: they are not checked."""
    max_failures: str = ""
    """Failure budget: more failed hosts halt the rollout, "3" or "10%"; empty: failures do not halt it."""
    max_unavailable: tuple[DisruptionBudget, ...] = ()
    ignore_earlier_failures: bool = False
    """Whether hosts that failed before the rollout started do not count for its `max_unavailable`."""
    approve_waves: bool = False
    approvers: tuple[str, ...] = ()
    """Names of the users who may approve waves, as clients send them; empty: every user."""
    approval_timeout: timedelta | None = None
    """None means 1 day."""
    expires_after: timedelta | None = None
    """None: hosts wait for their windows without a limit."""
    window_override_reason: str = ""
    """Reason to change hosts outside their windows; empty: no host is changed outside its windows."""
    dry_run: bool = False
    scope: ScopeOverride | None = None
    """None: each host's policy applies."""
    require_rebooted: bool = False
    """Whether a wave settles only once none of its updated hosts needs a reboot any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Number of hosts of a rollout or a wave in each status; the seven statuses add up to the total."""

    total_hosts: int
    pending: int
    in_progress: int
    completed: int
    failed: int
    skipped: int
    waiting: int
    rolled_back: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Why a rollout halted; `hosts` are failed or unhealthy, at most 20."""

    cause: HaltCause
    message: str
    at: datetime | None
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Update of many hosts in waves."""

    id: str
    spec: RolloutSpec
    status: RolloutStatus
    progress: Progress
    wave: int
    wave_count: int
    next_wave_at: datetime | None
    created_by: str
    created_at: datetime | None
    ended_at: datetime | None
    revision: int
    halt: Halt | None
    approval_until: datetime | None
    expires_at: datetime | None
    expected_end: datetime | None
    retry_of: str
    settling_since: datetime | None
    held_up: str = ""
    """Disruption budget that keeps further hosts from starting, with the failed hosts; empty: none."""
    notes: tuple[str, ...] = ()
    """What the definition means for these hosts, as RolloutPlan.notes."""
    reboots_left_count: int = 0
    """Number of completed hosts whose reboot was left."""
    opens_at: datetime | None = None
    """When the first window opens that hosts of the current wave wait for, while all that are left of it wait."""
    bound_to: HostFilter | None = None
    """Hosts that the rollout never reaches beyond, however they are labelled since; None: it is bound to no hosts."""
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""

    @property
    def ended(self) -> bool:
        """Whether the status is final."""
        return self.ended_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutWave:
    """Wave of a rollout."""

    number: int
    stage: str
    progress: Progress
    expected_duration: timedelta
    started_at: datetime | None
    ended_at: datetime | None
    approved_by: str
    approved_at: datetime | None
    settled_at: datetime | None
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutHost:
    """Host of a rollout."""

    host: str
    wave: int
    status: RolloutHostStatus
    operation_id: str
    detail: str
    waiting_for: WaitingFor | None
    opens_at: datetime | None
    reboot_left: bool = False
    """Whether the operation left a reboot that the host needs; the detail says why."""
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutUpdate:
    """Rollout in its current state, with the hosts and waves that changed since the previous update."""

    rollout: Rollout
    hosts: tuple[RolloutHost, ...]
    waves: tuple[RolloutWave, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPlan:
    """Plan of a rollout: its hosts and waves."""

    id: str
    created_at: datetime | None
    spec: RolloutSpec
    waves: tuple[RolloutWave, ...]
    """Of more than 1000, the first 1000."""
    wave_count: int
    host_count: int
    excluded_count: int
    not_selected_count: int
    """Number of registered hosts that the filter does not refer to."""
    expected_duration: timedelta
    known_duration_count: int
    warnings: tuple[str, ...]
    """What would delay the rollout if it started now, apart from windows and busy hosts."""
    notes: tuple[str, ...] = ()
    """What the definition means for these hosts where a reader might expect something else."""
    bound_to: HostFilter | None = None
    """As Rollout.bound_to."""
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedHost:
    """Host of a plan; wave 0: the rollout would not update it."""

    host: str
    wave: int
    exclusion: Exclusion | None
    conditions: tuple[PlannedHostCondition, ...]
    opens_at: datetime | None
    detail: str
