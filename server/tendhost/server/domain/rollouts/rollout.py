"""Rollouts, their waves and their members: specification, progress and status.

Values only. domain/rollouts/waves.py divides hosts into waves, plan.py plans a rollout, advance.py decides
what it does next, and budgets.py what its budgets allow.
"""

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.inventory.scope import ScopeOverride
from tendhost.server.domain.rollouts.prerequisites import Dependence, Prerequisites
from tendhost.server.domain.rollouts.settling import WaveSettling
from tendhost.server.domain.rollouts.waves import Division

APPROVAL_TIMEOUT = timedelta(days=1)


class RolloutStatus(StrEnum):
    """The status of a rollout."""

    RUNNING = "running"
    PAUSED = "paused"
    """Nothing new starts; running operations continue."""
    COMPLETED = "completed"
    """Every member has ended; the progress has the number of failed ones."""
    CANCELLED = "cancelled"
    """Nothing new starts: members that have not started are skipped, running operations continue to their end."""
    HALTED = "halted"
    """Paused by the rollout itself; `Rollout.halt` has the reason."""
    AWAITING_APPROVAL = "awaiting_approval"
    """The next wave starts when somebody approves it."""
    EXPIRED = "expired"
    """Cancelled by its own time limit."""


class MemberStatus(StrEnum):
    """The status of one host of a rollout."""

    PENDING = "pending"
    """The rollout has not decided about it."""
    WAITING = "waiting"
    """Something holds it up; `Member.waiting` says what."""
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    """It failed, and its changes were rolled back."""
    SKIPPED = "skipped"

    @property
    def begun(self) -> bool:
        """Whether the rollout has started to work on this host, or never will."""
        return self not in (MemberStatus.PENDING, MemberStatus.WAITING)

    @property
    def ended(self) -> bool:
        """Whether the rollout is done with this host."""
        return self.begun and self is not MemberStatus.IN_PROGRESS

    @property
    def failed(self) -> bool:
        """Whether the host counts against the failure budget."""
        return self in (MemberStatus.FAILED, MemberStatus.ROLLED_BACK)


