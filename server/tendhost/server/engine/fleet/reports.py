"""Reports from what is stored: why a host is in its state, the result of a rollout, the compliance of the fleet."""

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Protocol

from tendhost.server.clock import Clock
from tendhost.server.domain.access.scope import Scope
from tendhost.server.domain.explain import Explanation, RolloutMembership, explain
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.request_errors import InventoryNotFound
from tendhost.server.domain.rollouts.plan import HostSummary, concerned
from tendhost.server.domain.rollouts.report import (
    Compliance,
    ReportBuilder,
    RolloutReport,
    compliance,
)
from tendhost.server.domain.rollouts.rollout_view import member_seen, reaches, rollout_seen
from tendhost.server.engine.fleet.availability import HostAvailability
from tendhost.server.store.paging import every_member, every_operation
from tendhost.server.store.protocols.access import ScopeStore
from tendhost.server.store.protocols.hosts import FleetStore, HostStore, InventoryStore
from tendhost.server.store.protocols.operations import OperationStore
from tendhost.server.store.protocols.rollouts import RolloutStore

OPERATIONS = 50
"""Newest operations of a host that an explanation uses."""
ROLLOUTS = 20
"""Newest rollouts that an explanation uses."""
SHOWN_WAVES = 1000


class ReportStore(
    HostStore, InventoryStore, FleetStore, OperationStore, RolloutStore, ScopeStore, Protocol
):
    """What reports are made of."""


class Reports:
    """Reports about hosts, rollouts and the fleet. They only read the store."""

    def __init__(
        self, *, store: ReportStore, clock: Clock, host_availability: HostAvailability
    ) -> None:
        self._store = store
        self._clock = clock
        self._host_availability = host_availability

    async def explanation(self, name: str, scope: Scope | None = None) -> Explanation:
        """Why a host was, or was not, updated and rebooted, as far as `scope` lets it be seen. Raises HostNotFound."""
        host = await self._store.host(name)
        if scope is not None:
            alike = host.status.duplicate_of
            inside = await self._store.hosts_within(scope, [one.host for one in alike])
            host = host.resembling(tuple(one for one in alike if one.host in inside))
        now = self._clock.now()
        try:
            pending = (await self._store.inventory(name)).pending
        except InventoryNotFound:
            pending = None
        operations = await self._store.operations(host=name, limit=OPERATIONS)
        return explain(
            host,
            pending,
            operations.items,
            await self._memberships(name, scope),
            await self._host_availability.of(host, now),
            now,
        )

    async def _memberships(self, name: str, scope: Scope | None) -> list[RolloutMembership]:
        places = {
            member.rollout: (member, revision)
            for member, revision in await self._store.memberships(name, limit=ROLLOUTS)
        }
        newest = await self._store.rollouts(limit=ROLLOUTS)
        rollouts = {rollout.id: rollout for rollout in newest.items}
        # The host may wait in a rollout that is older than the newest of the fleet.
        for id in places.keys() - rollouts.keys():
            rollout = await self._store.find_rollout(id)
            if rollout is not None:  # else it has just grown too old to be kept
                rollouts[id] = rollout
        found = []
        for _, rollout in sorted(rollouts.items(), reverse=True):
            if not reaches(scope, rollout.spec):
                continue
            member, revision = places.get(rollout.id, (None, 0))
            hidden: frozenset[str] = frozenset()
            if scope is not None:
                hidden = await self._store.members_outside(scope, rollout.id)
                member = None if member is None else member_seen(member, hidden)
            seen = rollout_seen(rollout, hidden)
            found.append(RolloutMembership(rollout=seen, member=member, revision=revision))
        return found

    async def report(self, id: str, hidden: Collection[str] = ()) -> RolloutReport:
        """The result of a rollout, without the hosts `hidden`. Raises RolloutNotFound."""
        rollout = rollout_seen(await self._store.rollout(id), hidden)
        builder = ReportBuilder(rollout, await self._store.waves(id, first=0, last=SHOWN_WAVES - 1))
        members = {}
        async for member in every_member(self._store, id):
            if member.host not in hidden:
                members[member.host] = member
                builder.add_member(member_seen(member, hidden))
        async for operation in every_operation(self._store, rollout=id):
            if operation.host in hidden:
                continue
            builder.add_operation(operation, members.get(operation.host))
        return builder.report()

    async def compliance(
        self, selection: HostFilter, overdue: timedelta, *, first: int, last: int
    ) -> Compliance:
        """How up to date the selected hosts are, with the overdue hosts from position `first` to before `last`."""
        now = self._clock.now()

        def survey(fleet: Iterable[HostSummary]) -> Compliance:
            chosen = (
                h
                for h in fleet
                if concerned(selection, h) and not (h.jump_only or selection.excludes(h.name))
            )
            return compliance(chosen, now, overdue, first=first, last=last)

        return await self._store.survey(survey)
