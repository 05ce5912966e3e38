"""An operation in hand: waited for, watched, read, cancelled, through everything that a server does."""

import asyncio
import uuid

import grpc
import pytest

from tendhost.client import (
    Client,
    LogChunk,
    NotFound,
    OperationStatus,
    ServerUnreachable,
)
from tendhost.v1 import host_service_pb2, operation_service_pb2
from tests.contract.client import messages
from tests.contract.client.messages import logged, operation, waited, watched
from tests.contract.client.mock_server import LOST, STOPPING, Hold, Refused

GONE = Refused(code=grpc.StatusCode.NOT_FOUND, reason="OPERATION_NOT_FOUND")


@pytest.fixture
async def handle(server, client):
    begun = host_service_pb2.StartUpdateResponse(operation=operation())
    server.answer("StartUpdate", begun)
    return await client.update("web1")


# --- wait -----------------------------------------------------------------------------------------


async def test_wait_asks_again_until_the_operation_has_ended(server, handle, pauses):
    server.answer(
        "WaitOperation",
        waited(operation()),
        waited(operation()),
        waited(operation("SUCCEEDED", update=messages.upgraded())),
    )
    ended = await handle.wait()
    assert ended.succeeded
    assert ended is handle.latest
    assert [p.name for p in ended.update.packages] == ["libc6"]
    asked = server.requests("WaitOperation")
    assert [(r.id, r.timeout.seconds) for r in asked] == [("op1", 60)] * 3
    assert server.calls["WaitOperation"][0].seconds > 60
    # A server that is stopping answers at once: it must not be asked as fast as it answers.
    assert len(pauses) == 2
    assert all(pause > 0 for pause in pauses)


async def test_failed_operation_is_a_result_and_not_an_error(server, handle):
    problem = messages.problem("disk full", "DISK_FULL")
    server.answer("WaitOperation", waited(operation("FAILED", problem=problem)))
    ended = await handle.wait()
    assert (ended.status, ended.problem.reason) == (OperationStatus.FAILED, "DISK_FULL")
    assert not ended.succeeded


async def test_operation_that_has_ended_is_not_waited_for(server, client):
    ended = operation_service_pb2.GetOperationResponse(operation=operation("CANCELLED"))
    server.answer("GetOperation", ended)
    handle = await client.operation("op1")
    assert (await handle.wait()).status is OperationStatus.CANCELLED
    assert not server.requests("WaitOperation")


async def test_wait_outlives_answers_that_are_lost(server, handle):
    server.answer("WaitOperation", *([LOST, STOPPING] * 5), waited(operation("SUCCEEDED")))
    assert (await handle.wait()).succeeded


async def test_wait_outlives_a_restart_of_the_server(server):
    begun = host_service_pb2.StartUpdateResponse(operation=operation())
    server.answer("StartUpdate", begun)
    held = Hold()
    server.answer("WaitOperation", held, waited(operation("SUCCEEDED")))
    async with Client(server.address) as client:
        handle = await client.update("web1")
        waiting = asyncio.create_task(handle.wait())
        await asyncio.to_thread(server.wait_for_call, "WaitOperation")
        await asyncio.to_thread(server.restart)
        assert (await waiting).succeeded
    assert len(server.requests("WaitOperation")) == 2


async def test_wait_that_takes_too_long_says_that_the_operation_goes_on(server, handle):
    server.answer("WaitOperation", waited(operation()))
    with pytest.raises(TimeoutError, match=r"op1 has not ended within 0\.1 s; it goes on"):
        await handle.wait(timeout=0.1)
    assert not handle.latest.ended


async def test_wait_gives_up_when_no_server_comes_back(server, pauses):
    begun = host_service_pb2.StartUpdateResponse(operation=operation())
    server.answer("StartUpdate", begun)
    async with Client(server.address, patience_seconds=0) as client:
        handle = await client.update("web1")
        server.stop()
        with pytest.raises(ServerUnreachable):
            await handle.wait()


async def test_wait_for_an_operation_that_nobody_knows_fails(server, handle):
    server.answer("WaitOperation", GONE)
    with pytest.raises(NotFound):
        await handle.wait()


# --- watch and log --------------------------------------------------------------------------------


async def test_watch_goes_on_in_the_log_where_it_was_cut(server, handle):
    server.stream(
        "WatchOperation",
        [watched(operation()), logged(0, b"Unpacking"), LOST],
        [watched(operation()), logged(9, b" libc6\n"), STOPPING],
        [
            watched(operation()),
            logged(16, b"done\n"),
            watched(operation("SUCCEEDED", log_size=21)),
        ],
    )
    items = [item async for item in handle.watch()]
    log = b"".join(item.data for item in items if isinstance(item, LogChunk))
    assert log == b"Unpacking libc6\ndone\n"
    assert items[-1].succeeded
    assert [r.log_offset for r in server.requests("WatchOperation")] == [0, 9, 16]


async def test_watch_ends_with_the_operation(server, handle):
    server.stream("WatchOperation", [watched(operation()), watched(operation("FAILED"))])
    assert [str(item.status) async for item in handle.watch()] == ["running", "failed"]
    assert len(server.requests("WatchOperation")) == 1


async def test_watch_of_an_operation_that_nobody_knows_fails(server, handle):
    server.stream("WatchOperation", [GONE])
    with pytest.raises(NotFound):
        await anext(handle.watch())


async def test_log_is_read_up_to_what_there_is(server, handle):
    running = operation(log_size=12)
    server.answer("GetOperation", operation_service_pb2.GetOperationResponse(operation=running))
    server.stream(
        "WatchOperation", [watched(running), logged(0, b"first "), logged(6, b"second"), Hold()]
    )
    assert b"".join([part async for part in handle.log()]) == b"first second"


async def test_log_that_is_empty_is_not_waited_for(server, handle):
    server.answer("GetOperation", operation_service_pb2.GetOperationResponse(operation=operation()))
    assert [part async for part in handle.log()] == []


async def test_followed_log_ends_with_the_operation(server, handle):
    server.stream(
        "WatchOperation",
        [watched(operation()), logged(0, b"a"), logged(1, b"b"), watched(operation("SUCCEEDED"))],
    )
    assert [part async for part in handle.log(follow=True)] == [b"a", b"b"]


async def test_watches_have_a_connection_of_their_own(server, handle):
    server.stream("WatchOperation", [watched(operation("SUCCEEDED"))])
    async for _ in handle.watch():
        pass
    (watch,) = server.calls["WatchOperation"]
    (call,) = server.calls["StartUpdate"]
    assert watch.peer != call.peer


async def test_watch_that_is_left_is_cancelled_on_the_server(server, handle):
    over = Hold()
    server.stream("WatchOperation", [watched(operation()), over])
    items = handle.watch()
    await anext(items)
    await items.aclose()
    await asyncio.to_thread(over.over.wait, 20)
    assert over.over.is_set()


# --- cancel ---------------------------------------------------------------------------------------


async def test_cancelling_says_when_it_takes_effect_and_happens_once(server, handle):
    answer = operation_service_pb2.CancelOperationResponse(
        operation=operation("CANCELLED"), message="it has not begun, so it is cancelled at once"
    )
    server.answer("CancelOperation", LOST, answer)
    assert "at once" in await handle.cancel()
    assert handle.latest.status is OperationStatus.CANCELLED
    first, second = server.requests("CancelOperation")
    assert first.request_id == second.request_id
    assert uuid.UUID(first.request_id).version == 4
