"""Connections by SSH (asyncssh), tuned for many short ones; only the pinned host key is trusted."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.constants import OPEN_REQUEST_SESSION_FAILED

from tendhost.server.clock import SystemClock
from tendhost.server.domain.host_errors import (
    AuthenticationRefused,
    ChannelRefused,
    HostUnreachable,
    LinkLost,
    SshError,
)
from tendhost.server.domain.hosts.host_authorities import HostAuthority, authorities_of
from tendhost.server.domain.hosts.host_keys import KINDS
from tendhost.server.remote.channels import Channels, Refused
from tendhost.server.remote.commands import CommandRemote, Exit, Input
from tendhost.server.remote.jumps import Jump, JumpPool, named
from tendhost.server.remote.private_keys import KeyRing, LoginKeys, public_key
from tendhost.server.remote.protocol import Remote, Target
from tendhost.server.remote.ssh_login import (
    NEGOTIATED,
    PinnedClient,
    algorithms_of,
    host_key_algorithms,
    login_error,
)
from tendhost.server.remote.ssh_offer import offer_of
from tendhost.server.remote.tcp import ConnectionLimiter, Endpoint, TcpConnector

CLOSE_SECONDS = 5.0

_OPTIONS: Mapping[str, Any] = {
    # Nothing of ~/.ssh/config. To be given to the call itself, which in its absence reads the file
    # whatever a prepared SSHClientConnectionOptions says.
    "config": None,
    # Nobody is trusted by a list: PinnedClient decides. None would trust everybody.
    "known_hosts": ([], [], []),
    "x509_trusted_certs": None,
    "agent_path": None,
    # The others are there to be noticed: PinnedClient has no answer to them, so that nothing is sent.
    "preferred_auth": "publickey,keyboard-interactive,password",
    "host_based_auth": False,
    "gss_kex": False,
    "gss_auth": False,
    **NEGOTIATED,
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
    private_key: bytes | None = field(default=None, repr=False)
    """The key for hosts whose configuration names none."""
    host_authorities: tuple[HostAuthority, ...] = ()
    """The authorities that sign the certificates of hosts."""
    credentials: Path | None = None
    """The folder of credentials: passphrases of keys, and the key for those hosts unless `private_key` is given."""


class SshConnector:
    """Opens SSH connections."""

    def __init__(self, settings: SshSettings, *, now: Callable[[], datetime] | None = None) -> None:
        """`now`: the time by which certificates are valid; None: that of the machine."""
        self._settings = settings
        self._now = now or SystemClock().now
        self._keys = KeyRing(
            settings.private_key,
            timeout=settings.login_timeout,
            now=self._now,
            credentials=settings.credentials,
        )
        self._tcp = TcpConnector(
            resolve_timeout=settings.resolve_timeout, connect_timeout=settings.connect_timeout
        )
        self._limiter = ConnectionLimiter(
            total=settings.handshakes, per_address=settings.handshakes_per_address
        )
        self._jumps = JumpPool(self._jump_connection, connect_timeout=settings.connect_timeout)

    async def connect(self, target: Target) -> Remote:
        """See Connector."""
        connection, jump = await self._connection(target)
        return SshRemote(connection, target, jump)

    async def key_problem(self, *, address: str, ssh_key: str) -> str:
        """See Connector."""
        return await self._keys.problem(ssh_key)

    async def get_certified_key(self, target: Target) -> str:
        """See Connector."""
        authorities = self._authorities(target)
        if not authorities:
            return ""
        client = PinnedClient(replace(target, certified=True), authorities, now=self._now)
        try:
            async with self._socket(target) as (connection, _):
                opened, _ = await asyncssh.create_connection(
                    lambda: client,
                    target.address,
                    target.port,
                    sock=connection,
                    username=target.user,
                    client_keys=None,
                    server_host_key_algs=host_key_algorithms(*KINDS, certified=True),
                    **_OPTIONS,
                )
                opened.abort()
        except AuthenticationRefused:
            # Nobody logs in without a key. By then the host has proved that it has the private half of its key.
            if not client.certified_key:
                raise
        except SshError as error:
            raise client.explained(error) from error
        return client.certified_key

    async def get_public_keys(self, target: Target) -> tuple[str, ...]:
        """See Connector."""
        async with self._keys.keys_for(target) as keys:
            return tuple(dict.fromkeys(map(public_key, keys.keys)))

    async def get_host_key_kinds(
        self, *, host: str, address: str, port: int, jump: Target | None = None
    ) -> tuple[str, ...]:
        """See Connector."""
        target = _unpinned(host, address, port, jump)
        async with self._socket(target) as (connection, _):
            offer = await offer_of(connection)
            connection.close()
        for what, offered, accepted in (
            ("key exchanges", offer.key_exchange, NEGOTIATED["kex_algs"]),
            ("host keys", offer.host_keys, algorithms_of(*KINDS)),
            ("ciphers", offer.encryption, NEGOTIATED["encryption_algs"]),
        ):
            if set(offered).isdisjoint(accepted):
                problem = (
                    f"no SSH login: the host offers the {what} {', '.join(offered)}, none of which tendhost accepts;"
                    f" expected one of {', '.join(accepted)}"
                )
                raise SshError(host=host, address=address, problem=problem)
        return tuple(k for k in KINDS if not set(algorithms_of(k)).isdisjoint(offer.host_keys))

    async def get_host_key(
        self, *, host: str, address: str, port: int, kind: str = "", jump: Target | None = None
    ) -> str:
        """See Connector."""
        target = _unpinned(host, address, port, jump)
        async with self._socket(target) as (connection, _):
            shown = await asyncssh.get_server_host_key(
                address,
                port,
                sock=connection,
                config=None,
                kex_algs=NEGOTIATED["kex_algs"],
                server_host_key_algs=algorithms_of(*((kind,) if kind else KINDS)),
                # Nobody logs in, so no key of the server's user is loaded.
                options=asyncssh.SSHClientConnectionOptions(
                    config=None, client_keys=None, **NEGOTIATED
                ),
            )
        if shown is None:
            raise HostUnreachable(host=host, address=address, problem="it shows no host key")
        return public_key(shown)

    async def open_tunnel(
        self, *, host: str, address: str, port: int, jump: Target
    ) -> socket.socket:
        """See Connector."""
        target = _unpinned(host, address, port, jump)
        async with self._jumps.hold(target) as held:
            assert held is not None, "it has a jump"
            return await self._jumps.open(held, target)

    async def aclose(self) -> None:
        """See Connector."""
        await self._jumps.aclose()
        self._tcp.close()

    async def _jump_connection(self, target: Target) -> asyncssh.SSHClientConnection:
        connection, _ = await self._connection(target)
        return connection

    async def _connection(self, target: Target) -> tuple[asyncssh.SSHClientConnection, Jump | None]:
        """A connection that is logged in, and the jump that it goes through."""
        async with self._keys.keys_for(target) as keys:
            return await self._login(target, keys)

    async def _login(
        self, target: Target, keys: LoginKeys
    ) -> tuple[asyncssh.SSHClientConnection, Jump | None]:
        authorities = self._authorities(target)
        client = PinnedClient(target, authorities, now=self._now)
        try:
            async with self._socket(target) as (connection, jump):
                opened, _ = await asyncssh.create_connection(
                    lambda: client,
                    # For the log: the socket is connected, and that of a tunnel has no address.
                    target.address,
                    target.port,
                    sock=connection,
                    username=target.user,
                    client_keys=client.watching(keys),
                    server_host_key_algs=host_key_algorithms(
                        *target.host_keys, certified=bool(authorities)
                    ),
                    **_OPTIONS,
                    keepalive_interval=self._settings.keepalive_interval.total_seconds(),
                    keepalive_count_max=self._settings.keepalive_count,
                )
        except SshError as error:
            raise client.explained(error) from error
        return opened, jump

    def _authorities(self, target: Target) -> tuple[str, ...]:
        """The public keys of the authorities that vouch for the host."""
        return authorities_of(
            self._settings.host_authorities,
            groups=target.groups,
            names=(target.host, target.address),
            port=target.port,
        )

    @asynccontextmanager
    async def _socket(self, target: Target) -> AsyncIterator[tuple[socket.socket, Jump | None]]:
        """A connected socket to speak SSH over, and the jump that it goes through.

        What goes wrong on it is raised as a HostError. The jump is connected before a slot is taken: it needs one
        itself.
        """
        seconds = self._settings.login_timeout.total_seconds()
        async with self._jumps.hold(target) as jump, self._limiter.slot(_endpoint(target)):
            if jump is not None:
                connection = await self._jumps.open(jump, target)
            else:
                connection = await self._tcp.connect(
                    host=target.host, address=target.address, port=target.port
                )
            try:
                async with asyncio.timeout(seconds):
                    yield connection, jump
            except BaseException as error:
                # asyncssh closes what it has taken over, which it may not have come to yet.
                connection.close()
                if isinstance(error, asyncssh.Error | OSError | ValueError):
                    raise login_error(target, error, seconds) from error
                raise


def _unpinned(host: str, address: str, port: int, jump: Target | None) -> Target:
    """A host whose key is not known yet, and to which nobody logs in."""
    return Target(
        host=host, address=address, port=port, user="", ssh_key="", host_key="", jump=jump
    )


def _endpoint(target: Target) -> Endpoint:
    """What limits of connections to one SSH server go by. Behind each jump there are addresses of its own."""
    return target.address, target.port, target.jump.host if target.jump else ""


class _CommandSession(asyncssh.SSHClientSession[bytes]):
    """One command: passes its output to the callbacks and keeps its exit status."""

    def __init__(
        self, on_stdout: Callable[[bytes], None], on_stderr: Callable[[bytes], None]
    ) -> None:
        self._on_stdout = on_stdout
        self._on_stderr = on_stderr
        self._exit: Exit | None = None
        self.ended: asyncio.Future[Exit | None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        try:
            (self._on_stderr if datatype else self._on_stdout)(data)
        except Exception as error:
            if not self.ended.done():
                self.ended.set_exception(error)

    def exit_status_received(self, status: int) -> None:
        self._exit = Exit(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._exit = Exit(_SIGNALS.get(signal, 0), by_signal=True)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            # sshd tells the exit status first: with the link, the rest of the output is lost.
            self.ended.set_result(None if exc else self._exit)


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

    def __init__(
        self, connection: asyncssh.SSHClientConnection, target: Target, jump: Jump | None
    ) -> None:
        super().__init__(host=target.host, user=target.user, is_root=target.user == "root")
        self._connection = connection
        self._jump = jump
        self._target = target
        self._channels = Channels()

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
        input: Input,
    ) -> Exit:
        session = _CommandSession(on_stdout, on_stderr)
        try:
            # The wait for other commands does not count against the time of this one.
            return await self._channels.run(lambda: self._in_session(session, line, timeout, input))
        except Refused as error:
            raise self._refused(error.__cause__) from error

    async def _in_session(
        self, session: _CommandSession, line: str, timeout: timedelta, input: Input
    ) -> Exit:
        """How `line` ended. Raises Refused if nothing was executed, Timeout, LinkLost."""
        channel = None
        try:
            async with self._time_limit(timeout):
                channel, _ = await self._connection.create_session(
                    lambda: session, line, encoding=None
                )
                data = await input.ready(session.ended)
                with suppress(BrokenPipeError):  # a command need not read it
                    channel.write(data)
                channel.write_eof()
                ended = await session.ended
        except asyncssh.ChannelOpenError as error:
            if self._connection.is_closed():
                raise self._lost(str(error)) from error
            raise Refused from error
        except (asyncssh.Error, OSError) as error:
            raise self._lost(str(error)) from error
        finally:
            if channel is not None:
                with suppress(asyncssh.Error, OSError):
                    channel.abort()
        if ended is None:
            raise self._lost("the connection broke before the command ended")
        return ended

    def _refused(self, cause: BaseException | None) -> ChannelRefused:
        # What sshd says is only "open failed".
        assert isinstance(cause, asyncssh.ChannelOpenError)
        hint = (
            "the host refuses to run a command"
            if cause.code == OPEN_REQUEST_SESSION_FAILED
            else "the host opens no session, see MaxSessions in its sshd_config"
        )
        problem = f"{hint}: {cause.reason}"
        return ChannelRefused(host=self._target.host, address=self._target.address, problem=problem)

    def _lost(self, problem: str) -> LinkLost:
        if self._jump is not None:
            verb = "was lost" if self._jump.lost else "still stands"
            problem += f"; the connection to jump {named(self._jump.target)} {verb}"
        return LinkLost(host=self._target.host, address=self._target.address, problem=problem)
