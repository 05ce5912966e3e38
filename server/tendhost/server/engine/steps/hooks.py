"""The steps that run a host's hooks, each as a job: exactly once, also if the connection is lost."""

from collections.abc import Sequence

from tendhost.server.domain.host_errors import (
    HookFailed,
    Interrupted,
    PostHookFailed,
    PreHookFailed,
)
from tendhost.server.domain.inventory.scope import wanted
from tendhost.server.domain.operations.operation import Outcome, UpdateResult
from tendhost.server.domain.operations.permission import ChangeKind, Permission
from tendhost.server.domain.policy.hooks import Hook, HookOutcome, hook_environment
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.packages.hook_script import HookOutput, hook_job

LAST_LINES = 5
LONGEST_WORDS = 500
"""Lines and characters of the end of a failed hook's output that its problem has."""


async def pre_hook(context: StepContext) -> Outcome:
    """Run the hook before the change, with the packages that are to be changed."""
    update = context.operation.update or UpdateResult()
    names = [package.name for package in wanted(update.planned)]
    names += [name for name, _ in update.planned_removals]
    hook = context.policy.hooks.pre
    return await _run(context, ChangeKind.PRE_HOOK, hook, names, PreHookFailed)


async def post_hook(context: StepContext) -> Outcome:
    """Run the hook after the change, with the packages that were changed, and how that went."""
    operation = context.operation
    update = operation.update or UpdateResult()
    names = [change.name for change in update.changes]
    failed = operation.problem is not None or bool(update.undone)
    outcome = HookOutcome.FAILED if failed else HookOutcome.SUCCEEDED
    hook = context.policy.hooks.post
    return await _run(context, ChangeKind.POST_HOOK, hook, names, PostHookFailed, outcome)


async def _run(
    context: StepContext,
    kind: ChangeKind,
    hook: Hook | None,
    packages: Sequence[str],
    failure: type[HookFailed],
    outcome: HookOutcome | None = None,
) -> Outcome:
    """Run `hook`, or go on with the one that is under way. Raises HookFailed, and what
    StepContext.run_job raises."""
    if hook is None:
        return Outcome(detail="the hook was removed from the host's policy")
    host, operation = context.host.name, context.operation
    environment = hook_environment(
        host=host,
        operation=operation.id,
        rollout=operation.rollout,
        packages=packages,
        outcome=outcome,
    )
    job = hook_job(hook.script, environment, mark=f"{operation.id}-{kind}")
    output = HookOutput()
    # Once the host is changed, its hook runs whatever the window or a cancellation say.
    permission = Permission.FINISH if kind is ChangeKind.POST_HOOK else Permission.CHANGE
    try:
        finished = await context.run_job(
            kind,
            job.command,
            permission=permission,
            input=job.input,
            limit=hook.timeout,
            progress=output,
            overdue_fails=False,
        )
    except Interrupted as error:
        # How far the hook got is unknown, so only a person may run it again.
        raise failure(host=host, problem=error.cause, exit_status=None, output="") from error
    words = last_lines(finished.output)
    if finished.overdue:
        problem = f"did not end within {hook.timeout.total_seconds():g} s and was killed"
        raise failure(host=host, problem=problem, exit_status=None, output=words)
    status = finished.exit_status if output.exit_status is None else output.exit_status
    if output.exit_status is None or status not in hook.allowed_exit_codes:
        problem = f"ended with exit status {status}"
        raise failure(host=host, problem=problem, exit_status=status, output=words)
    return Outcome(detail=f"the hook ended with exit status {status}")


def last_lines(output: str) -> str:
    """The end of a hook's output, within the bounds above, as one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return "; ".join(lines[-LAST_LINES:])[-LONGEST_WORDS:]
