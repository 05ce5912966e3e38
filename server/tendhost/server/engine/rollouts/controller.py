"""One unfinished rollout, carried forward until it is over.

What to do is decided by `domain.advance` alone. Everything here can be repeated: a member's operation
is created in the transaction that marks the member as begun, and what became of it is read from the
operation. What is done costs in proportion to the hosts that began or ended since the last turn.
"""

import asyncio
import logging
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.operations.operation import Operation, OperationKind, OperationOptions
from tendhost.server.domain.request_errors import (
    HostBusy,
    HostFailed,
    InvalidTransition,
    OperationNotFound,
    RebootNotAllowed,
)
from tendhost.server.domain.rollouts.advance import (
    CheckWave,
    Enter,
    Leave,
    Save,
    SkipRest,
    Start,
    Wait,
    advance,
    after_wave_check,
    halted,
)
from tendhost.server.domain.rollouts.clock import shifted
from tendhost.server.domain.rollouts.rollout import (
    Halt,
    HaltCause,
    Member,
    MemberStatus,
    Rollout,
    RolloutStatus,
    Wave,
)
from tendhost.server.domain.rollouts.rollout_update import RolloutUpdate, entered
from tendhost.server.domain.rollouts.wave_hooks import WaveMoment, key_of
from tendhost.server.domain.transitions import OperationState, changed_anything, started
from tendhost.server.engine.clock_drift import ClockDrift
from tendhost.server.engine.operations.manager import OperationRequest, Operations
from tendhost.server.engine.requests import ATTEMPTS
from tendhost.server.engine.rollouts.admission import (
    Admission,
    AdmissionRound,
    Admit,
    Exclude,
    Hold,
    look_at_windows,
)
from tendhost.server.engine.rollouts.changes import (
    RECHECK,
    change_of,
    has_failed_its_host,
    note_end,
    tallied,
)
from tendhost.server.engine.rollouts.wave_checks import Begun, WaveChecks
from tendhost.server.engine.rollouts.wave_hooks import WaveHooks
from tendhost.server.engine.supervision import LONG_PAUSE, RETRY
from tendhost.server.engine.waiting import CEILING, retry_while_unavailable, sleep_until_called
from tendhost.server.store.paging import every_member, member_pages
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Change, Conflict

logger = logging.getLogger(__name__)

AT_A_TIME = 200
"""Members of which one transaction decides at most."""
MOMENT = timedelta(seconds=1)
"""For a host that is between two operations to come to rest."""

_WHY_SKIPPED = {
    RolloutStatus.CANCELLED: "the rollout was cancelled",
    RolloutStatus.EXPIRED: "the rollout expired before it could begin",
}
_WHY_ENDED = {
    RolloutStatus.CANCELLED: "the rollout was cancelled before it could go on",
    RolloutStatus.EXPIRED: "the rollout expired before it could go on",
}
_GONE = "its operation is no longer on record: what became of the host is not known"


