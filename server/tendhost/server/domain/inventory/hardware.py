"""What is known of a host beyond its software: machine, processor, memory, mounts, network, containers."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class InventoryPart(StrEnum):
    """The parts of an inventory, each of which one collector answers."""

    SYSTEM = "system"
    """Operating system, kernel, uptime."""
    PACKAGES = "packages"
    PENDING = "pending"
    HARDWARE = "hardware"
    """Machine, Cpu and Memory."""
    MOUNTS = "mounts"
    NETWORK = "network"
    CONTAINERS = "containers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a host is, as its firmware and its kernel say. Empty: it could not be learnt.

    Serial and UUID can only be read by root, and a container shows those of its host, or none.
    """

    vendor: str = ""
    """Who made it, such as "QEMU"."""
    model: str = ""
    serial: str = ""
    uuid: str = ""
    """The firmware's UUID in small letters, as the kernel shows it."""
    hostname: str = ""
    """The kernel's own name for it, mostly without a domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """The processors that the kernel runs on; None and empty: it could not be learnt."""

    model: str = ""
    """As the processor names itself; ARM processors mostly do not."""
    sockets: int | None = None
    cores: int | None = None
    """Physical cores in all sockets together."""
    threads: int | None = None
    """What the kernel schedules on: cores, or their hyper-threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Main memory without swap."""

    total_bytes: int
    """What the kernel has of it: less than is built in."""
    available_bytes: int | None = None
    """What new work could have without swapping; None: the kernel is older than 3.14."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mounted file system that has a size; proc, sysfs and their kind have none."""

    path: str
    device: str
    """As mount(8) shows it: "/dev/vda1", "overlay", "server:/export"."""
    type: str
    """Such as "ext4"; empty where it could not be learnt."""
    size_bytes: int
    free_bytes: int
    """What a process without privilege can still take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface."""

    name: str
    mac: str = ""
    """Six bytes in small letters with colons; empty where it has none."""
    addresses: tuple[str, ...] = ()
    """IPv4 before IPv6, each in order and without prefix length or scope."""
    mtu: int | None = None
    """In bytes; None: it could not be learnt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRow:
    """A container of Docker's, running or not."""

    id: str
    name: str
    """Without the leading slash of Docker's own."""
    image: str
    """The name that it was started from, with the tag if one was given."""
    state: str
    """"created", "restarting", "running", "removing", "paused", "exited" or "dead"."""
    status: str
    """For people: "Up 2 hours (healthy)"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """An image that Docker keeps."""

    id: str
    """The digest of its configuration, without "sha256:"."""
    tags: tuple[str, ...]
    """None for one that lost its tag to a newer image."""
    size_bytes: int
    """With the layers that it shares with others."""


Source = Mapping[InventoryPart, str]
"""Which collector each part came from: "osquery 5.12.1" or "native". A part that was not asked for, or
that none could answer, is not in it."""

NATIVE = "native"
"""In a Source: read from the host's own files and commands."""
