"""Hosts that cannot be reached: each says why in words of its own, and none holds up another."""

import asyncio
import errno
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncssh
import pytest

from tendhost.server.domain.host_errors import HostUnreachable, LinkLost, SshError
from tendhost.server.remote.commands import CommandRemote
from tendhost.server.remote.protocol import Target
from tendhost.server.remote.ssh import SshConnector
from tests.unit.remote.ssh.servers import (
    MOMENT,
    QUICK,
    Connectors,
    Peer,
    answering,
    hangs_up,
    hangs_up_amid_its_banner,
    listening,
    public,
    says_nothing,
    speaks_http,
)

BLACK_HOLE = "192.0.2.1"
"""An address for documentation (RFC 5737); that nothing answers there is arranged for."""


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> dict[str, OSError]:
    """Addresses with the errors that connecting to them gives; the black hole gives nothing."""
    failing: dict[str, OSError] = {}
    connect = asyncio.SelectorEventLoop.sock_connect

    async def sock_connect(
        loop: asyncio.SelectorEventLoop, sock: socket.socket, address: Any
    ) -> None:
        if address[0] == BLACK_HOLE:
            await loop.create_future()
        if address[0] in failing:
            raise failing[address[0]]
        await connect(loop, sock, address)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", sock_connect)
    return failing


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names with their addresses; all others do not resolve."""
    known: dict[str, list[str]] = {}

    def getaddrinfo(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


async def refusal(connector: SshConnector, target: Target) -> SshError:
    """Why neither a login nor a look at the key is possible there, which is the same reason."""
    with pytest.raises(SshError) as caught:
        await connector.connect(target)
    with pytest.raises(SshError) as looked:
        await connector.get_host_key(host=target.host, address=target.address, port=target.port)
    assert (type(looked.value), looked.value.problem) == (type(caught.value), caught.value.problem)
    assert str(caught.value).startswith(f"{target.host} ({target.address}): ")
    return caught.value


async def test_port_that_nobody_listens_at_refuses(connector: SshConnector, target: Target) -> None:
    port = unused_port()
    error = await refusal(connector, replace(target, port=port))
    assert isinstance(error, HostUnreachable)
    assert error.problem == f"port {port} refuses connections"


async def test_silent_address_is_waited_for_within_the_bound(
    connector: SshConnector, target: Target, network: dict[str, OSError]
) -> None:
    error = await refusal(connector, replace(target, address=BLACK_HOLE, port=22))
    assert isinstance(error, HostUnreachable)
    assert error.problem == "no answer at port 22 within 0.3 s"


async def test_missing_route_is_said_so(
    connector: SshConnector, target: Target, network: dict[str, OSError]
) -> None:
    # As asyncio words it.
    network["127.0.0.9"] = OSError(errno.EHOSTUNREACH, "Connect call failed ('127.0.0.9', 22)")
    error = await refusal(connector, replace(target, address="127.0.0.9", port=22))
    assert isinstance(error, HostUnreachable)
    assert error.problem == "port 22 cannot be reached: no route to host"


async def test_name_that_does_not_resolve_is_said_so(
    connector: SshConnector, target: Target, names: dict[str, list[str]]
) -> None:
    error = await refusal(connector, replace(target, address="nowhere.example"))
    assert isinstance(error, HostUnreachable)
    assert error.problem.startswith("the name does not resolve: Name or service not known;")
    assert "ssh_config(5) is not read" in error.problem  # with ssh(1) it may have been an alias


@pytest.mark.parametrize("name", ["a..b", "x" * 300, "-\0-", "localhost\0.example.org", "\udcff"])
async def test_address_that_can_be_no_name_is_said_so(
    connector: SshConnector, target: Target, name: str
) -> None:
    with pytest.raises(HostUnreachable, match="the name is invalid"):
        await connector.connect(replace(target, address=name))


async def test_name_is_reached_at_the_first_of_its_addresses_that_answers(
    connector: SshConnector,
    target: Target,
    names: dict[str, list[str]],
    network: dict[str, OSError],
) -> None:
    network["127.0.0.9"] = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    names["web1.example"] = ["127.0.0.9", BLACK_HOLE, "127.0.0.1"]
    async with asyncio.timeout(5):
        remote = await connector.connect(replace(target, address="web1.example"))
    await remote.close()


async def test_name_with_many_silent_addresses_is_waited_for_once(
    connectors: Connectors,
    target: Target,
    names: dict[str, list[str]],
    network: dict[str, OSError],
) -> None:
    names["web1.example"] = [BLACK_HOLE] * 40
    async with asyncio.timeout(5):
        with pytest.raises(HostUnreachable, match=r"no answer at port \d+ within 0\.3 s"):
            await connectors(QUICK).connect(replace(target, address="web1.example"))


async def test_names_that_take_their_time_do_not_hold_up_a_good_host(
    connectors: Connectors, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    asked = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()

    def getaddrinfo(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        if host == "good.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        loop.call_soon_threadsafe(asked.release)
        released.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    connector = connectors(replace(QUICK, resolve_timeout=timedelta(seconds=10)))
    bad = [
        asyncio.create_task(connector.connect(replace(target, address=f"bad{number}.example")))
        for number in range(30)
    ]
    try:
        for _ in bad:
            await asked.acquire()
        async with asyncio.timeout(1):
            remote = await connector.connect(replace(target, address="good.example"))
        await remote.close()
        assert not any(task.done() for task in bad)
    finally:
        released.set()
    for failed in await asyncio.gather(*bad, return_exceptions=True):
        assert isinstance(failed, HostUnreachable)


async def test_name_that_takes_too_long_to_resolve_is_given_up(
    connectors: Connectors, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(20) and [])
    try:
        with pytest.raises(HostUnreachable, match=r"not resolved within 0\.3 s"):
            await connectors(replace(QUICK, resolve_timeout=MOMENT)).connect(
                replace(target, address="slow.example")
            )
    finally:
        released.set()


async def test_server_that_never_says_its_banner_is_given_up(
    connectors: Connectors, target: Target
) -> None:
    connector = connectors(replace(QUICK, login_timeout=MOMENT))
    async with answering(says_nothing) as port:
        error = await refusal(connector, replace(target, port=port))
    assert isinstance(error, HostUnreachable)
    assert error.problem == f"it answers at port {port}, but no SSH login within 0.3 s"


@pytest.mark.parametrize("peer", [hangs_up, hangs_up_amid_its_banner])
async def test_server_that_hangs_up_before_the_login_is_unreachable(
    connector: SshConnector, target: Target, peer: Peer
) -> None:
    async with answering(peer) as port:
        error = await refusal(connector, replace(target, port=port))
    assert isinstance(error, HostUnreachable)
    assert error.problem.startswith("the connection was closed during the login")


async def test_server_of_another_kind_gives_no_login(
    connector: SshConnector, target: Target
) -> None:
    async with answering(speaks_http) as port:
        with pytest.raises(SshError, match="login"):
            await connector.connect(replace(target, port=port))


async def connection_left(
    connecting: Callable[[int], Awaitable[None]],
) -> None:
    """Return once a server has seen its client go, whatever made it go."""
    left = asyncio.Event()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            left.set()

    async with answering(watch) as port:
        await connecting(port)
        async with asyncio.timeout(5):
            await left.wait()


async def test_caller_that_gives_up_during_a_login_leaves_no_connection_behind(
    connector: SshConnector, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def never(*_: Any, **__: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncssh, "create_connection", never)

    async def give_up(port: int) -> None:
        connecting = asyncio.create_task(connector.connect(replace(target, port=port)))
        await begun.wait()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting

    await connection_left(give_up)


async def test_user_who_cannot_be_one_leaves_no_connection_behind(
    connector: SshConnector, target: Target
) -> None:
    async def refused(port: int) -> None:
        with pytest.raises(SshError, match="no SSH login"):
            await connector.connect(replace(target, port=port, user="a\a"))

    await connection_left(refused)


@pytest.mark.may_skip
async def test_address_of_version_six_is_reached(
    connector: SshConnector, target: Target, login_key: asyncssh.SSHKey
) -> None:
    try:
        listener = listening(accepts=login_key, address="::1")
        server = await listener.__aenter__()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    at = replace(target, address="::1", port=server.port, host_key=public(server.key))
    remote = await connector.connect(at)
    await remote.close()
    await listener.__aexit__(None, None, None)


async def test_link_that_is_cut_without_a_word_is_noticed(
    connectors: Connectors, target: Target
) -> None:
    cut = asyncio.Event()

    async def cable(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection("127.0.0.1", target.port)
        async with asyncio.TaskGroup() as ends:
            ends.create_task(_carried(reader, downstream, cut))
            ends.create_task(_carried(upstream, writer, cut))
        downstream.close()

    interval = timedelta(seconds=0.1)
    settings = replace(QUICK, keepalive_interval=interval, keepalive_count=2)
    async with answering(cable) as port:
        remote = await connectors(settings).connect(replace(target, port=port))
        assert isinstance(remote, CommandRemote)
        async with asyncio.timeout(5):
            with pytest.raises(LinkLost):
                await remote.stream(
                    "hang",
                    timeout=timedelta(seconds=60),
                    on_stdout=lambda _: cut.set(),
                    on_stderr=lambda _: None,
                )
        await remote.close()


async def _carried(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event
) -> None:
    while data := await reader.read(65536):
        if not cut.is_set():
            writer.write(data)
    writer.close()
