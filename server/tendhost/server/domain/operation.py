"""One piece of work on one host: which step comes next, and what an outcome makes of it.

Pure: the engine asks `next_step`, begins that step with `begun`, performs it, hands the outcome to
`ended`, saves, and asks again. Sequence, retry and reboot policy are decided nowhere else.

    QUERY    connect → list
    UPDATE   connect → preflight → list → apply → reboot_check → [reboot] → verify
    REBOOT   connect → preflight → reboot → verify
    CHECK    connect → verify

An UPDATE ends after `list` when it is a dry run, or when nothing is pending and no reboot is due.
A failed `apply` is still followed by `reboot_check`, for half an upgrade can leave a reboot due;
it is never followed by the reboot itself. Cancelling means that nothing more is changed: before
`apply` the operation ends, after it the host is still looked at and verified, but not rebooted. A
deadline that has passed means the same, and is the operation's problem.

An `apply` that was interrupted on its host goes back to `preflight`, which repairs what it left, and
from there through `list` to one more `apply`, once, unless the host's policy wants the repair alone.
An operation that resumes another one goes from `connect` to the step at which that one failed.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.server.domain.errors import DeadlineExceeded
from tendhost.server.domain.host import Problem
from tendhost.server.domain.inventory import Observation, PackageChange, PendingPackage, RebootNeed


class OperationKind(StrEnum):
    """What an operation does."""

    QUERY = "query"
    UPDATE = "update"
    REBOOT = "reboot"
    CHECK = "check"


class OperationStatus(StrEnum):
    """How far an operation is."""

    QUEUED = "queued"
    """It waits for the operation that its host is busy with."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the operation will never change again."""
        return self in _ENDED


_ENDED = frozenset({OperationStatus.SUCCEEDED, OperationStatus.FAILED, OperationStatus.CANCELLED})


class StepName(StrEnum):
    """The stages that operations are made of."""

    CONNECT = "connect"
    PREFLIGHT = "preflight"
    LIST = "list"
    APPLY = "apply"
    REBOOT_CHECK = "reboot_check"
    REBOOT = "reboot"
    VERIFY = "verify"


class StepStatus(StrEnum):
    """How a step went."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """It was cut off on its host; what it left is repaired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A stage of an operation, as it went."""

    name: StepName
    status: StepStatus
    started_at: datetime
    ended_at: datetime | None = None
    attempts: int = 1
    """How often it was tried, for errors that pass by themselves."""
    detail: str = ""
    """One line for a person: "12 updates pending, 3 of them security". While it is under way, what its
    last attempt failed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job on the host that belongs to a step, on record before the job begins."""

    operation: str
    """Whose folder it lives in: that of the operation that began it."""
    name: str
    """What it does, and its number among the operation's jobs: "apply-1"."""
    log_start: int = 0
    """Where in the operation's log its output begins, in bytes."""
    log_read: int = 0
    """Bytes of its log that are stored."""
    status_read: int = 0
    """Bytes of its status that were understood."""
    concluded: bool = False
    """Whether its end was seen, so that its folder on the host may go. Until then it is followed by
    whoever goes on with the operation, also by a retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResult:
    """What an UPDATE did, or, for a dry run, what it would do."""

    success: bool = False
    changes: tuple[PackageChange, ...] = ()
    """What the package database says was changed, not what the package manager announced."""
    planned: tuple[PendingPackage, ...] = ()
    """What was pending when it was listed, the withheld packages included."""
    kept_conffiles: tuple[str, ...] = ()
    """Configuration files whose local version was kept although the package ships another."""
    reboot_required: RebootNeed = RebootNeed.UNKNOWN
    rebooted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthResult:
    """What a check found."""

    healthy: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the steps so far learnt that later decisions hang on."""

    pending_count: int = 0
    reboot_need: RebootNeed = RebootNeed.UNKNOWN
    reboot_allowed: bool = False
    package_manager: str = ""
    """The one that the host uses; empty: none that tendhost knows, or nobody has asked yet."""
    boot_id: str = ""
    """The boot that the host ran when it was last asked before any reboot was ordered."""
    reboot_ordered_at: datetime | None = None
    """Written before the order is given, so that no successor gives it again."""
    failed_units: tuple[str, ...] = ()
    """systemd units that had failed before anything was touched."""
    apply_again: bool = True
    """Whether the host's policy wants an interrupted upgrade to be begun once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A durable piece of work on one host."""

    id: str
    host: str
    kind: OperationKind
    created_at: datetime
    created_by: str = ""
    rollout: str = ""
    """The rollout that owns it; empty for one of its own."""
    dry_run: bool = False
    status: OperationStatus = OperationStatus.QUEUED
    started_at: datetime | None = None
    ended_at: datetime | None = None
    steps: tuple[Step, ...] = ()
    findings: Findings = Findings()
    problem: Problem | None = None
    failed_step: StepName | None = None
    """Which step the problem came from."""
    update: UpdateResult | None = None
    health: HealthResult | None = None
    cancel_requested_by: str = ""
    log_size: int = 0
    """Bytes of its log that are stored."""
    time_limit: timedelta | None = None
    """From its first step on; after that nothing more of the host is changed."""
    epoch: int = 1
    """The number under which its jobs are acted on; each server that takes it up, and each job, has
    a higher one than those before."""
    job: JobRecord | None = None
    """Its latest job on the host."""
    jobs_begun: int = 0
    resumes: str = ""
    """The failed operation that it goes on with; empty for one of its own."""
    resume_at: StepName | None = None
    """Which step follows `connect` then."""
    revision: int = 0

    @property
    def current(self) -> Step | None:
        """The step that is under way."""
        last = self.steps[-1] if self.steps else None
        return last if last is not None and last.status is StepStatus.RUNNING else None

    @property
    def cancellation(self) -> str:
        """When a cancellation takes effect, in words."""
        current = self.current
        if self.status.ended:
            return f"the operation has ended: {self.status}"
        if current is None:
            return "the operation ends before its next step"
        if current.name is StepName.APPLY:
            return (
                "the package transaction is never interrupted: the operation waits for its end,"
                " and then only looks at the host"
            )
        return f"the operation ends after its present step, {current.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a step went. Without a problem it succeeded."""

    detail: str = ""
    problem: Problem | None = None
    needs_person: bool = False
    """With a problem: the host ends in FAILED even where nothing was changed on it."""
    transient: bool = False
    """With a problem: the same step may well succeed a little later."""
    given_up: bool = False
    """With a transient problem: the operation was cancelled while it waited for the next attempt."""
    interrupted: bool = False
    """With a problem of `apply`: the transaction did not come to its end on the host."""
    overdue: bool = False
    """The operation's time is over."""
    findings: Findings | None = None
    """What is known now; None leaves it as it was."""
    observed: Observation | None = None
    """What a look at the host found."""
    update: UpdateResult | None = None
    health: HealthResult | None = None


