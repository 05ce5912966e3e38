"""Claims a place on this machine for one fleet: a free network and the names that go with it."""

import contextlib
import fcntl
import ipaddress
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fleet.errors import FleetError

STATE_ROOT = Path("/run/tendhost-fleet")
DEFAULT_NETWORK = "10.77.0.0/16"
PREFIX_LENGTH = 22
"""Room for a thousand hosts each, and for 64 fleets in the default network."""

SWEEP_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A numbered place, held for as long as any process has ``lock`` open."""

    number: int
    network: ipaddress.IPv4Network
    lock: int

    @property
    def gateway(self) -> str:
        return str(self.network[1])

    @property
    def uplink_address(self) -> str:
        return str(self.network[2])

    def host_address(self, index: int) -> str:
        return str(self.network[10 + index])

    @property
    def uplink(self) -> str:
        """The interface in the runner's own network namespace that leads into the lab."""
        return f"thfleet{self.number}"

    @property
    def state(self) -> Path:
        return STATE_ROOT / str(self.number)

    @property
    def cgroup(self) -> str:
        return _cgroup_name(self.number)

    def release(self) -> None:
        _sweep(self.number)
        os.close(self.lock)


def claim_place() -> Claim:
    """Take the first place whose lock is free and whose network nobody on this machine uses.

    The places of dead fleets are swept on the way: the kernel has already ended all that ran
    there, but state files and empty control groups stay.
    """
    STATE_ROOT.mkdir(mode=0o755, exist_ok=True)
    chosen: Claim | None = None
    taken: list[ipaddress.IPv4Network] | None = None
    for number, network in enumerate(_networks()):
        if chosen is not None and not (STATE_ROOT / str(number)).exists():
            continue
        lock = _try_lock(number)
        if lock is None:
            continue
        _sweep(number)
        if taken is None:
            taken = _networks_in_use()
        if chosen is None and not any(network.overlaps(other) for other in taken):
            chosen = Claim(number=number, network=network, lock=lock)
            chosen.state.mkdir(mode=0o755)
        else:
            os.close(lock)
    if chosen is None:
        raise FleetError(
            "no free network for a fleet; set TENDHOST_FLEET_NETWORK to another IPv4 network"
        )
    return chosen


def _networks() -> list[ipaddress.IPv4Network]:
    text = os.environ.get("TENDHOST_FLEET_NETWORK", DEFAULT_NETWORK)
    try:
        whole = ipaddress.IPv4Network(text)
        return list(whole.subnets(new_prefix=max(PREFIX_LENGTH, whole.prefixlen)))
    except ValueError as error:
        raise FleetError(f"TENDHOST_FLEET_NETWORK is not an IPv4 network: {error}") from error


def _try_lock(number: int) -> int | None:
    lock = os.open(STATE_ROOT / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _networks_in_use() -> list[ipaddress.IPv4Network]:
    answer = subprocess.run(
        ["ip", "-4", "-j", "route", "show"], capture_output=True, text=True, check=True
    )
    routes = json.loads(answer.stdout or "[]")
    targets = [route.get("dst", "default") for route in routes]
    return [ipaddress.IPv4Network(dst, strict=False) for dst in targets if dst != "default"]


def _cgroup_name(number: int) -> str:
    return f"tendhost-fleet-{number}"


def cgroup_root() -> Path:
    """The version 2 tree, which on a machine with both versions has a folder of its own."""
    hybrid = Path("/sys/fs/cgroup/unified")
    return hybrid if hybrid.is_dir() else Path("/sys/fs/cgroup")


def _sweep(number: int) -> None:
    shutil.rmtree(STATE_ROOT / str(number), ignore_errors=True)
    top = cgroup_root() / _cgroup_name(number)
    deadline = time.monotonic() + SWEEP_SECONDS
    # A group can be removed once the kernel has let go of its last process, a moment after that one has ended.
    while top.is_dir() and time.monotonic() < deadline:
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        if top.is_dir():
            time.sleep(0.02)
