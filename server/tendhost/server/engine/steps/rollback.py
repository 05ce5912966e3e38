"""The step that rolls back what an update changed."""

from dataclasses import replace

from tendhost.server.domain.host_errors import ComposeFailed, RollbackFailed
from tendhost.server.domain.inventory.compose import ProjectChange
from tendhost.server.domain.inventory.inventory import not_restored
from tendhost.server.domain.operations.operation import Outcome, UpdateResult
from tendhost.server.domain.operations.past_steps import unfinished_job
from tendhost.server.domain.operations.permission import ChangeKind
from tendhost.server.engine.steps import queries
from tendhost.server.engine.steps.compose import roll_back_projects
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.engine.steps.transactions import restore
from tendhost.server.engine.steps.wording import counted_packages


async def roll_back(context: StepContext) -> Outcome:
    """Roll back what the update changed, whatever the window, freezes or a cancellation say meanwhile."""
    operation, host = context.operation, context.host.name
    update = operation.update or UpdateResult()
    projects, failed = update.projects, ""
    # A job that a former server started comes first; projects that are rolled back already are skipped.
    if unfinished_job(operation, ChangeKind.ROLLBACK) is None:
        projects, failed = await _roll_back_projects(context, update)
    if update.changes:
        failure = await restore(context, update.changes)
        if failure is not None:
            where = f"; the snapshot {update.snapshot} can be restored" if update.snapshot else ""
            also = f"; {failed}" if failed else ""
            raise RollbackFailed(host=host, problem=f"{failure.reason}{where}{also}")
    if unfinished_job(operation, ChangeKind.ROLLBACK) is not None:
        projects, failed = await _roll_back_projects(context, update)
    remote = await context.session.reconnected(context.host)
    result = await context.query(remote, refresh=False)
    missing = not_restored(update.changes, result.inventory.installed)
    if missing or failed:
        left = f"not restored: {', '.join(missing)}" if missing else ""
        raise RollbackFailed(host=host, problem="; ".join(filter(None, (left, failed))))
    units = await queries.units(remote, host)
    newly = [unit for unit in units.failed if unit not in operation.facts.failed_units]
    health = f"still failed: {', '.join(newly)}" if newly else "healthy again"
    words = [f"{counted_packages(len(update.changes))} back as before"]
    back = sum(1 for old, new in zip(update.projects, projects, strict=True) if old != new)
    if back:
        words.append(f"{back} compose projects are back on their former images")
    return Outcome(
        detail=f"{', '.join(words)}; {health}",
        observed=await context.observed(result),
        facts=context.facts_after(result),
        update=replace(update, projects=projects, rolled_back=True),
    )


async def _roll_back_projects(
    context: StepContext, update: UpdateResult
) -> tuple[tuple[ProjectChange, ...], str]:
    """The outcome of the compose projects, and the problem if one was not rolled back.

    The packages are rolled back in any case.
    """
    try:
        return await roll_back_projects(context, update.projects), ""
    except ComposeFailed as error:
        return update.projects, str(error)
