"""The order of rpm's versions, and the kernels of SUSE's packages."""

import pytest

from tendhost.server.packages.zypper.versions import installed_kernels, version_key

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


@pytest.mark.parametrize(
    ("name", "version", "modules", "release"),
    [
        ("kernel-default", "6.4.0-150600.23.7.3", (), "6.4.0-150600.23.7-default"),
        ("kernel-default", "6.9.7-1.1", ("6.9.7-1-default",), "6.9.7-1-default"),
        (
            "kernel-default",
            "6.4.0-150600.21.2",
            ("6.4.0-150600.21-default", "6.4.0-150600.2-default", "6.4.0-150600.21-azure"),
            "6.4.0-150600.21-default",
        ),
        ("kernel-rt", "6.4.0-1", ("6.4.0-1-rt",), "6.4.0-1-rt"),
        (
            "kernel-default-base",
            "6.4.0-150600.23.7.3.150600.12.2.7",
            ("6.4.0-150600.23.7-default",),
            "6.4.0-150600.23.7-default",
        ),
    ],
)
def test_a_kernels_release_leaves_out_the_count_of_rebuilds(name, version, modules, release):
    assert installed_kernels([(name, version)], modules) == ((release, version),)


def test_what_only_belongs_to_a_kernel_is_none():
    names = ("kernel-firmware", "kernel-default-devel", "kernel-macros", "kernel-source")
    assert installed_kernels([(name, "1-1") for name in names], ()) == ()
