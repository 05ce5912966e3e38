"""The step that finds out what has changed, and whether a reboot is due."""

from dataclasses import replace

from tendhost.server.domain.inventory.inventory import changed_since, diff_installed
from tendhost.server.domain.operations.operation import Outcome, UpdateResult
from tendhost.server.domain.operations.undone_changes import undone_changes
from tendhost.server.engine.jobs.folders import remove_finished_job
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.engine.steps.wording import counted_packages, reboot_words


async def reboot_check(context: StepContext) -> Outcome:
    """Find out what has changed, and whether a reboot is due."""
    # A new connection: the old one may be dead, or its sshd upgraded.
    remote = await context.session.reconnected(context.host)
    await remove_finished_job(context.session, context.host, context.operation)
    result = await context.query(remote, refresh=False)
    before = (await context.store.inventory(context.host.name)).inventory
    after = result.inventory
    # Every host has packages: if none could be read, no change is known.
    changes = diff_installed(before.installed, after.installed) if after.installed else ()
    former = context.operation.update or UpdateResult()
    changes = changed_since(former.changes, changes)
    undone = undone_changes(
        former.planned,
        former.planned_removals,
        changes=changes,
        installed=after.installed,
        pending=result.pending,
        exact=context.operation.options.exact,
    )
    return Outcome(
        detail=f"{counted_packages(len(changes))} changed; {reboot_words(result)}",
        observed=await context.observed(result),
        facts=context.facts_after(result),
        update=replace(former, changes=changes, undone=undone),
    )
