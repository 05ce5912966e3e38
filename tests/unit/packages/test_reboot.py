"""The need of a reboot: three answers, each with its reason."""

from dataclasses import replace
from itertools import pairwise

import pytest

from tendhost.server.domain.inventory.inventory import Reboot, RebootNeed
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.kernels import KernelOwners
from tendhost.server.packages.reboot import (
    KernelStatus,
    RebootEvidence,
    decide_reboot,
    installed_kernels,
    parse_needrestart,
    parse_reboot_required,
)
from tendhost.server.packages.script import Part
from tests.unit.packages.recordings import query, recorded

OLD, NEW = "6.1.0-9-amd64", "6.1.0-18-amd64"
CURRENT = RebootEvidence(
    required=False,
    running=NEW,
    build="#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)",
    kernels=((OLD, "6.1.27-1"), (NEW, "6.1.76-1")),
    owners=KernelOwners(kernels=(), running_has_modules=False),
)


def decided(**changes: object) -> Reboot:
    return decide_reboot(replace(CURRENT, **changes))  # type: ignore[arg-type]


def test_the_newest_kernel_needs_no_reboot() -> None:
    assert decide_reboot(CURRENT) == Reboot(need=RebootNeed.NOT_NEEDED)


@pytest.mark.parametrize(
    ("asking", "reason"),
    [
        ((), "/run/reboot-required exists"),
        (("dbus",), "dbus asks for it"),
        (("dbus", "libc6"), "dbus, libc6 ask for it"),
    ],
)
@pytest.mark.parametrize("container", [True, False])
def test_packages_that_ask_are_named(asking: tuple[str, ...], reason: str, container: bool) -> None:
    reboot = decided(required=True, asking=asking, container=container)
    assert reboot == Reboot(need=RebootNeed.NEEDED, reason=reason)


def test_an_older_running_kernel_needs_a_reboot() -> None:
    reboot = decided(running=OLD)
    assert reboot == Reboot(need=RebootNeed.NEEDED, reason=f"running {OLD}, installed {NEW}")


def test_ubuntus_new_kernel_needs_a_reboot_by_its_package_alone() -> None:
    installed = query("ubuntu24.04/query-after").inventory.installed
    reboot = decided(
        running="6.8.0-31-generic",
        build="#31-Ubuntu SMP PREEMPT_DYNAMIC Sat Apr 20 00:40:06 UTC 2024",
        kernels=installed_kernels(installed),
    )
    assert reboot.reason == "running 6.8.0-31-generic, installed 6.8.0-151-generic"


def test_a_kernel_upgraded_in_place_needs_a_reboot() -> None:
    # Debian's security updates often keep the release and change the package's version only.
    reboot = decided(kernels=((NEW, "6.1.85-1"),))
    assert reboot.reason == f"running {NEW} 6.1.76-1, installed 6.1.85-1"


def test_a_container_runs_a_kernel_that_is_not_its_own() -> None:
    assert decided(running=OLD, container=True).need is RebootNeed.NOT_NEEDED


def test_another_flavour_is_no_newer_kernel() -> None:
    reboot = decided(running=OLD, kernels=((OLD, "1"), ("6.1.0-18-rt-amd64", "1")), build="")
    assert reboot.need is RebootNeed.NOT_NEEDED


def test_a_host_without_kernel_packages_needs_no_reboot() -> None:
    assert decided(running="6.18.44", kernels=()).need is RebootNeed.NOT_NEEDED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"required": None}, "could not be read"),
        ({"kernels": None}, "could not be read"),
        ({"running": ""}, "could not be read"),
        ({"running": "6.18.44"}, "of no installed kernel's kind"),
        ({"running": "6.1.0-20-amd64"}, "newer than any installed kernel"),
        ({"running": OLD, "kernel_status": KernelStatus.CURRENT}, "needrestart sees no newer"),
        (
            {"kernel_status": KernelStatus.VERSION_UPGRADE, "expected": "6.9.1-custom"},
            "needrestart expects 6.9.1-custom",
        ),
    ],
)
def test_what_cannot_be_read_or_makes_no_sense_is_unknown(
    changes: dict[str, object], words: str
) -> None:
    reboot = decided(**changes)
    assert reboot.need is RebootNeed.UNKNOWN
    assert words in reboot.reason


