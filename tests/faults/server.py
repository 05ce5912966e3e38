"""The server under test: started with failpoints, killed, and started again on what it left behind."""

import asyncio
import base64
import os
import shlex
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import grpc

from tendhost.server.failpoints import VARIABLE
from tendhost.v1.event_service_pb2_grpc import EventServiceStub
from tendhost.v1.host_service_pb2_grpc import HostServiceStub
from tendhost.v1.operation_service_pb2_grpc import OperationServiceStub
from tendhost.v1.policy_service_pb2_grpc import PolicyServiceStub
from tendhost.v1.rollout_service_pb2_grpc import RolloutServiceStub
from tendhost.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from tests.e2e.daemon import Daemon

T = TypeVar("T")

START_SECONDS = 60.0
RETRY_SECONDS = 0.1
# Calls wait for a server that is being restarted, instead of failing, and look for it often.
CHANNEL_OPTIONS = (
    ("grpc.service_config", '{"methodConfig":[{"name":[{}],"waitForReady":true}]}'),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
)


class ServerEndedBadly(Exception):
    """The server ended in another way than the one asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a server runs under."""

    state: Path
    """Its folder; its log is written beside it."""
    key: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    state_size: str = ""
    """Where given, the folder is a file system of its own of this size, such as "8m". It is mounted in
    a namespace of the server's, so it goes with the server, and no restart finds it again."""


class Server:
    """A tendhostd that can be killed and started again at one address."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._address = f"127.0.0.1:{_free_port()}"
        self._process: asyncio.subprocess.Process | None = None
        self._channel = grpc.aio.insecure_channel(self._address, options=CHANNEL_OPTIONS)
        self.log = conditions.state.with_suffix(".log")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            # However it ended: an interrupt from the keyboard reaches it, too.
            await self._process.wait()
        await self._channel.close(None)

    @property
    def process(self) -> asyncio.subprocess.Process:
        """Of the present life."""
        assert self._process is not None, "the server is not running"
        return self._process

    @property
    def daemon(self) -> Daemon:
        """Stubs, which go on to be good after a restart."""
        return Daemon(
            process=self.process,
            address=self._address,
            log=self.log,
            hosts=HostServiceStub(self._channel),
            operations=OperationServiceStub(self._channel),
            rollouts=RolloutServiceStub(self._channel),
            events=EventServiceStub(self._channel),
        )

    @property
    def policies(self) -> PolicyServiceStub:
        """Likewise, of what is said of the fleet."""
        return PolicyServiceStub(self._channel)

    @property
    def schedules(self) -> ScheduleServiceStub:
        """Likewise, of schedules."""
        return ScheduleServiceStub(self._channel)

    async def start(self, failpoints: str = "") -> None:
        """Begin a life; one that ends at its failpoint before it serves is a life, too."""
        with self.log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *self._command(),
                env=self._environment(failpoints),
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
            )
        self._process = process
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            ready = await process.stdout.readline()
            if not ready:
                await process.wait()
        if not ready and process.returncode != -signal.SIGKILL:
            raise self._ended_badly("did not start")

    async def kill(self) -> None:
        """End it as `kill -9` does."""
        process = self.process
        if process.returncode is None:
            process.kill()
        await self.ended()

    async def restart(self, failpoints: str = "") -> None:
        """Kill it, and begin another life."""
        await self.kill()
        await self.start(failpoints)

    async def ended(self) -> None:
        """Return once it was killed. Raises ServerEndedBadly where it ended in another way."""
        status = await self.process.wait()
        if status != -signal.SIGKILL:
            raise self._ended_badly(f"ended with status {status}")

    def _ended_badly(self, how: str) -> ServerEndedBadly:
        tail = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
        return ServerEndedBadly(f"tendhostd {how}; its last words: {tail}")

    def _command(self) -> tuple[str, ...]:
        state = str(self._conditions.state)
        serving = (sys.executable, "-m", "tendhost.server.main", "--listen", self._address)
        words = (*serving, "--auth", "none", "--state-dir", state)
        if not self._conditions.state_size:
            return words
        options = f"size={self._conditions.state_size},mode=700"
        mount = f"mkdir -p {state} && mount -t tmpfs -o {options} state {state}"
        script = f"{mount} && exec {shlex.join(words)}"
        return ("unshare", "--mount", "--propagation", "private", "sh", "-c", script)

    def _environment(self, failpoints: str) -> dict[str, str]:
        key = base64.b64encode(self._conditions.key.read_bytes()).decode()
        environment = {**os.environ, **self._conditions.environment, "TENDHOST_SSH_KEY": key}
        if failpoints:
            environment[VARIABLE] = failpoints
        return environment


async def retried(call: Callable[[], Awaitable[T]]) -> T:
    """What a call that may be repeated returns, from whichever life of the server answers it."""
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(RETRY_SECONDS)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
