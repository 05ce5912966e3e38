"""Running a command on any kind of connection: root through sudo, bounded output, a time limit."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from tendhost.server.domain.host_errors import OutputTooLarge, PrivilegeMissing, Timeout
from tendhost.server.remote.protocol import DEFAULT_OUTPUT_LIMIT, Completed
from tendhost.server.remote.script_input import loader, standard_input

SUDO_TIMEOUT = timedelta(seconds=30)


class CommandRemote(ABC):
    """A Remote whose subclass executes one line of sh; the rest is the same for all of them."""

    def __init__(self, *, host: str, user: str, is_root: bool) -> None:
        self._host = host
        self._user = user
        self._is_root = is_root

    @abstractmethod
    async def _execute(
        self,
        line: str,
        timeout: timedelta,
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
        input: bytes = b"",
    ) -> int:
        """Execute `line`, which reads `input`, within `timeout`; its exit status.

        An error that a callback raises ends the command and is raised here. Raises Timeout, LinkLost.
        """

    @asynccontextmanager
    async def _time_limit(self, timeout: timedelta) -> AsyncIterator[None]:
        """Raise Timeout for a command that takes longer."""
        seconds = timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise Timeout(host=self._host, what="a command", seconds=seconds) from error

    @abstractmethod
    async def close(self) -> None:
        """See Remote."""

    async def run(
        self,
        command: str,
        *,
        timeout: timedelta,
        privileged: bool = False,
        limit: int = DEFAULT_OUTPUT_LIMIT,
        input: bytes = b"",
    ) -> Completed:
        """See Remote."""
        stdout, stderr = bytearray(), bytearray()

        def bounded(into: bytearray) -> Callable[[bytes], None]:
            def take(data: bytes) -> None:
                into.extend(data)
                if len(stdout) + len(stderr) > limit:
                    raise OutputTooLarge(host=self._host, limit=limit)

            return take

        status = await self.stream(
            command,
            timeout=timeout,
            on_stdout=bounded(stdout),
            on_stderr=bounded(stderr),
            privileged=privileged,
            input=input,
        )
        return Completed(exit_status=status, stdout=bytes(stdout), stderr=bytes(stderr))

    async def stream(
        self,
        command: str,
        *,
        timeout: timedelta,
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
        privileged: bool = False,
        input: bytes = b"",
    ) -> int:
        """Run `command` as `run` does and pass its output to the callbacks as it comes; its exit status.

        Raises Timeout, LinkLost, PrivilegeMissing, and what a callback raises.
        """
        through_sudo = privileged and not self._is_root
        line = loader(reads=bool(input), through_sudo=through_sudo)
        sent = standard_input(command, input)
        status = await self._execute(line, timeout, on_stdout, on_stderr, sent)
        if through_sudo and status != 0:
            # Only a failure needs to be told from one of sudo: this saves a round trip.
            await self._require_sudo()
        return status

    async def _require_sudo(self) -> None:
        message = bytearray()
        status = await self._execute("sudo -n true", SUDO_TIMEOUT, lambda _: None, message.extend)
        if status != 0:
            problem = message.decode("utf-8", "replace").strip()
            raise PrivilegeMissing(
                host=self._host, user=self._user, problem=problem or "sudo refused"
            )
