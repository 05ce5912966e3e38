"""RolloutService: started, steered, followed."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tendhost.v1 import rollout_service_pb2 as pb
from tendhost.v1.host_pb2 import HostFilter
from tendhost.v1.rollout_pb2 import (
    ROLLOUT_HOST_STATUS_COMPLETED,
    ROLLOUT_HOST_STATUS_FAILED,
    ROLLOUT_HOST_STATUS_SKIPPED,
    ROLLOUT_STATUS_CANCELLED,
    ROLLOUT_STATUS_COMPLETED,
    ROLLOUT_STATUS_PAUSED,
    ROLLOUT_STATUS_RUNNING,
    Rollout,
    RolloutSpec,
)
from tests.rpc.api import Api, refusal
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending


async def fleet(api: Api, names: str = "abcde") -> dict[str, FakeHost]:
    fakes = {name: await api.register(name, tags=["all"], groups=[name]) for name in names}
    for fake in fakes.values():
        fake.pending = {"web": Pending()}
    return fakes


async def begin(api: Api, **spec: Any) -> Rollout:
    spec.setdefault("delay_between_waves", Duration())
    request = pb.StartRolloutRequest(spec=RolloutSpec(**spec))
    rollout = (await api.rollouts.StartRollout(request)).rollout
    assert isinstance(rollout, Rollout)
    return rollout


async def followed(api: Api, id: str) -> list[Any]:
    return [m async for m in api.rollouts.WatchRollout(pb.WatchRolloutRequest(id=id))]


async def test_a_rollout_without_a_word_is_over_everybody_with_the_defaults(api: Api):
    await fleet(api)
    rollout = (await api.rollouts.StartRollout(pb.StartRolloutRequest())).rollout
    assert (rollout.spec.waves, rollout.spec.delay_between_waves.seconds) == (["2"], 30)
    assert (rollout.wave, rollout.wave_count, rollout.progress.total_hosts) == (1, 3, 5)
    assert rollout.status == ROLLOUT_STATUS_RUNNING
    ended = await api.world.rollout_ended(rollout.id)
    assert ended.progress.completed == 5
    shown = await api.rollouts.GetRollout(pb.GetRolloutRequest(id=rollout.id))
    assert shown.rollout.status == ROLLOUT_STATUS_COMPLETED
    assert [(m.host, m.wave) for m in shown.hosts] == [
        *(("a", 1), ("b", 1), ("c", 2), ("d", 2), ("e", 3))
    ]
    assert all(m.operation_id for m in shown.hosts)


async def test_following_a_rollout_tells_each_change_of_each_host(api: Api):
    fakes = await fleet(api)
    fakes["b"].pending = {"web": Pending(breaks=True)}
    hold = fakes["a"].hold(Command.PREFLIGHT)
    rollout = await begin(api)
    await api.world.reached(hold)
    following = asyncio.ensure_future(followed(api, rollout.id))
    await asyncio.wait((following,), timeout=0)
    hold.released.set()
    await api.world.rollout_ended(rollout.id)
    messages = await following
    assert [m.host for m in messages[0].hosts] == list("abcde")
    last: dict[str, Any] = {}
    for message in messages:
        last.update((m.host, m) for m in message.hosts)
    statuses = {host: m.status for host, m in last.items()}
    done = dict.fromkeys("acde", ROLLOUT_HOST_STATUS_COMPLETED)
    assert statuses == done | {"b": ROLLOUT_HOST_STATUS_FAILED}
    assert "cannot migrate" in last["b"].detail
    assert messages[-1].rollout.status == ROLLOUT_STATUS_COMPLETED
    assert messages[-1].rollout.HasField("ended_at")
    revisions = [m.rollout.revision for m in messages]
    assert revisions == sorted(revisions)


async def test_following_a_rollout_that_is_over_shows_it_once(api: Api):
    await fleet(api)
    rollout = await begin(api, dry_run=True)
    await api.world.rollout_ended(rollout.id)
    (message,) = await followed(api, rollout.id)
    assert len(message.hosts) == 5


async def test_whoever_follows_a_rollout_hears_of_it_only_when_it_has_changed(api: Api):
    fakes = await fleet(api, "a")
    hold = fakes["a"].hold(Command.QUERY)
    rollout = await begin(api, waves=("1",))
    await api.world.reached(hold)  # its operation has told of several steps by now
    stream = api.rollouts.WatchRollout(pb.WatchRolloutRequest(id=rollout.id))
    first = await stream.read()
    second = asyncio.ensure_future(stream.read())
    await asyncio.wait((second,), timeout=0.3)
    assert not second.done()
    hold.released.set()
    await api.world.rollout_ended(rollout.id)
    revisions = [first.rollout.revision, (await second).rollout.revision]
    while (message := await stream.read()) != grpc.aio.EOF:  # type: ignore[attr-defined]
        revisions.append(message.rollout.revision)
    assert revisions == sorted(set(revisions))


async def test_whoever_follows_a_cancelled_rollout_hears_of_every_host_that_is_skipped(api: Api):
    fakes = await fleet(api)
    hold = fakes["a"].hold(Command.PREFLIGHT)
    rollout = await begin(api, waves=("1",))
    await api.world.reached(hold)
    stream = api.rollouts.WatchRollout(pb.WatchRolloutRequest(id=rollout.id))
    first = await stream.read()
    last = {m.host: m.status for m in first.hosts}
    await api.rollouts.CancelRollout(pb.CancelRolloutRequest(id=rollout.id))
    hold.released.set()
    ended = await api.world.rollout_ended(rollout.id)
    final = first
    while (message := await stream.read()) != grpc.aio.EOF:  # type: ignore[attr-defined]
        last.update((m.host, m.status) for m in message.hosts)
        final = message
    assert final.rollout.status == ROLLOUT_STATUS_CANCELLED
    assert last == {
        "a": ROLLOUT_HOST_STATUS_COMPLETED,
        **dict.fromkeys("bcde", ROLLOUT_HOST_STATUS_SKIPPED),
    }
    assert (ended.progress.completed, ended.progress.skipped) == (1, 4)


async def test_a_rollout_is_paused_resumed_and_cancelled_where_that_is_possible(api: Api):
    fakes = await fleet(api)
    hold = fakes["a"].hold(Command.PREFLIGHT)
    rollout = await begin(api)
    await api.world.reached(hold)
    resume = pb.ResumeRolloutRequest(id=rollout.id)
    refused = await refusal(api.rollouts.ResumeRollout(resume))
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.reason == "INVALID_ROLLOUT_STATUS"
    paused = await api.rollouts.PauseRollout(pb.PauseRolloutRequest(id=rollout.id))
    assert paused.rollout.status == ROLLOUT_STATUS_PAUSED
    listed = await api.rollouts.ListRollouts(
        pb.ListRolloutsRequest(statuses=[ROLLOUT_STATUS_PAUSED])
    )
    assert [r.id for r in listed.rollouts] == [rollout.id]
    resumed = await api.rollouts.ResumeRollout(resume)
    assert resumed.rollout.status == ROLLOUT_STATUS_RUNNING
    hold.released.set()
    await api.world.rollout_ended(rollout.id)
    cancel = pb.CancelRolloutRequest(id=rollout.id)
    refused = await refusal(api.rollouts.CancelRollout(cancel))
    assert refused.facts == {"rollout": rollout.id, "status": "completed", "wanted": "cancelled"}


async def test_a_filter_that_selects_nobody_is_no_rollout(api: Api):
    await fleet(api)
    spec = RolloutSpec(filter=HostFilter(name_prefix="nobody"))
    refused = await refusal(api.rollouts.StartRollout(pb.StartRolloutRequest(spec=spec)))
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.reason == "ROLLOUT_EMPTY"


async def test_a_rollout_is_for_those_that_every_part_of_its_filter_selects(api: Api):
    await fleet(api)
    chosen = HostFilter(all_tags=["all"], groups=["a", "b", "c"], exclude_hosts=["b"])
    rollout = await begin(api, filter=chosen, dry_run=True)
    assert rollout.spec.filter == chosen
    await api.world.rollout_ended(rollout.id)
    shown = await api.rollouts.GetRollout(pb.GetRolloutRequest(id=rollout.id))
    assert [m.host for m in shown.hosts] == ["a", "c"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (RolloutSpec(waves=("0",)), "spec.waves[0]"),
        (RolloutSpec(waves=("1000000",)), "spec.waves[0]"),
        (RolloutSpec(delay_between_waves=Duration(seconds=-1)), "spec.delay_between_waves"),
        (
            RolloutSpec(delay_between_waves=Duration(seconds=604_801)),
            "spec.delay_between_waves",
        ),
        (RolloutSpec(settle=Duration(seconds=604_801)), "spec.settle"),
        (RolloutSpec(approve_waves=True, approvers=["a b"]), "spec.approvers[0]"),
        (RolloutSpec(approvers=["kim"]), "spec"),
    ],
)
async def test_a_rollout_has_its_bounds(api: Api, spec: RolloutSpec, field: str):
    refused = await refusal(api.rollouts.StartRollout(pb.StartRolloutRequest(spec=spec)))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


@pytest.mark.parametrize(
    "method", ["GetRollout", "PauseRollout", "ResumeRollout", "CancelRollout", "WatchRollout"]
)
async def test_a_rollout_that_nobody_knows_is_not_found(api: Api, method: str):
    call = getattr(api.rollouts, method)(getattr(pb, f"{method}Request")(id="nothing"))
    refused = await refusal(call.read() if method == "WatchRollout" else call)
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "ROLLOUT_NOT_FOUND")
