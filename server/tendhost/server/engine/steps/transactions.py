"""The package transaction on a host, and the repair of one that was interrupted: each a detached job."""

from dataclasses import dataclass
from datetime import timedelta

from tendhost.server.domain.host_errors import Interrupted, PackageFailed
from tendhost.server.domain.inventory.inventory import PackageChange
from tendhost.server.domain.operations.operation import Operation
from tendhost.server.domain.operations.permission import ChangeKind
from tendhost.server.engine.jobs.runner import FinishedJob, JobContext, remove_job_folder, run_job
from tendhost.server.engine.steps.package_errors import upgrade_error
from tendhost.server.packages.failures import PackageFailure
from tendhost.server.packages.package_manager import PackageManager, Transaction

UPGRADE = ChangeKind.APPLY
REPAIR = ChangeKind.REPAIR
DOWNLOAD = ChangeKind.DOWNLOAD
ROLLBACK = ChangeKind.ROLLBACK
"""The kinds of jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """How a package transaction ended."""

    detail: str
    kept_conffiles: tuple[str, ...]
    error: PackageFailed | None
    transient: bool = False
    """Whether the error may pass by itself; the transaction had then not begun to change anything."""


async def transact(
    following: JobContext,
    operation: Operation,
    manager: PackageManager,
    transaction: Transaction,
    *,
    kind: ChangeKind = UPGRADE,
    limit: timedelta,
) -> Applied:
    """Perform a package transaction as a job of `kind`. Raises what carry_out raises.

    A package manager that was killed under the job is Interrupted, too.
    """
    command = manager.upgrade_command(transaction)
    ended = await run_job(following, operation, kind, command, limit=limit, progress=manager)
    host = following.host.name
    kept = manager.kept_conffiles(ended.output)
    detail = "the package manager is done"
    if kept:
        detail += f"; kept as they were: {', '.join(kept)}"
    failure = manager.failure(ended.exit_status, ended.output)
    if failure is None:
        return Applied(detail=detail, kept_conffiles=kept, error=None)
    if failure.interrupted:
        raise Interrupted(host=host, step=kind, cause=failure.reason)
    error = upgrade_error(host, failure, ended.exit_status)
    return Applied(detail=detail, kept_conffiles=kept, error=error, transient=failure.transient)


async def repair(
    following: JobContext, operation: Operation, manager: PackageManager, *, limit: timedelta
) -> PackageFailure | None:
    """Finish what an interrupted package manager left; why it could not be finished, or None.

    A repair that is itself interrupted is begun once more. Raises what carry_out raises.
    """
    try:
        ended = await _repair(following, operation, manager, limit)
    except Interrupted:
        begun = await following.journal.begin_job(REPAIR)
        ended = await _repair(following, begun, manager, limit)
    # It can be done over where its result gets lost, so its folder need not wait for that.
    await remove_job_folder(following.session, following.host, ended.job)
    return manager.failure(ended.exit_status, ended.output)


async def restore(
    following: JobContext,
    operation: Operation,
    manager: PackageManager,
    changes: tuple[PackageChange, ...],
    *,
    limit: timedelta,
    lock_timeout: timedelta,
) -> PackageFailure | None:
    """Take changes of packages back; why that failed, or None. Raises what carry_out raises."""
    command = manager.restore_command(changes, lock_timeout=lock_timeout)
    ended = await run_job(following, operation, ROLLBACK, command, limit=limit, progress=manager)
    return manager.failure(ended.exit_status, ended.output)


async def _repair(
    following: JobContext, operation: Operation, manager: PackageManager, limit: timedelta
) -> FinishedJob:
    command = manager.repair_command()
    return await run_job(following, operation, REPAIR, command, limit=limit, progress=manager)
