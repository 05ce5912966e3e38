"""Simulated hosts answer what tendhost asks, the way that it asks it, and change as real ones do."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tendhost.server.domain.host_errors import HostUnreachable, LinkLost
from tendhost.server.domain.inventory.inventory import RebootNeed, Withheld
from tendhost.server.packages.apt.commands import kept_conffiles, upgrade_command
from tendhost.server.packages.boot import Boot, boot_script, parse_boot
from tendhost.server.packages.package_manager import Transaction
from tendhost.server.packages.query import QueryOptions, QueryResult, parse_query, query_script
from tendhost.server.packages.reboot_order import reboot_command
from tendhost.server.remote.commands import CommandRemote
from tendhost.server.remote.protocol import Completed, Remote, Target
from tendhost.server.remote.ssh import SshConnector, SshSettings
from tests.simulated import RecordedFleet, RecordedHost, SimulatedFleet, SimulatedHost

pytestmark = pytest.mark.simulated

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LONG = timedelta(seconds=60)
QUERY = query_script(QueryOptions(refresh=True))
UPGRADE = upgrade_command(Transaction())
PACKAGES = ("tb-simple", "tb-secure", "tb-held", "tb-newdep", "tb-conf", "tb-kernel", "tb-slow")


class Link:
    """Logs in to hosts of a fleet."""

    def __init__(self, connector: SshConnector) -> None:
        self._connector = connector

    async def to(self, host: SimulatedHost | RecordedHost) -> Remote:
        target = Target(
            host=host.name,
            address=host.address,
            port=host.port,
            user="root",
            ssh_key="",
            host_key=host.host_key,
        )
        return await self._connector.connect(target)

    async def does(self, host: SimulatedHost | RecordedHost, command: str) -> Completed:
        remote = await self.to(host)
        done = await remote.run(command, timeout=LONG, privileged=True)
        await remote.close()
        return done

    async def asks(self, host: SimulatedHost | RecordedHost) -> QueryResult:
        return parse_query((await self.does(host, QUERY)).stdout, at=NOW)

    async def boot(self, host: SimulatedHost | RecordedHost) -> Boot:
        return parse_boot((await self.does(host, boot_script())).stdout)


@pytest.fixture
def fleet() -> Iterator[SimulatedFleet]:
    with SimulatedFleet({"web1": PACKAGES, "web2": ("tb-simple", "tb-failing")}) as fleet:
        yield fleet


@pytest.fixture
async def link(fleet: SimulatedFleet) -> AsyncIterator[Link]:
    async for link in _linked(fleet.private_key):
        yield link


async def _linked(key: bytes) -> AsyncIterator[Link]:
    connector = SshConnector(SshSettings(private_key=key))
    yield Link(connector)
    await connector.aclose()


async def test_host_tells_what_it_has_and_what_is_pending(
    fleet: SimulatedFleet, link: Link
) -> None:
    result = await link.asks(fleet["web1"])
    assert result.problems == ()
    assert result.inventory.installed == tuple((name, "1.0-1") for name in sorted(PACKAGES))
    pending = {package.name: package for package in result.pending.packages}
    assert set(pending) == {*PACKAGES, "tb-extra"}
    assert [name for name, package in pending.items() if package.security] == ["tb-secure"]
    withheld = [n for n, package in pending.items() if package.withheld is not Withheld.NO]
    assert withheld == ["tb-held"]
    assert result.reboot.need is RebootNeed.NOT_NEEDED
    assert "simulated" in result.facts.system.os_name.lower()


async def test_upgrade_changes_what_it_says_and_runs_once(
    fleet: SimulatedFleet, link: Link
) -> None:
    host = fleet["web1"]
    assert (await link.does(host, UPGRADE)).exit_status == 0
    result = await link.asks(host)
    assert [package.name for package in result.pending.packages] == ["tb-held"]
    assert dict(result.inventory.installed)["tb-extra"] == "2.0-1"
    assert result.reboot.need is RebootNeed.NEEDED
    assert "tb-kernel" in result.reboot.reason
    assert (host.version_of("tb-held"), host.version_of("tb-simple")) == ("1.0-1", "2.0-1")
    assert host.transactions().count("tb-simple 2.0-1") == 1


async def test_conffile_that_was_changed_is_kept_and_told(
    fleet: SimulatedFleet, link: Link
) -> None:
    host = fleet["web1"]
    host.write("/etc/tb-conf.conf", "# shipped with 1.0-1\nlocal=yes\n")
    said = (await link.does(host, UPGRADE)).stderr.decode()
    assert kept_conffiles(said) == ("/etc/tb-conf.conf",)


async def test_conffile_that_nobody_changed_is_replaced_without_a_word(
    fleet: SimulatedFleet, link: Link
) -> None:
    said = (await link.does(fleet["web1"], UPGRADE)).stderr.decode()
    assert kept_conffiles(said) == ()


async def test_failing_package_fails_until_it_is_mended(fleet: SimulatedFleet, link: Link) -> None:
    host = fleet["web2"]
    done = await link.does(host, UPGRADE)
    assert done.exit_status == 100
    assert b"cannot migrate database" in done.stderr
    assert host.package_state("tb-failing") == "half-configured"
    (problem,) = (await link.asks(host)).problems
    assert str(problem) == "packages are installed but not configured: tb-failing"
    host.mend()
    assert (await link.does(host, "dpkg --configure -a")).exit_status == 0
    assert host.package_state("tb-failing") == "installed"


async def test_slow_package_is_under_way_for_as_long_as_it_is_told(
    fleet: SimulatedFleet, link: Link
) -> None:
    host = fleet["web1"]
    host.write("/etc/tb-slow-seconds", "60")
    remote = await link.to(host)
    assert isinstance(remote, CommandRemote)
    told: asyncio.Queue[bytes] = asyncio.Queue()
    running = asyncio.create_task(
        remote.stream(UPGRADE, timeout=LONG, on_stdout=lambda _: None, on_stderr=told.put_nowait)
    )
    seen = b""
    while b"Setting up tb-slow" not in seen:
        seen += await told.get()
    assert "tb-slow 2.0-1" not in host.transactions()
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await remote.close()


async def test_reboot_drops_the_links_and_comes_back_as_another_boot(
    fleet: SimulatedFleet, link: Link
) -> None:
    host = fleet["web1"]
    await link.does(host, UPGRADE)
    before = await link.boot(host)
    witness = await link.to(host)
    await link.does(host, reboot_command(str(before)).change_script)
    with pytest.raises(LinkLost):
        await witness.run("sleep 60", timeout=LONG)
    await witness.close()
    after = await _back(link, host)
    assert after.id != before.id
    assert after.init_started != before.init_started
    assert host.boot_count == 2
    assert (await link.asks(host)).reboot.need is RebootNeed.NOT_NEEDED


async def _back(link: Link, host: SimulatedHost | RecordedHost) -> Boot:
    async with asyncio.timeout(20):
        while True:
            try:
                return await link.boot(host)
            except (HostUnreachable, LinkLost):
                await asyncio.sleep(0.02)


async def test_recorded_hosts_tell_the_same_but_for_who_they_are() -> None:
    with RecordedFleet(20, packages=("tb-simple", "tb-kernel"), others=30) as fleet:
        async for link in _linked(fleet.private_key):
            results = await asyncio.gather(*(link.asks(host) for host in fleet.hosts))
            first = results[0]
            assert len(first.inventory.installed) == 32
            assert [p.name for p in first.pending.packages] == ["tb-kernel", "tb-simple"]
            assert len({r.inventory.system.boot_id for r in results}) == 20
            assert all(r.pending == first.pending for r in results)
            assert len({host.host_key for host in fleet.hosts}) == 20


async def test_recorded_host_reboots_by_itself() -> None:
    with RecordedFleet(2) as fleet:
        async for link in _linked(fleet.private_key):
            one, other = fleet.hosts
            before = await link.boot(one), await link.boot(other)
            witness = await link.to(one)
            await link.does(one, reboot_command(str(before[0])).change_script)
            with pytest.raises(LinkLost):
                await witness.run("exec sleep 60", timeout=LONG)
            await witness.close()
            assert (await _back(link, one)).id != before[0].id
            assert (await link.boot(other)).id == before[1].id
            assert (one.boot_count, other.boot_count) == (2, 1)


@pytest.mark.parametrize("mode", ["shell", "recorded"])
async def test_own_process_tells_its_hosts_and_ends_with_its_input(mode: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.simulated", "--hosts", "3", "--mode", mode, "--json"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    found = [json.loads(await process.stdout.readline()) for _ in range(3)]
    assert [host["name"] for host in found] == ["host1", "host2", "host3"]
    connector = SshConnector(SshSettings())
    for host in found:
        remote = await connector.connect(Target(host=host.pop("name"), **host))
        done = await remote.run(QUERY, timeout=LONG)
        assert parse_query(done.stdout, at=NOW).problems == ()
        await remote.close()
    await connector.aclose()
    process.stdin.close()
    assert await process.wait() == 0
