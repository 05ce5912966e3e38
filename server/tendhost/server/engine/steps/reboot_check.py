"""The step that finds out what has changed, and whether a reboot is due."""

from dataclasses import replace

from tendhost.server.domain.host_errors import PackageFailed
from tendhost.server.domain.hosts.host import Problem
from tendhost.server.domain.inventory.inventory import (
    PackageChange,
    Withheld,
    changed_since,
    diff_installed,
)
from tendhost.server.domain.operations.operation import Outcome, UpdateResult
from tendhost.server.domain.operations.undone_changes import UndoneChange, undone_changes
from tendhost.server.engine.jobs.folders import remove_finished_job
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.engine.steps.wording import counted_packages, reboot_words
from tendhost.server.packages.query import QueryResult


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
    undone = _missing_of_plan(context, after.installed) if context.operation.options.exact else ""
    return Outcome(
        problem=Problem.of(PackageFailed(host=context.host.name, problem=undone))
        if undone
        else None,
        detail=f"{counted_packages(len(changes))} changed; {reboot_words(result)}",
        observed=await context.observed(result),
        facts=context.facts_after(result),
        update=replace(former, changes=changes, undone=_undone(former, changes, result)),
    )


def _undone(
    update: UpdateResult, changes: tuple[PackageChange, ...], result: QueryResult
) -> tuple[UndoneChange, ...]:
    return undone_changes(
        update.planned,
        update.planned_removals,
        changes=changes,
        installed=result.inventory.installed,
        pending=result.pending,
    )


def _missing_of_plan(context: StepContext, installed: tuple[tuple[str, str], ...]) -> str:
    """The part of the approved plan that was not executed, as text; empty: none.

    A package manager may skip exact versions that are not available.
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
