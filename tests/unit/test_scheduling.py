"""How tests are handed out to the workers of pytest-xdist."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tests.scheduling import WaitingBesideComputing, in_order, unit_of

E2E = [f"tests/e2e/test_a.py::test_{n}" for n in range(3)]
FAULT = "tests/faults/test_faults.py::test_updates[link]"
FEW = ["tests/unit/domain/test_few.py::test_0"]
MANY = [f"tests/unit/domain/test_many.py::test_{n}" for n in range(9)]


def ordered(nodeids: Sequence[str]) -> list[str]:
    items: Any = [SimpleNamespace(nodeid=nodeid) for nodeid in nodeids]
    return [item.nodeid for item in in_order(items)]


class Node:
    """A worker that notes what it was given."""

    shutting_down = False

    def __init__(self, name: str, nodeids: Sequence[str]) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.nodeids = nodeids
        self.given: list[str] = []

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.given.extend(self.nodeids[index] for index in indices)

    def shutdown(self) -> None:
        self.shutting_down = True


def test_unit__is_a_file_or_one_test_with_hosts_of_its_own():
    assert unit_of(MANY[0]) == unit_of(MANY[1]) == "tests/unit/domain/test_many.py"
    assert unit_of(E2E[0]) == E2E[0]
    assert unit_of(FAULT) == FAULT


def test_order__is_from_what_waits_longest_to_the_largest_file_that_computes():
    assert ordered([*MANY, *FEW, *E2E, FAULT]) == [FAULT, *E2E, *FEW, *MANY]


def test_workers__begin_by_turns_with_what_waits_and_with_what_computes(pytestconfig):
    nodeids = [FAULT, *E2E, *FEW, *MANY]
    config: Any = SimpleNamespace(
        getvalue=lambda name: ["2*popen"] if name == "tx" else None,
        option=SimpleNamespace(loadscopereorder=True),
        hook=pytestconfig.hook,
    )
    scheduling = WaitingBesideComputing(config)
    nodes = [Node("gw0", nodeids), Node("gw1", nodeids)]
    for node in nodes:
        scheduling.add_node(node)
        scheduling.add_node_collection(node, nodeids)
    scheduling.schedule()
    assert nodes[0].given == [FAULT, E2E[0]]
    assert nodes[1].given == MANY


@pytest.mark.parametrize("folder", ["tests/e2e", "tests/faults"])
def test_tests_with_hosts_of_their_own__share_none_beyond_a_module(folder, pytestconfig):
    """A fixture of a wider scope would be made once for each worker, which takes its tests one by one."""
    files = (pytestconfig.rootpath / folder).rglob("*.py")
    wide = [file.name for file in files if 'scope="session"' in file.read_text("utf-8")]
    assert not wide
