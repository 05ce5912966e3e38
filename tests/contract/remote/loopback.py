"""An SSH server in this process, on a loopback port, that executes commands with a real sh."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncssh

USER_PROGRAMS = {
    # What the machine itself would say of sudo depends on who runs the tests.
    "sudo": """#!/bin/sh
[ "$USER" = nosudo ] && { echo "sudo: a password is required" >&2; exit 1; }
[ "$1" = -n ] && shift
[ "$1" = -- ] && shift
BECAME=root exec "$@"
""",
    "id": """#!/bin/sh
[ "$BECAME$USER" = "rootops" ] || [ "$USER" = root ] && echo 0 || echo 1000
""",
}


def lay_out_programs(folder: Path) -> Path:
    """The folder of a sudo and an id that go by $USER: root, ops, or nosudo."""
    folder.mkdir()
    for name, text in USER_PROGRAMS.items():
        program = folder / name
        program.write_text(text)
        program.chmod(0o755)
    return folder


class LoopbackServer:
    """Accepts one key, for every user."""

    def __init__(self, programs: Path, **options: Any) -> None:
        self.login_key = asyncssh.generate_private_key("ssh-ed25519")
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = 0
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._programs = programs
        self._options = options
        self._running: set[asyncio.subprocess.Process] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def host_key(self) -> str:
        """Type and base64."""
        return public(self.key)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["LoopbackServer"]:
        """Answers as long as the context lasts."""
        keys = asyncssh.import_authorized_keys(public(self.login_key))
        chosen: Mapping[str, Any] = {
            "server_host_keys": [self.key],
            "authorized_client_keys": keys,
            "process_factory": self._start,
            "encoding": None,
            "acceptor": self.connections.add,
            **self._options,
        }
        server = await asyncssh.listen("127.0.0.1", 0, **chosen)
        self.port = server.get_port()
        try:
            yield self
        finally:
            server.close()
            await self.cut()
            await server.wait_closed()

    async def cut(self) -> None:
        """Drop every connection in the middle of whatever it does, and end what runs."""
        for connection in self.connections:
            connection.abort()
        self.connections.clear()
        for process in self._running:
            _end(process)
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        task = asyncio.create_task(self._execute(process))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _execute(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        user = process.get_extra_info("username")
        running = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            process.command or "",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": f"{self._programs}:{os.environ['PATH']}", "USER": user},
            start_new_session=True,
        )
        self._running.add(running)
        assert running.stdin is not None
        feeding = asyncio.create_task(_feed(process.stdin, running.stdin))
        async with asyncio.TaskGroup() as pumps:
            pumps.create_task(_pump(running.stdout, process.stdout))
            pumps.create_task(_pump(running.stderr, process.stderr))
        status = await running.wait()
        self._running.discard(running)
        feeding.cancel()
        if status < 0:
            process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        else:
            process.exit(status)


def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _feed(source: "asyncssh.SSHReader[bytes]", into: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        into.write(data)
    into.close()


async def _pump(source: asyncio.StreamReader | None, into: "asyncssh.SSHWriter[bytes]") -> None:
    assert source is not None
    while data := await source.read(65536):
        # To the end even where the client went away: a pipe that nobody reads has no end.
        with suppress(asyncssh.Error, OSError):
            into.write(data)
            await into.drain()


def public(key: asyncssh.SSHKey) -> str:
    """Type and base64 of a key's public half."""
    kind, blob = key.export_public_key().decode().split()[:2]
    return f"{kind} {blob}"
