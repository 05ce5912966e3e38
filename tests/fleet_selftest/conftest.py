"""One fleet that the tests of the fleet share, each on a host of its own."""

from collections.abc import Iterator

import pytest

from tests.fleet import Fleet, Host, HostSpec, missing_requirements

SPECS = (
    HostSpec(name="systemd"),
    HostSpec(name="tiny", init="tiny"),
    HostSpec(name="updates"),
    HostSpec(name="failing", init="tiny", packages=("tb-simple", "tb-failing"), failing_ok=False),
    HostSpec(name="power", init="tiny"),
    HostSpec(name="keys", init="tiny"),
    HostSpec(name="link", init="tiny"),
    HostSpec(name="cable", init="tiny", cable=True),
)

RPM_SPECS = (
    HostSpec(name="dnf", family="dnf"),
    HostSpec(name="zypper", family="zypper"),
    HostSpec(name="tiny-dnf", family="dnf", init="tiny", packages=("tb-simple", "tb-secure")),
    HostSpec(name="tiny-zypper", family="zypper", init="tiny", packages=("tb-simple", "tb-secure")),
    HostSpec(name="bad-dnf", family="dnf", init="tiny", packages=("tb-badpost", "tb-badpre")),
    HostSpec(name="bad-zypper", family="zypper", init="tiny", packages=("tb-badpost", "tb-badpre")),
    HostSpec(name="osquery", init="tiny", packages=("tb-simple",), osquery=True),
    HostSpec(name="osquery-dnf", family="dnf", init="tiny", packages=("tb-simple",), osquery=True),
)


@pytest.fixture(scope="session")
def able() -> None:
    """Under CI the root conftest turns this skip into a failure."""
    missing = missing_requirements()
    if missing:
        pytest.skip("no fleet of real hosts here: " + "; ".join(missing))


@pytest.fixture(scope="session")
def fleet(able: None) -> Iterator[Fleet]:
    with Fleet(SPECS) as fleet:
        yield fleet


@pytest.fixture
def updates(fleet: Fleet) -> Host:
    return fleet["updates"]


@pytest.fixture(scope="session")
def rpm_fleet(able: None) -> Iterator[Fleet]:
    """Hosts of the families that have RPM packages, and one with the stand-in for osquery."""
    with Fleet(RPM_SPECS) as fleet:
        yield fleet
