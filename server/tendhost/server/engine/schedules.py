"""Schedules: created and changed by users, and started when they are due.

domain/schedules/schedule.py decides what is due and whether it starts. The rollout of a run is created in
the transaction that moves the schedule to its next run, so that a server that is killed, or a second one,
neither loses a run nor starts one twice.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from tendhost.server.clock import Clock
from tendhost.server.domain.changes import FieldChange, changes_of
from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.etags import require_etag
from tendhost.server.domain.events import Event, ScheduleChange
from tendhost.server.domain.hosts.unmatched import warnings_of
from tendhost.server.domain.request_errors import (
    InvalidScheduleStatus,
    ScheduleNotFound,
    SelectionNotFound,
    StoreUnavailable,
)
from tendhost.server.domain.rollouts.rollout import Rollout
from tendhost.server.domain.schedules.schedule import (
    DueRun,
    RunOutcome,
    Schedule,
    ScheduledRun,
    ScheduleRequest,
    ScheduleSpec,
    decide,
    missed_before,
)
from tendhost.server.domain.schedules.schedule_events import missed_event, run_event, schedule_event
from tendhost.server.engine.clock_drift import ClockDrift
from tendhost.server.engine.duties import HeldDuty
from tendhost.server.engine.fleet.selections import Selections
from tendhost.server.engine.requests import MutationContext, retried_on_conflict
from tendhost.server.engine.rollouts.manager import Beside, Rollouts
from tendhost.server.engine.supervision import RETRY
from tendhost.server.engine.waiting import CEILING, retry_while_unavailable, sleep_until_called
from tendhost.server.store.paging import every_schedule
from tendhost.server.store.protocols.commits import CommitStore
from tendhost.server.store.protocols.policies import ScheduleStore
from tendhost.server.store.protocols.rollouts import RolloutStore
from tendhost.server.store.records import Change, Conflict, Touched

logger = logging.getLogger(__name__)


_CONTRACT = {
    "recurrence.cron": "cron",
    "recurrence.rrule": "rrule",
    "recurrence.time_zone": "time_zone",
    "recurrence.start": "starts_at",
    "recurrence.offset_days": "offset_days",
}
"""Paths of a schedule's spec as the contract names them."""
SCHEDULE_CHANGED = "schedule_changed"
"""The kind of the events about schedules."""
AT_A_TIME = 100
FAULT_PAUSE = timedelta(minutes=1)
"""Pause before a schedule that caused an unexpected fault is tried again."""
FAULT_WORDS = "an unexpected fault; see the server's log"
REVIEW = timedelta(hours=1)
"""Time between two reviews of all stored next runs; a clock that is put back causes one at once."""


class ScheduledRolloutStore(ScheduleStore, RolloutStore, CommitStore, Protocol):
    """Schedules, and the rollouts that they began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """A schedule with its last rollout; None: none was started, or it is no longer kept."""

    schedule: Schedule
    last_rollout: Rollout | None = None
    warnings: tuple[str, ...] = ()
    """Entries of its rollouts' filter that match no host."""


