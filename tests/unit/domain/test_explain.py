"""Why a host was, or was not, updated and rebooted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tendhost.server.domain.explain import ReasonKind, RolloutMembership, explain
from tendhost.server.domain.hosts.host import Host, HostConfig, HostStatus, Policy, Problem
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.inventory.inventory import (
    PackageChange,
    Pending,
    PendingPackage,
    Reboot,
    RebootNeed,
    Withheld,
)
from tendhost.server.domain.operations.operation import (
    Operation,
    OperationKind,
    OperationStatus,
    Step,
    StepFacts,
    StepStatus,
    UpdateResult,
)
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.domain.policy.availability import Availability
from tendhost.server.domain.rollouts.rollout import (
    Halt,
    HaltCause,
    Member,
    MemberStatus,
    Rollout,
    RolloutProgress,
    RolloutSpec,
    RolloutStatus,
    WaitingFor,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
K, R = ReasonKind, RebootNeed
CLOSED = Availability(until=NOW + HOUR, message="its maintenance window opens at 13:00")
NOTHING = Pending(queried_at=NOW)
SOME = Pending(
    packages=(
        PendingPackage(name="openssl", from_version="1", to_version="2", security=True),
        PendingPackage(name="vim", from_version="1", to_version="2", withheld=Withheld.HELD),
    ),
    queried_at=NOW,
)


def host(policy: Policy = Policy(), **status) -> Host:  # noqa: B008 (it is frozen)
    config = HostConfig(name="web1", address="192.0.2.1", policy=policy)
    return Host(config=config, host_key="k", registered_at=NOW, status=HostStatus(**status))


def update(**fields) -> Operation:
    return Operation(
        **{
            "id": "op1",
            "host": "web1",
            "kind": OperationKind.UPDATE,
            "created_at": NOW - HOUR,
            "status": OperationStatus.SUCCEEDED,
            "ended_at": NOW - HOUR,
            "update": UpdateResult(),
            "revision": 7,
            **fields,
        }
    )


def place(status: MemberStatus, *, rollout=None, **fields) -> RolloutMembership:
    made = Rollout(
        **{
            "id": "ro1",
            "spec": RolloutSpec(filter=HostFilter()),
            "created_at": NOW - 2 * HOUR,
            "progress": RolloutProgress(total_hosts=3, pending=3),
            "waves": 3,
            **(rollout or {}),
        }
    )
    member = Member(rollout="ro1", host="web1", wave=2, position=2, status=status, **fields)
    return RolloutMembership(rollout=made, member=member, revision=9)


def explained(subject: Host, pending=NOTHING, operations=(), memberships=(), closed=None):
    return explain(subject, pending, operations, memberships, closed, NOW)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (explained(host()), "up to date: no updates were pending at the last query"),
        (explained(host(), None), "unknown: this host has never been queried"),
        (explained(host(), SOME), "1 update was pending, a security update (1 withheld)"),
        (explained(host(), SOME), "nobody has started an update"),
        (
            explained(host(), SOME, [update(problem=Problem(reason="X", message="dpkg broke"))]),
            "the last update failed: dpkg broke",
        ),
        (explained(host(), SOME, closed=CLOSED), "its maintenance window opens at 13:00"),
        (
            explained(host(), SOME, memberships=[place(MemberStatus.WAITING, detail="zone=a")]),
            "not updated yet: its rollout waits: zone=a",
        ),
        (
            explained(
                host(),
                SOME,
                memberships=[
                    place(
                        MemberStatus.WAITING,
                        rollout={"status": RolloutStatus.PAUSED},
                        detail="zone=a",
                    )
                ],
            ),
            "its rollout waits: zone=a; the rollout is paused",
        ),
        (
            explained(
                host(),
                SOME,
                [update(created_at=NOW - 3 * HOUR)],
                memberships=[place(MemberStatus.SKIPPED, detail="skipped by kim")],
            ),
            "rollout ro1 skipped it: skipped by kim",
        ),
        (
            explained(
                host(), SOME, [update()], memberships=[place(MemberStatus.SKIPPED, detail="x")]
            ),
            "nobody has started an update since then",
        ),
        (
            explained(
                host(),
                SOME,
                memberships=[
                    place(
                        MemberStatus.WAITING,
                        rollout={"spec": RolloutSpec(filter=HostFilter(), dry_run=True)},
                    )
                ],
            ),
            "nobody has started an update",
        ),
        (
            explained(host(), SOME, memberships=[place(MemberStatus.PENDING)]),
            "it is in wave 3, and wave 1 of 3 is on",
        ),
        (
            explained(
                host(),
                SOME,
                memberships=[
                    place(
                        MemberStatus.PENDING,
                        rollout={
                            "status": RolloutStatus.HALTED,
                            "halt": Halt(cause=HaltCause.FAILURES, message="2 failed", at=NOW),
                        },
                    )
                ],
            ),
            "the rollout has halted: 2 failed",
        ),
        (
            explained(
                host(state=HostState.QUERYING).failed(
                    step="apply", problem=Problem(reason="X", message="dpkg broke"), now=NOW
                )
            ),
            "it has been in failed since 2026-11-22 12:00 UTC, because of apply: dpkg broke",
        ),
    ],
)
def test_the_answer_about_updates_says_what_stands_in_the_way(found, words):
    assert words in found.update


@pytest.mark.parametrize(
    ("subject", "closed", "words"),
    [
        (host(reboot=Reboot(need=R.NOT_NEEDED)), None, "no reboot is needed"),
        (
            host(reboot=Reboot(need=R.UNKNOWN, reason="no kernels")),
            None,
            "unknown whether a reboot is needed (no kernels)",
        ),
        (
            host(reboot=Reboot(need=R.NEEDED, reason="libc6 asks", since=NOW)),
            None,
            "a reboot is needed since 2026-11-22 12:00 UTC (libc6 asks); its next update does it",
        ),
        (
            host(Policy(auto_reboot=False), reboot=Reboot(need=R.NEEDED)),
            None,
            "its policy does not allow updates to do it",
        ),
        (host(reboot=Reboot(need=R.NEEDED)), CLOSED, "its maintenance window opens at 13:00"),
    ],
)
def test_the_answer_about_reboots_says_what_stands_in_the_way(subject, closed, words):
    assert words in explained(subject, closed=closed).reboot


def test_reasons_come_in_order_of_time_with_what_proves_them():
    reboot = Step(name=StepName.REBOOT, status=StepStatus.SUCCEEDED, started_at=NOW, ended_at=NOW)
    change = PackageChange(name="a", from_version="1", to_version="2")
    done = update(
        update=UpdateResult(changes=(change,)), steps=(reboot,), rollout="ro1", revision=31
    )
    failed = update(
        id="op0",
        ended_at=NOW - 3 * HOUR,
        status=OperationStatus.FAILED,
        problem=Problem(reason="HOST_UNREACHABLE", message="no answer"),
        failed_step=StepName.CONNECT,
        revision=12,
    )
    skipped = place(MemberStatus.SKIPPED, detail="skipped by alex")
    nowhere = replace(skipped, member=None)
    found = explained(host(), SOME, [done, failed], [skipped, nowhere], CLOSED)
    assert [reason.kind for reason in found.reasons] == [
        K.FAILURE,
        K.SKIPPED,
        K.NOT_SELECTED,
        K.UPDATED,
        K.REBOOTED,
        K.WITHHELD,
        K.WINDOW,
    ]
    assert [reason.revision for reason in found.reasons] == [12, 9, 0, 31, 31, 0, 0]
    assert found.reasons[0].message == "update failed in connect: no answer"
    assert found.reasons[3].operation == "op1"


def test_a_reboot_that_was_due_and_not_allowed_is_told():
    facts = StepFacts(reboot_need=R.NEEDED, reboot_allowed=False)
    found = explained(
        host(Policy(auto_reboot=False), reboot=Reboot(need=R.NEEDED)),
        NOTHING,
        [update(facts=facts)],
    )
    kinds = [reason.kind for reason in found.reasons]
    assert kinds == [K.NOTHING_PENDING, K.REBOOT_NOT_ALLOWED, K.REBOOT_NOT_ALLOWED]


def test_looks_and_dry_runs_explain_nothing():
    found = explained(host(), NOTHING, [update(dry_run=True), update(kind=OperationKind.CHECK)])
    assert found.reasons == ()


@pytest.mark.parametrize(
    ("waiting", "kind"),
    [(WaitingFor.WINDOW, K.WINDOW), (WaitingFor.BUDGET, K.BUDGET), (WaitingFor.HOST, K.BUSY)],
)
def test_what_a_rollout_waits_for_is_told(waiting, kind):
    found = explained(
        host(), SOME, memberships=[place(MemberStatus.WAITING, waiting=waiting, detail="words")]
    )
    assert kind in [reason.kind for reason in found.reasons]


def test_host_that_is_only_a_jump__says_so_for_updates_and_reboots():
    needed = Reboot(need=R.NEEDED, since=NOW)
    bastion = host(reboot=needed, pending_count=1)
    bastion = replace(bastion, config=replace(bastion.config, jump_only=True))
    told = explain(bastion, SOME, (), (), None, NOW)
    assert told.update == "not updated: it is registered only as a jump for other hosts"
    assert told.reboot.endswith("; it is registered only as a jump for other hosts")
