"""Connections by SSH (asyncssh), tuned for many short ones; only the pinned host key is trusted."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncssh

from tendhost.server.domain.host_errors import (
    AuthenticationRefused,
    HostKeyChanged,
    HostUnreachable,
    LinkLost,
    SshError,
)
from tendhost.server.remote.commands import CommandRemote
from tendhost.server.remote.host_keys import fingerprint
from tendhost.server.remote.private_keys import KeyRing, PrivateKeys
from tendhost.server.remote.protocol import Remote, Target
from tendhost.server.remote.tcp import ConnectionLimiter, TcpConnector

CLOSE_SECONDS = 5.0

# AES-GCM costs a quarter less than chacha20 where the processor has AES.
_ENCRYPTION = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes256-ctr",
)
# Group exchange is left out: finding a group costs half a second of processor time.
_KEX = (
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group16-sha512",
)
_ALGORITHMS_OF_KIND = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
_HOST_KEY_ALGORITHMS = tuple(name for names in _ALGORITHMS_OF_KIND.values() for name in names)
_OPTIONS: Mapping[str, Any] = {
    # Nothing of ~/.ssh/config. To be given to the call itself, which in its absence reads the file
    # whatever a prepared SSHClientConnectionOptions says.
    "config": None,
    # Nobody is trusted by a list: _PinnedClient decides. None would trust everybody.
    "known_hosts": ([], [], []),
    "x509_trusted_certs": None,
    "agent_path": None,
    "preferred_auth": "publickey",
    "password_auth": False,
    "kbdint_auth": False,
    "host_based_auth": False,
    "gss_kex": False,
    "gss_auth": False,
    "kex_algs": _KEX,
    "encryption_algs": _ENCRYPTION,
    "compression_algs": None,
    # SshConnector bounds the login, the time until the server's banner included.
    "login_timeout": 0,
}
"""Options of every login."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSettings:
    """How SSH connections are made."""

    connect_timeout: timedelta = timedelta(seconds=15)
    """For the TCP connection."""
    login_timeout: timedelta = timedelta(seconds=30)
    """For the handshake and the authentication."""
    resolve_timeout: timedelta = timedelta(seconds=5)
    """For the name of a host to be resolved."""
    keepalive_interval: timedelta = timedelta(seconds=15)
    """Time without data after which a keepalive message is sent."""
    keepalive_count: int = 3
    """Keepalive messages without an answer after which the link counts as lost."""
    handshakes: int = 64
    """Connections that are opened at the same time."""
    handshakes_per_address: int = 4
    """Connections that are opened at the same time to one address."""
    private_key: bytes | None = None
    """The key for hosts whose configuration names none."""


class SshConnector:
    """Opens SSH connections."""

    def __init__(self, settings: SshSettings) -> None:
        self._settings = settings
        self._keys = KeyRing(settings.private_key, timeout=settings.login_timeout)
        self._tcp = TcpConnector(
            resolve_timeout=settings.resolve_timeout, connect_timeout=settings.connect_timeout
        )
        self._limiter = ConnectionLimiter(
            total=settings.handshakes, per_address=settings.handshakes_per_address
        )

    async def connect(self, target: Target) -> Remote:
        """See Connector."""
        async with self._keys.keys_for(target) as keys:
            return await self._login(target, keys)

    async def get_host_key(self, *, host: str, address: str, port: int) -> str:
        """See Connector."""
        target = Target(host=host, address=address, port=port, user="root", ssh_key="", host_key="")
        async with self._socket(target) as connection:
            shown = await asyncssh.get_server_host_key(
                sock=connection,
                config=None,
                kex_algs=_KEX,
                server_host_key_algs=_HOST_KEY_ALGORITHMS,
                # Nobody logs in, so no key of the server's user is loaded.
                options=asyncssh.SSHClientConnectionOptions(config=None, client_keys=None),
            )
        if shown is None:
            raise HostUnreachable(host=host, address=address, problem="it shows no host key")
        kind, blob = shown.export_public_key("openssh").decode().split()[:2]
        return f"{kind} {blob}"

    async def aclose(self) -> None:
        """See Connector."""
        self._tcp.close()

    async def _login(self, target: Target, keys: PrivateKeys) -> Remote:
        client = _PinnedClient(target.host_key)
        try:
            async with self._socket(target) as connection:
                opened, _ = await asyncssh.create_connection(
                    lambda: client,
                    sock=connection,
                    username=target.user,
                    client_keys=keys,
                    server_host_key_algs=_host_key_algorithms(target.host_key),
                    **_OPTIONS,
                    keepalive_interval=self._settings.keepalive_interval.total_seconds(),
                    keepalive_count_max=self._settings.keepalive_count,
                )
        except SshError as error:
            if client.refused:
                raise HostKeyChanged(
                    host=target.host,
                    address=target.address,
                    pinned=fingerprint(target.host_key),
                    shown=fingerprint(client.refused),
                ) from error
            raise
        return SshRemote(opened, target)

    @asynccontextmanager
    async def _socket(self, target: Target) -> AsyncIterator[socket.socket]:
        """A connected socket to speak SSH over; what goes wrong on it is raised as a HostError."""
        seconds = self._settings.login_timeout.total_seconds()
        async with self._limiter.slot(target.address, target.port):
            connection = await self._tcp.connect(
                host=target.host, address=target.address, port=target.port
            )
            try:
                async with asyncio.timeout(seconds):
                    yield connection
            except BaseException as error:
                # asyncssh closes what it has taken over, which it may not have come to yet.
                connection.close()
                if isinstance(error, asyncssh.Error | OSError | ValueError):
                    raise _login_error(target, error, seconds) from error
                raise


