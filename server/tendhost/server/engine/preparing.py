"""The steps before a change: is the host fit for it, what is pending, and what will be done about it."""

import math
from dataclasses import replace
from datetime import timedelta

from tendhost.server.domain import host_errors
from tendhost.server.domain.host_errors import DiskFull, WorkError
from tendhost.server.domain.hosts.host import AfterInterruption, Problem, Rollback
from tendhost.server.domain.inventory.inventory import RebootNeed
from tendhost.server.domain.operations.operation import OperationKind, Outcome
from tendhost.server.domain.operations.permission import Permission
from tendhost.server.domain.operations.step_sequence import has_applied
from tendhost.server.engine import looking
from tendhost.server.engine.applying import DOWNLOAD, REPAIR, repair, transact
from tendhost.server.engine.jobs.runner import tidy, under_way
from tendhost.server.engine.planning import (
    Planned,
    listed_words,
    plan_update,
    reboot_words,
    transaction,
)
from tendhost.server.engine.stage import Stage
from tendhost.server.engine.translate import work_error
from tendhost.server.packages.boot import Boot
from tendhost.server.packages.errors import (
    LockHeld,
    NotPrivileged,
    PackageDatabaseBroken,
    PackageError,
)
from tendhost.server.packages.failures import FailureKind
from tendhost.server.packages.query import Preflight, QueryResult


async def preflight(stage: Stage) -> Outcome:
    """Make sure that the host can be changed now, and repair what an interruption left."""
    operation, host = stage.operation, stage.host
    # What an interrupted upgrade left is repaired whenever that is; all else keeps to the window.
    goes_on = has_applied(operation) or under_way(operation, REPAIR) is not None
    wants_packages = operation.kind is OperationKind.UPDATE
    planned = host.planned_update if wants_packages else timedelta()
    # Of a reboot that is wanted only if required, the look decides whether there is anything to ask for.
    if not goes_on and not operation.order.only_if_required:
        stage.door.require_window(planned)
    seen, detail = await _fit(stage, may_repair=wants_packages and not operation.only_prepares)
    _raise_first(host.name, seen.problems, packages=wants_packages)
    if goes_on:
        stage.door.require_window()
    units = await looking.units(await stage.remote(), host.name)
    boot = Boot(id=seen.facts.system.boot_id, init_started=seen.facts.init_started)
    policy = host.config.policy
    findings = replace(
        operation.findings,
        package_manager=seen.facts.system.package_manager,
        boot_id=str(boot),
        failed_units=operation.findings.failed_units if goes_on else units.failed,
        reboot_allowed=stage.may_reboot(),
        apply_again=policy.after_interruption is AfterInterruption.UPGRADE,
        rollback=policy.rollback is Rollback.UNHEALTHY,
    )
    return Outcome(detail=detail, findings=findings)


async def _fit(stage: Stage, *, may_repair: bool) -> tuple[Preflight, str]:
    """What is wrong with the host, once what a repair can mend is mended, and what was done."""
    operation, host = stage.operation, stage.host.name
    seen = broken = None
    if under_way(operation, REPAIR) is None:
        seen = await _fitness(stage)
        broken = _repairable(seen)
        if broken is None or not may_repair:
            return seen, "fit for a change"
        # What looks interrupted may be under way, by whoever holds the lock.
        _raise_first(host, _locks(seen.problems), packages=True)
    # What the operation itself began is repaired whatever has been said since.
    finishes = has_applied(operation)
    following = stage.following(Permission.FINISH if finishes else Permission.CHANGE)
    manager = (seen.manager if seen else None) or stage.manager()
    limit = stage.settings.apply_timeout
    why_not = await repair(following, operation, manager, limit=limit)
    seen = await _fitness(stage)
    still = _repairable(seen)
    if still is not None and why_not is not None and why_not.kind is FailureKind.LOCK_HELD:
        raise host_errors.PackageManagerLocked(host=host, problem=why_not.reason)
    if still is not None:
        problem = f"{still}; the repair failed: {why_not.reason if why_not else still}"
        raise host_errors.PackageDatabaseBroken(host=host, problem=problem)
    return seen, f"repaired ({broken or 'an interrupted repair'}), fit for a change"


