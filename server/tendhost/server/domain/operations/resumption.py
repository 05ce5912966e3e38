"""Decides where a retry continues: with the step that failed if that is sound, else from the start. Pure.

It is sound if the steps before the failed one are known to be done, and stay done:

    failed at      continues with
    apply          the same job, where its end was never seen; else everything from the start, for the
    compose        package manager then knows what is still to be done
    rollback       the same job, where its end was never seen; else verify
    preflight      the same repair, where its end was never seen; else everything from the start
    pre_hook       the same hook, where its end was never seen; else everything from the start
    reboot_check   reboot_check
    reboot         UPDATE: reboot_check, which finds out whether the host came back after all, and so
                   whether a reboot is still due. REBOOT: the wait for another boot, if the host can
                   have rebooted since; the command is given again to the boot only that it was for
    restart_services  restart_services, and then verify
    verify         verify; where the changes were rolled back, everything from the start
    post_hook      the same hook, where its end was never seen; else verify, after which it runs again;
                   where the changes were rolled back, everything from the start
"""

from dataclasses import replace

from tendhost.server.domain.host_errors import (
    BookkeepingFailed,
    ChannelRefused,
    DatabaseRestored,
    HostCertificateRefused,
    HostKeyChanged,
    JumpFailed,
    KeyUnusable,
    LinkLost,
    RebootNeverBegan,
    RebootNeverReturned,
    ShellUnusable,
    Unexpected,
)
from tendhost.server.domain.operations.operation import Operation, OperationKind
from tendhost.server.domain.operations.permission import PERMISSIONS, Permission
from tendhost.server.domain.operations.step_traits import STEP_OF_JOB, StepName


def resume(failed: Operation, new: Operation) -> Operation:
    """`new`, an operation on the same host and of the same kind, as one that continues `failed`."""
    if failed.problem is None or failed.dry_run:
        return new
    if failed.resume_at is not None and failed.failed_step is StepName.CONNECT:
        # A retry that did not reach the host: the step that it was to continue with is still to be done.
        resumed = _resumed(failed, new, failed.resume_at)
        return replace(resumed, job=failed.job, jobs_begun=failed.jobs_begun)
    reason = failed.problem.reason
    match failed.kind, failed.failed_step:
        case OperationKind.UPDATE, _ if failed.job and not failed.job.concluded:
            job = replace(failed.job, log_start=0, log_read=0, status_read=0)
            if Permission.PREPARE in PERMISSIONS[failed.job.kind]:
                return new  # a job that only prepares a change begins again
            step = STEP_OF_JOB[failed.job.kind]
            return replace(_resumed(failed, new, step), job=job, jobs_begun=failed.jobs_begun)
        case OperationKind.UPDATE, (StepName.REBOOT_CHECK | StepName.REBOOT):
            facts = replace(failed.facts, reboot_ordered_at=None)
            return replace(_resumed(failed, new, StepName.REBOOT_CHECK), facts=facts)
        case OperationKind.REBOOT, StepName.REBOOT if reason in _MAYBE_REBOOTED:
            return _resumed(failed, new, StepName.REBOOT)
        case (
            OperationKind.UPDATE,
            (StepName.VERIFY | StepName.POST_HOOK),
        ) if failed.update and failed.update.rolled_back:
            return new  # nothing is left to continue with
        case (
            (OperationKind.UPDATE | OperationKind.REBOOT),
            (StepName.VERIFY | StepName.POST_HOOK),
        ):
            return _resumed(failed, new, StepName.VERIFY)
        case OperationKind.UPDATE, StepName.RESTART_SERVICES:
            return _resumed(failed, new, StepName.RESTART_SERVICES)
        case _:
            return new


_MAYBE_REBOOTED = frozenset(
    error.reason
    for error in (
        RebootNeverReturned,
        RebootNeverBegan,
        HostCertificateRefused,
        HostKeyChanged,
        JumpFailed,
        KeyUnusable,
        LinkLost,
        ChannelRefused,
        ShellUnusable,
        Unexpected,
        BookkeepingFailed,
        DatabaseRestored,
    )
)
"""With these the host can have rebooted since, or be about to: a reboot from the start would be another one.

ChannelRefused and ShellUnusable come from a host that goes down as well, the last three from a server that does not
know what became of the reboot. Others say that the host runs on as it did (RebootRefused, RebootSameBootId,
NotPermitted), or that nothing was executed on it (PrivilegeMissing).
"""


def _resumed(failed: Operation, new: Operation, step: StepName) -> Operation:
    return replace(
        new,
        resumes=failed.id,
        resume_at=step,
        options=failed.options,
        facts=failed.facts,
        update=failed.update,
        epoch=failed.epoch + 1,
    )
