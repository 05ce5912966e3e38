"""Tests of the login: what is found out without a key, and how many run side by side."""

import asyncio

import pytest

from tendhost.server.clock import SystemClock
from tendhost.server.domain.host_errors import KeyUnusable
from tendhost.server.domain.hosts.host_keys import fingerprint
from tendhost.server.engine.connection import HostConnector
from tendhost.server.engine.fleet.host_tests import AT_ONCE, HostTester
from tendhost.server.remote.protocol import Target
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import KEY, OTHER_KEY
from tests.unit.engine.fake_remote import FakeFleet, FakeRemote
from tests.unit.engine.world import World


class Keyless(FakeFleet):
    """Fake hosts, and a server whose private key cannot be read."""

    async def connect(self, target: Target) -> FakeRemote:
        """See Connector."""
        raise KeyUnusable(host=target.host, address=target.address, problem="no such file")


@pytest.mark.parametrize(
    ("key", "shown", "pinned"),
    [
        (KEY, fingerprint(KEY), True),
        (OTHER_KEY, fingerprint(OTHER_KEY), False),
        (None, "", False),
    ],
    ids=["pinned", "other", "unreachable"],
)
async def test_a_test__without_a_usable_key_still_says_whether_the_host_answers(
    world: World, key: str | None, shown: str, pinned: bool
):
    async with world.running():
        fake = await world.register("web1")
        fleet = Keyless(world.clock)
        if key is not None:
            fleet.add(fake.address).key = key
        connector = HostConnector(store=world.store, connector=fleet)
        tester = HostTester(store=world.store, connector=connector, clock=SystemClock())
        found = await tester.test("web1")
    assert (found.host_key_fingerprint, found.host_key_pinned) == (shown, pinned)
    assert not found.logged_in
    assert found.problem is not None
    assert found.problem.reason == "KEY_UNUSABLE"


async def test_a_test__looks_at_the_pinned_kind_of_key_and_not_at_a_better_one(world: World):
    async with world.running():
        fleet = Keyless(world.clock)
        twin = fleet.add((await world.register("web1")).address)
        twin.key, twin.further_keys = "ssh-better AAAA", (KEY,)
        connector = HostConnector(store=world.store, connector=fleet)
        tester = HostTester(store=world.store, connector=connector, clock=SystemClock())
        found = await tester.test("web1")
    assert (found.host_key_fingerprint, found.host_key_pinned) == (fingerprint(KEY), True)


async def test_tests__beyond_the_limit_wait_for_the_others(world: World):
    async with world.running() as engine, asyncio.TaskGroup() as tasks:
        names = [f"web{number}" for number in range(AT_ONCE + 2)]
        holds = [(await world.register(name)).hold(Command.LOGIN) for name in names]
        tests = [tasks.create_task(engine.host_tester.test(name)) for name in names]
        for hold in holds[:AT_ONCE]:
            await world.reached(hold)
        await world.go_on()
        assert sum(hold.reached.is_set() for hold in holds) == AT_ONCE
        assert world.fleet.open_connections == AT_ONCE
        for hold in holds:
            hold.released.set()
        found = await asyncio.gather(*tests)
    assert all(test.logged_in for test in found)
