"""Whole lists from the store, read a page at a time as their reader goes on."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.operations.operation import Operation
from tendhost.server.domain.rollouts.rollout import Member, MemberStatus, Rollout, RolloutStatus
from tendhost.server.domain.schedules.schedule import Schedule
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Page

T = TypeVar("T")
K = TypeVar("K", str, int)

PAGE = 500
"""Rows that are decoded in one go, in a thread: few enough to take some 10 ms, so that other readers go on."""


async def every_host(store: Store, selection: HostFilter) -> AsyncIterator[Host]:
    """The selected hosts, by name. This and all below raise DocumentUnreadable, and StoreUnavailable."""

    async def read(after: str) -> Page[Host]:
        return await store.hosts(selection, after=after, limit=PAGE)

    async for page in _pages(read, "", lambda host: host.name):
        for host in page:
            yield host


async def every_operation(store: Store, *, rollout: str) -> AsyncIterator[Operation]:
    """The operations of a rollout, newest first."""

    async def read(before: str) -> Page[Operation]:
        return await store.operations(rollout=rollout, before=before, limit=PAGE)

    async for page in _pages(read, "", lambda operation: operation.id):
        for operation in page:
            yield operation


async def every_rollout(
    store: Store, *, statuses: Sequence[RolloutStatus] = ()
) -> AsyncIterator[Rollout]:
    """The rollouts with one of these statuses (empty: any), newest first."""

    async def read(before: str) -> Page[Rollout]:
        return await store.rollouts(statuses=statuses, before=before, limit=PAGE)

    async for page in _pages(read, "", lambda rollout: rollout.id):
        for rollout in page:
            yield rollout


async def every_schedule(store: Store) -> AsyncIterator[Schedule]:
    """All schedules, by name."""

    async def read(after: str) -> Page[Schedule]:
        return await store.schedules(after=after, limit=PAGE)

    async for page in _pages(read, "", lambda schedule: schedule.name):
        for schedule in page:
            yield schedule


async def every_member(
    store: Store, rollout: str, *, statuses: Sequence[MemberStatus] = ()
) -> AsyncIterator[Member]:
    """The members of a rollout with one of these statuses (empty: any), in its order."""
    async for page in member_pages(store, rollout, statuses=statuses, limit=PAGE):
        for member in page:
            yield member


def member_pages(
    store: Store,
    rollout: str,
    *,
    wave: int | None = None,
    statuses: Sequence[MemberStatus] = (),
    limit: int,
) -> AsyncIterator[Sequence[Member]]:
    """As `every_member`, in pages of at most `limit`; with `wave` those of that wave only."""

    async def read(after: int) -> Page[Member]:
        return await store.members(rollout, wave=wave, statuses=statuses, after=after, limit=limit)

    return _pages(read, -1, lambda member: member.position)


async def _pages(
    read: Callable[[K], Awaitable[Page[T]]], first: K, key: Callable[[T], K]
) -> AsyncIterator[Sequence[T]]:
    """Every page of a list. `read` reads what follows a key, and `key` is the key of a row."""
    position = first
    while True:
        page = await read(position)
        if page.items:
            yield page.items
        if not page.more:
            return
        position = key(page.items[-1])
