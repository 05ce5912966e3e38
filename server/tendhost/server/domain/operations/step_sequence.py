"""Decides which step of an operation comes next. Pure.

The engine asks `next_step`, begins that step (`begin_step`), executes it, finishes it with its outcome
(`finish_step`), saves, and asks again. The order of steps is decided nowhere else.

    QUERY    connect → list
    UPDATE   connect → preflight → list → [pre_hook] → [download] → [snapshot] → [apply] → [compose]
             → reboot_check → [reboot | restart_services] → verify → [post_hook] → [rollback]
    REBOOT   connect → preflight → [list] → [reboot → verify]
    CHECK    connect → verify

A REBOOT with `only_if_required` ends after `list` unless the host is found to need a reboot; unknown reboots
nothing.

An UPDATE ends after `list` if it is a dry run, or if nothing is pending, the host has no compose projects, no
reboot is due and no service is to be restarted; a `--download-only` one ends after `download`. A failed
`apply` or `compose` is followed by `reboot_check`, for half an upgrade can leave a reboot due, and never by
the reboot itself. A `verify` that finds the host unhealthy, and a `post_hook` that fails after it, are followed
by `rollback` if the host's policy says so; the operation has failed in any case. A failed `restart_services`
is followed by `verify`. A cancellation means that nothing more is changed: before the change the operation ends,
after it the host is still verified, but not rebooted. A deadline that has passed means the same, and is
the operation's problem. So does a window that has closed before a change: earlier changes are
verified. The problem of a later step then replaces it, for a change that was put off is no failure.

The hooks: `pre_hook` runs once, before the first step that downloads or changes anything, and nothing is changed
if it fails. `post_hook` runs once if a change has begun: after `verify`, whatever that found, or in its place if
the operation failed before. It does not run on a host that is unreachable, whose change may still be
running, or whose change was rolled back.

An `apply` that was interrupted on its host goes back to `preflight`, which repairs what it left, and then
through `list` to another `apply`, once, unless the host's policy says `repair`. An operation that resumes another
one goes from `connect` to the step at which that one failed.
"""

from tendhost.server.domain.host_errors import LOGIN_ERRORS, HostGone, RebootNeverReturned
from tendhost.server.domain.hosts.host import Snapshots
from tendhost.server.domain.inventory.compose import ProjectOutcome
from tendhost.server.domain.inventory.inventory import RebootNeed
from tendhost.server.domain.operations.operation import (
    Operation,
    OperationKind,
    OperationStatus,
    StepStatus,
    UpdateResult,
)
from tendhost.server.domain.operations.past_steps import (
    has_applied,
    has_changed,
    never_began,
    put_off,
)
from tendhost.server.domain.operations.step_traits import (
    AFTER_CHANGE_BEGAN,
    BEFORE_CHANGE,
    BEFORE_VERIFY,
    CHANGING,
    REPLACING,
    UNINTERRUPTIBLE,
    StepName,
)


def next_step(operation: Operation) -> StepName | None:
    """The step to execute now, which may be the current one; None: the operation has ended."""
    if operation.status is not OperationStatus.RUNNING:
        return None
    if operation.current is not None:
        return operation.current.name
    if not operation.steps:
        return StepName.CONNECT
    last = operation.steps[-1]
    if last.status is StepStatus.INTERRUPTED:
        return StepName.PREFLIGHT
    if operation.problem is not None or operation.cancel_requested_by:
        return _next_without_change(operation, last.name)
    return _next_after(operation, last.name)


def _next_without_change(operation: Operation, last: StepName) -> StepName | None:
    """The step after `last` if nothing more is to be changed."""
    if last is StepName.CONNECT and operation.resume_at in UNINTERRUPTIBLE:
        # The change has begun in another operation: its end is waited for.
        return operation.resume_at if operation.problem is None else None
    if operation.job is not None and not operation.job.concluded:
        return None  # the job may still run, so the state of the host is not final
    if has_changed(operation) and (last in REPLACING or last in BEFORE_CHANGE):
        # Also after a failed upgrade the state of the host is found out.
        return StepName.REBOOT_CHECK
    ended_early = last in (StepName.REBOOT_CHECK, StepName.REBOOT) and put_off(operation)
    if (last is StepName.RESTART_SERVICES or ended_early) and not never_began(operation):
        return StepName.VERIFY
    if _post_hook_follows(operation, last):
        return StepName.POST_HOOK
    if _rollback_follows(operation, last):
        return StepName.ROLLBACK
    if operation.problem is None and last not in BEFORE_CHANGE:
        return _next_after(operation, last)
    return None


def _post_hook_follows(operation: Operation, last: StepName) -> bool:
    problem = operation.problem
    at_its_end = last is StepName.VERIFY or (problem is not None and last in BEFORE_VERIFY)
    reached = problem is None or problem.reason not in OUT_OF_REACH
    changed = operation.resume_at in AFTER_CHANGE_BEGAN or any(
        s.name in CHANGING for s in operation.steps
    )
    once = not any(s.name in (StepName.POST_HOOK, StepName.ROLLBACK) for s in operation.steps)
    is_update = operation.kind is OperationKind.UPDATE
    return (
        is_update and operation.facts.post_hook_due and at_its_end and reached and changed and once
    )


OUT_OF_REACH = LOGIN_ERRORS | {HostGone.reason, RebootNeverReturned.reason}
"""Reasons of problems with which a host cannot run anything."""


