"""The package transactions on a host, each as a job: upgrade, download, repair and rollback."""

from contextlib import suppress
from dataclasses import dataclass

from tendhost.server.domain.host_errors import Interrupted, PackageFailed
from tendhost.server.domain.inventory.inventory import PackageChange
from tendhost.server.domain.operations.permission import ChangeKind, Permission
from tendhost.server.engine.jobs.folders import remove_job_folder
from tendhost.server.engine.jobs.runner import FinishedJob
from tendhost.server.engine.steps.context import StepContext
from tendhost.server.engine.steps.package_errors import upgrade_error
from tendhost.server.packages.failures import FailureKind, PackageFailure
from tendhost.server.packages.package_manager import PackageManager, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """How a package transaction ended."""

    detail: str
    kept_conffiles: tuple[str, ...]
    saved_conffiles: tuple[str, ...]
    error: PackageFailed | None
    transient: bool = False
    """Whether the error may pass by itself; the transaction had then not begun to change anything."""


async def transact(
    context: StepContext,
    transaction: Transaction,
    *,
    kind: ChangeKind = ChangeKind.APPLY,
    permission: Permission = Permission.CHANGE,
) -> Applied:
    """Perform a package transaction as a job of `kind`. Raises what StepContext.run_job raises.

    A package manager that was killed under the job is Interrupted, too.
    """
    manager, host = context.manager(), context.host.name
    command = manager.upgrade_command(transaction)
    finished = await context.run_job(
        kind, command, permission=permission, limit=context.transaction_limit, progress=manager
    )
    kept = manager.kept_conffiles(finished.output)
    detail = "the package manager is done"
    if kept:
        detail += f"; kept as they were: {', '.join(kept)}"
    saved = manager.saved_conffiles(finished.output)
    if saved:
        detail += f"; replaced, the former ones are: {', '.join(saved)}"
    failure = _failure(manager, finished)
    if failure is None:
        return Applied(detail=detail, kept_conffiles=kept, saved_conffiles=saved, error=None)
    if failure.interrupted:
        raise Interrupted(host=host, step=kind, cause=failure.reason)
    error = upgrade_error(host, failure, finished.exit_status)
    return Applied(
        detail=detail,
        kept_conffiles=kept,
        saved_conffiles=saved,
        error=error,
        transient=failure.transient,
    )


async def repair(
    context: StepContext, manager: PackageManager, *, permission: Permission
) -> PackageFailure | None:
    """Finish what an interrupted package manager left; why it could not be finished, or None.

    A repair that is itself interrupted, or whose package manager is killed, begins once more. Raises what
    StepContext.run_job raises.
    """
    with suppress(Interrupted):
        why_not = await _repair(context, manager, permission)
        if why_not is None or why_not.kind is not FailureKind.KILLED:
            return why_not
    await context.reporter.begin_job(ChangeKind.REPAIR)
    return await _repair(context, manager, permission)


async def restore(
    context: StepContext, changes: tuple[PackageChange, ...]
) -> PackageFailure | None:
    """Restore the former versions of changed packages; why that failed, or None.

    Raises what StepContext.run_job raises.
    """
    manager = context.manager()
    finished = await context.run_job(
        ChangeKind.ROLLBACK,
        manager.restore_command(changes, lock_timeout=context.settings.lock_timeout),
        permission=Permission.FINISH,
        limit=context.transaction_limit,
        progress=manager,
    )
    return _failure(manager, finished)


async def _repair(
    context: StepContext, manager: PackageManager, permission: Permission
) -> PackageFailure | None:
    finished = await context.run_job(
        ChangeKind.REPAIR,
        manager.repair_command(),
        permission=permission,
        limit=context.settings.apply_timeout,
        progress=manager,
    )
    # A repair can be repeated if its result is lost, so its folder can go before the result is stored.
    await remove_job_folder(context.session, context.host, finished.job)
    return _failure(manager, finished)


def _failure(manager: PackageManager, finished: FinishedJob) -> PackageFailure | None:
    return manager.failure(finished.exit_status, finished.output, finished.errors)
