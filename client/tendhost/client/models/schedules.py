"""Schedules and their runs."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.client.models.rollouts import Rollout, RolloutSpec
from tendhost.client.models.selections import HostFilter


class MissedRuns(StrEnum):
    """What happens to runs that could not start in time because no server was running."""

    SKIP = "skip"
    RUN_ONCE = "run_once"
    UNRECOGNIZED = "unrecognized"


class ScheduleStatus(StrEnum):
    """Whether a schedule has future runs."""

    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"
    UNRECOGNIZED = "unrecognized"


class RunOutcome(StrEnum):
    """What happened when a run was due; all but STARTED were skipped."""

    STARTED = "started"
    MISSED = "missed"
    OVERLAPPED = "overlapped"
    REFUSED = "refused"
    UNRECOGNIZED = "unrecognized"


class ScheduleChange(StrEnum):
    """What happened to a schedule."""

    CREATED = "created"
    UPDATED = "updated"
    PAUSED = "paused"
    RESUMED = "resumed"
    DELETED = "deleted"
    STARTED = "started"
    SKIPPED = "skipped"
    RECOMPUTED = "recomputed"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    """Definition of a schedule; exactly one of `cron` and `rrule` is set."""

    name: str
    cron: str = ""
    """Cron expression with the five fields of crontab(5), in local time."""
    rrule: str = ""
    """Recurrence rule of RFC 5545, in local time."""
    time_zone: str = "UTC"
    starts_at: datetime | None = None
    """Time before which no run starts, and DTSTART of a recurrence rule; None: now."""
    offset_days: int = 0
    """Days after each date of `cron` or `rrule` at which the run starts, -366 to 366; negative: before."""
    missed: MissedRuns = MissedRuns.SKIP
    grace: timedelta = timedelta(minutes=15)
    """Delay up to which a late run still starts."""
    rollout: RolloutSpec = RolloutSpec()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledRun:
    """Run of a schedule that was due; `detail` says why it was skipped or late."""

    due_at: datetime | None
    at: datetime | None
    outcome: RunOutcome
    rollout_id: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Schedules, which start rollouts by calendar."""

    spec: ScheduleSpec
    status: ScheduleStatus
    next_runs: tuple[datetime, ...]
    """Times of the next five runs; none while the schedule is paused."""
    last_run: ScheduledRun | None
    """Latest run that was due, started or skipped."""
    last_rollout: Rollout | None
    """Latest rollout in its current state; None: none was started, or it is no longer stored."""
    created_by: str
    created_at: datetime | None
    revision: int
    etag: str
    """Changes with the definition and when the schedule is paused or resumed, not with runs."""
    warnings: tuple[str, ...] = ()
    """Names in the rollout's filter that match nothing; not set in lists."""
    bound_to: HostFilter | None = None
    """Hosts that no run reaches beyond, as Rollout.bound_to."""
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name
