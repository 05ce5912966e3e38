"""The step that updates a host's compose projects, and the way back of one that is to be undone."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from tendhost.server.domain.host_errors import (
    ComposeFailed,
    ComposeRolledBack,
    Interrupted,
    NotPermitted,
)
from tendhost.server.domain.hosts.host import Problem
from tendhost.server.domain.inventory.compose import ComposeProject, ProjectChange, ProjectOutcome
from tendhost.server.domain.operations.operation import Operation, Outcome, UpdateResult
from tendhost.server.domain.operations.permission import ChangeKind
from tendhost.server.engine.jobs.runner import FinishedJob, JobContext, run_job
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.packages.compose.progress import ComposeProgressSource
from tendhost.server.packages.compose.update import (
    PULL_TIMEOUT,
    UpdateOptions,
    parse_update,
    undo_script,
    update_script,
)
from tendhost.server.packages.errors import ParseFailed

COMPOSE = ChangeKind.COMPOSE
UNDO = ChangeKind.UNDO
"""The kinds of jobs."""
BESIDE = timedelta(minutes=2)
"""For each project, beyond its pull and its waits."""


async def compose(stage: StepContext) -> Outcome:
    """Update the compose projects, from what they ran when they were looked at."""
    config, host = stage.host.config, stage.host.name
    options = _options(stage)
    stored = (await stage.store.inventory(host)).inventory.projects
    known = {project.path: project for project in stored}
    projects = [
        known.get(path) or ComposeProject(path=path, version=None, problem="it was not inspected")
        for path in config.compose_paths
    ]
    limit = len(projects) * (PULL_TIMEOUT + 2 * options.health_timeout + BESIDE)
    script = update_script(projects, options)
    ended = await _carried_out(stage.following(), stage.operation, COMPOSE, script, limit)
    changes = _changes(host, ended)
    former = stage.operation.update or UpdateResult()
    outcome = Outcome(detail=_words(changes), update=replace(former, projects=changes))
    problem_found = _error(host, changes)
    if problem_found is None:
        return outcome
    return replace(outcome, problem=Problem.of(problem_found), needs_person=True)


async def take_back(
    stage: StepContext, following: JobContext, changes: Sequence[ProjectChange]
) -> tuple[ProjectChange, ...]:
    """Put the former images of the projects back that were updated; what became of each project.

    Raises ComposeFailed where one could not be put back, and what carry_out raises.
    """
    updated = [change for change in changes if change.outcome is ProjectOutcome.UPDATED]
    if not updated:
        return tuple(changes)
    options = _options(stage)
    limit = len(updated) * (2 * options.health_timeout + BESIDE)
    script = undo_script(updated, options)
    ended = await _carried_out(following, stage.journal.operation, UNDO, script, limit)
    undone = {change.path: change for change in _changes(stage.host.name, ended)}
    failed = [c for c in undone.values() if c.outcome is not ProjectOutcome.ROLLED_BACK]
    if failed:
        problem = "; ".join(f"{change.path}: {change.problem}" for change in failed)
        raise ComposeFailed(host=stage.host.name, problem=f"not rolled back: {problem}")
    return tuple(undone.get(change.path, change) for change in changes)


def _options(stage: StepContext) -> UpdateOptions:
    config = stage.host.config
    return UpdateOptions(
        version=config.compose_version,
        pull=config.pull_before_update,
        health_timeout=config.compose_health_timeout,
        # The former images are the way back, as long as there may have to be one.
        prune=config.compose_prune and not stage.operation.findings.rollback,
    )


def _changes(host: str, ended: FinishedJob) -> tuple[ProjectChange, ...]:
    """What became of each project, by the output of the job. Raises ComposeFailed."""
    lines = [line for line in ended.output.split("\n") if line.startswith("compose1\t")]
    try:
        return parse_update("".join(f"{line}\n" for line in lines).encode())
    except ParseFailed as error:
        last = ended.output.rstrip().rpartition("\n")[2][:300]
        problem = f"the update of its compose projects ended with {ended.exit_status}: {last}"
        raise ComposeFailed(host=host, problem=problem) from error


async def _carried_out(
    following: JobContext, operation: Operation, kind: ChangeKind, script: str, limit: timedelta
) -> FinishedJob:
    """The end of the job; one that was cut off is begun once more, for it finds what is to be done."""
    command = f"(\n{script}\n) 1>&2 </dev/null"
    progress = ComposeProgressSource()
    try:
        return await run_job(following, operation, kind, command, limit=limit, progress=progress)
    except Interrupted as error:
        begun = await following.journal.begin_job(kind)
        try:
            return await run_job(following, begun, kind, command, limit=limit, progress=progress)
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
    words = {
        ProjectOutcome.UPDATED: "updated",
        ProjectOutcome.UNCHANGED: "unchanged",
        ProjectOutcome.ROLLED_BACK: "rolled back",
        ProjectOutcome.FAILED: "failed",
    }
    told = [f"{counts[outcome]} {word}" for outcome, word in words.items() if counts[outcome]]
    return f"compose projects: {', '.join(told) or 'none'}"
