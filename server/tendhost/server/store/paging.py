"""Whole lists from the store, read a page at a time as their reader goes on."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.operations.operation import Operation
from tendhost.server.domain.rollouts.rollout import Member, MemberStatus, Rollout, RolloutStatus
from tendhost.server.domain.schedules.schedule import Schedule
from tendhost.server.store.protocols.hosts import HostStore
from tendhost.server.store.protocols.operations import OperationStore
from tendhost.server.store.protocols.policies import ScheduleStore
from tendhost.server.store.protocols.rollouts import RolloutStore
from tendhost.server.store.records import Page

T = TypeVar("T")
K = TypeVar("K", str, int)

PAGE = 500
"""Rows that are decoded in one go, in a thread: few enough to take some 10 ms, so that other readers go on."""


async def every_host(store: HostStore, selection: HostFilter) -> AsyncIterator[Host]:
    """The selected hosts, by name. This and all below raise DocumentUnreadable, and StoreUnavailable."""

    async def read(after: str) -> Page[Host]:
        return await store.hosts(selection, after=after, limit=PAGE)

    async for host in _every(read, "", lambda host: host.name):
        yield host


async def every_operation(store: OperationStore, *, rollout: str) -> AsyncIterator[Operation]:
    """The operations of a rollout, newest first."""

    async def read(before: str) -> Page[Operation]:
        return await store.operations(rollout=rollout, before=before, limit=PAGE)

    async for operation in _every(read, "", lambda operation: operation.id):
        yield operation


async def every_rollout(
    store: RolloutStore, *, statuses: Sequence[RolloutStatus] = ()
) -> AsyncIterator[Rollout]:
    """The rollouts with one of these statuses (empty: any), newest first."""

    async def read(before: str) -> Page[Rollout]:
        return await store.rollouts(statuses=statuses, before=before, limit=PAGE)

    async for rollout in _every(read, "", lambda rollout: rollout.id):
        yield rollout


async def every_schedule(store: ScheduleStore) -> AsyncIterator[Schedule]:
    """All schedules, by name."""

    async def read(after: str) -> Page[Schedule]:
        return await store.schedules(after=after, limit=PAGE)

    async for schedule in _every(read, "", lambda schedule: schedule.name):
        yield schedule


async def every_member(
    store: RolloutStore,
    rollout: str,
    *,
    wave: int | None = None,
    statuses: Sequence[MemberStatus] = (),
) -> AsyncIterator[Member]:
    """The members of a rollout with one of these statuses (empty: any), in its order.

    `wave` None: of any wave.
    """

    async def read(after: int) -> Page[Member]:
        return await store.members(rollout, wave=wave, statuses=statuses, after=after, limit=PAGE)

    async for member in _every(read, -1, lambda member: member.position):
        yield member


async def _every(
    read: Callable[[K], Awaitable[Page[T]]], first: K, key: Callable[[T], K]
) -> AsyncIterator[T]:
    """Every row of a list. `read` reads what follows a key, and `key` is the key of a row."""
    position = first
    while True:
        page = await read(position)
        for row in page.items:
            yield row
        if not page.more:
            return
        position = key(page.items[-1])
