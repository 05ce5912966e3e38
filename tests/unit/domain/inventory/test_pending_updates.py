"""The pending updates of a fleet, by package, advisory and host."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.inventory.inventory import (
    Advisory,
    Pending,
    PendingPackage,
    Severity,
    Withheld,
)
from tendhost.server.domain.inventory.pending_updates import (
    PendingGrouping,
    PendingQuery,
    PendingView,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WORST = Advisory(id="A-1", security=True, severity=Severity.CRITICAL, cves=("CVE-2026-0001",))
MILD = Advisory(id="A-2", security=True, severity=Severity.LOW, cves=("CVE-2026-0002",))
BUG = Advisory(id="A-3", security=False)
G = PendingGrouping


def package(name: str, *advisories: Advisory, **fields) -> PendingPackage:
    security = fields.pop("security", any(advisory.security for advisory in advisories))
    return PendingPackage(
        name=name,
        from_version="1",
        to_version=fields.pop("to", "2"),
        security=security,
        advisories=advisories,
        **fields,
    )


FLEET = {
    "db1": Pending(packages=(package("openssl", WORST), package("bash", BUG)), queried_at=NOW),
    "db2": Pending(packages=(package("openssl", WORST, MILD),), queried_at=NOW),
    "web1": Pending(
        packages=(package("nginx", security=None), package("vim", withheld=Withheld.HELD)),
        queried_at=NOW,
    ),
    "new": None,
    "odd": Pending(),
}


def view(**query) -> PendingView:
    made = PendingView(PendingQuery(**query))
    for host, pending in FLEET.items():
        made.add(host, pending)
    return made


def test_packages_come_security_first_and_the_worst_and_widest_of_them_first():
    made = view()
    assert [entry.name for entry in made.entries()] == ["openssl", "nginx", "bash"]
    openssl, nginx, bash = made.entries()
    assert openssl.hosts == ("db1", "db2")
    assert openssl.cves == ("CVE-2026-0001", "CVE-2026-0002")
    assert openssl.severity is Severity.CRITICAL
    assert (openssl.security, nginx.security, bash.security) == (True, None, False)


def test_what_is_not_known_is_counted_apart_and_not_as_zero():
    made = view()
    assert made.hosts_unknown == 2
    assert made.hosts_security_unknown == 1


def test_the_hosts_that_lack_a_fix_are_found_in_one_question():
    (entry,) = view(group_by=G.ADVISORY, fixes=("CVE-2026-0002",)).entries()
    assert (entry.name, entry.hosts, entry.packages) == ("A-2", ("db2",), ("openssl",))
    (by_package,) = view(fixes=("A-2",)).entries()
    assert by_package.hosts == ("db2",)
    assert by_package.cves == ("CVE-2026-0002",)


def test_hosts_have_all_that_they_lack():
    entries = view(group_by=G.HOST, security_only=True).entries()
    assert [(entry.name, entry.packages) for entry in entries] == [
        ("db1", ("openssl",)),
        ("db2", ("openssl",)),
    ]


def test_versions_are_told_apart():
    made = PendingView(PendingQuery())
    made.add("a", Pending(packages=(package("p", to="2"),), queried_at=NOW))
    made.add("b", Pending(packages=(package("p", to="3"),), queried_at=NOW))
    assert [(entry.version, entry.hosts) for entry in made.entries()] == [
        ("2", ("a",)),
        ("3", ("b",)),
    ]


def test_what_an_update_leaves_alone_is_shown_where_that_is_asked_for():
    assert "vim" not in {entry.name for entry in view().entries()}
    assert "vim" in {entry.name for entry in view(withheld=True).entries()}


def test_packages_are_found_by_globs():
    assert [entry.name for entry in view(packages=("open*", "b?sh")).entries()] == [
        "openssl",
        "bash",
    ]


@given(
    st.sampled_from(G),
    st.booleans(),
    st.lists(st.sampled_from(["CVE-2026-0001", "A-3"]), max_size=1).map(tuple),
)
def test_every_entry_has_a_place_of_its_own_and_names_what_it_counts(grouping, security, fixes):
    entries = view(group_by=grouping, security_only=security, fixes=fixes).entries()
    places = [entry.place for entry in entries]
    assert places == sorted(set(places))
    for entry in entries:
        assert entry.hosts
        assert entry.packages
        assert not security or entry.security is True


def test_whoever_asks_who_lacks_a_fix_learns_of_whom_that_is_not_known():
    made = view(fixes=("CVE-2026-0001",))
    assert [host for entry in made.entries() for host in entry.hosts] == ["db1", "db2"]
    assert (
        made.hosts_fixes_unknown == 1
    )  # web1: nginx may be a security update, and fixes who knows what


def test_a_fix_that_is_held_is_lacked_all_the_same():
    made = PendingView(PendingQuery(fixes=("CVE-2026-0001",), group_by=G.HOST))
    held = package("openssl", WORST, withheld=Withheld.HELD)
    made.add("db9", Pending(packages=(held,), queried_at=NOW))
    assert [entry.name for entry in made.entries()] == ["db9"]


def test_what_a_policy_excludes_for_not_being_known_is_not_counted_as_none():
    unknown = package("nginx", security=None, withheld=Withheld.EXCLUDED)
    assert Pending(packages=(unknown,), queried_at=NOW).security_count is None
    bug = package("vim", security=False, withheld=Withheld.EXCLUDED)
    assert Pending(packages=(bug,), queried_at=NOW).security_count == 0
