"""Runs a command on the machine of the server, and keeps the end of its output."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

OUTPUT_LIMIT = 4096
"""Bytes of the end of a command's output that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command ended."""

    status: int | None
    """Exit status, the negative number of a signal, or None: it was killed after its timeout."""
    output: str
    """The end of its standard output and error, at most OUTPUT_LIMIT bytes."""


async def run_command(
    argv: Sequence[str], *, environment: Mapping[str, str], timeout: timedelta
) -> CommandResult:
    """Run a program without a shell, in a session of its own, with nothing on its input.

    After `timeout`, or when this is cancelled, its whole session's process group is killed. What it has
    left behind in the background is not waited for. Raises OSError where it cannot be run at all.
    """
    output = _Output()
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output.inlet,
            stderr=output.inlet,
            start_new_session=True,
        )
        output.begin()
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                status: int | None = await process.wait()
        except TimeoutError:
            status = None
        finally:
            if process.returncode is None:
                _kill(process.pid)
                await process.wait()
        return CommandResult(status=status, output=output.end())
    finally:
        output.close()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


class _Output:
    """A pipe that is read as it fills. asyncio's own would keep a process waited for until whatever it
    has left in the background closes it too."""

    def __init__(self) -> None:
        self._outlet, self.inlet = os.pipe()
        os.set_blocking(self._outlet, False)
        self._tail = bytearray()
        self._loop = asyncio.get_running_loop()
        self._inlet_open = True

    def begin(self) -> None:
        os.close(self.inlet)
        self._inlet_open = False
        self._loop.add_reader(self._outlet, self._read)

    def end(self) -> str:
        """What was said until now."""
        self._read()
        return self._tail.decode(errors="replace").strip()

    def close(self) -> None:
        self._loop.remove_reader(self._outlet)
        os.close(self._outlet)
        if self._inlet_open:
            os.close(self.inlet)

    def _read(self) -> None:
        try:
            data = os.read(self._outlet, 65536)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._outlet)
        self._tail += data
        del self._tail[:-OUTPUT_LIMIT]
