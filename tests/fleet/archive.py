"""The packages and version sets of the archives that the hosts update from."""

from collections.abc import Iterable

from tests.fleet.errors import FleetError
from tests.fleet.families import Family

ALL_PACKAGES = (
    "tb-simple",
    "tb-slow",
    "tb-conf",
    "tb-kernel",
    "tb-secure",
    "tb-held",
    "tb-newdep",
    "tb-conflict",
    "tb-failing",
    "tb-phased",
)
"""Those of the APT archive."""

FAILING_RPM_PACKAGES = ("tb-badpost", "tb-badpre")
"""Nothing mends the update of these; a host has them only where its spec says so."""

RPM_PACKAGES = (
    "tb-simple",
    "tb-slow",
    "tb-conf",
    "tb-secure",
    "tb-held",
    "tb-newdep",
    "kernel",
    "linux-firmware",
    *FAILING_RPM_PACKAGES,
)
"""Those of the RPM repositories."""

VERSION_SETS = ("v1", "v2", "v3", "broken", "untrusted", "absent")
"""``broken`` has an index that does not match its signature (or lists of packages that do not match
the index); the signature of ``untrusted`` is by an unknown key; ``absent`` answers every request with 404."""


def packages_of(family: Family) -> tuple[str, ...]:
    """All packages that there are for the family."""
    return ALL_PACKAGES if family == "debian" else RPM_PACKAGES


def default_packages(family: Family) -> tuple[str, ...]:
    """What a host of the family has unless its spec says otherwise."""
    return tuple(name for name in packages_of(family) if name not in FAILING_RPM_PACKAGES)


def checked_packages(names: Iterable[str], family: Family = "debian") -> tuple[str, ...]:
    """The names in a fixed order, each once; an unknown one is an error."""
    wanted = set(names)
    known = packages_of(family)
    unknown = wanted.difference(known)
    if unknown:
        raise FleetError(
            f"no such package: {', '.join(sorted(unknown))}; there are {', '.join(known)}"
        )
    return tuple(name for name in known if name in wanted)


def checked_version_set(name: str) -> str:
    if name not in VERSION_SETS:
        raise FleetError(f"no such version set: {name}; there are {', '.join(VERSION_SETS)}")
    return name