async def _fitness(stage: Stage) -> Preflight:
    settings = stage.settings
    return await looking.preflight(
        await stage.remote(),
        stage.host.name,
        lock_timeout=settings.lock_timeout,
        timeout=settings.lock_timeout + settings.query_timeout,
    )


async def list_packages(stage: Stage) -> Outcome:
    """Learn what is installed and pending, and plan an update."""
    operation, host = stage.operation, stage.host
    await tidy(stage.session, host, operation)
    remote = await stage.remote()
    # Whether a reboot is needed does not hang on archives and package managers.
    reboots = operation.kind is OperationKind.REBOOT
    result = await stage.query(remote, refresh=not reboots)
    words = reboot_words(result) if reboots else listed_words(result)
    outcome = Outcome(detail=words, findings=stage.found(result))
    if not has_applied(operation):
        # Else the stored inventory stays what it was before the upgrade that goes on, for the
        # comparison at its end.
        outcome = replace(outcome, observed=await stage.observed(result))
    try:
        _raise_first(host.name, result.problems, packages=not reboots)
        if reboots and stage.reboot(result).need is RebootNeed.NEEDED:
            stage.door.require_window()
        if operation.kind is not OperationKind.UPDATE:
            return outcome
        planned = await plan_update(stage, remote, result)
        outcome = _with_plan(outcome, planned)
        if planned.problem is not None:
            raise planned.problem
        _require_space(host.name, result, planned)
    except WorkError as error:
        # What was learnt is true all the same.
        return replace(
            outcome,
            problem=Problem.of(error),
            needs_person=error.needs_person,
            transient=error.transient,
        )
    return outcome


def _with_plan(outcome: Outcome, planned: Planned) -> Outcome:
    detail = f"{outcome.detail}; {planned.words}" if planned.words else outcome.detail
    return replace(outcome, detail=detail, findings=planned.findings, update=planned.update)


def _require_space(host: str, result: QueryResult, planned: Planned) -> None:
    """Raise DiskFull where what the update takes is not there."""
    needs = {
        result.manager.cache if result.manager else "": planned.plan.download_bytes or 0,
        "/usr": max(0, planned.plan.disk_bytes or 0),
        "/boot": planned.boot_bytes,
    }
    demand: dict[str, int] = {}
    for disk in result.facts.disks:
        demand[disk.mount] = demand.get(disk.mount, 0) + needs.get(disk.path, 0)
    for disk in result.facts.disks:
        if disk.free_bytes < demand[disk.mount]:
            problem = (
                f"{disk.mount} has {_size(disk.free_bytes)} free,"
                f" the update needs {_size(demand[disk.mount])}"
            )
            raise DiskFull(host=host, problem=problem)


async def download(stage: Stage) -> Outcome:
    """Fetch what the update will install, and change nothing."""
    # Nothing that the host runs is changed by it, so it does not keep to the window.
    following = stage.following(Permission.PREPARE)
    wanted = replace(transaction(stage), download_only=True)
    limit = stage.settings.lock_timeout + stage.settings.apply_timeout
    manager = stage.manager()
    done = await transact(following, stage.operation, manager, wanted, kind=DOWNLOAD, limit=limit)
    if done.error is None:
        return Outcome(detail="everything is on the host")
    return Outcome(problem=Problem.of(done.error), transient=done.transient)


def _repairable(seen: Preflight) -> PackageDatabaseBroken | None:
    broken = (p for p in seen.problems if isinstance(p, PackageDatabaseBroken))
    return next((problem for problem in broken if problem.repairable), None)


def _locks(problems: tuple[PackageError, ...]) -> tuple[PackageError, ...]:
    return tuple(problem for problem in problems if isinstance(problem, LockHeld))


def _raise_first(host: str, problems: tuple[PackageError, ...], *, packages: bool) -> None:
    """Raise the first problem that matters: without a change of packages only the privilege does."""
    for problem in problems:
        if packages or isinstance(problem, NotPrivileged):
            raise work_error(host, problem) from problem


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MiB" if count >= 10 * 2**20 else f"{math.ceil(count / 1024)} KiB"
