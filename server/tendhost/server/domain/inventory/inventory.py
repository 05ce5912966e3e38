"""What is known of a host's software: packages, pending updates, system facts, and whether it needs a reboot."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.server.domain.inventory.compose import ComposeProject, Container, Image
from tendhost.server.domain.inventory.hardware import Cpu, Interface, Machine, Memory, Mount


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
    EXCLUDED = "excluded"
    """What is to be updated was narrowed down, and it is not among that."""
    DOWNGRADE = "downgrade"
    """The host's pins ask for a version that is older than the installed one."""
    PINNED = "pinned"
    """A security update that the host's pins keep out: what the package manager would install is older."""


class Severity(StrEnum):
    """How bad what an advisory fixes is, as its publisher rates it."""

    UNKNOWN = "unknown"
    LOW = "low"
    MODERATE = "moderate"
    IMPORTANT = "important"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """What a distribution published about an update ("FEDORA-2026-0001", "RHSA-2026:1234")."""

    id: str
    security: bool
    severity: Severity = Severity.UNKNOWN
    cves: tuple[str, ...] = ()


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
    security: bool | None = False
    """Whether it is a security update; None where the host's archives do not tell."""
    withheld: Withheld = Withheld.NO
    advisories: tuple[Advisory, ...] = ()
    """What was published about the versions after `from_version`, up to `to_version`."""
    replaces: tuple[str, ...] = ()
    """Installed packages of other names that it takes the place of, as rpm's Obsoletes say."""

    @property
    def is_new(self) -> bool:
        """Whether it is newly installed and replaces nothing, so that it follows from what needs it."""
        return not self.from_version and not self.replaces


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
    """What `former` and then `further` changes come to, ordered by name.

    Each is what one comparison of two inventories found. A package that had several changes in one of
    them is there in several versions, of which each comes and goes alone.
    """
    before, after = _by_name(former), _by_name(further)
    return tuple(
        change
        for name in sorted(before.keys() | after.keys())
        for change in _sum_of(before.get(name, []), after.get(name, []))
    )


def _by_name(changes: tuple[PackageChange, ...]) -> dict[str, list[PackageChange]]:
    found: dict[str, list[PackageChange]] = {}
    for change in changes:
        found.setdefault(change.name, []).append(change)
    return found


def _sum_of(former: list[PackageChange], further: list[PackageChange]) -> list[PackageChange]:
    """The sum of the changes of one package."""
    if not former or not further:
        return former or further
    if len(former) == len(further) == 1 and former[0].to_version == further[0].from_version:
        come = replace(further[0], from_version=former[0].from_version)
        return [come] if come.from_version != come.to_version else []
    left: list[PackageChange] = []
    for change in (part for one in (*former, *further) for part in _parts(one)):
        undone = replace(change, from_version=change.to_version, to_version=change.from_version)
        if undone in left:
            left.remove(undone)
        else:
            left.append(change)
    return left


def _parts(change: PackageChange) -> list[PackageChange]:
    """The version that goes, and the one that comes."""
    parts = (replace(change, to_version=""), replace(change, from_version=""))
    return [part for part in parts if part.from_version or part.to_version]


def diff_installed(
    before: tuple[tuple[str, str], ...], after: tuple[tuple[str, str], ...]
) -> tuple[PackageChange, ...]:
    """What was upgraded, newly installed and removed between two inventories, ordered by name.

    Of a package that is there in several versions at once, as kernels are, each version counts alone:
    one of them was installed beside the others, and perhaps another one removed, but none was upgraded.
    """
    old, new = _versions(before), _versions(after)
    changes: list[PackageChange] = []
    for name in sorted(old.keys() | new.keys()):
        had, has = old.get(name, []), new.get(name, [])
        gone = [version for version in had if version not in has]
        come = [version for version in has if version not in had]
        if len(had) == len(has) == len(gone) == 1:
            pairs = [(had[0], has[0])]
        else:
            pairs = [*((version, "") for version in gone), *(("", version) for version in come)]
        changes.extend(
            PackageChange(name=name, from_version=former, to_version=version)
            for former, version in pairs
        )
    return tuple(changes)


