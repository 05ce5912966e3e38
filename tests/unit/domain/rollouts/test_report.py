"""What came of a rollout, and how up to date a fleet is."""

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.hosts.host import Problem
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.inventory.inventory import PackageChange
from tendhost.server.domain.operations.operation import (
    Operation,
    OperationKind,
    OperationStatus,
    Step,
    StepStatus,
    UpdateResult,
)
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.domain.rollouts.plan import HostSummary
from tendhost.server.domain.rollouts.report import ReportBuilder, compliance
from tendhost.server.domain.rollouts.rollout import (
    Member,
    MemberStatus,
    Rollout,
    RolloutProgress,
    RolloutSpec,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ROLLOUT = Rollout(
    id="ro1",
    spec=RolloutSpec(filter=HostFilter()),
    created_at=NOW - 60 * MINUTE,
    ended_at=NOW,
    progress=RolloutProgress(total_hosts=4, pending=0, completed=2, failed=1, skipped=1),
    waves=1,
)


def member(host: str, status: MemberStatus, **fields) -> Member:
    operation = fields.pop("operation", f"op-{host}")
    return Member(
        rollout="ro1", host=host, wave=0, position=0, status=status, operation=operation, **fields
    )


def operation(host: str, *, minutes: int = 5, **fields) -> Operation:
    return Operation(
        **{
            "id": f"op-{host}",
            "host": host,
            "kind": OperationKind.UPDATE,
            "created_at": NOW,
            "started_at": NOW - minutes * MINUTE,
            "ended_at": NOW,
            "status": OperationStatus.SUCCEEDED,
            "rollout": "ro1",
            **fields,
        }
    )


def changed(*names: str, **fields) -> UpdateResult:
    return UpdateResult(
        changes=tuple(PackageChange(name=n, from_version="1", to_version="2") for n in names),
        **fields,
    )


def test_report_sums_up_packages_reboots_and_causes():
    making = ReportBuilder(ROLLOUT, ())
    reboot = Step(name=StepName.REBOOT, status=StepStatus.SUCCEEDED, started_at=NOW)
    done = member("a", MemberStatus.COMPLETED), member("b", MemberStatus.COMPLETED)
    failed = member("c", MemberStatus.FAILED)
    excluded = member("d", MemberStatus.SKIPPED, operation="", detail="it has failed: dpkg broke")
    for one in (*done, failed, excluded):
        making.add_member(one)
    making.add_operation(operation("a", update=changed("openssl", "bash")), done[0])
    making.add_operation(
        operation("b", minutes=9, update=changed("openssl"), steps=(reboot,)), done[1]
    )
    problem = Problem(reason="HOST_UNREACHABLE", message="c: no answer")
    making.add_operation(
        operation("c", status=OperationStatus.FAILED, problem=problem, minutes=1), failed
    )
    # What was retried counts by its last attempt only.
    first = Problem(reason="DISK_FULL", message="full")
    making.add_operation(operation("c", id="op-before", problem=first, minutes=1), failed)
    found = making.report()
    packages = [(line.name, line.to_version, line.hosts) for line in found.packages]
    assert packages == [("bash", "2", 1), ("openssl", "2", 2)]
    assert (found.reboots, found.rebooted) == (1, ("b",))
    assert [(f.reason, f.count, f.hosts) for f in found.failures] == [
        ("HOST_UNREACHABLE", 1, ("c",))
    ]
    assert [(s.reason, s.hosts) for s in found.skipped] == [("it has failed", ("d",))]
    assert (found.duration, found.longest, found.longest_host) == (
        60 * MINUTE,
        9 * MINUTE,
        "b",
    )


def test_what_was_taken_back_is_no_package_that_came_to_a_host():
    making = ReportBuilder(ROLLOUT, ())
    back = member("a", MemberStatus.ROLLED_BACK)
    problem = Problem(reason="UNHEALTHY", message="failed units")
    making.add_operation(
        operation("a", update=changed("openssl", rolled_back=True), problem=problem), back
    )
    found = making.report()
    assert found.packages == ()
    assert [cause.reason for cause in found.failures] == ["UNHEALTHY"]


def test_a_fleet_is_counted_by_age_and_by_open_fixes():
    fleet = [
        HostSummary(name="today", last_updated=NOW, queried_at=NOW),
        HostSummary(name="week", last_updated=NOW - 5 * DAY, queried_at=NOW, security_count=2),
        HostSummary(name="old", last_updated=NOW - 200 * DAY, queried_at=NOW),
        HostSummary(name="never", queried_at=NOW, security_count=None),
        HostSummary(name="new"),
    ]
    found = compliance(fleet, NOW, 30 * DAY, first=0, last=50)
    assert {age.days: age.hosts for age in found.ages} == {1: 1, 7: 1, 30: 0, 90: 0, None: 3}
    assert (found.without_open_fixes, found.with_open_fixes, found.fixes_unknown) == (2, 1, 2)
    assert [overdue.host for overdue in found.overdue_hosts] == ["week", "never", "new", "old"]
    assert sum(age.hosts for age in found.ages) == found.hosts == 5


@given(
    st.lists(
        st.builds(
            HostSummary,
            name=st.text("abc", min_size=1, max_size=3),
            security_count=st.none() | st.integers(0, 2),
            queried_at=st.none() | st.just(NOW),
            last_updated=st.none() | st.sampled_from([NOW, NOW - 40 * DAY, NOW - 50 * DAY]),
        ),
        unique_by=lambda host: host.name,
    ),
    st.integers(0, 6),
    st.integers(0, 6),
    st.integers(1, 4),
)
def test_compliance__gives_any_part_of_the_overdue_hosts_in_order(fleet, first, count, size):
    def known(host) -> int | None:
        return host.security_count if host.queried_at else None

    def order(host) -> tuple[Any, ...]:
        updated = host.last_updated
        return (-(known(host) or 0), updated is not None, updated or NOW, host.name)

    late = [h for h in fleet if known(h) or not h.last_updated or NOW - h.last_updated > 30 * DAY]
    expected = [(h.name, known(h), h.last_updated) for h in sorted(late, key=order)]
    with patch("tendhost.server.domain.slices.SLICE", size):
        found = compliance(fleet, NOW, 30 * DAY, first=first, last=first + count)
    assert found.overdue_host_count == len(expected)
    shown = [(one.host, one.security, one.last_updated) for one in found.overdue_hosts]
    assert shown == expected[first : first + count]
