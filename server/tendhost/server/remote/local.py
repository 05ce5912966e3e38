"""The machine of the server itself, through the same protocol without SSH."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from tendhost.server.domain.errors import WorkTimeout
from tendhost.server.remote.commands import CommandRemote
from tendhost.server.remote.protocol import Remote, Target

ADDRESS = "local"
"""The address that means this machine; it is its host key, too."""
CHUNK = 64 * 1024


class LocalConnector:
    """Opens the way to this machine."""

    async def connect(self, target: Target) -> Remote:
        """See Connector."""
        return LocalRemote(target)

    async def enrol(self, *, host: str, address: str, port: int) -> str:
        """See Connector."""
        return ADDRESS

    async def aclose(self) -> None:
        """See Connector."""


class LocalRemote(CommandRemote):
    """This machine, as the user that the server runs as."""

    def __init__(self, target: Target) -> None:
        user = os.geteuid()
        super().__init__(host=target.host, user=str(user), is_root=user == 0)

    async def close(self) -> None:
        """See Remote."""

    async def _executed(
        self,
        line: str,
        timeout: timedelta,
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
    ) -> int:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            line,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(timeout.total_seconds()), asyncio.TaskGroup() as tasks:
                tasks.create_task(_pump(process.stdout, on_stdout))
                tasks.create_task(_pump(process.stderr, on_stderr))
        except TimeoutError as error:
            seconds = timeout.total_seconds()
            raise WorkTimeout(host=self._host, what="a command", seconds=seconds) from error
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            if not process.stdout.at_eof() or not process.stderr.at_eof():
                # Left in the middle: the whole group, for sh is not what keeps the pipes open.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            status = await process.wait()
        return status if status >= 0 else 128 - status


async def _pump(stream: asyncio.StreamReader, take: Callable[[bytes], None]) -> None:
    while data := await stream.read(CHUNK):
        take(data)
