"""Simulated hosts by the thousand: they have no state and no programs, and tell what one host answered once."""

import asyncio

import asyncssh

from tests.simulated.host import SimulatedMachine
from tests.simulated.shell import Answer, SimulatedHost


class Recording:
    """What a host answers, command by command: asked when a command is new, and from memory after that."""

    def __init__(self, original: SimulatedHost) -> None:
        self.original = original
        self._answers: dict[str, asyncio.Future[Answer]] = {}

    async def answer(self, command: str) -> Answer:
        """What the host answered to this command when it came for the first time."""
        if command not in self._answers:
            self._answers[command] = asyncio.ensure_future(self.original.answer(command))
        # Others may wait for it too, when the connection of the first one breaks.
        return await asyncio.shield(self._answers[command])


class RecordedHost(SimulatedMachine):
    """One of them: of its own it has a key, a port and a boot id."""

    def __init__(self, name: str, login_key: str, recording: Recording) -> None:
        super().__init__(name, login_key)
        self._recording = recording

    def _wake(self) -> None:
        """Its boot id is all that a boot changes."""

    async def _execute(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        answer = await self._recording.answer(process.command or "")
        original = self._recording.original.boot_id.encode()
        process.stdout.write(answer.stdout.replace(original, self.boot_id.encode()))
        process.stderr.write(answer.stderr)
        process.exit(answer.exit_status)
        if answer.reboots:
            self.reboot()
