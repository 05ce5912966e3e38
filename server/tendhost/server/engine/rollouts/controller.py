"""The controller of one unfinished rollout: it reads what is stored, asks `advance` what is due, and does it.

Everything here can be repeated: a member's operation is created in the transaction that marks the member
as begun, and its outcome is read from the operation. Each round costs in proportion to the members that
began or ended since the last one.
"""

import asyncio
import logging
import random
from datetime import datetime, timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.leases import Held
from tendhost.server.domain.request_errors import InvalidTransition
from tendhost.server.domain.rollouts.advance import (
    CheckWave,
    Enter,
    Leave,
    Save,
    SkipRest,
    Start,
    Wait,
    advance,
    halted,
)
from tendhost.server.domain.rollouts.clock import shifted
from tendhost.server.domain.rollouts.rollout import Halt, HaltCause, Rollout, RolloutStatus, Wave
from tendhost.server.domain.rollouts.rollout_update import RolloutUpdate, entered
from tendhost.server.domain.rollouts.wave_hooks import WaveMoment, key_of
from tendhost.server.engine.clock_drift import ClockDrift
from tendhost.server.engine.operations.manager import Operations
from tendhost.server.engine.replica import ReplicaLease
from tendhost.server.engine.requests import ATTEMPTS
from tendhost.server.engine.rollouts.admission import Admission
from tendhost.server.engine.rollouts.changes import RolloutWorkStore, RolloutWriter
from tendhost.server.engine.rollouts.held_up import HeldUp
from tendhost.server.engine.rollouts.member_ends import MemberEnds
from tendhost.server.engine.rollouts.member_starts import MemberStarts
from tendhost.server.engine.rollouts.wave_checks import WaveChecks
from tendhost.server.engine.rollouts.wave_hooks import WaveHooks
from tendhost.server.engine.supervision import LONG_PAUSE, RETRY
from tendhost.server.engine.waiting import CEILING, retry_while_unavailable, sleep_until_called
from tendhost.server.store.records import Conflict, EndedOperation, LeaseLost

logger = logging.getLogger(__name__)

MOMENT = timedelta(seconds=1)
"""Time for a host that is between two operations to come to rest."""


