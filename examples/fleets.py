"""The demo's hosts: real ones where they can be had, else simulated ones, which say so."""

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
    rebooting: str = REBOOTING


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
        return self._host.output(f"dpkg-query -W -f '${{Version}}' {package}")

    def package_state(self, package: str) -> str:
        """See DemoHost."""
        said = self._host.run(f"dpkg-query -W -f '${{db:Status-Status}}' {package}")
        return said.stdout.strip() or "not installed"


@contextmanager
def fleet() -> Iterator[DemoFleet]:
    """Four hosts in their first versions, with newer ones in their archive."""
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
    with Fleet(specs) as real:
        key = base64.b64encode(real.private_key.read_bytes()).decode()
        yield DemoFleet("real Debian", [RealHost(host) for host in real.hosts], key)


def _simulated() -> Iterator[DemoFleet]:
    with SimulatedFleet(PACKAGES) as simulated:
        hosts: list[SimulatedHost] = simulated.hosts
        key = base64.b64encode(simulated.private_key).decode()
        yield DemoFleet("simulated", hosts, key)
