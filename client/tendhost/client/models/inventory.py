"""Software and hardware of a host, and pending updates."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Withheld(StrEnum):
    """Why an upgrade leaves a pending package alone."""

    NO = "no"
    HELD = "held"
    KEPT_BACK = "kept_back"
    PHASED = "phased"
    EXCLUDED = "excluded"
    UNRECOGNIZED = "unrecognized"


class Severity(StrEnum):
    """How bad what an advisory fixes is, as its publisher rates it."""

    UNKNOWN = "unknown"
    LOW = "low"
    MODERATE = "moderate"
    IMPORTANT = "important"
    CRITICAL = "critical"
    UNRECOGNIZED = "unrecognized"


class InventoryPart(StrEnum):
    """A part of an inventory, to be asked for by itself."""

    PACKAGES = "packages"
    PENDING = "pending"
    HARDWARE = "hardware"
    MOUNTS = "mounts"
    NETWORK = "network"
    CONTAINERS = "containers"
    UNRECOGNIZED = "unrecognized"


class PendingGrouping(StrEnum):
    """What an entry of the fleet's pending updates is about."""

    PACKAGE = "package"
    ADVISORY = "advisory"
    HOST = "host"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """What a distribution published about an update."""

    id: str
    security: bool
    severity: Severity
    cves: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPackage:
    """A package with a newer version in the archive."""

    name: str
    from_version: str
    to_version: str
    architecture: str
    origin: str
    security: bool | None
    """None: the host's archives do not tell."""
    withheld: Withheld
    advisories: tuple[Advisory, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An installed package."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container; `health` is empty where it has no check."""

    name: str
    image: str
    image_id: str
    state: str
    health: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A container image."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeService:
    """A service of a compose project; `image_id` is empty where nothing runs."""

    name: str
    image: str
    image_id: str
    pinned: bool
    state: str
    health: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeProject:
    """A compose project; `problem` says why it cannot be used."""

    path: str
    problem: str
    services: tuple[ComposeService, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A machine; what is empty or 0 could not be learnt."""

    vendor: str
    model: str
    serial: str
    cpu: str
    sockets: int
    cores: int
    threads: int
    memory_bytes: int
    available_bytes: int
    hostname: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file system."""

    path: str
    device: str
    type: str
    size_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface; `mtu` is in bytes."""

    name: str
    mac: str
    addresses: tuple[str, ...]
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What the last query learnt of a host."""

    host: str
    os_id: str
    os_version: str
    os_name: str
    kernel: str
    architecture: str
    boot_id: str
    machine_id: str
    """As /etc/machine-id says; empty: it says nothing."""
    uptime: timedelta | None
    package_manager: str
    container: bool
    init: str
    virtualization: str
    concluded: tuple[str, ...]
    """What was concluded about the host and why."""
    pending_updates: tuple[PendingPackage, ...]
    packages: tuple[Package, ...]
    collected_at: datetime | None
    containers: tuple[Container, ...]
    images: tuple[Image, ...]
    compose_projects: tuple[ComposeProject, ...]
    hardware: Hardware | None
    mounts: tuple[Mount, ...]
    interfaces: tuple[Interface, ...]
    outdated_services: tuple[str, ...] | None
    """Services that run what was deleted or replaced on the disk; None: not known."""
    sources: Mapping[str, str]
    """Which collector each part came from."""
    missing: tuple[str, ...]
    """What could not be learnt, and why."""
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEntry:
    """A package, an advisory or a host, with what is pending of it over the fleet."""

    name: str
    version: str
    security: bool | None
    severity: Severity
    cves: tuple[str, ...]
    advisories: tuple[str, ...]
    hosts: tuple[str, ...]
    """At most 1,000; `host_count` is their number."""
    host_count: int
    packages: tuple[str, ...]
    """At most 1,000; `package_count` is their number."""
    package_count: int
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingUpdates:
    """The pending updates of a fleet, security first."""

    entries: tuple[PendingEntry, ...]
    hosts_unknown: int
    """Hosts that were never asked, and so are not counted."""
    hosts_security_unknown: int
    """Hosts whose archives do not tell what is a security update."""
    hosts_fixes_unknown: int
    """Hosts of which it is not known what their security updates fix: no search by CVE finds them."""