BEFORE_A_CHANGE = frozenset({StepName.CONNECT, StepName.PREFLIGHT, StepName.LIST})
"""Steps that look at the host as it is, and, at most, repair it."""
CHANGING = frozenset({StepName.APPLY, StepName.REBOOT})
"""Steps that change the host."""


def next_step(operation: Operation) -> StepName | None:
    """The step to perform now, the one under way included; None: the operation has come to its end."""
    if operation.status is not OperationStatus.RUNNING:
        return None
    if operation.current is not None:
        return operation.current.name
    if not operation.steps:
        return StepName.CONNECT
    last = operation.steps[-1]
    if last.status is StepStatus.INTERRUPTED:
        return StepName.PREFLIGHT  # which repairs, whatever comes then
    if operation.problem is not None or operation.cancel_requested_by:
        return _conclusion(operation, last.name)
    return _following(operation, last.name)


def _conclusion(operation: Operation, last: StepName) -> StepName | None:
    """What follows where nothing more is to be changed."""
    if last is StepName.CONNECT and operation.resume_at is StepName.APPLY:
        # The transaction has begun long ago: its end is wanted.
        return StepName.APPLY if operation.problem is None else None
    if operation.job is not None and not operation.job.concluded:
        return None  # it may still be at work, so there is no truth about the host yet
    if has_applied(operation) and (last is StepName.APPLY or last in BEFORE_A_CHANGE):
        # The truth about the host is wanted even of a failed upgrade.
        return StepName.REBOOT_CHECK
    if operation.problem is None and last not in BEFORE_A_CHANGE:
        return _following(operation, last)
    return None


def has_applied(operation: Operation) -> bool:
    """Whether its packages were touched, as far as can be known."""
    return any(step.name is StepName.APPLY for step in operation.steps)


