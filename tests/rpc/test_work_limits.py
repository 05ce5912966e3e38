"""Limits of the work that waits in a server: operations in flight, queues of hosts, and unfinished rollouts."""

from typing import Any

import grpc
from google.rpc import error_details_pb2

from tendhost.server.engine.engine import EngineSettings
from tendhost.server.engine.operations.manager import OperationSettings
from tendhost.v1 import (
    host_pb2,
    host_service_pb2,
    operation_service_pb2,
    rollout_pb2,
    rollout_service_pb2,
)
from tests.rpc.api import Refusal, refusal, served
from tests.unit.engine.fake_command import Command

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def settings(*, rollouts: int = 100, **operations: Any) -> EngineSettings:
    return EngineSettings(operations=OperationSettings(**operations), unfinished_rollouts=rollouts)


def told(refused: Refusal) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """What a refusal says; it has to say when to try again."""
    assert refused.detail(error_details_pb2.RetryInfo).retry_delay.seconds > 0
    return refused.code, refused.reason, refused.facts


def query(name: str, **how: Any) -> Any:
    return host_service_pb2.StartQueryRequest(name=name, **how)


async def test_operations__are_refused_while_as_many_as_may_be_are_unfinished(world):
    async with served(world, settings(in_flight=2)) as api:
        hosts = [await api.register(name) for name in ("web1", "web2", "web3")]
        holds = [host.hold(Command.QUERY) for host in hosts]
        ids = [await api.started("StartQuery", name) for name in ("web1", "web2")]
        refused = await refusal(api.hosts.StartQuery(query("web3")))
        assert told(refused) == (EXHAUSTED, "TOO_MANY_OPERATIONS", {"limit": "2"})
        assert (await api.host("web3")).status.state == host_pb2.HOST_STATE_IDLE
        # What is queued does not count, and needs no place before it starts.
        queued = await api.started("StartQuery", "web2", queue=True)
        for hold in holds:
            hold.released.set()
        for id in (*ids, queued):
            await api.ended(id)
        await api.run("StartQuery", "web3")


async def test_repeated_request__gets_its_answer_even_while_no_further_one_would_be_accepted(world):
    async with served(world, settings(in_flight=1)) as api:
        hold = (await api.register("web1")).hold(Command.QUERY)
        request = query("web1", request_id="5f9d9f6e-2b1c-4c5e-9a52-0d6f3f6f1a11")
        first = await api.hosts.StartQuery(request)
        assert (await api.hosts.StartQuery(request)).operation.id == first.operation.id
        hold.released.set()
        await api.ended(first.operation.id)


async def test_queue__of_a_host_is_bounded_and_those_of_others_are_not_affected(world):
    async with served(world, settings(queued_per_host=2)) as api:
        holds = [(await api.register(name)).hold(Command.QUERY) for name in ("web1", "web2")]
        for name in ("web1", "web2"):
            await api.started("StartQuery", name)
        queued = [await api.started("StartQuery", "web1", queue=True) for _ in range(2)]
        refused = await refusal(api.hosts.StartQuery(query("web1", queue=True)))
        assert told(refused) == (EXHAUSTED, "TOO_MANY_QUEUED", {"host": "web1", "limit": "2"})
        await api.started("StartQuery", "web2", queue=True)
        cancel = operation_service_pb2.CancelOperationRequest(id=queued[0])
        await api.operations.CancelOperation(cancel)
        last = await api.started("StartQuery", "web1", queue=True)
        for hold in holds:
            hold.released.set()
        await api.ended(last)


def start(**how: Any) -> Any:
    spec = rollout_pb2.RolloutSpec(waves=["rest"])
    return rollout_service_pb2.StartRolloutRequest(spec=spec, **how)


async def test_rollouts__are_refused_while_as_many_as_may_be_are_unfinished(world):
    async with served(world, settings(rollouts=1)) as api:
        hold = (await api.register("web1")).hold(Command.QUERY)
        first = (await api.rollouts.StartRollout(start())).rollout
        await api.rollouts.PauseRollout(rollout_service_pb2.PauseRolloutRequest(id=first.id))
        refused = await refusal(api.rollouts.StartRollout(start()))
        assert told(refused) == (EXHAUSTED, "TOO_MANY_ROLLOUTS", {"limit": "1"})
        hold.released.set()
        await api.rollouts.CancelRollout(rollout_service_pb2.CancelRolloutRequest(id=first.id))
        await world.rollout_ended(first.id)
        await api.rollouts.StartRollout(start())
