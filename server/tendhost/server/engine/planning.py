"""What an update will do: the pending packages narrowed down, planned by the host, and compared."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tendhost.server.domain.compose import ProjectChange, ProjectOutcome
from tendhost.server.domain.errors import PlanChanged, PlanConflict, WorkError
from tendhost.server.domain.inventory import PackageChange, PendingPackage, Withheld
from tendhost.server.domain.operation import Findings, UpdateResult
from tendhost.server.domain.scope import (
    UpdateScope,
    differences,
    narrowed,
    planned,
    unwanted,
    wanted,
)
from tendhost.server.domain.sequence import has_applied
from tendhost.server.engine.stage import Stage
from tendhost.server.engine.translate import upgrade_error, work_error
from tendhost.server.packages.compose.moved import moved_script, parse_moved
from tendhost.server.packages.errors import PackageError
from tendhost.server.packages.package_manager import Plan, Transaction
from tendhost.server.packages.query import QueryResult
from tendhost.server.remote.protocol import Remote


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, and what stands against it."""

    update: UpdateResult
    findings: Findings
    plan: Plan
    boot_bytes: int = 0
    """What a new kernel takes of /boot."""
    words: str = ""
    problem: WorkError | None = None


async def plan_update(stage: Stage, remote: Remote, result: QueryResult) -> Planned:
    """Plan the update that the operation is. Raises WorkError where the host cannot plan it."""
    operation, policy = stage.operation, stage.host.config.policy
    scope = operation.order.scope or policy.scope
    pending = narrowed(result.pending.packages, scope)
    plan = Plan()
    if _is_worth_planning(pending, scope):
        plan = await _planned_by_host(stage, remote, result, pending, scope)
        pending = planned(pending, plan.changes)
    goes_on = has_applied(operation)
    projects, moved_words = await _planned_projects(stage, remote, result)
    agreed = None if goes_on else operation.order.agreed
    removed = tuple(
        PackageChange(name=name, from_version=version, to_version="")
        for name, version in plan.removed
    )
    differ = differences(agreed, (*wanted(pending), *removed)) if agreed is not None else ()
    count = sum(1 for package in pending if package.withheld is Withheld.NO) + len(removed)
    update = replace(
        (operation.update if goes_on else None) or UpdateResult(),
        planned=pending,
        planned_removals=plan.removed,
        download_bytes=plan.download_bytes,
        differences=differ,
        projects=projects,
    )
    findings = replace(
        stage.found(result),
        pending_count=count,
        scope=scope,
        download_due=scope.download_first,
        snapshots=policy.snapshots,
        compose_due=bool(stage.host.config.compose_paths) and not operation.only_prepares,
    )
    return Planned(
        update=update,
        findings=findings,
        plan=plan,
        boot_bytes=result.facts.kernel_bytes if _has_kernel(pending) else 0,
        words="; ".join(filter(None, (_words(result, pending, scope, differ), moved_words))),
        problem=_objection(stage, pending, plan, scope, differ),
    )


def _objection(
    stage: Stage,
    pending: tuple[PendingPackage, ...],
    plan: Plan,
    scope: UpdateScope,
    differ: tuple[str, ...],
) -> WorkError | None:
    if conflict := unwanted(pending, plan.removed, scope):
        return PlanConflict(host=stage.host.name, packages=", ".join(conflict))
    if differ and stage.operation.order.exact:
        return PlanChanged(host=stage.host.name, differences="; ".join(differ))
    return None


def transaction(stage: Stage) -> Transaction:
    """The transaction that was planned."""
    operation = stage.operation
    update = operation.update or UpdateResult()
    return _transaction(stage, update.planned, operation.findings.scope)


def _transaction(
    stage: Stage, pending: Iterable[PendingPackage], scope: UpdateScope
) -> Transaction:
    exact = stage.operation.order.exact
    chosen = tuple(package for package in pending if package.withheld is Withheld.NO)
    return Transaction(
        packages=chosen if scope.narrows or exact else None,
        exact=exact,
        allow_removals=scope.allow_removals,
        autoremove=scope.autoremove,
        lock_timeout=stage.settings.lock_timeout,
    )


def _is_worth_planning(pending: tuple[PendingPackage, ...], scope: UpdateScope) -> bool:
    kinds = {package.withheld for package in pending}
    kept_back = Withheld.KEPT_BACK in kinds and scope.allow_removals
    return Withheld.NO in kinds or kept_back or scope.autoremove


async def _planned_by_host(
    stage: Stage,
    remote: Remote,
    result: QueryResult,
    pending: tuple[PendingPackage, ...],
    scope: UpdateScope,
) -> Plan:
    manager, host = result.manager, stage.host.name
    assert manager is not None, "what is pending was listed"
    script = manager.plan_script(_transaction(stage, pending, scope))
    completed = await remote.run(script, timeout=stage.settings.query_timeout)
    try:
        plan = manager.parse_plan(completed.stdout)
    except PackageError as error:
        raise work_error(host, error) from error
    if plan.failure is not None:
        raise upgrade_error(host, plan.failure, 0)
    return plan


async def _planned_projects(
    stage: Stage, remote: Remote, result: QueryResult
) -> tuple[tuple[ProjectChange, ...], str]:
    """What a dry run finds out of compose projects without pulling, and in words."""
    projects = result.inventory.projects
    if not stage.operation.dry_run or not projects:
        return (), ""
    completed = await remote.run(moved_script(projects), timeout=stage.settings.query_timeout)
    try:
        told = {one.image: one for one in parse_moved(completed.stdout, projects)}
    except PackageError as error:
        raise work_error(stage.host.name, error) from error
    changes = []
    for project in projects:
        mine = [told[s.image] for s in project.services if s.image in told]
        moved = any(one.moved for one in mine)
        unknown = [f"{one.image}: {one.problem}" for one in mine if one.moved is None]
        problem = project.problem or "; ".join(unknown)
        outcome = ProjectOutcome.FAILED if project.problem else ProjectOutcome.UNCHANGED
        changes.append(
            ProjectChange(
                path=project.path,
                outcome=ProjectOutcome.UPDATED if moved else outcome,
                problem=problem,
            )
        )
    names = sorted(image for image, one in told.items() if one.moved)
    return tuple(changes), f"images that have moved: {', '.join(names)}" if names else ""


_KERNELS = ("linux-image-", "kernel-core", "kernel-default", "kernel-uek-core", "linux-lts")


def _has_kernel(pending: Iterable[PendingPackage]) -> bool:
    return any(p.withheld is Withheld.NO and p.name.startswith(_KERNELS) for p in pending)


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


def listed_words(result: QueryResult) -> str:
    """What a look at a host found, in one line."""
    pending = result.pending
    withheld = len(pending.packages) - pending.count
    words = [f"{pending.count} updates pending"]
    security = pending.security_count
    if security is None:
        words.append("how many of them security is not known")
    elif security:
        words.append(f"{security} of them security")
    if withheld:
        words.append(f"{withheld} withheld")
    return f"{', '.join(words)}; {reboot_words(result)}"


def reboot_words(result: QueryResult) -> str:
    """Whether a reboot is needed, in one line."""
    reboot = result.reboot
    words = {"needed": "reboot needed", "not_needed": "no reboot needed"}
    known = words.get(str(reboot.need), "whether a reboot is needed is not known")
    return f"{known} ({reboot.reason})" if reboot.reason else known
