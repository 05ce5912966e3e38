"""Schedules are made and changed here, and their runs begin here when they are due.

What is due and whether it begins is decided in domain/schedules/schedule.py, upon what is stored. A run's rollout is
created in the transaction that moves the schedule on to its next run, so that a server that is killed, or
a second one, neither loses a run nor begins one twice.
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
from tendhost.server.domain.events import ScheduleChange
from tendhost.server.domain.hosts.unmatched import told
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
)
from tendhost.server.domain.schedules.schedule_events import run_event, schedule_event
from tendhost.server.engine.clock_drift import ClockDrift
from tendhost.server.engine.fleet.selections import Selections
from tendhost.server.engine.requests import MutationContext, retried_on_conflict
from tendhost.server.engine.rollouts.manager import Beside, Rollouts
from tendhost.server.engine.supervision import RETRY
from tendhost.server.engine.waiting import CEILING, retry_while_unavailable, sleep_until_called
from tendhost.server.store.paging import every_schedule
from tendhost.server.store.protocols.commits import CommitStore
from tendhost.server.store.protocols.policies import ScheduleStore
from tendhost.server.store.protocols.rollouts import RolloutStore
from tendhost.server.store.records import Change, Conflict

logger = logging.getLogger(__name__)


_CONTRACT = {
    "recurrence.cron": "cron",
    "recurrence.rrule": "rrule",
    "recurrence.time_zone": "time_zone",
    "recurrence.start": "starts_at",
}
"""Paths of a schedule's spec as the contract names them."""
AT_A_TIME = 100
FAULT_PAUSE = timedelta(minutes=1)
"""Before what stumbled is tried again."""
FAULT_WORDS = "an unexpected fault; see the server's log"
REVIEW = timedelta(hours=1)
"""Between two reviews of every stored next run, unless the clock is put right before."""


