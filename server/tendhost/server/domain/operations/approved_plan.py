"""Holds an update to an approved plan: that of a dry run, or the updates pending at the last query."""

from dataclasses import replace

from tendhost.server.domain.inventory.inventory import PackageChange, Pending, Withheld
from tendhost.server.domain.inventory.scope import ScopeOverride, UpdateScope, narrowed, wanted
from tendhost.server.domain.operations.operation import (
    Operation,
    OperationKind,
    OperationOptions,
    OperationStatus,
)
from tendhost.server.domain.request_errors import PlanUnusable


def hold_to_plan(plan: Operation, options: OperationOptions, *, host: str) -> OperationOptions:
    """`options`, held to the plan of a dry run of `host`. Raises PlanUnusable.

    The scope is that of the dry run unless `options` has its own.
    """
    problem = ""
    if plan.host != host:
        problem = f"it is a plan for {plan.host}"
    elif plan.kind is not OperationKind.UPDATE or not plan.dry_run:
        problem = "it is not a dry run of an update"
    elif plan.status is not OperationStatus.SUCCEEDED or plan.update is None:
        problem = f"it has not succeeded ({plan.status})"
    if problem or plan.update is None:
        raise PlanUnusable(host=host, operation=plan.id, problem=problem)
    removed = (
        PackageChange(name=name, from_version=version, to_version="")
        for name, version in plan.update.planned_removals
    )
    return replace(
        options,
        scope=options.scope or ScopeOverride.exactly(plan.facts.scope),
        agreed=(*wanted(plan.update.planned), *removed),
    )


def hold_to_pending(
    pending: Pending, options: OperationOptions, policy: UpdateScope, *, host: str
) -> OperationOptions:
    """`options`, held to the updates that were pending at the last query of the host. Raises PlanUnusable."""
    if pending.queried_at is None:
        raise PlanUnusable(
            host=host, operation="", problem="the last query could not list its pending updates"
        )
    packages = pending.packages
    if options.scope is not None:
        packages = narrowed(packages, options.scope.over(policy))
    agreed = wanted(packages)
    updated = {change.name for change in agreed}
    replaced = dict.fromkeys(
        name for package in packages if package.withheld is Withheld.NO for name in package.replaces
    )
    removed = (
        PackageChange(name=name, from_version="", to_version="")
        for name in replaced
        if name not in updated
    )
    return replace(options, agreed=(*agreed, *removed))