class RolloutController:
    """Carries one rollout forward."""

    def __init__(
        self,
        held: Held,
        *,
        store: RolloutWorkStore,
        operations: Operations,
        admission: Admission,
        lease: ReplicaLease,
        wave_hooks: WaveHooks,
        clock: Clock,
        held_up_after: timedelta,
    ) -> None:
        self.id = id = held.id
        self._held = held
        self._lease = lease
        self._store = store
        self._operations = operations
        self._writer = writer = RolloutWriter(
            store=store, operations=operations, clock=clock, held=(held,)
        )
        self._wave_hooks = wave_hooks
        self._clock = clock
        held_up = HeldUp(id, store=store, clock=clock, notify_after=held_up_after)
        self._starts = MemberStarts(
            id,
            store=store,
            operations=operations,
            admission=admission,
            writer=writer,
            held_up=held_up,
            clock=clock,
        )
        self._ends = MemberEnds(id, store=store, writer=writer, clock=clock)
        self._checks = WaveChecks(
            id, store=store, operations=operations, writer=writer, clock=clock
        )
        self._wake = asyncio.Event()
        self._steered = asyncio.Event()
        self._conflicts = 0
        """Conflicts in a row: a user who steers the rollout causes one or two."""
        self._hooks_run = ""
        """Key of the moment whose hooks have been run, until its wave has begun or ended on record."""
        self._drift = ClockDrift(clock)
        self._clock_set = timedelta()
        """By how much the clock was set, until the rollout is stored with it."""

    # --- what wakes it ----------------------------------------------------------------------------

    def wake(self) -> None:
        """Begin a round: a user has changed the rollout."""
        self._steered.set()
        self._wake.set()

    def recheck_host(self, host: str) -> None:
        """Decide again about a host that waits for its windows; empty: about all of them."""
        self._starts.recheck_host(host)
        self.wake()

    def rollout_changed(self) -> None:
        """Begin a round if it was a user who changed the rollout, on whichever replica."""
        if not self._writer.committing:
            self.wake()

    def operation_ended(self, operation: EndedOperation) -> None:
        """Begin a round if the end of this operation, one of any in the fleet, matters to the rollout."""
        if operation.rollout == self.id:
            self._ends.operation_ended(operation.host)
            self._wake.set()
        elif self._starts.blocked:
            self._wake.set()

    # --- the loop ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Reconcile until the rollout is over, or another replica drives it.

        Cancelling this leaves the rollout as it is stored.

        A fault takes no other rollout down and does not end this one: the round is repeated after a pause.
        After several faults in a row the rollout halts with a message, and is tried with long pauses.
        """
        over, faults = False, 0
        while not over:
            try:
                over = await retry_while_unavailable(
                    self._reconcile,
                    sleep=self._clock.sleep,
                    logger=logger,
                    waiting="a rollout waits",
                    rollout=self.id,
                )
                faults = 0
            except LeaseLost:
                logger.warning("another replica drives a rollout", extra={"rollout": self.id})
                over = True
            except Exception:
                faults += 1
                fields = {"rollout": self.id, "faults": faults}
                logger.exception("a rollout waits after an unexpected fault", extra=fields)
                await self._rest_after(faults)

    async def _reconcile(self) -> bool:
        """One round: do the first thing that is due, or wait; whether the rollout is over."""
        self._wake.clear()
        over = False
        try:
            rollout = await self._store.rollout(self.id)
            over = rollout.over
            if not over:
                await self._go_on(rollout)
        except Conflict:
            self._conflicts += 1
            if self._conflicts > ATTEMPTS:
                raise
        except InvalidTransition:
            await self._clock.sleep(MOMENT)
        else:
            self._conflicts = 0
        return over

    async def _go_on(self, rollout: Rollout) -> None:
        """Store what has ended, else do what `advance` says."""
        if await self._ends.collect(rollout) or await self._shift_durations(rollout):
            return
        now = self._clock.now()
        wave = await self._store.wave(self.id, rollout.wave)
        match advance(rollout, wave, now, at_once=self._operations.at_once):
            case Start(room=room):
                await self._start(rollout, wave, room)
            case Leave(rollout=left):
                await self._leave(rollout, left, now)
            case Enter():
                await self._enter(rollout, wave)
            case CheckWave(rollout=checking):
                if not await self._checks.go_on(checking, wave):
                    await self._wait(rollout.expires_at)
            case Save(rollout=changed):
                message = changed.halt.message if changed.halt else ""
                await self._writer.save(RolloutUpdate(changed, message=message))
            case SkipRest():
                await self._ends.skip_rest(rollout)
            case Wait(until=until):
                await self._wait(until)

    # --- what it does -----------------------------------------------------------------------------

    async def _start(self, rollout: Rollout, wave: Wave, room: int) -> None:
        """Begin members of the current wave, and wait where none may begin."""
        self._hooks_run = (
            ""  # a user may have the wave go on, and then it ends with its hooks again
        )
        try:
            wait = await self._starts.start(rollout, wave, room)
            if wait is not None:
                await self._wait(wait.until)
        finally:
            self._starts.blocked = False

    async def _leave(self, rollout: Rollout, left: Rollout, now: datetime) -> None:
        """End the current wave, after its hooks; `left` is the rollout after that."""
        if await self._hooks_succeed(WaveMoment.AFTER_WAVE, rollout):
            update = RolloutUpdate(left, message=f"wave {rollout.wave + 1} has ended")
            update.change_wave(rollout.wave, ended_at=now)
            await self._writer.save(update)
            self._hooks_run = ""

    async def _enter(self, rollout: Rollout, wave: Wave) -> None:
        """Begin the current wave, after its hooks."""
        if await self._hooks_succeed(WaveMoment.BEFORE_WAVE, rollout):
            update = RolloutUpdate(entered(rollout, wave), message=f"wave {wave.number + 1} begins")
            update.change_wave(wave.number, started_at=self._clock.now())
            await self._writer.save(update)
            self._hooks_run = ""

    async def _hooks_succeed(self, moment: WaveMoment, rollout: Rollout) -> bool:
        """Run the wave hooks of this moment; where one fails, halt the rollout.

        Hooks that succeeded are not run again because a user has changed the rollout meanwhile.
        """
        key = key_of(moment, rollout)
        if key != self._hooks_run:
            self._lease.require(self._held)
            result = await self._wave_hooks.run(moment, rollout)
            if result.succeeded:
                self._hooks_run = key
            else:
                now = self._clock.now()
                halt = Halt(cause=HaltCause.WAVE_HOOK, message=result.message, at=now)
                update = RolloutUpdate(halted(rollout, halt), message=result.message)
                await self._writer.save(update)
        return key == self._hooks_run

    async def _shift_durations(self, rollout: Rollout) -> bool:
        """Keep every duration as long as it was although the clock was set; whether that changed anything."""
        jump = self._drift.jump()
        if jump < timedelta():
            self._starts.recheck_host("")  # windows that were close may be far away now
        self._clock_set += jump
        moved = shifted(rollout, self._clock_set)
        if moved != rollout:
            await self._writer.save(RolloutUpdate(moved, message="the clock of the server was set"))
        self._clock_set = timedelta()
        return moved != rollout

    async def _wait(self, until: datetime | None) -> None:
        """Wait for a call or for `until`, at most CEILING: a sleep does not notice a clock that is put forward."""
        pause = CEILING if until is None else min(until - self._clock.now(), CEILING)
        await sleep_until_called(self._clock, pause, self._wake)

    # --- faults of the server ---------------------------------------------------------------------

    async def _rest_after(self, faults: int) -> None:
        pause = RETRY.pause(faults, random.random())  # noqa: S311 (no secret)
        if pause is None:
            await self._halt(faults)
            pause = LONG_PAUSE
        # Only a user cuts this short: operations end all the time.
        await sleep_until_called(self._clock, pause, self._steered)
        self._steered.clear()

    async def _halt(self, faults: int) -> None:
        """Halt the rollout for faults of the server; where that fails too, it stays as it is."""
        now = self._clock.now()
        message = (
            f"the server failed {faults} times to carry the rollout forward;"
            " look for the cause in its log, fix it, and resume the rollout"
        )
        halt = Halt(cause=HaltCause.FAULT, message=message, at=now)
        try:
            rollout = await self._store.rollout(self.id)
            if rollout.status in (RolloutStatus.RUNNING, RolloutStatus.AWAITING_APPROVAL):
                # It needs neither waves nor members, which may be what cannot be read or stored.
                await self._writer.save(RolloutUpdate(halted(rollout, halt), message=message))
        except Exception:
            logger.exception("a rollout could not be halted", extra={"rollout": self.id})