class ScheduledRolloutStore(ScheduleStore, RolloutStore, CommitStore, Protocol):
    """Schedules, and the rollouts that they began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """A schedule with its last rollout; None: none was started, or it is no longer kept."""

    schedule: Schedule
    last_rollout: Rollout | None = None
    warnings: tuple[str, ...] = ()
    """What its rollouts name and no host has."""


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
        """How often a due run has stumbled, by its schedule."""
        self._drift = ClockDrift(clock)
        self._reviewed_at: timedelta | None = None
        """When the last review of every schedule was begun; None: a review is due."""

    # --- what users ask ---------------------------------------------------------------------------

    async def view(self, schedule: Schedule) -> ScheduleView:
        """The schedule with its last rollout and what it has to be warned of."""
        warnings = await self._warnings(schedule)
        return replace(await self.overview(schedule), warnings=warnings)

    async def overview(self, schedule: Schedule) -> ScheduleView:
        """The schedule with its last rollout."""
        return ScheduleView(schedule=schedule, last_rollout=await self._former(schedule))

    async def create(
        self, wish: ScheduleRequest, call: MutationContext[ScheduleView]
    ) -> ScheduleView:
        """Keep a new schedule.

        Raises InvalidArgument, SelectionNotFound, ScheduleAlreadyExists, AlreadyProcessed.
        """
        now = self._clock.now()
        made = Schedule(
            spec=wish.spec(now), created_at=now, created_by=call.principal, next_at=None
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
        """Change what is asked of a schedule; what it has begun goes on as it is.

        Raises ScheduleNotFound, SelectionNotFound, InvalidArgument, EtagMismatch, AlreadyProcessed.
        """
        schedule = await self._read(name, etag)
        now = self._clock.now()
        changed = replace(schedule, spec=amended(schedule.spec, now).spec(now))
        await self._selections.resolved(changed.spec.rollout.filter)
        if changed == schedule:
            return await call.commit_unchanged(self._store, await self.view(schedule), now)
        going = changed if schedule.paused else changed.going(now)
        changes = changes_of(schedule.spec, changed.spec, renamed=_CONTRACT)
        return await self._saved(going, ScheduleChange.UPDATED, call, changes=changes)

    @retried_on_conflict
    async def pause(
        self, name: str, call: MutationContext[ScheduleView], *, etag: str = ""
    ) -> ScheduleView:
        """Begin no run any more.

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
        """Begin its runs again; those that were due meanwhile are not made up for.

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
        """Forget a schedule; its rollouts stay. Raises ScheduleNotFound, EtagMismatch, AlreadyProcessed."""
        schedule = await self._read(name, etag)
        return await self._saved(schedule.held(), ScheduleChange.DELETED, call, removed=(schedule,))

    # --- what is due ------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Begin every run when it is due, until cancelled."""
        while True:
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
        """Review the schedules where that is due, begin what is due, and say how long to wait then."""
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
            return FAULT_PAUSE  # what stumbled is still due
        # Sleeps know nothing of a clock that is put forward.
        return CEILING if due_at is None else min(due_at - self._clock.now(), CEILING)

    async def _review(self) -> None:
        """Compute the next run of every schedule again, by the clock and the time zones of now."""
        ZoneInfo.clear_cache()  # or this process would never hear of new rules
        async for schedule in every_schedule(self._store):
            try:
                await self._recompute(schedule.name)
            except StoreUnavailable:
                raise
            except Exception:
                logger.exception("a schedule stumbled", extra={"schedule": schedule.name})

    @retried_on_conflict
    async def _recompute(self, name: str) -> None:
        try:
            schedule = await self._store.schedule(name)
        except ScheduleNotFound:
            return  # deleted since
        now = self._clock.now()
        right = schedule.recomputed(now)
        if right is None:
            return
        former = "none" if schedule.next_at is None else schedule.next_at.isoformat()
        words = (
            f"the next run was {former}: the clock of the server was wrong when that was computed,"
            f" or the rules of {schedule.spec.recurrence.time_zone} have changed"
        )
        event = schedule_event(right, ScheduleChange.RECOMPUTED, now, message=words)
        await self._store.commit(Change(events=(event,), schedules=(right,)))
        logger.warning(
            "the next run of a schedule was computed again",
            extra={"schedule": name, "former": former, "next_at": str(right.next_at)},
        )

    async def _begin_due(self) -> bool:
        """Take what is due; whether nothing stumbled. One schedule's fault holds up no other."""
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
                logger.exception("a schedule stumbled", extra=fields)
                if faults >= RETRY.attempts:
                    await self._give_up(schedule.name)
        return well

    async def _give_up(self, name: str) -> None:
        """Let a run pass by that stumbled so often; where even that fails, pause its schedule."""
        for give_up in (self._passed_by_for_faults, self._paused_for_faults):
            try:
                await give_up(name)
            except StoreUnavailable:
                raise
            except Exception:
                logger.exception("a schedule could not be given up", extra={"schedule": name})
            else:
                del self._faults[name]
                return

    @retried_on_conflict
    async def _passed_by_for_faults(self, name: str) -> None:
        schedule = await self._store.schedule(name)
        now = self._clock.now()
        if schedule.next_at is not None and schedule.next_at <= now:
            refused = RunOutcome.REFUSED
            due_at = schedule.next_at
            run = ScheduledRun(due_at=due_at, at=now, outcome=refused, detail=FAULT_WORDS)
            await self._pass_by(schedule, run, now)

    @retried_on_conflict
    async def _paused_for_faults(self, name: str) -> None:
        schedule = (await self._store.schedule(name)).held()
        told = schedule_event(
            schedule, ScheduleChange.PAUSED, self._clock.now(), message=f"paused for {FAULT_WORDS}"
        )
        await self._store.commit(Change(events=(told,), schedules=(schedule,)))

    @retried_on_conflict
    async def _take(self, name: str) -> None:
        """Begin the run of a schedule that is due, or let it pass by."""
        try:
            schedule = await self._store.schedule(name)
        except ScheduleNotFound:
            return  # deleted since
        now = self._clock.now()
        match decide(schedule, await self._former(schedule), now):
            case DueRun() as begin:
                await self._begin(schedule, begin, now)
            case ScheduledRun() as skipped:
                await self._pass_by(schedule, skipped, now)

    async def _begin(self, schedule: Schedule, begin: DueRun, now: datetime) -> None:
        call: MutationContext[Rollout] = MutationContext(
            principal=f"schedule {schedule.name}", method=METHOD, encode=lambda _: b""
        )
        try:
            warned = "; ".join((*filter(None, [begin.detail]), *await self._warnings(schedule)))
            beside = change_beside(schedule, replace(begin, detail=warned), now)
            await self._rollouts.start(schedule.spec.rollout, call, beside=beside)
        except (StoreUnavailable, Conflict):
            raise
        except Exception as error:
            detail = FAULT_WORDS
            if isinstance(error, TendhostError):
                detail = str(error)
            else:
                logger.exception("a scheduled rollout failed", extra={"schedule": schedule.name})
            refused = RunOutcome.REFUSED
            run = ScheduledRun(due_at=begin.due_at, at=now, outcome=refused, detail=detail)
            # Had the rollout been stored all the same, this would be a Conflict.
            await self._pass_by(schedule, run, now)

    async def _pass_by(self, schedule: Schedule, run: ScheduledRun, now: datetime) -> None:
        advanced = schedule.after(run, now)
        change = Change(events=(run_event(advanced, now),), schedules=(advanced,))
        await self._store.commit(change)
        logger.warning(
            "a scheduled rollout was skipped",
            extra={"schedule": schedule.name, "outcome": str(run.outcome), "detail": run.detail},
        )

    # --- inside -----------------------------------------------------------------------------------

    async def _read(self, name: str, etag: str) -> Schedule:
        schedule = await self._store.schedule(name)
        require_etag(f"schedule {name!r}", wanted=etag, current=schedule.etag)
        return schedule

    async def _warnings(self, schedule: Schedule) -> tuple[str, ...]:
        try:
            return told(await self._selections.unmatched(schedule.spec.rollout.filter))
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
        saved = await call.commit(self._store, change, view_at, subject=schedule.name)
        self._woken.set()
        return saved


def _invalid_status(schedule: Schedule, wanted: str) -> InvalidScheduleStatus:
    return InvalidScheduleStatus(schedule=schedule.name, status=str(schedule.status), wanted=wanted)


METHOD = "schedule"
"""In the audit, where the method of a caller stands."""


def change_beside(schedule: Schedule, begin: DueRun, now: datetime) -> Beside:
    """Adds to the change that creates a rollout that this run of the schedule has begun."""

    def beside(rollout: Rollout, change: Change) -> Change:
        run = ScheduledRun(
            due_at=begin.due_at,
            at=now,
            outcome=RunOutcome.STARTED,
            rollout=rollout.id,
            detail=begin.detail,
        )
        advanced = schedule.after(run, now)
        events = (*change.events, run_event(advanced, now))
        return replace(change, events=events, schedules=(advanced,))

    return beside
