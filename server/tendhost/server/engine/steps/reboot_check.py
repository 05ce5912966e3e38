"""The step that finds out what was changed, and whether a reboot is due."""

from dataclasses import replace

from tendhost.server.domain.host_errors import PackageFailed
from tendhost.server.domain.hosts.host import Problem
from tendhost.server.domain.inventory.inventory import Withheld, changed_since, diff_installed
from tendhost.server.domain.operations.operation import Outcome, UpdateResult
from tendhost.server.engine.jobs.folders import remove_finished_job
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.engine.steps.wording import counted_packages, reboot_words


async def reboot_check(context: StepContext) -> Outcome:
    """Find out what was changed, and whether a reboot is due."""
    # A new connection: what carried the transaction may be gone, or have been upgraded itself.
    remote = await context.session.renewed(context.host)
    await remove_finished_job(context.session, context.host, context.operation)
    result = await context.query(remote, refresh=False)
    before = (await context.store.inventory(context.host.name)).inventory
    after = result.inventory
    # No host is without packages: what could not be read is not known to have changed.
    changes = diff_installed(before.installed, after.installed) if after.installed else ()
    former = context.operation.update or UpdateResult()
    changes = changed_since(former.changes, changes)
    undone = _undone(context, after.installed) if context.operation.order.exact else ""
    return Outcome(
        problem=Problem.of(PackageFailed(host=context.host.name, problem=undone))
        if undone
        else None,
        detail=f"{counted_packages(len(changes))} changed; {reboot_words(result)}",
        observed=await context.observed(result),
        facts=context.facts_after(result),
        update=replace(former, changes=changes),
    )


def _undone(context: StepContext, installed: tuple[tuple[str, str], ...]) -> str:
    """What of the plan was not done although nothing else was to be, in words; empty: nothing.

    A package manager that is given exact versions may pass over those that are not to be had.
    """
    planned = context.operation.update.planned if context.operation.update else ()
    there = set(installed)
    missing = [
        f"{package.name} {package.to_version} was not installed"
        for package in planned
        if package.withheld is Withheld.NO and (package.name, package.to_version) not in there
    ]
    if not missing or not installed:
        return ""
    return f"a part of the plan was not done: {'; '.join(missing)}"