def _rollback_follows(operation: Operation, last: StepName) -> bool:
    # Only a host that was found unhealthy: one that could not be checked may well be healthy.
    unhealthy = operation.health is not None and not operation.health.healthy
    hook_failed = False
    if last is StepName.POST_HOOK:
        # Not if the update itself failed before: without a hook it is not rolled back either.
        before, hook = operation.steps[-2:]
        verified = before.name in (StepName.VERIFY, StepName.CONNECT)
        hook_failed = verified and (unhealthy or hook.status is StepStatus.FAILED)
    return (
        ((last is StepName.VERIFY and unhealthy) or hook_failed)
        and operation.kind is OperationKind.UPDATE
        and operation.facts.rollback
        and operation.update is not None
        and not operation.update.rolled_back
        and (bool(operation.update.changes) or _has_updated_projects(operation.update))
        and not any(step.name is StepName.ROLLBACK for step in operation.steps)
    )


def _has_updated_projects(update: UpdateResult) -> bool:
    return any(project.outcome is ProjectOutcome.UPDATED for project in update.projects)


def _next_after(operation: Operation, last: StepName) -> StepName | None:
    if last is StepName.CONNECT and operation.resume_at is not None:
        return operation.resume_at
    if operation.kind is OperationKind.UPDATE:
        return _next_in_update(operation, last)
    if operation.kind is OperationKind.REBOOT:
        return _next_in_reboot(operation, last)
    return _NEXT.get((operation.kind, last))


_NEXT = {
    (OperationKind.QUERY, StepName.CONNECT): StepName.LIST,
    (OperationKind.CHECK, StepName.CONNECT): StepName.VERIFY,
}


def _next_in_reboot(operation: Operation, last: StepName) -> StepName | None:
    match last:
        case StepName.CONNECT:
            return StepName.PREFLIGHT
        case StepName.PREFLIGHT:
            return StepName.LIST if operation.options.only_if_required else StepName.REBOOT
        case StepName.LIST:
            needed = operation.facts.reboot_need is RebootNeed.NEEDED
            return StepName.REBOOT if needed else None
        case StepName.REBOOT:
            return StepName.VERIFY
        case _:
            return None


def _next_in_update(operation: Operation, last: StepName) -> StepName | None:
    match last:
        case StepName.CONNECT:
            return StepName.PREFLIGHT
        case StepName.PREFLIGHT:
            return StepName.LIST
        case StepName.LIST | StepName.PRE_HOOK:
            return _after_list(operation)
        case StepName.DOWNLOAD:
            return None if operation.options.download_only else _before_change(operation)
        case StepName.SNAPSHOT:
            return _change(operation)
        case StepName.APPLY:
            return StepName.COMPOSE if operation.facts.compose_due else StepName.REBOOT_CHECK
        case StepName.COMPOSE:
            return StepName.REBOOT_CHECK
        case StepName.REBOOT_CHECK:
            return _after_reboot_check(operation)
        case StepName.REBOOT | StepName.RESTART_SERVICES | StepName.ROLLBACK:
            return StepName.VERIFY
        case StepName.VERIFY:
            return StepName.POST_HOOK if _post_hook_follows(operation, last) else None
        case StepName.POST_HOOK:
            # A retry that has only waited for the hook's end does not know yet how the host is.
            known = any(step.name is StepName.VERIFY for step in operation.steps)
            return None if known else StepName.VERIFY


def _after_list(operation: Operation) -> StepName | None:
    if operation.dry_run:
        return None
    if not any(step.name is StepName.LIST for step in operation.steps):
        return (
            StepName.PREFLIGHT
        )  # a retry that has only waited for the hook's end: the list is old
    following = _first_work(operation)
    hooked = any(step.name is StepName.PRE_HOOK for step in operation.steps)
    hook_due = operation.facts.pre_hook_due and not hooked and not operation.options.download_only
    # What an interruption left is finished without running the hook again.
    if following is not None and hook_due and not has_applied(operation):
        return StepName.PRE_HOOK
    return following


def _first_work(operation: Operation) -> StepName | None:
    """The first step that does something; None: there is nothing to do."""
    facts = operation.facts
    if operation.options.download_only:
        return StepName.DOWNLOAD if facts.pending_count else None
    if facts.pending_count and facts.download_due and not has_applied(operation):
        return StepName.DOWNLOAD
    if facts.pending_count or facts.compose_due:
        return _before_change(operation)
    if has_applied(operation):
        return StepName.REBOOT_CHECK  # the repair has finished the interrupted upgrade
    if _reboot_now(operation):
        return StepName.REBOOT
    # Services that an earlier update could not restart in its window.
    return StepName.RESTART_SERVICES if facts.services_due else None


def _before_change(operation: Operation) -> StepName:
    made = any(step.name is StepName.SNAPSHOT for step in operation.steps)
    if operation.facts.snapshots is not Snapshots.NEVER and not made:
        return StepName.SNAPSHOT
    return _change(operation)


def _change(operation: Operation) -> StepName:
    return StepName.APPLY if operation.facts.pending_count else StepName.COMPOSE


def _after_reboot_check(operation: Operation) -> StepName:
    if _reboot_now(operation):
        return StepName.REBOOT
    restart = operation.facts.services_due and not operation.cancel_requested_by
    return StepName.RESTART_SERVICES if restart else StepName.VERIFY


def _reboot_now(operation: Operation) -> bool:
    # Unknown never reboots, and an operation reboots at most once.
    facts = operation.facts
    return (
        not operation.cancel_requested_by
        and facts.reboot_need is RebootNeed.NEEDED
        and facts.reboot_allowed
        and facts.reboot_ordered_at is None
    )
