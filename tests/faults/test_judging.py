"""The judge finds nothing wrong with a sound run, and each wrong with its own name."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tendhost.v1 import host_pb2, operation_pb2
from tests.faults.hosts import ALWAYS, NEW, KeptLog, Truth
from tests.faults.judging import SUCCEEDED, Expected, Kind, Told, judge
from tests.faults.stampede import most_at_once

WORDS = b"Setting up tb-slow (2.0-1) ...\n"
LINES = [f"{name} {NEW}" for name in ALWAYS]
SEEN = Truth(
    begun=LINES,
    finished=LINES,
    versions=sorted(LINES),
    logs={"op1": [KeptLog(job="apply-1.1", text=WORDS)]},
    boots=1,
    conffile_kept=True,
    audit="",
)
EXPECTED = Expected(packages=ALWAYS)
DOWN_ONCE = Expected(packages=ALWAYS, downs=1)
IDLE = host_pb2.HOST_STATE_IDLE
UPDATING = host_pb2.HOST_STATE_UPDATING


def told(
    *,
    status: operation_pb2.OperationStatus.ValueType = SUCCEEDED,
    state: host_pb2.HostState.ValueType = IDLE,
    interrupted: bool = False,
    log: bytes = WORDS,
) -> Told:
    outcome = operation_pb2.STEP_STATUS_SUCCEEDED
    if interrupted:
        outcome = operation_pb2.STEP_STATUS_INTERRUPTED
    step = operation_pb2.Step(name=operation_pb2.STEP_NAME_APPLY, status=outcome)
    changes = [operation_pb2.PackageChange(name=name) for name in ALWAYS]
    operation = operation_pb2.Operation(
        id="op1", status=status, steps=[step], update=operation_pb2.UpdateResult(packages=changes)
    )
    listed = [host_pb2.InstalledPackage(name=name, version=NEW) for name in ALWAYS]
    return Told(
        operation=operation,
        host=host_pb2.Host(status=host_pb2.HostStatus(state=state)),
        inventory=host_pb2.Inventory(packages=listed),
        log=log,
    )


def kinds(expected: Expected, said: Told, seen: Truth) -> set[Kind]:
    return {finding.kind for finding in judge(expected, said, seen, boots_before=1)}


def test_sound_run_is_found_sound() -> None:
    assert kinds(EXPECTED, told(), SEEN) == set()


def test_interrupted_run_whose_post_install_was_repaired_is_found_sound() -> None:
    seen = replace(
        SEEN,
        begun=[f"tb-slow {NEW}", *LINES],
        boots=2,
        logs={
            "op1": [
                KeptLog(job="apply-1.1", text=WORDS[:9]),
                KeptLog(job="apply-2.1", text=WORDS[9:]),
            ]
        },
    )
    assert kinds(DOWN_ONCE, told(interrupted=True), seen) == set()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda seen: replace(seen, begun=[*LINES, LINES[0]]), Kind.DOUBLE_TRANSACTION),
        (lambda seen: replace(seen, finished=[*LINES, LINES[1]]), Kind.DOUBLE_TRANSACTION),
        (
            lambda seen: replace(
                seen, logs={"op1": [*seen.logs["op1"], KeptLog(job="apply-1.2", text=b"")]}
            ),
            Kind.DOUBLE_TRANSACTION,
        ),
        (
            lambda seen: replace(seen, logs={**seen.logs, "op2": seen.logs["op1"]}),
            Kind.DOUBLE_TRANSACTION,
        ),
        (lambda seen: replace(seen, boots=2), Kind.WRONG_END),
        (lambda seen: replace(seen, audit="tb-slow"), Kind.WRONG_END),
        (lambda seen: replace(seen, conffile_kept=False), Kind.WRONG_END),
        (
            lambda seen: replace(seen, logs={"op1": [KeptLog(job="apply-1.1", text=WORDS * 2)]}),
            Kind.LOG_MISMATCH,
        ),
        (
            lambda seen: replace(seen, versions=[*seen.versions, "tb-zero 1"]),
            Kind.INVENTORY_MISMATCH,
        ),
    ],
)
def test_what_the_host_contradicts_is_found(change: Callable[[Truth], Truth], kind: Kind) -> None:
    assert kinds(EXPECTED, told(), change(SEEN)) == {kind}


def test_package_that_was_left_behind_is_found() -> None:
    seen = replace(SEEN, versions=[f"{ALWAYS[0]} 1.0-1", *sorted(LINES[1:])])
    assert kinds(EXPECTED, told(), seen) == {Kind.WRONG_END, Kind.INVENTORY_MISMATCH}


def test_host_that_is_busy_with_nothing_is_found() -> None:
    assert kinds(EXPECTED, told(state=UPDATING), SEEN) == {Kind.HOST_STUCK}


def test_end_that_the_scenario_does_not_call_for_is_found() -> None:
    said = told(status=operation_pb2.OPERATION_STATUS_FAILED)
    assert kinds(EXPECTED, said, SEEN) == {Kind.WRONG_END}


def test_interruption_that_is_not_told_is_found() -> None:
    seen = replace(SEEN, boots=2)
    assert kinds(DOWN_ONCE, told(), seen) == {Kind.WRONG_END}


def test_jobs_are_put_in_the_order_of_their_numbers() -> None:
    names = ["apply-10.1", "repair-2.1", "apply-1.1", "apply-1.2"]
    logs = sorted((KeptLog(job=name, text=b"") for name in names), key=lambda log: log.order)
    assert [log.job for log in logs] == ["apply-1.1", "apply-1.2", "repair-2.1", "apply-10.1"]


@pytest.mark.parametrize(
    ("spans", "most"),
    [
        ([], 0),
        ([(0, 5)], 1),
        ([(0, 5), (5, 9)], 1),
        ([(0, 6), (5, 9), (8, 9)], 2),
        ([(0, 9), (1, 3), (2, 4), (3, 4)], 3),
    ],
)
def test_places__are_counted_at_any_one_time(spans: list[tuple[int, int]], most: int) -> None:
    assert most_at_once(spans) == most
