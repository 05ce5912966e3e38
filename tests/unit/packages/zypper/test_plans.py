"""What recorded dry runs of zypper say a transaction would do."""

import pytest

from tendhost.server.packages.failures import FailureKind
from tendhost.server.packages.package_manager import Plan, Transaction
from tendhost.server.packages.zypper.listing import parse_obsoletes
from tests.skipped_parts import with_skips
from tests.unit.packages.zypper.recordings import PLANS, ZYPPER

RECORDED = {path.stem: with_skips(path.read_bytes()) for path in sorted(PLANS.glob("plan*.out"))}


def plan(name: str) -> Plan:
    return ZYPPER.parse_plan(RECORDED[name])


def names(planned: Plan) -> set[str]:
    return {change.name for change in planned.changes}


def test_a_plan_lists_changes_and_sizes():
    planned = plan("plan")
    assert planned.failure is None
    assert len(planned.changes) == 10
    changes = {c.name: (c.from_version, c.to_version) for c in planned.changes}
    assert changes["tb-simple"] == ("1.0-1", "2.0-1")
    assert changes["tb-extra"] == ("", "2.0-1")
    assert changes["kernel-default"] == ("6.4.0-150600.21.2", "6.4.0-150600.23.7.3")
    assert not {"tb-held", "tb-kept"} & names(planned)
    assert planned.removed == ()
    assert planned.download_bytes == 62562
    assert planned.disk_bytes == 2


@pytest.mark.parametrize("name", ["plan-named", "plan-exact"])
def test_a_named_plan_takes_what_is_named_and_what_that_needs(name):
    assert names(plan(name)) == {"tb-secure", "tb-newdep", "tb-extra"}


def test_a_plan_tells_what_replaces_what():
    planned = plan("plan-obsoletes")
    replaces = {change.name: change.replaces for change in planned.changes if change.replaces}
    assert replaces == {"newname": ("oldname",), "splitlib": ("splitme",)}
    assert planned.removed == (("oldname", "1.0-1"), ("splitme", "1.0-1"))


def test_an_exact_transaction_names_what_replaces_others_and_plans_the_same():
    chosen = tuple(
        change
        for change in plan("plan-obsoletes").changes
        if change.name in ("newname", "other", "splitlib")
    )
    command = ZYPPER.upgrade_command(Transaction(packages=chosen, exact=True))
    assert " install -- newname=2.0-1 other=2.0-1 splitlib=2.0-1;" in command
    exact = plan("plan-obsoletes-exact")
    assert exact.changes == chosen
    assert exact.removed == (("oldname", "1.0-1"), ("splitme", "1.0-1"))


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("Obsoletes : ---", set()),
        ("Obsoletes : old", {"old"}),
        ("Obsoletes : old < 2.0", {"old"}),
        ("Obsoletes : [2]\n    old <= 1:2.0-3\n    other = 1", {"old", "other"}),
    ],
)
def test_what_a_package_obsoletes_is_read_in_every_form(said, names):
    assert set(parse_obsoletes(f"Name : new\n{said}\n").get("new", ())) == names


def test_what_was_fetched_is_not_downloaded_again():
    assert plan("plan-fetched").download_bytes == 0
    assert len(plan("plan-fetched").changes) == 10


def test_allowed_removals_are_planned():
    planned = plan("plan-removals")
    assert planned.removed == (("tb-olddep", "1.0-1"),)
    assert "tb-kept" in names(planned)
    assert "tb-held" not in names(planned)


@pytest.mark.parametrize("name", ["plan-nothing", "plan-after"])
def test_nothing_to_do_is_no_failure(name):
    assert plan(name) == Plan(download_bytes=0, disk_bytes=0)


def test_what_nobody_needs_any_more_is_planned_to_go():
    assert plan("plan-unneeded").unneeded == (("tb-extra", "2.0-1"),)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("plan-kept", FailureKind.UNMET_DEPENDENCIES, "tb-kept-2.0-1.noarch conflicts with"),
        ("plan-held", FailureKind.UNMET_DEPENDENCIES, "conflicting requests"),
        ("plan-gone", FailureKind.OTHER, "No provider of 'tb-simple=9.9-1' found."),
        ("plan-locked", FailureKind.LOCK_HELD, "(zypper) holds zypp's lock"),
        ("plan-broken", FailureKind.DATABASE_UNREADABLE, "cannot open Packages"),
        ("plan-unprivileged", FailureKind.NOT_PRIVILEGED, "Root privileges are required"),
    ],
)
def test_why_nothing_could_be_planned(name, kind, words):
    failure = plan(name).failure
    assert failure is not None
    assert failure.kind is kind
    assert words in failure.reason
