"""A simulated host that keeps a state and really executes what it is sent, among simulated programs."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from tendhost.server.remote.shell import command_line
from tests.command_lines import script_of
from tests.simulated.host import SimulatedMachine

PROGRAMS = (
    "apt-cache",
    "apt-get",
    "busctl",
    "df",
    "dpkg",
    "dpkg-query",
    "id",
    "needrestart",
    "systemctl",
    "systemd-run",
    "systemd-detect-virt",
    "uname",
)
SIMULATE = Path(__file__).parent / "bin" / "simulate"
EFFECTS = {
    "tb-conf": "conffile",
    "tb-failing": "fails",
    "tb-kernel": "reboot",
    "tb-newdep": "newdep",
    "tb-slow": "slow",
}
STATES = {"ii ": "installed", "hi ": "installed", "iF ": "half-configured"}
REDIRECTED = (
    "/proc/sys/kernel/random/boot_id",
    "/proc/uptime",
    "/proc/1/stat",
    "/run/reboot-required",
    "/run/systemd",
    "/etc/os-release",
    "/var/lib/dpkg/updates",
    "/var/lib/tendhost",
)
"""Files of a host that its scripts name by their absolute path; they are found in its folder instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command did."""

    stdout: bytes
    stderr: bytes
    exit_status: int
    reboots: bool
    """Whether it ordered a reboot."""


class SimulatedHost(SimulatedMachine):
    """One host: a folder for its state and an SSH server in front of it."""

    def __init__(
        self, name: str, login_key: str, folder: Path, packages: Sequence[str], others: int = 0
    ) -> None:
        super().__init__(name, login_key)
        self._folder = folder
        self._running: set[asyncio.subprocess.Process] = set()
        _lay_out(folder, packages, others)

    # --- the truth, past SSH ----------------------------------------------------------------------

    def version_of(self, package: str) -> str:
        """The installed version."""
        return self._row(package)[2]

    def package_state(self, package: str) -> str:
        """What the package database says, in words."""
        return STATES.get(self._row(package)[0], "not installed")

    def transactions(self) -> list[str]:
        """A line ``NAME VERSION`` for each time that a post-install ran."""
        path = self._folder / "transactions"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def is_slow(self) -> bool:
        """Whether the slow package is being installed at this moment."""
        return (self._folder / "run/tb-slow-running").exists()

    def mend(self) -> None:
        """Let the failing package succeed from now on."""
        (self._folder / "failing-ok").touch()

    def write(self, path: str, text: str) -> None:
        """Put a file on it: ``write("/etc/tb-slow-seconds", "5")``."""
        (self._folder / path.removeprefix("/")).write_text(text)

    def _row(self, package: str) -> list[str]:
        rows = (line.split("\t") for line in (self._folder / "installed").read_text().splitlines())
        return next((row for row in rows if row[1] == package), ["", package, ""])

    # --- the host ---------------------------------------------------------------------------------

    async def answer(self, command: str) -> Answer:
        """What a command does, gathered; a reboot that it orders is left to whoever asked."""
        running = await self._started(command)
        stdout, stderr = await running.communicate()
        self._running.discard(running)
        assert running.returncode is not None
        return Answer(
            stdout=stdout,
            stderr=stderr,
            exit_status=running.returncode,
            reboots=self._taken_order(),
        )

    def _wake(self) -> None:
        self._taken_order()
        for name in ("reboot-required", "reboot-required.pkgs"):
            (self._folder / "run" / name).unlink(missing_ok=True)
        proc = self._folder / "proc"
        (proc / "sys/kernel/random/boot_id").write_text(f"{self.boot_id}\n")
        (proc / "uptime").write_text(f"{self.boot_count}.00 1.00\n")
        (proc / "1/stat").write_text(f"1 (init) S{' 0' * 18} {self.boot_count}\n")

    async def _execute(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        running = await self._started(process.command or "")
        await process.redirect(stdout=running.stdout, stderr=running.stderr)
        feeding = asyncio.create_task(_feed(process, running))
        status = await running.wait()
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        self._running.discard(running)
        await process.stdout.drain()
        process.exit(status)
        if self._taken_order():
            self.reboot()

    async def _started(self, command: str) -> asyncio.subprocess.Process:
        script = script_of(command)
        for path in REDIRECTED:
            script = script.replace(path, f"{self._folder}{path}")
        command, _ = command_line(script)
        started = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": f"{self._folder}/bin:/usr/bin:/bin", "SIM": str(self._folder)},
            start_new_session=True,
        )
        self._running.add(started)
        return started

    async def _go_down(self) -> None:
        await super()._go_down()
        # What lost its link goes on, as on a real host, but not through a shutdown.
        for process in self._running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        while self._running:
            await self._running.pop().wait()

    def _taken_order(self) -> bool:
        """Whether a reboot was ordered; it is asked of only once."""
        order = self._folder / "reboot-ordered"
        ordered = order.exists()
        order.unlink(missing_ok=True)
        return ordered


async def _feed(
    process: "asyncssh.SSHServerProcess[bytes]", running: asyncio.subprocess.Process
) -> None:
    """Hand a program what the client sends it."""
    assert running.stdin is not None
    with suppress(ConnectionError, asyncssh.Error):
        while data := await process.stdin.read(65536):
            running.stdin.write(data)
            await running.stdin.drain()
    running.stdin.close()


def _lay_out(folder: Path, packages: Sequence[str], others: int) -> None:
    for name in ("bin", "run/systemd/system", "etc", "proc/sys/kernel/random", "proc/1"):
        (folder / name).mkdir(parents=True)
    for program in PROGRAMS:
        (folder / "bin" / program).symlink_to(SIMULATE)
    release = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Simulated Debian 12"\n'
    (folder / "etc/os-release").write_text(release)
    (folder / "etc/tb-conf.conf").write_text("# shipped with 1.0-1\n")
    names = (*packages, *(f"other-{number:04}" for number in range(others)))
    (folder / "installed").write_text("".join(map(_installed_line, names)))
    (folder / "archive").write_text("".join(map(_archive_line, packages)))
    (folder / "held").write_text("tb-held\n")


def _installed_line(name: str) -> str:
    status = "hi " if name == "tb-held" else "ii "
    return f"{status}\t{name}\t1.0-1\n"


def _archive_line(name: str) -> str:
    if name == "tb-secure":
        return "tb-secure 1.0-1+deb12u1 Debian-Security:12/stable-security none\n"
    return f"{name} 2.0-1 Debian:12/stable {EFFECTS.get(name, 'none')}\n"