class Schedules:
    """Every schedule of the fleet's rollouts."""

    def __init__(
        self,
        *,
        store: ScheduledRolloutStore,
        rollouts: Rollouts,
        selections: Selections,
        clock: Clock,
    ) -> None:
        self._store = store
        self._rollouts = rollouts
        self._selections = selections
        self._clock = clock
        self._woken = asyncio.Event()
        self._faults: dict[str, int] = {}
        """Number of unexpected faults that the due run of a schedule has caused, by name."""
        self._drift = ClockDrift(clock)
        self._stop_listening = store.listen(self._hear)
        self._reviewed_at: timedelta | None = None
        """Monotonic time at which the last review started; None: a review is due."""

    # --- changes by users ---------------------------------------------------------------------------

    async def view(self, schedule: Schedule) -> ScheduleView:
        """The schedule with its last rollout and its warnings."""
        warnings = await self._warnings(schedule)
        return replace(await self.overview(schedule), warnings=warnings)

    async def overview(self, schedule: Schedule) -> ScheduleView:
        """The schedule with its last rollout."""
        return ScheduleView(schedule=schedule, last_rollout=await self._former(schedule))

    async def create(
        self, request: ScheduleRequest, call: MutationContext[ScheduleView]
    ) -> ScheduleView:
        """Create a schedule.

        Raises InvalidArgument, SelectionNotFound, ScheduleAlreadyExists, AlreadyProcessed.
        """
        now = self._clock.now()
        made = Schedule(
            spec=request.spec(now), created_at=now, created_by=call.principal, next_at=None
        )
        await self._selections.resolved(made.spec.rollout.filter)
        return await self._saved(made.going(now), ScheduleChange.CREATED, call)

    @retried_on_conflict
    async def update(
        self,
        name: str,
        amended: Callable[[ScheduleSpec, datetime], ScheduleRequest],
        call: MutationContext[ScheduleView],
        *,
        etag: str = "",
    ) -> ScheduleView:
        """Change a schedule; rollouts that it has started continue unchanged.

        Raises ScheduleNotFound, SelectionNotFound, InvalidArgument, EtagMismatch, AlreadyProcessed.
        """
        schedule = await self._read(name, etag)
        now = self._clock.now()
        asked = amended(schedule.spec, now)
        # Whoever changes it, it reaches no further than whoever created it.
        kept = replace(asked.rollout, bound_to=schedule.spec.rollout.bound_to)
        changed = replace(schedule, spec=replace(asked, rollout=kept).spec(now))
        await self._selections.resolved(changed.spec.rollout.filter)
        if changed == schedule:
            return await call.commit_unchanged(
                self._store, await self.view(schedule), now, subject=schedule.name
            )
        going = changed if schedule.paused else changed.going(now)
        changes = changes_of(schedule.spec, changed.spec, renamed=_CONTRACT)
        return await self._saved(going, ScheduleChange.UPDATED, call, changes=changes)

    @retried_on_conflict
    async def pause(
        self, name: str, call: MutationContext[ScheduleView], *, etag: str = ""
    ) -> ScheduleView:
        """Start no further runs.

        Raises ScheduleNotFound, InvalidScheduleStatus, EtagMismatch, AlreadyProcessed.
        """
        schedule = await self._read(name, etag)
        if schedule.next_at is None:
            raise _invalid_status(schedule, "paused")
        return await self._saved(schedule.held(), ScheduleChange.PAUSED, call)

    @retried_on_conflict
    async def resume(
        self, name: str, call: MutationContext[ScheduleView], *, etag: str = ""
    ) -> ScheduleView:
        """Start its runs again; runs that were due in the meantime are not caught up.

        Raises ScheduleNotFound, InvalidScheduleStatus, EtagMismatch, AlreadyProcessed.
        """
        schedule = await self._read(name, etag)
        if not schedule.paused:
            raise _invalid_status(schedule, "resumed")
        going = schedule.going(self._clock.now())
        if going.next_at is None:
            raise _invalid_status(going, "resumed")
        return await self._saved(going, ScheduleChange.RESUMED, call)

    @retried_on_conflict
    async def delete(
        self, name: str, call: MutationContext[ScheduleView], *, etag: str = ""
    ) -> ScheduleView:
        """Delete a schedule; its rollouts stay. Raises ScheduleNotFound, EtagMismatch, AlreadyProcessed."""
        schedule = await self._read(name, etag)
        return await self._saved(schedule.held(), ScheduleChange.DELETED, call, removed=(schedule,))

    # --- due runs ------------------------------------------------------------------------------

    async def keep(self, duty: HeldDuty) -> None:
        """Start every run when it is due, until cancelled or another replica does it.

        Should two do it for a moment, the run is still one: it begins in the transaction that moves the schedule on.
        """
        self._reviewed_at = None  # another replica may have had the duty since
        while True:
            duty.require()
            self._woken.clear()
            try:
                pause = await retry_while_unavailable(
                    self._round, sleep=self._clock.sleep, logger=logger, waiting="schedules wait"
                )
            except Exception:
                logger.exception("schedules wait after an unexpected fault")
                pause = FAULT_PAUSE
            await sleep_until_called(self._clock, pause, self._woken)

    async def _round(self) -> timedelta:
        """Review the schedules if a review is due, start due runs, and return the pause until the next round."""
        elapsed = self._clock.elapsed()
        put_back = self._drift.jump() < timedelta()
        reviewed_at = self._reviewed_at
        if put_back or reviewed_at is None or elapsed - reviewed_at >= REVIEW:
            self._reviewed_at = None  # until every schedule was reviewed
            await self._review()
            self._reviewed_at = elapsed
        well = await self._begin_due()
        due_at = await self._store.next_due()
        if not well:
            return FAULT_PAUSE  # the run that failed is still due
        # A sleep does not notice a clock that is put forward.
        return CEILING if due_at is None else min(due_at - self._clock.now(), CEILING)

    async def _review(self) -> None:
        """Compute the next run of every schedule again, with the present clock and time zones."""
        ZoneInfo.clear_cache()  # else this process would never read new rules
        async for schedule in every_schedule(self._store):
            try:
                await self._recompute(schedule.name)
            except StoreUnavailable:
                raise
            except Exception:
                logger.exception("a schedule failed", extra={"schedule": schedule.name})

    @retried_on_conflict
    async def _recompute(self, name: str) -> None:
        try:
            schedule = await self._store.schedule(name)
        except ScheduleNotFound:
            return  # deleted since
        now = self._clock.now()
        recomputed = schedule.recomputed(now)
        if recomputed is None:
            return
        former = "none" if schedule.next_at is None else schedule.next_at.isoformat()
        words = (
            f"the next run was {former}: the clock of the server was wrong when that was computed,"
            f" or the rules of {schedule.spec.recurrence.time_zone} have changed"
        )
        event = schedule_event(recomputed, ScheduleChange.RECOMPUTED, now, message=words)
        await self._store.commit(Change(events=(event,), schedules=(recomputed,)))
        logger.warning(
            "the next run of a schedule was recomputed",
            extra={"schedule": name, "former": former, "next_at": str(recomputed.next_at)},
        )

    async def _begin_due(self) -> bool:
        """Start or skip the due runs; False: one has failed. The fault of one schedule does not delay another."""
        well = True
        for schedule in await self._store.due_schedules(self._clock.now(), limit=AT_A_TIME):
            try:
                await self._take(schedule.name)
                self._faults.pop(schedule.name, None)
            except StoreUnavailable:
                raise
            except Exception:
                well = False
                faults = self._faults[schedule.name] = self._faults.get(schedule.name, 0) + 1
                fields = {"schedule": schedule.name, "faults": faults}
                logger.exception("a schedule failed", extra=fields)
                if faults >= RETRY.attempts:
                    await self._stop_trying(schedule.name)
        return well

    async def _stop_trying(self, name: str) -> None:
        """Skip a run that has failed RETRY.attempts times; if that fails too, pause its schedule."""
        for stop in (self._skip_after_faults, self._pause_after_faults):
            try:
                await stop(name)
            except StoreUnavailable:
                raise
            except Exception:
                logger.exception(
                    "the run of a schedule could not be skipped", extra={"schedule": name}
                )
            else:
                del self._faults[name]
                return

    @retried_on_conflict
    async def _skip_after_faults(self, name: str) -> None:
        schedule = await self._store.schedule(name)
        now = self._clock.now()
        if schedule.next_at is not None and schedule.next_at <= now:
            refused = RunOutcome.REFUSED
            due_at = schedule.next_at
            run = ScheduledRun(due_at=due_at, at=now, outcome=refused, detail=FAULT_WORDS)
            await self._skip(schedule, run, now)

    @retried_on_conflict
    async def _pause_after_faults(self, name: str) -> None:
        schedule = (await self._store.schedule(name)).held()
        event = schedule_event(
            schedule,
            ScheduleChange.PAUSED,
            self._clock.now(),
            message=f"paused after {FAULT_WORDS}",
        )
        await self._store.commit(Change(events=(event,), schedules=(schedule,)))

    @retried_on_conflict
    async def _take(self, name: str) -> None:
        """Start the due run of a schedule, or skip it."""
        try:
            schedule = await self._store.schedule(name)
        except ScheduleNotFound:
            return  # deleted since
        now = self._clock.now()
        run = decide(schedule, await self._former(schedule), now)
        if run is None:
            return
        missed = tuple(
            missed_event(schedule, each, now) for each in missed_before(schedule, run, now)
        )
        if isinstance(run, DueRun):
            await self._begin(schedule, run, now, missed)
        else:
            await self._skip(schedule, run, now, missed)

    async def _begin(
        self, schedule: Schedule, begin: DueRun, now: datetime, missed: tuple[Event, ...]
    ) -> None:
        call: MutationContext[Rollout] = MutationContext(
            principal=f"schedule {schedule.name}",
            user=f"schedule {schedule.name}",
            method=METHOD,
            encode=lambda _: b"",
        )
        try:
            warned = "; ".join((*filter(None, [begin.detail]), *await self._warnings(schedule)))
            beside = change_beside(schedule, replace(begin, detail=warned), now, missed)
            await self._rollouts.start(schedule.spec.rollout, call, beside=beside)
        except (StoreUnavailable, Conflict):
            raise
        except Exception as error:
            detail = FAULT_WORDS
            if isinstance(error, TendhostError):
                detail = _refusal(error, schedule)
            else:
                logger.exception("a scheduled rollout failed", extra={"schedule": schedule.name})
            refused = RunOutcome.REFUSED
            run = ScheduledRun(due_at=begin.due_at, at=now, outcome=refused, detail=detail)
            # If the rollout was stored in spite of the error, this raises Conflict.
            await self._skip(schedule, run, now, missed)

    async def _skip(
        self,
        schedule: Schedule,
        run: ScheduledRun,
        now: datetime,
        missed: tuple[Event, ...] = (),
    ) -> None:
        """Skip a run; `missed` are the events about those before it that were missed."""
        advanced = schedule.after(run, now)
        events = (*missed, run_event(advanced, now))
        change = Change(events=events, schedules=(advanced,))
        await self._store.commit(change)
        logger.warning(
            "a scheduled rollout was skipped",
            extra={"schedule": schedule.name, "outcome": str(run.outcome), "detail": run.detail},
        )

    def close(self) -> None:
        """Hear of no further commits."""
        self._stop_listening()

    # --- inside -----------------------------------------------------------------------------------

    def _hear(self, touched: Touched) -> None:
        """Begin a round where a schedule has changed, on whichever replica."""
        if SCHEDULE_CHANGED in touched.kinds:
            self._woken.set()

    async def _read(self, name: str, etag: str) -> Schedule:
        schedule = await self._store.schedule(name)
        require_etag(f"schedule {name!r}", wanted=etag, current=schedule.etag)
        return schedule

    async def _warnings(self, schedule: Schedule) -> tuple[str, ...]:
        try:
            asked = schedule.spec.rollout
            found = await self._selections.unmatched(asked.filter, scope=asked.bound_to)
            return warnings_of(found)
        except SelectionNotFound as error:
            return (str(error),)

    async def _former(self, schedule: Schedule) -> Rollout | None:
        if not schedule.last_rollout:
            return None
        # It may have ended so long ago that it is no longer kept.
        return await self._store.find_rollout(schedule.last_rollout)

    async def _saved(
        self,
        schedule: Schedule,
        what: ScheduleChange,
        call: MutationContext[ScheduleView],
        *,
        removed: tuple[Schedule, ...] = (),
        changes: tuple[FieldChange, ...] = (),
    ) -> ScheduleView:
        now = self._clock.now()
        view = await self.view(schedule)

        def view_at(revision: int) -> ScheduleView:
            return replace(view, schedule=replace(schedule, revision=revision))

        by = call.principal
        event = schedule_event(schedule, what, now, message=f"by {by}", by=by, changes=changes)
        change = Change(
            events=(event,),
            schedules=() if removed else (schedule,),
            removed_schedules=removed,
        )
        return await call.commit(self._store, change, view_at, subject=schedule.name)


