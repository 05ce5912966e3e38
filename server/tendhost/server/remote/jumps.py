"""Connections through other hosts (ProxyJump): one to each jump, shared by everything that goes through it.

A jump forwards bytes to an address and a port that it is told (RFC 4254, section 7.2, "direct-tcpip"), so it runs no
command and sees nothing but an SSH connection that begins at the server and ends at the host. What comes out of
a tunnel here is a socket like that of a direct connection: the same code then checks the same pinned key.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, cast

import asyncssh
from asyncssh.constants import (
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_CONNECT_FAILED,
    OPEN_UNKNOWN_CHANNEL_TYPE,
)

from tendhost.server.domain.bounds import text
from tendhost.server.domain.host_errors import HostError, HostUnreachable, JumpFailed, SshError
from tendhost.server.remote.protocol import Target

LONGEST_WORDS = 200
"""Characters of what a jump says about a refused tunnel that stand in an error."""
CLOSE_SECONDS = 5.0


class Jump:
    """The connection to one jump, and who uses it."""

    def __init__(self, target: Target, opening: asyncio.Task[asyncssh.SSHClientConnection]) -> None:
        self.target = target
        self.opening = opening
        self.users = 0
        """Open tunnels, and those who wait for one."""

    @property
    def usable(self) -> bool:
        """Whether the connection stands, or may yet."""
        if not self.opening.done():
            return True
        failed = self.opening.cancelled() or self.opening.exception() is not None
        return not failed and not self.opening.result().is_closed()

    @property
    def lost(self) -> bool:
        """Whether the connection stood once, and has ended."""
        return self.opening.done() and not self.usable


class JumpPool:
    """The open connections to jumps. Each is closed when nothing goes through it any longer."""

    def __init__(
        self,
        login: Callable[[Target], Coroutine[Any, Any, asyncssh.SSHClientConnection]],
        *,
        connect_timeout: timedelta,
    ) -> None:
        """`login`: connects to a jump; `connect_timeout`: for a jump to connect to the next host."""
        self._login = login
        self._connect_timeout = connect_timeout
        self._jumps: dict[Target, Jump] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def hold(self, target: Target) -> AsyncIterator[Jump | None]:
        """The connected jump of `target`, kept open while the context lasts; None: it needs none.

        Raises HostUnreachable, JumpFailed, which are about `target` and name the jump.
        """
        if target.jump is None:
            yield None
            return
        jump = self._taken(target.jump)
        try:
            try:
                # Shielded: others wait for the same login.
                await asyncio.shield(jump.opening)
            except HostError as error:
                raise _at_jump(target, jump.target, error) from error
            yield jump
        finally:
            self._release(jump)

    async def open(self, jump: Jump, target: Target) -> socket.socket:
        """A socket that is connected to `target` through `jump`, which is open as long as the socket is.

        Raises HostUnreachable, JumpFailed.
        """
        near, far = _End(), _End()
        near.peer, far.peer = far, near
        opening = asyncio.create_task(
            jump.opening.result().create_connection(
                lambda: cast(asyncssh.SSHTCPSession[bytes], far), target.address, target.port
            )
        )
        self._owned(opening)
        try:
            await self._opened(opening, jump, target)
        except BaseException:
            # A channel cannot be taken back while it opens: one that opens late is closed then.
            opening.add_done_callback(lambda _: far.close())
            raise
        jump.users += 1
        far.on_end = partial(self._release, jump)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: cast(asyncio.Protocol, near), sock=theirs
            )
        except BaseException:
            ours.close()
            theirs.close()
            far.close()
            raise
        return ours

    async def _opened(self, opening: asyncio.Task[Any], jump: Jump, target: Target) -> None:
        """Wait for a channel to open. Raises HostUnreachable, JumpFailed."""
        seconds = self._connect_timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(opening)
        except TimeoutError as error:
            through = named(jump.target)
            problem = f"no answer at port {target.port} within {seconds:g} s through jump {through}"
            raise _unreachable(target, problem) from error
        except (asyncssh.Error, OSError) as error:
            raise _refused(jump, target, error) from error

    async def aclose(self) -> None:
        """Close every connection to a jump."""
        for jump in list(self._jumps.values()):
            self._forget(jump)
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _taken(self, target: Target) -> Jump:
        jump = self._jumps.get(target)
        if jump is None or not jump.usable:
            login = asyncio.create_task(self._login(target))
            self._owned(login)
            jump = self._jumps[target] = Jump(target, login)
        jump.users += 1
        return jump

    def _release(self, jump: Jump) -> None:
        jump.users -= 1
        if jump.users == 0:
            self._forget(jump)

    def _forget(self, jump: Jump) -> None:
        if self._jumps.get(jump.target) is jump:
            del self._jumps[jump.target]
        jump.opening.cancel()
        if jump.usable and jump.opening.done():
            self._owned(asyncio.create_task(_close(jump.opening.result())))

    def _owned(self, task: asyncio.Task[Any]) -> None:
        """Keep `task` until it has ended. Its error is looked at: whoever waited may have given up."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


