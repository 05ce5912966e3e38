"""Plain values to store, and what is stored of them."""

import itertools
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tendhost.server.domain.events import Event, EventBody, HostConnected
from tendhost.server.domain.hosts.host import Host, HostConfig, HostStatus
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.inventory.inventory import Inventory, Pending, PendingPackage
from tendhost.server.domain.operations.operation import Operation, OperationKind, OperationStatus
from tendhost.server.domain.rollouts.plan import ExcludedHost, Exclusion, RolloutPlan, WaveOutline
from tendhost.server.domain.rollouts.rollout import (
    Member,
    Rollout,
    RolloutProgress,
    RolloutSpec,
    Wave,
)
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Change, InventoryRecord, RolloutCursor

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
A_DAY = timedelta(days=1)

_numbers = itertools.count(1)


def a_host(name: str = "web1", **status: Any) -> Host:
    """A host that is not stored yet."""
    return Host(
        config=HostConfig(name=name, address=f"{name}.example", tags=("web",), groups=("berlin",)),
        host_key="ssh-ed25519 AAAA",
        registered_at=NOW,
        status=HostStatus(**status),
    )


def an_operation(
    host: str = "web1", status: OperationStatus = OperationStatus.RUNNING, **fields: Any
) -> Operation:
    """An operation that is not stored yet, newer than all before it."""
    identifier = f"op-{next(_numbers):08}"
    kind = OperationKind.UPDATE
    return Operation(id=identifier, host=host, kind=kind, created_at=NOW, status=status, **fields)


def a_rollout(**fields: Any) -> Rollout:
    """A rollout that is not stored yet, newer than all before it."""
    return Rollout(
        id=f"ro-{next(_numbers):08}",
        spec=RolloutSpec(filter=HostFilter(groups=("berlin",))),
        created_at=NOW,
        progress=RolloutProgress(total_hosts=3, pending=3),
        waves=2,
        **fields,
    )


def a_member(
    rollout: Rollout, host: str, wave: int = 0, position: int = 0, **fields: Any
) -> Member:
    """One host of `rollout`."""
    return Member(rollout=rollout.id, host=host, wave=wave, position=position, **fields)


def a_plan(id: str, **fields: Any) -> RolloutPlan:
    """A plan that is not kept yet."""
    given: dict[str, Any] = {
        "created_at": NOW,
        "spec": RolloutSpec(filter=HostFilter()),
        "waves": (WaveOutline(stage="", hosts=1, expected=A_DAY),),
        "excluded": (ExcludedHost(name="zz", why=Exclusion.FAILED, detail="it has failed"),),
        "not_selected": 3,
        "known_durations": 1,
    }
    return RolloutPlan(id=id, **{**given, **fields})


def a_wave(rollout: Rollout, number: int = 0, **fields: Any) -> Wave:
    """One wave of `rollout`."""
    progress = RolloutProgress(total_hosts=3, pending=3)
    return Wave(rollout=rollout.id, number=number, progress=progress, **fields)


def an_inventory(host: str = "web1", *, version: str = "1.0") -> InventoryRecord:
    """What a query learnt of `host`."""
    packages = (PendingPackage(name="bash", from_version=version, to_version="2.0"),)
    return InventoryRecord(
        host=host,
        inventory=Inventory(installed=(("bash", version),), collected_at=NOW),
        pending=Pending(packages=packages, queried_at=NOW),
    )


def an_event(host: str = "web1", *, body: EventBody | None = None, at: datetime = NOW) -> Event:
    """A fact that is not numbered yet."""
    return Event(at=at, body=body or HostConnected(), host=host)


def change(*, events: int = 1, at: datetime = NOW, **parts: Any) -> Change:
    """A change of these parts, with so many events."""
    return Change(events=tuple(an_event(at=at) for _ in range(events)), **parts)


async def stored_host(store: Store, name: str = "web1", **status: Any) -> Host:
    """A host, stored, as it reads from the store."""
    host = a_host(name, **status)
    committed = await store.commit(change(hosts=(host,)))
    return replace(host, revision=committed.revision)


async def stored_operation(store: Store, operation: Operation) -> Operation:
    """An operation, stored when it ended if it has, as it reads from the store."""
    at = operation.ended_at or NOW
    committed = await store.commit(change(operations=(operation,), at=at))
    return replace(operation, revision=committed.revision)


async def stored_rollout(store: Store, rollout: Rollout) -> Rollout:
    """A rollout, stored when it ended if it has, as it reads from the store."""
    at = rollout.ended_at or NOW
    committed = await store.commit(change(rollouts=(rollout,), at=at))
    return replace(rollout, revision=committed.revision)


async def every_host(store: Store) -> tuple[Host, ...]:
    """Every host, by name."""
    return (await store.hosts(HostFilter(), limit=1_000_000)).items


@dataclass(frozen=True, kw_only=True)
class WholeView:
    """A rollout with its waves and members, all of which can be read."""

    rollout: Rollout
    waves: tuple[Wave, ...]
    members: tuple[Member, ...]


async def whole_view(
    store: Store, rollout: str, *, after: RolloutCursor | None = None
) -> WholeView:
    """All that was stored of a rollout behind a place."""
    after = after or RolloutCursor()
    view = await store.rollout_view(rollout, after=after, limit=100_000, size=1 << 30)
    return WholeView(
        rollout=view.rollout,
        waves=tuple(wave for wave in view.waves if isinstance(wave, Wave)),
        members=tuple(member for member in view.members if isinstance(member, Member)),
    )
