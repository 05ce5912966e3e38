"""Calls that take long pause: others take their steps meanwhile, and a principal does not owe more and more."""

import asyncio
from datetime import timedelta

import pytest

from tendhost.server.domain.access.call_limits import CALL_COST, CallLimits, Rate
from tendhost.server.domain.access.principal import CredentialKind, Principal
from tendhost.server.domain.access.roles import Role
from tendhost.server.rpc import call_limiting
from tendhost.server.rpc.call_limiting import Account, CallLimiter
from tendhost.server.rpc.pacing import AT_A_TIME, pause
from tendhost.server.rpc.paging import LARGEST_PAGE, PAGE_BYTES, fill, token
from tendhost.v1 import host_pb2, host_service_pb2
from tests.unit.engine.fake_clock import FakeClock

REQUEST = host_service_pb2.ListHostsRequest()
PRINCIPAL = Principal(
    name="ci",
    kind=CredentialKind.TOKEN,
    roles=frozenset({Role.VIEWER}),
    address="ipv4:192.0.2.7",
)
MANY = LARGEST_PAGE


def message(row: object) -> host_pb2.Host:
    return host_pb2.Host(config=host_pb2.HostConfig(name=f"host-{row}"))


async def turns(work: asyncio.Task[object]) -> int:
    """How many steps another task takes until `work` has ended."""
    count = 0
    while not work.done():
        await asyncio.sleep(0)
        count += 1
    return count


async def test_page__is_made_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts: list[host_pb2.Host] = []
    work = asyncio.ensure_future(fill(hosts, REQUEST, range(MANY), message, str, more=True))
    assert await turns(work) >= MANY / AT_A_TIME
    assert [each.config.name for each in hosts] == [f"host-{row}" for row in range(MANY)]
    assert await work


async def test_page__of_large_rows_makes_no_more_of_them_than_it_holds() -> None:
    made: list[object] = []

    def large(row: object) -> host_pb2.Host:
        made.append(row)
        return host_pb2.Host(config=host_pb2.HostConfig(name="x" * (PAGE_BYTES // 3)))

    hosts: list[host_pb2.Host] = []
    following = await fill(hosts, REQUEST, range(MANY), large, str, more=False)
    assert (len(hosts), len(made)) == (2, 3)
    assert following == token(REQUEST, "1")


class Work:
    """Work of so many parts, each of which keeps the event loop for the time of 10 calls."""

    def __init__(self, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done = 0
        self._spent = 0
        self._parts = parts
        monkeypatch.setattr(call_limiting, "loop_nanoseconds", lambda: self._spent)

    async def run(self) -> None:
        for _ in range(self._parts):
            self._spent += 10 * CALL_COST
            self.done += 1
            await pause()


def account(clock: FakeClock) -> Account:
    limits = CallLimits(calls=Rate(per_second=50, burst=25))
    return CallLimiter(limits, clock=clock).account(PRINCIPAL)


async def settled() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


async def test_work__goes_on_at_the_rate_of_its_principal_once_the_burst_is_spent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock()
    work = Work(10, monkeypatch)
    running = asyncio.ensure_future(account(clock).metered(work.run()))
    await settled()
    # 25 of the burst and what a call costs anyway.
    assert work.done == 3
    for seconds in range(1, 5):
        clock.advance(timedelta(seconds=1))
        await settled()
        assert work.done <= 3 + seconds * 5 + 1
    await running
    assert work.done == 10


async def test_work__of_one_principal_does_not_go_faster_in_several_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock()
    work = Work(100, monkeypatch)
    one = account(clock)
    running = [asyncio.ensure_future(one.metered(work.run())) for _ in range(3)]
    await settled()
    first = work.done
    for _ in range(10):
        clock.advance(timedelta(seconds=1))
        await settled()
    assert work.done - first <= 10 * 5 + 2 * len(running)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_work__of_nobody_pauses_only_for_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(10, monkeypatch)
    await work.run()
    assert work.done == 10
