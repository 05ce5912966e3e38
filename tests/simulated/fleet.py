"""A fleet of simulated hosts, each an SSH server on a loopback port, in a thread of its own."""

import asyncio
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import asyncssh

PROGRAMS = (
    "apt-cache",
    "apt-get",
    "df",
    "dpkg",
    "dpkg-query",
    "id",
    "needrestart",
    "systemctl",
    "systemd-detect-virt",
    "uname",
)
SIMULATE = Path(__file__).parent / "bin" / "simulate"
EFFECTS = {"tb-failing": "fails", "tb-kernel": "reboot"}
REDIRECTED = (
    "/proc/sys/kernel/random/boot_id",
    "/proc/uptime",
    "/proc/1/stat",
    "/run/reboot-required",
    "/run/systemd",
    "/etc/os-release",
    "/var/lib/dpkg/updates",
)
"""Files of a host that its scripts name by their absolute path; they are found in its folder instead."""


class SimulatedHost:
    """One host: a folder for its state and an SSH server in front of it."""

    address = "127.0.0.1"

    def __init__(self, name: str, packages: Sequence[str], folder: Path, key: str) -> None:
        self.name = name
        self.port = 0
        self.boot_count = 0
        self.dark_seconds = 0.0
        """How long it cannot be reached while it reboots."""
        self._folder = folder
        self._authorized = asyncssh.import_authorized_keys(key)
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._server: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()
        _lay_out(folder, packages)

    # --- the truth, past SSH ----------------------------------------------------------------------

    def version_of(self, package: str) -> str:
        """The installed version."""
        return self._row(package)[2]

    def package_state(self, package: str) -> str:
        """What the package database says, in words."""
        try:
            return {"ii ": "installed", "hi ": "installed", "iF ": "half-configured"}[
                self._row(package)[0]
            ]
        except KeyError:
            return "not installed"

    def transactions(self) -> list[str]:
        """A line ``NAME VERSION`` for each time that a post-install ran."""
        path = self._folder / "transactions"
        return path.read_text().splitlines() if path.exists() else []

    def mend(self) -> None:
        """Let the failing package succeed from now on."""
        (self._folder / "failing-ok").touch()

    def _row(self, package: str) -> list[str]:
        rows = (line.split("\t") for line in (self._folder / "installed").read_text().splitlines())
        return next((row for row in rows if row[1] == package), ["", package, ""])

    # --- the host ---------------------------------------------------------------------------------

    async def boot(self) -> None:
        """Come up, with another boot id."""
        self.boot_count += 1
        (self._folder / "reboot-ordered").unlink(missing_ok=True)
        for name in ("reboot-required", "reboot-required.pkgs"):
            (self._folder / "run" / name).unlink(missing_ok=True)
        proc = self._folder / "proc"
        (proc / "sys/kernel/random/boot_id").write_text(f"{uuid.uuid4()}\n")
        (proc / "uptime").write_text(f"{self.boot_count}.00 1.00\n")
        (proc / "1/stat").write_text(f"1 (init) S{' 0' * 18} {self.boot_count}\n")
        self._server = await asyncssh.listen(
            self.address,
            self.port,
            server_host_keys=[self._host_key],
            authorized_client_keys=self._authorized,
            process_factory=self._execute,
            encoding=None,
            acceptor=self._connections.add,
        )
        self.port = self._server.get_port()

    async def go_down(self) -> None:
        """Drop every connection and answer no more."""
        if self._server is not None:
            self._server.close()
            for connection in self._connections:
                connection.abort()
            self._connections.clear()
            await self._server.wait_closed()

    async def _execute(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        command = process.command or ""
        for path in REDIRECTED:
            command = command.replace(path, f"{self._folder}{path}")
        running = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": f"{self._folder}/bin:/usr/bin:/bin", "SIM": str(self._folder)},
        )
        await process.redirect(stdout=running.stdout, stderr=running.stderr)
        status = await running.wait()
        await process.stdout.drain()
        process.exit(status)
        if (self._folder / "reboot-ordered").exists():
            asyncio.get_running_loop().create_task(self._reboot())

    async def _reboot(self) -> None:
        await asyncio.sleep(0.2)
        await self.go_down()
        await asyncio.sleep(self.dark_seconds)
        await self.boot()


def _lay_out(folder: Path, packages: Sequence[str]) -> None:
    for name in ("bin", "run/systemd/system", "etc", "proc/sys/kernel/random", "proc/1"):
        (folder / name).mkdir(parents=True)
    for program in PROGRAMS:
        (folder / "bin" / program).symlink_to(SIMULATE)
    release = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Simulated Debian 12"\n'
    (folder / "etc/os-release").write_text(release)
    (folder / "installed").write_text("".join(map(_installed_line, packages)))
    (folder / "archive").write_text("".join(_archive_line(name) for name in packages))
    (folder / "held").write_text("tb-held\n")


def _installed_line(name: str) -> str:
    status = "hi " if name == "tb-held" else "ii "
    return f"{status}\t{name}\t1.0-1\n"


def _archive_line(name: str) -> str:
    if name == "tb-secure":
        return "tb-secure 1.0-1+deb12u1 Debian-Security:12/stable-security none\n"
    return f"{name} 2.0-1 Debian:12/stable {EFFECTS.get(name, 'none')}\n"


class SimulatedFleet:
    """``with SimulatedFleet({"web1": ("tb-simple",)}) as fleet:`` gives hosts that answer at loopback ports."""

    def __init__(self, hosts: Mapping[str, Sequence[str]]) -> None:
        self._wanted = hosts
        self._folder = TemporaryDirectory(prefix="tendhost-simulated-")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        key = asyncssh.generate_private_key("ssh-ed25519")
        self._public = key.export_public_key().decode()
        self.private_key: bytes = key.export_private_key()
        """The key that root accepts on every host, in OpenSSH's format."""
        self.hosts: list[SimulatedHost] = []

    def __getitem__(self, name: str) -> SimulatedHost:
        return next(host for host in self.hosts if host.name == name)

    def __enter__(self) -> Self:
        root = Path(self._folder.name)
        self.hosts = [
            SimulatedHost(name, packages, root / name, self._public)
            for name, packages in self._wanted.items()
        ]
        self._thread.start()
        for host in self.hosts:
            asyncio.run_coroutine_threadsafe(host.boot(), self._loop).result(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for host in self.hosts:
            asyncio.run_coroutine_threadsafe(host.go_down(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._folder.cleanup()