def _invalid_status(schedule: Schedule, wanted: str) -> InvalidScheduleStatus:
    return InvalidScheduleStatus(schedule=schedule.name, status=str(schedule.status), wanted=wanted)


def _refusal(error: TendhostError, schedule: Schedule) -> str:
    """Why the rollout of a run was refused. Callers that are bound to hosts may read it after hosts have left these."""
    if schedule.spec.rollout.bound_to is None:
        return str(error)
    return f"its rollout was refused ({error.reason}); to see why, plan it: tendhost rollout plan"


METHOD = "schedule"
"""Method of a scheduled rollout in the audit log."""


def change_beside(
    schedule: Schedule, begin: DueRun, now: datetime, missed: tuple[Event, ...]
) -> Beside:
    """A function that adds the run of the schedule to the change that creates its rollout.

    `missed` are the events about runs before it that were missed.
    """

    def beside(rollout: Rollout, change: Change) -> Change:
        run = ScheduledRun(
            due_at=begin.due_at,
            at=now,
            outcome=RunOutcome.STARTED,
            rollout=rollout.id,
            detail=begin.detail,
        )
        advanced = schedule.after(run, now)
        events = (*change.events, *missed, run_event(advanced, now))
        return replace(change, events=events, schedules=(advanced,))

    return beside
