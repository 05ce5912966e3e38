"""What transactions hold of rollouts: members that have ended, counts, and the event that tells of it."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from tendhost.server.domain.events import Event, RolloutChanged
from tendhost.server.domain.host_errors import WindowClosed
from tendhost.server.domain.operations.operation import Operation, OperationStatus
from tendhost.server.domain.request_errors import HostNotFound
from tendhost.server.domain.rollouts.rollout import Member, MemberStatus, Rollout, WaitingFor, Wave
from tendhost.server.domain.rollouts.rollout_update import RolloutUpdate
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Change

RECHECK = timedelta(minutes=1)
"""After which a rollout that is held up by a budget or a busy host looks again, whatever it hears."""

_OUTCOMES = {
    OperationStatus.SUCCEEDED: MemberStatus.COMPLETED,
    OperationStatus.FAILED: MemberStatus.FAILED,
    OperationStatus.CANCELLED: MemberStatus.SKIPPED,
}


def note_end(
    tally: RolloutUpdate, member: Member, operation: Operation, now: datetime, *, half_done: bool
) -> None:
    """Note what became of a member's operation, which has ended; `half_done`: it has left its host in
    FAILED."""
    problem = operation.problem
    if problem is not None and problem.reason == WindowClosed.reason:
        # Its window closed before anything was changed, and the next one is as good, or in the middle
        # of it, and in the next one it goes on.
        tally.move(
            member,
            MemberStatus.WAITING,
            waiting=WaitingFor.WINDOW,
            not_before=now + RECHECK,
            detail=problem.message,
            retry=half_done,
        )
        return
    to = _OUTCOMES[operation.status]
    taken_back = operation.update is not None and operation.update.rolled_back
    if to is MemberStatus.FAILED and taken_back:
        to = MemberStatus.ROLLED_BACK
    detail = problem.message if problem else ""
    if to is MemberStatus.SKIPPED:
        detail = detail or f"its operation was cancelled by {operation.cancel_requested_by}"
    tally.move(member, to, detail=detail)


async def has_failed_its_host(store: Store, operation: Operation) -> bool:
    """Whether the host of `operation` is in FAILED because of it."""
    try:
        failure = (await store.host(operation.host)).status.failure
    except HostNotFound:
        return False
    return failure is not None and failure.operation == operation.id


async def tallied(store: Store, rollout: Rollout, members: Iterable[Member]) -> RolloutUpdate:
    """A tally for moving `members`, and others of the current wave."""
    numbers = sorted({rollout.wave, *(member.wave for member in members)})
    return RolloutUpdate(rollout, [await store.wave(rollout.id, number) for number in numbers])


def change_of(
    rollout: Rollout,
    now: datetime,
    *,
    message: str = "",
    held_up: str = "",
    waves: Sequence[Wave] = (),
    members: Sequence[Member] = (),
) -> Change:
    """The transaction that stores a rollout with what of it has changed, and tells of it."""
    told = RolloutChanged(
        status=rollout.status,
        progress=rollout.progress,
        wave=rollout.wave,
        waves=rollout.waves,
        message=message,
        held_up=held_up,
    )
    event = Event(at=now, body=told, rollout=rollout.id)
    return Change(events=(event,), rollouts=(rollout,), waves=waves, members=members)
