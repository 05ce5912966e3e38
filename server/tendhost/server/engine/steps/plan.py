"""Plans an update: narrows the pending packages, has the host plan them, compares with the approved plan."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tendhost.server.domain.host_errors import HostError, PackageFailed, PlanChanged, PlanConflict
from tendhost.server.domain.inventory.compose import ProjectChange, ProjectOutcome
from tendhost.server.domain.inventory.inventory import (
    PackageChange,
    PendingPackage,
    RebootNeed,
    Withheld,
)
from tendhost.server.domain.inventory.scope import (
    UpdateScope,
    differences,
    narrowed,
    planned,
    unwanted,
    wanted,
)
from tendhost.server.domain.operations.operation import Operation, StepFacts, UpdateResult
from tendhost.server.domain.operations.past_steps import has_applied
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.engine.steps.package_errors import host_error, upgrade_error
from tendhost.server.packages.compose.image_updates import image_updates_script, parse_image_updates
from tendhost.server.packages.errors import PackageError
from tendhost.server.packages.failures import FailureKind
from tendhost.server.packages.kernels import belongs_to_kernel
from tendhost.server.packages.package_manager import Plan, Transaction
from tendhost.server.packages.query import QueryResult
from tendhost.server.remote.protocol import Remote


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, and the problem that it has."""

    update: UpdateResult
    facts: StepFacts
    plan: Plan
    boot_bytes: int = 0
    """Bytes that a new kernel needs in /boot."""
    words: str = ""
    problem: HostError | None = None


async def plan_update(context: StepContext, remote: Remote, result: QueryResult) -> Planned:
    """Plan the operation's update. Raises HostError if the host cannot plan it."""
    operation, policy = context.operation, context.host.config.policy
    hooks = context.policy.hooks
    override = operation.options.scope
    scope = override.over(policy.scope) if override is not None else policy.scope
    pending = narrowed(result.pending.packages, scope)
    plan = Plan()
    if _is_worth_planning(pending, scope):
        plan = await _planned_by_host(context, remote, result, pending, scope)
        pending = planned(pending, plan.changes)
    goes_on = has_applied(operation)
    projects, moved_words = await _planned_projects(context, remote, result)
    goes = tuple(dict.fromkeys((*plan.removed, *plan.unneeded)))
    removed = tuple(
        PackageChange(name=name, from_version=version, to_version="") for name, version in goes
    )
    now = (*wanted(pending), *removed)
    agreed = operation.options.agreed
    if agreed is not None and goes_on:
        # A part was done before the interruption; the rest must be a part of the approved plan, too.
        left = {change.name for change in now}
        agreed = tuple(change for change in agreed if change.name in left)
    differ = differences(agreed, now) if agreed is not None else ()
    count = sum(1 for package in pending if package.withheld is Withheld.NO) + len(removed)
    update = replace(
        (operation.update if goes_on else None) or UpdateResult(),
        planned=pending,
        planned_removals=goes,
        planned_unneeded=tuple(name for name, _ in plan.unneeded),
        download_bytes=plan.download_bytes,
        differences=differ,
        projects=projects,
    )
    services = context.restartable(result)
    facts = replace(
        context.facts_after(result),
        services_due=bool(services),
        pending_count=count,
        scope=scope,
        pre_hook_due=hooks.pre is not None,
        post_hook_due=hooks.post is not None,
        download_due=scope.download_first,
        snapshots=policy.snapshots,
        compose_due=context.host.config.compose_paths != ()
        and not operation.only_prepares
        and not _leaves_compose_alone(context, scope),
    )
    return Planned(
        update=update,
        facts=facts,
        plan=plan,
        boot_bytes=result.facts.kernel_bytes if _has_kernel(pending) else 0,
        words="; ".join(
            filter(
                None,
                (
                    _words(result, pending, scope, differ),
                    moved_words,
                    _services_words(operation, facts, services),
                ),
            )
        ),
        problem=_objection(context, pending, plan, scope, differ),
    )


def _objection(
    context: StepContext,
    pending: tuple[PendingPackage, ...],
    plan: Plan,
    scope: UpdateScope,
    differ: tuple[str, ...],
) -> HostError | None:
    if conflict := unwanted(pending, (*plan.removed, *plan.unneeded), scope):
        return PlanConflict(host=context.host.name, packages=", ".join(conflict))
    if differ and context.operation.options.exact:
        return PlanChanged(host=context.host.name, differences="; ".join(differ))
    return None


def transaction(context: StepContext) -> Transaction:
    """The transaction that was planned."""
    operation = context.operation
    update = operation.update or UpdateResult()
    planned = _transaction(context, update.planned, operation.facts.scope)
    return replace(planned, unneeded=update.planned_unneeded)


