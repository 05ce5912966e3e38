"""The kernels among SUSE's packages."""

import pytest

from tendhost.server.packages.zypper.kernels import installed_kernels


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
