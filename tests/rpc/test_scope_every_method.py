"""Every method for bound callers, with a host outside in every place of its request that can name one."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import field_mask_pb2, message_factory, text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from grpc_status import rpc_status

from tendhost.server.domain.access.roles import CallPermission
from tendhost.server.domain.hosts.host import Duplicate
from tendhost.server.domain.operations.operation import OperationStatus
from tendhost.server.rpc.permissions import PERMISSIONS, REACH, Reach
from tendhost.v1 import event_service_pb2, host_pb2, rollout_pb2, schedule_pb2
from tendhost.v1 import host_service_pb2 as hosts
from tendhost.v1 import selection_service_pb2 as selections
from tests.contract.store.samples import an_operation, change, stored_operation
from tests.rpc.scoped import OUTSIDE, Fleet, described, request_of, scoped_fleet
from tests.rpc.test_scoped_events import labelled
from tests.unit.engine.fake_host import Pending
from tests.unit.engine.world import World

LEFT = "leaver1"
"""It was in the scope, and in the caller's rollout and plan, and has left since."""
MISSING = "absent1"
READS = ("Explain", "Get", "List", "Wait", "Watch")
OURS = [method for method in REACH if method.startswith("/tendhost.v1.")]

HOST_FIELDS = {
    *(
        f"{method.rpartition('/')[2]}Request.name"
        for method in REACH
        if REACH[method] is Reach.HOST and "PolicyService" not in method
    ),
    *("SkipRolloutHostRequest.host", "ListOperationsRequest.host"),
    "GetEffectivePolicyRequest.host",
    *(f"HostFilter.{field}" for field in ("names", "exclude_hosts", "name_prefix")),
}
"""Fields of requests that name hosts."""
LABEL_FIELDS = {
    *(f"HostFilter.{field}" for field in ("groups", "all_tags", "any_tags")),
    *("DisruptionBudget.per_tag", "RolloutStage.tag"),
    *("RolloutDependency.after", "RolloutDependency.before"),
}
OTHER_FIELDS = {
    *("HostFilter.selection", "ScopeOverride.exclude", "ScopeOverride.include"),
    *("DisruptionBudget.limit", "RolloutStage.waves"),
    *(f"RolloutSpec.{field}" for field in ("approvers", "max_failures", "waves")),
    "RolloutSpec.window_override_reason",
    *(f"ScheduleSpec.{field}" for field in ("cron", "name", "rrule", "time_zone")),
}
"""Fields of messages within requests that name neither hosts nor their labels."""

Way = tuple[FieldDescriptor, ...]


def texts(message: Any) -> Iterator[Way]:
    """The way to every field with a text."""
    for field in message.fields:
        if field.cpp_type == field.CPPTYPE_STRING:
            yield (field,)
        elif field.message_type is not None and field.message_type.file.package == "tendhost.v1":
            yield from ((field, *rest) for rest in texts(field.message_type))


def short(field: FieldDescriptor) -> str:
    return field.full_name.removeprefix("tendhost.v1.")


def put(message: Any, path: Way, text: str) -> None:
    """Write a text where the path leads to."""
    for field in path[:-1]:
        inner = getattr(message, field.name)
        message = inner.add() if hasattr(inner, "add") else inner
    last = path[-1].name
    if hasattr(getattr(message, last), "append"):
        getattr(message, last).append(text)
    else:
        setattr(message, last, text)


