"""Fleets for tests against real hosts."""

from collections.abc import Callable, Iterator

import pytest

from tests.fleet import Fleet, HostSpec


@pytest.fixture
def make_fleet() -> Iterator[Callable[..., Fleet]]:
    fleets: list[Fleet] = []

    def make(*specs: HostSpec) -> Fleet:
        fleet = Fleet(list(specs))
        fleet.start()
        fleets.append(fleet)
        return fleet

    yield make
    for fleet in fleets:
        fleet.stop()
