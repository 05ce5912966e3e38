"""Compares what a host says of a run with what the server says, and names every difference."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tendhost.v1 import host_pb2, operation_pb2
from tests.faults.hosts import END, NEW, REBOOTING, KeptLog, Truth

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATUS_FAILED
INTERRUPTED = operation_pb2.STEP_STATUS_INTERRUPTED
WAITING_REBOOT = host_pb2.HOST_STATE_WAITING_REBOOT
AT_REST = {
    SUCCEEDED: {host_pb2.HOST_STATE_IDLE},
    FAILED: {
        host_pb2.HOST_STATE_IDLE,
        host_pb2.HOST_STATE_PENDING_UPDATES,
        host_pb2.HOST_STATE_FAILED,
    },
}
"""The states that the end of an update leaves a host in; all others say that it is busy."""


LOG_BOUND = 18 << 20
"""Bytes of a log at most: operation_log_limit, and a little for where it is cut."""


class Kind(StrEnum):
    """What can be wrong; each is counted by itself, and each count must be 0."""

    DOUBLE_TRANSACTION = "double_transactions"
    WITHOUT_END = "operations_without_end"
    HOST_STUCK = "hosts_stuck"
    EVENT_GAP = "event_gaps"
    LOG_MISMATCH = "log_mismatches"
    INVENTORY_MISMATCH = "inventory_mismatches"
    UNBOUNDED = "unbounded_growth"
    """More memory or disk than the server may take, whatever hosts print."""
    BROKEN_BATCH = "broken_batches"
    """The batch could not be carried out: the server ended by itself, say, or refused what is sound."""
    WRONG_END = "wrong_ends"
    """Another end than the scenario calls for, or not all upgraded, or reboots nobody asked for."""
    PLACES_EXCEEDED = "places_exceeded"
    """More operations were at work at once than the server has places for."""
    HISTORY_LOST = "histories_lost"
    """Audit rows, operations or events were pruned that are not old."""
    SCHEDULE_ASTRAY = "schedules_astray"
    """The next run of a schedule is on a date that a wrong clock has said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, in words."""

    kind: Kind
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the scenario allows of one run."""

    packages: Sequence[str]
    status: operation_pb2.OperationStatus.ValueType = SUCCEEDED
    reason: str = ""
    """Of the problem that an operation must end with; empty: no problem."""
    former: operation_pb2.Operation | None = None
    """The failed one, where this one is a retry that brings to its end what that one began."""
    state: host_pb2.HostState.ValueType | None = None
    """The only one in which the host may be afterwards; None: see AT_REST."""
    downs: int = 0
    """How often the host went down under tb-slow's post-install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the server says of one run."""

    operation: operation_pb2.Operation
    host: host_pb2.Host
    inventory: host_pb2.Inventory
    log: bytes


def judge(expected: Expected, told: Told, seen: Truth, boots_before: int) -> Iterator[Finding]:
    """Everything that is wrong with a run whose operation has ended."""
    yield from _transactions(expected, told.operation, seen)
    yield from _end(expected, told.operation)
    if expected.status == SUCCEEDED:
        yield from _upgraded(expected, told.operation, seen)
    boots, due = seen.boots - boots_before, _boots(expected, seen)
    if boots != due:
        words = f"the host booted {boots} times instead of {due}"
        yield Finding(kind=Kind.WRONG_END, words=words)
    state = told.host.status.state
    at_rest = AT_REST.get(told.operation.status, set())
    if state not in (at_rest if expected.state is None else {expected.state}):
        words = f"the host is {host_pb2.HostState.Name(state)} after {describe(told.operation)}"
        yield Finding(kind=Kind.HOST_STUCK, words=words)
    yield from _log(told, seen)
    listed = sorted(f"{p.name} {p.version}" for p in told.inventory.packages)
    if expected.status == SUCCEEDED and listed != seen.versions:
        differing = sorted(set(listed) ^ set(seen.versions))
        yield Finding(kind=Kind.INVENTORY_MISMATCH, words=f"inventory: {differing}")


def _transactions(
    expected: Expected, operation: operation_pb2.Operation, seen: Truth
) -> Iterator[Finding]:
    begun, finished = Counter(seen.begun), Counter(seen.finished)
    for name in expected.packages:
        line = f"{name} {NEW}"
        # The post-install that was cut off is run again by the repair, which is what it is for; it
        # notes that it began, and only the second time dpkg records that it finished.
        repeats = expected.downs if name == "tb-slow" else 0
        if begun[line] > 1 + repeats or finished[line] > 1:
            words = f"{line}: begun {begun[line]} times, finished {finished[line]} times"
            yield Finding(kind=Kind.DOUBLE_TRANSACTION, words=words)
    # A second transaction that finds nothing to do leaves no trace in the packages, but its job does.
    jobs = [log.job for log in seen.logs.get(operation.id, ()) if log.kind == "apply"]
    if len(jobs) > 1 + expected.downs:
        yield Finding(kind=Kind.DOUBLE_TRANSACTION, words=f"jobs: {', '.join(jobs)}")
    known = {operation.id, expected.former.id} if expected.former else {operation.id}
    others = sorted(seen.logs.keys() - known)
    if others:
        words = f"jobs of other operations: {', '.join(others)}"
        yield Finding(kind=Kind.DOUBLE_TRANSACTION, words=words)