@dataclass(kw_only=True)
class Own:
    """What the bound caller has made."""

    fleet: Fleet
    operation: str
    rollout: str
    plan: str
    made: int = 0

    def request(self, method: str) -> Any:
        """A valid request about what is the caller's own."""
        request: Any = request_of(method)()
        for field, value in self._fields(method).items():
            setattr(request, field, value)
        name = method.rpartition("/")[2]
        if REACH[method] is Reach.PLAN:
            request.spec.CopyFrom(_spec())
        if name in ("CreateSchedule", "UpdateSchedule"):
            # A name can be used once only.
            self.made += 1
            named = f"s{self.made:03}" if name == "CreateSchedule" else "nightly"
            request.spec.CopyFrom(_schedule(named))
        if name == "UpdateSchedule":
            request.update_mask.CopyFrom(field_mask_pb2.FieldMask(paths=["cron", "rollout"]))
        return request

    def _fields(self, method: str) -> Mapping[str, Any]:
        by_method: dict[str, dict[str, Any]] = {
            "ApproveWave": {"wave": 2},
            "GetCompliance": {"overdue_days": 1},
            "ListPendingUpdates": {"group_by": hosts.PENDING_GROUPING_HOST},
            "RunOsquery": {"sql": "select 1"},
            "SkipRolloutHost": {"host": "web2"},
            "WatchEvents": {"snapshot": True},
        }
        by_reach: dict[Reach, dict[str, Any]] = {
            Reach.HOST: {"name": "web1"},
            Reach.OPERATION: {"id": self.operation},
            Reach.ROLLOUT: {"id": self.rollout},
            Reach.SCHEDULE: {"name": "nightly"},
        }
        name = method.rpartition("/")[2]
        if name == "GetEffectivePolicy":
            return {"host": "web1"}
        return by_reach.get(REACH[method], {}) | by_method.get(name, {})

    async def answer(self, method: str, request: Message) -> tuple[bool, str]:
        """Whether a call succeeds, and the whole of its answers or of its status, as text."""
        stream = self.fleet.other.channel.stream_stream(method, None, None)
        calling = stream(
            iter([request.SerializeToString()]), metadata=self.fleet.metadata, timeout=60
        )
        kind: Any = message_factory.GetMessageClass(described(method).output_type)
        said = ""
        try:
            while (encoded := await calling.read()) != grpc.aio.EOF:  # type: ignore[attr-defined]
                message = kind.FromString(encoded)
                said += text_format.MessageToString(message)
                if getattr(message, "phase", None) == event_service_pb2.WATCH_PHASE_SNAPSHOT_END:
                    calling.cancel()
                    break
        except grpc.aio.AioRpcError as failed:
            status: Any = rpc_status.from_call(failed)  # type: ignore[arg-type]  # it reads what both have
            return False, said + text_format.MessageToString(status)
        return True, said


def _spec() -> rollout_pb2.RolloutSpec:
    return rollout_pb2.RolloutSpec(dry_run=True, waves=("1",), delay_between_waves=Duration())


def _schedule(name: str) -> schedule_pb2.ScheduleSpec:
    return schedule_pb2.ScheduleSpec(name=name, cron="0 3 * * *", rollout=_spec())


@pytest.fixture
async def own(world: World, tmp_path: Path) -> AsyncIterator[Own]:
    """A bound caller with work of its own, among hosts outside that have failed, resemble its own, and are busy."""
    async with scoped_fleet(world, tmp_path) as fleet:
        fleet.fakes[LEFT] = await fleet.owner.register(LEFT, groups=["web"], tags=["prod"])
        for fake in fleet.fakes.values():
            fake.pending = {"web": Pending()}
        fleet.fakes["canary1"].pending = {"web": Pending(breaks=True)}
        operation = (await fleet.owner.run("StartQuery", "web1")).id
        await fleet.owner.run("StartQuery", LEFT)
        await fleet.owner.run("StartUpdate", "canary1")
        service = "/tendhost.v1.RolloutService/"
        rollout = (await fleet.call(service + "StartRollout", spec=_spec())).rollout.id
        await world.rollout_ended(rollout)
        plan = (await fleet.call(service + "PlanRollout", spec=_spec())).plan.id
        create = "/tendhost.v1.ScheduleService/CreateSchedule"
        await fleet.call(create, spec=_schedule("nightly"))
        await labelled(fleet, LEFT, "web-canary")
        alike = tuple(
            Duplicate(host=name, host_key=False, address=False, machine_id=True)
            for name in ("canary1", LEFT)
        )
        host = await world.store.host("web1")
        await world.store.commit(change(hosts=(host.resembling(alike),)))
        running = an_operation("canary2", OperationStatus.RUNNING)
        await stored_operation(world.store, replace(running, started_at=world.clock.now()))
        yield Own(fleet=fleet, operation=operation, rollout=rollout, plan=plan)


_UNLIKE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{22}"
    r'|\b(next_page_token|etag|name): "[^"]*"|\b(seed|revision): \d+|\b(seconds|nanos): \d+'
)
"""Ids, names of new schedules, and what counts on with every change."""


def alike(said: str, name: str) -> str:
    """An answer without what no two answers have in common, and without the name that the caller has given."""
    return _UNLIKE.sub("…", said.replace(name, MISSING))


