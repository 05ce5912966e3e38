"""Looks at whether the hosts of a wave stay healthy while it settles: one CHECK of each of them.

Each member is marked with its check in the transaction that creates it, so that a look which a killed
server left is gone on with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tendhost.server.clock import Clock
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus, StepFacts
from tendhost.server.domain.request_errors import HostNotFound, OperationNotFound
from tendhost.server.domain.rollouts.rollout import Member, MemberStatus, Rollout, Wave
from tendhost.server.domain.rollouts.rollout_update import RolloutUpdate
from tendhost.server.domain.transitions import OperationState, queued, started
from tendhost.server.engine.operations.manager import OperationRequest, Operations
from tendhost.server.store.protocol import Store

AT_A_TIME = 200
"""Checks that one transaction begins at most."""
_UNFINISHED = (OperationStatus.RUNNING, OperationStatus.QUEUED)
_CHECKED = (MemberStatus.COMPLETED,)

Begun = Sequence[tuple[OperationState, Host]]


class WaveChecks:
    """The looks of one rollout."""

    def __init__(self, id: str, *, store: Store, operations: Operations, clock: Clock) -> None:
        self._id = id
        self._store = store
        self._operations = operations
        self._clock = clock
        self._awaited = ""
        """The newest check that had not ended when all were looked at; it is likely the last to end."""

    async def next_checks(self, rollout: Rollout, wave: Wave) -> tuple[RolloutUpdate, Begun] | None:
        """The next checks of the look under way, not stored yet; None: all of them have begun."""
        settling = rollout.settling
        assert settling is not None, "no look is under way"
        page = await self._store.members(
            self._id,
            wave=wave.number,
            statuses=_CHECKED,
            after=settling.position,
            limit=AT_A_TIME,
        )
        if not page.items:
            return None
        settling = replace(settling, position=page.items[-1].position)
        tally = RolloutUpdate(replace(rollout, settling=settling), (wave,))
        begun: list[tuple[OperationState, Host]] = []
        for member in page.items:
            check = await self._check(member, by=rollout.created_by)
            begun.extend(() if check is None else (check,))
            id = "" if check is None else check[0].operation.id
            tally.move(member, member.status, check=id)
        return tally, begun

    async def unhealthy(self, wave: Wave) -> Mapping[str, str] | None:
        """What the look has found wrong, by host; None: some of its checks have not ended."""
        # Asked whenever a check ends, so that not all that there are can be looked through each time.
        if self._awaited and not await self._has_ended(self._awaited):
            return None
        open_ones = await self._store.operations(rollout=self._id, statuses=_UNFINISHED, limit=1)
        self._awaited = open_ones.items[0].id if open_ones.items else ""
        if self._awaited:
            return None
        found: dict[str, str] = {}
        after = -1
        while True:
            page = await self._store.members(
                self._id, wave=wave.number, statuses=_CHECKED, after=after, limit=AT_A_TIME
            )
            for member in page.items:
                wrong = await self._wrong(member)
                if wrong:
                    found[member.host] = wrong
            if not page.more:
                return found
            after = page.items[-1].position

    async def _has_ended(self, id: str) -> bool:
        try:
            return (await self._store.operation(id)).status.ended
        except OperationNotFound:
            return True

    async def _check(self, member: Member, *, by: str) -> tuple[OperationState, Host] | None:
        """A check of a host; None: it is gone, or in FAILED, and nothing may be begun on it."""
        try:
            host = await self._store.host(member.host)
        except HostNotFound:
            return None
        if host.status.failure is not None:
            return None
        work = OperationRequest(host=host.name, kind=OperationKind.CHECK)
        # What had failed before the update is no fault of its.
        operation = replace(
            self._operations.new(work, by=by, rollout=self._id),
            findings=StepFacts(failed_units=await self._failed_before(member)),
        )
        now = self._clock.now()
        if await self._store.running_operation(host.name) is not None:
            return queued(operation, host, now), host
        return started(operation, host, now), host

    async def _failed_before(self, member: Member) -> tuple[str, ...]:
        try:
            update = await self._store.operation(member.operation)
        except OperationNotFound:
            return ()  # the rollout rested for longer than operations are kept
        return update.findings.failed_units

    async def _wrong(self, member: Member) -> str:
        """What is wrong with a host, by its check; empty: nothing, or there is no such host any more."""
        if not member.check:
            return await self._failure(member.host)
        try:
            check = await self._store.operation(member.check)
        except OperationNotFound:
            return "its check is not on record any more"
        if check.problem is not None:
            return check.problem.message
        if check.status is OperationStatus.CANCELLED:
            return f"its check was cancelled by {check.cancel_requested_by}"
        return "" if check.health is None or check.health.healthy else check.health.message

    async def _failure(self, name: str) -> str:
        try:
            failure = (await self._store.host(name)).status.failure
        except HostNotFound:
            return ""
        return "" if failure is None else f"it has failed: {failure.problem.message}"
