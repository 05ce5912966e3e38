"""Limits of calls through a real channel: what is too much waits or is refused, and hurts no other caller."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tendhost.server.domain.access.call_limits import CALL_COST, CallLimits, Rate
from tendhost.server.domain.access.listen import listener_of
from tendhost.server.rpc import call_limiting, server, unread_calls
from tendhost.v1 import access_service_pb2 as pb
from tendhost.v1 import (
    event_service_pb2,
    host_service_pb2,
    operation_service_pb2,
    selection_service_pb2,
)
from tests.rpc.api import Api, Refusal, client, refusal, refusal_of
from tests.rpc.test_access import bearer, token
from tests.unit.engine.fake_clock import FakeClock
from tests.unit.engine.fake_command import Command
from tests.unit.engine.world import World

PATIENCE_SECONDS = 60
LIST = host_service_pb2.ListHostsRequest()
MANY = Rate(per_second=1_000, burst=1_000)
FEW = Rate(per_second=2, burst=3)
SECOND = timedelta(seconds=1)
SELDOM = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Door:
    """A server whose limits have a clock of their own: its owner, and callers with tokens."""

    owner: Api
    other: Api
    clock: FakeClock
    ci: tuple[tuple[str, str]]
    ops: tuple[tuple[str, str]]

    async def waiting(self, number: int) -> None:
        """Return once so many calls wait for the clock."""
        await until(lambda: self.sleepers() == number)

    def sleepers(self) -> int:
        """How many wait for the clock, without what looks for calls that have no message."""
        now = self.clock.now()
        return sum(
            not waking.done() and at - now < SELDOM / 2 for at, _, waking in self.clock._sleepers
        )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110  # what it waits for is in the server, which knows no tests
            await asyncio.sleep(0)


@asynccontextmanager
async def door(world: World, folder: Path, **limits: Any) -> AsyncIterator[Door]:
    clock = FakeClock()
    listeners = [listener_of(f"unix:{folder}/own/server.sock"), listener_of("127.0.0.1:0")]
    own = CallLimits(**{"calls": MANY, "mutations": MANY, **limits})
    async with (
        world.running() as engine,
        server.serving(
            engine, listeners=listeners, socket_owner="owner", limits=own, clock=clock
        ) as (socket, port),
        client(world, socket) as owner,
        client(world, port) as other,
    ):
        _, ci = await token(owner, pb.ROLE_ADMIN, principal="ci")
        _, ops = await token(owner, pb.ROLE_VIEWER, principal="ops")
        yield Door(owner=owner, other=other, clock=clock, ci=ci, ops=ops)


def told_when(refused: Refusal) -> int:
    """After how many seconds the call may be tried again, as it is told."""
    return refused.detail(error_details_pb2.RetryInfo).retry_delay.seconds


async def test_calls__beyond_the_rate_wait_in_their_order_and_further_ones_are_refused(
    world, tmp_path
):
    async with door(world, tmp_path, calls=FEW) as at:
        calls = [at.other.hosts.ListHosts(LIST, metadata=at.ci) for _ in range(FEW.burst)]
        await asyncio.gather(*calls)  # at once: the clock stands still
        ended: list[int] = []

        async def ask(number: int) -> None:
            await at.other.hosts.ListHosts(LIST, metadata=at.ci)
            ended.append(number)

        first = asyncio.create_task(ask(1))
        await at.waiting(1)
        second = asyncio.create_task(ask(2))
        limiter = account("ci")
        await until(lambda: limiter._calls._waiting == 2)
        refused = await refusal(at.other.hosts.ListHosts(LIST, metadata=at.ci))
        assert ended == []
        at.clock.advance(SECOND / 2)
        await first
        assert ended == [1]
        await at.waiting(1)
        at.clock.advance(SECOND / 2)
        await second
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_CALLS",
    )
    assert refused.facts == {"principal": "ci", "what": "calls a second", "limit": "2"}
    assert told_when(refused) == 1


ACCOUNTS: list[call_limiting.Account] = []


def account(name: str) -> call_limiting.Account:
    """The account of a caller that has called already."""
    (found,) = [each for each in ACCOUNTS if each._name == name]
    return found


@pytest.fixture(autouse=True)
def accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember every account that is made."""
    made = call_limiting.Account.__init__
    ACCOUNTS.clear()

    def remembered(self: call_limiting.Account, *args: Any, **how: Any) -> None:
        made(self, *args, **how)
        ACCOUNTS.append(self)

    monkeypatch.setattr(call_limiting.Account, "__init__", remembered)


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls cost CALL_COST, however long they take on a busy machine, and nothing else looks at the clock."""
    monkeypatch.setattr(unread_calls, "LOOK_EVERY", SELDOM)
    monkeypatch.setattr(call_limiting, "loop_nanoseconds", lambda: 0)


async def test_caller__that_waits_makes_nobody_else_wait(world, tmp_path):
    async with door(world, tmp_path, calls=FEW) as at:
        flood = [
            asyncio.ensure_future(at.other.hosts.ListHosts(LIST, metadata=at.ci)) for _ in range(20)
        ]
        refused = 20 - FEW.burst - FEW.most_waiting
        await until(lambda: sum(task.done() for task in flood) == FEW.burst + refused)
        for _ in range(FEW.burst):
            await at.other.hosts.ListHosts(LIST, metadata=at.ops)
        await at.owner.hosts.ListHosts(LIST)
        at.clock.advance(SECOND)
        answers = await asyncio.gather(*flood, return_exceptions=True)
    reasons = [refusal_of(a).reason for a in answers if isinstance(a, grpc.aio.AioRpcError)]
    assert reasons == ["TOO_MANY_CALLS"] * refused


async def test_call__whose_caller_has_gone_away_keeps_no_place(world, tmp_path):
    async with door(world, tmp_path, calls=FEW) as at:
        for _ in range(FEW.burst):
            await at.other.hosts.ListHosts(LIST, metadata=at.ci)
        counted = account("ci")
        for _ in range(3):
            calls = [at.other.hosts.ListHosts(LIST, metadata=at.ci) for _ in range(2)]
            waiting = [asyncio.ensure_future(each) for each in calls]
            await until(lambda: counted._calls._waiting == 2)
            for each in calls:
                each.cancel()
            await until(lambda: counted._calls._waiting == 0)
            await asyncio.gather(*waiting, return_exceptions=True)
        again = asyncio.ensure_future(at.other.hosts.ListHosts(LIST, metadata=at.ci))
        await at.waiting(1)
        at.clock.advance(SECOND)
        await again


async def test_mutations__have_a_rate_of_their_own_and_a_refused_one_changes_nothing(
    world, tmp_path
):
    async with door(world, tmp_path, mutations=Rate(per_second=1, burst=2)) as at:

        def create(number: int) -> Any:
            request = selection_service_pb2.CreateSelectionRequest(name=f"s{number}")
            return at.other.selections.CreateSelection(request, metadata=at.ci)

        await asyncio.gather(create(0), create(1))
        third = asyncio.ensure_future(create(2))
        await at.waiting(1)
        refused = await refusal(create(3))
        await at.other.hosts.ListHosts(LIST, metadata=at.ci)  # reading goes on
        at.clock.advance(SECOND)
        await third
        listed = await at.owner.selections.ListSelections(
            selection_service_pb2.ListSelectionsRequest()
        )
        audited = await at.owner.access.ListAuditRecords(pb.ListAuditRecordsRequest())
    assert [each.name for each in listed.selections] == ["s0", "s1", "s2"]
    assert (refused.reason, refused.facts["what"]) == ("TOO_MANY_CALLS", "mutations a second")
    (record,) = [each for each in audited.records if each.result == "TOO_MANY_CALLS"]
    assert record.principal == "ci"


async def test_streams__are_refused_beyond_their_number_until_one_is_closed(world, tmp_path):
    watch = event_service_pb2.WatchEventsRequest(snapshot=True)
    async with door(world, tmp_path, streams=2) as at:
        streams = [at.other.events.WatchEvents(watch, metadata=at.ci) for _ in range(2)]
        for stream in streams:
            await stream.read()
        refused = await refusal(at.other.events.WatchEvents(watch, metadata=at.ci).read())
        theirs = at.other.events.WatchEvents(watch, metadata=at.ops)
        await theirs.read()
        counted = account("ci")
        streams[0].cancel()
        await until(lambda: counted._streams == 1)
        another = at.other.events.WatchEvents(watch, metadata=at.ci)
        await another.read()
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_STREAMS",
    )
    assert refused.facts == {"principal": "ci", "limit": "2"}
    assert told_when(refused) > 0


async def test_refusals__of_callers_without_a_credential_have_a_rate_that_leaves_others_alone(
    world, tmp_path
):
    async with door(world, tmp_path, calls=FEW) as at:
        wrong = [
            asyncio.create_task(refusal(at.other.hosts.ListHosts(LIST, metadata=bearer("x"))))
            for _ in range(12)
        ]
        waiting = (
            1  # an address without a credential has a fifth of the rate, and one call may wait
        )
        await until(lambda: sum(task.done() for task in wrong) == 12 - waiting)
        await at.other.hosts.ListHosts(LIST, metadata=at.ci)
        health = health_pb2_grpc.HealthStub(at.other.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == 1
        at.clock.advance(SECOND)
        reasons = [(await task).reason for task in wrong]
    assert reasons.count("CREDENTIAL_INVALID") == FEW.burst + waiting
    assert reasons.count("TOO_MANY_CALLS") == 12 - FEW.burst - waiting


async def test_calls__that_wait_for_an_operation_leave_room_for_others(world, tmp_path):
    async with door(world, tmp_path, at_once=1) as at:
        fake = await at.owner.register("web1")
        hold = fake.hold(Command.QUERY)
        started = await at.other.hosts.StartQuery(
            host_service_pb2.StartQueryRequest(name="web1"), metadata=at.ci
        )
        wait = operation_service_pb2.WaitOperationRequest(id=started.operation.id)
        waiting = [
            asyncio.ensure_future(at.other.operations.WaitOperation(wait, metadata=at.ci))
            for _ in range(3)
        ]
        counted = account("ci")
        await until(lambda: counted._open == 3)
        await at.other.hosts.ListHosts(LIST, metadata=at.ci)
        hold.released.set()
        await world.ended(started.operation.id)
        assert {(await each).operation.id for each in waiting} == {started.operation.id}


async def test_call__that_keeps_the_event_loop_counts_as_several(world, tmp_path, monkeypatch):
    spent = iter(range(0, 10**15, 30 * CALL_COST))  # each step of a call takes so long
    async with door(world, tmp_path, calls=Rate(per_second=10, burst=5)) as at:
        monkeypatch.setattr(call_limiting, "loop_nanoseconds", lambda: next(spent))
        await at.other.hosts.ListHosts(LIST, metadata=at.ci)
        again = asyncio.ensure_future(at.other.hosts.ListHosts(LIST, metadata=at.ci))
        await at.waiting(1)
        at.clock.advance(SECOND)
        await at.waiting(1)  # one call would have been paid for by now
        at.clock.advance(timedelta(seconds=6))
        await again


async def test_sizes__that_are_too_large_are_refused_and_leave_the_connection_in_use(
    world, tmp_path
):
    async with door(world, tmp_path) as at:
        call = at.other.channel.unary_unary("/tendhost.v1.HostService/ListHosts", None, None)
        large = await refusal(call(b"\x0a" + b"x" * server.MESSAGE_BYTES, metadata=at.ci))
        long = (*at.ci, ("x", "y" * (2 * server.METADATA_BYTES)))
        metadata = await refusal(at.other.hosts.ListHosts(LIST, metadata=long))
        await at.other.hosts.ListHosts(LIST, metadata=at.ci)
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (large.code, metadata.code) == (exhausted, exhausted)
    assert str(server.MESSAGE_BYTES) in large.text
