"""OperationService: one operation, many of them, waiting for one, following one, stopping one."""

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tendhost.server.store.records import Change, LogChunk
from tendhost.v1 import operation_service_pb2 as pb
from tendhost.v1.operation_pb2 import (
    OPERATION_KIND_CHECK,
    OPERATION_STATUS_CANCELLED,
    OPERATION_STATUS_FAILED,
    OPERATION_STATUS_RUNNING,
    OPERATION_STATUS_SUCCEEDED,
    OPERATION_STATUS_UNSPECIFIED,
    STEP_STATUS_RUNNING,
    Operation,
)
from tests.rpc.api import Api, refusal
from tests.unit.engine.fake_command import Command, Hold
from tests.unit.engine.fake_host import Pending


async def running(api: Api, method: str, command: Command) -> tuple[str, Hold]:
    """An operation that stopped at a command."""
    hold = api.world.fleet.hosts["web1.example.org"].hold(command)
    id = await api.started(method)
    await api.world.reached(hold)
    return id, hold


async def watched(api: Api, id: str, *, offset: int = 0) -> tuple[list[Operation], list[Any]]:
    """Everything that following an operation gives: the operation as it goes, and its log."""
    request = pb.WatchOperationRequest(id=id, log_offset=offset)
    messages = [message async for message in api.operations.WatchOperation(request)]
    assert messages[-1].HasField("operation")
    seen = [m.operation for m in messages if m.HasField("operation")]
    return seen, [m.log for m in messages if m.HasField("log")]


async def test_an_operation_shows_how_far_it_is(api: Api):
    await api.register("web1")
    id, hold = await running(api, "StartCheck", Command.UNITS)
    operation = (await api.operations.GetOperation(pb.GetOperationRequest(id=id))).operation
    assert (operation.kind, operation.status) == (OPERATION_KIND_CHECK, OPERATION_STATUS_RUNNING)
    assert operation.steps[-1].status == STEP_STATUS_RUNNING
    assert not operation.steps[-1].HasField("ended_at")
    assert not operation.HasField("ended_at")
    assert operation.created_by == "ipv4:127.0.0.1"
    hold.released.set()
    ended = await api.ended(id)
    assert ended.HasField("ended_at")
    assert not ended.HasField("problem")


async def test_a_failed_operation_says_why_for_people_and_for_programs(api: Api):
    fake = await api.register("web1")
    fake.reachable = False
    operation = await api.run("StartQuery")
    assert operation.status == OPERATION_STATUS_FAILED
    assert operation.problem.reason == "HOST_UNREACHABLE"
    assert operation.problem.facts["address"] == "web1.example.org"
    assert "connection refused" in operation.problem.message
    assert (await api.host()).status.error == operation.problem.message


@pytest.mark.parametrize(
    "method", ["GetOperation", "WaitOperation", "CancelOperation", "WatchOperation"]
)
async def test_an_operation_that_nobody_knows_is_not_found(api: Api, method: str):
    call = getattr(api.operations, method)(getattr(pb, f"{method}Request")(id="nothing"))
    refused = await refusal(call.read() if method == "WatchOperation" else call)
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "OPERATION_NOT_FOUND")
    assert refused.facts == {"operation": "nothing"}


# --- waiting --------------------------------------------------------------------------------------


async def test_waiting_returns_as_soon_as_the_operation_has_ended(api: Api):
    await api.register("web1")
    id, hold = await running(api, "StartCheck", Command.UNITS)
    request = pb.WaitOperationRequest(id=id, timeout=Duration(seconds=600))
    waits = [asyncio.ensure_future(api.operations.WaitOperation(request)) for _ in range(10)]
    hold.released.set()
    for wait in waits:
        assert (await wait).operation.status == OPERATION_STATUS_SUCCEEDED
    assert (await api.operations.WaitOperation(request)).operation.id == id


async def test_a_wait_that_takes_too_long_is_answered_with_how_far_it_is(api: Api):
    await api.register("web1")
    id, hold = await running(api, "StartCheck", Command.UNITS)
    for timeout in (Duration(), Duration(nanos=20_000_000)):
        request = pb.WaitOperationRequest(id=id, timeout=timeout)
        waited = await api.operations.WaitOperation(request)
        assert waited.operation.status == OPERATION_STATUS_RUNNING
    hold.released.set()
    await api.ended(id)


@pytest.mark.parametrize("timeout", [Duration(seconds=-1), Duration(seconds=601)])
async def test_nobody_waits_longer_than_ten_minutes(api: Api, timeout: Duration):
    request = pb.WaitOperationRequest(id="x", timeout=timeout)
    assert (await refusal(api.operations.WaitOperation(request))).fields == ["timeout"]


# --- following ------------------------------------------------------------------------------------


async def test_following_shows_every_step_then_the_log_then_the_end(api: Api):
    fake = await api.register("web1")
    fake.pending = {"web": Pending(), "db": Pending()}
    id, hold = await running(api, "StartUpdate", Command.UPGRADE)
    following = asyncio.ensure_future(watched(api, id))
    await asyncio.wait((following,), timeout=0)
    hold.released.set()
    await api.ended(id)
    seen, log = await following
    assert seen[0].status == OPERATION_STATUS_RUNNING
    assert seen[-1].status == OPERATION_STATUS_SUCCEEDED
    assert [o.revision for o in seen] == sorted(o.revision for o in seen)
    assert [o.status for o in seen].count(OPERATION_STATUS_SUCCEEDED) == 1
    assert b"Setting up web" in b"".join(part.data for part in log)


