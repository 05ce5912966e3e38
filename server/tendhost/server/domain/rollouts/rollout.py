"""An update of many hosts, in waves: what is asked of it, how far it is, and how far its hosts are.

Values only. How hosts are divided into waves is in domain/rollouts/waves.py, what a rollout would do in
domain/rollouts/plan.py, what it does next in domain/rollouts/advance.py, and what its budgets allow in
domain/rollouts/budgets.py.
"""

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.inventory.scope import ScopeOverride
from tendhost.server.domain.rollouts.settling import WaveSettling
from tendhost.server.domain.rollouts.waves import Division

APPROVAL_TIMEOUT = timedelta(days=1)


class RolloutStatus(StrEnum):
    """How far a rollout is."""

    RUNNING = "running"
    PAUSED = "paused"
    """Nothing new starts; what runs goes on."""
    COMPLETED = "completed"
    """Every member has come to its end; the progress says how many failed."""
    CANCELLED = "cancelled"
    """Nothing new starts any more: what had not begun is skipped, what runs goes on to its end."""
    HALTED = "halted"
    """As paused, but by the rollout itself: `Rollout.halt` says why."""
    AWAITING_APPROVAL = "awaiting_approval"
    """The next wave begins when somebody approves of it."""
    EXPIRED = "expired"
    """As cancelled, by its own time limit."""


class MemberStatus(StrEnum):
    """How far one host of a rollout is."""

    PENDING = "pending"
    """Its wave has not come to it."""
    WAITING = "waiting"
    """Its turn has come, and something holds it up; `Member.waiting` says what."""
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    """It failed, and what was changed is taken back."""
    SKIPPED = "skipped"

    @property
    def begun(self) -> bool:
        """Whether the rollout has begun to work on this host, or never will."""
        return self not in (MemberStatus.PENDING, MemberStatus.WAITING)

    @property
    def ended(self) -> bool:
        """Whether the rollout is done with this host."""
        return self.begun and self is not MemberStatus.IN_PROGRESS

    @property
    def failed(self) -> bool:
        """Whether it counts against the failure budget."""
        return self in (MemberStatus.FAILED, MemberStatus.ROLLED_BACK)


