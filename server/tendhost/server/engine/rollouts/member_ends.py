"""Members of a rollout that come to their end: their operation has ended, or they will never begin."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from tendhost.server.clock import Clock
from tendhost.server.domain.host_errors import WindowClosed
from tendhost.server.domain.operations.operation import Operation, OperationStatus
from tendhost.server.domain.rollouts.report import REBOOT_LEFT
from tendhost.server.domain.rollouts.rollout import (
    Member,
    MemberStatus,
    Rollout,
    RolloutStatus,
    WaitingFor,
)
from tendhost.server.domain.rollouts.rollout_update import RolloutUpdate
from tendhost.server.domain.transitions import changed_anything
from tendhost.server.engine.rollouts.changes import RolloutWorkStore, RolloutWriter
from tendhost.server.engine.waiting import CEILING
from tendhost.server.store.paging import every_member

AT_A_TIME = 200
"""Members that one transaction ends at most."""
WINDOW_CLOSED_PAUSE = timedelta(minutes=1)
"""Delay before the windows of a member are evaluated again whose window closed during its operation."""

_OUTCOMES = {
    OperationStatus.SUCCEEDED: MemberStatus.COMPLETED,
    OperationStatus.FAILED: MemberStatus.FAILED,
    OperationStatus.CANCELLED: MemberStatus.SKIPPED,
}
_WHY_SKIPPED = {
    RolloutStatus.CANCELLED: "the rollout was cancelled",
    RolloutStatus.EXPIRED: "the rollout expired before it could begin",
}
_WHY_FAILED = {
    RolloutStatus.CANCELLED: "the rollout was cancelled before it could go on",
    RolloutStatus.EXPIRED: "the rollout expired before it could go on",
}
_OPERATION_GONE = "its operation is no longer on record: the outcome on the host is unknown"


class MemberEnds:
    """Notes how members of one rollout end."""

    def __init__(
        self, id: str, *, store: RolloutWorkStore, writer: RolloutWriter, clock: Clock
    ) -> None:
        self._id = id
        self._store = store
        self._writer = writer
        self._clock = clock
        self._ended: set[str] | None = None
        """Hosts whose operation has ended since the last collection; None: unknown, so that every
        member in progress is read."""
        self._read_all_at = clock.elapsed()
        """Monotonic time of the last collection for which every member in progress was read."""

    def operation_ended(self, host: str) -> None:
        """Have `collect` read the member of this host."""
        if self._ended is not None:
            self._ended.add(host)

    async def collect(self, rollout: Rollout) -> bool:
        """Store the outcome of members whose operation has ended; whether there were any."""
        ended, self._ended = self._ended, set()
        elapsed = self._clock.elapsed()
        if ended is None or elapsed - self._read_all_at >= CEILING:
            # No call is relied on: other replicas end operations, too.
            ended, self._read_all_at = None, elapsed
        try:
            update = RolloutUpdate(rollout)
            for member in await self._in_progress(ended):
                await self._note_end(update, member)
            if update.members:
                await self._writer.save(update)
        except BaseException:
            self._ended = None
            raise
        return bool(update.members)

    async def skip_rest(self, rollout: Rollout) -> None:
        """End members of a cancelled or expired rollout that have not begun: as many as one transaction may have."""
        page = await self._store.members(
            self._id, statuses=(MemberStatus.PENDING, MemberStatus.WAITING), limit=AT_A_TIME
        )
        update = RolloutUpdate(rollout)
        for member in page.items:
            # A member that waits for a further attempt ends with the outcome of its last one.
            failed = member.tried or await self._has_changed_its_host(member)
            to = MemberStatus.FAILED if failed else MemberStatus.SKIPPED
            why = (_WHY_FAILED if failed else _WHY_SKIPPED)[rollout.status]
            # What it waited for is the cause, and is lost with the wait.
            waits = member.status is MemberStatus.WAITING
            cause = member.detail if waits else rollout.expired_while
            update.move(member, to, detail=f"{why}: {cause}" if cause else why)
        await self._writer.save(update)

    async def _in_progress(self, hosts: set[str] | None) -> Sequence[Member]:
        """The members in progress on these hosts; None: on all of them."""
        if hosts is not None:
            found = [await self._store.member(self._id, host) for host in sorted(hosts)]
            return [m for m in found if m is not None and m.status is MemberStatus.IN_PROGRESS]
        in_progress = (MemberStatus.IN_PROGRESS,)
        return [m async for m in every_member(self._store, self._id, statuses=in_progress)]

    async def _note_end(self, update: RolloutUpdate, member: Member) -> None:
        """Move a member in progress if its operation has ended."""
        operation = await self._store.find_operation(member.operation)
        if operation is None:
            update.move(member, MemberStatus.FAILED, detail=_OPERATION_GONE)
            return
        if operation.status.ended:
            retry = bool(operation.problem) and await self._has_failed_its_host(operation)
            note_end(update, member, operation, self._clock.now(), retry=retry)

    async def _has_failed_its_host(self, operation: Operation) -> bool:
        """Whether the host of `operation` is in FAILED because of it."""
        host = await self._store.find_host(operation.host)
        failure = host.status.failure if host is not None else None
        return failure is not None and failure.operation == operation.id

    async def _has_changed_its_host(self, member: Member) -> bool:
        """Whether the former operation of a waiting member may have changed its host."""
        if not member.operation:
            return False
        operation = await self._store.find_operation(member.operation)
        return operation is None or changed_anything(operation)


def note_end(
    update: RolloutUpdate, member: Member, operation: Operation, now: datetime, *, retry: bool
) -> None:
    """Move `member` to the outcome of its operation, which has ended.

    `retry`: the operation has left its host in FAILED, so that the next one has to go on from there.
    """
    problem = operation.problem
    if problem is not None and problem.reason == WindowClosed.reason:
        # The window closed before the change, or in the middle of it: the next window is as good.
        update.move(
            member,
            MemberStatus.WAITING,
            waiting=WaitingFor.WINDOW,
            not_before=now + WINDOW_CLOSED_PAUSE,
            detail=problem.message,
            retry=retry,
        )
        return
    to = _OUTCOMES[operation.status]
    rolled_back = operation.update is not None and operation.update.rolled_back
    if to is MemberStatus.FAILED and rolled_back:
        to = MemberStatus.ROLLED_BACK
    detail = problem.message if problem else ""
    if to is MemberStatus.SKIPPED:
        detail = detail or f"its operation was cancelled by {operation.cancel_requested_by}"
    left = operation.reboot_left if to is MemberStatus.COMPLETED else ""
    if left:
        detail = f"{REBOOT_LEFT}{left}"
    update.move(member, to, detail=detail, reboot_left=bool(left))
