"""Host keys: learnt at enrolment, pinned from then on, and never another one."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tendhost.server.domain.host_errors import HostKeyChanged, SshError
from tendhost.server.domain.hosts.host_keys import fingerprint
from tendhost.server.remote.protocol import Target
from tendhost.server.remote.ssh import SshConnector
from tests.tools import needs
from tests.unit.remote.ssh.servers import (
    MOMENT,
    QUICK,
    Connectors,
    Peer,
    Server,
    answering,
    generated,
    hangs_up,
    hangs_up_amid_its_banner,
    listening,
    public,
    says_nothing,
    speaks_http,
)

KINDS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)


@pytest.mark.parametrize("kind", KINDS)
async def test_key_learnt_at_enrolment_is_the_one_that_opens(
    connector: SshConnector, target: Target, login_key: asyncssh.SSHKey, kind: str
) -> None:
    async with listening(accepts=login_key, keys=[generated(kind)]) as server:
        learnt = await connector.get_host_key(host="web1", address="127.0.0.1", port=server.port)
        assert learnt == public(server.key)
        remote = await connector.connect(replace(target, port=server.port, host_key=learnt))
        await remote.close()


async def test_enrolment_learns_the_best_key_that_the_host_has(
    connector: SshConnector, login_key: asyncssh.SSHKey
) -> None:
    keys = [generated(kind) for kind in ("ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519")]
    async with listening(accepts=login_key, keys=keys) as server:
        learnt = await connector.get_host_key(host="web1", address="127.0.0.1", port=server.port)
    assert learnt == public(keys[2])


async def test_enrolment__sees_every_kind_of_key_that_the_host_has(
    connector: SshConnector, login_key: asyncssh.SSHKey
) -> None:
    keys = {kind: generated(kind) for kind in ("ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519")}
    async with listening(accepts=login_key, keys=list(keys.values())) as server:
        at: Any = {"host": "web1", "address": "127.0.0.1", "port": server.port}
        kinds = await connector.get_host_key_kinds(**at)
        assert kinds == ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")
        shown = {kind: await connector.get_host_key(**at, kind=kind) for kind in kinds}
        assert shown == {kind: public(key) for kind, key in keys.items()}
        assert server.attempts == []


async def test_enrolment__of_a_host_without_a_usable_kind_of_key_names_what_it_has(
    connector: SshConnector, login_key: asyncssh.SSHKey
) -> None:
    async with listening(accepts=login_key, keys=[generated("ssh-ed448")]) as server:
        with pytest.raises(SshError, match="the host keys ssh-ed448, none of which"):
            await connector.get_host_key_kinds(host="web1", address="127.0.0.1", port=server.port)


@pytest.mark.parametrize("peer", [says_nothing, hangs_up, hangs_up_amid_its_banner, speaks_http])
async def test_kinds__of_what_is_no_ssh_server_are_an_error(
    connectors: Connectors, peer: Peer
) -> None:
    connector = connectors(replace(QUICK, login_timeout=MOMENT))
    async with answering(peer) as port:
        with pytest.raises(SshError):
            await connector.get_host_key_kinds(host="web1", address="127.0.0.1", port=port)


ONLY = [
    *(("kex_algs", name) for name in ("curve25519-sha256", "ecdh-sha2-nistp521")),
    *(("kex_algs", f"diffie-hellman-group{name}") for name in ("18-sha512", "14-sha1")),
    ("kex_algs", "diffie-hellman-group-exchange-sha256"),
    *(("encryption_algs", name) for name in ("aes256-gcm@openssh.com", "aes192-ctr")),
    *(("encryption_algs", name) for name in ("aes256-cbc", "3des-cbc")),
    *(("mac_algs", name) for name in ("hmac-sha2-512-etm@openssh.com", "hmac-sha2-256")),
]
"""Algorithms of hardened servers, and of servers that nobody has touched for long."""


@pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields")  # of cryptography 50
@pytest.mark.parametrize(("what", "only"), ONLY)
async def test_enrolment__negotiates_what_a_login_does(
    connector: SshConnector, target: Target, login_key: asyncssh.SSHKey, what: str, only: str
) -> None:
    algorithms: Any = {"encryption_algs": ["aes128-ctr"], what: [only]}  # GCM needs no MAC
    async with listening(accepts=login_key, keys=[generated("ssh-rsa")], **algorithms) as server:
        at = replace(target, port=server.port, host_key=public(server.key))
        enrolled = logged_in = ""
        try:
            enrolment: Any = {"host": "web1", "address": "127.0.0.1", "port": server.port}
            assert await connector.get_host_key_kinds(**enrolment) == ("ssh-rsa",)
            await connector.get_host_key(**enrolment)
        except SshError as error:
            enrolled = error.problem
        try:
            await (await connector.connect(at)).close()
        except SshError as error:
            logged_in = error.problem
    old = only.endswith(("sha1", "cbc"))
    assert bool(enrolled) == bool(logged_in) == old
    assert not old or (only in enrolled and "none of which tendhost accepts" in enrolled)


async def test_enrolment_does_not_log_in(connector: SshConnector, server: Server) -> None:
    await connector.get_host_key(host="web1", address="127.0.0.1", port=server.port)
    assert server.attempts == []


async def test_another_key_is_refused_with_both_fingerprints_and_no_login(
    connector: SshConnector, target: Target, server: Server
) -> None:
    pinned = public(generated("ssh-ed25519"))
    with pytest.raises(HostKeyChanged) as caught:
        await connector.connect(replace(target, host_key=pinned))
    assert caught.value.pinned == fingerprint(pinned)
    assert caught.value.shown == fingerprint(public(server.key))
    assert caught.value.pinned in str(caught.value)
    assert caught.value.shown in str(caught.value)
    assert server.attempts == []


async def test_host_that_lost_the_pinned_kind_of_key_shows_another_one(
    connector: SshConnector, target: Target, login_key: asyncssh.SSHKey
) -> None:
    async with listening(accepts=login_key, keys=[generated("ecdsa-sha2-nistp256")]) as reborn:
        with pytest.raises(HostKeyChanged) as caught:
            await connector.connect(replace(target, port=reborn.port))
        assert caught.value.pinned == fingerprint(target.host_key)
        assert caught.value.shown == fingerprint(public(reborn.key))
        assert reborn.attempts == []


async def test_host_that_has_the_pinned_key_among_others_is_let_in(
    connector: SshConnector, target: Target, login_key: asyncssh.SSHKey
) -> None:
    keys = [generated("ssh-ed25519"), generated("ssh-rsa")]
    async with listening(accepts=login_key, keys=keys) as server:
        at = replace(target, port=server.port, host_key=public(keys[1]))
        remote = await connector.connect(at)
        await remote.close()


@pytest.mark.parametrize("pinned", ["", "local", "garbage AAAA", "ssh-ed25519", "ssh-ed25519 AAAA"])
async def test_pin_that_is_no_key_opens_nothing(
    connector: SshConnector, target: Target, server: Server, pinned: str
) -> None:
    with pytest.raises(HostKeyChanged) as caught:
        await connector.connect(replace(target, host_key=pinned))
    assert caught.value.shown == fingerprint(public(server.key))
    assert server.attempts == []


async def test_comment_of_a_pinned_key_does_not_matter(
    connector: SshConnector, target: Target, server: Server
) -> None:
    commented = public(server.key, "root@web1")
    remote = await connector.connect(replace(target, host_key=commented))
    await remote.close()


async def test_users_own_ssh_files_are_not_looked_at(
    connector: SshConnector, target: Target, server: Server, home: Path
) -> None:
    config = home / ".ssh/config"
    config.write_text("Port no-number-and-so-an-error-to-whoever-reads-it\n")
    key = home / ".ssh/id_ed25519"
    key.write_text("no key, and so an error to whoever reads it\n")
    changed = public(generated("ssh-ed25519"))
    known_hosts = home / ".ssh/known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{server.port} {changed}\n")
    remote = await connector.connect(target)
    await remote.close()
    assert await connector.get_host_key(host="web1", address="127.0.0.1", port=server.port)
    with pytest.raises(HostKeyChanged):
        await connector.connect(replace(target, host_key=changed))


@needs("ssh-keygen")
@pytest.mark.parametrize("kind", KINDS)
def test_fingerprint_is_the_one_of_ssh_keygen(kind: str, tmp_path: Path) -> None:
    key = public(generated(kind))
    path = tmp_path / "key.pub"
    path.write_text(f"{key}\n")
    said = subprocess.run(
        ["ssh-keygen", "-l", "-f", path], check=True, capture_output=True, text=True
    )
    assert fingerprint(key) == said.stdout.split()[1]
