"""Pending packages, advisories and transactions, as dnf prints them."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from tendhost.server.domain.bounds import size_in_bytes
from tendhost.server.domain.inventory.inventory import (
    Advisory,
    PendingPackage,
    Reboot,
    RebootNeed,
    Severity,
    Withheld,
)
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.rpm.database import evr, name_of, parse_version
from tendhost.server.packages.rpm.versions import newest_versions, version_key
from tendhost.server.packages.script import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """A newer version in a repository."""

    name: str
    version: str
    architecture: str
    repository: str
    replaces: tuple[tuple[str, str], ...] = ()
    """Name and architecture of installed packages of other names that it takes the place of."""


def parse_upgrades(text: str) -> tuple[Upgrade, ...]:
    """Understand `dnf repoquery --upgrades` in the format of queries: the newest version of each.

    Raises ParseFailed.
    """
    found: dict[tuple[str, str], Upgrade] = {}
    for line in filter(None, text.split("\n")):
        fields = line.split("\t")
        if len(fields) != 5 or not all(fields):
            raise ParseFailed(part="upgrades", line=line)
        name, epoch, version, architecture, repository = fields
        upgrade = Upgrade(
            name=name,
            version=evr(epoch, version),
            architecture=architecture,
            repository=repository,
        )
        known = found.setdefault((name, architecture), upgrade)
        if version_key(known.version) < version_key(upgrade.version):
            found[name, architecture] = upgrade
    return tuple(found.values())


def with_replacements(
    upgrades: Iterable[Upgrade], allowed: Iterable[Upgrade]
) -> tuple[Upgrade, ...]:
    """The `upgrades` and what else an upgrade takes: new packages in the place of installed ones.

    repoquery lists only newer versions of what is installed; only check-update tells who replaces whom.
    """
    found = {(upgrade.name, upgrade.architecture): upgrade for upgrade in upgrades}
    for upgrade in allowed:
        key = (upgrade.name, upgrade.architecture)
        found[key] = replace(found.get(key, upgrade), replaces=upgrade.replaces)
    return tuple(found.values())


def parse_check_update(text: str) -> tuple[Upgrade, ...]:
    """What `dnf check-update` or `yum check-update` would upgrade. Raises ParseFailed.

    A long name stands on a line of its own, and its version and repository on the next, indented.
    Under "Obsoleting Packages" stands each package that takes the place of others, and they follow it,
    indented; it may be listed above already, as an upgrade.
    """
    upgrades: dict[tuple[str, str], Upgrade] = {}
    obsoleting, held, new = False, "", None
    for line in text.split("\n"):
        if line.startswith(("Obsoleting ", "Obsoletes")):
            obsoleting = True
            continue
        if not line.strip() or line.startswith(_CHATTER):
            continue
        old = held.startswith(" ") if held else line.startswith(" ")
        words = f"{held} {line}".split()
        if len(words) < 3:
            held = line
            continue
        held = ""
        row = _listed(words, line)
        key = (row.name, row.architecture)
        if not obsoleting:
            upgrades.setdefault(key, row)
        elif not old:
            new = upgrades.get(key, row)
        elif new is None:
            raise ParseFailed(part="updates", line=line)
        elif key[0] != new.name:
            new = replace(new, replaces=(*new.replaces, key))
            upgrades[new.name, new.architecture] = new
    if held:
        raise ParseFailed(part="updates", line=held)
    return tuple(upgrades.values())


def _listed(words: Sequence[str], line: str) -> Upgrade:
    name, dot, architecture = words[0].rpartition(".")
    if len(words) != 3 or not dot or not _ARCHITECTURE.match(architecture):
        raise ParseFailed(part="updates", line=line)
    return Upgrade(
        name=name,
        version=parse_version(words[1]),
        architecture=architecture,
        repository=words[2],
    )


_ARCHITECTURE = re.compile(r"[a-z][a-z0-9_]{2,15}\Z")
_CHATTER = ("Last metadata expiration check:", "Security: ", "Upgrades")

# FLEET-2024-2001 Important/Sec. tb-secure-1.0-2.noarch
_LISTED = re.compile(r"(\S+) +(\S+) +(\S+)-([^-\s]+)-([^-\s]+)\.([^.\s]+)\Z")
# With two runs of spaces side by side a line of nothing else would take time quadratic in its length.
_FIELD = re.compile(r" *(?:(Update ID|Type|CVEs|Severity) *)?: ?(.*)\Z")
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}")
_SEVERITIES = {word: Severity(word) for word in ("low", "moderate", "important", "critical")}


def parse_advisories(listed: str, told: str) -> Mapping[tuple[str, str], tuple[Advisory, ...]]:
    """The advisories by name and architecture of the package: what `dnf updateinfo list --updates`
    lists, with what `dnf updateinfo info --updates` tells of each. Raises ParseFailed.
    """
    known = _parse_info(told)
    found: dict[tuple[str, str], dict[str, Advisory]] = {}
    for line in filter(str.strip, listed.split("\n")):
        if line.startswith(_CHATTER):
            continue
        match = _LISTED.match(line.strip())
        if match is None:
            raise ParseFailed(part="advisories", line=line)
        id, kind = match[1], match[2].lower()
        severity = _SEVERITIES.get(kind.partition("/")[0], Severity.UNKNOWN)
        security = kind.endswith("/sec.") or kind.startswith("security")
        advisory = known.get(id) or Advisory(id=id, security=security, severity=severity)
        found.setdefault((match[3], match[6]), {})[id] = advisory
    return {key: tuple(ids[id] for id in sorted(ids)) for key, ids in found.items()}


def _parse_info(text: str) -> dict[str, Advisory]:
    found: dict[str, Advisory] = {}
    id, kind, severity, last = "", "", Severity.UNKNOWN, ""
    cves: list[str] = []

    def close() -> None:
        if id:
            found[id] = Advisory(
                id=id, security=kind == "security", severity=severity, cves=tuple(cves)
            )

    for line in text.split("\n"):
        match = _FIELD.match(line)
        if match is None:
            continue
        last = match[1] or last
        value = match[2].strip()
        if match[1] == "Update ID":
            close()
            id, kind, severity, cves = value, "", Severity.UNKNOWN, []
        elif match[1] == "Type":
            kind = value.lower()
        elif match[1] == "Severity":
            severity = _SEVERITIES.get(value.lower(), Severity.UNKNOWN)
        elif last == "CVEs":
            cves += _CVE.findall(value)
    close()
    return found


class _Reference(msgspec.Struct, frozen=True):
    """A reference of an advisory, as dnf 5 prints it."""

    Id: str = ""
    Type: str = ""


class _Collections(msgspec.Struct, frozen=True):
    packages: tuple[str, ...] = ()


class _Published(msgspec.Struct, frozen=True):
    """An advisory, as `dnf5 advisory info --json` prints it."""

    Name: str
    Type: str = ""
    Severity: str = ""
    references: tuple[_Reference, ...] = ()
    collections: _Collections = _Collections()


_published = msgspec.json.Decoder(list[_Published])
_NEVRA = re.compile(r"(\S+)-([^-\s]+)-([^-\s]+)\.([^.\s]+)\Z")


def parse_published(text: str) -> Mapping[tuple[str, str], tuple[Advisory, ...]]:
    """The advisories by name and architecture, as `dnf5 advisory info --updates --json` prints them.

    Raises ParseFailed.
    """
    try:
        published = _published.decode(text or "[]")
    except msgspec.MsgspecError as error:
        raise ParseFailed(part="advisories", line=text) from error
    found: dict[tuple[str, str], dict[str, Advisory]] = {}
    for one in published:
        advisory = Advisory(
            id=one.Name,
            security=one.Type.lower() == "security",
            severity=_SEVERITIES.get(one.Severity.lower(), Severity.UNKNOWN),
            cves=tuple(r.Id for r in one.references if r.Type == "cve" and _CVE.fullmatch(r.Id)),
        )
        for nevra in one.collections.packages:
            match = _NEVRA.match(nevra)
            if match is None:
                raise ParseFailed(part="advisories", line=nevra)
            found.setdefault((match[1], match[4]), {})[one.Name] = advisory
    return {key: tuple(ids[id] for id in sorted(ids)) for key, ids in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class DnfListing:
    """What a query learnt of pending packages, before it is put together."""

    upgrades: tuple[Upgrade, ...]
    allowed: frozenset[tuple[str, str]]
    """What an upgrade would take, by name and architecture."""
    locked: Collection[str]
    """Names that a versionlock holds."""
    advisories: Mapping[tuple[str, str], tuple[Advisory, ...]]
    advised: Collection[str]
    """Repositories that publish advisories."""
    native: str


def pending_packages(
    listing: DnfListing, installed: Sequence[tuple[str, str]]
) -> tuple[PendingPackage, ...]:
    """Every package with an update, ordered by name."""
    versions = newest_versions(installed)
    found = []
    for upgrade in listing.upgrades:
        name = name_of(upgrade.name, upgrade.architecture, listing.native)
        key = (upgrade.name, upgrade.architecture)
        from_version = versions.get(name, "")
        advisories = listing.advisories.get(key, ())
        # dnf lists no advisory of a package that is not installed: without a word, it is not known.
        advised = listing.advised if from_version else ()
        withheld = Withheld.NO
        if key not in listing.allowed:
            withheld = Withheld.HELD if upgrade.name in listing.locked else Withheld.EXCLUDED
        found.append(
            PendingPackage(
                name=name,
                from_version=from_version,
                to_version=upgrade.version,
                architecture=upgrade.architecture,
                origin=upgrade.repository,
                security=_security(advisories, upgrade, advised),
                withheld=withheld,
                advisories=advisories,
                replaces=tuple(name_of(*old, listing.native) for old in upgrade.replaces),
            )
        )
    return tuple(sorted(found, key=lambda package: package.name))


def _security(
    advisories: tuple[Advisory, ...], upgrade: Upgrade, advised: Collection[str]
) -> bool | None:
    if any(advisory.security for advisory in advisories):
        return True
    return False if upgrade.repository in advised else None


# tb-held-0:1.0-1.*   !tb-bad-0:2.0-1.*   (an exclamation mark excludes just that version)
_LOCKED_5 = re.compile(r'^name = "([^"\n]+)"$', re.MULTILINE)
_LOCKED = re.compile(r"!?(.+)-(?:[0-9]+:)?[^-\s]+-[^-\s]+\Z")


def parse_versionlock(text: str) -> frozenset[str]:
    """The names in versionlock.list, or in dnf 5's versionlock.toml.

    Lines of other forms are patterns that name no package.
    """
    if toml := _LOCKED_5.findall(text):
        return frozenset(toml)
    lines = (line.strip() for line in text.split("\n"))
    matches = (_LOCKED.match(line) for line in lines if line and line[0] not in "#")
    return frozenset(match[1] for match in matches if match is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table in which dnf shows a transaction."""

    section: str
    name: str
    architecture: str
    version: str
    repository: str
    replaces: tuple["Row", ...] = ()
    """What goes for it: its former version, or packages of other names that it obsoletes."""