def not_restored(
    changes: tuple[PackageChange, ...], installed: tuple[tuple[str, str], ...]
) -> tuple[str, ...]:
    """Which of the changes are not undone, in words; kernels beside others, which stay, apart."""
    there = _versions(installed)
    found = []
    for change in changes:
        has = there.get(change.name, [])
        if change.from_version and change.from_version not in has:
            beside = len(has) > 0 and not change.to_version
            if not beside:
                found.append(
                    f"{change.name} {', '.join(has) or 'absent'}, not {change.from_version}"
                )
        elif not change.from_version and has == [change.to_version]:
            found.append(f"{change.name} {change.to_version}, not absent")
    return tuple(found)


def _versions(installed: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, version in installed:
        found.setdefault(name, []).append(version)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The updates that waited for a host when it was last asked."""

    packages: tuple[PendingPackage, ...] = ()
    queried_at: datetime | None = None
    security_known: bool = True
    """Whether any of the host's archives tells which of its updates are security updates."""

    @property
    def count(self) -> int:
        """How many packages an update would change: the withheld ones do not count."""
        return sum(1 for package in self.packages if package.withheld is Withheld.NO)

    @property
    def security_count(self) -> int | None:
        """How many of the packages that an update would change are security updates.

        None where that is not known of one of them, or where no archive of the host tells it: unknown is not
        zero.
        """
        if not self.security_known:
            return None
        # What a policy excludes for not being known to be one may be one all the same.
        told = [p for p in self.packages if p.withheld in (Withheld.NO, Withheld.EXCLUDED)]
        if any(package.security is None for package in told):
            return None
        return sum(1 for p in told if p.security and p.withheld is Withheld.NO)


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
    machine_id: str = ""
    """/etc/machine-id, 32 hexadecimal digits: another value means another installation. Copies of a machine
    may have the same one."""
    uptime: timedelta | None = None
    package_manager: str = ""
    """The name of the one that is used there ("apt", "dnf"), or empty where none that tendhost knows
    was found."""
    init: str = ""
    """The command name of process 1, such as "systemd"."""
    virtualization: str = ""
    """As systemd-detect-virt(1) names it: "lxc", "docker", "kvm"; "none" on bare metal; empty where it
    could not be told."""
    container: bool = False
    """Whether the kernel is not its own."""
    concluded: tuple[str, ...] = ()
    """What was concluded about the host and why, one sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything that a query learnt of a host."""

    system: SystemFacts = SystemFacts()
    installed: tuple[tuple[str, str], ...] = ()
    """Name and version of every installed package, ordered by name; `name:arch` for a foreign architecture."""
    outdated_services: tuple[str, ...] | None = None
    """Services that run what was deleted or replaced on the disk since they started; None: not known."""
    machine: Machine | None = None
    cpu: Cpu | None = None
    memory: Memory | None = None
    mounts: tuple[Mount, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    containers: tuple[Container, ...] = ()
    images: tuple[Image, ...] = ()
    projects: tuple[ComposeProject, ...] = ()
    """The compose projects of the host's configuration."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Which collector each part came from, by InventoryPart; a part that was not asked for, or that none
    could answer, is not in it."""
    missing: tuple[str, ...] = ()
    """What could not be learnt, and why."""
    collected_at: datetime | None = None

    def completed(self, former: "Inventory") -> "Inventory":
        """This inventory, with what was not asked for as it was known before."""
        has = self.sources.keys()
        kept = {
            name: getattr(former, name)
            for part, names in _FIELDS.items()
            if part not in has
            for name in names
        }
        sources = {**former.sources, **self.sources}
        return replace(self, **kept, sources=sources)


_FIELDS: Mapping[str, tuple[str, ...]] = {
    "packages": ("installed",),
    "hardware": ("machine", "cpu", "memory"),
    "mounts": ("mounts",),
    "network": ("interfaces",),
    "containers": ("containers", "images", "projects"),
}
"""The fields of each part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one look at a host found."""

    inventory: Inventory
    pending: Pending
    reboot: Reboot | None
    """Without `since`: a look sees the need, not how long it has lasted. None: it was not asked."""