class _End:
    """One end of a tunnel, which hands everything to the other: of a socket, or of a channel of the jump."""

    def __init__(self) -> None:
        self.peer: _End | None = None
        self.on_end: Callable[[], None] | None = None
        self._transport: Any = None
        self._before = bytearray()
        """What has come before the other end was there."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        assert self.peer is not None
        if self._before:
            transport.write(bytes(self._before))
            self._before.clear()
        if self.peer.ended:
            transport.close()

    def session_started(self) -> None:
        """The channel is open."""

    @property
    def ended(self) -> bool:
        return self.peer is None

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        if self.peer is not None:
            self.peer.write(data)

    def write(self, data: bytes) -> None:
        if self._transport is None:
            self._before += data  # at most a window of the channel
        else:
            with suppress(OSError):  # it is closing
                self._transport.write(data)

    def eof_received(self) -> bool:
        return False  # SSH has no half-open connections: this end is closed

    def pause_writing(self) -> None:
        self._reading(False)

    def resume_writing(self) -> None:
        self._reading(True)

    def _reading(self, wanted: bool) -> None:
        """Let the other end read only while this one can write."""
        source = self.peer._transport if self.peer is not None else None
        if source is not None:
            (source.resume_reading if wanted else source.pause_reading)()

    def connection_lost(self, error: Exception | None) -> None:
        peer, self.peer = self.peer, None
        if peer is not None:
            peer.close()
        if self.on_end is not None:
            self.on_end()

    def close(self) -> None:
        """Close this end, once what was written to it has gone out."""
        if self._transport is not None:
            self._transport.close()


def named(jump: Target) -> str:
    """A jump in a message."""
    return f"{jump.host} ({jump.address})"


def _at_jump(target: Target, jump: Target, error: HostError) -> SshError:
    """The error for `target` whose jump could not be logged in to."""
    problem = error.problem if isinstance(error, SshError) else str(error)
    if isinstance(error, JumpFailed):
        # A jump farther ahead is to blame.
        return JumpFailed(
            host=target.host, address=target.address, jump=error.jump, problem=problem
        )
    if error.may_pass:
        return _unreachable(target, f"jump {named(jump)} cannot be reached: {problem}")
    return JumpFailed(host=target.host, address=target.address, jump=jump.host, problem=str(error))


def _refused(jump: Jump, target: Target, error: Exception) -> SshError:
    """The error for `target` to which a connected jump opens no tunnel."""
    there = f"{target.address} port {target.port}"
    said = text(str(getattr(error, "reason", error)), most=LONGEST_WORDS)
    code = getattr(error, "code", None)
    if jump.lost:
        return _unreachable(target, f"the connection to jump {named(jump.target)} was lost: {said}")
    if code in (OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_UNKNOWN_CHANNEL_TYPE):
        user = jump.target.user
        problem = (
            f"{named(jump.target)} does not forward user '{user}' to {there}: {said}; allow it with"
            " AllowTcpForwarding and PermitOpen in its sshd_config, and with port-forwarding and permitopen in"
            " the user's authorized_keys"
        )
        return JumpFailed(
            host=target.host, address=target.address, jump=jump.target.host, problem=problem
        )
    verb = "cannot connect to" if code == OPEN_CONNECT_FAILED else "opens no connection to"
    return _unreachable(target, f"jump {named(jump.target)} {verb} {there}: {said}")


def _unreachable(target: Target, problem: str) -> HostUnreachable:
    return HostUnreachable(host=target.host, address=target.address, problem=problem)


async def _close(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await connection.wait_closed()
    except (TimeoutError, OSError, asyncssh.Error):
        connection.abort()
