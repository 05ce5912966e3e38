"""What only a real sshd and a real network do: silence, bursts that are turned away, and new keys."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tendhost.server.domain.host_errors import (
    AuthenticationRefused,
    ChannelRefused,
    HostError,
    HostKeyChanged,
    HostUnreachable,
    LinkLost,
    SecondFactorWanted,
    SshError,
    Timeout,
)
from tendhost.server.domain.hosts.host_keys import fingerprint
from tendhost.server.remote.ssh import SshSettings
from tests.contract.remote.ways import QUICK, Way, over_sshd
from tests.fleet import Fleet, Host
from tests.fleet.sshd import ended, started

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


@pytest.fixture(params=[1, 2])
def sessions(host: Host, request: pytest.FixtureRequest) -> Iterator[int]:
    """MaxSessions of the host."""
    with few_sessions(host, request.param):
        yield request.param


@contextmanager
def few_sessions(host: Host, most: int) -> Iterator[None]:
    """A host whose sshd opens `most` sessions over one connection."""
    # sshd of Debian 12 reads this for each connection, in a process of its own.
    host.run(f"sed -i '1i MaxSessions {most}' /etc/ssh/sshd_config", check=True)
    try:
        host.reload_sshd()
        yield
    finally:
        host.run("sed -i 1d /etc/ssh/sshd_config", check=True)
        host.reload_sshd()


async def test_commands_side_by_side__all_run_on_a_host_of_few_sessions(
    way: Way, sessions: int
) -> None:
    remote = await way.connect()
    for _ in range(3):
        printed = await asyncio.gather(
            *(remote.run(f"sleep 0.0{n}; echo {n}", timeout=LONG) for n in range(6))
        )
        assert [each.stdout for each in printed] == [b"%d\n" % n for n in range(6)]
    for n in range(20):  # sshd frees a session a little after it has closed it
        assert (await remote.run(f"echo {n}", timeout=LONG)).stdout == b"%d\n" % n
    await remote.close()


async def test_command_after_one_that_took_too_long__finds_its_session_taken_and_says_so(
    way: Way, host: Host
) -> None:
    with few_sessions(host, 1):
        remote = await way.connect()
        with pytest.raises(Timeout):
            await remote.run("exec sleep 60", timeout=timedelta(seconds=1))
        with pytest.raises(ChannelRefused, match="MaxSessions"):
            await remote.run("true", timeout=LONG)
        await remote.close()
        remote = await way.connect()
        assert (await remote.run("echo new", timeout=LONG)).stdout == b"new\n"
        await remote.close()


async def test_host_that_opens_no_session__is_no_lost_link(way: Way, host: Host) -> None:
    with few_sessions(host, 0):
        remote = await way.connect()
        with pytest.raises(
            ChannelRefused,
            match="opens no session, see MaxSessions in its sshd_config: open failed",
        ):
            await remote.run("true", timeout=LONG)
        await remote.close()


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


async def test_host_with_several_pinned_keys__is_let_in_with_each_and_with_no_other(
    way: Way, host: Host
) -> None:
    before = way.target.host_key
    after = await asyncio.to_thread(host.change_host_key)
    pinned = way.target
    for keys in ((before, after), (after, before)):
        pinned = replace(way.target, host_key=keys[0], further_host_keys=keys[1:])
        await (await way.connector.connect(pinned)).close()
    await asyncio.to_thread(host.change_host_key)
    with pytest.raises(HostKeyChanged) as caught:
        await way.connector.connect(pinned)
    assert caught.value.pinned == f"{fingerprint(after)}, {fingerprint(before)}"


PAM = "UsePAM yes\nKbdInteractiveAuthentication yes\n"
SECOND_FACTORS = {
    "AuthenticationMethods publickey,keyboard-interactive": "keyboard-interactive",
    "AuthenticationMethods publickey,keyboard-interactive:pam": "keyboard-interactive",
    "AuthenticationMethods publickey,password\nPasswordAuthentication yes": "password",
    "AuthenticationMethods publickey,password publickey,keyboard-interactive": (
        "keyboard-interactive or password"
    ),
}
REFUSALS = {
    "PermitRootLogin no": "accepts the key and refuses user 'root' all the same",
    "PermitRootLogin no\nPasswordAuthentication yes": "accepts the key and refuses user 'root'",
    "AuthenticationMethods publickey,publickey": "it wants a second key",
    "DenyUsers root": "user 'root' may not log in",
    "PubkeyAuthentication no\nPasswordAuthentication yes": (
        "in by keyboard-interactive or password only, not by a key"
    ),
    "AuthenticationMethods keyboard-interactive": "in by keyboard-interactive only, not by a key",
    "AuthorizedKeysFile none\nPasswordAuthentication yes": "user 'root' may not log in",
}


class Sshd:
    """Further servers of a host, each with a configuration of its own."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._port = 2200

    async def with_configuration(self, lines: str) -> int:
        """The port of a server with these lines of sshd_config(5) before the usual ones."""
        self._port += 1
        file = f"/etc/ssh/sshd_{self._port}"
        await asyncio.to_thread(
            self._host.run,
            f"cat >{file} && {started(file, self._port)}",
            input=f"{lines}\n{PAM}HostKey /etc/ssh/ssh_host_ed25519_key\n",
            check=True,
        )
        return self._port

    def stop(self) -> None:
        """End them all."""
        self._host.run(f"{ended('/etc/ssh/sshd_2*.pid')} && rm -f /etc/ssh/sshd_2*", check=True)


