"""One host of a fleet: its power button, its faults, and a look inside that does not go over the network."""

import socket
import subprocess
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from tests.fleet import disk, sshd
from tests.fleet.archive import checked_version_set
from tests.fleet.base import SCRIPTS
from tests.fleet.docker import ComposeProjects, daemon_settings
from tests.fleet.errors import FleetError, HostIsDown
from tests.fleet.families import FAMILIES, Compose, Family, Release
from tests.fleet.lab import Lab
from tests.fleet.processes import kill_tree, namespace_init_below, pid_in_parent

Init = Literal["systemd", "tiny"]
Link = Literal["up", "down", "drop", "reset"]
NextBoot = Literal["normal", "never", "same-boot-id", "no-sshd"]

HOST_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """What to make of a host; what is None comes from the fleet."""

    name: str | None = None
    family: Family = "debian"
    release: Release = "bookworm"
    """Of the Debian that the host is, or that lies under its family."""
    init: Init | None = None
    packages: tuple[str, ...] | None = None
    """Installed in their first version; ``archive.packages_of`` the family says which there are."""
    failing_ok: bool = True
    """Whether /etc/tb-failing-ok exists, without which an update of tb-failing fails."""
    osquery: bool = False
    """Whether there is a stand-in for osqueryi; its head says what it knows."""
    shells: bool = False
    """Whether csh, fish, tcsh and zsh are there."""
    python: bool = False
    """Whether Python is there, with its module venv."""
    docker: bool = False
    """Whether it has a docker of its own (with systemd only)."""
    compose: Compose | None = None
    """The version of its docker compose, docker included; with ``docker`` the default is v2."""
    cable: bool = False
    """Whether the host hangs on a userspace cable, which can delay and lose frames (``Knobs.wire``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteSpec:
    """A HostSpec with nothing left open."""

    name: str
    family: Family
    release: Release
    init: Init
    packages: tuple[str, ...]
    failing_ok: bool
    osquery: bool
    shells: bool
    python: bool
    compose: Compose | None
    cable: bool


class Knobs:
    """Faults to arm; each is read by the host's power supply when its moment comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._down_for = 0.0

    @property
    def down_for(self) -> float:
        """Seconds that the host stays dark in every reboot."""
        return self._down_for

    @down_for.setter
    def down_for(self, seconds: float) -> None:
        self._down_for = seconds
        self._turn("down_for", str(seconds))

    @property
    def next_boot(self) -> NextBoot:
        """How the next boot, and only that one, goes; ``normal`` again once it was used."""
        try:
            text = (self._folder / "next_boot").read_text(encoding="ascii")
        except FileNotFoundError:
            return "normal"
        return text if text in ("never", "same-boot-id", "no-sshd") else "normal"  # type: ignore[return-value]

    @next_boot.setter
    def next_boot(self, how: NextBoot) -> None:
        if how == "normal":
            (self._folder / "next_boot").unlink(missing_ok=True)
        else:
            self._turn("next_boot", how)

    def wire(
        self, *, delay_ms: float = 0, jitter_ms: float = 0, loss: float = 0, cut: bool = False
    ) -> None:
        """Make the cable slow or lossy, each way; loss is a share between 0 and 1.  Takes effect within 50 ms."""
        if not (self._folder / "wire").exists():
            raise FleetError("this host has no userspace cable: give it HostSpec(cable=True)")
        self._turn("wire", f"delay_ms={delay_ms} jitter_ms={jitter_ms} loss={loss} cut={int(cut)}")

    def _turn(self, name: str, value: str) -> None:
        fresh = self._folder / f".{name}"
        fresh.write_text(value + "\n", encoding="ascii")
        fresh.replace(self._folder / name)


