"""The fleet: starts a lab with its hosts, keeps them, and ends them."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fleet import disk
from tests.fleet.archive import checked_packages, checked_version_set, default_packages
from tests.fleet.base import ensure_base, say_on_stderr
from tests.fleet.claim import claim_place
from tests.fleet.docker import Registry
from tests.fleet.errors import FleetError, FleetStartError
from tests.fleet.families import checked_family, checked_release
from tests.fleet.host import CompleteSpec, Host, HostSpec, Init, Link
from tests.fleet.lab import Lab
from tests.fleet.requirements import missing_requirements

HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
START_SECONDS = 60.0
WORKERS = 8
INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES_NEEDED = 8192
"""Each systemd takes about ten; the kernel's default of 128 is enough for a dozen hosts."""


class Fleet:
    """``with Fleet(hosts=4) as fleet:`` gives four running hosts that answer ssh at ``host.address``.

    ``hosts`` is a number, or a HostSpec for each; names are host1, host2 … unless a spec says otherwise.
    ``init`` and ``packages`` are for the hosts that do not say, None being the default of their family
    (``archive.default_packages``); ``version_set`` is what the archive offers at first.
    """

    def __init__(
        self,
        hosts: int | Sequence[HostSpec] = 4,
        *,
        init: Init = "systemd",
        packages: Sequence[str] | None = None,
        version_set: str = "v2",
        say: Callable[[str], None] = say_on_stderr,
    ) -> None:
        if isinstance(hosts, int):
            hosts = [HostSpec()] * hosts
        self._specs = _completed(hosts, init, packages)
        self._version_set = checked_version_set(version_set)
        self._say = say
        self._lab: Lab | None = None
        self._registry: Registry | None = None
        self._hosts: list[Host] = []

    @property
    def hosts(self) -> list[Host]:
        return list(self._hosts)

    def __getitem__(self, name: str) -> Host:
        for host in self._hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    @property
    def registry(self) -> Registry:
        """A registry in the lab, which hosts with docker trust; it starts when it is first asked for."""
        if self._registry is None:
            self._registry = Registry(self._running)
            self._registry.start()
        return self._registry

    # Starting and ending

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the lab and boot every host; returns when all of them answer."""
        missing = missing_requirements()
        if missing:
            raise FleetError("the fleet cannot run here: " + "; ".join(missing))
        if self._lab is not None:
            raise FleetError("this fleet is already running")
        base = ensure_base(self._say)
        self._lab = Lab(claim_place(), base)
        try:
            self._lab.start()
            self._make_hosts(self._lab)
            with ThreadPoolExecutor(WORKERS) as workers:
                list(workers.map(self._first_boot, self._hosts))
                self._write_ssh_files()
                list(workers.map(lambda host: host.wait_up(timeout=START_SECONDS), self._hosts))
        except Exception as error:
            failure = self._keep_logs(error)
            self.stop()
            raise failure from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything; whatever the hosts had on their disks is gone."""
        lab, self._lab = self._lab, None
        if lab is None:
            return
        registry, self._registry = self._registry, None
        if registry is not None:
            registry.stop()
        lab.stop()
        for host in self._hosts:
            host.reap()
        lab.claim.release()
        self._hosts = []

    def _make_hosts(self, lab: Lab) -> None:
        disk.make_key(self.private_key, "fleet")
        self._hosts = [Host(lab, spec, index) for index, spec in enumerate(self._specs)]
        if any(host.init == "systemd" for host in self._hosts):
            _raise_inotify_limit()

    def _first_boot(self, host: Host) -> None:
        host.make(disk.public_key(self.private_key))
        host.publish(self._version_set)
        host.power_on()

    def _keep_logs(self, error: Exception) -> FleetStartError:
        logs = Path(tempfile.mkdtemp(prefix="tendhost-fleet-logs-"))
        tails: list[str] = []
        for log in sorted(self._running.logs.glob("*")):
            shutil.copy(log, logs)
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
            if lines and len(tails) < 3:
                tails.append("\n".join([f"--- {log.name}", *lines]))
        return FleetStartError(f"the fleet did not start: {error}", logs, "\n".join(tails))

    @property
    def _running(self) -> Lab:
        if self._lab is None:
            raise FleetError("this fleet is not running")
        return self._lab

    # The way in

    @property
    def private_key(self) -> Path:
        """The key that root, ops and nosudo accept on every host."""
        return self._running.claim.state / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The host keys as they were at the start, or at the last ``write_known_hosts``."""
        return self._running.claim.state / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """``ssh -F`` this file and a host's name or address."""
        return self._running.claim.state / "ssh_config"

    @property
    def gateway(self) -> str:
        """The lab's own address, as the hosts see it."""
        return self._running.claim.gateway

    @property
    def runner_address(self) -> str:
        """The address of the process that started the fleet, as the hosts see it."""
        return self._running.claim.uplink_address

    @property
    def logs(self) -> Path:
        """The consoles of the hosts and the log of the lab; gone when the fleet stops."""
        return self._running.logs

    def write_known_hosts(self) -> None:
        """Accept the keys that the hosts have now."""
        lines = [f"{host.name},{host.address} {host.host_key}\n" for host in self._hosts]
        self.known_hosts.write_text("".join(lines), encoding="ascii")

    def _write_ssh_files(self) -> None:
        self.write_known_hosts()
        settings = {
            "User": "root",
            "IdentityFile": self.private_key,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "5",
        }
        names = [f"Host {host.name}\n  HostName {host.address}\n" for host in self._hosts]
        everywhere = "".join(f"  {name} {value}\n" for name, value in settings.items())
        self.ssh_config.write_text("".join(names) + "Host *\n" + everywhere, encoding="ascii")

    def ssh(
        self,
        host: Host,
        command: str,
        *,
        user: str = "root",
        options: Sequence[str] = (),
        timeout: float = 30,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command over ssh, with the host key checked against ``known_hosts``."""
        chosen = [word for option in options for word in ("-o", option)]
        return subprocess.run(
            ["ssh", "-F", str(self.ssh_config), *chosen, "-l", user, host.name, command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    # Faults and updates

    def cut_link(self, host: Host, how: Link = "drop") -> None:
        """``down``: unplugged; ``drop``: a silent hole; ``reset``: every SSH connection gets a TCP reset."""
        host.set_link(how)

    def restore_link(self, host: Host) -> None:
        host.set_link("up")

    def publish(self, version_set: str) -> None:
        """Offer every host another version set."""
        for host in self._hosts:
            host.publish(version_set)

    # For other programs

    def describe(self) -> dict[str, object]:
        """The fleet as plain values: what a program that was given a fleet needs to know."""
        return {
            "private_key": str(self.private_key),
            "known_hosts": str(self.known_hosts),
            "ssh_config": str(self.ssh_config),
            "gateway": self.gateway,
            "hosts": [
                {
                    "name": host.name,
                    "address": host.address,
                    "port": host.port,
                    "user": host.user,
                    "host_key": host.host_key,
                    "family": host.family,
                    "release": host.release,
                    "init": host.init,
                }
                for host in self._hosts
            ],
        }


def _completed(
    specs: Sequence[HostSpec], init: Init, packages: Sequence[str] | None
) -> list[CompleteSpec]:
    complete = [
        CompleteSpec(
            name=spec.name or f"host{number}",
            family=checked_family(spec.family),
            release=checked_release(spec.release),
            init=spec.init or init,
            packages=_packages(spec, packages),
            failing_ok=spec.failing_ok,
            osquery=spec.osquery,
            shells=spec.shells,
            python=spec.python,
            compose=spec.compose or ("v2" if spec.docker else None),
            cable=spec.cable,
        )
        for number, spec in enumerate(specs, 1)
    ]
    names = [spec.name for spec in complete]
    for name in names:
        if not HOST_NAME.fullmatch(name):
            raise FleetError(f"not a host name: {name!r}")
        if names.count(name) > 1:
            raise FleetError(f"two hosts are called {name}")
    for one in complete:
        if one.compose and one.init != "systemd":
            raise FleetError(f"{one.name} has docker, so it needs systemd")
    return complete


def _packages(spec: HostSpec, of_the_fleet: Sequence[str] | None) -> tuple[str, ...]:
    wanted = spec.packages if spec.packages is not None else of_the_fleet
    return (
        default_packages(spec.family) if wanted is None else checked_packages(wanted, spec.family)
    )


def _raise_inotify_limit() -> None:
    now = int(INOTIFY_INSTANCES.read_text(encoding="ascii"))
    if now < INOTIFY_INSTANCES_NEEDED:
        INOTIFY_INSTANCES.write_text(f"{INOTIFY_INSTANCES_NEEDED}\n", encoding="ascii")
