"""The key to log in with: from a file, from the settings, from the agent; and when it is of no use."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tendhost.server.clock import SystemClock
from tendhost.server.domain.host_errors import AuthenticationRefused, HostUnreachable, KeyUnusable
from tendhost.server.remote import key_files
from tendhost.server.remote.private_keys import KeyRing
from tendhost.server.remote.protocol import Target
from tendhost.server.remote.ssh import SshConnector
from tests.tools import needs
from tests.unit.remote.ssh.servers import MOMENT, QUICK, Connectors, Server, listening, public


def another_key(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())


async def test_key_of_the_host_opens_it(connector: SshConnector, target: Target) -> None:
    remote = await connector.connect(target)
    await remote.close()


async def test_key_of_the_settings_opens_a_host_that_names_none(
    connectors: Connectors, target: Target, login_key: asyncssh.SSHKey
) -> None:
    settings = replace(QUICK, private_key=login_key.export_private_key())
    remote = await connectors(settings).connect(replace(target, ssh_key=""))
    await remote.close()


async def test_key_of_the_host_goes_before_the_key_of_the_settings(
    connectors: Connectors, target: Target
) -> None:
    settings = replace(QUICK, private_key=b"garbage that is never looked at")
    remote = await connectors(settings).connect(target)
    await remote.close()


async def test_key_that_the_host_does_not_know_is_refused(
    connector: SshConnector, target: Target, key_file: Path
) -> None:
    another_key(key_file)
    with pytest.raises(AuthenticationRefused, match="user 'ops' may not log in"):
        await connector.connect(replace(target, user="ops"))


async def test_password_is_never_tried(
    connector: SshConnector, target: Target, key_file: Path, server: Server
) -> None:
    another_key(key_file)
    with pytest.raises(AuthenticationRefused):
        await connector.connect(target)
    assert set(server.attempts) == {"none", "publickey"}


async def test_host_that_loses_patience_with_keys_has_refused_them(
    connector: SshConnector, target: Target, login_key: asyncssh.SSHKey
) -> None:
    async with listening(accepts=login_key, patient=False) as impatient:
        at = replace(target, port=impatient.port, host_key=public(impatient.key))
        with pytest.raises(AuthenticationRefused, match="Too many authentication failures"):
            await connector.connect(at)


async def test_host_that_shuts_its_users_out_for_a_while_is_quoted(
    connector: SshConnector, target: Target, login_key: asyncssh.SSHKey
) -> None:
    """/run/nologin, as OpenSSH 9.2 of Debian 12 tells it (pam_nologin(8))."""
    said = "System is going down. Unprivileged users are not permitted to log in anymore."
    async with listening(accepts=login_key, nologin=f"{said}\n\n") as closing:
        at = replace(target, port=closing.port, host_key=public(closing.key))
        with pytest.raises(HostUnreachable, match="accepts the key and refuses") as caught:
            await connector.connect(at)
    assert said in caught.value.problem


async def test_key_file_that_was_replaced_is_read_again(
    connector: SshConnector, target: Target, key_file: Path, login_key: asyncssh.SSHKey
) -> None:
    another_key(key_file)
    with pytest.raises(AuthenticationRefused):
        await connector.connect(target)
    key_file.write_bytes(login_key.export_private_key())  # noqa: ASYNC240
    os.utime(key_file, ns=(1, 1))  # another time, however coarse the clock of the disk
    remote = await connector.connect(target)
    await remote.close()


def encrypted(key: asyncssh.SSHKey) -> bytes:
    return key.export_private_key("pkcs8-pem", passphrase="secret")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda key: b"garbage", "is not a private key"),
        (lambda key: b"", "is not a private key"),
        (lambda key: key.export_private_key()[:120], "is not a private key"),
        (lambda key: key.export_public_key(), "is a public key"),
        (lambda key: b"\xff\xfe\0\0", "is not a private key"),
        (encrypted, "has a passphrase"),
    ],
    ids=["garbage", "empty", "cut off", "public", "binary", "encrypted"],
)
async def test_key_file_without_a_usable_key_is_named(
    connector: SshConnector,
    target: Target,
    key_file: Path,
    login_key: asyncssh.SSHKey,
    content: Callable[[asyncssh.SSHKey], bytes],
    words: str,
) -> None:
    key_file.write_bytes(content(login_key))  # noqa: ASYNC240
    with pytest.raises(KeyUnusable, match=words) as caught:
        await connector.connect(target)
    assert str(key_file) in str(caught.value)


async def test_key_file_that_cannot_be_read_is_named_with_the_reason(
    connector: SshConnector, target: Target, tmp_path: Path
) -> None:
    with pytest.raises(KeyUnusable, match="No such file"):
        await connector.connect(replace(target, ssh_key=str(tmp_path / "nowhere")))
    with pytest.raises(
        KeyUnusable, match="cannot be read: it is a folder, expected a regular file"
    ):
        await connector.connect(replace(target, ssh_key=str(tmp_path)))


async def test_key_file__that_is_a_fifo_is_refused_and_nobody_waits_for_it(
    connector: SshConnector, target: Target, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "key")
    with pytest.raises(
        KeyUnusable, match=r"key cannot be read: it is a pipe, expected a regular file"
    ):
        await connector.connect(replace(target, ssh_key=str(tmp_path / "key")))


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/tty", "/proc/self/mem", "a\0b"])
async def test_key_file__that_is_no_regular_file_of_a_key_is_refused(
    connector: SshConnector, target: Target, path: str
) -> None:
    with pytest.raises(KeyUnusable, match=r"is not a private key|cannot be read"):
        await connector.connect(replace(target, ssh_key=path))


async def test_key_file__that_is_too_large_for_a_key_is_refused(
    connector: SshConnector, target: Target, key_file: Path
) -> None:
    os.truncate(key_file, key_files.LARGEST + 1)
    with pytest.raises(KeyUnusable, match="more than 65536 bytes"):
        await connector.connect(target)


async def test_key_file__on_a_dead_mount_costs_its_hosts_the_time_limit_and_the_others_nothing(
    connectors: Connectors,
    target: Target,
    key_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = tmp_path / "dead" / "key"
    dead.parent.mkdir()
    dead.touch()
    back, opened, real = threading.Event(), [], os.open

    def hanging(path: str, *arguments: Any, **options: Any) -> int:
        if str(path).startswith(str(tmp_path / "dead")):
            opened.append(path)
            back.wait()
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", hanging)
    keys = KeyRing(None, timeout=timedelta(seconds=0.2), now=SystemClock().now)

    async def asked(path: Path) -> str:
        try:
            async with keys.keys_for(replace(target, ssh_key=str(path))):
                return "a key"
        except KeyUnusable as error:
            return str(error)

    try:
        said = await asyncio.gather(*(asked(dead) for _ in range(3 * key_files.THREADS)))
        assert all("cannot be read: it was not there within 0.2 s" in words for words in said)
        assert opened == [str(dead)], "one thread, however many hosts have the key"
        assert await asked(key_file) == "a key"
    finally:
        back.set()


async def test_garbage_in_the_settings_is_named(connectors: Connectors, target: Target) -> None:
    connector = connectors(replace(QUICK, private_key=b"garbage"))
    with pytest.raises(KeyUnusable, match="TENDHOST_SSH_KEY"):
        await connector.connect(replace(target, ssh_key=""))


# --- the agent ------------------------------------------------------------------------------------


@asynccontextmanager
async def agent(folder: Path, *keys: asyncssh.SSHKey) -> AsyncIterator[str]:
    """The socket of a real agent with these keys."""
    path = str(folder / "agent")
    process = await asyncio.create_subprocess_exec(
        "ssh-agent", "-D", "-a", path, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()  # where its socket is, once it is there
        async with await asyncssh.connect_agent(path) as client:
            if keys:  # an empty list would mean those in ~/.ssh
                await client.add_keys(list(keys))
        yield path
    finally:
        process.terminate()
        await process.wait()


@needs("ssh-agent")
async def test_agents_keys_open_a_host_that_names_none(
    connector: SshConnector,
    target: Target,
    login_key: asyncssh.SSHKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    async with agent(tmp_path, other, login_key) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        remote = await connector.connect(replace(target, ssh_key=""))
        await remote.close()


@needs("ssh-agent")
async def test_empty_agent_is_named_and_no_key_of_the_users_folder_is_taken(
    connector: SshConnector,
    target: Target,
    login_key: asyncssh.SSHKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    login_key.write_private_key(str(tmp_path / "home/.ssh/id_ed25519"))
    async with agent(tmp_path) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        with pytest.raises(KeyUnusable, match="agent has no key"):
            await connector.connect(replace(target, ssh_key=""))


async def test_host_without_any_key_is_told_what_to_set(
    connector: SshConnector, target: Target
) -> None:
    with pytest.raises(KeyUnusable, match="TENDHOST_SSH_KEY is not set, and there is no agent"):
        await connector.connect(replace(target, ssh_key=""))


async def test_agent_that_never_answers_is_waited_for_no_longer_than_a_login(
    connectors: Connectors, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "agent")

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(never, path):
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        connector = connectors(replace(QUICK, login_timeout=MOMENT))
        async with asyncio.timeout(5):
            with pytest.raises(KeyUnusable, match="agent"):
                await connector.connect(replace(target, ssh_key=""))
