"""Servers with several addresses, such as replicas: the client goes on with the next one, and stays with it."""

from collections.abc import AsyncIterator, Iterator

import grpc
import pytest

from tendhost.client import Client, ServerUnavailable, ServerUnreachable
from tendhost.v1 import host_service_pb2
from tests.contract.client import messages
from tests.contract.client.messages import batch, hello
from tests.contract.client.mock_server import LOST, Hold, MockServer, Refused

AWAY = Refused(code=grpc.StatusCode.UNAVAILABLE, reason="STORE_UNAVAILABLE")
BROKEN = Refused(code=grpc.StatusCode.INTERNAL, message="Received RST_STREAM with error code 2")
"""How a proxy ends a call when the server behind it is gone."""
LATE = Refused(code=grpc.StatusCode.DEADLINE_EXCEEDED)


@pytest.fixture
def other() -> Iterator[MockServer]:
    with MockServer() as other:
        yield other


@pytest.fixture
async def client(
    server: MockServer, other: MockServer, pauses: list[float]
) -> AsyncIterator[Client]:
    for each in (server, other):
        each.answer("GetHost", host_service_pb2.GetHostResponse(host=messages.host()))
    async with Client(f"{server.address},{other.address}") as client:
        yield client


def asked(*servers: MockServer) -> list[int]:
    return [len(each.requests("GetHost")) for each in servers]


async def test_call__goes_to_the_first_address_that_answers(server, other, client):
    await client.get_host("web1")
    assert asked(server, other) == [1, 0]


@pytest.mark.parametrize("answer", [LOST, AWAY, BROKEN])
async def test_call__without_an_answer_is_repeated_elsewhere_at_once(
    server, other, client, pauses, answer
):
    server.answer("GetHost", answer)
    for _ in range(3):
        await client.get_host("web1")
    assert asked(server, other) == [1, 3]
    assert not any(pauses)


async def test_call__to_an_address_where_nobody_listens_is_repeated_elsewhere(
    server, other, client, pauses
):
    server.stop()
    await client.get_host("web1")
    await client.get_host("web1")
    assert asked(server, other) == [0, 2]
    assert not any(pauses)


async def test_call__that_took_too_long_is_not_repeated_and_the_next_one_goes_elsewhere(
    server, other, client
):
    server.answer("GetHost", LATE)
    with pytest.raises(Exception, match="refused"):
        await client.get_host("web1")
    await client.get_host("web1")
    assert asked(server, other) == [1, 1]


async def test_call__that_nobody_answers_names_the_address_that_was_asked_last(
    server, other, client, pauses
):
    server.stop()
    other.stop()
    with pytest.raises(ServerUnreachable, match=f"no server answers at {other.address}"):
        await client.get_host("web1")
    assert [bool(pause) for pause in pauses] == [False, True, False, True, False, True, False]


async def test_call__that_is_refused_is_repeated_nowhere(server, other, client):
    server.answer("GetHost", Refused(code=grpc.StatusCode.NOT_FOUND, reason="HOST_NOT_FOUND"))
    with pytest.raises(Exception, match="refused"):
        await client.get_host("web1")
    assert asked(server, other) == [1, 0]


async def test_stream__that_breaks_goes_on_at_another_address(server, other, client):
    server.stream("WatchEvents", [hello(41), batch(42), LOST])
    other.stream("WatchEvents", [hello(43), batch(43), Hold()])
    stream = client.events()
    assert [(await anext(aiter(stream))).revision for _ in range(2)] == [42, 43]
    (request,) = other.requests("WatchEvents")
    assert (request.resume_after, request.log_id) == (42, "log1")


async def test_stream__of_a_server_without_its_store_goes_on_at_another_address(
    server, other, client
):
    server.stream("WatchEvents", [AWAY])
    other.stream("WatchEvents", [hello(4), batch(5), Hold()])
    assert (await anext(aiter(client.events()))).revision == 5


async def test_several_addresses__are_taken_from_the_environment(
    server, other, pauses, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TENDHOST_SERVER", f"{server.address},{other.address}")
    server.stop()
    other.answer("GetHost", AWAY)
    async with Client() as client:
        with pytest.raises((ServerUnavailable, ServerUnreachable)):
            await client.get_host("web1")
    assert asked(other)[0] > 1