_SECTION = re.compile(r"(?P<name>[A-Z][A-Za-z ]+):\Z")
_SIZE = re.compile(r"[0-9][0-9.,]* *(?:[kKMGT]i?)?B?\Z")
DOING = ("Installing", "Upgrading", "Downgrading", "Reinstalling")
REMOVING = "Removing"


_REPLACING = re.compile(
    r" +replacing +(?P<name>\S+?)(?:\.(?P<joined>[^\s.]+)| +(?P<architecture>[a-z]\w*))"
    r" +(?P<version>\S+?-\S+?)\.?(?: .*)?\Z"
)


def _replaced(line: str) -> Row:
    """What goes because another package takes its place: the former version, or an obsolete package."""
    match = _REPLACING.match(line)
    if match is None:
        raise ParseFailed(part="plan", line=line)
    return Row(
        section=REMOVING,
        name=match["name"],
        architecture=match["joined"] or match["architecture"],
        version=parse_version(match["version"]),
        repository="",
    )


def parse_table(text: str) -> tuple[Row, ...]:
    """The table of `dnf --assumeno` or `dnf -y`, without what is skipped. Raises ParseFailed.

    Where a name is too long for its column, the rest of its row stands on the next line.
    """
    rows: list[Row] = []
    section, held = "", ""
    for line in text.split("\n"):
        if line.startswith("Transaction Summary"):
            break
        if match := _SECTION.match(line.strip() if not line.startswith("  ") else ""):
            section, held = match["name"], ""
            continue
        if not line.startswith(" ") or not section.startswith((*DOING, REMOVING)):
            continue
        if line.split()[:1] == ["replacing"]:
            if not rows:
                raise ParseFailed(part="plan", line=line)
            rows[-1] = replace(rows[-1], replaces=(*rows[-1].replaces, _replaced(line)))
            continue
        words = f"{held} {line}".split()
        if len(words) < 4:
            held = " ".join(words)
            continue
        held = ""
        if not _SIZE.match(" ".join(words[4:])):
            raise ParseFailed(part="plan", line=line)
        rows.append(
            Row(
                section=section,
                name=words[0],
                architecture=words[1],
                version=parse_version(words[2]),
                repository=words[3].removeprefix("@"),
            )
        )
    return tuple(rows)


