"""Connections through jumps: real sshd on each, every hop with its own pin, and what is wrong with a jump."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tendhost.server.domain.host_errors import (
    HostError,
    HostKeyChanged,
    HostUnreachable,
    JumpFailed,
    LinkLost,
)
from tendhost.server.domain.policy.health_evaluation import CheckFinding
from tendhost.server.remote.connector import RoutingConnector
from tendhost.server.remote.jumps import JumpPool
from tendhost.server.remote.probes import NetworkProber
from tendhost.server.remote.protocol import Remote, Target
from tests.contract.remote.ways import QUICK
from tests.fleet import Fleet, Host
from tests.fleet.disk import make_key

pytestmark = pytest.mark.fleet

LONG = timedelta(seconds=60)
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA7EJvfsDChvRF6h6E4qj6wUMSvBiNLFRMrBYRgDjmCc"


def target_at(fleet: Fleet, host: Host, jump: Target | None = None, **settings: Any) -> Target:
    usual = Target(
        host=host.name,
        address=host.address,
        port=host.port,
        user="root",
        ssh_key=str(fleet.private_key),
        host_key=host.host_key,
        jump=jump,
    )
    return replace(usual, **settings)


@pytest.fixture
async def connector() -> AsyncIterator[RoutingConnector]:
    settings = replace(QUICK, connect_timeout=timedelta(seconds=2))
    connector = RoutingConnector(ssh=settings)
    yield connector
    await connector.aclose()


@pytest.fixture
def bastion(fleet: Fleet) -> Iterator[Host]:
    yield fleet["bastion"]
    fleet.restore_link(fleet["bastion"])


@pytest.fixture
def inner(fleet: Fleet, bastion: Host) -> Target:
    """web1 behind the bastion."""
    return target_at(fleet, fleet["web1"], target_at(fleet, bastion))


async def from_where(remote: Remote) -> str:
    """The address from which the host sees its client."""
    done = await remote.run("echo ${SSH_CONNECTION%% *}", timeout=LONG)
    return done.stdout.decode().strip()


async def refusal(connector: RoutingConnector, target: Target) -> HostError:
    with pytest.raises(HostError) as caught:
        await connector.connect(target)
    error = caught.value
    assert error.host == target.host
    return error


def logins(bastion: Host) -> int:
    """Connections that the sshd of the bastion has."""
    return int(bastion.output("pgrep -fc '^sshd: root' || true").strip())


async def nothing_is_left_of(connector: RoutingConnector) -> None:
    """No connection to a jump, and nothing that opens or closes one, as soon as the last tunnel has closed."""
    pool: JumpPool = connector._ssh._jumps
    async with asyncio.timeout(10):
        while pool._jumps or pool._tasks:  # noqa: ASYNC110 (a tunnel tells only the pool)
            await asyncio.sleep(0)


async def test_chain__ends_at_the_host_and_begins_at_its_last_jump(
    connector: RoutingConnector, fleet: Fleet, bastion: Host, inner: Target
) -> None:
    remote = await connector.connect(inner)
    assert await from_where(remote) == bastion.address
    await remote.close()
    assert inner.jump is not None
    second = target_at(fleet, fleet["db1"], inner.jump)
    remote = await connector.connect(replace(inner, jump=second))
    assert await from_where(remote) == fleet["db1"].address
    big = b"x" * 3_000_000
    done = await remote.run("tee /dev/stderr", timeout=LONG, input=big)
    assert (done.stdout, done.stderr) == (big, big)
    await remote.close()


async def test_enrolment__goes_through_the_jump(
    connector: RoutingConnector, inner: Target, fleet: Fleet
) -> None:
    at: Any = {"host": "web1", "address": inner.address, "port": 22, "jump": inner.jump}
    assert await connector.get_host_key_kinds(**at) == ("ssh-ed25519",)
    assert await connector.get_host_key(**at) == fleet["web1"].host_key


async def test_connections_through_one_jump__share_a_login_and_end_it_together(
    connector: RoutingConnector, inner: Target, fleet: Fleet, bastion: Host
) -> None:
    others = [inner, target_at(fleet, fleet["db1"], inner.jump)] * 4
    remotes = await asyncio.gather(*(connector.connect(one) for one in others))
    assert await asyncio.to_thread(logins, bastion) == 1
    assert {await from_where(remote) for remote in remotes} == {bastion.address}
    for remote in remotes[1:]:
        await remote.close()
    assert await from_where(remotes[0]) == bastion.address
    await remotes[0].close()
    await nothing_is_left_of(connector)


async def test_man_in_the_middle__is_refused_at_each_hop(
    connector: RoutingConnector, inner: Target
) -> None:
    error = await refusal(connector, replace(inner, host_key=OTHER_KEY))
    assert isinstance(error, HostKeyChanged)
    assert inner.jump is not None
    error = await refusal(connector, replace(inner, jump=replace(inner.jump, host_key=OTHER_KEY)))
    assert isinstance(error, JumpFailed)
    assert error.jump == "bastion"
    assert "host key changed" in str(error)
    assert "tendhost host set bastion --accept-new-host-key" in str(error)


async def test_man_in_the_middle__who_comes_while_the_jump_is_shared_is_refused(
    connector: RoutingConnector, inner: Target
) -> None:
    # A jump whose pin has changed is another jump: nobody goes on over the connection of the former pin.
    remote = await connector.connect(inner)
    assert inner.jump is not None
    changed = replace(inner, jump=replace(inner.jump, host_key=OTHER_KEY))
    assert isinstance(await refusal(connector, changed), JumpFailed)
    await remote.close()


async def test_jump_that_refuses_the_key__is_named(
    connector: RoutingConnector, inner: Target, tmp_path: Any
) -> None:
    assert inner.jump is not None
    make_key(tmp_path / "key", "stranger")
    stranger = replace(inner.jump, ssh_key=str(tmp_path / "key"))
    error = await refusal(connector, replace(inner, jump=stranger))
    assert isinstance(error, JumpFailed)
    assert error.jump == "bastion"
    assert "bastion (" in str(error)
    assert "user 'root' may not log in" in str(error)
    error = await refusal(connector, replace(inner, jump=replace(inner.jump, ssh_key="/nowhere")))
    assert isinstance(error, JumpFailed)
    assert "tendhost host set bastion --ssh-key PATH" in str(error)


async def test_jump_that_is_down__is_named_and_may_come_back(
    connector: RoutingConnector, fleet: Fleet, bastion: Host, inner: Target
) -> None:
    assert inner.jump is not None
    error = await refusal(connector, replace(inner, jump=replace(inner.jump, port=9)))
    assert type(error) is HostUnreachable
    assert f"jump bastion ({bastion.address}) cannot be reached: port 9 refuses" in str(error)
    await asyncio.to_thread(fleet.cut_link, bastion, "drop")
    error = await refusal(connector, inner)
    assert type(error) is HostUnreachable
    assert "cannot be reached: no answer at port 22 within 2 s" in str(error)
    await asyncio.to_thread(fleet.restore_link, bastion)
    await (await connector.connect(inner)).close()


async def test_second_jump_that_is_down__is_the_one_that_is_named(
    connector: RoutingConnector, fleet: Fleet, inner: Target
) -> None:
    second = target_at(fleet, fleet["db1"], inner.jump, port=9)
    error = await refusal(connector, replace(inner, jump=second))
    assert type(error) is HostUnreachable
    assert f"jump db1 ({second.address}) cannot be reached: jump bastion" in str(error)
    assert f"cannot connect to {second.address} port 9: Connection refused" in str(error)
    pinned = target_at(fleet, fleet["db1"], replace(second.jump or inner, host_key=OTHER_KEY))
    error = await refusal(connector, replace(inner, jump=pinned))
    assert isinstance(error, JumpFailed)
    assert error.jump == "bastion"


async def test_host_behind_a_jump__that_does_not_answer_is_told_from_the_jump(
    connector: RoutingConnector, fleet: Fleet, inner: Target
) -> None:
    error = await refusal(connector, replace(inner, port=9))
    assert type(error) is HostUnreachable
    assert "port 9: Connection refused" in str(error)
    # Nobody answers at once. The resolver of the fleet's hosts is silent, and sshd answers nothing while it waits.
    with resolver(fleet["bastion"], "127.0.0.1"):
        error = await refusal(connector, replace(inner, address="nosuch.invalid"))
    assert type(error) is HostUnreachable
    assert "cannot connect to nosuch.invalid port 22: " in str(error)
    web1 = fleet["web1"]
    await asyncio.to_thread(fleet.cut_link, web1, "drop")
    try:
        error = await refusal(connector, inner)
    finally:
        await asyncio.to_thread(fleet.restore_link, web1)
    assert "no answer at port 22 within 2 s through jump bastion" in str(error)
    await nothing_is_left_of(connector)


@contextmanager
def resolver(host: Host, address: str) -> Iterator[None]:
    host.run(
        f"cp /etc/resolv.conf /root/resolv && echo nameserver {address} >/etc/resolv.conf",
        check=True,
    )
    try:
        yield
    finally:
        host.run("cat /root/resolv >/etc/resolv.conf", check=True)


async def test_checks__of_a_host_behind_a_jump_reach_its_ports_through_the_jump(
    connector: RoutingConnector, inner: Target
) -> None:
    async def tunnel(port: int) -> socket.socket:
        assert inner.jump is not None
        return await connector.open_tunnel(
            host="web1", address=inner.address, port=port, jump=inner.jump
        )

    prober = NetworkProber()
    found = await prober.tcp("192.0.2.1", 22, timeout=LONG, tunnel=tunnel)
    assert found == CheckFinding(holds=True, words="port 22 takes connections")
    found = await prober.tcp("192.0.2.1", 9, timeout=LONG, tunnel=tunnel)
    assert not found.holds
    assert f"cannot connect to {inner.address} port 9: Connection refused" in found.words
    await nothing_is_left_of(connector)
    prober.close()


@contextmanager
def sshd_setting(host: Host, line: str) -> Iterator[None]:
    host.run(f"sed -i '1i {line}' /etc/ssh/sshd_config", check=True)
    host.reload_sshd()
    try:
        yield
    finally:
        host.run("sed -i 1d /etc/ssh/sshd_config", check=True)
        host.reload_sshd()


@pytest.mark.parametrize(
    "line",
    [
        "AllowTcpForwarding no",
        "AllowTcpForwarding remote",
        "DisableForwarding yes",
        "PermitOpen 192.0.2.1:22",
    ],
)
async def test_jump_that_forwards_nothing__is_told_as_such(
    connector: RoutingConnector, bastion: Host, inner: Target, line: str
) -> None:
    with sshd_setting(bastion, line):
        error = await refusal(connector, inner)
    assert isinstance(error, JumpFailed)
    assert error.jump == "bastion"
    words = f"does not forward user 'root' to {inner.address} port 22"
    assert words in str(error)
    assert "AllowTcpForwarding" in str(error)


async def test_jump_that_is_lost__is_a_lost_link_for_those_behind_it(
    connector: RoutingConnector, bastion: Host, inner: Target
) -> None:
    remote = await connector.connect(inner)
    begun = asyncio.Event()
    running = asyncio.create_task(
        remote.stream(  # type: ignore[attr-defined]
            "echo begun; exec sleep 60",
            timeout=LONG,
            on_stdout=lambda _: begun.set(),
            on_stderr=lambda _: None,
        )
    )
    await begun.wait()
    await asyncio.to_thread(bastion.run, "pkill -KILL -f '^sshd: root'")
    with pytest.raises(LinkLost, match=r"connection to jump bastion \(.*\) was lost"):
        await running
    # Somebody else has come back through it before this one has closed.
    again = await connector.connect(inner)
    await remote.close()
    assert await from_where(again) == bastion.address
    await again.close()


async def test_connection_that_nobody_waits_for_any_longer__leaves_nothing_open(
    connector: RoutingConnector, inner: Target, bastion: Host
) -> None:
    attempts = [asyncio.create_task(connector.connect(inner)) for _ in range(3)]
    await asyncio.sleep(0)
    attempts[0].cancel()
    remotes = await asyncio.gather(*attempts[1:])
    assert [await from_where(remote) for remote in remotes] == [bastion.address] * 2
    for remote in remotes:
        await remote.close()
    for turns in (1, 3, 10, 30, 100):
        attempt = asyncio.create_task(connector.connect(inner))
        for _ in range(turns):
            await asyncio.sleep(0)
        attempt.cancel()
        await asyncio.wait([attempt])
    await nothing_is_left_of(connector)


async def test_more_hosts_behind_a_jump_than_handshakes_at_once__wait_for_it_without_a_deadlock(
    fleet: Fleet, inner: Target
) -> None:
    connector = RoutingConnector(ssh=replace(QUICK, handshakes=1, handshakes_per_address=1))
    remotes = await asyncio.gather(*(connector.connect(inner) for _ in range(4)))
    for remote in remotes:
        await remote.close()
    await connector.aclose()
