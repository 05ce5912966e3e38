"""dpkg's database: what counts as installed, held, sound and changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.inventory.inventory import (
    PackageChange,
    changed_since,
    diff_installed,
    not_restored,
)
from tendhost.server.packages.apt.dpkg import (
    DatabaseHealth,
    parse_health,
    parse_installed,
    parse_interrupted,
)
from tendhost.server.packages.errors import ParseFailed
from tests.unit.packages.recordings import query

INVENTORIES = st.dictionaries(st.text(min_size=1), st.text(min_size=1))


def rows(*lines: str) -> str:
    return "\n".join(("amd64", *lines))


def test_each_status_counts_as_what_it_is() -> None:
    found = parse_installed(
        rows(
            "ii \ta\tamd64\t1",
            "hi \tb\tall\t2",
            "rc \tc\tamd64\t3",
            "un \td\tamd64\t",
            "iF \te\tamd64\t5",
            "iU \tf\tamd64\t6",
            "iHR\tg\tamd64\t7",
            "it \th\tamd64\t8",
            "iiR\ti\tamd64\t9",
            "ii \ta\ti386\t1",
        )
    )
    assert found.packages == (
        ("a", "1"),
        ("a:i386", "1"),
        ("b", "2"),
        ("e", "5"),
        ("f", "6"),
        ("g", "7"),
        ("h", "8"),
        ("i", "9"),
    )
    assert found.held == {"b"}
    assert found.unconfigured == ("e", "f", "h")
    assert found.half_installed == ("g", "i")


@pytest.mark.parametrize("line", ["ii \ta\tamd64", "?? \ta\tamd64\t1", "ii \ta\tamd64\t1\tx"])
def test_a_row_that_is_none_is_refused_and_named(line: str) -> None:
    with pytest.raises(ParseFailed) as caught:
        parse_installed(rows("ii \tfine\tall\t1", line))
    assert (caught.value.part, caught.value.line) == ("installed", line)


def test_only_names_of_digits_are_unmerged_updates() -> None:
    # apt's rule: dpkg writes its journal to numbered files, tmp.i is one in the making.
    assert parse_interrupted("0001\n0002")
    assert not parse_interrupted("tmp.i\n")
    assert not parse_interrupted("")


def test_health_tells_what_configuring_mends_from_what_it_does_not() -> None:
    health = parse_health("", "iF \ta\niHR\tb\n")
    assert health == DatabaseHealth(unconfigured=("a",), half_installed=("b",))
    problem = health.problem()
    assert problem is not None
    assert problem.packages == ("a", "b")
    assert problem.repairable
    with pytest.raises(ParseFailed):
        parse_health("", "nonsense")


def test_an_upgrade_shows_as_changes_of_what_is_installed() -> None:
    before = query("debian12/query").inventory.installed
    after = query("debian12/query-after").inventory.installed
    changes = {change.name: change for change in diff_installed(before, after)}
    assert changes["tb-simple"] == PackageChange(
        name="tb-simple", from_version="1.0-1", to_version="2.0-1"
    )
    assert changes["tb-extra"] == PackageChange(
        name="tb-extra", from_version="", to_version="2.0-1"
    )
    assert "tb-held" not in changes
    assert len(changes) == 9


def test_a_removed_package_has_no_version_any_more() -> None:
    assert diff_installed((("a", "1"),), ()) == (
        PackageChange(name="a", from_version="1", to_version=""),
    )


def test_versions_that_are_there_side_by_side_come_and_go_alone() -> None:
    before = (("kernel", "1"), ("kernel", "2"))
    after = (("kernel", "2"), ("kernel", "3"))
    assert diff_installed(before, (*before, ("kernel", "3"))) == (
        PackageChange(name="kernel", from_version="", to_version="3"),
    )
    assert diff_installed(before, after) == (
        PackageChange(name="kernel", from_version="1", to_version=""),
        PackageChange(name="kernel", from_version="", to_version="3"),
    )


@given(INVENTORIES, INVENTORIES)
def test_the_changes_lead_from_one_inventory_to_the_other(
    before: dict[str, str], after: dict[str, str]
) -> None:
    state = dict(before)
    for change in diff_installed(tuple(before.items()), tuple(after.items())):
        assert state.pop(change.name, "") == change.from_version
        if change.to_version:
            state[change.name] = change.to_version
    assert state == after


def kernels(*versions: str) -> tuple[tuple[str, str], ...]:
    return (("bash", "1"), *(("kernel", version) for version in versions))


def test_what_comes_and_goes_in_turns_is_summed_up() -> None:
    first = diff_installed(kernels("1", "2"), kernels("1", "2", "3"))
    second = diff_installed(kernels("1", "2", "3"), kernels("2", "3"))
    assert changed_since(first, second) == (
        PackageChange(name="kernel", from_version="", to_version="3"),
        PackageChange(name="kernel", from_version="1", to_version=""),
    )
    back = diff_installed(kernels("1", "2", "3"), kernels("1", "2"))
    assert changed_since(first, back) == ()


def test_a_kernel_that_goes_for_the_limit_is_not_the_one_that_comes() -> None:
    # dnf with installonly_limit=3 installs one kernel, and removes the oldest in the same transaction.
    changes = diff_installed(
        kernels("6.8.9", "6.8.10", "6.8.11"), kernels("6.8.10", "6.8.11", "6.9.1")
    )
    apart = (
        PackageChange(name="kernel", from_version="6.8.9", to_version=""),
        PackageChange(name="kernel", from_version="", to_version="6.9.1"),
    )
    assert changes == apart
    assert changed_since((), changes) == apart
    assert changed_since(apart, ()) == apart


def test_a_package_that_went_and_came_again_was_upgraded() -> None:
    gone = diff_installed((("a", "1"),), ())
    back = diff_installed((), (("a", "2"),))
    assert changed_since(gone, back) == (PackageChange(name="a", from_version="1", to_version="2"),)


SIDE_BY_SIDE = st.dictionaries(
    st.sampled_from(["bash", "kernel"]), st.sets(st.sampled_from("1234"), max_size=3)
).map(lambda found: tuple((name, v) for name in sorted(found) for v in sorted(found[name])))


@given(SIDE_BY_SIDE, SIDE_BY_SIDE, SIDE_BY_SIDE)
def test_the_sum_of_two_differences_is_what_lies_between_first_and_last(
    first: tuple[tuple[str, str], ...],
    middle: tuple[tuple[str, str], ...],
    last: tuple[tuple[str, str], ...],
) -> None:
    earlier, later = diff_installed(first, middle), diff_installed(middle, last)
    assert changed_since((), earlier) == changed_since(earlier, ()) == earlier
    changes = changed_since(earlier, later)
    gone = [(change.name, change.from_version) for change in changes if change.from_version]
    come = [(change.name, change.to_version) for change in changes if change.to_version]
    assert sorted(gone) == sorted(set(first) - set(last))
    assert sorted(come) == sorted(set(last) - set(first))
    assert [change.name for change in changes] == sorted(change.name for change in changes)


def test_what_is_not_back_is_named_and_a_kernel_beside_others_is_not_missed() -> None:
    changes = (
        PackageChange(name="a", from_version="1", to_version="2"),
        PackageChange(name="b", from_version="1", to_version="2"),
        PackageChange(name="gone", from_version="1", to_version=""),
        PackageChange(name="new", from_version="", to_version="1"),
        PackageChange(name="kernel", from_version="", to_version="3"),
        PackageChange(name="kernel", from_version="1", to_version=""),
    )
    installed = (("a", "1"), ("b", "2"), ("new", "1"), ("kernel", "2"), ("kernel", "3"))
    assert not_restored(changes, installed) == (
        "b 2, not 1",
        "gone absent, not 1",
        "new 1, not absent",
    )
    assert not_restored(changes[:2], (("a", "1"), ("b", "1"))) == ()
