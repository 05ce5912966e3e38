"""Calls that wait for one operation or one rollout: woken by what is theirs, and by nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tendhost.server.domain.operations.operation import Operation, OperationStatus
from tendhost.server.rpc.streams import event_feed
from tendhost.server.rpc.streams.signals import Signal
from tendhost.server.store.records import Change, LogChunk
from tendhost.v1 import operation_service_pb2 as pb
from tendhost.v1 import rollout_service_pb2
from tests.contract.store.samples import (
    a_rollout,
    an_operation,
    stored_host,
    stored_operation,
    stored_rollout,
)
from tests.rpc.api import Api, client, refusal
from tests.rpc.open_server import serving
from tests.rpc.streams import happen
from tests.unit.engine.world import World

TEN_MINUTES = Duration(seconds=600)


@pytest.fixture
async def running(api: Api) -> Operation:
    """An operation that nobody drives."""
    await stored_host(api.world.store, "web1")
    return await stored_operation(api.world.store, an_operation("web1"))


async def ends(world: World, operation: Operation) -> None:
    ended = replace(operation, status=OperationStatus.SUCCEEDED, ended_at=world.clock.now())
    await world.store.commit(Change(events=(), operations=(ended,)))


async def test_wait__reads_no_events_however_many_there_are(api: Api, running: Operation):
    await happen(api.world, 3000)
    waiting = asyncio.ensure_future(
        api.operations.WaitOperation(pb.WaitOperationRequest(id=running.id, timeout=TEN_MINUTES))
    )
    stream = api.operations.WatchOperation(pb.WatchOperationRequest(id=running.id))
    assert (await stream.read()).operation.id == running.id
    read = api.world.store.calls["events"]
    await happen(api.world, 3000)
    await ends(api.world, running)
    assert (await waiting).operation.HasField("ended_at")
    assert (await stream.read()).operation.HasField("ended_at")
    assert api.world.store.calls["events"] == read


async def test_watch__hears_of_bytes_of_the_log_that_no_event_tells_of(
    api: Api, running: Operation
):
    stream = api.operations.WatchOperation(pb.WatchOperationRequest(id=running.id))
    await stream.read()
    printed = replace(running, log_size=5)
    chunk = LogChunk(operation=running.id, offset=0, data=b"hello")
    await api.world.store.commit(Change(events=(), operations=(printed,), log=(chunk,)))
    assert (await stream.read()).log.data == b"hello"
    stream.cancel()


async def test_wait__looks_at_what_is_stored_even_when_no_signal_comes(
    api: Api, running: Operation, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(event_feed, "LONGEST_WAIT", timedelta(milliseconds=20))
    monkeypatch.setattr(Signal, "call", lambda _: None)
    request = pb.WaitOperationRequest(id=running.id, timeout=TEN_MINUTES)
    waiting = asyncio.ensure_future(api.operations.WaitOperation(request))
    stream = api.operations.WatchOperation(pb.WatchOperationRequest(id=running.id))
    await stream.read()
    await ends(api.world, running)
    assert (await waiting).operation.HasField("ended_at")
    # Looking where nothing has changed says nothing: the second message is the last.
    assert (await stream.read()).operation.HasField("ended_at")
    assert await stream.read() == grpc.aio.EOF  # type: ignore[attr-defined]


# --- a server that stops --------------------------------------------------------------------------


@asynccontextmanager
async def stopping(world: World) -> AsyncIterator[Api]:
    """A client of a server that has stopped by the end of the context."""
    async with world.running() as engine, serving(engine, "127.0.0.1:0") as address:
        connection = client(world, address)
        yield await connection.__aenter__()


@pytest.mark.parametrize("method", ["WaitOperation", "WatchOperation", "WatchRollout"])
async def test_stop__is_no_end_of_what_is_waited_for(world: World, method: str):
    async with stopping(world) as api:
        call = await _waiting(api, method)
    refused = await refusal(call)
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING")
    assert refused.kinds == ["ErrorInfo", "RetryInfo"]
    await api.channel.close(None)


async def _waiting(api: Api, method: str) -> Any:
    store = api.world.store
    await stored_host(store, "web1")
    operation = await stored_operation(store, an_operation("web1"))
    if method == "WaitOperation":
        waiting = asyncio.ensure_future(
            api.operations.WaitOperation(pb.WaitOperationRequest(id=operation.id))
        )
        await api.operations.GetOperation(pb.GetOperationRequest(id=operation.id))
        return waiting
    if method == "WatchOperation":
        stream = api.operations.WatchOperation(pb.WatchOperationRequest(id=operation.id))
    else:
        rollout = await stored_rollout(store, a_rollout())
        request = rollout_service_pb2.WatchRolloutRequest(id=rollout.id)
        stream = api.rollouts.WatchRollout(request)
    await stream.read()
    return asyncio.ensure_future(stream.read())
