"""Simulated hosts by the thousand: they have no state and no programs, and tell what one host answered once."""

import asyncio
import shlex

import asyncssh

from tendhost.server.remote.job_scripts import ATTACH, CLEAN, START
from tendhost.server.remote.shell import command_line
from tests.command_lines import printed, script_of
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


class RecordedJobs:
    """The jobs of a recorded host: each runs, and says nothing, until it is told to end."""

    def __init__(self) -> None:
        self.attached = 0
        """How often somebody took one over."""
        self._begun: set[tuple[str, str]] = set()
        self._epochs: dict[str, int] = {}
        self._over = False

    def end(self) -> None:
        """End what runs, and at once what begins from now on."""
        self._over = True

    def answer(self, command: str) -> str:
        """What the host says to a request about a job, see remote/job.py."""
        words = shlex.split(command.partition("\nops=")[0])
        values = dict(word.split("=", 1) for word in words)
        operation, epoch = values["operation"], int(values["epoch"])
        key = (operation, values["job"])
        if command.endswith(ATTACH):
            self.attached += 1
            self._epochs[operation] = epoch
        if command.endswith(CLEAN):
            self._begun = {job for job in self._begun if job[0] != operation}
            return "tendhost-job absent\n"
        if self._epochs.get(operation) != epoch:
            return f"tendhost-job stale {self._epochs.get(operation, 'none')}\n"
        if command.endswith(START):
            self._begun.add(key)
        if key not in self._begun:
            return "tendhost-job absent\n"
        state = "ended 0" if self._over else "running -"
        return f"tendhost-job {state} same 0 0 0 0 all\n"


class RecordedHost(SimulatedMachine):
    """One of them: of its own it has a key, a port and a boot id."""

    def __init__(self, name: str, login_key: str, recording: Recording) -> None:
        super().__init__(name, login_key)
        self._recording = recording
        self.jobs = RecordedJobs()

    def _wake(self) -> None:
        """Its boot id is all that a boot changes."""

    async def _execute(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        command = process.command or ""
        script = script_of(command)
        if "tendhost-job" in script:
            process.stdout.write(printed(self.jobs.answer(script).encode()))
            process.exit(0)
            return
        # An order to reboot names the boot that it is for.
        original = self._recording.original.boot_id.encode()
        command, _ = command_line(script.replace(self.boot_id, original.decode()))
        answer = await self._recording.answer(command)
        process.stdout.write(answer.stdout.replace(original, self.boot_id.encode()))
        process.stderr.write(answer.stderr)
        process.exit(answer.exit_status)
        if answer.reboots:
            self.reboot()
