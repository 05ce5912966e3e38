"""What an operation says of the reboot of its host, whichever of its attempts did it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tendhost.server.domain.hosts.host import Problem
from tendhost.server.domain.inventory.inventory import RebootNeed
from tendhost.server.domain.operations.operation import (
    Operation,
    OperationKind,
    OperationOptions,
    OperationStatus,
    RebootOutcome,
    Step,
    StepFacts,
    StepStatus,
)
from tendhost.server.domain.operations.resumption import resume
from tendhost.server.domain.operations.step_traits import StepName

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
K, N, S = OperationKind, StepName, StepStatus
ORDERED = StepFacts(reboot_need=RebootNeed.NEEDED, reboot_allowed=True, reboot_ordered_at=NOW)


def operation(
    kind: OperationKind, *steps: tuple[StepName, StepStatus], facts: StepFacts = ORDERED
) -> Operation:
    return Operation(
        id="op1",
        host="web1",
        kind=kind,
        created_at=NOW,
        options=OperationOptions(only_if_required=kind is K.REBOOT),
        steps=tuple(Step(name=name, status=status, started_at=NOW) for name, status in steps),
        facts=facts,
    )


def continued(kind: OperationKind, failed_step: StepName, reason: str = "UNHEALTHY") -> Operation:
    """A retry of an operation that failed at this step after it had recorded a reboot."""
    reboot = (N.REBOOT, S.FAILED if failed_step is N.REBOOT else S.SUCCEEDED)
    later = () if failed_step is N.REBOOT else ((failed_step, S.FAILED),)
    failed = replace(
        operation(kind, (N.CONNECT, S.SUCCEEDED), reboot, *later),
        status=OperationStatus.FAILED,
        failed_step=failed_step,
        problem=Problem(reason=reason, message="so"),
    )
    return resume(failed, replace(operation(kind, facts=StepFacts()), id="op2"))


@pytest.mark.parametrize("kind", [K.UPDATE, K.REBOOT])
@pytest.mark.parametrize("status", list(S))
def test_rebooted__is_an_operation_whose_reboot_has_succeeded(
    kind: OperationKind, status: StepStatus
):
    found = operation(kind, (N.CONNECT, S.SUCCEEDED), (N.REBOOT, status))
    assert found.rebooted == found.follows_reboot == (status is S.SUCCEEDED)
    assert not operation(kind, (N.CONNECT, S.SUCCEEDED), facts=StepFacts()).follows_reboot


@pytest.mark.parametrize("kind", [K.UPDATE, K.REBOOT])
@pytest.mark.parametrize("failed_step", [N.VERIFY, N.POST_HOOK])
def test_retry__after_the_reboot_follows_it_and_does_none_itself(
    kind: OperationKind, failed_step: StepName
):
    retry = continued(kind, failed_step)
    assert retry.resume_at is N.VERIFY
    assert retry.follows_reboot
    assert not retry.rebooted


@pytest.mark.parametrize("kind", [K.UPDATE, K.REBOOT])
def test_retry__of_the_reboot_itself_follows_none_until_it_has_succeeded(kind: OperationKind):
    retry = continued(kind, N.REBOOT, "REBOOT_NEVER_RETURNED")
    assert retry.resume_at in (N.REBOOT, N.REBOOT_CHECK)
    assert not retry.follows_reboot
    back = Step(name=N.REBOOT, status=S.SUCCEEDED, started_at=NOW)
    assert replace(retry, steps=(back,)).follows_reboot


def test_retry__that_only_verifies_after_a_required_reboot_says_that_the_host_was_rebooted():
    verified = Step(name=N.VERIFY, status=S.SUCCEEDED, started_at=NOW)
    retry = replace(continued(K.REBOOT, N.VERIFY), steps=(verified,))
    done = replace(retry, status=OperationStatus.SUCCEEDED)
    assert done.reboot_outcome is RebootOutcome.REBOOTED
