"""Running a command on any kind of connection: with sh, as root through sudo, bounded output, a time limit."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tendhost.server.domain.bounds import text
from tendhost.server.domain.host_errors import (
    HostError,
    LinkLost,
    OutputTooLarge,
    PrivilegeMissing,
    ShellUnusable,
    Timeout,
)
from tendhost.server.remote.protocol import DEFAULT_OUTPUT_LIMIT, Completed
from tendhost.server.remote.shell import NoiseTooLong, ScriptOutput, command_line

LONGEST_WORDS = 400
"""Characters of what a host printed that stand in an error."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How the shell of a user ended."""

    status: int
    """The exit status, or the number of the signal."""
    by_signal: bool = False

    @property
    def as_sh_says(self) -> int:
        """The exit status as in sh(1): 128 + n for signal n."""
        return self.status + 128 if self.by_signal else self.status


@dataclass(slots=True, kw_only=True)
class Input:
    """What a command reads, and when it may be written: not before its script has begun."""

    data: bytes
    wanted: asyncio.Future[None]

    async def ready(self, ended: "asyncio.Future[Any]") -> bytes:
        """What is to be written, once that is known; nothing for a command that has ended before."""
        if self.data:
            await asyncio.wait({self.wanted, ended}, return_when=asyncio.FIRST_COMPLETED)
        return self.data if self.wanted.done() else b""


class CommandRemote(ABC):
    """A Remote whose subclass executes one command line; the rest is the same for all of them."""

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
        input: Input,
    ) -> Exit:
        """Have the user's shell execute `line` within `timeout`; how the shell ended.

        An error that a callback raises ends the command and is raised here. Raises Timeout, LinkLost, ChannelRefused.
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

        Raises Timeout, LinkLost, ChannelRefused, PrivilegeMissing, ShellUnusable, and what a callback raises.
        """
        through_sudo = privileged and not self._is_root
        line, head = command_line(command, through_sudo=through_sudo)
        output = ScriptOutput(on_stdout, on_stderr)
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def stdout(data: bytes) -> None:
            output.stdout(data)
            if output.begun and not begun.done():
                begun.set_result(None)

        try:
            end = await self._execute(
                line, timeout, stdout, output.stderr, Input(data=head + input, wanted=begun)
            )
        except NoiseTooLong:
            raise self._shell_unusable(output, "and goes on printing") from None
        except Timeout as error:
            if output.begun or not output.words():
                raise
            # A menu, for example, that waits for a choice.
            ending = f"and did not end within {error.seconds:g} s"
            raise self._shell_unusable(output, ending) from error
        if not output.begun:
            raise self._did_not_run(output, end)
        output.flush()
        return end.as_sh_says if output.status is None else output.status

    def _did_not_run(self, output: ScriptOutput, end: Exit) -> HostError:
        """Why a command line that has ended did not run its script."""
        said = text(output.words(), most=LONGEST_WORDS)
        if end.by_signal:
            # On the way down, for example. A shell that does not run commands ends by itself.
            problem = f"the shell was ended by signal {end.status} before the command began: {said}"
            return LinkLost(host=self._host, address=self._host, problem=problem.rstrip(": "))
        if output.user_shell_ran:
            problem = said or f"sudo ended with exit status {end.status} and printed nothing"
            return PrivilegeMissing(host=self._host, user=self._user, problem=problem)
        return self._shell_unusable(output, f"and ended with exit status {end.status}")

    def _shell_unusable(self, output: ScriptOutput, ending: str) -> ShellUnusable:
        said = text(output.words(), most=LONGEST_WORDS)
        problem = f"the host printed {repr(said) if said else 'nothing'} {ending}"
        return ShellUnusable(host=self._host, user=self._user, problem=problem)
