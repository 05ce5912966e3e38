"""Rollouts and schedules of callers that are bound to hosts: they reach no further, now or later."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import field_mask_pb2
from google.protobuf.duration_pb2 import Duration

from tendhost.server.domain.rollouts.rollout import Rollout
from tendhost.server.rpc.permissions import REACH, Reach
from tendhost.v1 import access_service_pb2, host_pb2, rollout_pb2, schedule_pb2
from tendhost.v1 import host_service_pb2 as hosts
from tendhost.v1 import rollout_service_pb2 as pb
from tendhost.v1 import schedule_service_pb2 as schedules
from tests.rpc.api import Refusal, refusal
from tests.rpc.scoped import CANARY, OUTSIDE, Fleet, bound, request_of, scoped_fleet
from tests.rpc.test_scoped_events import labelled
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.world import World

SERVICE = "/tendhost.v1.RolloutService/"
SCHEDULES = "/tendhost.v1.ScheduleService/"
OPERATOR = access_service_pb2.ROLE_OPERATOR


@pytest.fixture
async def fleet(world: World, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with scoped_fleet(world, tmp_path) as fleet:
        for fake in fleet.fakes.values():
            fake.pending = {"web": Pending()}
        yield fleet


def spec(**how: Any) -> rollout_pb2.RolloutSpec:
    return rollout_pb2.RolloutSpec(**{"delay_between_waves": Duration(), "waves": ("1",), **how})


async def begin(fleet: Fleet, **how: Any) -> Any:
    return (await fleet.call(SERVICE + "StartRollout", spec=spec(**how))).rollout


async def begin_unbound(fleet: Fleet, **how: Any) -> str:
    request = pb.StartRolloutRequest(spec=spec(**how))
    return str((await fleet.owner.rollouts.StartRollout(request)).rollout.id)


async def updated(fleet: Fleet, id: str) -> dict[str, Any]:
    """The hosts of a rollout that has ended, as an unbound caller sees them."""
    await fleet.world.rollout_ended(id)
    shown = await fleet.owner.rollouts.GetRollout(pb.GetRolloutRequest(id=id))
    return {host.host: host for host in shown.hosts}


def another(id: str) -> str:
    """An id that does not exist, as long as one that does."""
    return id[:-1] + ("0" if id[-1] != "0" else "1")


def named(reach: Reach) -> list[str]:
    return [method for method, how in REACH.items() if how is reach]


# --- reach ------------------------------------------------------------------------------------------


async def test_rollout__of_a_bound_caller_selects_hosts_of_its_scope_only(fleet: Fleet):
    rollout = await begin(fleet)
    assert list(rollout.bound_to.groups) == ["web"]
    assert set(await updated(fleet, rollout.id)) == {"web1", "web2"}


async def test_host_that_has_left_the_scope__is_skipped_when_its_turn_comes(fleet: Fleet):
    hold = fleet.fakes["web1"].hold(Command.PREFLIGHT)
    rollout = await begin(fleet)
    await fleet.world.reached(hold)
    await labelled(fleet, "web2", "web-canary")
    hold.released.set()
    found = await updated(fleet, rollout.id)
    assert found["web1"].status == rollout_pb2.ROLLOUT_HOST_STATUS_COMPLETED
    assert found["web2"].status == rollout_pb2.ROLLOUT_HOST_STATUS_SKIPPED
    assert "labels have changed" in found["web2"].detail


async def test_host_that_has_left_the_scope__is_shown_no_more_in_its_rollout(fleet: Fleet):
    fleet.fakes["web2"].pending = {"web": Pending(breaks=True)}
    rollout = await begin(fleet, max_failures="0")

    async def halted() -> bool:
        stored = await fleet.world.store.rollout(rollout.id)
        return isinstance(stored, Rollout) and stored.halt is not None

    await fleet.world.until(halted)
    before = await fleet.call(SERVICE + "GetRollout", id=rollout.id)
    assert list(before.rollout.halt.hosts) == ["web2"]
    await labelled(fleet, "web2", "web-canary")
    for method in ("GetRollout", "GetRolloutReport", "CancelRollout"):
        answer = await fleet.call(SERVICE + method, id=rollout.id)
        assert b"web2" not in answer.SerializeToString(), method
    listed = await fleet.call(SERVICE + "ListRollouts")
    assert b"web2" not in listed.SerializeToString()
    watch = fleet.other.rollouts.WatchRollout(
        pb.WatchRolloutRequest(id=rollout.id), metadata=fleet.metadata
    )
    async for message in watch:
        assert b"web2" not in message.SerializeToString()
    explained = await fleet.call("/tendhost.v1.HostService/ExplainHost", name="web1")
    assert b"web2" not in explained.SerializeToString()


async def test_pages_of_a_rollout__meet_each_host_of_the_scope_once_and_read_few_rows_apart(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
):
    left = [f"left{number}" for number in range(6)]
    for name in (*left, "zebra"):
        await fleet.owner.register(name, groups=["web"])
    rollout = await begin(fleet, dry_run=True)
    await fleet.world.rollout_ended(rollout.id)
    for name in left:
        await labelled(fleet, name, "web-canary")
    reads, real = 0, fleet.world.store.members

    async def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal reads
        reads += 1
        return await real(*args, **kwargs)

    monkeypatch.setattr(fleet.world.store, "members", counted)
    seen, token = [], ""
    while True:
        page = await fleet.call(
            SERVICE + "GetRollout", id=rollout.id, page_size=1, page_token=token
        )
        seen += [host.host for host in page.hosts]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["web1", "web2", "zebra"]
    assert reads == len(seen)


async def test_retry__reaches_no_host_that_has_left_the_scope(fleet: Fleet):
    for name in ("web1", "web2"):
        fleet.fakes[name].pending = {"web": Pending(breaks=True)}
    rollout = await begin(fleet)
    await fleet.world.rollout_ended(rollout.id)
    await labelled(fleet, "web2", "web-canary")
    again = (await fleet.call(SERVICE + "RetryRollout", id=rollout.id)).rollout
    assert list(again.bound_to.groups) == ["web"]
    assert list(again.spec.filter.names) == ["web1"]
    assert set(await updated(fleet, again.id)) == {"web1"}


async def test_retry_by_an_unbound_caller__stays_within_the_scope_of_the_rollout(fleet: Fleet):
    fleet.fakes["web1"].pending = {"web": Pending(breaks=True)}
    rollout = await begin(fleet)
    await fleet.world.rollout_ended(rollout.id)
    request = pb.RetryRolloutRequest(id=rollout.id)
    again = (await fleet.owner.rollouts.RetryRollout(request)).rollout
    assert list(again.bound_to.groups) == ["web"]


async def test_plan__tells_nothing_of_hosts_outside(fleet: Fleet):
    planned = await fleet.call(SERVICE + "PlanRollout", spec=spec())
    assert planned.plan.host_count == 2
    assert planned.plan.not_selected_count == 0
    assert CANARY not in planned.SerializeToString()
    await labelled(fleet, "web2", "web-canary")
    again = await fleet.call(SERVICE + "PlanRollout", plan_id=planned.plan.id)
    assert b"web2" not in again.SerializeToString()
    changed = await refusal(fleet.call(SERVICE + "StartRollout", plan_id=planned.plan.id))
    assert changed.reason == "FLEET_CHANGED"
    assert "web2" not in str(changed.facts)


async def test_plan_of_a_bound_caller__reaches_no_further_when_an_unbound_one_starts_it(
    fleet: Fleet,
):
    planned = await fleet.call(SERVICE + "PlanRollout", spec=spec())
    request = pb.StartRolloutRequest(plan_id=planned.plan.id)
    started = (await fleet.owner.rollouts.StartRollout(request)).rollout
    assert list(started.bound_to.groups) == ["web"]


async def test_budget_that_hosts_outside_spend__is_told_without_them(fleet: Fleet):
    fleet.fakes["canary1"].pending = {"web": Pending(breaks=True)}
    request = hosts.StartUpdateRequest(name="canary1")
    begun = (await fleet.owner.hosts.StartUpdate(request)).operation.id
    await fleet.world.ended(begun)
    budget = [rollout_pb2.DisruptionBudget(limit="1")]
    planned = await fleet.call(SERVICE + "PlanRollout", spec=spec(max_unavailable=budget))
    assert len(planned.plan.warnings) == 1
    assert CANARY not in planned.SerializeToString()
    rollout = await begin(fleet, max_unavailable=budget)

    async def held_up() -> bool:
        stored = await fleet.world.store.rollout(rollout.id)
        return isinstance(stored, Rollout) and bool(stored.held_up)

    await fleet.world.until(held_up)
    shown = await fleet.call(SERVICE + "GetRollout", id=rollout.id)
    assert shown.rollout.held_up
    assert CANARY not in shown.SerializeToString()
    await fleet.call(SERVICE + "CancelRollout", id=rollout.id)


# --- words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["canary1", "nobody1"])
@pytest.mark.parametrize("method", ["PlanRollout", "StartRollout"])
async def test_name_outside__is_refused_in_the_words_of_one_that_does_not_exist(
    fleet: Fleet, method: str, name: str
):
    asked = spec(filter=host_pb2.HostFilter(names=[name, "web1"], groups=["web"]))
    found = await refusal(fleet.call(SERVICE + method, spec=asked))
    assert found.violations == [("spec.filter.names[0]", f"{name!r} is no host")]


@pytest.mark.parametrize(
    "part", [{"names": ["canary*"]}, {"all_tags": ["canary"]}, {"groups": ["web-canary"]}]
)
async def test_entry_that_only_hosts_outside_have__is_one_that_no_host_has(fleet: Fleet, part: Any):
    asked = spec(filter=host_pb2.HostFilter(**part))
    found = await refusal(fleet.call(SERVICE + "StartRollout", spec=asked))
    assert "no host" in found.violations[0][1]


@pytest.mark.parametrize("method", named(Reach.ROLLOUT))
async def test_rollout_of_another_scope__is_answered_as_one_that_does_not_exist(
    fleet: Fleet, method: str
):
    there = await begin_unbound(fleet)
    fields: dict[str, Any] = {"host": "web1"} if method.endswith("SkipRolloutHost") else {}
    fields |= {"wave": 2} if method.endswith("ApproveWave") else {}
    outside = await fleet.refused(method, id=there, **fields)
    missing = await fleet.refused(method, id=another(there), **fields)
    assert outside.replace(there.encode(), another(there).encode()) == missing
    assert b"ROLLOUT_NOT_FOUND" in missing


@pytest.mark.parametrize("method", named(Reach.PLAN))
async def test_plan_of_another_scope__is_answered_as_one_that_does_not_exist(
    fleet: Fleet, method: str
):
    there = (await fleet.owner.rollouts.PlanRollout(pb.PlanRolloutRequest(spec=spec()))).plan.id
    outside = await fleet.refused(method, plan_id=there)
    missing = await fleet.refused(method, plan_id=another(there))
    assert outside.replace(there.encode(), another(there).encode()) == missing
    assert b"PLAN_NOT_FOUND" in missing


async def test_member_outside__is_answered_as_a_host_that_does_not_exist(fleet: Fleet):
    hold = fleet.fakes["web1"].hold(Command.PREFLIGHT)
    rollout = await begin(fleet)
    await fleet.world.reached(hold)
    await labelled(fleet, "web2", "web-canary")
    method = SERVICE + "SkipRolloutHost"
    outside = await fleet.refused(method, id=rollout.id, host="web2")
    missing = await fleet.refused(method, id=rollout.id, host="web9")
    assert outside.replace(b"web2", b"web9") == missing
    hold.released.set()
    await fleet.world.rollout_ended(rollout.id)


async def test_rollouts__are_listed_for_scopes_that_have_theirs(fleet: Fleet):
    await begin_unbound(fleet)
    wide = await begin(fleet)
    fleet.metadata = await bound(fleet.owner, OPERATOR, groups=["web"], all_tags=["prod"])
    narrow = await begin(fleet)
    listed = await fleet.call(SERVICE + "ListRollouts", page_size=1)
    assert [one.id for one in listed.rollouts] == [narrow.id]
    assert not listed.next_page_token
    assert (await not_found(fleet, wide.id)).reason == "ROLLOUT_NOT_FOUND"
    fleet.metadata = await bound(fleet.owner, OPERATOR, any_tags=["prod"])
    listed = await fleet.call(SERVICE + "ListRollouts")
    assert [one.id for one in listed.rollouts] == [narrow.id]


async def not_found(fleet: Fleet, id: str) -> Refusal:
    return await refusal(fleet.call(SERVICE + "GetRollout", id=id))


# --- schedules --------------------------------------------------------------------------------------


def nightly(**how: Any) -> schedule_pb2.ScheduleSpec:
    return schedule_pb2.ScheduleSpec(
        **{"name": "nightly", "cron": "*/5 * * * *", "rollout": spec(), **how}
    )


async def run(fleet: Fleet) -> str:
    """The rollout of the next run of the schedule, once it has ended."""
    fleet.world.clock.advance(timedelta(minutes=5))

    async def done() -> bool:
        return bool((await fleet.world.store.schedule("nightly")).last_rollout)

    await fleet.world.until(done)
    id = str((await fleet.world.store.schedule("nightly")).last_rollout)
    await fleet.world.rollout_ended(id)
    return id


async def test_schedule__of_a_bound_caller_runs_within_its_scope(fleet: Fleet):
    made = (await fleet.call(SCHEDULES + "CreateSchedule", spec=nightly())).schedule
    assert list(made.bound_to.groups) == ["web"]
    await labelled(fleet, "web2", "web-canary")
    assert set(await updated(fleet, await run(fleet))) == {"web1"}
    shown = await fleet.call(SCHEDULES + "GetSchedule", name="nightly")
    assert CANARY not in shown.SerializeToString()


@pytest.mark.parametrize("bound_caller", [True, False])
async def test_edit_of_a_schedule__never_widens_it(fleet: Fleet, bound_caller: bool):
    await fleet.call(SCHEDULES + "CreateSchedule", spec=nightly())
    changed: dict[str, Any] = {
        "name": "nightly",
        "spec": nightly(rollout=spec(filter=host_pb2.HostFilter(any_tags=["prod"]))),
        "update_mask": field_mask_pb2.FieldMask(paths=["rollout"]),
    }
    if bound_caller:
        await fleet.call(SCHEDULES + "UpdateSchedule", **changed)
    else:
        request = schedules.UpdateScheduleRequest(**changed)
        await fleet.owner.schedules.UpdateSchedule(request)
    assert set(await updated(fleet, await run(fleet))) == {"web1", "web2"}


@pytest.mark.parametrize("method", named(Reach.SCHEDULE))
async def test_schedule_of_another_scope__is_answered_as_one_that_does_not_exist(
    fleet: Fleet, method: str
):
    request = schedules.CreateScheduleRequest(spec=nightly())
    await fleet.owner.schedules.CreateSchedule(request)
    fields: dict[str, Any] = {}
    if "update_mask" in request_of(method).DESCRIPTOR.fields_by_name:
        mask = field_mask_pb2.FieldMask(paths=["cron"])
        fields = {"spec": schedule_pb2.ScheduleSpec(cron="0 4 * * *"), "update_mask": mask}
    outside = await fleet.refused(method, name="nightly", **fields)
    missing = await fleet.refused(method, name="another", **fields)
    assert outside.replace(b"nightly", b"another") == missing
    assert b"SCHEDULE_NOT_FOUND" in missing
    assert not (await fleet.call(SCHEDULES + "ListSchedules")).schedules


# --- explanations -----------------------------------------------------------------------------------


async def test_explanation__tells_of_no_rollout_of_another_scope(fleet: Fleet):
    others = host_pb2.HostFilter(names=list(OUTSIDE))
    await fleet.world.rollout_ended(await begin_unbound(fleet, filter=others))
    there = await begin_unbound(fleet)
    await fleet.world.rollout_ended(there)
    own = await begin(fleet)
    await fleet.world.rollout_ended(own.id)
    request = hosts.ExplainHostRequest(name="web1")
    everything = (await fleet.owner.hosts.ExplainHost(request)).SerializeToString()
    assert there.encode() in everything
    explained = await fleet.call("/tendhost.v1.HostService/ExplainHost", name="web1")
    assert CANARY not in explained.SerializeToString()
    kinds = {reason.kind for reason in explained.reasons}
    assert hosts.REASON_KIND_NOT_SELECTED not in kinds
