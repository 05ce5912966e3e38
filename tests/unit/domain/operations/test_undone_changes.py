"""What an update planned and did not do."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.inventory.inventory import (
    Pending,
    PendingPackage,
    Withheld,
    diff_installed,
)
from tendhost.server.domain.operations.undone_changes import (
    LONGEST_LIST,
    UndoneChange,
    undone_changes,
    undone_message,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NONE = Pending(queried_at=NOW)


def package(name: str, **fields: object) -> PendingPackage:
    values = {"name": name, "from_version": "1", "to_version": "2"} | fields
    return PendingPackage(**values)  # type: ignore[arg-type]


def undone(
    planned: list[PendingPackage],
    before: dict[str, str],
    after: dict[str, str],
    *,
    removals: tuple[tuple[str, str], ...] = (),
    pending: Pending = NONE,
    exact: bool = False,
) -> tuple[UndoneChange, ...]:
    one, two = tuple(sorted(before.items())), tuple(sorted(after.items()))
    changes = diff_installed(one, two)
    return undone_changes(
        planned, removals, changes=changes, installed=two, pending=pending, exact=exact
    )


def test_change__that_did_not_happen_is_told_with_its_reason() -> None:
    held = Pending(packages=(package("a", withheld=Withheld.HELD),), queried_at=NOW)
    still = Pending(packages=(package("a"),), queried_at=NOW)
    expected = {
        held: "it is now withheld: held",
        still: "it is still pending: the package manager did not change it",
        NONE: "it is not pending any more",
        Pending(): "",
    }
    for pending, reason in expected.items():
        (found,) = undone([package("a")], {"a": "1"}, {"a": "1"}, pending=pending)
        assert found == UndoneChange(name="a", from_version="1", to_version="2", reason=reason)


def test_change__to_another_version_than_the_planned_one_has_happened() -> None:
    assert undone([package("a")], {"a": "1"}, {"a": "3"}) == ()


def test_change__of_a_package_that_was_replaced_by_another_one_has_happened() -> None:
    assert undone([package("a")], {"a": "1"}, {"b": "2"}) == ()


def test_removal__that_did_not_happen_is_told() -> None:
    (found,) = undone([], {"old": "1"}, {"old": "1"}, removals=(("old", "1"),))
    assert found == UndoneChange(name="old", from_version="1", to_version="")
    assert undone([], {"old": "1"}, {}, removals=(("old", "1"),)) == ()


def test_kernel__that_was_installed_beside_the_others_has_happened() -> None:
    before, after = (("kernel", "1"),), (("kernel", "1"), ("kernel", "2"))
    found = undone_changes(
        [package("kernel")],
        (),
        changes=diff_installed(before, after),
        installed=after,
        pending=NONE,
    )
    assert found == ()


def test_change__of_an_exact_plan_to_another_version_has_not_happened() -> None:
    (found,) = undone([package("a")], {"a": "1"}, {"a": "3"}, exact=True)
    assert found == UndoneChange(
        name="a", from_version="1", to_version="2", reason="3 is installed instead"
    )
    assert undone([package("a")], {"a": "1"}, {"a": "2"}, exact=True) == ()
    (gone,) = undone([package("a")], {"a": "1"}, {"b": "2"}, exact=True)
    assert gone.reason == "it is not installed"


def test_change__of_an_exact_plan_that_installs_a_package_newly_is_judged() -> None:
    new = package("new", from_version="")
    (found,) = undone([new], {"a": "1"}, {"a": "1"}, exact=True)
    assert undone_message((found,)) == "new (planned: 2; it is not installed)"
    assert undone([new], {"a": "1"}, {"a": "1"}) == ()
    assert undone([new], {"a": "1"}, {"a": "1", "new": "2"}, exact=True) == ()


def test_change__is_not_judged_where_no_package_could_be_read() -> None:
    for exact in (False, True):
        assert undone([package("a")], {"a": "1"}, {}, exact=exact) == ()


NAMES = st.sampled_from(["a", "b", "c:i386", "kernel"])
STATES = st.dictionaries(NAMES, st.sampled_from(["1", "2", "3"]))


@given(STATES, STATES, st.lists(st.builds(package, NAMES, withheld=st.sampled_from(Withheld))))
def test_changes__that_did_not_happen_are_those_that_left_the_database_as_it_was(
    before: dict[str, str], after: dict[str, str], planned: list[PendingPackage]
) -> None:
    found = undone(planned, before, after)
    wanted = {p.name for p in planned if p.withheld is Withheld.NO}
    same = {name for name in wanted if before.get(name) == after.get(name) == "1"}
    assert {change.name for change in found} == same


@given(STATES, STATES, st.lists(st.builds(package, NAMES, withheld=st.sampled_from(Withheld))))
def test_changes__of_an_exact_plan_that_did_not_happen_are_those_without_their_version(
    before: dict[str, str], after: dict[str, str], planned: list[PendingPackage]
) -> None:
    found = undone(planned, before, after, exact=True)
    wanted = {p.name for p in planned if p.withheld is Withheld.NO}
    lacking = {name for name in wanted if after and after.get(name) != "2"}
    assert {change.name for change in found} == lacking
    assert {change.name for change in undone(planned, before, after)} <= lacking


def test_message__names_the_first_and_counts_the_rest() -> None:
    many = tuple(
        UndoneChange(name=f"p{n}", from_version="1", to_version="2")
        for n in range(LONGEST_LIST + 3)
    )
    assert undone_message(many[:1]) == "p0 1 (planned: 2)"
    assert undone_message(many).endswith("p9 1 (planned: 2) and 3 more")
    removed = UndoneChange(name="old", from_version="1", to_version="", reason="why")
    assert undone_message((removed,)) == "old 1 (to be removed; why)"
