"""Schedules: rollouts on a calendar, their due runs, and whether a run starts or is skipped.

Values and decisions only. domain/schedules/recurrence.py computes when a schedule recurs.
"""

import itertools
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.server.domain.etags import etag_of
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.domain.rollouts.plan import require_sound_spec
from tendhost.server.domain.rollouts.rollout import Rollout, RolloutSpec
from tendhost.server.domain.schedules.recurrence import (
    Recurrence,
    anchored,
    default_start,
    upcoming,
)

GRACE = timedelta(minutes=15)
SHOWN_RUNS = 5
CLOCK_SLACK = timedelta(days=1)
"""How far a stored instant may lie in the future, or before an earlier one, and still count as right. A clock
that is put back by less repeats no run; one that was ahead by more has no lasting effect."""


class MissedRuns(StrEnum):
    """What happens with runs that could not start in time, since no server ran."""

    SKIP = "skip"
    RUN_ONCE = "run_once"
    """One run catches up for all of them as soon as a server runs."""


class ScheduleStatus(StrEnum):
    """Whether a schedule has further runs."""

    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"
    """It has no further runs."""


class RunOutcome(StrEnum):
    """The outcome of a run."""

    STARTED = "started"
    MISSED = "missed"
    """No server ran when it was due, nor within the grace."""
    OVERLAPPED = "overlapped"
    """The schedule's former rollout had not ended."""
    REFUSED = "refused"
    """The rollout could not be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    """The specification of a schedule."""

    name: str
    recurrence: Recurrence
    rollout: RolloutSpec
    missed: MissedRuns = MissedRuns.SKIP
    grace: timedelta = GRACE
    """Delay up to which a late run still starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRequest:
    """A request for a schedule: see ScheduleSpec and Recurrence."""

    name: str
    cron: str = ""
    rrule: str = ""
    time_zone: str = "UTC"
    starts_at: datetime | None = None
    """None: now."""
    offset_days: int = 0
    rollout: RolloutSpec
    missed: MissedRuns = MissedRuns.SKIP
    grace: timedelta = GRACE

    def spec(self, now: datetime) -> ScheduleSpec:
        """The specification for this request. Raises InvalidArgument, also if it has no run after `now`."""
        recurrence = anchored(
            cron=self.cron,
            rrule=self.rrule,
            time_zone=self.time_zone,
            start=self.starts_at,
            offset_days=self.offset_days,
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
    """One run and its outcome."""

    due_at: datetime
    at: datetime
    """When it was started or skipped."""
    outcome: RunOutcome
    rollout: str = ""
    detail: str = ""
    """Why it was skipped, or why it was late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule as it is stored. Its name is its key."""

    spec: ScheduleSpec
    created_at: datetime
    created_by: str = ""
    paused: bool = False
    next_at: datetime | None
    """When the next run is due; None: it is paused, or has ended."""
    computed_at: datetime | None = None
    """When `next_at` was computed, by the clock of that time; None: never, or the schedule is paused."""
    last_run: ScheduledRun | None = None
    """The last run, started or skipped."""
    last_rollout: str = ""
    """Id of the last rollout that it started; runs may have been skipped since."""
    revision: int = 0

    @property
    def name(self) -> str:
        """Unique among schedules."""
        return self.spec.name

    @property
    def etag(self) -> str:
        """Changes with the specification and with a pause, not with runs."""
        return etag_of(self.spec, self.paused)

    @property
    def status(self) -> ScheduleStatus:
        """Whether it has further runs."""
        if self.paused:
            return ScheduleStatus.PAUSED
        return ScheduleStatus.ENDED if self.next_at is None else ScheduleStatus.ACTIVE

    def next_runs(self, count: int = SHOWN_RUNS) -> tuple[datetime, ...]:
        """The next `count` runs, fewer if it ends before; none while it is paused."""
        if self.next_at is None:
            return ()
        return (self.next_at, *upcoming(self.spec.recurrence, self.next_at, count - 1))

    def going(self, now: datetime) -> "Schedule":
        """The schedule with its next run after `now` and after its last run, so that a clock that is put back
        repeats no run. A last run that a clock far ahead has started does not count."""
        floor = self._after_last_run(now, now)
        next_at = self.spec.recurrence.next(floor)
        return replace(self, paused=False, next_at=next_at, computed_at=now)

    def recomputed(self, now: datetime) -> "Schedule | None":
        """The schedule with the right next run at `now`; None: its next run is right.

        A stored next run is wrong if the clock was wrong when it was computed, or if the rules of the time
        zone have changed since. A run that is due stays due, unless the clock was wrong.
        """
        if self.paused:
            return None
        if self.computed_at is None or not self._is_plausible(self.computed_at, now):
            right = self._begun_at(now).going(now)
        else:
            floor = self._after_last_run(self.computed_at, now)
            right = replace(self, next_at=self.spec.recurrence.next(floor))
        return None if right.next_at == self.next_at else right

    def _is_plausible(self, computed_at: datetime, now: datetime) -> bool:
        """Whether the clock can have been right at `computed_at`, if it is right now."""
        before = [self.created_at] if self.last_run is None else [self.created_at, self.last_run.at]
        earliest = max((at for at in before if at <= now), default=computed_at)
        return earliest - CLOCK_SLACK <= computed_at <= now

    def _begun_at(self, now: datetime) -> "Schedule":
        """The schedule with its start at `now`, if a clock that was ahead has set its start."""
        recurrence = self.spec.recurrence
        by_clock = (
            at is not None and at - CLOCK_SLACK <= recurrence.start <= at
            for at in (self.created_at, self.computed_at)
        )
        if recurrence.start <= now or not any(by_clock):
            return self
        start = default_start(recurrence.rrule, recurrence.zone, now, recurrence.offset_days)
        begun = replace(recurrence, start=start)
        return replace(self, spec=replace(self.spec, recurrence=begun))

    def _after_last_run(self, floor: datetime, now: datetime) -> datetime:
        """`floor`, or a later last run, if that is plausible at `now`."""
        if self.last_run is None or self.last_run.due_at > now + CLOCK_SLACK:
            return floor
        return max(floor, self.last_run.due_at)

    def held(self) -> "Schedule":
        """The schedule without a next run."""
        return replace(self, paused=True, next_at=None, computed_at=None)

    def after(self, run: ScheduledRun, now: datetime) -> "Schedule":
        """The schedule after this run was started or skipped. Runs before `now` are not caught up."""
        passed = replace(self, last_run=run, last_rollout=run.rollout or self.last_rollout)
        return passed.going(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRun:
    """A decision to start the rollout of a due run."""

    due_at: datetime
    detail: str = ""


def decide(
    schedule: Schedule, former: Rollout | None, now: datetime
) -> DueRun | ScheduledRun | None:
    """What to do about a schedule at `now`: start a run, skip one, or nothing, since none is due.

    `former` is the schedule's last rollout, if it is still stored. Of several due runs at most one starts.
    """
    first, spec = schedule.next_at, schedule.spec
    if first is None or first > now:
        return None
    since = _last_too_late(spec, now)
    in_time = spec.recurrence.latest(after=since, until=now) if first <= since else None
    due_at = in_time or first
    late = ""
    if first <= since and in_time is None:
        last = _last_missed(spec, first, since)
        if spec.missed is MissedRuns.SKIP:
            return _missed(spec, last, now)
        due_at = last
        late = f"caught up: {_late(spec, last)}"
    if former is not None and not former.over:
        words = f"rollout {former.id} of an earlier run has not ended: it is {former.status}"
        if former.held_up:
            words += f" and held up: {former.held_up}"
        return ScheduledRun(due_at=due_at, at=now, outcome=RunOutcome.OVERLAPPED, detail=words)
    return DueRun(due_at=due_at, detail=late)


MOST_TOLD = 20
"""Missed runs that are told one by one; the last of them stands for all that follow."""


def missed_before(
    schedule: Schedule, run: DueRun | ScheduledRun, now: datetime
) -> tuple[ScheduledRun, ...]:
    """The runs before `run`, as `decide` returned it at `now`, that no server started in time, in order.

    At most MOST_TOLD; the detail of the last says that others followed it.
    """
    first, spec = schedule.next_at, schedule.spec
    if first is None or first >= run.due_at:
        return ()
    moments = itertools.chain((first,), spec.recurrence.moments(first))
    missed = itertools.takewhile(lambda at: at < run.due_at, moments)
    told = [_missed(spec, at, now) for at in itertools.islice(missed, MOST_TOLD)]
    if next(missed, None) is not None:
        until = spec.recurrence.local(run.due_at)
        detail = f"{told[-1].detail}, nor those that followed it before {until}"
        told[-1] = replace(told[-1], detail=detail)
    return tuple(told)


def _last_too_late(spec: ScheduleSpec, now: datetime) -> datetime:
    """The last instant at which a run that starts at `now` was due too long ago."""
    # The instant `now - grace` itself is within the grace.
    return now - spec.grace - timedelta(microseconds=1)


def _last_missed(spec: ScheduleSpec, first: datetime, since: datetime) -> datetime:
    """The last moment until `since`; `first` is one. Looked for backwards: there may be millions."""
    span = timedelta(hours=1)
    while since - span > first:
        found = spec.recurrence.latest(after=since - span, until=since)
        if found is not None:
            return found
        span *= 4
    return spec.recurrence.latest(after=first, until=since) or first


def _missed(spec: ScheduleSpec, due_at: datetime, now: datetime) -> ScheduledRun:
    detail = _late(spec, due_at)
    return ScheduledRun(due_at=due_at, at=now, outcome=RunOutcome.MISSED, detail=detail)


def _late(spec: ScheduleSpec, due_at: datetime) -> str:
    due = spec.recurrence.local(due_at)
    return f"it was due {due} and no server started it within {spec.grace}"


def forgone(schedule: Schedule, copied_at: datetime, now: datetime) -> Schedule | None:
    """The schedule of a database that was restored from a copy, without the runs that were due since.

    It is unknown whether they were started, and none may start twice. None: no run was due.
    """
    due_at = schedule.next_at
    if due_at is None or due_at > now:
        return None
    words = (
        f"the database was restored from a copy of {copied_at:%Y-%m-%d %H:%M} UTC;"
        " it is unknown whether this run has started since"
    )
    run = ScheduledRun(due_at=due_at, at=now, outcome=RunOutcome.MISSED, detail=words)
    return schedule.after(run, now)
