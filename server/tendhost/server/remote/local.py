"""Commands on the machine of the server itself, behind the same protocol as SSH."""

import asyncio
import os
import re
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from tendhost.server.domain.host_errors import LinkLost
from tendhost.server.domain.hosts.host import LOCAL
from tendhost.server.domain.secret_texts import environment_for_programs
from tendhost.server.remote.commands import CommandRemote, Exit, Input
from tendhost.server.remote.protocol import Remote, Target

ADDRESS = LOCAL
"""The address of this machine, which is also its host key."""


def own_unit(cgroups: str | None = None) -> str:
    """The systemd service that this process belongs to, by cgroups(7); empty: none.

    `cgroups` is the text of /proc/self/cgroup, which is read where it is not given.
    """
    if cgroups is None:
        try:
            cgroups = Path("/proc/self/cgroup").read_text()
        except OSError:
            return ""
    for line in cgroups.splitlines():
        match = _SERVICE.fullmatch(line)
        if match:
            return match["unit"]
    return ""


_SERVICE = re.compile(
    r"\d*:[^/]*:/system\.slice/(?:[^/]*\.slice/)*(?P<unit>[^/]*\.service)(?:/.*)?"
)


class LocalConnector:
    """Connects to this machine."""

    async def connect(self, target: Target) -> Remote:
        """See Connector."""
        return LocalRemote(target)

    async def key_problem(self, *, address: str, ssh_key: str) -> str:
        """See Connector: nobody logs in."""
        return ""

    async def get_certified_key(self, target: Target) -> str:
        """See Connector: this machine is what it is."""
        return ""

    async def get_public_keys(self, target: Target) -> tuple[str, ...]:
        """See Connector: nobody logs in."""
        return ()

    async def get_host_key_kinds(
        self, *, host: str, address: str, port: int, jump: Target | None = None
    ) -> tuple[str, ...]:
        """See Connector."""
        return (ADDRESS,)

    async def get_host_key(
        self, *, host: str, address: str, port: int, kind: str = "", jump: Target | None = None
    ) -> str:
        """See Connector."""
        return ADDRESS

    async def open_tunnel(
        self, *, host: str, address: str, port: int, jump: Target
    ) -> socket.socket:
        """See Connector: this machine has no jump."""
        raise AssertionError(host)

    async def aclose(self) -> None:
        """See Connector."""


class LocalRemote(CommandRemote):
    """This machine, as the user that the server runs as."""

    def __init__(self, target: Target) -> None:
        user = os.geteuid()
        super().__init__(host=target.host, user=str(user), is_root=user == 0)

    async def close(self) -> None:
        """See Remote."""

    async def _execute(
        self,
        line: str,
        timeout: timedelta,
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
        input: Input,
    ) -> Exit:
        process = _Process(on_stdout, on_stderr)
        transport = None
        try:
            async with self._time_limit(timeout):
                transport, _ = await asyncio.get_running_loop().subprocess_exec(
                    lambda: process,
                    "/bin/sh",
                    "-c",
                    line,
                    stdin=asyncio.subprocess.PIPE if input.data else asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                    env=environment_for_programs(os.environ),
                )
                _write(transport, await input.ready(process.ended))
                await process.ended
        except OSError as error:
            problem = f"a command cannot be started: {error.strerror or error}"
            raise LinkLost(host=self._host, address=ADDRESS, problem=problem) from error
        finally:
            if transport is not None:
                await process.close(transport)
        status = transport.get_returncode()
        assert status is not None
        return Exit(abs(status), by_signal=status < 0)


def _write(transport: asyncio.SubprocessTransport, input: bytes) -> None:
    """Write `input` for the process, which need not read it."""
    pipe = transport.get_pipe_transport(0)
    if pipe is not None:
        assert isinstance(pipe, asyncio.WriteTransport)
        pipe.write(input)
        pipe.write_eof()


class _Process(asyncio.SubprocessProtocol):
    """One command: passes its output to the callbacks and knows when it has ended."""

    def __init__(
        self, on_stdout: Callable[[bytes], None], on_stderr: Callable[[bytes], None]
    ) -> None:
        self._callbacks = {1: on_stdout, 2: on_stderr}
        self._exited = asyncio.Event()
        self._closed = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Has a result once the process has exited and nobody holds its output open."""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        try:
            self._callbacks[fd](data)
        except Exception as error:
            if not self.ended.done():
                self.ended.set_exception(error)

    def process_exited(self) -> None:
        self._exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        if not self.ended.done():
            self.ended.set_result(None)

    async def close(self, transport: asyncio.SubprocessTransport) -> None:
        """Release the process; kill its whole group if it still runs, as sh may have children."""
        if not self._closed:
            with suppress(ProcessLookupError):
                os.killpg(transport.get_pid(), signal.SIGKILL)
            await self._exited.wait()
        transport.close()
