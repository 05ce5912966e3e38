"""One of the servers: a process that is killed, stopped and started again, with a way to the database of its own."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import grpc

from tests.cluster import ClientLink

START_SECONDS = 60.0


class Replica:
    """A tendhostd at one address, over the database behind its link.

    `secrets` are environment variables: PGPASSWORD, TENDHOST_SSH_KEY.
    """

    def __init__(
        self, number: int, link: ClientLink, secrets: Mapping[str, str], folder: Path
    ) -> None:
        self.name = f"replica{number}"
        self.link = link
        self.address = f"127.0.0.1:{_free_port()}"
        self.log = folder / f"{self.name}.log"
        self._secrets = secrets
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, clock: Mapping[str, str] | None = None) -> None:
        """Begin a life, and wait until it serves; it may have to wait for the database itself.

        `clock`: the environment that makes its clock a wrong one.
        """
        options = {
            "--store": self.link.address,
            "--listen": self.address,
            "--auth": "none",
            "--state-dir": str(self._folder / self.name),
        }
        words = [word for option in options.items() for word in option]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._folder)}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m"),
                *("tendhost.server.main", *words),
                env=environment | dict(self._secrets) | dict(clock or {}),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(START_SECONDS), grpc.aio.insecure_channel(self.address) as ready:
            await ready.channel_ready()

    async def kill(self) -> None:
        """kill -9."""
        process = self._running()
        if process.returncode is None:
            process.kill()
        await process.wait()

    async def stop(self) -> int:
        """SIGTERM; the exit status."""
        process = self._running()
        process.terminate()
        return await process.wait()

    def freeze(self) -> None:
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, f"{self.name} was not started"
        return self._process


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
