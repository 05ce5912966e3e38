"""Health rounds of a wave that settles: in each round every updated host of the wave gets one CHECK.

Each member is marked with its check in the transaction that creates the check, so that the next server
goes on with a round that was cut off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tendhost.server.clock import Clock
from tendhost.server.domain.host_errors import HostOutOfScope
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.inventory.inventory import RebootNeed
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus, StepFacts
from tendhost.server.domain.rollouts.advance import after_wave_check
from tendhost.server.domain.rollouts.rollout import Member, MemberStatus, Rollout, Wave
from tendhost.server.domain.rollouts.rollout_update import RolloutUpdate
from tendhost.server.domain.transitions import OperationState, queued, started
from tendhost.server.engine.operations.manager import OperationRequest, Operations
from tendhost.server.engine.rollouts.changes import Begun, RolloutWorkStore, RolloutWriter
from tendhost.server.store.paging import every_member

AT_A_TIME = 200
"""Checks that one transaction begins at most."""
_UNFINISHED = (OperationStatus.RUNNING, OperationStatus.QUEUED)
_CHECKED = (MemberStatus.COMPLETED,)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a health round has found, by host."""

    unhealthy: Mapping[str, str]
    """Problems."""
    reboots_left: Mapping[str, str]
    """Healthy hosts that need a reboot, or may need one, with the reason."""


class WaveChecks:
    """The health rounds of one rollout."""

    def __init__(
        self,
        id: str,
        *,
        store: RolloutWorkStore,
        operations: Operations,
        writer: RolloutWriter,
        clock: Clock,
    ) -> None:
        self._id = id
        self._store = store
        self._operations = operations
        self._writer = writer
        self._clock = clock
        self._awaited = ""
        """The newest check that had not ended at the last read of all of them; it is likely the last to end."""

    async def go_on(self, rollout: Rollout, wave: Wave) -> bool:
        """Begin further checks of the round, or end it; False: there is nothing to do before a check ends."""
        checks = await self._next_checks(rollout, wave)
        if checks is not None:
            await self._writer.save(*checks)
            return True
        found = await self._found(rollout, wave)
        if found is not None:
            await self._writer.save(self._ended(rollout, wave, found))
        return found is not None

    def _ended(self, rollout: Rollout, wave: Wave, found: "_Found") -> RolloutUpdate:
        """The update that ends a round."""
        after, settled = after_wave_check(
            rollout,
            wave,
            self._clock.now(),
            unhealthy=found.unhealthy,
            reboots_left=found.reboots_left,
        )
        message = ""
        if after.halt is not None:
            message = after.halt.message
        elif settled.settled_at is not None:
            message = f"wave {wave.number + 1} has stayed healthy"
        update = RolloutUpdate(after, message=message)
        update.change_wave(wave.number, settled_at=settled.settled_at)
        return update

    async def _next_checks(
        self, rollout: Rollout, wave: Wave
    ) -> tuple[RolloutUpdate, Begun] | None:
        """The next checks of the round, not stored yet; None: all of them have begun."""
        settling = rollout.settling
        assert settling is not None, "no health round is under way"
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
        update = RolloutUpdate(replace(rollout, settling=settling))
        begun: list[tuple[OperationState, Host]] = []
        for member in page.items:
            check = await self._check(member, rollout)
            begun.extend(() if check is None else (check,))
            id = "" if check is None else check[0].operation.id
            update.change_member(member, check=id)
        return update, begun

    async def _found(self, rollout: Rollout, wave: Wave) -> "_Found | None":
        """What the round has found; None: some of its checks have not ended."""
        # Every check that ends asks, so that not all of them can be read each time.
        if self._awaited and not await self._has_ended(self._awaited):
            return None
        unfinished = await self._store.operations(rollout=self._id, statuses=_UNFINISHED, limit=1)
        self._awaited = unfinished.items[0].id if unfinished.items else ""
        if self._awaited:
            return None
        unhealthy: dict[str, str] = {}
        reboots_left: dict[str, str] = {}
        async for member in every_member(
            self._store, self._id, wave=wave.number, statuses=_CHECKED
        ):
            if wrong := await self._wrong(member):
                unhealthy[member.host] = wrong
            elif rollout.spec.require_rebooted and (left := await self._reboot_left(member)):
                reboots_left[member.host] = left
        return _Found(unhealthy=unhealthy, reboots_left=reboots_left)

    async def _has_ended(self, id: str) -> bool:
        operation = await self._store.find_operation(id)
        return operation is None or operation.status.ended

    async def _check(self, member: Member, rollout: Rollout) -> tuple[OperationState, Host] | None:
        """A check of a host; None: the host is gone, out of reach, or in FAILED, where no operation may begin."""
        host = await self._host(member)
        if host is None or host.status.failure is not None:
            return None
        reach = rollout.spec.bound_to
        if reach is not None and not reach.has(host):
            return None
        work = OperationRequest(host=host.name, kind=OperationKind.CHECK, bound_to=reach)
        # Units that had failed before the update are not its fault.
        operation = replace(
            self._operations.new(work, by=rollout.created_by, rollout=self._id),
            facts=StepFacts(failed_units=await self._failed_before(member)),
        )
        now = self._clock.now()
        if await self._store.running_operation(host.name) is not None:
            return queued(operation, host, now), host
        return started(operation, host, now), host

    async def _failed_before(self, member: Member) -> tuple[str, ...]:
        update = await self._store.find_operation(member.operation)
        # The rollout may have rested longer than operations are kept.
        return () if update is None else update.facts.failed_units

    async def _wrong(self, member: Member) -> str:
        """The problem of a host, by its check; empty: none, or the host is gone, or has left the rollout's scope."""
        if not member.check:
            return await self._failure(member)
        check = await self._store.find_operation(member.check)
        if check is None:
            return "its check is no longer on record"
        if check.problem is not None:
            left = check.problem.reason == HostOutOfScope.reason
            return "" if left else check.problem.message
        if check.status is OperationStatus.CANCELLED:
            return f"its check was cancelled by {check.cancel_requested_by}"
        return "" if check.health is None or check.health.healthy else check.health.message

    async def _host(self, member: Member) -> Host | None:
        """The host of a member; None: it is gone, also if another one has its name."""
        host = await self._store.find_host(member.host)
        return host if host is not None and member.is_of(host.registered_at) else None

    async def _reboot_left(self, member: Member) -> str:
        """Why a host needs a reboot, or may need one; empty: it needs none, was just rebooted, or is gone."""
        host = await self._host(member)
        if host is None or host.status.reboot.need is RebootNeed.NOT_NEEDED:
            return ""
        reason = f" ({host.status.reboot.reason})" if host.status.reboot.reason else ""
        if host.status.reboot.need is RebootNeed.NEEDED:
            left = f"; {member.detail}" if member.reboot_left else ""
            return f"it needs a reboot{reason}{left}"
        update = await self._store.find_operation(member.operation)
        if update is not None and update.follows_reboot:
            return ""
        return f"it is unknown whether it needs a reboot{reason}"

    async def _failure(self, member: Member) -> str:
        host = await self._host(member)
        failure = host.status.failure if host is not None else None
        return "" if failure is None else f"it has failed: {failure.problem.message}"
