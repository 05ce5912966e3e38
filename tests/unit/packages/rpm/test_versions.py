"""The order of rpm's versions, and the newest of several."""

from itertools import permutations
from pathlib import Path

import pytest

from tendhost.server.packages.rpm.database import parse_rpms
from tendhost.server.packages.rpm.versions import newest_versions, version_key
from tendhost.server.packages.script import Part

# By rpm's own tests of rpmvercmp.
ORDERED = [
    ("1.0", "2.0"),
    ("2.0", "2.0.1"),
    ("2.0", "2.0a"),
    ("5.5p1", "5.5p2"),
    ("5.5p1", "5.5p10"),
    ("10xyz", "10.1xyz"),
    ("xyz10", "xyz10.1"),
    ("xyz.4", "8"),
    ("xyz.4", "2"),
    ("5.6p1", "6.5p1"),
    ("8", "10"),
    ("20101121", "20101122"),
    ("1.0~rc1", "1.0"),
    ("1.0~rc1", "1.0~rc2"),
    ("1.0~rc1~git123", "1.0~rc1"),
    ("1.0", "1.0^"),
    ("1.0^git1", "1.0^git2"),
    ("1.0^git1", "1.01"),
    ("1.0^20160101", "1.0.1"),
    ("1.0~rc1", "1.0~rc1^git1"),
    ("9", "1:1"),
    ("1-1", "1-2"),
    ("1-9", "1.1-1"),
]


@pytest.mark.parametrize(("less", "more"), ORDERED)
def test_versions_are_ordered_as_rpm_orders_them(less, more):
    assert version_key(less) < version_key(more)


@pytest.mark.parametrize(
    ("one", "other"), [("2.0", "2_0"), ("1.05", "1.5"), ("a.b", "ab"), ("0:1-1", "1-1")]
)
def test_versions_may_be_equal_to_rpm_without_being_the_same(one, other):
    same = one != "a.b"
    assert (version_key(one) == version_key(other)) is same


def test_versions_compare_as_rpm_itself_compared_them():
    recorded = Path(__file__).parent / "recorded" / "vercmp.tsv"
    rows = [line.split("\t") for line in recorded.read_text().splitlines()]
    assert len(rows) == 400
    for one, other, order in rows:
        less, more = version_key(f"{one}-1"), version_key(f"{other}-1")
        assert (less > more) - (less < more) == int(order), (one, other)


@pytest.mark.parametrize("order", [*permutations(("6.8.9-1", "6.8.10-1", "6.8.11-1"))])
def test_the_newest_of_several_versions_is_told_in_whatever_order_they_are_listed(order):
    packages = [("bash", "5.2-1"), *(("kernel-core", version) for version in order)]
    assert newest_versions(packages) == {"bash": "5.2-1", "kernel-core": "6.8.11-1"}


def test_the_installed_packages_are_listed_in_the_order_of_their_versions():
    rows = "".join(
        f"{name}\t(none)\t{version}\tnoarch\n"
        for name, version in (("k", "6.8.9-1"), ("k", "6.8.10-1"), ("a", "10-1"), ("a", "9~rc1-1"))
    )
    installed = parse_rpms(Part(0, f"x86_64\n{rows}", ""))
    assert installed.packages == (
        ("a", "9~rc1-1"),
        ("a", "10-1"),
        ("k", "6.8.9-1"),
        ("k", "6.8.10-1"),
    )
