"""What listens at a port: an SSH server that remembers who came, and whatever else a test needs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncssh

from tendhost.server.remote.shell import BEGIN
from tendhost.server.remote.ssh import SshConnector, SshSettings
from tests.command_lines import script_of

Connectors = Callable[[SshSettings], SshConnector]

MOMENT = timedelta(seconds=0.3)
QUICK = SshSettings(connect_timeout=MOMENT, login_timeout=timedelta(seconds=5))
"""Connects within a moment or not at all; a login may take what a busy machine needs."""


@dataclass(slots=True)
class Server:
    """An SSH server and what it has seen."""

    port: int = 0
    keys: Sequence[asyncssh.SSHKey] = ()
    attempts: list[str] = field(default_factory=list)
    """The logins that were tried, by method."""
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)

    @property
    def key(self) -> asyncssh.SSHKey:
        """The first of its host keys."""
        return self.keys[0]


class _Door(asyncssh.SSHServer):
    def __init__(
        self, server: Server, accepted: asyncssh.SSHKey, *, patient: bool, nologin: str
    ) -> None:
        self._server, self._accepted, self._patient = server, accepted, patient
        self._nologin = nologin

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._server.connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        self._server.attempts.append("none")
        if not self._patient:
            raise asyncssh.DisconnectError(2, "Too many authentication failures")
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._server.attempts.append("publickey")
        if self._nologin and self._server.attempts[-2:] == ["publickey"] * 2:
            # sshd does so after the signature, when PAM refuses the account.
            self._server.connections[-1].send_auth_banner(self._nologin)
            raise asyncssh.ConnectionLost("Connection lost")
        return key.public_data == self._accepted.public_data

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        self._server.attempts.append("password")
        return True


@asynccontextmanager
async def listening(
    *,
    accepts: asyncssh.SSHKey,
    keys: Sequence[asyncssh.SSHKey] = (),
    address: str = "127.0.0.1",
    patient: bool = True,
    nologin: str = "",
    **algorithms: Sequence[str],
) -> AsyncIterator[Server]:
    """An SSH server that lets one key in; the command `hang` never ends, and all others do at once.

    `algorithms` are those of asyncssh.listen, where the server is to have no others.
    """
    server = Server(keys=tuple(keys) or (asyncssh.generate_private_key("ssh-ed25519"),))

    async def execute(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        process.stdout.write(BEGIN + b"begun\n")
        if script_of(process.command or "") != "hang":
            process.exit(0)

    listener = await asyncssh.listen(
        address,
        0,
        server_factory=lambda: _Door(server, accepts, patient=patient, nologin=nologin),
        server_host_keys=list(server.keys),
        process_factory=execute,
        encoding=None,
        **algorithms,
    )
    server.port = listener.get_port()
    try:
        yield server
    finally:
        listener.close()
        for connection in server.connections:
            connection.abort()
        await listener.wait_closed()


Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(peer: Peer) -> AsyncIterator[int]:
    """The port of a TCP server that does with every connection what `peer` does."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await peer(reader, writer)
        except ConnectionError:
            pass  # the other side has had enough
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes what comes and is silent."""
    await reader.read()


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What sshd does beyond its MaxStartups."""


async def hangs_up_amid_its_banner(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """A machine on its way down."""
    writer.write(b"SSH-2.")
    await writer.drain()


async def speaks_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A service of another kind."""
    writer.write(b"HTTP/1.1 400 Bad Request\r\n" * 2000)
    await writer.drain()


def public(key: asyncssh.SSHKey, comment: str = "") -> str:
    """A public key as type and base64."""
    kind, blob = key.export_public_key().decode().split()[:2]
    return f"{kind} {blob} {comment}".rstrip()


def generated(kind: str) -> asyncssh.SSHKey:
    """A new key of this algorithm."""
    options: dict[str, Any] = {"key_size": 2048} if kind == "ssh-rsa" else {}
    return asyncssh.generate_private_key(kind, **options)