class WaitingFor(StrEnum):
    """What a waiting member waits for."""

    WINDOW = "window"
    """Its maintenance window, or the end of a freeze."""
    BUDGET = "budget"
    """A disruption budget: too many hosts are down."""
    HOST = "host"
    """Another operation on the same host."""
    DEPENDENCY = "dependency"
    """The end of hosts that must succeed before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisruptionBudget:
    """A limit for the number of hosts that are down at the same time."""

    limit: str
    """A number of hosts, or a percentage of the hosts that count, rounded down, but at least one."""
    per_tag: str = ""
    """The key of tags written KEY=VALUE: the limit applies to the hosts of each value. Empty: it applies
    to the whole fleet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """The specification of a rollout."""

    filter: HostFilter
    division: Division = Division()
    delay_between_waves: timedelta = timedelta(seconds=30)
    settle: timedelta = timedelta()
    """Time after the delay for which the hosts of the wave must stay healthy before the next wave starts."""
    max_failures: str = ""
    """Number of failed hosts, or percentage of all hosts of the rollout, rounded down, above which the rollout
    halts. Empty: it never halts for failures."""
    budgets: tuple[DisruptionBudget, ...] = ()
    ignore_earlier_failures: bool = False
    """Whether hosts that had failed before the rollout started do not count for its budgets."""
    approve_waves: bool = False
    """Whether each wave after the first one needs somebody's approval."""
    approvers: tuple[str, ...] = ()
    """Names of the users who may approve; empty: everybody."""
    approval_timeout: timedelta = APPROVAL_TIMEOUT
    """Time without an approval after which the rollout halts."""
    expires_after: timedelta | None = None
    """Time after which hosts that have not started are skipped; None: they wait indefinitely."""
    window_override_reason: str = ""
    """Reason for changing hosts outside their windows, too; empty: they are changed inside only."""
    dry_run: bool = False
    scope: ScopeOverride | None = None
    """None: the scope of each host's policy."""
    bound_to: Scope | None = None
    """The hosts that whoever asked for it is bound to: it never reaches further, however hosts are labelled since.
    None: it is bound to none."""
    require_rebooted: bool = False
    """Whether a wave has settled only once none of its updated hosts needs a reboot."""

    @property
    def settles(self) -> bool:
        """Whether the hosts of a wave are checked before the next wave starts."""
        return (self.settle > timedelta() or self.require_rebooted) and not self.dry_run

    @property
    def pause(self) -> timedelta:
        """Time from the end of one wave to the start of the next, without approvals."""
        return self.delay_between_waves + (self.settle if self.settles else timedelta())


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutProgress:
    """Number of members in each status. The parts always add up to the total."""

    total_hosts: int
    pending: int
    waiting: int = 0
    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    rolled_back: int = 0
    skipped: int = 0

    def moved(self, origin: MemberStatus, to: MemberStatus) -> "RolloutProgress":
        """The progress after one member has moved from `origin` to `to`."""
        counts = {origin.value: getattr(self, origin.value) - 1}
        counts[to.value] = counts.get(to.value, getattr(self, to.value)) + 1
        return replace(self, **counts)

    def without(self, status: MemberStatus) -> "RolloutProgress":
        """The progress of a wave that a member of this status has left."""
        count = getattr(self, status.value) - 1
        return replace(self, total_hosts=self.total_hosts - 1, **{status.value: count})

    def joined(self, status: MemberStatus) -> "RolloutProgress":
        """The progress of a wave that a member of this status has joined."""
        count = getattr(self, status.value) + 1
        return replace(self, total_hosts=self.total_hosts + 1, **{status.value: count})

    @property
    def failures(self) -> int:
        """Number of members that count against the failure budget."""
        return self.failed + self.rolled_back

    @property
    def not_begun(self) -> int:
        """Number of members that have not started."""
        return self.pending + self.waiting

    @property
    def ended(self) -> int:
        """Number of members that have ended."""
        return self.total_hosts - self.not_begun - self.in_progress

    def __add__(self, other: "RolloutProgress") -> "RolloutProgress":
        both = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return RolloutProgress(**both)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One host of a rollout."""

    rollout: str
    host: str
    wave: int
    """From 0."""
    position: int
    """Position in the order of the whole rollout, from 0."""
    check: str = ""
    """Id of the last operation that checked its health while its wave settled."""
    status: MemberStatus = MemberStatus.PENDING
    waiting: WaitingFor | None = None
    """What it waits for, in WAITING only."""
    not_before: datetime | None = None
    """When its window opens, while it waits for that."""
    blocked_by: str = ""
    """Key of the budget or busy host that it waits for."""
    operation: str = ""
    detail: str = ""
    """What it waits for, why it was skipped, or what it failed with."""
    retry: bool = False
    """Whether its operation continues where a former one of this host failed."""
    reboot_left: bool = False
    """Whether its operation has left a reboot that the host needs; `detail` says why."""
    registered_at: datetime | None = None
    """When the host of the plan was registered, which tells it from a later one of the same name; None: unknown,
    of a rollout of an older version."""
    dependence: Dependence = Dependence()
    """Its part in the dependencies that ask for success."""

    def is_of(self, registered_at: datetime) -> bool:
        """Whether the member is a host that was registered then, and not a former one of the same name."""
        return self.registered_at in (None, registered_at)

    @property
    def tried(self) -> bool:
        """Whether an attempt of this rollout has failed and the next one has not started yet."""
        return self.retry and not self.status.begun and bool(self.operation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Members that are updated together."""

    rollout: str
    number: int
    """From 0."""
    progress: RolloutProgress
    stage: str = ""
    """The tag of its stage; empty: none."""
    expected: timedelta = timedelta()
    """Estimated duration, from the earlier updates of its hosts."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    settled_at: datetime | None = None
    """When its settling time had passed with all hosts healthy."""
    approved_by: str = ""
    approved_at: datetime | None = None


class HaltCause(StrEnum):
    """Why a rollout halted by itself."""

    FAILURES = "failures"
    """More hosts failed than `max_failures`."""
    APPROVAL = "approval"
    """Nobody approved the next wave in time."""
    WAVE_HOOK = "wave_hook"
    """A hook before or after a wave failed."""
    UNHEALTHY = "unhealthy"
    """An updated host did not stay healthy while its wave settled."""
    REBOOT_LEFT = "reboot_left"
    """An updated host needs a reboot, or may need one, when its wave settles."""
    FAULT = "fault"
    """The server failed repeatedly to continue the rollout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Why and when a rollout halted."""

    cause: HaltCause
    message: str
    at: datetime
    hosts: tuple[str, ...] = ()
    """Hosts that spent the failure budget, or are unhealthy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A rollout as it is stored."""

    id: str
    spec: RolloutSpec
    created_at: datetime
    progress: RolloutProgress
    waves: int
    status: RolloutStatus = RolloutStatus.RUNNING
    created_by: str = ""
    retry_of: str = ""
    """Id of the ended rollout whose failed hosts this one retries."""
    wave: int = 0
    """The current wave, from 0."""
    next_wave_at: datetime | None = None
    """When the delay between two waves ends."""
    settling: WaveSettling | None = None
    """The settling of the current wave, while it settles."""
    approval_until: datetime | None = None
    """When the rollout halts without an approval, in AWAITING_APPROVAL."""
    approved_wave: int = 0
    """The last approved wave, from 0."""
    halt: Halt | None = None
    """Why the rollout halted, in HALTED."""
    failed_hosts: tuple[str, ...] = ()
    """The first failed hosts, at most NAMED_FAILURES, for the message when the failure budget is spent."""
    expected_rest: timedelta = timedelta()
    """Estimated duration of the waves after the current one, with the pauses between them."""
    held_up: str = ""
    """The disruption budget that lets nothing start while nothing runs, and the hosts that spend it; empty: none."""
    held_up_since: datetime | None = None
    held_up_told: bool = False
    """Whether people have been notified that it is held up."""
    opens_at: datetime | None = None
    """When the first window opens that members of the current wave wait for, while all that are left of it wait;
    None: a member runs or may start, or none waits for its window."""
    notes: tuple[str, ...] = ()
    """The notes of its plan."""
    reboots_left: int = 0
    """Number of completed members whose reboot was left."""
    prerequisites: tuple[Prerequisites, ...] = ()
    """How far the hosts are that must succeed before others."""
    expired_while: str = ""
    """What the rollout did, or waited for, when it expired; empty: it has not."""
    expiry_shift: timedelta = timedelta()
    """By how much running servers have seen the clock set since the rollout was created."""
    expected_end: datetime | None = None
    """Estimated end, from the earlier updates of its hosts; None: it rests or has ended."""
    ended_at: datetime | None = None
    revision: int = 0

    @property
    def over(self) -> bool:
        """Whether the rollout has ended and never changes again."""
        return self.ended_at is not None

    @property
    def expires_at(self) -> datetime | None:
        """When hosts that have not started are skipped; None: never."""
        limit = self.spec.expires_after
        return None if limit is None else self.created_at + limit + self.expiry_shift


NAMED_FAILURES = 20
