"""What running a command means on any way to a host: root through sudo, output with a bound."""

import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta

from tendhost.server.domain.host_errors import OutputTooLarge, PrivilegeMissing
from tendhost.server.remote.protocol import DEFAULT_OUTPUT_LIMIT, Completed

SUDO_TIMEOUT = timedelta(seconds=30)


class CommandRemote(ABC):
    """A Remote that knows how to execute one line of sh; the rest is the same for all of them."""

    def __init__(self, *, host: str, user: str, is_root: bool) -> None:
        self._host = host
        self._user = user
        self._is_root = is_root

    @abstractmethod
    async def _executed(
        self,
        line: str,
        timeout: timedelta,
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
        input: bytes = b"",
    ) -> int:
        """Execute `line`, which reads `input`; its exit status.

        An error that a callback raises ends it and comes out.
        """

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
        """Run `command` as `run` does, and hand on what it prints as it comes; its exit status.

        Raises Timeout, LinkLost, PrivilegeMissing, and what a callback raises.
        """
        through_sudo = privileged and not self._is_root
        line = f"sudo -n -- sh -c {shlex.quote(command)}" if through_sudo else command
        status = await self._executed(line, timeout, on_stdout, on_stderr, input)
        if through_sudo and status != 0:
            # Whose failure it was is only asked when there was one: a round trip saved otherwise.
            await self._require_sudo()
        return status

    async def _require_sudo(self) -> None:
        words = bytearray()
        status = await self._executed("sudo -n true", SUDO_TIMEOUT, lambda _: None, words.extend)
        if status != 0:
            said = words.decode("utf-8", "replace").strip()
            raise PrivilegeMissing(host=self._host, user=self._user, problem=said or "sudo refused")
