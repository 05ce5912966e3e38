"""Transactions about rollouts: an update with its waves, its event, and the operations that begin in it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from tendhost.server.clock import Clock
from tendhost.server.domain.events import Event, RolloutChanged
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.leases import Held
from tendhost.server.domain.request_errors import HostBusy
from tendhost.server.domain.rollouts.rollout import Member, Rollout, Wave
from tendhost.server.domain.rollouts.rollout_update import RolloutUpdate
from tendhost.server.domain.transitions import OperationState
from tendhost.server.engine.operations.changes import operation_change
from tendhost.server.engine.operations.manager import Operations
from tendhost.server.store.protocols.operations import HostWorkStore
from tendhost.server.store.protocols.rollouts import RolloutStore
from tendhost.server.store.records import AdmissionGuard, Change, Conflict

Begun = Sequence[tuple[OperationState, Host]]
"""Operations that begin in a transaction, each with its host as it is stored."""


class RolloutWorkStore(HostWorkStore, RolloutStore, Protocol):
    """Rollouts, their hosts, and the operations on these."""


class RolloutWriter:
    """Stores updates of rollouts."""

    def __init__(
        self,
        *,
        store: RolloutWorkStore,
        operations: Operations,
        clock: Clock,
        held: Sequence[Held] = (),
    ) -> None:
        """`held`: the rollout, where its driver is who stores; a user needs to hold nothing."""
        self._store = store
        self._operations = operations
        self._clock = clock
        self._held = held
        self.committing = False
        """Whether a commit is under way."""

    async def change_of(self, update: RolloutUpdate) -> Change:
        """The transaction that stores `update`, with the waves that it needs and a new estimate of the end."""
        now = self._clock.now()
        waves = [await self._store.wave(update.rollout.id, number) for number in update.waves]
        updated = update.applied(waves, now)
        return change_of(
            updated.rollout,
            now,
            message=update.message,
            held_up=update.held_up,
            waves=updated.waves,
            members=updated.members,
        )

    async def save(
        self, update: RolloutUpdate, begun: Begun = (), guard: AdmissionGuard | None = None
    ) -> None:
        """Store `update` together with the operations that begin in it, and drive these.

        Raises Conflict where somebody else has changed the rollout or begun work on one of the hosts, or where
        `guard` does not hold, and LeaseLost where another replica drives the rollout.
        """
        change = await self.change_of(update)
        starts = [operation_change(state, host) for state, host in begun]
        change = self._operations.begun(
            replace(
                change,
                events=(*(event for start in starts for event in start.events), *change.events),
                hosts=tuple(host for start in starts for host in start.hosts),
                operations=tuple(one for start in starts for one in start.operations),
                held=self._held,
                guard=guard,
            )
        )
        self.committing = True
        try:
            revision = (await self._store.commit(change)).revision
        except HostBusy as busy:
            raise Conflict(what=f"host {busy.host}") from None
        finally:
            self.committing = False
        for state, host in begun:
            self._operations.take_up(state.at(revision, former=host), change.taken)


def change_of(
    rollout: Rollout,
    now: datetime,
    *,
    message: str = "",
    held_up: str = "",
    waves: Sequence[Wave] = (),
    members: Sequence[Member] = (),
) -> Change:
    """The transaction that stores a rollout with the given waves and members, and the event about it."""
    body = RolloutChanged(
        status=rollout.status,
        progress=rollout.progress,
        wave=rollout.wave,
        waves=rollout.waves,
        message=message,
        held_up=held_up,
    )
    event = Event(at=now, body=body, rollout=rollout.id)
    return Change(events=(event,), rollouts=(rollout,), waves=waves, members=members)
