"""The step that updates a host's compose projects, and their rollback."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from tendhost.server.domain.host_errors import (
    ComposeFailed,
    ComposeRolledBack,
    Interrupted,
    NotPermitted,
)
from tendhost.server.domain.hosts.host import Problem
from tendhost.server.domain.inventory.compose import ComposeProject, ProjectChange, ProjectOutcome
from tendhost.server.domain.operations.operation import Outcome, UpdateResult
from tendhost.server.domain.operations.permission import ChangeKind, Permission
from tendhost.server.engine.jobs.runner import FinishedJob
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.packages.compose.progress import ComposeProgressSource
from tendhost.server.packages.compose.update import (
    PULL_TIMEOUT,
    VERDICT_LIMIT,
    UpdateOptions,
    parse_update,
    undo_script,
    update_script,
)
from tendhost.server.packages.errors import ParseFailed

BESIDE = timedelta(minutes=2)
"""For each project, beyond its pull and its waits."""


async def compose(context: StepContext) -> Outcome:
    """Update the compose projects, from the images that they ran at the last query."""
    config, host = context.host.config, context.host.name
    options = _options(context)
    stored = (await context.store.inventory(host)).inventory.projects
    known = {project.path: project for project in stored}
    projects = [
        known.get(path) or ComposeProject(path=path, version=None, problem="it was not inspected")
        for path in config.compose_paths
    ]
    pulls = (1 + len(options.pull_pauses)) * PULL_TIMEOUT
    limit = len(projects) * (pulls + 2 * _longest_wait(options) + BESIDE)
    script = update_script(projects, options)
    ended = await _run(context, ChangeKind.COMPOSE, Permission.CHANGE, script, limit)
    changes = _changes(host, ended)
    former = context.operation.update or UpdateResult()
    outcome = Outcome(detail=_words(changes), update=replace(former, projects=changes))
    problem_found = _error(host, changes)
    if problem_found is None:
        return outcome
    return replace(outcome, problem=Problem.of(problem_found), needs_person=True)


async def roll_back_projects(
    context: StepContext, changes: Sequence[ProjectChange]
) -> tuple[ProjectChange, ...]:
    """Put the projects that were updated back on their former images; the outcome of each project.

    Raises ComposeFailed where a project could not be put back, and what StepContext.run_job raises.
    """
    updated = [change for change in changes if change.outcome is ProjectOutcome.UPDATED]
    if not updated:
        return tuple(changes)
    options = _options(context)
    limit = len(updated) * (2 * _longest_wait(options) + BESIDE)
    script = undo_script(updated, options)
    ended = await _run(context, ChangeKind.UNDO, Permission.FINISH, script, limit)
    undone = {change.path: change for change in _changes(context.host.name, ended)}
    failed = [c for c in undone.values() if c.outcome is not ProjectOutcome.ROLLED_BACK]
    if failed:
        problem = "; ".join(f"{change.path}: {change.problem}" for change in failed)
        raise ComposeFailed(host=context.host.name, problem=f"not rolled back: {problem}")
    return tuple(undone.get(change.path, change) for change in changes)


def _longest_wait(options: UpdateOptions) -> timedelta:
    return max(options.health_timeout, VERDICT_LIMIT)


def _options(context: StepContext) -> UpdateOptions:
    config = context.host.config
    return UpdateOptions(
        version=config.compose_version,
        pull=config.pull_before_update,
        health_timeout=config.compose_health_timeout,
        # A rollback needs the former images.
        prune=config.compose_prune and not context.operation.facts.rollback,
    )


def _changes(host: str, ended: FinishedJob) -> tuple[ProjectChange, ...]:
    """The outcome of each project, by the output of the job. Raises ComposeFailed."""
    lines = [line for line in ended.output.split("\n") if line.startswith("compose1\t")]
    try:
        return parse_update("".join(f"{line}\n" for line in lines).encode())
    except ParseFailed as error:
        last = ended.output.rstrip().rpartition("\n")[2][:300]
        problem = f"the update of its compose projects ended with {ended.exit_status}: {last}"
        raise ComposeFailed(host=host, problem=problem) from error


async def _run(
    context: StepContext, kind: ChangeKind, permission: Permission, script: str, limit: timedelta
) -> FinishedJob:
    """Run the job to its end; one that was interrupted begins once more, for it finds what is left to do."""
    job = partial(
        context.run_job,
        kind,
        f"(\n{script}\n) 1>&2 </dev/null",
        permission=permission,
        limit=limit,
        progress=ComposeProgressSource(),
    )
    try:
        return await job()
    except Interrupted as error:
        await context.reporter.begin_job(kind)
        try:
            return await job()
        except NotPermitted as refusal:
            # The projects were left in the middle of it, which the refusal alone does not say.
            cause = f"{error.cause}, and it was not started again: {refusal}"
            raise Interrupted(host=error.host, step=error.step, cause=cause) from refusal


def _error(host: str, changes: Sequence[ProjectChange]) -> ComposeFailed | None:
    failed = [change for change in changes if change.outcome is ProjectOutcome.FAILED]
    back = [change for change in changes if change.outcome is ProjectOutcome.ROLLED_BACK]
    words = [f"{change.path} was not updated: {change.problem}" for change in failed]
    words += [
        f"{change.path} was rolled back to its former images: {change.problem}" for change in back
    ]
    if not words:
        return None
    kind = ComposeFailed if failed else ComposeRolledBack
    return kind(host=host, problem="; ".join(words))


def _words(changes: Sequence[ProjectChange]) -> str:
    counts = dict.fromkeys(ProjectOutcome, 0)
    for change in changes:
        counts[change.outcome] += 1
    names = {
        ProjectOutcome.UPDATED: "updated",
        ProjectOutcome.UNCHANGED: "unchanged",
        ProjectOutcome.ROLLED_BACK: "rolled back",
        ProjectOutcome.DEFERRED: "deferred",
        ProjectOutcome.FAILED: "failed",
    }
    told = [f"{counts[outcome]} {word}" for outcome, word in names.items() if counts[outcome]]
    words = f"compose projects: {', '.join(told) or 'none'}"
    # A project that has failed is told by the problem.
    quiet = (ProjectOutcome.FAILED, ProjectOutcome.ROLLED_BACK)
    notes = [f"{c.path}: {c.problem}" for c in changes if c.problem and c.outcome not in quiet]
    return "; ".join((words, *notes))