@pytest.fixture
def sshd(host: Host) -> Iterator[Sshd]:
    sshd = Sshd(host)
    yield sshd
    sshd.stop()


async def refusal(way: Way, port: int) -> HostError:
    with pytest.raises(HostError) as caught:
        await way.connector.connect(replace(way.target, port=port))
    return caught.value


async def test_second_factor__that_a_host_wants_is_told_as_such(way: Way, sshd: Sshd) -> None:
    for lines, wanted in SECOND_FACTORS.items():
        error = await refusal(way, await sshd.with_configuration(lines))
        assert isinstance(error, SecondFactorWanted), (lines, error)
        assert f"wants a second factor, {wanted}," in str(error), lines
        assert "Match User root" in str(error)


async def test_refused_login__is_not_taken_for_a_second_factor(way: Way, sshd: Sshd) -> None:
    for lines, words in REFUSALS.items():
        error = await refusal(way, await sshd.with_configuration(lines))
        assert type(error) is AuthenticationRefused, (lines, error)
        assert words in str(error), lines


async def test_host_with_further_keys__is_logged_in_to_by_each_of_them(
    way: Way, host: Host, sshd: Sshd
) -> None:
    for kind in ("rsa", "ecdsa"):
        await asyncio.to_thread(
            host.run, f"ssh-keygen -q -t {kind} -N '' -f /etc/ssh/sshd_2_{kind}", check=True
        )
    keys = "HostKey /etc/ssh/sshd_2_rsa\nHostKey /etc/ssh/sshd_2_ecdsa"
    port = await sshd.with_configuration(keys)
    at: Any = {"host": "web1", "address": way.target.address, "port": port}
    kinds = await way.connector.get_host_key_kinds(**at)
    assert kinds == ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")
    for kind in kinds:
        key = await way.connector.get_host_key(**at, kind=kind)
        assert key.startswith(f"{kind} ")
        remote = await way.connector.connect(replace(way.target, port=port, host_key=key))
        await remote.close()
    old = await sshd.with_configuration(f"HostKeyAlgorithms ssh-rsa\n{keys}")
    with pytest.raises(SshError, match="the host keys ssh-rsa, none of which"):
        await way.connector.get_host_key_kinds(**{**at, "port": old})


@pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields")  # of cryptography 50
async def test_hardened_host__that_can_be_enrolled_can_be_logged_in_to(
    way: Way, sshd: Sshd
) -> None:
    for lines, usable in (
        ("KexAlgorithms diffie-hellman-group-exchange-sha256\nCiphers aes256-ctr", True),
        ("KexAlgorithms diffie-hellman-group18-sha512\nMACs hmac-sha2-512-etm@openssh.com", True),
        ("Ciphers aes192-ctr", True),
        ("KexAlgorithms sntrup761x25519-sha512@openssh.com", False),
        ("Ciphers aes256-cbc", False),
    ):
        port = await sshd.with_configuration(lines)
        at: Any = {"host": "web1", "address": way.target.address, "port": port}
        if usable:
            assert await way.connector.get_host_key_kinds(**at) == ("ssh-ed25519",)
            assert await way.connector.get_host_key(**at) == way.target.host_key
            await (await way.connector.connect(replace(way.target, port=port))).close()
            continue
        with pytest.raises(SshError, match="none of which tendhost accepts"):
            await way.connector.get_host_key_kinds(**at)
        assert isinstance(await refusal(way, port), SshError)


async def test_link_local_address__is_reached_through_its_zone(way: Way, host: Host) -> None:
    own = await asyncio.to_thread(
        host.output,
        "ip -6 -o addr show scope link | sed -n 's/.*inet6 \\([^/]*\\).*/\\1/p' | head -n 1",
    )
    route = await asyncio.create_subprocess_exec(
        *("ip", "-o", "route", "get", way.target.address), stdout=asyncio.subprocess.PIPE
    )
    words = (await route.communicate())[0].decode().split()
    address = f"{own}%{words[words.index('dev') + 1]}"
    shown = await way.connector.get_host_key(host="web1", address=address, port=22)
    assert shown == way.target.host_key
    await (await way.connector.connect(replace(way.target, address=address))).close()


async def test_users_of_a_directory__log_in_by_their_names(
    way: Way, host: Host, sshd: Sshd
) -> None:
    port = await sshd.with_configuration("AuthorizedKeysFile /etc/ssh/sshd_2_keys")
    names = ("first.last@corp.example", "CORP\\first.last", "svc$", "m\u00fcller")
    # As winbind and sssd make them known; useradd(8) refuses such names.
    lines = "".join(f"{name}:x:{3000 + n}:100::/:/bin/sh\n" for n, name in enumerate(names))
    shadow = "".join(f"{name}:*:19000:0:99999:7:::\n" for name in names)
    script = "install -m 644 /root/.ssh/authorized_keys /etc/ssh/sshd_2_keys; cat >>/etc/"
    await asyncio.to_thread(host.run, f"{script}passwd", input=lines, check=True)
    await asyncio.to_thread(host.run, f"{script}shadow", input=shadow, check=True)
    for number, name in enumerate(names):
        remote = await way.connector.connect(replace(way.target, port=port, user=name))
        done = await remote.run("id -u", timeout=LONG)
        assert done.stdout.decode().strip() == str(3000 + number)
        await remote.close()
