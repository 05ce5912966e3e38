"""Real hosts on one Linux machine, Debian underneath: for tests, the demo, and trying tendhost out."""

from tests.fleet.archive import ALL_PACKAGES, RPM_PACKAGES, VERSION_SETS
from tests.fleet.errors import FleetError, FleetStartError, HostIsDown
from tests.fleet.families import Family
from tests.fleet.fleet import Fleet
from tests.fleet.host import Host, HostSpec, Init, Knobs, Link, NextBoot
from tests.fleet.requirements import missing_requirements

__all__ = [
    "ALL_PACKAGES",
    "RPM_PACKAGES",
    "VERSION_SETS",
    "Family",
    "Fleet",
    "FleetError",
    "FleetStartError",
    "Host",
    "HostIsDown",
    "HostSpec",
    "Init",
    "Knobs",
    "Link",
    "NextBoot",
    "missing_requirements",
]