class WaitingFor(StrEnum):
    """What holds a host up whose turn has come."""

    WINDOW = "window"
    """Its maintenance window, or the end of a freeze."""
    BUDGET = "budget"
    """A disruption budget: too many hosts are down."""
    HOST = "host"
    """Another operation on the same host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisruptionBudget:
    """How many hosts may be down at once."""

    limit: str
    """A number of hosts, or a percentage of all that count, rounded down, but at least one."""
    per_tag: str = ""
    """The key of tags written KEY=VALUE: the limit holds for the hosts of each value. Empty: it holds
    for the whole fleet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """What a user asks of a rollout."""

    filter: HostFilter
    division: Division = Division()
    delay_between_waves: timedelta = timedelta(seconds=30)
    settle: timedelta = timedelta()
    """After the delay, the hosts of the wave have to be healthy for so long before the next one begins."""
    max_failures: str = ""
    """More failed hosts than this halt the rollout: a number, or a percentage of all its hosts,
    rounded down. Empty: no number of failures does."""
    budgets: tuple[DisruptionBudget, ...] = ()
    ignore_earlier_failures: bool = False
    """Whether hosts that had failed before the rollout was started do not count for its budgets."""
    approve_waves: bool = False
    """Whether each wave after the first one needs somebody's approval."""
    approvers: tuple[str, ...] = ()
    """Who may approve, by the users' names; empty: everybody."""
    approval_timeout: timedelta = APPROVAL_TIMEOUT
    """Without an approval for so long the rollout halts."""
    expires_after: timedelta | None = None
    """Hosts that have not begun by then are skipped; None: they wait for as long as it takes."""
    window_override_reason: str = ""
    """Why hosts are changed outside their windows as well; empty: they are not."""
    dry_run: bool = False
    scope: ScopeOverride | None = None
    """None: what each host's policy says."""

    @property
    def settles(self) -> bool:
        """Whether the hosts of a wave are looked at before the next one begins."""
        return self.settle > timedelta() and not self.dry_run

    @property
    def pause(self) -> timedelta:
        """How long it takes from the end of one wave to the beginning of the next, approvals apart."""
        return self.delay_between_waves + (self.settle if self.settles else timedelta())


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutProgress:
    """How many members are where. The parts always add up to the total."""

    total_hosts: int
    pending: int
    waiting: int = 0
    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    rolled_back: int = 0
    skipped: int = 0

    def moved(self, origin: MemberStatus, to: MemberStatus) -> "RolloutProgress":
        """The progress after one member went from `origin` to `to`."""
        counts = {origin.value: getattr(self, origin.value) - 1}
        counts[to.value] = counts.get(to.value, getattr(self, to.value)) + 1
        return replace(self, **counts)

    def without(self, status: MemberStatus) -> "RolloutProgress":
        """The progress of a wave that a member of this status has left."""
        count = getattr(self, status.value) - 1
        return replace(self, total_hosts=self.total_hosts - 1, **{status.value: count})

    def joined(self, status: MemberStatus) -> "RolloutProgress":
        """The progress of a wave that a member of this status has come to."""
        count = getattr(self, status.value) + 1
        return replace(self, total_hosts=self.total_hosts + 1, **{status.value: count})

    @property
    def failures(self) -> int:
        """How many members count against the failure budget."""
        return self.failed + self.rolled_back

    @property
    def not_begun(self) -> int:
        """How many members have not begun."""
        return self.pending + self.waiting

    @property
    def ended(self) -> int:
        """How many members have come to their end."""
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
    """Its place in the order of the whole rollout, from 0."""
    check: str = ""
    """The operation that last looked whether it is healthy while its wave settled."""
    status: MemberStatus = MemberStatus.PENDING
    waiting: WaitingFor | None = None
    """In WAITING only: for what."""
    not_before: datetime | None = None
    """While it waits for its window: when that opens."""
    blocked_by: str = ""
    """While it waits for a budget or for its host: which one."""
    operation: str = ""
    detail: str = ""
    """What it waits for, why it was skipped, or what it failed with."""
    retry: bool = False
    """Whether its operation is to go on where a former one of this host failed."""

    @property
    def tried(self) -> bool:
        """Whether an attempt of this rollout has failed, after which it was not tried again yet."""
        return self.retry and not self.status.begun and bool(self.operation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Members that are updated side by side."""

    rollout: str
    number: int
    """From 0."""
    progress: RolloutProgress
    stage: str = ""
    """The tag of its stage; empty: none."""
    expected: timedelta = timedelta()
    """How long it will take, by what its hosts took before."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    settled_at: datetime | None = None
    """When its hosts had been healthy for as long as was asked."""
    approved_by: str = ""
    approved_at: datetime | None = None


class HaltCause(StrEnum):
    """Why a rollout halted by itself."""

    FAILURES = "failures"
    """More hosts failed than `max_failures`."""
    APPROVAL = "approval"
    """Nobody approved of the next wave in time."""
    WAVE_HOOK = "wave_hook"
    """A hook before or after a wave failed."""
    UNHEALTHY = "unhealthy"
    """An updated host did not stay healthy while its wave settled."""
    FAULT = "fault"
    """The server failed again and again to carry it forward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Why and when a rollout halted."""

    cause: HaltCause
    message: str
    at: datetime
    hosts: tuple[str, ...] = ()
    """Those that spent the budget, or are not healthy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A durable rollout."""

    id: str
    spec: RolloutSpec
    created_at: datetime
    progress: RolloutProgress
    waves: int
    status: RolloutStatus = RolloutStatus.RUNNING
    created_by: str = ""
    retry_of: str = ""
    """The ended rollout whose failed hosts these are."""
    wave: int = 0
    """The current wave, from 0."""
    next_wave_at: datetime | None = None
    """Between two waves: when the delay ends."""
    settling: WaveSettling | None = None
    """While the current wave settles: how far that is."""
    approval_until: datetime | None = None
    """In AWAITING_APPROVAL: when the rollout halts without it."""
    approved_wave: int = 0
    """The last wave that needs no approval any more, from 0."""
    halt: Halt | None = None
    """In HALTED: why."""
    failed_hosts: tuple[str, ...] = ()
    """The first that failed, at most NAMED_FAILURES, to be named when the budget is spent."""
    expected_rest: timedelta = timedelta()
    """How long the waves after the current one will take, with the delays between them."""
    held_up: str = ""
    """While a disruption budget lets nothing of it begin and nothing of it runs: which, and who spends it."""
    held_up_since: datetime | None = None
    held_up_told: bool = False
    """Whether people were told."""
    expiry_shift: timedelta = timedelta()
    """By how much the clock was set since the rollout was created, as far as a server has seen it."""
    expected_end: datetime | None = None
    """When it will end, by what its hosts took before; None: it rests or has ended."""
    ended_at: datetime | None = None
    revision: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing of it will ever change again."""
        return self.ended_at is not None

    @property
    def expires_at(self) -> datetime | None:
        """When hosts that have not begun are skipped."""
        limit = self.spec.expires_after
        return None if limit is None else self.created_at + limit + self.expiry_shift


NAMED_FAILURES = 20
