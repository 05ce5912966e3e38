"""A rollout on a calendar: what is asked of it, when it is due, and whether it then begins or is skipped.

Values and decisions only. When a schedule recurs is in domain/recurrence.py.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.server.domain.errors import FieldViolation, InvalidArgument
from tendhost.server.domain.recurrence import Recurrence, anchored, upcoming
from tendhost.server.domain.rollout import Rollout, RolloutSpec
from tendhost.server.domain.rollout_plan import require_sound_spec

GRACE = timedelta(minutes=15)
SHOWN_RUNS = 5


class MissedRuns(StrEnum):
    """What becomes of runs that could not begin in time, because no server ran."""

    SKIP = "skip"
    RUN_ONCE = "run_once"
    """However many there were, one run makes up for them as soon as a server runs."""


class ScheduleStatus(StrEnum):
    """Whether a schedule has runs before it."""

    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"
    """It never comes again."""


class RunOutcome(StrEnum):
    """What became of a run."""

    STARTED = "started"
    MISSED = "missed"
    """No server ran when it was due, nor within the grace."""
    OVERLAPPED = "overlapped"
    """The schedule's former rollout had not ended."""
    REFUSED = "refused"
    """The rollout could not be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    """What a user asks of a schedule."""

    name: str
    recurrence: Recurrence
    rollout: RolloutSpec
    missed: MissedRuns = MissedRuns.SKIP
    grace: timedelta = GRACE
    """A run that begins so much late is not missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleWish:
    """A schedule as it is asked for: see ScheduleSpec and Recurrence."""

    name: str
    cron: str = ""
    rrule: str = ""
    time_zone: str = "UTC"
    starts_at: datetime | None = None
    """None: now."""
    rollout: RolloutSpec
    missed: MissedRuns = MissedRuns.SKIP
    grace: timedelta = GRACE

    def spec(self, now: datetime) -> ScheduleSpec:
        """What is kept of it. Raises InvalidArgument, also where it has no run after `now`."""
        recurrence = anchored(
            cron=self.cron,
            rrule=self.rrule,
            time_zone=self.time_zone,
            start=self.starts_at,
            now=now,
        )
        try:
            require_sound_spec(self.rollout)
        except InvalidArgument as error:
            within = "spec.rollout."
            raise InvalidArgument(
                *(
                    FieldViolation(within + v.field.removeprefix("spec."), v.description)
                    for v in error.violations
                )
            ) from error
        return ScheduleSpec(
            name=self.name,
            recurrence=recurrence,
            rollout=self.rollout,
            missed=self.missed,
            grace=self.grace,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledRun:
    """What became of one run."""

    due_at: datetime
    at: datetime
    """When it was begun or skipped."""
    outcome: RunOutcome
    rollout: str = ""
    detail: str = ""
    """Why it was skipped, or why it was late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A durable schedule. Its name is its key."""

    spec: ScheduleSpec
    created_at: datetime
    created_by: str = ""
    paused: bool = False
    next_at: datetime | None
    """When the next run is due; None: it is paused, or has ended."""
    last_run: ScheduledRun | None = None
    """Begun or skipped."""
    last_rollout: str = ""
    """The last that was started, however many runs were skipped since."""
    revision: int = 0

    @property
    def name(self) -> str:
        """Unique among schedules."""
        return self.spec.name

    @property
    def status(self) -> ScheduleStatus:
        """Whether runs are before it."""
        if self.paused:
            return ScheduleStatus.PAUSED
        return ScheduleStatus.ENDED if self.next_at is None else ScheduleStatus.ACTIVE

    def next_runs(self, count: int = SHOWN_RUNS) -> tuple[datetime, ...]:
        """The next so many runs, fewer where it ends before; none while it is paused."""
        if self.next_at is None:
            return ()
        return (self.next_at, *upcoming(self.spec.recurrence, self.next_at, count - 1))

    def going(self, now: datetime) -> "Schedule":
        """The schedule with its next run after `now`, and after whatever run it has had: a clock that
        was put back does not bring a run back."""
        had = self.last_run.due_at if self.last_run is not None else now
        return replace(self, paused=False, next_at=self.spec.recurrence.next(max(now, had)))

    def held(self) -> "Schedule":
        """The schedule without a next run."""
        return replace(self, paused=True, next_at=None)

    def after(self, run: ScheduledRun, now: datetime) -> "Schedule":
        """The schedule once this run was begun or skipped. Runs that `now` has passed do not come."""
        passed = replace(self, last_run=run, last_rollout=run.rollout or self.last_rollout)
        return passed.going(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Start the rollout of the run that was due then."""

    due_at: datetime
    detail: str = ""


def decide(
    schedule: Schedule, former: Rollout | None, now: datetime
) -> Begin | ScheduledRun | None:
    """What to do of a schedule at `now`: begin a run, let one pass by, or nothing, for none is due.

    `former` is the schedule's last rollout, as far as it is known. Of several runs that were due
    at most one begins.
    """
    first, spec = schedule.next_at, schedule.spec
    if first is None or first > now:
        return None
    # The moment `now - grace` itself is within the grace.
    since = now - spec.grace - timedelta(microseconds=1)
    in_time = spec.recurrence.latest(after=since, until=now) if first <= since else None
    due_at = in_time or first
    late = ""
    if first <= since and in_time is None:
        late = f"it was due {_words(first)} and no server began it within {spec.grace}"
        if spec.missed is MissedRuns.SKIP:
            return ScheduledRun(due_at=first, at=now, outcome=RunOutcome.MISSED, detail=late)
        late = f"made up for: {late}"
    if former is not None and not former.over:
        words = f"rollout {former.id} of the former run has not ended: it is {former.status}"
        return ScheduledRun(due_at=due_at, at=now, outcome=RunOutcome.OVERLAPPED, detail=words)
    return Begin(due_at=due_at, detail=late)


def forgone(schedule: Schedule, copied_at: datetime, now: datetime) -> Schedule | None:
    """The schedule of a database that was restored from a copy, without the runs that were due since.

    Whether they were begun is not known, and none may begin twice. None: none was due.
    """
    due_at = schedule.next_at
    if due_at is None or due_at > now:
        return None
    words = (
        f"the database was restored from a copy of {_words(copied_at)};"
        " whether this run was begun since is not known"
    )
    run = ScheduledRun(due_at=due_at, at=now, outcome=RunOutcome.MISSED, detail=words)
    return schedule.after(run, now)


def _words(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