def _end(expected: Expected, operation: operation_pb2.Operation) -> Iterator[Finding]:
    if operation.status != expected.status or operation.problem.reason != expected.reason:
        yield Finding(kind=Kind.WRONG_END, words=describe(operation))
    if expected.downs and all(step.status != INTERRUPTED for step in operation.steps):
        yield Finding(kind=Kind.WRONG_END, words=f"no interruption told: {describe(operation)}")


def _upgraded(
    expected: Expected, operation: operation_pb2.Operation, seen: Truth
) -> Iterator[Finding]:
    missing = [p for p in expected.packages if f"{p} {NEW}" not in seen.versions]
    if missing or seen.audit:
        words = f"not upgraded: {missing}; dpkg --audit: {seen.audit!r}"
        yield Finding(kind=Kind.WRONG_END, words=words)
    if not seen.conffile_kept:
        yield Finding(kind=Kind.WRONG_END, words="the changed conffile was overwritten")
    parts = (expected.former, operation) if expected.former else (operation,)
    told = sorted(change.name for part in parts for change in part.update.packages)
    if told != sorted(expected.packages):
        yield Finding(kind=Kind.WRONG_END, words=f"told to be upgraded: {told}")


def _boots(expected: Expected, seen: Truth) -> int:
    """How often the host is to boot in all."""
    if expected.status != SUCCEEDED:
        return 0
    kernel, slow = f"{REBOOTING} {NEW}", f"tb-slow {NEW}"
    # What asked for a reboot before the host went down anyway has had its reboot by that.
    went_down_in_slow = seen.begun.count(slow) > 1
    asked_before = kernel in seen.begun[: seen.begun.index(slow)] if went_down_in_slow else False
    return expected.downs + (REBOOTING in expected.packages and not asked_before)


def _log(told: Told, seen: Truth) -> Iterator[Finding]:
    logs = seen.logs.get(told.operation.id, ())
    if any(log.left_out for log in logs):
        yield from _long_log(told, logs)
        return
    printed = b"".join(log.text for log in logs)
    if told.log != printed:
        same = next(
            (i for i, (a, b) in enumerate(zip(told.log, printed, strict=False)) if a != b),
            min(len(told.log), len(printed)),
        )
        jobs = [log.job for log in seen.logs.get(told.operation.id, ())]
        words = (
            f"log: {len(told.log)} bytes stored, {len(printed)} printed by {jobs},"
            f" the same up to byte {same}: {told.log[same : same + 60]!r}"
            f" and {printed[same : same + 60]!r}"
        )
        yield Finding(kind=Kind.LOG_MISMATCH, words=words)


def _long_log(told: Told, logs: Sequence[KeptLog]) -> Iterator[Finding]:
    """Of what is more than a log holds, its beginning and its end are there, and all is counted."""
    whole = sum(len(log.text) + log.left_out for log in logs)
    begins = told.log.startswith(logs[0].text[:END])
    ends = told.log.endswith(logs[-1].text[-END:])
    if begins and ends and len(told.log) <= LOG_BOUND and told.operation.log_size == whole:
        return
    words = (
        f"log: {len(told.log)} bytes stored of {told.operation.log_size} told, {whole} printed;"
        f" begins alike: {begins}, ends alike: {ends}"
    )
    yield Finding(kind=Kind.LOG_MISMATCH, words=words)


def describe(operation: operation_pb2.Operation) -> str:
    """An operation in a line: its status, its steps, its problem."""
    steps = (
        f"{operation_pb2.StepName.Name(s.name).removeprefix('STEP_NAME_').lower()}"
        f" {operation_pb2.StepStatus.Name(s.status).removeprefix('STEP_STATUS_')}"
        f"{f' ×{s.attempts}' if s.attempts > 1 else ''}"
        for s in operation.steps
    )
    status = operation_pb2.OperationStatus.Name(operation.status)
    problem = operation.problem
    words = f"{problem.reason}: {problem.message}" if problem.reason else "no problem"
    return (
        f"{operation.id} {status.removeprefix('OPERATION_STATUS_')} ({', '.join(steps)}; {words})"
    )
