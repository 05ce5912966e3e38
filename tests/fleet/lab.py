"""The lab: the namespaces that hold one fleet, tied to the life of the process that started it."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from tests.fleet.base import SCRIPTS, Base
from tests.fleet.claim import PREFIX_LENGTH, Claim
from tests.fleet.errors import FleetError
from tests.fleet.processes import namespace_init_below

STOP_SECONDS = 10.0


class Lab:
    """A bridge, the package archive and room for hosts, all in namespaces of their own."""

    def __init__(self, claim: Claim, base: Base) -> None:
        self.claim = claim
        self.base = base
        self.init_pid = 0
        self._process: subprocess.Popen[str] | None = None
        self._versions = claim.state / "archive" / "hosts"

    @property
    def logs(self) -> Path:
        return self.claim.state / "logs"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C",
            "FLEET_STATE": str(self.claim.state),
            "FLEET_GATEWAY": self.claim.gateway,
            "FLEET_PREFIX": str(PREFIX_LENGTH),
            "FLEET_CGROUP": self.claim.cgroup,
            "FLEET_PYTHON": sys.executable,
        }

    def start(self) -> None:
        for folder in (self.logs, self.claim.state / "hosts", self._versions):
            folder.mkdir(parents=True)
        namespaces = [
            "--pid",
            "--mount",
            "--net",
            "--uts",
            "--ipc",
            "--mount-proc",
            "--propagation",
            "private",
        ]
        with (self.logs / "lab.log").open("w", encoding="utf-8") as log:
            # PR_SET_PDEATHSIG would not do as the tie to this process: that signal comes when the
            # *thread* that forked ends, and tests start fleets from worker threads.  The pipe
            # closes when the process ends, in whatever way.
            self._process = subprocess.Popen(
                [
                    "unshare",
                    "--fork",
                    "--kill-child=KILL",
                    *namespaces,
                    "--",
                    str(SCRIPTS / "lab.sh"),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
                # The lock lives as long as the lab, not only as its runner: nobody takes the place of a dying lab.
                pass_fds=[self.claim.lock],
                start_new_session=True,
            )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            raise FleetError("the lab did not start")
        init_pid = namespace_init_below(self._process.pid, depth=1)
        if init_pid is None:
            raise FleetError("the lab ended as soon as it had started")
        self.init_pid = init_pid
        self._connect()

    def _connect(self) -> None:
        """Give the runner's own network namespace a link into the lab; it goes when the lab goes."""
        link = self.claim.uplink
        commands = [
            f"link add {link} type veth peer name up0 netns {self.init_pid}",
            f"address add {self.claim.uplink_address}/{PREFIX_LENGTH} dev {link}",
            f"link set {link} up",
        ]
        subprocess.run(
            ["ip", "-batch", "-"],
            input="\n".join(commands) + "\n",
            text=True,
            check=True,
            capture_output=True,
        )
        self.run("ip", "link", "set", "up0", "master", "br0", "up")

    def introduce(self, address: str, mac: str) -> None:
        """Tell the runner's kernel where an address lives.

        Otherwise whoever calls a host while it boots makes the kernel ask for it in vain, and ask
        again only a second later.  The entry is an ordinary one, which grows old.
        """
        entry = [address, "lladdr", mac, "dev", self.claim.uplink, "nud", "stale"]
        subprocess.run(["ip", "neighbour", "replace", *entry], check=True, capture_output=True)

    def command(self, *command: str) -> list[str]:
        """The words that run a command inside the lab."""
        into = ["--mount", "--net", "--uts", "--ipc", "--pid"]
        return ["nsenter", f"--target={self.init_pid}", *into, "--", *command]

    def run(self, *command: str) -> None:
        done = subprocess.run(
            self.command(*command),
            env=self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode != 0:
            raise FleetError(f"{' '.join(command)} failed in the lab: {done.stderr.strip()}")

    def spawn(self, *command: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*command),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def inside(self, path: Path) -> Path:
        """Where a path of the lab's own mounts is seen from here."""
        return Path(f"/proc/{self.init_pid}/root{path}")

    def publish(self, host: str, version_set: Path) -> None:
        """Point the archive address of one host at the folder of a version set, atomically."""
        fresh = self._versions / f".{host}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(version_set)
        fresh.rename(self._versions / host)

    def archive_url(self, host: str) -> str:
        return f"http://{self.claim.gateway}/hosts/{host}"

    def stop(self) -> None:
        """End the lab and with it everything that runs there; returns once it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._await_uplink_gone()

    def _await_uplink_gone(self) -> None:
        # The kernel takes a dead network namespace down in the background; the name is free once it has.
        deadline = time.monotonic() + STOP_SECONDS
        while Path("/sys/class/net", self.claim.uplink).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
