"""Requests that are sent twice: the same id gives the same answer, and the work is done once."""

import asyncio
import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1 import operation_service_pb2, rollout_service_pb2
from tendhost.v1.host_pb2 import HostConfig
from tendhost.v1.operation_pb2 import OPERATION_STATUS_SUCCEEDED
from tests.rpc.api import Api, refusal
from tests.unit.engine.fake_command import Command

ID = "0b3c8a52-6f0e-4d55-9d5f-4f6a7e6d2c10"


def id_of(number: int) -> str:
    return str(uuid.UUID(int=number))


async def answer(api: Api, service: str, request: Message) -> bytes:
    """The bytes that a request is answered with."""
    method = type(request).__name__.removesuffix("Request")
    call = api.channel.unary_unary(
        f"/tendhost.v1.{service}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=bytes,
    )
    return bytes(await call(request))


async def operations(api: Api) -> int:
    request = operation_service_pb2.ListOperationsRequest()
    return len((await api.operations.ListOperations(request)).operations)


async def test_fifty_equal_requests_at_once_start_one_operation_and_get_one_answer(api: Api):
    fake = await api.register("web1")
    request = pb.StartUpdateRequest(name="web1", request_id=ID)
    answers = await asyncio.gather(*(answer(api, "HostService", request) for _ in range(50)))
    assert len(set(answers)) == 1
    assert await operations(api) == 1
    operation = pb.StartUpdateResponse.FromString(answers[0]).operation
    assert (await api.ended(operation.id)).status == OPERATION_STATUS_SUCCEEDED
    assert fake.count(Command.PREFLIGHT) == 1


async def test_the_slower_of_two_equal_requests_is_not_refused_because_of_the_quicker(api: Api):
    fake = await api.register("web1")
    hold = fake.hold(Command.UNITS)
    request = pb.StartCheckRequest(name="web1", request_id=ID)
    looked = api.world.store.hold_after_read("stored_response")
    slower = asyncio.ensure_future(answer(api, "HostService", request))
    await api.world.reached(looked)  # it has seen that nobody asked before
    quicker = await answer(api, "HostService", request)
    await api.world.reached(hold)  # and the host is busy with what the quicker one began
    looked.released.set()
    assert await slower == quicker
    hold.released.set()
    await idle(api)
    assert await operations(api) == 1


async def test_fifty_equal_registrations_at_once_make_one_host(api: Api):
    api.world.fleet.add("web1.example.org")
    config = HostConfig(name="web1", address="web1.example.org")
    request = pb.RegisterHostRequest(config=config, request_id=ID)
    answers = await asyncio.gather(*(answer(api, "HostService", request) for _ in range(50)))
    assert len(set(answers)) == 1


async def test_the_answer_is_the_first_one_however_the_world_has_moved_on(api: Api):
    fake = await api.register("web1")
    request = pb.StartQueryRequest(name="web1", request_id=ID)
    first = await answer(api, "HostService", request)
    await api.ended(pb.StartQueryResponse.FromString(first).operation.id)
    fake.accepts_key = False
    await api.run("StartQuery")
    assert await answer(api, "HostService", request) == first
    assert await operations(api) == 2


def mutations() -> list[tuple[str, Message]]:
    """Every mutation, in an order in which each of them is possible."""
    config = HostConfig(name="web2", address="web2.example.org", tags=["x"])
    mask = {"paths": ["tags"]}
    return [
        ("HostService", pb.RegisterHostRequest(config=config)),
        ("HostService", pb.ReconfigureHostRequest(name="web2", config=config, update_mask=mask)),  # type: ignore[arg-type]
        ("HostService", pb.StartQueryRequest(name="web2")),
        ("HostService", pb.StartUpdateRequest(name="web2")),
        ("HostService", pb.AcknowledgeHostRequest(name="web2")),
        ("HostService", pb.RetryHostRequest(name="web2")),
        ("HostService", pb.StartUpdateRequest(name="web1")),
        ("HostService", pb.StartCheckRequest(name="web1")),
        ("HostService", pb.StartRebootRequest(name="web1")),
        ("HostService", pb.UnregisterHostRequest(name="web3")),
        ("RolloutService", rollout_service_pb2.StartRolloutRequest()),
    ]