def test_needrestart_knows_kernels_that_dpkg_does_not() -> None:
    status = KernelStatus.VERSION_UPGRADE
    newer = decided(kernel_status=status, expected="6.1.0-20-amd64")
    assert newer.reason == f"running {NEW}, installed 6.1.0-20-amd64"
    rebuilt = decided(kernel_status=KernelStatus.ABI_COMPATIBLE_UPGRADE, expected=NEW)
    assert rebuilt.reason == f"running {NEW}, rebuilt since"
    assert decided(kernel_status=KernelStatus.CURRENT).need is RebootNeed.NOT_NEEDED
    assert decided(running=OLD, kernel_status=status).reason == f"running {OLD}, installed {NEW}"


@pytest.mark.parametrize(
    ("older", "newer"),
    list(
        pairwise(
            [
                "6.1.0~-amd64",
                "6.1.0~rc7-amd64",
                "6.1.0-0~1-amd64",
                "6.1.0-0-amd64",
                "6.1.0-0.deb11.21-amd64",
                "6.1.0-9-amd64",
                "6.1.0-18-amd64",
                "6.1.0-100-amd64",
                "6.12.38+deb13-amd64",
            ]
        )
    ),
)
def test_kernel_releases_are_ordered_as_dpkg_orders_versions(older: str, newer: str) -> None:
    kernels = ((older, "1"), (newer, "1"))
    assert decided(running=older, kernels=kernels, build="").need is RebootNeed.NEEDED
    assert decided(running=newer, kernels=kernels, build="").need is RebootNeed.NOT_NEEDED


def test_only_images_are_kernels() -> None:
    packages = [
        ("linux-image-6.1.0-18-amd64", "6.1.76-1"),
        ("linux-image-6.1.0-19-amd64-unsigned", "6.1.82-1"),
        ("linux-image-unsigned-6.8.0-31-generic", "6.8.0-31.31"),
        ("linux-image-6.1.0-18-amd64-dbg", "6.1.76-1"),
        ("linux-image-amd64", "6.1.76-1"),
        ("linux-headers-6.1.0-18-amd64", "6.1.76-1"),
    ]
    assert [release for release, _ in installed_kernels(packages)] == [
        "6.1.0-18-amd64",
        "6.1.0-19-amd64",
        "6.8.0-31-generic",
    ]


def test_the_recorded_needrestart_is_understood() -> None:
    assert parse_needrestart(recorded("debian12/query-needrestart").decode()) == (
        KernelStatus.VERSION_UPGRADE,
        "6.1.0-56-cloud-amd64",
    )


@pytest.mark.parametrize("text", ["", "NEEDRESTART-KSTA: 0\n", "NEEDRESTART-KSTA: x\n"])
def test_a_needrestart_that_does_not_know_is_no_answer(text: str) -> None:
    assert parse_needrestart(text) == (None, "")


def test_the_file_is_there_is_not_or_could_not_be_read() -> None:
    assert parse_reboot_required(Part(0, "no", "")) == (False, ())
    assert parse_reboot_required(Part(0, "yes\ndbus\nlibc6", "")) == (True, ("dbus", "libc6"))
    assert parse_reboot_required(Part(2, "", "sh: cannot fork")) == (None, ())
    with pytest.raises(ParseFailed):
        parse_reboot_required(Part(0, "maybe", ""))


@pytest.mark.parametrize(
    ("running", "other"),
    [
        ("4.18.0-553.el8_10.x86_64", "5.15.0-206.153.7.el8uek.x86_64"),
        ("5.14.0-427.el9.x86_64", "5.14.0-503.rt21.el9.x86_64"),
        ("6.12.0-1.el10.x86_64", "6.12.0-55.el10.x86_64+rt"),
        ("6.8.5-301.fc40.x86_64", "6.11.4-301.fc40.x86_64+debug"),
    ],
)
def test_another_flavour_of_an_rpm_kernel_is_no_reason_to_reboot(running: str, other: str) -> None:
    family = Reboot(need=RebootNeed.NOT_NEEDED)
    kernels = ((running, "1"), (other, "2"))
    assert decided(running=running, build="", kernels=kernels, family=family) == family