# --- the table --------------------------------------------------------------------------------------


def test_fields_of_requests__that_name_hosts_are_known():
    """A new field that names a host belongs to HOST_FIELDS, and needs a check in rpc/scoping.py or the servicer."""
    within = {
        short(path[-1])
        for method in OURS
        for path in texts(request_of(method).DESCRIPTOR)
        if len(path) > 1
    }
    own_fields = {name for name in HOST_FIELDS if name.partition(".")[0].endswith("Request")}
    assert within == (HOST_FIELDS - own_fields) | LABEL_FIELDS | OTHER_FIELDS


async def test_host_outside__is_answered_as_one_that_does_not_exist_wherever_it_is_named(own: Own):
    tried = set()
    for method in OURS:
        for path in texts(request_of(method).DESCRIPTOR):
            if short(path[-1]) not in HOST_FIELDS:
                continue
            tried.add(short(path[-1]))
            said = {}
            for name in (MISSING, *OUTSIDE, LEFT):
                request = own.request(method)
                put(request, path, name)
                succeeded, answer = await own.answer(method, request)
                said[name] = succeeded, alike(answer, name)
            for name in (*OUTSIDE, LEFT):
                assert said[name] == said[MISSING], (method, path[-1].name, name)
    assert tried == HOST_FIELDS


async def test_label_that_only_hosts_outside_have__is_answered_as_one_that_no_host_has(own: Own):
    for method in OURS:
        for path in texts(request_of(method).DESCRIPTOR):
            if short(path[-1]) not in LABEL_FIELDS:
                continue
            said = {}
            for label in ("missing", "canary", "web-canary"):
                request = own.request(method)
                put(request, path, label)
                succeeded, answer = await own.answer(method, request)
                said[label] = succeeded, alike(answer, label)
            assert said["canary"] == said["missing"], (method, path[-1].name)
            assert said["web-canary"] == said["missing"], (method, path[-1].name)


async def test_answers__of_every_method_name_no_host_outside(own: Own):
    reads = [method for method in OURS if method.rpartition("/")[2].startswith(READS)]
    # The fake hosts have no osquery, and what it says is the host's own.
    others = [one for one in OURS if one not in reads and not one.endswith("RunOsquery")]
    for method in (*reads, *others):
        succeeded, said = await own.answer(method, own.request(method))
        assert succeeded or method not in reads, (method, said)
        assert not [name for name in (*OUTSIDE, LEFT, "canary") if name in said], (method, said)


async def test_saved_selection__of_hosts_outside_is_answered_as_one_of_hosts_that_do_not_exist(
    own: Own,
):
    for saved, names in (("missing", [MISSING]), ("outside", [*OUTSIDE, LEFT])):
        selection = selections.CreateSelectionRequest(
            name=saved, filter=host_pb2.HostFilter(names=names)
        )
        await own.fleet.owner.selections.CreateSelection(selection)
    tried = 0
    for method in OURS:
        for path in texts(request_of(method).DESCRIPTOR):
            if short(path[-1]) != "HostFilter.selection":
                continue
            tried += 1
            said = []
            for saved in ("missing", "outside"):
                request = own.request(method)
                put(request, path, saved)
                succeeded, answer = await own.answer(method, request)
                said.append((succeeded, alike(answer, saved)))
            assert said[0] == said[1], method
    assert tried


async def test_plan__that_has_a_host_which_has_left_names_it_no_more(own: Own):
    for method in ("PlanRollout", "StartRollout"):
        request: Any = request_of(f"/tendhost.v1.RolloutService/{method}")(plan_id=own.plan)
        _, said = await own.answer(f"/tendhost.v1.RolloutService/{method}", request)
        assert LEFT not in said, method


async def test_methods__that_are_not_for_bound_callers_are_refused_before_their_message_is_read(
    own: Own,
):
    for method, needs in PERMISSIONS.items():
        if method in REACH or needs is CallPermission.NOTHING:
            continue
        said = set()
        for name in (MISSING, *OUTSIDE):
            request: Any = request_of(method)()
            for path in texts(request.DESCRIPTOR):
                if len(path) == 1:
                    put(request, path, name)
            said.add(await own.answer(method, request))
        assert len(said) == 1, method