async def test_every_mutation_is_answered_the_same_when_it_is_sent_again(api: Api):
    await api.register("web1")
    await api.register("web3")
    api.world.fleet.add("web2.example.org").accepts_key = False
    answered: list[tuple[str, Any, bytes]] = []
    for number, (service, request) in enumerate(mutations(), start=1):
        request.request_id = id_of(number)  # type: ignore[attr-defined]
        answered.append((service, request, await answer(api, service, request)))
        await idle(api)
    rollout = rollout_service_pb2.StartRolloutResponse.FromString(answered[-1][2]).rollout
    await api.world.rollout_ended(rollout.id)
    for service, request, first in answered:
        assert await answer(api, service, request) == first, type(request).__name__


async def idle(api: Api) -> None:
    """Let every operation end."""

    async def all_ended() -> bool:
        return not await api.world.store.unfinished_operations()

    await api.world.until(all_ended)


async def test_steering_a_rollout_twice_with_one_id_is_steering_it_once(api: Api):
    fake = await api.register("web1")
    hold = fake.hold(Command.PREFLIGHT)
    response = await api.rollouts.StartRollout(rollout_service_pb2.StartRolloutRequest())
    id = response.rollout.id
    await api.world.reached(hold)
    steps = [
        rollout_service_pb2.PauseRolloutRequest(id=id, request_id=id_of(1)),
        rollout_service_pb2.ResumeRolloutRequest(id=id, request_id=id_of(2)),
        rollout_service_pb2.CancelRolloutRequest(id=id, request_id=id_of(3)),
    ]
    first = [await answer(api, "RolloutService", step) for step in steps]
    assert [await answer(api, "RolloutService", step) for step in steps] == first
    hold.released.set()
    await api.world.rollout_ended(id)
    assert [await answer(api, "RolloutService", step) for step in steps] == first


async def test_a_cancellation_is_answered_the_same_after_the_operation_has_ended(api: Api):
    fake = await api.register("web1")
    hold = fake.hold(Command.PREFLIGHT)
    id = await api.started("StartUpdate")
    await api.world.reached(hold)
    request = operation_service_pb2.CancelOperationRequest(id=id, request_id=ID)
    first = await answer(api, "OperationService", request)
    hold.released.set()
    await api.ended(id)
    assert await answer(api, "OperationService", request) == first


@pytest.mark.parametrize(
    "other",
    [
        pb.StartUpdateRequest(name="web1", dry_run=True),
        pb.StartUpdateRequest(name="web2"),
        pb.StartQueryRequest(name="web1"),
    ],
)
async def test_an_id_that_is_used_for_something_else_is_refused(api: Api, other: Any):
    await api.register("web1")
    await api.register("web2")
    await api.run("StartUpdate", request_id=ID)
    other = type(other).FromString(other.SerializeToString())
    other.request_id = ID
    refused = await refusal(answer(api, "HostService", other))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (refused.reason, refused.facts) == ("REQUEST_ID_REUSED", {"request_id": ID})
    assert await operations(api) == 1


async def test_a_request_that_was_refused_may_be_sent_again_with_its_id(api: Api):
    request = pb.StartUpdateRequest(name="web1", request_id=ID)
    assert (await refusal(api.hosts.StartUpdate(request))).reason == "HOST_NOT_FOUND"
    await api.register("web1")
    operation = (await api.hosts.StartUpdate(request)).operation
    assert (await api.ended(operation.id)).status == OPERATION_STATUS_SUCCEEDED


async def test_an_id_that_is_no_uuid_is_an_invalid_field(api: Api):
    refused = await refusal(
        api.hosts.StartUpdate(pb.StartUpdateRequest(name="web1", request_id="again"))
    )
    assert refused.fields == ["request_id"]


async def test_id__is_the_same_in_upper_and_lower_case(api: Api):
    request = pb.RegisterHostRequest(
        config=HostConfig(name="web1", address=api.world.fleet.add("web1.example.org").address),
        request_id="5F9D9F6E-2B1C-4C5E-9A52-0D6F3F6F1A11",
    )
    first = await api.hosts.RegisterHost(request)
    request.request_id = request.request_id.lower()
    assert await api.hosts.RegisterHost(request) == first


async def test_without_an_id_each_request_is_one_of_its_own(api: Api):
    await api.register("web1")
    first, second = await api.run("StartCheck"), await api.run("StartCheck")
    assert first.id != second.id
