"""What is known of a host's software: packages, pending updates, system facts, and whether it needs a reboot."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum


class RebootNeed(StrEnum):
    """Whether a host needs a reboot; `UNKNOWN` never reboots anything."""

    UNKNOWN = "unknown"
    NOT_NEEDED = "not_needed"
    NEEDED = "needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reboot:
    """The reboot fact kept beside a host's state.

    `reason` is in words for a person ("linux-image-6.1.0-9-amd64 asks for it"); `since` is when
    tendhost first saw the present need, None while none is known.
    """

    need: RebootNeed = RebootNeed.UNKNOWN
    reason: str = ""
    since: datetime | None = None


class Withheld(StrEnum):
    """Why a plain upgrade leaves a pending package alone."""

    NO = "no"
    HELD = "held"
    """The administrator holds it (`apt-mark hold`)."""
    KEPT_BACK = "kept_back"
    """The package manager keeps it back: it would remove another package."""
    PHASED = "phased"
    """The archive rolls it out in phases and this host's turn has not come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPackage:
    """A package with a newer version in the archive."""

    name: str
    from_version: str
    """Empty for a package that the upgrade would newly install."""
    to_version: str
    architecture: str = ""
    origin: str = ""
    """The archive it comes from, as the package manager names it ("Debian-Security:12/stable-security")."""
    security: bool = False
    withheld: Withheld = Withheld.NO


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageChange:
    """A package whose installed version an update changed.

    An empty `from_version` is a new installation, an empty `to_version` a removal.
    """

    name: str
    from_version: str
    to_version: str


def changed_since(
    former: tuple[PackageChange, ...], further: tuple[PackageChange, ...]
) -> tuple[PackageChange, ...]:
    """What `former` and then `further` changes come to, ordered by name."""
    sums = {change.name: change for change in former}
    for change in further:
        before = sums[change.name].from_version if change.name in sums else change.from_version
        sums[change.name] = replace(change, from_version=before)
    return tuple(
        sums[name] for name in sorted(sums) if sums[name].from_version != sums[name].to_version
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The updates that waited for a host when it was last asked."""

    packages: tuple[PendingPackage, ...] = ()
    queried_at: datetime | None = None

    @property
    def count(self) -> int:
        """How many packages an update would change: the withheld ones do not count."""
        return sum(1 for package in self.packages if package.withheld is Withheld.NO)

    @property
    def security_count(self) -> int:
        """How many of the packages that an update would change are security updates."""
        return sum(1 for p in self.packages if p.security and p.withheld is Withheld.NO)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFacts:
    """The operating system of a host, as it says itself. Empty strings mean that it could not be learnt."""

    os_id: str = ""
    """`ID` of os-release(5), such as "debian"."""
    os_version: str = ""
    """`VERSION_ID` of os-release(5), such as "12"."""
    os_name: str = ""
    """`PRETTY_NAME` of os-release(5)."""
    kernel: str = ""
    architecture: str = ""
    """The machine as uname(1) prints it, such as "x86_64"."""
    boot_id: str = ""
    """/proc/sys/kernel/random/boot_id: another value means another boot."""
    uptime: timedelta | None = None
    package_manager: str = ""
    """`apt`, or empty where none that tendhost knows was found."""
    container: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything that a query learnt of a host."""

    system: SystemFacts = SystemFacts()
    installed: tuple[tuple[str, str], ...] = ()
    """Name and version of every installed package, ordered by name; `name:arch` for a foreign architecture."""
    collected_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one look at a host found."""

    inventory: Inventory
    pending: Pending
    reboot: Reboot
    """Without `since`: a look sees the need, not how long it has lasted."""
