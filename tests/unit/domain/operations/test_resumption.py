"""Where a retry goes on, from each step that an operation can fail at."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tendhost.server.domain.hosts.host import Host, HostConfig, HostStatus, Problem
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.inventory.inventory import PackageChange, RebootNeed
from tendhost.server.domain.operations.operation import (
    HealthResult,
    JobRecord,
    Operation,
    OperationKind,
    OperationStatus,
    Outcome,
    StepFacts,
    UpdateResult,
)
from tendhost.server.domain.operations.permission import ChangeKind
from tendhost.server.domain.operations.resumption import resume
from tendhost.server.domain.operations.step_sequence import next_step
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.domain.transitions import after_step, started

K, N = OperationKind, StepName
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ORDERED = NOW - timedelta(minutes=20)
UPDATED = UpdateResult(changes=(PackageChange(name="web", from_version="1", to_version="2"),))


def failed_at(kind: OperationKind, step: StepName, reason: str = "BROKE", **more) -> Operation:
    return Operation(
        id="old",
        host="web1",
        kind=kind,
        created_at=NOW,
        status=OperationStatus.FAILED,
        problem=Problem(reason=reason, message="it broke"),
        failed_step=step,
        facts=StepFacts(pending_count=3, boot_id="one", reboot_ordered_at=ORDERED),
        update=UPDATED if kind is K.UPDATE else None,
        epoch=4,
        **more,
    )


def new(kind: OperationKind) -> Operation:
    return Operation(id="new", host="web1", kind=kind, created_at=NOW)


@pytest.mark.parametrize(
    ("kind", "step", "reason", "at"),
    [
        (K.QUERY, N.LIST, "REFRESH_FAILED", None),
        (K.CHECK, N.VERIFY, "UNHEALTHY", None),
        (K.UPDATE, N.CONNECT, "HOST_UNREACHABLE", None),
        (K.UPDATE, N.PREFLIGHT, "PACKAGE_DATABASE_BROKEN", None),
        (K.UPDATE, N.LIST, "DISK_FULL", None),
        (K.UPDATE, N.APPLY, "PACKAGE_FAILED", None),
        (K.UPDATE, N.APPLY, "INTERRUPTED", None),
        (K.UPDATE, N.REBOOT_CHECK, "INVENTORY_FAILED", N.REBOOT_CHECK),
        (K.UPDATE, N.REBOOT, "REBOOT_NEVER_RETURNED", N.REBOOT_CHECK),
        (K.UPDATE, N.REBOOT, "REBOOT_SAME_BOOT_ID", N.REBOOT_CHECK),
        (K.UPDATE, N.VERIFY, "UNHEALTHY", N.VERIFY),
        (K.UPDATE, N.PRE_HOOK, "PRE_HOOK_FAILED", None),
        (K.UPDATE, N.POST_HOOK, "POST_HOOK_FAILED", N.VERIFY),
        (K.REBOOT, N.PREFLIGHT, "WINDOW_CLOSED", None),
        (K.REBOOT, N.REBOOT, "REBOOT_NEVER_RETURNED", N.REBOOT),
        (K.REBOOT, N.REBOOT, "REBOOT_NEVER_BEGAN", N.REBOOT),
        (K.REBOOT, N.REBOOT, "HOST_KEY_CHANGED", N.REBOOT),
        (K.REBOOT, N.REBOOT, "KEY_UNUSABLE", N.REBOOT),
        (K.REBOOT, N.REBOOT, "LINK_LOST", N.REBOOT),
        (K.REBOOT, N.REBOOT, "CHANNEL_REFUSED", N.REBOOT),
        (K.REBOOT, N.REBOOT, "SHELL_UNUSABLE", N.REBOOT),
        (K.REBOOT, N.REBOOT, "UNEXPECTED", N.REBOOT),
        (K.REBOOT, N.REBOOT, "BOOKKEEPING_FAILED", N.REBOOT),
        (K.REBOOT, N.REBOOT, "DATABASE_RESTORED", N.REBOOT),
        (K.REBOOT, N.REBOOT, "REBOOT_SAME_BOOT_ID", None),
        (K.REBOOT, N.REBOOT, "REBOOT_REFUSED", None),
        (K.REBOOT, N.REBOOT, "WINDOW_CLOSED", None),
        (K.REBOOT, N.REBOOT, "PRIVILEGE_MISSING", None),
        (K.REBOOT, N.VERIFY, "UNHEALTHY", N.VERIFY),
    ],
)
def test_a_retry_goes_on_where_that_is_sound(kind, step, reason, at):
    retried = resume(failed_at(kind, step, reason), new(kind))
    assert retried.resume_at is at
    assert retried.resumes == ("old" if at else "")
    if at is None:
        assert retried == new(kind)
    else:
        assert retried.update == (UPDATED if kind is K.UPDATE else None)
        assert retried.epoch > 4


def test_an_upgrade_whose_end_was_never_seen_is_gone_back_to():
    job = JobRecord(
        operation="old", kind=ChangeKind.APPLY, number=2, log_start=70, log_read=30, status_read=5
    )
    failed = failed_at(K.UPDATE, N.APPLY, "HOST_GONE", job=job, jobs_begun=2)
    retried = resume(failed, new(K.UPDATE))
    assert retried.resume_at is N.APPLY
    # All of its log belongs to the new operation, too.
    assert retried.job == JobRecord(operation="old", kind=ChangeKind.APPLY, number=2)
    assert (retried.jobs_begun, retried.epoch) == (2, 5)


def test_a_repair_whose_end_was_never_seen_is_gone_back_to_before_anything_else():
    job = JobRecord(operation="old", kind=ChangeKind.REPAIR, number=2, log_read=30)
    for step in (N.PREFLIGHT, N.APPLY):  # the first problem is the operation's
        retried = resume(failed_at(K.UPDATE, step, "HOST_GONE", job=job), new(K.UPDATE))
        assert retried.resume_at is N.PREFLIGHT
        assert retried.job == JobRecord(operation="old", kind=ChangeKind.REPAIR, number=2)


def test_an_upgrade_whose_end_was_seen_is_not_gone_back_to():
    job = JobRecord(operation="old", kind=ChangeKind.APPLY, number=1, concluded=True)
    failed = failed_at(K.UPDATE, N.APPLY, "PACKAGE_FAILED", job=job, jobs_begun=1)
    assert resume(failed, new(K.UPDATE)) == new(K.UPDATE)


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        (ChangeKind.APPLY, N.APPLY),
        (ChangeKind.COMPOSE, N.COMPOSE),
        (ChangeKind.PRE_HOOK, N.PRE_HOOK),
        (ChangeKind.POST_HOOK, N.POST_HOOK),
        (ChangeKind.ROLLBACK, N.ROLLBACK),
        (ChangeKind.UNDO, N.ROLLBACK),
    ],
)
def test_every_change_whose_end_was_never_seen_is_gone_back_to(kind, step):
    job = JobRecord(operation="old", kind=kind, number=3)
    failed = failed_at(K.UPDATE, N.VERIFY, "HOST_GONE", job=job, jobs_begun=3)
    assert resume(failed, new(K.UPDATE)).resume_at is step


def test_a_download_whose_end_was_never_seen_is_begun_anew():
    failed = failed_at(
        K.UPDATE,
        N.DOWNLOAD,
        "HOST_GONE",
        job=JobRecord(operation="old", kind=ChangeKind.DOWNLOAD, number=1),
    )
    assert resume(failed, new(K.UPDATE)) == new(K.UPDATE)


def test_an_update_that_was_taken_back_begins_from_the_start():
    failed = failed_at(K.UPDATE, N.VERIFY, "UNHEALTHY")
    failed = replace(failed, update=replace(UPDATED, rolled_back=True))
    assert resume(failed, new(K.UPDATE)) == new(K.UPDATE)


def test_a_dry_run_begins_from_the_start():
    failed = replace(failed_at(K.UPDATE, N.VERIFY), dry_run=True)
    assert resume(failed, new(K.UPDATE)) == new(K.UPDATE)


def test_a_reboot_that_is_still_due_can_be_ordered_again_and_one_that_is_waited_for_cannot():
    update = resume(failed_at(K.UPDATE, N.REBOOT, "REBOOT_SAME_BOOT_ID"), new(K.UPDATE))
    assert update.facts.reboot_ordered_at is None
    reboot = resume(failed_at(K.REBOOT, N.REBOOT, "REBOOT_NEVER_RETURNED"), new(K.REBOOT))
    assert (reboot.facts.reboot_ordered_at, reboot.facts.boot_id) == (ORDERED, "one")


@pytest.mark.parametrize(
    ("step", "expected", "states"),
    [
        (N.APPLY, ["apply", "reboot_check", "verify"], ["updating", "verifying", "idle"]),
        (N.REBOOT_CHECK, ["reboot_check", "verify"], ["updating", "verifying", "idle"]),
        (N.VERIFY, ["verify"], ["verifying", "idle"]),
    ],
)
def test_a_resumed_update_takes_the_steps_that_are_left_and_ends_like_any_other(
    step, expected, states
):
    job = JobRecord(operation="old", kind=ChangeKind.APPLY, number=1, concluded=step is not N.APPLY)
    retried = resume(failed_at(K.UPDATE, step, "HOST_GONE", job=job), new(K.UPDATE))
    config = HostConfig(name="web1", address="192.0.2.1")
    host = Host(config=config, host_key="k", registered_at=NOW, status=HostStatus())
    course = started(retried, host, NOW)
    seen = [course.host.status.state]
    while (current := next_step(course.operation)) is not None:
        facts = replace(course.operation.facts, reboot_need=RebootNeed.NOT_NEEDED)
        health = HealthResult(healthy=True, message="fine") if current is N.VERIFY else None
        course = after_step(course, Outcome(facts=facts, health=health), NOW)
        if course.host.status.state is not seen[-1]:
            seen.append(course.host.status.state)
    assert [str(s.name) for s in course.operation.steps] == ["connect", *expected]
    assert [str(state) for state in seen] == ["querying", *states]
    assert course.operation.status is OperationStatus.SUCCEEDED
    assert course.host.status.last_updated == NOW
    assert course.host.status.state is HostState.IDLE


def test_a_retry_that_does_not_get_to_the_host_leaves_it_failed_and_the_next_one_goes_on_as_well():
    job = JobRecord(operation="old", kind=ChangeKind.APPLY, number=1)
    first = resume(failed_at(K.UPDATE, N.APPLY, "HOST_GONE", job=job), new(K.UPDATE))
    config = HostConfig(name="web1", address="192.0.2.1")
    host = Host(config=config, host_key="k", registered_at=NOW, status=HostStatus())
    dark = Problem(reason="HOST_UNREACHABLE", message="no answer")
    course = after_step(started(first, host, NOW), Outcome(problem=dark, transient=True), NOW)
    assert course.operation.status is OperationStatus.FAILED
    assert course.host.status.state is HostState.FAILED
    second = resume(course.operation, new(K.UPDATE))
    assert (second.resume_at, second.job) == (N.APPLY, job)
    assert second.epoch > first.epoch


def test_cancelled_while_it_connects_a_retry_still_goes_back_to_the_upgrade_under_way():
    job = JobRecord(operation="old", kind=ChangeKind.APPLY, number=1)
    retried = resume(failed_at(K.UPDATE, N.APPLY, "HOST_GONE", job=job), new(K.UPDATE))
    config = HostConfig(name="web1", address="192.0.2.1")
    host = Host(config=config, host_key="k", registered_at=NOW, status=HostStatus())
    course = started(replace(retried, cancel_requested_by="sam"), host, NOW)
    course = after_step(course, Outcome(), NOW)
    assert next_step(course.operation) is N.APPLY
