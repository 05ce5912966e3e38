"""What an update is to change: narrowed down, planned, held to a plan."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.inventory.inventory import (
    PackageChange,
    Pending,
    PendingPackage,
    Withheld,
)
from tendhost.server.domain.inventory.scope import (
    ScopeOverride,
    UpdateScope,
    differences,
    matches,
    narrowed,
    planned,
    unwanted,
    wanted,
)
from tendhost.server.domain.operations.approved_plan import hold_to_pending, hold_to_plan
from tendhost.server.domain.operations.operation import (
    Operation,
    OperationKind,
    OperationOptions,
    OperationStatus,
    StepFacts,
    UpdateResult,
)
from tendhost.server.domain.request_errors import PlanUnusable

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = ["openssl", "openssh", "linux-image-6", "bash", "libc6"]
PACKAGES = st.lists(
    st.builds(
        PendingPackage,
        name=st.sampled_from(NAMES),
        from_version=st.sampled_from(["", "1"]),
        to_version=st.sampled_from(["2", "3"]),
        security=st.sampled_from([True, False, None]),
        withheld=st.sampled_from(Withheld),
    ),
    unique_by=lambda package: package.name,
)
SCOPES = st.builds(
    UpdateScope,
    security_only=st.booleans(),
    include=st.lists(st.sampled_from(["open*", "bash", "*"]), max_size=2).map(tuple),
    exclude=st.lists(st.sampled_from(["linux-*", "openssh"]), max_size=2).map(tuple),
)


def package(name: str, **fields) -> PendingPackage:
    return PendingPackage(**{"name": name, "from_version": "1", "to_version": "2"} | fields)


@given(PACKAGES, SCOPES)
def test_nothing_is_wanted_that_the_scope_leaves_out(packages, scope):
    for change in wanted(narrowed(packages, scope)):
        (known,) = (p for p in packages if p.name == change.name)
        assert known.withheld is Withheld.NO
        assert not scope.security_only or known.security is True
        assert not any(glob.startswith("linux") for glob in scope.exclude) or (
            not change.name.startswith("linux-")
        )


@given(PACKAGES, SCOPES)
def test_no_package_is_lost_and_what_was_withheld_stays_so(packages, scope):
    left = narrowed(packages, scope)
    assert [p.name for p in left] == [p.name for p in packages]
    for before, after in zip(packages, left, strict=True):
        assert after == replace(before, withheld=after.withheld)
        if before.withheld is not Withheld.NO:
            assert after == before


@given(PACKAGES)
def test_the_default_wants_all_that_a_plain_upgrade_does(packages):
    assert narrowed(packages, UpdateScope()) == tuple(packages)
    assert not UpdateScope().narrows


def test_what_may_or_may_not_be_a_security_update_is_not_one():
    (left,) = narrowed([package("a", security=None)], UpdateScope(security_only=True))
    assert left.withheld is Withheld.EXCLUDED


def test_a_name_that_nothing_matches_is_told_of():
    scope = UpdateScope(include=("open*", "nosuch"))
    assert scope.absent([package("openssl")]) == ("nosuch",)


@given(PACKAGES, st.lists(st.sampled_from(NAMES), unique=True))
def test_a_plan_changes_what_the_host_says_and_keeps_the_rest_back(packages, chosen):
    changes = [package(name) for name in chosen]
    found = planned(packages, changes)
    assert {c.name for c in wanted(found)} == set(chosen)
    result = {p.name: p for p in found}
    for p in packages:
        if p.name not in chosen:
            kept = Withheld.KEPT_BACK if p.withheld is Withheld.NO else p.withheld
            assert result[p.name].withheld is kept
    assert list(result) == sorted(result)


def test_plan__tells_of_a_fix_that_pins_keep_out_beside_the_update_of_the_same_package():
    update = package("web", to_version="1.1")
    fix = package("web", to_version="2.0", security=True, withheld=Withheld.PINNED)
    assert planned([update, fix], [update]) == (update, fix)
    assert planned([update, fix], []) == (replace(update, withheld=Withheld.KEPT_BACK), fix)
    installed = package("web", to_version="2.0", security=True)
    assert [p.withheld for p in planned([update, fix], [installed])] == [Withheld.NO]
    assert planned([fix], []) == (fix,)


def test_what_is_excluded_and_would_change_or_go_all_the_same_is_named():
    scope = UpdateScope(exclude=("b*", "gone"))
    found = unwanted([package("a"), package("bash")], [("gone", "1"), ("other", "1")], scope)
    assert found == ("bash", "gone")


def test_differences_from_a_plan_are_told_package_by_package():
    agreed = (
        PackageChange(name="a", from_version="1", to_version="2"),
        PackageChange(name="b", from_version="1", to_version="2"),
        PackageChange(name="c", from_version="1", to_version="2"),
        PackageChange(name="d", from_version="1", to_version="2"),
    )
    now = (
        PackageChange(name="a", from_version="1", to_version="2"),
        PackageChange(name="b", from_version="1", to_version="3"),
        PackageChange(name="d", from_version="1", to_version=""),
        PackageChange(name="e", from_version="", to_version="1"),
    )
    assert differences(agreed, now) == (
        "b 3 instead of 2",
        "c is not pending any more",
        "d removed instead of 2",
        "e 1 is new",
    )


REPLACING = PendingPackage(
    name="new", from_version="", to_version="2", security=True, replaces=("old",)
)


@pytest.mark.parametrize(
    ("scope", "withheld"),
    [
        (UpdateScope(), Withheld.NO),
        (UpdateScope(security_only=True), Withheld.NO),
        (UpdateScope(include=("new",)), Withheld.NO),
        (UpdateScope(include=("old",)), Withheld.NO),
        (UpdateScope(include=("bash",)), Withheld.EXCLUDED),
        (UpdateScope(exclude=("new",)), Withheld.EXCLUDED),
        (UpdateScope(exclude=("old",)), Withheld.EXCLUDED),
    ],
)
def test_a_scope_takes_what_replaces_an_installed_package_by_either_name(scope, withheld):
    (narrow,) = narrowed([REPLACING], scope)
    assert narrow.withheld is withheld
    unknown = narrowed([replace(REPLACING, security=None)], UpdateScope(security_only=True))
    assert unknown[0].withheld is Withheld.EXCLUDED


def test_a_plan_of_what_is_pending_has_the_packages_that_go_for_others():
    pending = Pending(packages=(REPLACING, package("bash")), queried_at=NOW)
    agreed = hold_to_pending(pending, OperationOptions(), UpdateScope(), host="web1").agreed
    assert agreed is not None
    now = (
        *wanted(planned(pending.packages, pending.packages)),
        PackageChange(name="old", from_version="1", to_version=""),
    )
    assert differences(agreed, now) == ()


def kernel(to: str, former: str = "") -> PackageChange:
    return PackageChange(name="kernel", from_version=former, to_version=to)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ((kernel("6.9.1"), kernel("", "6.8.9")), ()),
        (
            (kernel("6.9.2"), kernel("", "6.8.9")),
            ("kernel 6.9.2 instead of 6.9.1",),
        ),
        ((kernel("6.9.1"),), ("kernel removed is not pending any more",)),
        ((kernel("", "6.8.9"),), ("kernel 6.9.1 is not pending any more",)),
    ],
)
def test_differences_know_a_kernel_that_comes_from_the_one_that_goes(now, told):
    agreed = (kernel("6.9.1"), kernel("", "6.8.9"))
    assert differences(agreed, now) == told


@given(PACKAGES)
def test_a_plan_does_not_differ_from_itself(packages):
    assert differences(wanted(packages), wanted(packages)) == ()


def dry_run(**fields) -> Operation:
    plan = Operation(
        id="op1",
        host="web1",
        kind=OperationKind.UPDATE,
        created_at=NOW,
        dry_run=True,
        status=OperationStatus.SUCCEEDED,
        facts=StepFacts(scope=UpdateScope(security_only=True)),
        update=UpdateResult(planned=(package("a"),), planned_removals=(("old", "1"),)),
    )
    return replace(plan, **fields)


def test_an_agreed_plan_has_the_scope_of_its_dry_run_and_its_removals():
    order = hold_to_plan(dry_run(), OperationOptions(exact=True), host="web1")
    assert order.scope == ScopeOverride.exactly(UpdateScope(security_only=True))
    assert order.scope is not None
    assert order.scope.over(UpdateScope(exclude=("x",))) == UpdateScope(security_only=True)
    assert order.agreed == (
        PackageChange(name="a", from_version="1", to_version="2"),
        PackageChange(name="old", from_version="1", to_version=""),
    )
    own = ScopeOverride(include=("a",))
    assert hold_to_plan(dry_run(), OperationOptions(scope=own), host="web1").scope == own


@pytest.mark.parametrize(
    ("plan", "host", "problem"),
    [
        (dry_run(), "web2", "it is a plan for web1"),
        (dry_run(dry_run=False), "web1", "it is not a dry run of an update"),
        (dry_run(kind=OperationKind.QUERY), "web1", "it is not a dry run of an update"),
        (dry_run(status=OperationStatus.FAILED), "web1", "it has not succeeded .failed."),
    ],
)
def test_what_is_no_plan_for_the_host_is_refused(plan, host, problem):
    with pytest.raises(PlanUnusable, match=problem):
        hold_to_plan(plan, OperationOptions(), host=host)


def test_without_a_dry_run_the_plan_is_what_was_pending():
    held = package("held", withheld=Withheld.HELD)
    pending = Pending(packages=(package("a"), package("b"), held), queried_at=NOW)
    wish = OperationOptions(scope=ScopeOverride(exclude=("b",)))
    order = hold_to_pending(pending, wish, UpdateScope(), host="web1")
    assert order.agreed is not None
    assert [change.name for change in order.agreed] == ["a"]
    with pytest.raises(PlanUnusable, match="could not list"):
        hold_to_pending(Pending(), OperationOptions(), UpdateScope(), host="web1")


POLICY = UpdateScope(security_only=True, include=("a*",), exclude=("postgresql*",))


def test_what_a_request_does_not_say_is_as_the_policy_says():
    assert ScopeOverride().over(POLICY) == POLICY
    assert ScopeOverride(download_first=True).over(POLICY) == replace(POLICY, download_first=True)
    assert ScopeOverride(security_only=False).over(POLICY) == replace(POLICY, security_only=False)


def test_what_a_policy_excludes_stays_excluded_unless_its_names_are_taken_away():
    wish = ScopeOverride(include=("b",), exclude=("linux-*",))
    scope = wish.over(POLICY)
    assert (scope.include, scope.exclude) == (("b",), ("postgresql*", "linux-*"))
    bare = replace(wish, ignore_policy_packages=True).over(POLICY)
    assert (bare.include, bare.exclude, bare.security_only) == (("b",), ("linux-*",), True)


@pytest.mark.parametrize("name", ["wine32:i386", "wine32.i686", "wine32"])
def test_a_foreign_package_is_excluded_by_its_bare_name(name):
    assert matches(name, ("wine32",))
    assert matches(name, (name,))
    assert not matches(name, ("wine",))
    assert not matches("python3.11", ("python3",))
