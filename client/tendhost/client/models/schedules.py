"""Schedules and their runs."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.client.models.rollouts import Rollout, RolloutSpec


class MissedRuns(StrEnum):
    """What becomes of runs that could not begin in time, because no server ran."""

    SKIP = "skip"
    RUN_ONCE = "run_once"
    UNRECOGNIZED = "unrecognized"


class ScheduleStatus(StrEnum):
    """Whether a schedule has runs before it."""

    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"
    UNRECOGNIZED = "unrecognized"


class RunOutcome(StrEnum):
    """What became of a run; all but STARTED were skipped."""

    STARTED = "started"
    MISSED = "missed"
    OVERLAPPED = "overlapped"
    REFUSED = "refused"
    UNRECOGNIZED = "unrecognized"


class ScheduleChange(StrEnum):
    """What became of a schedule."""

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
    """What is asked of a schedule: a rollout whenever `cron` or `rrule`, one of them, says so."""

    name: str
    cron: str = ""
    """Five fields as in crontab(5), in local time."""
    rrule: str = ""
    """A rule as in RFC 5545, in local time."""
    time_zone: str = "UTC"
    starts_at: datetime | None = None
    """No run is before it, and a rule counts from it; None: now."""
    missed: MissedRuns = MissedRuns.SKIP
    grace: timedelta = timedelta(minutes=15)
    """A run that begins so much late is not missed."""
    rollout: RolloutSpec = RolloutSpec()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledRun:
    """What became of one run; `detail` says why it was skipped, or why it was late."""

    due_at: datetime | None
    at: datetime | None
    outcome: RunOutcome
    rollout_id: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Rollouts on a calendar."""

    spec: ScheduleSpec
    status: ScheduleStatus
    next_runs: tuple[datetime, ...]
    """The next five; none while it is paused."""
    last_run: ScheduledRun | None
    """Begun or skipped."""
    last_rollout: Rollout | None
    """The last that it started, as it stands; None: none, or it is no longer kept."""
    created_by: str
    created_at: datetime | None
    revision: int
    etag: str
    """Of what was asked and whether it is paused, not of its runs."""
    warnings: tuple[str, ...] = ()
    """What its rollouts name and no host has; not told in lists."""
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name