def _transaction(
    context: StepContext,
    pending: Iterable[PendingPackage],
    scope: UpdateScope,
    *,
    kept_back: bool = False,
) -> Transaction:
    exact = context.operation.options.exact
    taken = (Withheld.NO, Withheld.KEPT_BACK) if kept_back else (Withheld.NO,)
    pending = tuple(pending)
    chosen = tuple(package for package in pending if package.withheld in taken)
    # A package manager that is told to upgrade everything downgrades what pins ask for, or refuses everything.
    downgrades = any(package.withheld is Withheld.DOWNGRADE for package in pending)
    return Transaction(
        packages=chosen if scope.narrows or exact or downgrades else None,
        exact=exact,
        allow_removals=scope.allow_removals,
        autoremove=scope.autoremove,
        exclude=scope.exclude,
        lock_timeout=context.settings.lock_timeout,
    )


def _is_worth_planning(pending: tuple[PendingPackage, ...], scope: UpdateScope) -> bool:
    kinds = {package.withheld for package in pending}
    kept_back = Withheld.KEPT_BACK in kinds and scope.allow_removals
    return Withheld.NO in kinds or kept_back or scope.autoremove


def _leaves_compose_alone(context: StepContext, scope: UpdateScope) -> bool:
    """Whether the update is of a part of the packages, or held to a plan, which has no images."""
    return scope.security_only or bool(scope.include) or context.operation.options.exact


async def _planned_by_host(
    context: StepContext,
    remote: Remote,
    result: QueryResult,
    pending: tuple[PendingPackage, ...],
    scope: UpdateScope,
) -> Plan:
    manager, host = result.manager, context.host.name
    assert manager is not None, "what is pending was listed"
    # Packages that are kept back can be installed if removals are allowed and the scope has them.
    named = tuple(
        package
        for package in pending
        if package.withheld is not Withheld.KEPT_BACK or scope.wants(package)
    )
    planned = _transaction(context, named, scope, kept_back=scope.allow_removals)
    script = manager.plan_script(planned)
    completed = await remote.run(script, timeout=context.settings.query_timeout)
    try:
        plan = manager.parse_plan(completed.stdout)
    except PackageError as error:
        raise host_error(host, error) from error
    if plan.failure is not None and plan.failure.kind is FailureKind.UNMET_DEPENDENCIES:
        # The archives do not fit together, or not with the scope: nothing is broken on the host.
        raise PackageFailed(host=host, problem=plan.failure.reason)
    if plan.failure is not None:
        raise upgrade_error(host, plan.failure, 0)
    return plan


async def _planned_projects(
    context: StepContext, remote: Remote, result: QueryResult
) -> tuple[tuple[ProjectChange, ...], str]:
    """The image updates of compose projects that a dry run finds without pulling, and a text about them."""
    projects = result.inventory.projects
    if not context.operation.dry_run or not projects:
        return (), ""
    completed = await remote.run(
        image_updates_script(projects), timeout=context.settings.query_timeout
    )
    try:
        told = {one.image: one for one in parse_image_updates(completed.stdout, projects)}
    except PackageError as error:
        raise host_error(context.host.name, error) from error
    changes = []
    for project in projects:
        # What does not run is not brought up either.
        mine = [told[s.image] for s in project.services if s.image_id and s.image in told]
        available = any(one.available for one in mine)
        unknown = [f"{one.image}: {one.problem}" for one in mine if one.available is None]
        problem = project.problem or (project.obstacle if available else "")
        outcome = ProjectOutcome.UPDATED if available else ProjectOutcome.UNCHANGED
        changes.append(
            ProjectChange(
                path=project.path,
                outcome=ProjectOutcome.FAILED if problem else outcome,
                problem=problem or "; ".join(unknown),
            )
        )
    names = sorted(image for image, one in told.items() if one.available)
    return tuple(changes), f"image updates: {', '.join(names)}" if names else ""


def _has_kernel(pending: Iterable[PendingPackage]) -> bool:
    return any(p.withheld is Withheld.NO and belongs_to_kernel(p.name) for p in pending)


def _words(
    result: QueryResult,
    pending: tuple[PendingPackage, ...],
    scope: UpdateScope,
    differ: tuple[str, ...],
) -> str:
    words = []
    excluded = sum(1 for package in pending if package.withheld is Withheld.EXCLUDED)
    if excluded:
        words.append(f"{excluded} not wanted")
    if absent := scope.absent(result.pending.packages):
        words.append(f"nothing is pending for {', '.join(absent)}")
    if differ:
        words.append(f"differs from the plan: {', '.join(differ)}")
    return "; ".join(words)


def _services_words(operation: Operation, facts: StepFacts, services: tuple[str, ...]) -> str:
    reboots = facts.reboot_need is RebootNeed.NEEDED and facts.reboot_allowed
    if not services or reboots or not operation.dry_run:
        return ""
    return f"would restart {', '.join(services)}"