class Host(ComposeProjects):
    """A host of a running fleet.  All calls block; they may come from any thread."""

    user = "root"
    port = 22

    def __init__(self, lab: Lab, spec: CompleteSpec, index: int) -> None:
        self.name = name = spec.name
        self.family: Family = spec.family
        self.release: Release = spec.release
        self._base = lab.base.of(spec.release)
        self.init: Init = spec.init
        self.compose = spec.compose
        self._spec = spec
        self.address = lab.claim.host_address(index)
        self._mac = "02:00:" + ip_address(self.address).packed.hex(":")
        self._index = index
        self._lab = lab
        self._folder = lab.claim.state / "hosts" / name
        self._disk = lab.claim.state / "disks" / name
        self._power: subprocess.Popen[bytes] | None = None
        (self._folder / "knobs").mkdir(parents=True)
        self.knobs = Knobs(self._folder / "knobs")

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address} {self.family} {self.init}>"

    # What it is

    @property
    def host_key(self) -> str:
        """Type and key that its sshd shows now, as in a known_hosts line."""
        return disk.public_key(self._folder / "host_key")

    @property
    def boot_count(self) -> int:
        """How many times it has booted."""
        try:
            return int((self._folder / "boots").read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0

    @property
    def console(self) -> Path:
        """The log of its power supply and of what its init prints."""
        return self._lab.logs / f"{self.name}.console"

    @property
    def is_on(self) -> bool:
        return self._init_pid() is not None

    # A look inside

    def run(
        self, command: str, *, input: str | None = None, timeout: float = 60, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root by way of the host's namespaces: past sshd and network."""
        init_pid = self._init_pid()
        if init_pid is None:
            raise HostIsDown(self.name)
        done = subprocess.run(
            ["nsenter", f"--target={init_pid}", "--all", "--", "/bin/sh", "-c", command],
            input=input if input is not None else "",
            env=HOST_ENVIRONMENT,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise FleetError(f"{self.name}: {command!r} ended with {done.returncode}: {said}")
        return done

    def output(self, command: str, *, timeout: float = 60) -> str:
        """What a command that must succeed prints, stripped."""
        return self.run(command, timeout=timeout, check=True).stdout.strip()

    def transactions(self) -> list[str]:
        """A line ``NAME VERSION`` for each time that the post-install of a package of the lab ran."""
        return self.output("cat /var/log/tb-transactions 2>/dev/null || true").splitlines()

    def in_network(self, *command: str) -> list[str]:
        """The words that run a command of this machine with the host's network in place of its own."""
        init_pid = self._init_pid()
        if init_pid is None:
            raise HostIsDown(self.name)
        return ["nsenter", f"--target={init_pid}", "--net", "--", *command]

    # Its power

    def power_on(self) -> None:
        """Press the button; nothing happens when the host is on already."""
        if self._power is not None and self._power.poll() is None:
            return
        self._lab.introduce(self.address, self._mac)
        with self.console.open("ab") as console:
            self._power = self._lab.spawn(str(SCRIPTS / "power.sh"), self.name, log=console)

    def power_cut(self) -> None:
        """Pull the plug: every process ends at once, nothing is written, and the host stays down."""
        if self._power is not None and self._power.poll() is None:
            kill_tree(self._power.pid)
            self._power.wait()

    def wait_up(self, *, timeout: float = 30, boots: int | None = None) -> None:
        """Return when sshd answers and the system has come up, in boot number ``boots`` or a later one."""
        deadline = time.monotonic() + timeout
        while not (self.boot_count >= (boots or 1) and self._ssh_answers()):
            if self._power is None or self._power.poll() is not None:
                raise FleetError(f"{self.name} is off, it will not come up")
            if time.monotonic() > deadline:
                raise FleetError(f"{self.name} did not come up within {timeout:.0f} s")
            time.sleep(POLL_SECONDS)
        if self.init == "systemd":
            # sshd answers before systemd has done with the boot, and until then only root can log in.
            self.run(
                "systemctl is-system-running --wait", timeout=max(1.0, deadline - time.monotonic())
            )

    # Its identity and its link

    def change_host_key(self) -> str:
        """Give it another host key, at once; returns the new one.  Sessions that are open stay open."""
        key = self._folder / "host_key"
        disk.make_key(key, self.name)
        init_pid = self._init_pid()
        if init_pid is None:
            disk.install_host_key(self._lab.inside(self._disk) / "upper", key)
        else:
            # Through the running system's own root: an overlay must not be written to from below.
            disk.install_host_key(Path(f"/proc/{init_pid}/root"), key)
            self.run(f"[ ! -e {sshd.PID_FILE} ] || {{ {sshd.reloaded()}; }}", check=True)
        return self.host_key

    def reload_sshd(self) -> None:
        """Have its sshd read its configuration and its keys again; returns when it listens again."""
        self.run(sshd.reloaded(), check=True)

    def publish(self, version_set: str) -> None:
        """Offer this host another version set (archive.VERSION_SETS) at its archive address."""
        archive = self._base.archive(self.family)
        self._lab.publish(self.name, archive / checked_version_set(version_set))

    def set_link(self, how: Link) -> None:
        """Cut or restore the link, reboots or not; scripts/link.sh says what each way does."""
        (self._folder / "knobs" / "link").write_text(how + "\n", encoding="ascii")
        init_pid = self._init_pid()
        number = pid_in_parent(init_pid) if init_pid is not None else None
        if number is not None:
            netns = f"/proc/{number}/ns/net"
            self._lab.run(str(SCRIPTS / "link.sh"), f"v{self._index}", how, netns)

    # Making it

    def make(self, login_key: str) -> None:
        """Lay out the disk and the settings of a host that was never on."""
        key = self._folder / "host_key"
        disk.make_key(key, self.name)
        layers = self._base.layers(
            init=self.init,
            packages=self._spec.packages,
            family=self.family,
            osquery=self._spec.osquery,
            shells=self._spec.shells,
            python=self._spec.python,
            compose=self.compose,
        )
        settings = {
            "address": self.address,
            "mac": self._mac,
            "port": str(self._index),
            "init": self.init,
        }
        settings["layers"] = ":".join(str(layer) for layer in layers)
        for name, value in settings.items():
            (self._folder / name).write_text(value + "\n", encoding="utf-8")
        if self._spec.cable:
            (self._folder / "knobs" / "wire").write_text("delay_ms=0\n", encoding="ascii")
        root = self._lab.inside(self._disk)
        family = FAMILIES[self.family]
        url = self._lab.archive_url(self.name)
        disk.make_disk(
            root,
            name=self.name,
            address=self.address,
            host_key=key,
            login_key=login_key,
            files={family.source_path: family.source.format(url=url, release=self.release)},
        )
        if self.family == "dnf":
            pubring = self._base.archive(self.family) / "pubring"
            disk.accept_dnf_repository(root, name="fleet", url=url, pubring=pubring)
        if self._spec.failing_ok and self.family == "debian":
            (root / "upper/etc/tb-failing-ok").touch()
        if self.compose:
            disk.give_docker(root, daemon_settings(self._lab.claim.gateway))
        self.console.touch()

    def reap(self) -> None:
        """Take the exit status of a power supply that ended with its lab."""
        if self._power is not None:
            self._power.wait()

    def _init_pid(self) -> int | None:
        if self._power is None or self._power.poll() is not None:
            return None
        return namespace_init_below(self._power.pid, depth=2)

    def _ssh_answers(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=0.2) as connection:
                connection.settimeout(2)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False
