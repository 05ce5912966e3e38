"""Finds what an update planned and did not do, whatever its package manager says of its end. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from tendhost.server.domain.abbreviation import abbreviated
from tendhost.server.domain.inventory.inventory import (
    PackageChange,
    Pending,
    PendingPackage,
    Withheld,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoneChange:
    """A planned change that did not happen."""

    name: str
    from_version: str
    """The version before; empty: the package was to be installed newly."""
    to_version: str
    """The planned version; empty: the package was to be removed."""
    reason: str = ""
    """Why, as text; empty: unknown."""


def undone_changes(
    planned: Iterable[PendingPackage],
    removals: Iterable[tuple[str, str]],
    *,
    changes: Iterable[PackageChange],
    installed: Iterable[tuple[str, str]],
    pending: Pending,
    exact: bool = False,
) -> tuple[UndoneChange, ...]:
    """The planned upgrades and removals that did not happen, ordered by name.

    `changes` is what the operation changed by the package database, `installed` and `pending` are from after it.
    An upgrade to another version than the planned one did happen: the archive may have moved on. What was to be
    newly installed follows from what needs it, so it is not judged. With `exact`, each package must be there in its
    planned version; a package manager may skip versions that are not available. Without any installed package,
    nothing is known, and nothing is judged.
    """
    versions = dict(installed := tuple(installed))
    there = set(installed)
    happened = {change.name for change in changes}
    reasons = {package.name: package.withheld for package in pending.packages}
    wanted = [
        (package.name, package.from_version, package.to_version)
        for package in planned
        if package.withheld is Withheld.NO and (package.from_version or exact)
    ]
    found = []
    for name, version, to in sorted(wanted):
        unchanged = name not in happened and (name, version) in there
        if there and (name, to) not in there and (unchanged or exact):
            why = _reason(reasons.get(name), pending) if unchanged else _instead(versions.get(name))
            found.append(UndoneChange(name=name, from_version=version, to_version=to, reason=why))
    found += [
        UndoneChange(name=name, from_version=version, to_version="")
        for name, version in removals
        if name not in happened and (name, version) in there
    ]
    return tuple(sorted(found, key=lambda change: change.name))


def _reason(withheld: Withheld | None, pending: Pending) -> str:
    if pending.queried_at is None:
        return ""
    if withheld is None:
        return "it is not pending any more"
    if withheld is Withheld.NO:
        return "it is still pending: the package manager did not change it"
    return f"it is now withheld: {str(withheld).replace('_', ' ')}"


def _instead(version: str | None) -> str:
    return f"{version} is installed instead" if version else "it is not installed"


LONGEST_LIST = 10


def undone_message(undone: tuple[UndoneChange, ...]) -> str:
    """The changes in one line, at most LONGEST_LIST of them by name."""
    told = [
        f"{' '.join(filter(None, (change.name, change.from_version)))}"
        f" ({f'planned: {change.to_version}' if change.to_version else 'to be removed'}"
        f"{f'; {change.reason}' if change.reason else ''})"
        for change in undone[:LONGEST_LIST]
    ]
    return abbreviated(told, most=LONGEST_LIST, total=len(undone))
