"""The packages and version sets of the APT archive that the hosts update from."""

from collections.abc import Iterable

from tests.fleet.errors import FleetError

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

VERSION_SETS = ("v1", "v2", "v3", "broken", "absent")
"""``broken`` has an index that does not match its signature; ``absent`` answers every request with 404."""


def checked_packages(names: Iterable[str]) -> tuple[str, ...]:
    """The names in a fixed order, each once; an unknown one is an error."""
    wanted = set(names)
    unknown = wanted.difference(ALL_PACKAGES)
    if unknown:
        raise FleetError(
            f"no such package: {', '.join(sorted(unknown))}; there are {', '.join(ALL_PACKAGES)}"
        )
    return tuple(name for name in ALL_PACKAGES if name in wanted)


def checked_version_set(name: str) -> str:
    if name not in VERSION_SETS:
        raise FleetError(f"no such version set: {name}; there are {', '.join(VERSION_SETS)}")
    return name