async def test_the_log_of_an_operation_that_has_ended_can_be_read_from_any_byte(api: Api):
    fake = await api.register("web1")
    fake.pending = {"web": Pending(), "db": Pending(conffile_kept=True)}
    operation = await api.run("StartUpdate")
    _, parts = await watched(api, operation.id)
    whole = b"".join(part.data for part in parts)
    assert len(whole) == operation.log_size > 100
    for offset in (1, 50, len(whole) - 1):
        seen, rest = await watched(api, operation.id, offset=offset)
        assert b"".join(part.data for part in rest) == whole[offset:]
        assert rest[0].offset == offset
        assert seen == [operation]
    for offset in (len(whole), len(whole) + 1000):
        assert (await watched(api, operation.id, offset=offset))[1] == []


async def test_log__whose_middle_was_left_out_says_so_in_one_line_wherever_it_is_resumed(api: Api):
    await api.register("web1")
    id = (await api.run("StartCheck")).id
    stored = await api.world.store.operation(id)
    begin, end = b"begin", b"the end"
    gap = (len(begin), 1_000_000)
    chunks = [
        LogChunk(operation=id, offset=0, data=begin),
        LogChunk(operation=id, offset=gap[1], data=end),
    ]
    grown = replace(stored, log_size=gap[1] + len(end))
    await api.world.store.commit(Change(events=(), operations=(grown,), log=chunks))
    _, parts = await watched(api, id)
    line = "\n[… 999,995 bytes omitted …]\n".encode()
    assert [(part.offset, part.data) for part in parts] == [
        (0, begin),
        (gap[1] - len(line), line),
        (gap[1], end),
    ]
    for former in parts:
        _, rest = await watched(api, id, offset=former.offset + len(former.data))
        assert rest == parts[parts.index(former) + 1 :]
    for offset in (gap[0] + 1, gap[1] - 3):
        _, (told, last) = await watched(api, id, offset=offset)
        assert offset <= told.offset
        assert told.offset + len(told.data) == last.offset == gap[1]


async def test_watch__is_sent_the_log_and_the_progress_without_an_event(api: Api):
    fake = await api.register("web1")
    fake.pending = {"web": Pending()}
    id, hold = await running(api, "StartUpdate", Command.UPGRADE)
    call = api.operations.WatchOperation(pb.WatchOperationRequest(id=id))
    first = await call.read()
    fake.jobs.say("a word\n")
    fake.jobs.tell("pmstatus:web:12.5:Unpacking web\n")

    async def stored() -> bool:
        return (await api.world.store.operation(id)).progress is not None

    await api.world.until(stored)
    log, progress = b"", None
    async with asyncio.timeout(20):
        while log != b"a word\n" or progress is None:
            message = await call.read()
            log += message.log.data
            if message.operation.HasField("progress"):
                progress = message.operation.progress
    assert (progress.package, progress.phase) == ("web", "unpack")
    assert first.operation.id == id
    hold.released.set()
    assert not (await api.ended(id)).HasField("progress")


async def test_a_negative_offset_is_an_invalid_field(api: Api):
    call = api.operations.WatchOperation(pb.WatchOperationRequest(id="x", log_offset=-1))
    assert (await refusal(call.read())).fields == ["log_offset"]


# The host that is played in the same loop makes 6,000 packages in one turn.
@pytest.mark.long_turns
async def test_a_long_log_comes_in_parts_without_a_gap(api: Api):
    fake = await api.register("web1")
    fake.installed |= {f"p{number}": "1" for number in range(6000)}
    fake.pending = {f"p{number}": Pending() for number in range(6000)}
    operation = await api.run("StartUpdate")
    _, parts = await watched(api, operation.id)
    assert len(parts) > 2
    position = 0
    for part in parts:
        assert part.offset == position
        assert len(part.data) <= 64 * 1024
        position += len(part.data)
    assert position == operation.log_size


# --- stopping -------------------------------------------------------------------------------------


async def test_a_cancellation_says_when_it_takes_effect(api: Api):
    fake = await api.register("web1")
    fake.pending = {"web": Pending()}
    id, hold = await running(api, "StartUpdate", Command.UPGRADE)
    response = await api.operations.CancelOperation(pb.CancelOperationRequest(id=id))
    assert "never interrupted" in response.message
    hold.released.set()
    assert (await api.ended(id)).status == OPERATION_STATUS_CANCELLED
    refused = await refusal(api.operations.CancelOperation(pb.CancelOperationRequest(id=id)))
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.reason == "OPERATION_ENDED"
    assert refused.facts["status"] == "cancelled"


# --- listing --------------------------------------------------------------------------------------


async def test_operations_are_listed_newest_first_by_host_and_by_status(api: Api):
    await api.register("web1")
    (await api.register("web2")).reachable = False
    ids = []
    for name in ("web1", "web2", "web1"):
        api.world.clock.advance(Duration(seconds=1).ToTimedelta())
        ids.append((await api.run("StartCheck", name)).id)

    async def listed(**how: Any) -> list[str]:
        response = await api.operations.ListOperations(pb.ListOperationsRequest(**how))
        return [operation.id for operation in response.operations]

    assert await listed() == ids[::-1]
    assert await listed(host="web1") == [ids[2], ids[0]]
    assert await listed(statuses=[OPERATION_STATUS_FAILED]) == [ids[1]]
    assert await listed(rollout_id="none") == []
    refused = await refusal(listed(statuses=[OPERATION_STATUS_UNSPECIFIED, 99]))
    assert refused.fields == ["statuses[0]", "statuses[1]"]
