"""Which tests pytest-xdist gives to which worker, so that tests that wait run beside tests that compute.

The tests of a file stay together, since they share fixtures. Tests with hosts of their own are handed out one by
one: each starts its own fleet, and a file of them takes as long as a hundred others. Half of the workers begin with
the tests that wait for hosts, half with those that compute, until they meet.
"""

from collections import Counter

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

ONE_BY_ONE = ("tests/e2e/", "tests/faults/")
"""Folders whose tests start a server and hosts of their own, in any order and beside each other."""
TOGETHER = ("tests/e2e/test_service.py",)
"""Files in them whose tests share a host that took long to make."""
WAITING = (
    "tests/e2e/test_compose",
    "tests/faults/",
    "tests/e2e/",
    "tests/fleet_selftest/",
    "tests/cluster_selftest/",
    "tests/deploy/test_proxies",
    "tests/simulated/",
    "tests/contract/remote/",
)
"""Where tests mostly wait, those that wait longest first."""


def unit_of(nodeid: str) -> str:
    """What is handed out together with this test: all of its file, or the test alone with its cases."""
    file, _, test = nodeid.partition("::")
    if file.startswith(ONE_BY_ONE) and file not in TOGETHER:
        return f"{file}::{test}"
    return file


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests with what waits longest first, and the largest files of what computes last."""
    counts = Counter(item.nodeid.partition("::")[0] for item in items)

    def rank(item: pytest.Item) -> tuple[int, int]:
        waiting = (number for number, start in enumerate(WAITING) if item.nodeid.startswith(start))
        size = counts[item.nodeid.partition("::")[0]]
        place = next(waiting, len(WAITING))
        return place, size if place == len(WAITING) else 0

    return sorted(items, key=rank)


class WaitingBesideComputing(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Takes units from the front of the queue for every other worker, and from its end for the rest."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # else by number of tests: the longest come last

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if int(node.gateway.id.removeprefix("gw")) % 2:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)