class RolloutController:
    """Carries one rollout forward."""

    def __init__(
        self,
        id: str,
        *,
        store: Store,
        operations: Operations,
        admission: Admission,
        wave_hooks: WaveHooks,
        clock: Clock,
        held_up_after: timedelta,
    ) -> None:
        self.id = id
        self._store = store
        self._operations = operations
        self._admission = admission
        self._wave_hooks = wave_hooks
        self._hooked = ""
        """The moment whose hooks have been run, until that is on record."""
        self._clock = clock
        self._looks = WaveChecks(id, store=store, operations=operations, clock=clock)
        self._wake = asyncio.Event()
        self._steered = asyncio.Event()
        self._conflicts = 0
        """In a row: somebody who steers causes one or two."""
        self._ended: set[str] | None = None
        """Hosts whose operation has ended since; None: not known, so every one under way is looked at."""
        self._held_up = False
        self._held_up_after = held_up_after
        self._held_up_from: timedelta | None = None
        """Since when a budget has let nothing begin while nothing ran, by the clock that nobody sets."""
        self._spent: Mapping[str, str] = {}
        """Why budgets hold members up, as the members say."""
        self._drift = ClockDrift(clock)
        self._clock_set = timedelta()
        """By how much the clock was set, until that is on record."""
        self._look_from: int | None = -1
        """The position after which members that wait for their windows are looked at; None: none is."""
        self._changed: set[str] = set()
        """Hosts that are looked at, wherever they are, if they wait for their windows."""

    def recheck_host(self, host: str) -> None:
        """Decide anew about a host that waits for its windows, or, empty, about all of them: other ones
        may hold by now."""
        if host:
            self._changed.add(host)
        else:
            self._look_from = -1
        self.wake()

    def wake(self) -> None:
        """Decide anew: somebody has changed the rollout."""
        self._steered.set()
        self._wake.set()

    def operation_ended(self, operation: Operation) -> None:
        """Hear of any operation of the fleet that has ended."""
        if operation.rollout == self.id:
            if self._ended is not None:
                self._ended.add(operation.host)
            self._wake.set()
        elif self._held_up:
            self._wake.set()

    async def run(self) -> None:
        """Take turns until the rollout is over. Cancelling this leaves it as it is stored.

        A fault in a turn takes no other rollout down, and does not end this one: it is tried again after a
        pause. After so many in a row the rollout halts and says so, and is tried with long pauses from then on.
        """
        over, faults = False, 0
        while not over:
            try:
                over = await retry_while_unavailable(
                    self._turn,
                    sleep=self._clock.sleep,
                    logger=logger,
                    waiting="a rollout waits",
                    rollout=self.id,
                )
                faults = 0
            except Exception:
                faults += 1
                fields = {"rollout": self.id, "faults": faults}
                logger.exception("a rollout waits after an unexpected fault", extra=fields)
                await self._rest_after(faults)

    async def _rest_after(self, faults: int) -> None:
        pause = RETRY.pause(faults, random.random())  # noqa: S311 (no secret)
        if pause is None:
            await self._halt(faults)
            pause = LONG_PAUSE
        # Only whoever steers it cuts this short: operations end all the time.
        await sleep_until_called(self._clock, pause, self._steered)
        self._steered.clear()

    async def _halt(self, faults: int) -> None:
        """Halt the rollout for a fault of the server's own; what cannot be halted is as it was."""
        now = self._clock.now()
        message = (
            f"the server failed {faults} times to carry the rollout forward (its log says why);"
            " resume it once that is mended"
        )
        halt = Halt(cause=HaltCause.FAULT, message=message, at=now)
        try:
            rollout = await self._store.rollout(self.id)
            if rollout.status in (RolloutStatus.RUNNING, RolloutStatus.AWAITING_APPROVAL):
                # Neither waves nor members, for they may be what cannot be read or stored.
                await self._store.commit(change_of(halted(rollout, halt), now, message=message))
        except Exception:
            logger.exception("a rollout could not be halted", extra={"rollout": self.id})

    async def _turn(self) -> bool:
        """One turn; whether the rollout is over."""
        self._wake.clear()
        try:
            rollout = await self._store.rollout(self.id)
            if rollout.over:
                return True
            wave = await self._store.wave(self.id, rollout.wave)
            if not await self._collect(rollout):
                await self._decide(rollout, wave)
        except Conflict:
            self._conflicts += 1
            if self._conflicts > ATTEMPTS:
                raise
            return False  # steered in between: read again, decide again
        except InvalidTransition:
            await self._clock.sleep(MOMENT)  # a host is between two operations
        self._conflicts = 0
        return False

    async def _decide(self, rollout: Rollout, wave: Wave) -> None:
        if await self._clock_was_set(rollout, wave):
            return
        now = self._clock.now()
        decision = advance(rollout, wave, now, at_once=self._operations.at_once)
        match decision:
            case Start(room=room):
                self._hooked = (
                    ""  # where somebody had the wave go on, it ends with its hooks once more
                )
                await self._start(rollout, wave, room)
            case Enter(rollout=moved) if await self._hooks_hold(WaveMoment.BEFORE_WAVE, rollout):
                moved, begun = entered(moved, wave, self._clock.now())  # which is after the hooks
                tally = RolloutUpdate(moved, (begun,))
                tally.change(begun)
                await self._save(tally, f"wave {wave.number + 1} begins")
                self._hooked = ""
            case Leave(rollout=moved) if await self._hooks_hold(WaveMoment.AFTER_WAVE, rollout):
                tally = RolloutUpdate(moved, (wave,))
                tally.change(replace(wave, ended_at=now))
                await self._save(tally, f"wave {wave.number + 1} has ended")
                self._hooked = ""
            case Save(rollout=moved):
                await self._save(
                    RolloutUpdate(moved, (wave,)), moved.halt.message if moved.halt else ""
                )
            case CheckWave(rollout=looking):
                await self._look(looking, wave)
            case SkipRest():
                await self._skip_rest(rollout)
            case Wait(until=until):
                await self._wait(until)

    async def _clock_was_set(self, rollout: Rollout, wave: Wave) -> bool:
        """Move what is counted in durations with a clock that was set; whether anything was stored."""
        jump = self._drift.jump()
        if jump < timedelta():
            self._look_from = -1  # what is waited for may be far off now
        self._clock_set += jump
        moved = shifted(rollout, self._clock_set)
        if moved != rollout:
            await self._save(RolloutUpdate(moved, (wave,)), "the clock of the server was set")
        self._clock_set = timedelta()
        return moved != rollout

    async def _hooks_hold(self, when: WaveMoment, rollout: Rollout) -> bool:
        """Run what the server runs between waves; where that fails, halt the rollout.

        Once it has been run it is not run again because somebody has steered the rollout meanwhile.
        """
        key = key_of(when, rollout)
        if key == self._hooked:
            return True
        outcome = await self._wave_hooks.run(when, rollout)
        if outcome.succeeded:
            self._hooked = key
            return True
        now = self._clock.now()
        halt = Halt(cause=HaltCause.WAVE_HOOK, message=outcome.message, at=now)
        await self._save(RolloutUpdate(halted(rollout, halt), ()), outcome.message)
        return False

    async def _wait(self, until: datetime | None) -> None:
        # Sleeps know nothing of a clock that is put forward: it is looked at again before long.
        pause = CEILING if until is None else min(until - self._clock.now(), CEILING)
        await sleep_until_called(self._clock, pause, self._wake)

    # --- hosts that have come to their end --------------------------------------------------------

    async def _collect(self, rollout: Rollout) -> bool:
        """Note the members whose operation has ended; whether there were any."""
        heard, self._ended = self._ended, set()
        try:
            ended = [
                (member, operation)
                for member in await self._under_way(heard)
                if (operation := await self._operation_of(member)) is None or operation.status.ended
            ]
            if not ended:
                return False
            tally = await tallied(self._store, rollout, [member for member, _ in ended])
            for member, operation in ended:
                if operation is None:
                    tally.move(member, MemberStatus.FAILED, detail=_GONE)
                    continue
                half_done = bool(operation.problem) and await has_failed_its_host(
                    self._store, operation
                )
                note_end(tally, member, operation, self._clock.now(), half_done=half_done)
            await self._save(tally)
        except BaseException:
            self._ended = None  # what was heard is lost: look at all of them
            raise
        return True

    async def _operation_of(self, member: Member) -> Operation | None:
        """The operation of a member that has begun; None: it is no longer on record."""
        try:
            return await self._store.operation(member.operation)
        except OperationNotFound:
            return None

    async def _under_way(self, heard: set[str] | None) -> Sequence[Member]:
        if heard is None:
            under_way = (MemberStatus.IN_PROGRESS,)
            return [m async for m in every_member(self._store, self.id, statuses=under_way)]
        named = [await self._store.member(self.id, host) for host in sorted(heard)]
        return [m for m in named if m is not None and m.status is MemberStatus.IN_PROGRESS]

    # --- hosts that begin -------------------------------------------------------------------------

    async def _start(self, rollout: Rollout, wave: Wave, room: int) -> None:
        """Begin what may begin, and wait where nothing does."""
        self._held_up = True  # whatever ends from the first look on may make room
        try:
            async with self._admission.lock:
                turn = await self._admission.turn(rollout)
                if self._changed and await self._look_at_changed(rollout, wave, turn):
                    return
                after, self._look_from = self._look_from, None
                if after is not None and await self._look_at_waiting(rollout, wave, turn, after):
                    return
                keys = tuple(await self._store.blocked_by(self.id, wave.number))
                blocked = await turn.still_blocked(keys)
                candidates = await self._store.startable(
                    self.id,
                    wave.number,
                    now=turn.now,
                    blocked=blocked,
                    limit=min(room, AT_A_TIME),
                )
                if candidates:
                    await self._begin(rollout, wave, candidates, turn)
                    return
            self._held_up = bool(blocked)
            if await self._note_held_up(rollout, wave, await turn.budget_words(blocked)):
                return
            until = await self._next_look(rollout, wave, turn.now, held_up=bool(blocked))
            await self._wait(until)
        finally:
            self._held_up = False

    async def _note_held_up(self, rollout: Rollout, wave: Wave, spent: Mapping[str, str]) -> bool:
        """Note which budgets hold members up, and tell people of it in time; whether anything was stored."""
        if spent != self._spent:
            self._spent = spent
            if await self._retell(rollout, wave, spent):
                return True
        words = "; ".join(spent.values())
        if not words or rollout.progress.in_progress:
            return False
        now, elapsed = self._clock.now(), self._clock.elapsed()
        if self._held_up_from is None:
            # What a former server has waited is known by the date only, and counts for no more than asked.
            since = rollout.held_up_since or now
            waited = min(max(now - since, timedelta()), self._held_up_after)
            self._held_up_from = elapsed - waited
        told = elapsed - self._held_up_from >= self._held_up_after
        noted = replace(
            rollout,
            held_up=words,
            held_up_since=rollout.held_up_since or now,
            held_up_told=rollout.held_up_told or told,
        )
        if noted == rollout:
            return False
        tell = noted.held_up_told and not rollout.held_up_told
        await self._save(RolloutUpdate(noted, (wave,)), words, held_up=words if tell else "")
        return True

    async def _retell(self, rollout: Rollout, wave: Wave, spent: Mapping[str, str]) -> bool:
        """Say of members that wait for a budget who spends it now; whether any was told otherwise."""
        told = False
        waiting = (MemberStatus.WAITING,)
        async for members in member_pages(
            self._store, self.id, wave=wave.number, statuses=waiting, limit=AT_A_TIME
        ):
            tally = RolloutUpdate(rollout, (wave,))
            for member in members:
                detail = spent.get(member.blocked_by, member.detail)
                if detail != member.detail:
                    tally.change_detail(member, detail)
            if tally.members:
                await self._save(tally)
                rollout = await self._store.rollout(self.id)
                told = True
        return told

    async def _look_at_changed(self, rollout: Rollout, wave: Wave, turn: AdmissionRound) -> bool:
        """Look at those of which it was heard; whether any of them is to wait no more, or otherwise."""
        hosts, self._changed = self._changed, set()
        try:
            named = [await self._store.member(self.id, host) for host in sorted(hosts)]
            tally = RolloutUpdate(rollout, (wave,))
            found = (m for m in named if m is not None and m.wave == wave.number)
            await look_at_windows(found, turn, tally)
            if tally.members:
                await self._save(tally)
        except BaseException:
            self._changed |= hosts
            raise
        return bool(tally.members)

    async def _look_at_waiting(
        self, rollout: Rollout, wave: Wave, turn: AdmissionRound, after: int
    ) -> bool:
        """Look at some of those that wait for their windows; whether the rollout has another turn."""
        try:
            page = await self._store.members(
                self.id, statuses=(MemberStatus.WAITING,), after=after, limit=AT_A_TIME
            )
            tally = RolloutUpdate(rollout, (wave,))
            await look_at_windows([m for m in page.items if m.wave == wave.number], turn, tally)
            if tally.members:
                await self._save(tally)
        except BaseException:
            self._look_from = -1
            raise
        if page.more and self._look_from is None:
            self._look_from = page.items[-1].position
        return bool(page.more or tally.members)

    async def _next_look(
        self, rollout: Rollout, wave: Wave, now: datetime, *, held_up: bool
    ) -> datetime | None:
        moments = (
            await self._store.next_opening(self.id, wave.number),
            now + RECHECK if held_up else None,
            rollout.expires_at,
        )
        return min((at for at in moments if at is not None), default=None)

    async def _begin(
        self, rollout: Rollout, wave: Wave, candidates: Sequence[Member], turn: AdmissionRound
    ) -> None:
        """Begin those of `candidates` that may; note of the others why not."""
        tally = RolloutUpdate(rollout, (wave,))
        courses: list[tuple[OperationState, Host]] = []
        for member in candidates:
            match await turn.verdict(member):
                case Admit(host=host):
                    try:
                        course = await self._course(rollout, member, host)
                    except (RebootNotAllowed, HostFailed) as error:
                        tally.move(member, MemberStatus.SKIPPED, detail=str(error))
                        continue
                    courses.append((course, host))
                    turn.begun(host)
                    operation = course.operation.id
                    tally.move(member, MemberStatus.IN_PROGRESS, operation=operation, detail="")
                case Hold() as held:
                    tally.move(
                        member,
                        MemberStatus.WAITING,
                        waiting=held.waiting,
                        not_before=held.not_before,
                        blocked_by=held.blocked_by,
                        detail=held.detail,
                    )
                case Exclude(detail=detail):
                    tally.move(member, MemberStatus.SKIPPED, detail=detail)
        if courses:
            tally.goes_on()
            self._held_up_from = None
        await self._save_begun(tally, courses)

    async def _course(self, rollout: Rollout, member: Member, host: Host) -> OperationState:
        by, spec = rollout.created_by, rollout.spec
        work = OperationRequest(
            host=member.host,
            kind=OperationKind.UPDATE,
            dry_run=spec.dry_run,
            order=OperationOptions(
                scope=spec.scope, window_override_reason=spec.window_override_reason
            ),
        )
        if member.retry and host.status.failure is not None:
            return await self._operations.resumption(host, by=by, rollout=rollout.id, update=work)
        operation = self._operations.new(work, by=by, rollout=rollout.id)
        return started(operation, host, self._clock.now())

    async def _look(self, rollout: Rollout, wave: Wave) -> None:
        """Go on with the look at the hosts of a wave that settles."""
        checks = await self._looks.next_checks(rollout, wave)
        if checks is not None:
            await self._save_begun(*checks)
            return
        unhealthy = await self._looks.unhealthy(wave)
        if unhealthy is None:
            await self._wait(rollout.expires_at)
            return
        after, wave = after_wave_check(rollout, wave, unhealthy, self._clock.now())
        tally = RolloutUpdate(after, (wave,))
        tally.change(wave)
        words = f"wave {wave.number + 1} has stayed healthy" if wave.settled_at is not None else ""
        await self._save(tally, after.halt.message if after.halt else words)

    async def _skip_rest(self, rollout: Rollout) -> None:
        page = await self._store.members(
            self.id, statuses=(MemberStatus.PENDING, MemberStatus.WAITING), limit=AT_A_TIME
        )
        tally = await tallied(self._store, rollout, page.items)
        for member in page.items:
            # Of a host that was to be tried again, or was to go on, the last attempt counts.
            failed = member.tried or await self._has_changed(member)
            to = MemberStatus.FAILED if failed else MemberStatus.SKIPPED
            why = _WHY_ENDED if failed else _WHY_SKIPPED
            tally.move(member, to, detail=why[rollout.status])
        await self._save(tally)

    async def _has_changed(self, member: Member) -> bool:
        """Whether the former operation of a member that waits has changed its host, as far as is known."""
        if not member.operation:
            return False
        try:
            return changed_anything(await self._store.operation(member.operation))
        except OperationNotFound:
            return True

    async def _save_begun(self, tally: RolloutUpdate, courses: Begun) -> None:
        """Store `tally` with the operations that begin in it, and drive these."""
        changes = [self._operations.change_of(course, host) for course, host in courses]
        try:
            revision = await self._save(tally, with_=changes)
        except HostBusy as busy:
            raise Conflict(what=f"host {busy.host}") from None
        for course, host in courses:
            self._operations.take_up(course.at(revision, former=host))

    async def _save(
        self,
        tally: RolloutUpdate,
        message: str = "",
        *,
        held_up: str = "",
        with_: Iterable[Change] = (),
    ) -> int:
        now = self._clock.now()
        change = change_of(
            tally.estimated(now),
            now,
            message=message,
            held_up=held_up,
            waves=tally.waves,
            members=tally.members,
        )
        others = tuple(with_)
        change = replace(
            change,
            events=(*(event for other in others for event in other.events), *change.events),
            hosts=tuple(host for other in others for host in other.hosts),
            operations=tuple(o for other in others for o in other.operations),
        )
        return (await self._store.commit(change)).revision
