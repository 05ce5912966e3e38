"""What only a real sshd and a real network do: silence, bursts that are turned away, and new keys."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tendhost.server.domain.host_errors import HostKeyChanged, HostUnreachable, LinkLost
from tendhost.server.remote.host_keys import fingerprint
from tendhost.server.remote.ssh import SshSettings
from tests.contract.remote.ways import QUICK, Way, over_sshd
from tests.fleet import Fleet, Host

pytestmark = pytest.mark.fleet

LONG = timedelta(seconds=60)


@pytest.fixture
def host(fleet: Fleet) -> Iterator[Host]:
    host = fleet["web1"]
    yield host
    fleet.restore_link(host)


@pytest.fixture
async def way(fleet: Fleet, host: Host, settings: SshSettings) -> AsyncIterator[Way]:
    way = over_sshd(fleet, host, settings)
    yield way
    await way.connector.aclose()


@pytest.fixture
def settings() -> SshSettings:
    return replace(QUICK, connect_timeout=timedelta(seconds=0.5))


async def test_link_that_goes_silent_under_a_command_is_lost_within_its_keepalives(
    way: Way, fleet: Fleet, host: Host
) -> None:
    remote = await way.connect()
    begun = asyncio.Event()
    running = asyncio.create_task(
        remote.stream(
            "echo begun; exec sleep 60",
            timeout=LONG,
            on_stdout=lambda _: begun.set(),
            on_stderr=lambda _: None,
        )
    )
    await begun.wait()
    await asyncio.to_thread(fleet.cut_link, host, "drop")
    async with asyncio.timeout(5):
        with pytest.raises(LinkLost):
            await running
        await remote.close()


async def test_host_behind_a_silent_link_is_unreachable_until_the_link_is_back(
    way: Way, fleet: Fleet, host: Host
) -> None:
    await asyncio.to_thread(fleet.cut_link, host, "drop")
    with pytest.raises(HostUnreachable, match=r"no answer at port 22 within 0\.5 s"):
        await way.connect()
    await asyncio.to_thread(fleet.restore_link, host)
    remote = await way.connect()
    await remote.close()


async def test_burst_of_logins_at_one_host_is_let_in_to_the_last(way: Way) -> None:
    # sshd's MaxStartups turns a part of such a burst away, were they not let through by few.
    remotes = await asyncio.gather(*(way.connect() for _ in range(40)))
    printed = await asyncio.gather(
        *(remote.run(f"echo {n}", timeout=LONG) for n, remote in enumerate(remotes))
    )
    assert [each.stdout for each in printed] == [b"%d\n" % n for n in range(40)]
    await asyncio.gather(*(remote.close() for remote in remotes))


async def test_host_that_was_given_another_key_is_refused_until_it_is_pinned(
    way: Way, fleet: Fleet, host: Host, settings: SshSettings
) -> None:
    target = way.target
    before = target.host_key
    after = await asyncio.to_thread(host.change_host_key)
    with pytest.raises(HostKeyChanged) as caught:
        await way.connector.connect(target)
    assert (caught.value.pinned, caught.value.shown) == (fingerprint(before), fingerprint(after))
    shown = await way.connector.get_host_key(host="web1", address=target.address, port=target.port)
    assert shown == after
    remote = await way.connector.connect(replace(target, host_key=shown))
    await remote.close()
