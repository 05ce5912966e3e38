"""Pending packages, patches and transactions, as zypper prints them.

`list-updates` lists what an update would take, `list-updates --all` also what it would leave alone.
Patches are what SUSE publishes as advisories. `list-patches` has their category, severity and issues;
only `info -t patch` tells of which packages a patch makes older versions conflict.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from xml.etree import ElementTree

from tendhost.server.domain.inventory.inventory import (
    Advisory,
    PendingPackage,
    Reboot,
    RebootNeed,
    Severity,
    Withheld,
)
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.rpm.database import name_of, parse_version
from tendhost.server.packages.rpm.versions import newest_versions, version_key
from tendhost.server.packages.script import Part


def parse_stream(text: str, *, part: str) -> ElementTree.Element:
    """The output of `zypper --xmlout`, without what plugins print around it. Raises ParseFailed.

    A document type, by which entities could be declared and grow without bounds, is refused.
    """
    start, end = text.find("<stream"), text.rfind("</stream>")
    if start < 0 or end < start or "<!" in text[start:end]:
        raise ParseFailed(part=part, line=text.rpartition("\n")[2])
    try:
        # Without declarations there are no entities to expand.
        return ElementTree.fromstring(text[start : end + len("</stream>")])  # noqa: S314
    except ElementTree.ParseError as error:
        line = text[start:].split("\n")[error.position[0] - 1 : error.position[0]]
        raise ParseFailed(part=part, line="".join(line)) from error


def _attributes(element: ElementTree.Element, part: str, *names: str) -> tuple[str, ...]:
    found = tuple(element.get(name, "") for name in names)
    if not all(found):
        line = ElementTree.tostring(element, encoding="unicode")
        raise ParseFailed(part=part, line=line)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """A newer version in a repository."""

    name: str
    version: str
    architecture: str
    repository: str
    """Its alias."""
    from_version: str
    """Empty where zypper does not name it."""


def parse_updates(text: str, *, part: str) -> tuple[Update, ...]:
    """Understand `zypper --xmlout list-updates`. Raises ParseFailed."""
    found = []
    for element in parse_stream(text, part=part).iter("update"):
        if element.get("kind", "package") != "package":
            continue
        name, edition, architecture = _attributes(element, part, "name", "edition", "arch")
        source = element.find("source")
        found.append(
            Update(
                name=name,
                version=parse_version(edition),
                architecture=architecture,
                repository=source.get("alias", "") if source is not None else "",
                from_version=parse_version(element.get("edition-old", "")),
            )
        )
    return tuple(found)


_SEVERITIES = {word: Severity(word) for word in ("low", "moderate", "important", "critical")}
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}\Z")


def parse_patches(text: str) -> Mapping[str, Advisory]:
    """The patches of `zypper --xmlout list-patches` by name. Raises ParseFailed."""
    found = {}
    for element in parse_stream(text, part="patches").iter("update"):
        if element.get("kind") != "patch":
            continue
        (name,) = _attributes(element, "patches", "name")
        issues = (issue.get("id", "") for issue in element.iter("issue"))
        found[name] = Advisory(
            id=name,
            security=element.get("category", "").lower() == "security",
            severity=_SEVERITIES.get(element.get("severity", "").lower(), Severity.UNKNOWN),
            cves=tuple(sorted({issue for issue in issues if _CVE.match(issue)})),
        )
    return found


# Name        : SUSE-2024-2001
# Conflicts   : tb-secure < 1.0-2          or, where there are several, their number and then one a line:
# Conflicts   : [2]
#     tb-secure.x86_64 < 1.0-2
_FIELD = re.compile(r"([A-Z][A-Za-z -]{0,30}?) *: ?(.*)\Z")
_FIXES = re.compile(r"([^\s:]+) < (\S+)\Z")
# Obsoletes   : oldname < 2.0
_OBSOLETE = re.compile(r"([^\s:\[-]\S*)(?: (?:<=?|=|>=?) \S+)?\Z")


def parse_fixes(text: str) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """What each patch of `zypper info -t patch` fixes: name (or name.arch) and version of packages.

    What else a patch conflicts with (source packages, patterns) is left out.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for patch, said in _values(text, "Conflicts"):
        if fix := _FIXES.match(said):
            found.setdefault(patch, []).append((fix[1], parse_version(fix[2])))
    return {patch: tuple(fixes) for patch, fixes in found.items()}


