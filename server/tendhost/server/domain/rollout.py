"""An update of many hosts, a batch at a time.

Pure: `advance` looks at a rollout, at the members of its current batch and at the time, and says what
to do next. The members of a rollout are fixed when it starts, in order of name; each batch must have
come to its end, whatever that end was, before the delay runs and the next one starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.server.domain.scope import UpdateScope
from tendhost.server.domain.selection import HostFilter


class RolloutStatus(StrEnum):
    """How far a rollout is."""

    RUNNING = "running"
    PAUSED = "paused"
    """Nothing new starts; what runs goes on."""
    COMPLETED = "completed"
    """Every member has come to its end; the progress says how many failed."""
    CANCELLED = "cancelled"
    """Nothing new starts any more: what had not begun is skipped, what runs goes on to its end."""


class MemberStatus(StrEnum):
    """How far one host of a rollout is."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def ended(self) -> bool:
        """Whether the rollout is done with this host."""
        return self in (MemberStatus.COMPLETED, MemberStatus.FAILED, MemberStatus.SKIPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """What a user asks of a rollout."""

    filter: HostFilter
    batch_size: int = 2
    delay_between_batches: timedelta = timedelta(seconds=30)
    dry_run: bool = False
    scope: UpdateScope | None = None
    """None: what each host's policy says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How many members are where. The five parts always add up to the total."""

    total_hosts: int
    pending: int
    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    skipped: int = 0

    def moved(self, origin: MemberStatus, to: MemberStatus) -> "Progress":
        """The progress after one member went from `origin` to `to`."""
        counts = {origin.value: getattr(self, origin.value) - 1}
        counts[to.value] = counts.get(to.value, getattr(self, to.value)) + 1
        return replace(self, **counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One host of a rollout."""

    rollout: str
    host: str
    batch: int
    """From 0."""
    status: MemberStatus = MemberStatus.PENDING
    operation: str = ""
    detail: str = ""
    """Why it was skipped, or what it failed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A durable rollout."""

    id: str
    spec: RolloutSpec
    created_at: datetime
    progress: Progress
    batches: int
    status: RolloutStatus = RolloutStatus.RUNNING
    created_by: str = ""
    batch: int = 0
    """The current batch, from 0."""
    next_batch_at: datetime | None = None
    """While the delay between two batches runs: when it ends."""
    ended_at: datetime | None = None
    revision: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing of it will ever change again."""
        return self.ended_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Begin the work on these members."""

    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to do before `until`, or, without it, before a member ends or a user speaks."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """Store `rollout` and ask again."""

    rollout: Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipRest:
    """Skip every member that has not begun."""


Decision = Start | Wait | Save | SkipRest


def batch_of(position: int, batch_size: int) -> int:
    """The batch of the member at `position`, both from 0."""
    return position // batch_size


def advance(rollout: Rollout, batch: Sequence[Member], now: datetime) -> Decision:
    """What to do next with a rollout whose current batch has the members `batch`.

    Idempotent: asked again before its answer was carried out, it answers the same.
    """
    if rollout.status is RolloutStatus.CANCELLED:
        return _wind_up(rollout, now)
    if rollout.status is not RolloutStatus.RUNNING:
        return Wait()
    if rollout.next_batch_at is not None:
        if now < rollout.next_batch_at:
            return Wait(until=rollout.next_batch_at)
        return Save(
            rollout=replace(rollout, batch=rollout.batch + 1, next_batch_at=None),
        )
    startable = tuple(m.host for m in batch if m.status is MemberStatus.PENDING)
    if startable:
        return Start(hosts=startable)
    if not all(m.status.ended for m in batch):
        return Wait()
    if rollout.batch + 1 < rollout.batches:
        return Save(
            rollout=replace(rollout, next_batch_at=now + rollout.spec.delay_between_batches)
        )
    return Save(rollout=replace(rollout, status=RolloutStatus.COMPLETED, ended_at=now))


def _wind_up(rollout: Rollout, now: datetime) -> Decision:
    if rollout.progress.pending:
        return SkipRest()
    if rollout.progress.in_progress or rollout.over:
        return Wait()
    return Save(rollout=replace(rollout, ended_at=now))