def planned_changes(
    rows: Sequence[Row], installed: Sequence[tuple[str, str]], native: str
) -> tuple[tuple[PendingPackage, ...], tuple[tuple[str, str], ...]]:
    """What a transaction would change, and name and version of what it would remove."""
    versions = newest_versions(installed)
    done = {row.name for row in rows if row.section.startswith(DOING)}
    changes: list[PendingPackage] = []
    removed: dict[tuple[str, str], None] = {}
    for row in rows:
        name = name_of(row.name, row.architecture, native)
        if row.section.startswith(REMOVING):
            removed[name, row.version] = None
            continue
        replaced = {
            name_of(old.name, old.architecture, native): old.version
            for old in row.replaces
            if old.name not in done
        }
        removed |= dict.fromkeys(replaced.items())
        change = PendingPackage(
            name=name,
            from_version=versions.get(name, ""),
            to_version=row.version,
            architecture=row.architecture,
            origin=row.repository,
            security=None,
            replaces=tuple(replaced),
        )
        changes.append(change)
    return tuple(sorted(changes, key=lambda p: p.name)), tuple(sorted(removed))


_UNITS = {"": 1, "k": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
# dnf 4: "Total download size: 55 k", "Installed size: 1.2 M", "Freed space: 3 k"
# dnf 5: "Need to download 55 KiB.", "After this operation, 12 MiB extra will be used …"
_DOWNLOAD = re.compile(
    r"^(?:Total download size: |.*Need to download )([0-9.]+) ?([kKMGT]?)", re.MULTILINE
)
_TAKEN = re.compile(
    r"^(?:Installed size: |After this operation, )([0-9.]+) ?([kKMGT]?)", re.MULTILINE
)
_FREED = re.compile(r"^Freed space: |will be freed", re.MULTILINE)


def parse_sizes(text: str) -> tuple[int | None, int | None]:
    """Bytes to download, and bytes of disk taken afterwards; None each where dnf names none.

    dnf 4 names what it installs only where nothing is upgraded.
    """
    download = _bytes(_DOWNLOAD.search(text))
    if "Nothing to do" in text:
        return download or 0, 0
    if download is None and "Total size:" in text:
        download = 0  # everything was fetched before
    taken = _bytes(_TAKEN.search(text))
    if taken is not None and _FREED.search(text):
        taken = -taken
    return download, taken


def _bytes(match: re.Match[str] | None) -> int | None:
    if match is None:
        return None
    try:
        return size_in_bytes(float(match[1]) * _UNITS[match[2].replace("K", "k")])
    except ValueError:
        raise ParseFailed(part="plan", line=match[0]) from None


def parse_needs_restarting(part: Part) -> Reboot | None:
    """Understand `dnf needs-restarting -r`: yes, no, or not known; None where there is no such command.

    Its exit status 1 is a yes only together with its own message: errors end with 1, too.
    """
    said = f"{part.stdout}\n{part.stderr}"
    if "No such command" in said or 'Unknown argument "needs-restarting"' in said:
        return None
    if part.status == 0 and "should not be necessary" in said:
        return Reboot(need=RebootNeed.NOT_NEEDED)
    if part.status == 1 and "Reboot is required" in said:
        names = [line.split("*", 1)[1].strip() for line in said.split("\n") if "  * " in line]
        reason = f"updated since the boot: {', '.join(names)}" if names else "dnf asks for it"
        return Reboot(need=RebootNeed.NEEDED, reason=reason)
    message = " ".join(said.split())[:200] or f"it ended with {part.status}"
    return Reboot(need=RebootNeed.UNKNOWN, reason=f"dnf needs-restarting: {message}")


# /var/cache/dnf/fleet-eb8d4b1933e0b441/repodata/…-updateinfo.xml.gz
_ADVISED = re.compile(r"/([^/\n]+)-[0-9a-f]{16}/repodata/[^/\n]*updateinfo")


def parse_advised(text: str) -> frozenset[str]:
    """The repositories of which metadata about advisories lie in the cache."""
    return frozenset(_ADVISED.findall(text))