def parse_obsoletes(text: str) -> Mapping[str, frozenset[str]]:
    """The names of what each package of `zypper info --obsoletes` obsoletes, in whichever version."""
    found: dict[str, set[str]] = {}
    for package, said in _values(text, "Obsoletes"):
        if obsolete := _OBSOLETE.match(said):
            found.setdefault(package, set()).add(obsolete[1])
    return {package: frozenset(names) for package, names in found.items()}


def _values(text: str, wanted: str) -> Iterator[tuple[str, str]]:
    """The values of the field `wanted` in the output of `zypper info`, each with the Name above it."""
    name, field = "", ""
    for line in text.split("\n"):
        if match := _FIELD.match(line):
            field, said = match[1], match[2]
            if field == "Name":
                name = said.strip()
        elif line.startswith("  "):
            said = line
        else:
            field = ""
            continue
        if field == wanted and name:
            yield name, said.strip()


def parse_locks(text: str) -> tuple[str, ...]:
    """The patterns of names that `zypper --xmlout locks` lists for packages. Raises ParseFailed."""
    return tuple(
        (name.text or "").strip()
        for lock in parse_stream(text, part="locks").iter("lock")
        if (lock.findtext("type") or "package").strip() == "package"
        for name in lock.findall("name")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ZypperListing:
    """What a query learnt of pending packages, before it is put together."""

    updates: tuple[Update, ...]
    everything: tuple[Update, ...]
    locks: Collection[str]
    patches: Mapping[str, Advisory] | None
    """None: not known."""
    fixes: Mapping[str, tuple[tuple[str, str], ...]]
    advised: Collection[str]
    """Repositories that publish patches."""
    native: str


def pending_packages(
    listing: ZypperListing, installed: Sequence[tuple[str, str]]
) -> tuple[PendingPackage, ...]:
    """Every package with an update, ordered by name."""
    versions = newest_versions(installed)
    allowed = {(update.name, update.architecture) for update in listing.updates}
    fixes = _fixes_by_package(listing)
    # An update can be among what is to be done, and not among everything, where vendors differ.
    known = {(u.name, u.architecture): u for u in (*listing.everything, *listing.updates)}
    found = []
    for key, update in known.items():
        name = name_of(update.name, update.architecture, listing.native)
        from_version = update.from_version or versions.get(name, "")
        advisories = _advisories(update, from_version, fixes)
        withheld = Withheld.NO
        if key not in allowed:
            locked = any(fnmatchcase(update.name, lock) for lock in listing.locks)
            withheld = Withheld.HELD if locked else Withheld.KEPT_BACK
        found.append(
            PendingPackage(
                name=name,
                from_version=from_version,
                to_version=update.version,
                architecture=update.architecture,
                origin=update.repository,
                security=_security(advisories, update, listing),
                withheld=withheld,
                advisories=advisories,
            )
        )
    return tuple(sorted(found, key=lambda package: package.name))


def _fixes_by_package(listing: ZypperListing) -> Mapping[str, list[tuple[str, Advisory]]]:
    found: dict[str, list[tuple[str, Advisory]]] = {}
    for patch, advisory in sorted((listing.patches or {}).items()):
        for package, version in listing.fixes.get(patch, ()):
            found.setdefault(package, []).append((version, advisory))
    return found


def _advisories(
    update: Update, from_version: str, fixes: Mapping[str, list[tuple[str, Advisory]]]
) -> tuple[Advisory, ...]:
    after = version_key(from_version)
    about = (*fixes.get(update.name, ()), *fixes.get(f"{update.name}.{update.architecture}", ()))
    found = {advisory.id: advisory for version, advisory in about if version_key(version) > after}
    return tuple(found[id] for id in sorted(found))


def _security(
    advisories: tuple[Advisory, ...], update: Update, listing: ZypperListing
) -> bool | None:
    if any(advisory.security for advisory in advisories):
        return True
    # libzypp names the folder of a repository by its alias, but for slashes.
    folder = update.repository.replace("/", "_")
    return False if listing.patches is not None and folder in listing.advised else None


# /var/cache/zypp/raw/repo-update/repodata/0a1b…-updateinfo.xml.gz
_ADVISED = re.compile(r"/raw/([^/\n]+)/[^\n]*updateinfo")


def parse_advised(text: str) -> frozenset[str]:
    """The repositories of which metadata about patches lie in the cache."""
    return frozenset(_ADVISED.findall(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What zypper would do, by `--xmlout … --dry-run`."""

    changes: tuple[PendingPackage, ...]
    removed: tuple[tuple[str, str], ...]
    download_bytes: int | None
    disk_bytes: int | None


_REMOVING = "to-remove"
_NUMBER = re.compile(r"-?[0-9]{1,18}\Z")


def parse_summary(text: str, installed: Sequence[tuple[str, str]], native: str) -> Summary | None:
    """The summary of a dry run; None where there is none, as there is nothing to do or an error.

    Raises ParseFailed.
    """
    summary = parse_stream(text, part="plan").find("install-summary")
    if summary is None:
        return None
    versions = newest_versions(installed)
    changes, removed = [], []
    for section in summary:
        for solvable in section.iter("solvable"):
            if solvable.get("type", "package") != "package":
                continue
            bare, edition, architecture = _attributes(solvable, "plan", "name", "edition", "arch")
            name, version = name_of(bare, architecture, native), parse_version(edition)
            if section.tag == _REMOVING:
                removed.append((name, version))
                continue
            change = PendingPackage(
                name=name,
                from_version=parse_version(solvable.get("edition-old", ""))
                or versions.get(name, ""),
                to_version=version,
                architecture=architecture,
                security=None,
            )
            changes.append(change)
    return Summary(
        changes=tuple(sorted(changes, key=lambda change: change.name)),
        removed=tuple(sorted(removed)),
        download_bytes=_bytes(summary.get("download-size", "")),
        disk_bytes=_bytes(summary.get("space-usage-diff", "")),
    )


def with_replacements(summary: Summary, obsoletes: Mapping[str, frozenset[str]]) -> Summary:
    """The summary with what each new package replaces, of what goes for it."""
    gone = [name for name, _ in summary.removed]
    changes = tuple(
        replace(
            change,
            replaces=tuple(name for name in gone if name in obsoletes.get(change.name, ())),
        )
        for change in summary.changes
    )
    return replace(summary, changes=changes)


def _bytes(number: str) -> int | None:
    return int(number) if _NUMBER.match(number) else None


# i | Fleet      | tb-extra | 2.0-1   | noarch
_UNNEEDED = re.compile(r"i\S* +\|[^|\n]*\| *([^|\s]+) *\| *([^|\s]+) *\| *([^|\s]+) *\Z")


def parse_unneeded(text: str, native: str) -> tuple[tuple[str, str], ...]:
    """Name and version of the packages of `zypper packages --unneeded`."""
    matches = (_UNNEEDED.match(line) for line in text.split("\n"))
    rows = (match.groups() for match in matches if match is not None)
    return tuple(
        (name_of(name, arch, native), parse_version(version)) for name, version, arch in rows
    )


def parse_needs_rebooting(part: Part) -> Reboot | None:
    """Understand `zypper needs-rebooting`: 102 is a yes; None where there is no such command."""
    message = " ".join(f"{part.stdout} {part.stderr}".split())
    if "Unknown command" in message:
        return None
    if part.status == 102:
        return Reboot(need=RebootNeed.NEEDED, reason="zypper needs-rebooting asks for it")
    if part.status == 0:
        return Reboot(need=RebootNeed.NOT_NEEDED)
    why = message[:200] or f"it ended with {part.status}"
    return Reboot(need=RebootNeed.UNKNOWN, reason=f"zypper needs-rebooting: {why}")
