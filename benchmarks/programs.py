"""Programs under measurement: started, spoken to line by line, and asked for what they have cost."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.figures import Unmeasured

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process has cost since it began."""

    cpu_seconds: float
    """In user and system mode, all threads; in steps of a hundredth of a second."""
    resident_mib: float
    peak_mib: float
    """The highest resident size so far (VmHWM)."""


class Program:
    """A running process that speaks in lines."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, errors: IO[bytes]) -> None:
        self.name = name
        self._process = process
        self._errors = errors

    async def line(self, *, timeout: float = START_SECONDS) -> str:
        """The next line it prints. Raises Unmeasured when there is none in time."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise Unmeasured(f"{self.name} said nothing for {timeout:g} s") from None
        if not line:
            raise Unmeasured(f"{self.name} ended early: {self._last_words()}")
        return line.decode().rstrip("\n")

    def tell(self, line: str) -> None:
        """Give it a line to read."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def usage(self) -> Usage:
        """What it has cost so far."""
        process = Path("/proc") / str(self._process.pid)
        # proc(5): the command may hold anything, so count from the last parenthesis.
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return Usage(
            cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
            resident_mib=_mib(status["VmRSS"]),
            peak_mib=_mib(status["VmHWM"]),
        )

    def kill(self) -> None:
        """End it at once, as by kill -9."""
        self._process.kill()

    async def stop(self) -> None:
        """Have it end, by force where it does not."""
        if self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")[-2000:].strip()


@asynccontextmanager
async def program(
    name: str, *command: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """A process that ends with the context, and with this process however that ends."""
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            *bound_to_this_process(),
            *command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
        running = Program(name, process, errors)
        try:
            yield running
        finally:
            await running.stop()


def bound_to_this_process() -> tuple[str, ...]:
    """What to put before a command so that it does not outlive this process; nothing where that cannot be had."""
    return ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of this project."""
    return (sys.executable, "-m", module, *arguments)


@asynccontextmanager
async def tendhostd(
    state_dir: Path, *options: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Program, str]]:
    """The real server on a free port of the loopback, and its address; `options` are more of its command line."""
    command = python(
        "tendhost.server.main",
        *("--listen", "127.0.0.1:0", "--auth", "none"),
        *("--state-dir", str(state_dir), "--log-level", "warning"),
        *options,
    )
    async with program("tendhostd", *command, environment=environment) as server:
        yield server, (await server.line()).split()[-1]


def _mib(kibibytes: str) -> float:
    return int(kibibytes.split(maxsplit=1)[0]) / 1024
