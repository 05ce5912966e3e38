"""Calls whose message does not arrive: they are ended, and there are not too many of them."""

from datetime import timedelta
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tendhost.server.rpc import unread_calls
from tendhost.server.rpc.unread_calls import LONGEST, LOOK_EVERY, UnreadCalls
from tests.rpc.api import refusal, refusal_of
from tests.rpc.test_access import bearer
from tests.rpc.test_call_limits import LIST, Door, door, until

FEW = 3
METHODS = {
    "a unary call": "/tendhost.v1.HostService/ListHosts",
    "a mutation": "/tendhost.v1.HostService/StartUpdate",
    "a stream": "/tendhost.v1.EventService/WatchEvents",
    "health": "/grpc.health.v1.Health/Check",
    "a stream of health": "/grpc.health.v1.Health/Watch",
    "reflection": "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
}


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch) -> list[UnreadCalls]:
    """What reads the messages of each server that a test starts."""
    made: list[UnreadCalls] = []
    make = UnreadCalls.__init__

    def remembered(self: UnreadCalls, **how: Any) -> None:
        make(self, **how)
        made.append(self)

    monkeypatch.setattr(UnreadCalls, "__init__", remembered)
    return made


def begun(at: Door, method: str, metadata: Any = ()) -> Any:
    """A call of which only the metadata is sent."""
    call: Any = at.other.channel.stream_stream(method, None, None)
    return call(metadata=metadata)


async def later(at: Door, unread: list[UnreadCalls], time: timedelta) -> None:
    """Let time pass until every look that is due in it has been taken."""
    for _ in range(time // LOOK_EVERY):
        await until(lambda: any(not waking.done() for _, _, waking in at.clock._sleepers))
        at.clock.advance(LOOK_EVERY)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("known", [True, False])
async def test_call__without_a_message_is_ended(world, tmp_path, unread, method, known):
    async with door(world, tmp_path) as at:
        call = begun(at, method, at.ci if known else bearer("x"))
        await until(lambda: unread[0]._unread)
        await later(at, unread, LONGEST + LOOK_EVERY)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        await until(lambda: not unread[0]._unread)
        await at.other.hosts.ListHosts(LIST, metadata=at.ci)  # on the same connection
    refused = refusal_of(raised.value)
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "MESSAGE_OVERDUE",
    )
    assert refused.facts == {"seconds": "30"}
    assert not unread[0]._of


async def test_message__that_comes_late_but_in_time_is_answered(world, tmp_path, unread):
    async with door(world, tmp_path) as at:
        call = begun(at, METHODS["a unary call"], at.ci)
        await until(lambda: unread[0]._unread)
        await later(at, unread, LONGEST - LOOK_EVERY)
        await call.write(LIST.SerializeToString())
        assert isinstance(await call.read(), bytes)


async def test_calls__without_their_message_are_refused_beyond_a_number_for_each_address(
    world, tmp_path, unread, monkeypatch
):
    monkeypatch.setattr(unread_calls, "MOST", FEW)
    async with door(world, tmp_path) as at:
        calls = [begun(at, METHODS["a unary call"], bearer("x")) for _ in range(FEW)]
        await until(lambda: len(unread[0]._unread) == FEW)
        refused = await refusal(begun(at, METHODS["a unary call"], bearer("x")).read())
        await at.owner.hosts.ListHosts(LIST)  # the owner's socket has another address
        calls[0].cancel()
        await until(lambda: len(unread[0]._unread) < FEW)
        await at.other.hosts.ListHosts(LIST, metadata=at.ci)
    assert (refused.reason, refused.facts["limit"]) == ("TOO_MANY_CALLS", str(FEW))
    assert refused.facts["principal"] == "ipv4:127.0.0.1"


async def test_clients_that_go_away__leave_nothing_behind(world, tmp_path, unread):
    async with door(world, tmp_path) as at:
        calls = [begun(at, method, at.ci) for method in METHODS.values()]
        await until(lambda: len(unread[0]._unread) == len(METHODS))
        for call in calls:
            call.cancel()
        await until(lambda: not unread[0]._unread)
        assert not unread[0]._of


async def test_health__is_answered_as_before(world, tmp_path):
    async with door(world, tmp_path) as at:
        health = health_pb2_grpc.HealthStub(at.other.channel)
        request = health_pb2.HealthCheckRequest()
        assert (await health.Check(request)).status == 1
        watch = health.Watch(request)
        assert (await watch.read()).status == 1
        empty = begun(at, METHODS["health"])
        await empty.done_writing()
        refused = await refusal(empty.read())
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_ARGUMENT",
    )
