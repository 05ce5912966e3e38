"""The step that updates a host's compose projects, and the way back of one that is to be undone."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from tendhost.server.domain.compose import ComposeProject, ProjectChange, ProjectOutcome
from tendhost.server.domain.errors import ComposeFailed, ComposePutBack, Interrupted
from tendhost.server.domain.host import Problem
from tendhost.server.domain.operation import Operation, Outcome, UpdateResult
from tendhost.server.engine.following import Ended, Following, carry_out
from tendhost.server.engine.stage import Stage
from tendhost.server.packages.compose.progress import ComposeProgress
from tendhost.server.packages.compose.update import (
    PULL_TIMEOUT,
    UpdateOptions,
    parse_update,
    update_script,
)
from tendhost.server.packages.errors import ParseFailed

COMPOSE = "compose"
"""The kind of the job."""
BESIDE = timedelta(minutes=2)
"""For each project, beyond its pull and its waits."""


async def compose(stage: Stage) -> Outcome:
    """Update the compose projects, from what they ran when they were looked at."""
    config, host = stage.host.config, stage.host.name
    stored = (await stage.store.inventory(host)).inventory.projects
    known = {project.path: project for project in stored}
    projects = [
        known.get(path) or ComposeProject(path=path, version=None, problem="it was not looked at")
        for path in config.compose_paths
    ]
    options = UpdateOptions(
        version=config.compose_version,
        pull=config.pull_before_update,
        health_timeout=config.compose_health_timeout,
        prune=config.compose_prune,
    )
    script = f"(\n{update_script(projects, options)}\n) 1>&2 </dev/null"
    limit = len(projects) * (PULL_TIMEOUT + 2 * options.health_timeout + BESIDE)
    ended = await _carried_out(stage.following(), stage.operation, script, limit)
    lines = [line for line in ended.output.split("\n") if line.startswith("compose1\t")]
    try:
        changes = parse_update("".join(f"{line}\n" for line in lines).encode())
    except ParseFailed as error:
        last = ended.output.rstrip().rpartition("\n")[2][:300]
        problem = f"the update of its compose projects ended with {ended.exit_status}: {last}"
        raise ComposeFailed(host=host, problem=problem) from error
    former = stage.operation.update or UpdateResult()
    outcome = Outcome(detail=_words(changes), update=replace(former, projects=changes))
    problem_found = _error(host, changes)
    if problem_found is None:
        return outcome
    return replace(outcome, problem=Problem.of(problem_found), needs_person=True)


async def _carried_out(
    following: Following, operation: Operation, script: str, limit: timedelta
) -> Ended:
    """The end of the job; one that was cut off is begun once more, for it finds what is to be done."""
    try:
        return await carry_out(
            following, operation, COMPOSE, script, limit=limit, told_by=ComposeProgress()
        )
    except Interrupted:
        begun = await following.journal.begin_job(COMPOSE)
        return await carry_out(
            following, begun, COMPOSE, script, limit=limit, told_by=ComposeProgress()
        )


def _error(host: str, changes: Sequence[ProjectChange]) -> ComposeFailed | None:
    failed = [change for change in changes if change.outcome is ProjectOutcome.FAILED]
    back = [change for change in changes if change.outcome is ProjectOutcome.PUT_BACK]
    words = [f"{change.path} was not updated: {change.problem}" for change in failed]
    words += [f"{change.path} is back on its former images: {change.problem}" for change in back]
    if not words:
        return None
    kind = ComposeFailed if failed else ComposePutBack
    return kind(host=host, problem="; ".join(words))


def _words(changes: Sequence[ProjectChange]) -> str:
    counts = dict.fromkeys(ProjectOutcome, 0)
    for change in changes:
        counts[change.outcome] += 1
    words = {
        ProjectOutcome.UPDATED: "updated",
        ProjectOutcome.UNCHANGED: "as they were",
        ProjectOutcome.PUT_BACK: "put back",
        ProjectOutcome.FAILED: "failed",
    }
    told = [f"{counts[outcome]} {word}" for outcome, word in words.items() if counts[outcome]]
    return f"compose projects: {', '.join(told) or 'none'}"
