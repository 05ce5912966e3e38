"""`tendhostd` as a process of its own."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import grpc

START_SECONDS = 30.0
END_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a server ended that did not serve."""

    status: int
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Process:
    """A server that serves."""

    process: asyncio.subprocess.Process
    address: str
    """The last of its addresses."""
    ports: Sequence[int] = ()
    """Of its TCP addresses."""

    async def ended_after(self, signum: signal.Signals) -> Ended:
        """Send a signal, and give how the server ended."""
        self.process.send_signal(signum)
        async with asyncio.timeout(END_SECONDS):
            _, stderr = await self.process.communicate()
        assert self.process.returncode is not None
        return Ended(status=self.process.returncode, stderr=stderr.decode())


async def _begun(
    folder: Path, *options: str, environment: Mapping[str, str]
) -> asyncio.subprocess.Process:
    # Nothing of whoever runs the tests: neither settings nor keys.
    home = {"HOME": str(folder), "PATH": os.environ["PATH"]}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tendhost.server.main", *options),
        env=home | dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(folder: Path, *options: str, **environment: str) -> Ended:
    """How a server ends that cannot serve with these options."""
    process = await _begun(folder, *options, environment=environment)
    try:
        async with asyncio.timeout(START_SECONDS):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert stdout == b"", "it serves"
    assert process.returncode is not None
    return Ended(status=process.returncode, stderr=stderr.decode())


async def crashed(folder: Path, *options: str, failpoints: str) -> int:
    """The exit status of a server that is killed at one of these points, served or not by then."""
    process = await _begun(folder, *options, environment={"TENDHOST_FAILPOINTS": failpoints})
    try:
        async with asyncio.timeout(START_SECONDS):
            await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode


@asynccontextmanager
async def serving_process(
    folder: Path,
    *options: str,
    listen: str = "127.0.0.1:0",
    state: Path | None = None,
    auth: str = "none",
    environment: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Process]:
    """A server, killed at the end if it has not ended by then."""
    place = ("--listen", listen, "--auth", auth, "--state-dir", str(state or folder / "state"))
    process = await _begun(folder, *place, *options, environment=environment)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            ready = (await process.stdout.readline()).decode()
            assert ready, (await process.stderr.read()).decode()
        ports = [int(port) for port in re.findall(r":(\d+)(?=,|$)", ready.strip())]
        yield Process(process=process, address=ready.split()[-1], ports=ports)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def channel_to(process: Process) -> AsyncIterator[grpc.aio.Channel]:
    """A connection to a server."""
    async with grpc.aio.insecure_channel(process.address) as channel:
        yield channel
