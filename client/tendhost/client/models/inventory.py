"""Software and hardware of a host, and pending updates."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Withheld(StrEnum):
    """Why an update does not install a pending update."""

    NO = "no"
    HELD = "held"
    KEPT_BACK = "kept_back"
    PHASED = "phased"
    EXCLUDED = "excluded"
    DOWNGRADE = "downgrade"
    PINNED = "pinned"
    UNRECOGNIZED = "unrecognized"


class Severity(StrEnum):
    """Severity of an advisory, as its publisher rates it."""

    UNKNOWN = "unknown"
    LOW = "low"
    MODERATE = "moderate"
    IMPORTANT = "important"
    CRITICAL = "critical"
    UNRECOGNIZED = "unrecognized"


class InventoryPart(StrEnum):
    """Part of an inventory that a query can be limited to."""

    PACKAGES = "packages"
    PENDING = "pending"
    HARDWARE = "hardware"
    MOUNTS = "mounts"
    NETWORK = "network"
    CONTAINERS = "containers"
    UNRECOGNIZED = "unrecognized"


class PendingGrouping(StrEnum):
    """Subject of an entry of pending updates."""

    PACKAGE = "package"
    ADVISORY = "advisory"
    HOST = "host"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """Advisory of a distribution about an update."""

    id: str
    security: bool
    severity: Severity
    cves: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPackage:
    """Package with a newer version in the package sources."""

    name: str
    from_version: str
    to_version: str
    architecture: str
    origin: str
    security: bool | None
    """None: the host's package sources do not say."""
    withheld: Withheld
    advisories: tuple[Advisory, ...]
    replaces: tuple[str, ...]
    """Installed packages of other names that it takes the place of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An installed package."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """Container; `health` is empty if it has no health check."""

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
    """Service of a compose project; `image_id` is empty if the service is not running."""

    name: str
    image: str
    image_id: str
    pinned: bool
    state: str
    health: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeProject:
    """Compose project; `problem` says why it cannot be updated."""

    path: str
    problem: str
    services: tuple[ComposeService, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Machine of a host; 0 and empty mean unknown."""

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
    """Software and hardware of a host as of its queries."""

    host: str
    os_id: str
    os_version: str
    os_name: str
    kernel: str
    architecture: str
    boot_id: str
    machine_id: str
    """Content of /etc/machine-id; empty: unknown."""
    uptime: timedelta | None
    package_manager: str
    container: bool
    init: str
    virtualization: str
    concluded: tuple[str, ...]
    """Conclusions about the host with their reasons."""
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
    """Services that still run deleted or replaced files; None: unknown."""
    sources: Mapping[str, str]
    """Collector of each part."""
    missing: tuple[str, ...]
    """What could not be found out, and why."""
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEntry:
    """Package, advisory or host with its pending updates."""

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
    """Why this value does not show everything that the server stores; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingUpdates:
    """Pending updates of a fleet, security updates first."""

    entries: tuple[PendingEntry, ...]
    hosts_unknown: int
    """Number of hosts that were never queried, and so are not counted."""
    hosts_security_unknown: int
    """Number of hosts whose package sources do not mark security updates."""
    hosts_fixes_unknown: int
    """Number of hosts with security updates without known advisories: no search by CVE finds them."""
