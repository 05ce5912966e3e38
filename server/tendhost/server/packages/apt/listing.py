"""Pending packages by apt: upgradable, held, kept back or phased.

Three facts are joined. `apt-get -s` (apt-get(8)) names what an upgrade changes and, under headings,
what it leaves alone; its `Inst` lines carry version, origins and architecture. `apt-cache policy`
lists every version that the archives have: it has the versions of packages that are left alone, it
shows a security update that a later, ordinary update hides (Ubuntu copies security updates to
`-updates`, where newer ones follow), and one that pins (apt_preferences(5)) keep out. The selection
state in dpkg's own database says which packages the administrator holds. `apt list --upgradable` is not used: apt(8)
does not promise to keep its output.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from tendhost.server.domain.inventory.inventory import PendingPackage, Withheld
from tendhost.server.packages.apt.versions import DebianVersion
from tendhost.server.packages.errors import ParseFailed

KEPT_BACK = "The following packages have been kept back:"
PHASED = "The following upgrades have been deferred due to phasing:"
DOWNGRADED = "The following packages will be DOWNGRADED:"

# Inst NAME [FROM] (TO ORIGIN:VERSION/SUITE, … [ARCH]) [conflict notes]
_INST = re.compile(
    r"Inst (?P<name>\S+)(?: \[(?P<from>[^]]*)\])?"
    r" \((?P<to>\S+) (?:(?P<origin>[^][]*) )?\[(?P<arch>[^]]*)\]\)"
)
_REMV = re.compile(r"(?:Remv|Purg) (?P<name>\S+)(?: \[(?P<version>[^]]*)\])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What `apt-get -s` says it would do."""

    changes: tuple[PendingPackage, ...]
    removed: tuple[tuple[str, str], ...]
    """Name and version."""
    kept_back: tuple[str, ...]
    """Left alone, the held ones among them; before apt 2.7 the phased ones too."""
    phased: tuple[str, ...]
    downgraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """A version in the archive that is newer than the installed one."""

    version: str
    sources: tuple[str, ...]
    """Where it comes from: "http://deb.example.org/debian bookworm/main amd64 Packages"."""
    phased: bool
    """Still rolled out in phases."""

    @property
    def is_fix(self) -> bool:
        """Whether a security archive has it."""
        return any(is_security_source(source) for source in self.sources)

    @property
    def needs_subscription(self) -> bool:
        """Whether it is Ubuntu's for subscribers, and there is no subscription: no pin keeps it out from one."""
        return all(source.startswith(_NOT_SUBSCRIBED) for source in self.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class AptPolicy:
    """What `apt-cache policy` knows of one package."""

    installed: str
    candidate: str
    newer: tuple[Available, ...]
    """The versions above the installed one, the newest first."""

    @property
    def target(self) -> Available | None:
        """The version that waits. Where phasing pins it down, it is not the candidate."""
        chosen = [v for v in self.newer if v.version == self.candidate]
        phased = [v for v in self.newer if v.phased]
        return next(iter((*chosen, *phased, *self.newer)), None)

    def fixes_up_to(self, version: str) -> bool:
        """Whether a security update is among the versions above the installed one, up to `version`."""
        end = DebianVersion(version)
        return any(v.is_fix and DebianVersion(v.version) <= end for v in self.newer)

    def fix_above(self, version: str) -> Available | None:
        """The newest security update above `version` that the host could install: not one of a missing subscription."""
        begin = DebianVersion(version)
        fixes = (v for v in self.newer if v.is_fix and not v.needs_subscription)
        return next((v for v in fixes if DebianVersion(v.version) > begin), None)


def parse_simulation(text: str, *, part: str) -> Simulation:
    """Understand the output of `apt-get -s … upgrade`. Raises ParseFailed."""
    changes: list[PendingPackage] = []
    removed: list[tuple[str, str]] = []
    lists: dict[str, list[str]] = {KEPT_BACK: [], PHASED: [], DOWNGRADED: []}
    names: list[str] | None = None
    for line in text.split("\n"):
        if line.startswith("  "):
            if names is not None:
                names += line.split()
            continue
        names = lists.get(line.rstrip())
        if line.startswith("Inst "):
            changes.append(_parse_inst(line, part))
        elif line.startswith(("Remv ", "Purg ")):
            match = _REMV.match(line)
            if match is None:
                raise ParseFailed(part=part, line=line)
            removed.append((match["name"], match["version"] or ""))
    return Simulation(
        changes=tuple(changes),
        removed=tuple(removed),
        kept_back=tuple(lists[KEPT_BACK]),
        phased=tuple(lists[PHASED]),
        downgraded=tuple(lists[DOWNGRADED]),
    )


def _parse_inst(line: str, part: str) -> PendingPackage:
    match = _INST.match(line)
    if match is None:
        raise ParseFailed(part=part, line=line)
    origin = match["origin"] or ""
    return PendingPackage(
        name=match["name"],
        from_version=match["from"] or "",
        to_version=match["to"],
        architecture=match["arch"],
        origin=origin,
        security=_is_security_origin(origin),
    )


def _is_security_origin(origins: str) -> bool:
    """Whether one of the origins of an `Inst` line is a security archive.

    Debian labels its own "Debian-Security:12/stable-security", Ubuntu calls the suite
    "Ubuntu:24.04/noble-security" and its extended ones "UbuntuESMApps:24.04/noble-apps-security".
    """
    return any(
        origin.startswith("Debian-Security:") or origin.endswith("-security")
        for origin in origins.split(", ")
    )


_SECURITY_SOURCE = re.compile(r"\S+ (?:\S*-security/|\S+/updates/)")
"""Debian up to 10 called its suite "buster/updates"."""
# What Ubuntu's subscription has, where there is none: its list is there, and nothing of it can be had.
_NOT_SUBSCRIBED = "https://esm.ubuntu.com/"
_RELEASE = re.compile(r" +release (\S.*)\Z")


def is_security_source(source: str) -> bool:
    """Whether ADDRESS SUITE/COMPONENT ARCHITECTURE "Packages" is of a security archive."""
    return _SECURITY_SOURCE.match(source) is not None


def names_security_archive(text: str) -> bool:
    """Whether one of the archives in the output of `apt-cache policy` without names is a security archive.

    An archive is known as one by its suite or by what its Release file says: a label or a suite.
    """
    for line in text.split("\n"):
        if (source := _SOURCE.match(f"  {line}")) and is_security_source(source[1]):
            return True
        if release := _RELEASE.match(line):
            fields = dict(field.partition("=")[::2] for field in release[1].split(","))
            if fields.get("l") == "Debian-Security" or fields.get("a", "").endswith("-security"):
                return True
    return False


_NAME = re.compile(r"(\S+):\Z")
_VERSION = re.compile(r" (\*\*\*|   ) (\S+) -?\d+(?: \(phased (\d+)%\))?\Z")
_SOURCE = re.compile(r"  +-?\d+ (\S.*)\Z")


def parse_policy(text: str) -> dict[str, AptPolicy]:
    """Understand the output of `apt-cache policy NAME…` by name. Raises ParseFailed."""
    found: dict[str, AptPolicy] = {}
    block: list[str] = []
    for line in text.split("\n"):
        if line and not line.startswith(" "):
            _add_policy(found, block)
            block = []
        block.append(line)
    _add_policy(found, block)
    return found


def _add_policy(found: dict[str, AptPolicy], block: list[str]) -> None:
    if len(block) < 2:
        return
    name = _NAME.match(block[0])
    if name is None or not block[1].startswith("  Installed: "):
        raise ParseFailed(part="policy", line=block[0])
    candidate = ""
    newer: list[Available] = []
    version, phased = "", False
    sources: list[str] = []
    for line in block[2:]:
        if line.startswith("  Candidate: "):
            candidate = line[13:]
        elif match := _VERSION.match(line):
            if version:
                newer.append(Available(version=version, sources=tuple(sources), phased=phased))
            version, phased, sources = match[2], match[3] is not None, []
            if match[1] == "***":
                break
        elif match := _SOURCE.match(line):
            sources.append(match[1])
    found[name[1]] = AptPolicy(installed=block[1][13:], candidate=candidate, newer=tuple(newer))


def pending_packages(
    simulation: Simulation, policies: Mapping[str, AptPolicy], held: Collection[str]
) -> tuple[PendingPackage, ...]:
    """Every package with an update, ordered by name: what an upgrade changes and what it leaves.

    A package whose update is not the last security update that there is for it has an entry for each.
    Raises ParseFailed where `policies` lacks a package that is left alone.
    """
    found = list(judged_changes(simulation, policies))
    taken = {package.name: package.to_version for package in found}
    # Only apt 2.7 and later have a heading of their own for phased packages.
    told_apart = bool(simulation.phased)
    for name in (*simulation.kept_back, *simulation.phased):
        if name in taken:
            continue
        policy = policies.get(name)
        target = policy.target if policy else None
        if policy is None or target is None:
            raise ParseFailed(part="policy", line=f"{name} is left alone and has no newer version")
        if name in held:
            why = Withheld.HELD
        elif name in simulation.phased or (target.phased and not told_apart):
            why = Withheld.PHASED
        else:
            why = Withheld.KEPT_BACK
        taken[name] = target.version
        found.append(_withheld(name, policy, target, why))
    for name, policy in policies.items():
        fix = policy.fix_above(taken.get(name, policy.installed))
        if fix is not None:
            why = Withheld.HELD if name in held and name not in taken else Withheld.PINNED
            found.append(_withheld(name, policy, fix, why))
    return tuple(sorted(found, key=lambda package: package.name))


def judged_changes(
    simulation: Simulation, policies: Mapping[str, AptPolicy]
) -> tuple[PendingPackage, ...]:
    """What an upgrade changes, ordered by name, each with whether a fix comes with it or it is a downgrade."""
    changes = (_judged(change, policies.get(change.name)) for change in simulation.changes)
    return tuple(sorted(changes, key=lambda change: change.name))


def _judged(change: PendingPackage, policy: AptPolicy | None) -> PendingPackage:
    # A newly installed package has no version to compare with: its own origin says it all.
    if not change.from_version:
        return change
    if DebianVersion(change.to_version) < DebianVersion(change.from_version):
        return replace(change, withheld=Withheld.DOWNGRADE, security=False)
    if change.security or policy is None or not policy.fixes_up_to(change.to_version):
        return change
    return replace(change, security=True)


def _withheld(name: str, policy: AptPolicy, target: Available, why: Withheld) -> PendingPackage:
    # A source is ADDRESS SUITE/COMPONENT ARCHITECTURE "Packages".
    words = [source.split(" ") for source in target.sources]
    words = [w for w in words if len(w) == 4]
    return PendingPackage(
        name=name,
        from_version=policy.installed,
        to_version=target.version,
        architecture=words[0][2] if words else "",
        origin=", ".join(dict.fromkeys(w[1] for w in words)),
        security=policy.fixes_up_to(target.version),
        withheld=why,
    )


def judge_security(
    packages: tuple[PendingPackage, ...], *, known: bool
) -> tuple[PendingPackage, ...]:
    """The packages, each that is no security update unknown unless an archive of the host tells (`known`)."""
    if known:
        return packages
    return tuple(p if p.security else replace(p, security=None) for p in packages)