def _following(operation: Operation, last: StepName) -> StepName | None:
    match operation.kind, last:
        case _, StepName.CONNECT if operation.resume_at is not None:
            return operation.resume_at
        case OperationKind.QUERY, StepName.CONNECT:
            return StepName.LIST
        case OperationKind.CHECK, StepName.CONNECT:
            return StepName.VERIFY
        case ((OperationKind.UPDATE | OperationKind.REBOOT), StepName.CONNECT):
            return StepName.PREFLIGHT
        case OperationKind.REBOOT, StepName.PREFLIGHT:
            return StepName.REBOOT
        case OperationKind.UPDATE, StepName.PREFLIGHT:
            return StepName.LIST
        case OperationKind.UPDATE, StepName.LIST:
            return _after_list(operation)
        case OperationKind.UPDATE, StepName.APPLY:
            return StepName.REBOOT_CHECK
        case OperationKind.UPDATE, StepName.REBOOT_CHECK:
            return StepName.REBOOT if _reboot_now(operation) else StepName.VERIFY
        case _, StepName.REBOOT:
            return StepName.VERIFY
        case _:
            return None


def _after_list(operation: Operation) -> StepName | None:
    if operation.dry_run:
        return None
    if operation.findings.pending_count:
        return StepName.APPLY
    if has_applied(operation):
        return StepName.REBOOT_CHECK  # the repair has finished what was interrupted
    return StepName.REBOOT if _reboot_now(operation) else None


def _reboot_now(operation: Operation) -> bool:
    # Unknown never reboots, and an operation reboots at most once.
    findings = operation.findings
    return (
        not operation.cancel_requested_by
        and findings.reboot_need is RebootNeed.NEEDED
        and findings.reboot_allowed
        and findings.reboot_ordered_at is None
    )


def begun(operation: Operation, step: StepName, now: datetime) -> Operation:
    """The operation with `step` under way."""
    running = Step(name=step, status=StepStatus.RUNNING, started_at=now)
    return replace(
        operation,
        status=OperationStatus.RUNNING,
        started_at=operation.started_at or now,
        steps=(*operation.steps, running),
    )


def tried_again(operation: Operation, problem: Problem) -> Operation:
    """The operation with the step under way, which failed with `problem`, begun once more."""
    current = operation.current
    assert current is not None, "no step is under way"
    again = replace(current, attempts=current.attempts + 1, detail=problem.message)
    return replace(operation, steps=(*operation.steps[:-1], again))


def ended(operation: Operation, outcome: Outcome, now: datetime) -> Operation:
    """The operation once the step under way has ended with `outcome`.

    Its status is the final one when no step follows. The first problem is the operation's problem:
    what a later step finds out does not hide it.
    """
    current = operation.current
    assert current is not None, "no step is under way"
    detail = outcome.problem.message if outcome.problem else outcome.detail
    done = replace(current, status=_status_of(outcome), ended_at=now, detail=detail)
    dropped = outcome.given_up or _made_good(operation, outcome)
    problem = None if dropped else outcome.problem
    moved = replace(
        operation,
        steps=(*operation.steps[:-1], done),
        findings=outcome.findings or operation.findings,
        problem=operation.problem or problem,
        failed_step=operation.failed_step or (current.name if problem else None),
        update=outcome.update or operation.update,
        health=outcome.health or operation.health,
    )
    following = next_step(moved)
    if following in CHANGING and outcome.overdue:
        moved = replace(moved, problem=_deadline_problem(moved), failed_step=current.name)
        following = next_step(moved)
    return moved if following is not None else _finished(moved, now)


def _status_of(outcome: Outcome) -> StepStatus:
    if outcome.interrupted:
        return StepStatus.INTERRUPTED
    return StepStatus.FAILED if outcome.problem else StepStatus.SUCCEEDED


def _made_good(operation: Operation, outcome: Outcome) -> bool:
    """Whether the upgrade goes on after an interruption: once, where the policy wants that."""
    before = any(step.status is StepStatus.INTERRUPTED for step in operation.steps)
    wanted = operation.findings.apply_again and not operation.cancel_requested_by
    return outcome.interrupted and wanted and not before


def _deadline_problem(operation: Operation) -> Problem:
    assert operation.time_limit is not None
    seconds = operation.time_limit.total_seconds()
    return Problem.of(DeadlineExceeded(host=operation.host, seconds=seconds))


def _finished(operation: Operation, now: datetime) -> Operation:
    if operation.problem is not None:
        status = OperationStatus.FAILED
    elif operation.cancel_requested_by:
        status = OperationStatus.CANCELLED
    else:
        status = OperationStatus.SUCCEEDED
    update = operation.update
    if update is not None:
        update = replace(
            update,
            success=status is OperationStatus.SUCCEEDED,
            reboot_required=operation.findings.reboot_need,
        )
    return replace(operation, status=status, ended_at=now, update=update)
