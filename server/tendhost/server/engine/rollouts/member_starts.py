"""Members that begin, or wait, as admission decides: decided again when windows or freeze periods change."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.operations.operation import OperationKind, OperationOptions
from tendhost.server.domain.request_errors import HostFailed, OnlyJump, RebootNotAllowed
from tendhost.server.domain.rollouts.advance import Wait
from tendhost.server.domain.rollouts.plan import ONLY_JUMP
from tendhost.server.domain.rollouts.rollout import Member, MemberStatus, Rollout, WaitingFor, Wave
from tendhost.server.domain.rollouts.rollout_update import RolloutUpdate, only_waits
from tendhost.server.domain.transitions import OperationState, started
from tendhost.server.engine.operations.manager import OperationRequest, Operations
from tendhost.server.engine.rollouts.admission import (
    Admission,
    AdmissionRound,
    Admit,
    Exclude,
    Hold,
    failed_before,
)
from tendhost.server.engine.rollouts.changes import RolloutWriter
from tendhost.server.engine.rollouts.held_up import HeldUp
from tendhost.server.store.protocols.rollouts import RolloutStore

AT_A_TIME = 200
"""Members that one transaction decides at most, those with changed windows apart."""
BLOCKS_PAUSE = timedelta(minutes=1)
"""Longest pause before spent budgets and busy hosts are read again, with or without news of them."""


@dataclass(slots=True, kw_only=True)
class _Rechecks:
    """Members that wait for their windows and are decided again, since other windows may hold by now."""

    hosts: set[str] = field(default_factory=set)
    after: int | None = None
    """Every such member after this position; None: only those of `hosts`."""


class MemberStarts:
    """Begins members of one rollout."""

    def __init__(
        self,
        id: str,
        *,
        store: RolloutStore,
        operations: Operations,
        admission: Admission,
        writer: RolloutWriter,
        held_up: HeldUp,
        clock: Clock,
    ) -> None:
        self._id = id
        self._store = store
        self._operations = operations
        self._admission = admission
        self._writer = writer
        self._held_up = held_up
        self._clock = clock
        self.blocked = False
        """Whether the end of any operation of the fleet may let a member begin."""
        self._rechecks = _Rechecks(after=-1)

    def recheck_host(self, host: str) -> None:
        """Decide again about the member of `host`, if it waits for its windows; empty: about all that do."""
        if host:
            self._rechecks.hosts.add(host)
        else:
            self._rechecks.after = -1

    async def start(self, rollout: Rollout, wave: Wave, room: int) -> Wait | None:
        """Begin at most `room` members of the current wave, `wave`.

        Returns what to wait for before further members may begin; None: there is more to do at once.
        """
        self.blocked = True  # an operation that ends from the first read on may make room
        async with self._admission.lock:
            round = await self._admission.begin_round(rollout)
            blocks = await round.blocks(await self._store.blocked_by(self._id, rollout.wave))
            if await self._start(round, rollout, room, blocks):
                return None
        # What ends a wait for other members wakes the rollout itself.
        self.blocked = any(b.waiting is not WaitingFor.DEPENDENCY for b in blocks.values())
        opening = await self._store.next_opening(self._id, wave.number)
        update = await self._held_up.update(rollout, blocks)
        opens_at = opening if only_waits(wave) else None
        if update is None and opens_at != rollout.opens_at:
            update = RolloutUpdate(replace(rollout, opens_at=opens_at))
        if update is not None:
            await self._writer.save(update)
            return None
        pause_ends = self._clock.now() + BLOCKS_PAUSE if self.blocked else None
        moments = (opening, pause_ends, rollout.expires_at)
        return Wait(until=min((at for at in moments if at is not None), default=None))

    async def _start(
        self, round: AdmissionRound, rollout: Rollout, room: int, blocks: Mapping[str, Hold]
    ) -> bool:
        """Store the decisions about the next members; whether there is more to do at once."""
        rechecks, self._rechecks = self._rechecks, _Rechecks()
        try:
            rechecked = await self._waiting_for_windows(rollout, rechecks)
            if self._rechecks.after is not None:
                room = 0  # all of them are decided again before any member begins
            startable = await self._store.startable(
                self._id,
                rollout.wave,
                now=round.now,
                blocked=tuple(blocks),
                limit=min(room, AT_A_TIME),
            )
            members = {member.position: member for member in (*rechecked, *startable)}
            ordered = [members[position] for position in sorted(members)]
            update, begun = await self._decide(round, rollout, ordered, room)
            if update.members:
                await self._writer.save(update, begun, round.guard if begun else None)
        except BaseException:
            self._rechecks.hosts |= rechecks.hosts
            if rechecks.after is not None:
                self._rechecks.after = -1
            raise
        return bool(update.members) or self._rechecks.after is not None

    async def _waiting_for_windows(self, rollout: Rollout, rechecks: _Rechecks) -> Sequence[Member]:
        """The members to decide again; of those after a position one page, and the rest in the next round."""
        named = [await self._store.member(self._id, host) for host in sorted(rechecks.hosts)]
        members = [m for m in named if m is not None and m.wave == rollout.wave]
        if rechecks.after is not None:
            page = await self._store.members(
                self._id,
                wave=rollout.wave,
                statuses=(MemberStatus.WAITING,),
                after=rechecks.after,
                limit=AT_A_TIME,
            )
            members.extend(page.items)
            if page.more and self._rechecks.after is None:
                self._rechecks.after = page.items[-1].position
        return waiting_for_windows(members)

    async def _decide(
        self, round: AdmissionRound, rollout: Rollout, members: Iterable[Member], room: int
    ) -> tuple[RolloutUpdate, Sequence[tuple[OperationState, Host]]]:
        """The update with the decisions about `members`, and the operations that begin in it."""
        update = RolloutUpdate(rollout)
        begun: list[tuple[OperationState, Host]] = []
        for member in members:
            match await round.decide(member):
                case Admit(host=host) if len(begun) < room:
                    try:
                        state = await self._operation(rollout, member, host)
                    except (RebootNotAllowed, OnlyJump, HostFailed) as error:
                        detail = str(error)
                        if isinstance(error, HostFailed):
                            detail = failed_before(error)
                        elif isinstance(error, OnlyJump):
                            detail = ONLY_JUMP
                        update.move(member, MemberStatus.SKIPPED, detail=detail)
                        continue
                    begun.append((state, host))
                    round.begin(host)
                    id = state.operation.id
                    update.move(member, MemberStatus.IN_PROGRESS, operation=id, detail="")
                case Admit():
                    # It may begin, but the room of this round goes to those before it.
                    if member.status is MemberStatus.WAITING:
                        update.move(member, MemberStatus.PENDING, detail="")
                case Hold() as hold:
                    _hold(update, member, hold)
                case Exclude(detail=detail, blocked_by=key):
                    update.move(member, MemberStatus.SKIPPED, detail=detail, blocked_by=key)
        if begun:
            update.clear_held_up()
            self._held_up.members_begin()
        return update, begun

    async def _operation(self, rollout: Rollout, member: Member, host: Host) -> OperationState:
        """The operation of a member that begins now, not stored yet. Raises RebootNotAllowed, OnlyJump, HostFailed."""
        by, spec = rollout.created_by, rollout.spec
        request = OperationRequest(
            host=member.host,
            kind=OperationKind.UPDATE,
            dry_run=spec.dry_run,
            options=OperationOptions(
                scope=spec.scope, window_override_reason=spec.window_override_reason
            ),
            bound_to=spec.bound_to,
        )
        if member.retry and host.status.failure is not None:
            return await self._operations.resumption(
                host, by=by, rollout=rollout.id, bound_to=spec.bound_to, update=request
            )
        operation = self._operations.new(request, by=by, rollout=rollout.id)
        return started(operation, host, self._clock.now())


def waiting_for_windows(members: Iterable[Member]) -> Sequence[Member]:
    """Those of `members` that wait for their windows: other windows change nothing for the rest."""
    return [member for member in members if member.waiting is WaitingFor.WINDOW]


def _hold(update: RolloutUpdate, member: Member, hold: Hold) -> None:
    """Have `member` wait, unless it waits for just that already."""
    held = replace(
        member,
        status=MemberStatus.WAITING,
        waiting=hold.waiting,
        not_before=hold.not_before,
        blocked_by=hold.blocked_by,
        detail=hold.detail,
    )
    if held != member:
        update.move(
            member,
            MemberStatus.WAITING,
            waiting=hold.waiting,
            not_before=hold.not_before,
            blocked_by=hold.blocked_by,
            detail=hold.detail,
        )
