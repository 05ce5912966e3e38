"""Rollouts and their plans."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.client.models.hosts import ScopeOverride
from tendhost.client.models.selections import HostFilter


class RolloutStatus(StrEnum):
    """How far a rollout is."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    HALTED = "halted"
    AWAITING_APPROVAL = "awaiting_approval"
    EXPIRED = "expired"
    UNRECOGNIZED = "unrecognized"


class RolloutHostStatus(StrEnum):
    """How far one host of a rollout is."""

    PENDING = "pending"
    WAITING = "waiting"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    SKIPPED = "skipped"
    UNRECOGNIZED = "unrecognized"


class WaitingFor(StrEnum):
    """What holds a host up whose turn has come."""

    WINDOW = "window"
    BUDGET = "budget"
    HOST = "host"
    UNRECOGNIZED = "unrecognized"


class HostOrder(StrEnum):
    """In which order hosts are taken."""

    NAME = "name"
    RANDOM = "random"
    LAST_UPDATE = "last_update"
    UNRECOGNIZED = "unrecognized"


class HaltCause(StrEnum):
    """Why a rollout halted by itself."""

    FAILURES = "failures"
    APPROVAL = "approval"
    WAVE_HOOK = "wave_hook"
    UNHEALTHY = "unhealthy"
    FAULT = "fault"
    UNRECOGNIZED = "unrecognized"


class Exclusion(StrEnum):
    """Why a host that a filter is about has no place in a rollout."""

    EXCLUDED = "excluded"
    FAILED = "failed"
    NEVER_OPEN = "never_open"
    UNRECOGNIZED = "unrecognized"


class PlannedHostCondition(StrEnum):
    """What is known beforehand of a host that has its place."""

    NOTHING_PENDING = "nothing_pending"
    UNREACHABLE = "unreachable"
    BUSY = "busy"
    WINDOW_CLOSED = "window_closed"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStage:
    """The hosts with one tag; `waves` empty: as for the whole rollout."""

    tag: str
    waves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutDependency:
    """Hosts with the tag `before` are updated before those with the tag `after`, within a stage."""

    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DisruptionBudget:
    """How many hosts may be down at once: "2" or "10%", of the fleet or per value of a tag's key."""

    limit: str
    per_tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """What is asked of a rollout."""

    filter: HostFilter = HostFilter()
    waves: tuple[str, ...] = ("2",)
    """How many hosts at a time, wave after wave: "5", "20%" or "rest"; the last one repeats."""
    stages: tuple[RolloutStage, ...] = ()
    dependencies: tuple[RolloutDependency, ...] = ()
    order: HostOrder = HostOrder.NAME
    seed: int = 0
    """With HostOrder.RANDOM: from what the order is drawn; 0: the server draws it."""
    delay_between_waves: timedelta = timedelta(seconds=30)
    settle: timedelta | None = None
    """After the delay, the hosts of a wave have to be healthy for so long; None: they are not looked at."""
    max_failures: str = ""
    """More failed hosts than this halt the rollout: "3" or "10%"; empty: no failure does."""
    max_unavailable: tuple[DisruptionBudget, ...] = ()
    ignore_earlier_failures: bool = False
    """Hosts that had failed before the rollout was started do not count for its `max_unavailable`."""
    approve_waves: bool = False
    approvers: tuple[str, ...] = ()
    """Who may approve, by the names that clients give of their users; empty: everybody."""
    approval_timeout: timedelta | None = None
    """None: a day."""
    expires_after: timedelta | None = None
    """None: hosts wait for their windows as long as it takes."""
    window_override_reason: str = ""
    """Why hosts are changed outside their windows as well; empty: they are not."""
    dry_run: bool = False
    scope: ScopeOverride | None = None
    """None: what each host's policy says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How many hosts of a rollout or a wave are where; the seven parts add up to the total."""

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
    """Why a rollout halted; `hosts` spent its budget or are not healthy, the first twenty."""

    cause: HaltCause
    message: str
    at: datetime | None
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """An update of many hosts, a wave at a time."""

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
    """Which disruption budget lets nothing more begin, and who spends it; empty: none does."""
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""

    @property
    def ended(self) -> bool:
        """Whether it will never change again."""
        return self.ended_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutWave:
    """One wave of a rollout."""

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
    """Why it does not show everything that the server stores of it; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutHost:
    """One host of a rollout."""

    host: str
    wave: int
    status: RolloutHostStatus
    operation_id: str
    detail: str
    waiting_for: WaitingFor | None
    opens_at: datetime | None
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutUpdate:
    """A rollout as it stands, with those of its hosts and waves that changed since the update before."""

    rollout: Rollout
    hosts: tuple[RolloutHost, ...]
    waves: tuple[RolloutWave, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPlan:
    """What a rollout would do."""

    id: str
    created_at: datetime | None
    spec: RolloutSpec
    waves: tuple[RolloutWave, ...]
    """Of more than 1000, the first 1000."""
    wave_count: int
    host_count: int
    excluded_count: int
    not_selected_count: int
    """How many registered hosts the filter is not about."""
    expected_duration: timedelta
    known_duration_count: int
    warnings: tuple[str, ...]
    """What would hold it up if it began now, windows and busy hosts apart."""
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedHost:
    """One host of a plan; wave 0: it is left out."""

    host: str
    wave: int
    exclusion: Exclusion | None
    conditions: tuple[PlannedHostCondition, ...]
    opens_at: datetime | None
    detail: str
