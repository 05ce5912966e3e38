"""Property: whatever a bound caller asks, however hosts are labelled, no answer names a host outside its scope."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from google.protobuf.duration_pb2 import Duration
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tendhost.server.domain.access.scope import Scope
from tendhost.v1 import access_service_pb2, event_service_pb2, rollout_pb2, schedule_pb2
from tendhost.v1 import host_pb2 as host_messages
from tendhost.v1 import host_service_pb2 as hosts
from tendhost.v1 import rollout_service_pb2 as rollouts
from tests.rpc.api import Api
from tests.rpc.scoped import Fleet, bound
from tests.rpc.streams import hello, until
from tests.rpc.test_access import guarded
from tests.unit.engine.world import World

HOSTS = ("qa7z", "qb7z", "qc7z", "qd7z")
"""No name is a part of another one, nor of any word."""
GROUPS, TAGS = ("g1", "g2", "g3"), ("t1", "t2")
REMOVED = None


@dataclass(frozen=True)
class Labels:
    groups: tuple[str, ...]
    tags: tuple[str, ...]


def some(names: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), unique=True).map(tuple)


LABELS = st.builds(Labels, some(GROUPS), some(TAGS))
FIRST = st.builds(Labels, st.just(("g1",)), some(TAGS))
"""Of the first host, which every scope has at the beginning."""
SCOPES = st.builds(
    lambda more, tags: Scope(groups=("g1", *more), any_tags=TAGS if tags else ()),
    some(GROUPS[1:]),
    st.booleans(),
)
CHANGES = st.lists(
    st.tuples(st.sampled_from(HOSTS), st.one_of(LABELS, st.just(REMOVED))), max_size=4
)


@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(first=FIRST, others=st.tuples(LABELS, LABELS, LABELS), scope=SCOPES, changes=CHANGES)
def test_answers_to_a_bound_caller__name_no_host_outside(
    first: Labels,
    others: tuple[Labels, ...],
    scope: Scope,
    changes: list[tuple[str, Labels | None]],
):
    fleet = dict(zip(HOSTS, (first, *others), strict=True))
    asyncio.run(_nothing_is_named(fleet, scope, changes))


async def _nothing_is_named(
    labels: dict[str, Labels], scope: Scope, changes: list[tuple[str, Labels | None]]
) -> None:
    # Labels that no host has, and a scope without hosts, are refused when a token is created.
    scope = replace(
        scope,
        groups=tuple(one for one in scope.groups if any(one in h.groups for h in labels.values())),
        any_tags=tuple(
            one for one in scope.any_tags if any(one in h.tags for h in labels.values())
        ),
    )
    if not _within(scope, labels):
        return
    with TemporaryDirectory() as folder:
        world = World(Path(folder) / "tendhost.db")
        async with world.remembered(), guarded(world, Path(folder)) as (owner, other):
            await _asked_in(world, owner, other, labels, scope, changes)


async def _asked_in(
    world: World,
    owner: Api,
    other: Api,
    labels: dict[str, Labels],
    scope: Scope,
    changes: list[tuple[str, Labels | None]],
) -> None:
    for name, given_labels in labels.items():
        await owner.register(name, groups=given_labels.groups, tags=given_labels.tags)
    admin = access_service_pb2.ROLE_ADMIN
    metadata = await bound(owner, admin, groups=scope.groups, any_tags=scope.any_tags)
    fleet = Fleet(world=world, owner=owner, other=other, metadata=metadata, fakes={})
    begun = await _begun(fleet)
    known = _within(scope, labels)
    for name, changed in changes:
        await _change(owner, name, labels, changed)
        known |= _within(scope, labels)
    outside = set(HOSTS) - _within(scope, labels)
    for method, fields in _questions(begun):
        answer = (await fleet.call(method, **fields)).SerializeToString()
        assert not [name for name in outside if name.encode() in answer], method
    await _events_are_seen(fleet, outside, known)


async def _events_are_seen(fleet: Fleet, outside: set[str], known: set[str]) -> None:
    reached = (await fleet.world.store.log_bounds()).current
    for how in ({"resume_after": 0}, {"snapshot": True}):
        request = event_service_pb2.WatchEventsRequest(**how)
        stream = fleet.other.events.WatchEvents(request, metadata=fleet.metadata)
        await hello(stream)
        if "snapshot" in how:
            message = await stream.read()
            assert not [n for n in outside if n.encode() in message.SerializeToString()]
        else:
            for event in await until(stream, reached):
                named = {n for n in HOSTS if n.encode() in event.SerializeToString()}
                assert not named - known
                gone = event.WhichOneof("body") == "host_unregistered"
                assert gone or not named & outside
        stream.cancel()


async def _begun(fleet: Fleet) -> Mapping[str, str]:
    """A rollout of everybody, and a rollout, a plan and a schedule of the bound caller."""
    spec = rollout_pb2.RolloutSpec(dry_run=True, waves=("1",), delay_between_waves=Duration())
    request = rollouts.StartRolloutRequest(spec=spec)
    everybody = (await fleet.owner.rollouts.StartRollout(request)).rollout.id
    await fleet.world.rollout_ended(everybody)
    service = "/tendhost.v1.RolloutService/"
    own = (await fleet.call(service + "StartRollout", spec=spec)).rollout.id
    await fleet.world.rollout_ended(own)
    plan = (await fleet.call(service + "PlanRollout", spec=spec)).plan.id
    nightly = schedule_pb2.ScheduleSpec(name="nightly", cron="0 3 * * *", rollout=spec)
    await fleet.call("/tendhost.v1.ScheduleService/CreateSchedule", spec=nightly)
    return {"rollout": own, "plan": plan}


def _questions(begun: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    everybody = host_messages.HostFilter(names=["q*"])
    return [
        ("/tendhost.v1.HostService/ListHosts", {}),
        ("/tendhost.v1.HostService/ListHosts", {"filter": everybody}),
        ("/tendhost.v1.HostService/ListGroups", {}),
        ("/tendhost.v1.HostService/ListTags", {}),
        ("/tendhost.v1.HostService/GetCompliance", {"overdue_days": 1}),
        (
            "/tendhost.v1.HostService/ListPendingUpdates",
            {"group_by": hosts.PENDING_GROUPING_HOST},
        ),
        ("/tendhost.v1.OperationService/ListOperations", {}),
        ("/tendhost.v1.RolloutService/ListRollouts", {}),
        ("/tendhost.v1.RolloutService/GetRollout", {"id": begun["rollout"]}),
        ("/tendhost.v1.RolloutService/GetRolloutReport", {"id": begun["rollout"]}),
        ("/tendhost.v1.RolloutService/PlanRollout", {"plan_id": begun["plan"]}),
        ("/tendhost.v1.ScheduleService/ListSchedules", {}),
        ("/tendhost.v1.ScheduleService/GetSchedule", {"name": "nightly"}),
        ("/tendhost.v1.SystemService/GetServerInfo", {}),
    ]


async def _change(owner: Api, name: str, labels: dict[str, Labels], changed: Labels | None) -> None:
    if name not in labels:
        return
    if changed is REMOVED:
        await owner.hosts.UnregisterHost(hosts.UnregisterHostRequest(name=name))
        del labels[name]
        return
    request = hosts.ReconfigureHostRequest(
        name=name,
        config=host_messages.HostConfig(groups=changed.groups, tags=changed.tags),
    )
    request.update_mask.paths.extend(["groups", "tags"])
    await owner.hosts.ReconfigureHost(request)
    labels[name] = changed


def _within(scope: Scope, labels: Mapping[str, Labels]) -> set[str]:
    """The hosts of a scope, said in another way than the server does."""
    return {
        name
        for name, held in labels.items()
        if set(scope.groups) & set(held.groups)
        and (not scope.any_tags or set(scope.any_tags) & set(held.tags))
    }
