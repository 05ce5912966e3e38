"""The step before a change: checks that the host is fit for it, and repairs what an interruption left."""

from dataclasses import replace
from datetime import timedelta

from tendhost.server.domain import host_errors
from tendhost.server.domain.hosts.host import AfterInterruption, Rollback
from tendhost.server.domain.operations.operation import OperationKind, Outcome
from tendhost.server.domain.operations.past_steps import has_applied, unfinished_job
from tendhost.server.domain.operations.permission import ChangeKind, Permission
from tendhost.server.engine.steps import queries
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.engine.steps.package_errors import raise_first
from tendhost.server.engine.steps.transactions import repair
from tendhost.server.packages.boot import Boot
from tendhost.server.packages.errors import DatabaseBroken, LockHeld, PackageError
from tendhost.server.packages.failures import FailureKind
from tendhost.server.packages.query import Preflight


async def preflight(context: StepContext) -> Outcome:
    """Make sure that the host can be changed now, and repair what an interruption left."""
    operation, host = context.operation, context.host
    # What an interrupted upgrade left is repaired at any time; everything else needs an open window.
    goes_on = has_applied(operation) or unfinished_job(operation, ChangeKind.REPAIR) is not None
    wants_packages = operation.kind is OperationKind.UPDATE
    planned = host.planned_update if wants_packages else timedelta()
    # Of a reboot that is asked for only if required, `list` finds out whether there is anything to permit.
    if not goes_on and not operation.options.only_if_required:
        context.door.require_window(planned)
    seen, detail = await _fit(context, may_repair=wants_packages and not operation.only_prepares)
    raise_first(host.name, seen.problems, packages=wants_packages)
    if goes_on:
        context.door.require_window()
    units = await queries.units(await context.remote(), host.name)
    boot = Boot(id=seen.facts.system.boot_id, init_started=seen.facts.init_started)
    policy, hindrance = host.config.policy, context.reboot_hindrance()
    facts = replace(
        operation.facts,
        package_manager=seen.facts.system.package_manager,
        boot_id=str(boot),
        failed_units=operation.facts.failed_units if goes_on else units.failed,
        reboot_allowed=not hindrance,
        reboot_hindrance=hindrance,
        apply_again=policy.after_interruption is AfterInterruption.UPGRADE,
        rollback=policy.rollback is Rollback.UNHEALTHY,
    )
    return Outcome(detail=detail, facts=facts)


async def _fit(context: StepContext, *, may_repair: bool) -> tuple[Preflight, str]:
    """The problems of the host after a repair, if one is due, and a text about what was done."""
    operation, host = context.operation, context.host.name
    seen = broken = None
    if unfinished_job(operation, ChangeKind.REPAIR) is None:
        seen = await _fitness(context)
        broken = _repairable(seen)
        if broken is None or not may_repair:
            return seen, "fit for a change"
        # What looks interrupted may be running: another process may hold the lock.
        raise_first(host, _locks(seen.problems), packages=True)
    # What the operation itself began is repaired even without permission for a change.
    permission = Permission.FINISH if has_applied(operation) else Permission.CHANGE
    manager = (seen.manager if seen else None) or context.manager()
    why_not = await repair(context, manager, permission=permission)
    seen = await _fitness(context)
    still = _repairable(seen)
    if still is not None and why_not is not None and why_not.kind is FailureKind.LOCK_HELD:
        raise host_errors.PackageManagerLocked(host=host, problem=why_not.reason)
    if still is not None:
        problem = f"{still}; the repair failed: {why_not.reason if why_not else still}"
        raise host_errors.PackageDatabaseBroken(host=host, problem=problem)
    return seen, f"repaired ({broken or 'an interrupted repair'}), fit for a change"


async def _fitness(context: StepContext) -> Preflight:
    settings = context.settings
    return await queries.preflight(
        await context.remote(),
        context.host.name,
        lock_timeout=settings.lock_timeout,
        timeout=settings.lock_timeout + settings.query_timeout,
    )


def _repairable(seen: Preflight) -> DatabaseBroken | None:
    broken = (p for p in seen.problems if isinstance(p, DatabaseBroken))
    return next((problem for problem in broken if problem.repairable), None)


def _locks(problems: tuple[PackageError, ...]) -> tuple[PackageError, ...]:
    return tuple(problem for problem in problems if isinstance(problem, LockHeld))