def _login_error(target: Target, error: Exception, seconds: float) -> SshError:
    """The error for a login that failed, or did not succeed within `seconds`."""
    where = {"host": target.host, "address": target.address}
    if isinstance(error, TimeoutError):
        problem = f"it answers at port {target.port}, but no SSH login within {seconds:g} s"
        return HostUnreachable(problem=problem, **where)
    # sshd hangs up on those who show too many keys: a protocol error, to go by its code.
    out_of_patience = "too many authentication failures" in str(error).lower()
    if isinstance(error, asyncssh.PermissionDenied) or out_of_patience:
        problem = f"user {target.user!r} may not log in: {error}"
        return AuthenticationRefused(problem=problem, **where)
    if isinstance(error, asyncssh.ConnectionLost | ConnectionError):
        problem = f"the connection was closed during the login: {error}"
        return HostUnreachable(problem=problem, **where)
    return SshError(problem=f"no SSH login: {error}", **where)


def _host_key_algorithms(host_key: str) -> tuple[str, ...]:
    """Those of the pinned kind first: the host shows that key if it still has it.

    The others stand behind, so that a host which lost it shows what it has now and is refused by
    its fingerprint, instead of by two lists of algorithms that do not meet.
    """
    pinned = _ALGORITHMS_OF_KIND.get(host_key.partition(" ")[0], ())
    return (*pinned, *(name for name in _HOST_KEY_ALGORITHMS if name not in pinned))


class _PinnedClient(asyncssh.SSHClient):
    """Accepts one host key only, and remembers another one that was shown."""

    def __init__(self, pinned: str) -> None:
        self._pinned = pinned.split()[:2]
        self.refused = ""

    def validate_host_public_key(
        self, host: str, address: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        shown = key.export_public_key("openssh").decode().split()[:2]
        if shown == self._pinned:
            return True
        self.refused = " ".join(shown)
        return False


class _CommandSession(asyncssh.SSHClientSession[bytes]):
    """One command: passes its output to the callbacks and keeps its exit status."""

    def __init__(
        self, on_stdout: Callable[[bytes], None], on_stderr: Callable[[bytes], None]
    ) -> None:
        self._on_stdout = on_stdout
        self._on_stderr = on_stderr
        self._status: int | None = None
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        try:
            (self._on_stderr if datatype else self._on_stdout)(data)
        except Exception as error:
            if not self.ended.done():
                self.ended.set_exception(error)

    def exit_status_received(self, status: int) -> None:
        self._status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._status = 128 + _SIGNALS.get(signal, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            # sshd tells the exit status first: with the link, the rest of the output is lost.
            self.ended.set_result(None if exc else self._status)


_SIGNALS = {
    "HUP": 1,
    "INT": 2,
    "QUIT": 3,
    "ILL": 4,
    "ABRT": 6,
    "FPE": 8,
    "KILL": 9,
    "USR1": 10,
    "SEGV": 11,
    "USR2": 12,
    "PIPE": 13,
    "ALRM": 14,
    "TERM": 15,
}
"""The signals of RFC 4254, section 6.10, with their numbers on Linux."""


class SshRemote(CommandRemote):
    """An SSH connection to one host."""

    def __init__(self, connection: asyncssh.SSHClientConnection, target: Target) -> None:
        super().__init__(host=target.host, user=target.user, is_root=target.user == "root")
        self._connection = connection
        self._target = target

    async def close(self) -> None:
        """See Remote."""
        self._connection.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._connection.wait_closed()
        except (TimeoutError, OSError, asyncssh.Error):
            self._connection.abort()

    async def _execute(
        self,
        line: str,
        timeout: timedelta,
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
        input: bytes = b"",
    ) -> int:
        channel = None
        status: int | None
        try:
            async with self._time_limit(timeout):
                session = _CommandSession(on_stdout, on_stderr)
                channel, _ = await self._connection.create_session(
                    lambda: session, line, encoding=None
                )
                if input:
                    channel.write(input)
                channel.write_eof()
                status = await session.ended
        except (asyncssh.Error, OSError) as error:
            raise self._lost(str(error)) from error
        finally:
            if channel is not None:
                with suppress(asyncssh.Error, OSError):
                    channel.abort()
        if status is None:
            raise self._lost("the connection broke before the command ended")
        return status

    def _lost(self, problem: str) -> LinkLost:
        return LinkLost(host=self._target.host, address=self._target.address, problem=problem)
