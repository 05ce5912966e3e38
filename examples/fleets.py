"""The demo's hosts: real ones where they can be had, else simulated ones, which say so."""

import base64
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from tests.fleet import Fleet, Host, HostSpec, missing_requirements
from tests.simulated import SimulatedFleet, SimulatedHost

FAILING, REBOOTING = "web2", "web3"
PACKAGES = {
    "web1": ("tb-simple", "tb-secure"),
    FAILING: ("tb-simple", "tb-failing"),
    REBOOTING: ("tb-simple", "tb-kernel"),
    "web4": ("tb-simple", "tb-held"),
}
FEDORA = {"db1": ("tb-simple", "tb-secure"), "db2": ("tb-simple", "linux-firmware")}
"""Hosts with dnf; the second one will want a reboot."""
APPS = "apps1"
SHOP, BLOG = "/opt/stacks/shop", "/opt/stacks/blog"
"""Its compose projects: a newer image waits for each, and the second one's never gets healthy."""
STACK = """\
services:
  web:
    image: {image}
    init: true
    restart: unless-stopped
"""


class DemoHost(Protocol):
    """A host as the demo sees it, past tendhost."""

    name: str
    address: str
    port: int

    @property
    def boot_count(self) -> int:
        """How many times it has booted."""
        ...

    def version_of(self, package: str) -> str:
        """The installed version, as its package database says."""
        ...

    def package_state(self, package: str) -> str:
        """What its package database says of a package, in words."""
        ...


@dataclass(frozen=True)
class DemoFleet:
    """The hosts, and what will happen on them."""

    kind: str
    hosts: Sequence[DemoHost]
    login_key: str
    """A private key that all of them accept, in base64."""
    failing: str = FAILING
    failing_package: str = "tb-failing"
    rebooting: tuple[str, ...] = (REBOOTING,)
    apps: str = ""
    """The host with compose projects; empty: none."""
    stacks: tuple[str, ...] = ()
    """Their folders. Of the last one, the newer image will not get healthy."""
    served: Callable[[str], str] = lambda _: ""
    """What the project in a folder serves."""


class RealHost:
    """A host of the test fleet."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.name = host.name
        self.address = host.address
        self.port = host.port

    @property
    def boot_count(self) -> int:
        """See DemoHost."""
        return self._host.boot_count

    def version_of(self, package: str) -> str:
        """See DemoHost."""
        if self._host.family == "dnf":
            return self._host.output(f"rpm -q --qf '%{{VERSION}}-%{{RELEASE}}' {package}")
        return self._host.output(f"dpkg-query -W -f '${{Version}}' {package}")

    def package_state(self, package: str) -> str:
        """See DemoHost."""
        if self._host.family == "dnf":
            return "not installed"
        said = self._host.run(f"dpkg-query -W -f '${{db:Status-Status}}' {package}")
        return said.stdout.strip() or "not installed"


@contextmanager
def fleet() -> Iterator[DemoFleet]:
    """Hosts in their first versions, with newer ones in their archives."""
    wanted = os.environ.get("FLEET") != "simulated"
    missing = missing_requirements() if wanted else ["FLEET=simulated was asked for"]
    if missing:
        print(f"# No real hosts here ({'; '.join(missing)}), so simulated ones take their place.")
        yield from _simulated()
    else:
        yield from _real()


def _real() -> Iterator[DemoFleet]:
    specs = [
        HostSpec(name=name, packages=packages, failing_ok=False)
        for name, packages in PACKAGES.items()
    ]
    specs += [
        HostSpec(name=name, packages=packages, family="dnf") for name, packages in FEDORA.items()
    ]
    specs.append(HostSpec(name=APPS, packages=("tb-simple",), docker=True))
    with Fleet(specs) as real:
        _bring_up_stacks(real)
        key = base64.b64encode(real.private_key.read_bytes()).decode()
        yield DemoFleet(
            kind="real",
            hosts=[RealHost(host) for host in real.hosts],
            login_key=key,
            rebooting=(REBOOTING, "db2"),
            apps=APPS,
            stacks=(SHOP, BLOG),
            served=partial(_served, real[APPS]),
        )


def _served(host: Host, stack: str) -> str:
    folder = shlex.quote(stack)
    return host.output(f"cd {folder} && docker compose exec -T web busybox cat /www/index.html")


def _bring_up_stacks(real: Fleet) -> None:
    """Two compose projects that run their first images, with newer ones in the registry."""
    host = real[APPS]
    for stack in (SHOP, BLOG):
        name = stack.rpartition("/")[2]
        real.registry.push(name, text=f"{name} one")
        host.write_stack(stack, STACK.format(image=f"{real.registry.address}/{name}:1"))
        host.compose_up(stack)
        real.registry.push(name, text=f"{name} two", healthy=stack != BLOG)


def _simulated() -> Iterator[DemoFleet]:
    with SimulatedFleet(PACKAGES) as simulated:
        hosts: list[SimulatedHost] = simulated.hosts
        key = base64.b64encode(simulated.private_key).decode()
        yield DemoFleet(kind="simulated", hosts=hosts, login_key=key)
