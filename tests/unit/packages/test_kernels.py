"""Kernels by the owners of their files: newer ones of the running kernel's kind, whatever their packages are called.

The files are those that the packages of the distributions hold: dpkg-deb -c, rpm -qlp. dpkg is asked for real, about a
database of the test; the answers of rpm are in the form of rpm 4.18.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tendhost.server.domain.inventory.inventory import Reboot, RebootNeed
from tendhost.server.packages.kernels import (
    KERNEL_OWNERS,
    KernelOwners,
    belongs_to_kernel,
    parse_kernel_owners,
)
from tendhost.server.packages.reboot import KernelStatus, RebootEvidence, decide_reboot
from tendhost.server.packages.script import framed_script, parse_parts
from tests.tools import SHELLS, needs

NEEDED, NOT_NEEDED, UNKNOWN = RebootNeed.NEEDED, RebootNeed.NOT_NEEDED, RebootNeed.UNKNOWN


def image(package: str, release: str) -> str:
    return f"{package}: /boot/vmlinuz-{release}"


def owners(*lines: str, running: str = "") -> KernelOwners:
    here = (f"modules of {running}",) if running else ()
    script = "cat <<'END'\n" + "\n".join((*here, *lines)) + "\nEND"
    done = subprocess.run(
        ["sh", "-c", framed_script(f"f() {{ {script}\n}}", "part kernel_owners f")],
        capture_output=True,
        check=True,
    )
    found = parse_kernel_owners(parse_parts(done.stdout, expected=())["kernel_owners"])
    assert found is not None
    return found


def decided(running: str, *lines: str, **evidence: object) -> Reboot:
    known = RebootEvidence(
        required=False, running=running, kernels=(), owners=owners(*lines, running=running)
    )
    return decide_reboot(replace(known, **evidence))  # type: ignore[arg-type]


SUCCESSORS = {
    "debian": ("linux-image-{}", "6.1.0-17-amd64", "6.1.0-18-amd64"),
    "debian cloud": ("linux-image-{}", "6.1.0-17-cloud-amd64", "6.1.0-18-cloud-amd64"),
    "debian backports": ("linux-image-{}", "6.1.0-0.deb11.17-amd64", "6.10.6+bpo-amd64"),
    "debian 13": ("linux-image-{}", "6.12.9+deb13-amd64", "6.12.41+deb13-amd64"),
    "debian unsigned": ("linux-image-{}-unsigned", "6.1.0-9-arm64", "6.1.0-18-arm64"),
    "ubuntu": ("linux-image-{}", "6.8.0-45-generic", "6.8.0-100-generic"),
    "ubuntu hwe": ("linux-image-unsigned-{}", "5.15.0-119-generic", "6.8.0-45-generic"),
    "ubuntu oem": ("linux-image-{}", "6.8.0-1009-oem", "6.11.0-1010-oem"),
    "ubuntu aws": ("linux-image-{}", "6.8.0-1009-aws", "6.8.0-1016-aws"),
    "proxmox": ("proxmox-kernel-{}-signed", "6.8.12-8-pve", "6.8.12-10-pve"),
    "proxmox opt-in": ("proxmox-kernel-{}-signed", "6.8.12-8-pve", "6.11.0-2-pve"),
    "liquorix": ("linux-image-{}", "6.7.12-2-liquorix-amd64", "6.8-1-liquorix-amd64"),
    "xanmod": ("linux-image-{}", "6.8.9-x64v3-xanmod1", "6.8.10-x64v3-xanmod2"),
    "raspberry pi": ("linux-image-{}", "6.6.31+rpt-rpi-v8", "6.6.51+rpt-rpi-v8"),
    "armbian": ("linux-image-{}", "6.6.31-current-rockchip64", "6.6.62-current-rockchip64"),
    "amazon linux": (
        "kernel",
        "6.1.130-139.222.amzn2023.x86_64",
        "6.1.131-143.221.amzn2023.x86_64",
    ),
    "amazon linux 6.12": (
        "kernel6.12",
        "6.12.20-23.97.amzn2023.x86_64",
        "6.12.22-27.96.amzn2023.x86_64",
    ),
    "rhel": ("kernel-core", "5.14.0-427.el9.x86_64", "5.14.0-427.13.1.el9_4.x86_64"),
    "rhel real-time": ("kernel-rt-core", "5.14.0-427.el9.x86_64+rt", "5.14.0-503.el9.x86_64+rt"),
    "rhel 64k": ("kernel-64k-core", "5.14.0-427.el9.aarch64+64k", "5.14.0-503.el9.aarch64+64k"),
    "rhel 7": ("kernel", "3.10.0-1127.el7.x86_64", "3.10.0-1160.el7.x86_64"),
    "fedora": ("kernel-core", "6.9.12-200.fc40.x86_64", "6.10.3-200.fc40.x86_64"),
    "elrepo ml": ("kernel-ml-core", "6.9.9-1.el9.elrepo.x86_64", "6.10.1-1.el9.elrepo.x86_64"),
    "elrepo lt": ("kernel-lt", "5.4.9-1.el7.elrepo.x86_64", "5.4.10-1.el7.elrepo.x86_64"),
    "uek": ("kernel-uek-core", "5.15.0-200.el9uek.x86_64", "5.15.0-300.el9uek.x86_64"),
    "suse": ("kernel-default", "6.4.0-150600.21-default", "6.4.0-150600.23.7-default"),
    "suse base": ("kernel-default-base", "6.4.0-150600.21-default", "6.4.0-150600.23.7-default"),
}


@pytest.mark.parametrize(("package", "old", "new"), SUCCESSORS.values(), ids=SUCCESSORS)
def test_kernel__that_is_newer_and_of_the_running_ones_kind_needs_a_reboot(
    package: str, old: str, new: str
) -> None:
    both = (image(package.format(old), old), image(package.format(new), new))
    assert decided(old, *both) == Reboot(need=NEEDED, reason=f"running {old}, installed {new}")
    assert decided(new, *both).need is NOT_NEEDED
    assert decided(old, both[0]).need is NOT_NEEDED
    # The family's own tool knows a list of names; that of another family is not asked.
    says_no = Reboot(need=NOT_NEEDED)
    assert decided(old, *both, family=says_no).need is NEEDED
    assert decided(new, *both, family=says_no).need is NOT_NEEDED


@pytest.mark.parametrize(
    ("package", "running", "others", "other"),
    [
        ("linux-image-{}", "6.1.0-17-amd64", "linux-image-{}", "6.1.0-18-rt-amd64"),
        ("linux-image-{}", "6.8.0-45-generic", "linux-image-{}", "6.8.0-46-lowlatency"),
        ("linux-image-{}", "6.6.31+rpt-rpi-v8", "linux-image-{}", "6.6.51+rpt-rpi-2712"),
        ("kernel", "6.1.130-1.amzn2023.x86_64", "kernel6.12", "6.12.20-1.amzn2023.x86_64"),
        ("kernel-core", "5.14.0-427.el9.x86_64", "kernel-ml-core", "6.10.1-1.el9.elrepo.x86_64"),
        ("kernel-core", "5.14.0-427.el9.x86_64", "kernel-rt-core", "5.14.0-503.el9.x86_64+rt"),
        ("kernel-core", "5.14.0-1.el9.x86_64", "kernel-debug-core", "5.14.0-2.el9.x86_64+debug"),
        ("kernel-core", "5.14.0-427.el9.x86_64", "kernel-uek-core", "5.15.0-200.el9uek.x86_64"),
        ("kernel-default", "6.4.0-21-default", "kernel-azure", "6.4.0-23-azure"),
    ],
)
def test_kernel__of_another_kind_is_no_reason_to_reboot(
    package: str, running: str, others: str, other: str
) -> None:
    lines = image(package.format(running), running), image(others.format(other), other)
    assert decided(running, *lines).need is NOT_NEEDED


def test_kernel__of_a_package_that_was_renamed_is_of_the_same_kind() -> None:
    old, new = "6.2.16-20-pve", "6.5.11-7-pve"
    lines = (image(f"pve-kernel-{old}", old), image(f"proxmox-kernel-{new}-signed", new))
    assert decided(old, *lines).need is NEEDED
    old, new = "5.4.17-2136.el8uek.x86_64", "5.15.0-200.el8uek.x86_64"
    assert decided(old, image("kernel-uek", old), image("kernel-uek-core", new)).need is NEEDED


def test_kernel__that_was_upgraded_in_place_and_left_no_file_needs_a_reboot() -> None:
    """raspberrypi-kernel: kernel8.img has no release in its name, and one package has four flavours."""
    lines = [
        f"raspberrypi-kernel: /lib/modules/6.1.54{flavour}/modules.builtin"
        for flavour in ("+", "-v7+", "-v7l+", "-v8+")
    ]
    assert decided("6.1.21-v8+", *lines).reason == "running 6.1.21-v8+, installed 6.1.54-v8+"
    assert decided("6.1.54-v7+", *lines).need is NOT_NEEDED
    assert decided("6.1.54+", *lines).need is NOT_NEEDED


def test_kernel__whose_image_was_removed_is_none_though_its_modules_are_there() -> None:
    old, new = "6.8.0-45-generic", "6.8.0-46-generic"
    lines = (
        image(f"linux-image-{old}", old),
        f"linux-modules-{new}: /lib/modules/{new}/modules.order",
    )
    assert decided(old, *lines).need is NOT_NEEDED


def test_kernel__that_nobody_owns_is_unknown() -> None:
    other = image("linux-image-6.1.0-17-amd64", "6.1.0-17-amd64")
    says_no = Reboot(need=NOT_NEEDED)
    for family in (None, says_no):
        built = decided("6.9.1-mine", family=family)
        assert (built.need, built.reason) == (UNKNOWN, "running 6.9.1-mine, which no package owns")
        assert decided("6.9.1-mine", other, family=family).need is UNKNOWN
    # Without modules either, the machine around the host provides it.
    outside = RebootEvidence(required=False, running="6.9.1", kernels=(), owners=owners())
    assert decide_reboot(outside).need is NOT_NEEDED


def test_kernel__of_debian_that_was_rebuilt_under_its_release_needs_a_reboot() -> None:
    release = "6.1.0-17-amd64"
    line, build = image(f"linux-image-{release}", release), "#1 SMP Debian 6.1.69-1 (2023-12-30)"
    for version, need in (("6.1.69-1", NOT_NEEDED), ("6.1.76-1", NEEDED)):
        assert decided(release, line, build=build, kernels=((release, version),)).need is need


def test_kernel__of_which_no_owner_was_told_is_known_by_its_package() -> None:
    assert parse_kernel_owners(None) is None
    by_name = (("6.1.0-17-amd64", "1"), ("6.1.0-18-amd64", "1"))
    evidence = RebootEvidence(required=False, running="6.1.0-17-amd64", kernels=by_name)
    assert decide_reboot(evidence).need is NEEDED


@pytest.mark.parametrize(
    "name",
    [
        *(package.format(new) for package, _, new in SUCCESSORS.values()),
        *(
            "kernel",
            "kernel.i686",
            "kernel-core",
            "kernel-PAE",
            "kernel-debug-core",
            "kernel-rt-core",
        ),
        *("kernel-modules", "kernel-modules-core", "kernel-modules-extra", "kernel-uki-virt"),
        *(
            "kernel-devel",
            "kernel-default-base",
            "kernel-source",
            "kernel-ml-modules",
            "kernel6.12",
        ),
        *("linux-modules-6.8.0-45-generic", "linux-modules-extra-6.8.0-45-generic"),
        *("pve-kernel-5.15.30-2-pve", "proxmox-kernel-6.8", "raspberrypi-kernel"),
        *("linux", "linux-lts", "linux-zen", "linux-hardened", "linux-virt", "linux-rpi4"),
    ],
)
def test_package__of_a_kernel_is_known_by_its_name(name: str) -> None:
    assert belongs_to_kernel(name)


@pytest.mark.parametrize(
    "name",
    [
        *("kernel-headers", "kernel-tools", "kernel-tools-libs", "kernel-doc", "kernel-docs-html"),
        *("kernel-firmware", "kernel-firmware-all", "kernel-macros", "kernel-srpm-macros"),
        *("kernel-livepatch-6_4_0-21-default", "kernel-ml-tools", "kernel-abi-stablelists"),
        *("kernel-install", "kernelshark", "kernel6.12-headers", "kernel-rt-doc", "akernel"),
        *("linux-headers-6.1.0-18-amd64", "linux-firmware", "linux-libc-dev", "linux-base"),
        *(
            "linux-tools-6.8.0-45",
            "linux-doc",
            "linux-api-headers",
            "linux-atm",
            "linux-lts-headers",
        ),
        *("linux-image-6.1.0-18-amd64-dbg", "raspberrypi-kernel-headers", "proxmox-kernel-helper"),
    ],
)
def test_package__that_only_has_the_name_of_kernels_is_none(name: str) -> None:
    assert not belongs_to_kernel(name)


NONE_OWNED = KernelOwners(kernels=(), running_has_modules=False)


@pytest.mark.parametrize("family", [None, Reboot(need=NOT_NEEDED)])
@pytest.mark.parametrize("by_name", [(), (("6.1.0-17-amd64", "1"),)])
@pytest.mark.parametrize("status", [None, KernelStatus.CURRENT])
def test_kernels__whose_owners_could_not_be_asked_are_unknown(
    by_name: tuple[tuple[str, str], ...], family: Reboot | None, status: KernelStatus | None
) -> None:
    evidence = RebootEvidence(
        required=False,
        running="6.1.0-17-amd64",
        kernels=by_name,
        family=family,
        kernel_status=status,
        owners=NONE_OWNED,
    )
    assert decide_reboot(evidence).need is NOT_NEEDED
    unasked = decide_reboot(replace(evidence, owners=None))
    assert (unasked.need, "own the kernels" in unasked.reason) == (UNKNOWN, True)
    # What is needed by other evidence is needed all the same, and a container's kernel is not its own.
    assert decide_reboot(replace(evidence, owners=None, required=True)).need is NEEDED
    assert decide_reboot(replace(evidence, owners=None, container=True)).need is NOT_NEEDED


# --- real tools -----------------------------------------------------------------------------------


def run(
    shell: Sequence[str], root: Path, manager: str, programs: Mapping[str, str], running: str
) -> KernelOwners | None:
    bin = root / "bin"
    bin.mkdir()
    for name, text in {"uname": f"echo {running}", **programs}.items():
        (bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin / name).chmod(0o755)
    script = framed_script(f"manager={manager} contained=none", KERNEL_OWNERS)
    if manager != "apt-get":
        script = script.replace("/lib/modules", f"{root}/lib/modules").replace(
            "/boot/", f"{root}/boot/"
        )
    environment = {"PATH": f"{bin}:{os.environ['PATH']}", "DPKG_ADMINDIR": str(root)}
    done = subprocess.run([*shell, "-c", script], capture_output=True, check=True, env=environment)
    return parse_kernel_owners(
        parse_parts(done.stdout.replace(str(root).encode(), b""), expected=())["kernel_owners"]
    )


@needs("dpkg-query")
@pytest.mark.parametrize("shell", SHELLS)
def test_owners__as_dpkg_tells_them(shell: tuple[str, ...], tmp_path: Path) -> None:
    files = {
        "proxmox-kernel-6.8.12-8-pve-signed": [
            "/boot/vmlinuz-6.8.12-8-pve",
            "/boot/config-6.8.12-8-pve",
            "/boot/System.map-6.8.12-8-pve",
            "/lib/modules/6.8.12-8-pve/modules.builtin",
        ],
        "linux-image-6.12.41+deb13-arm64": [
            "/usr/lib/modules/6.12.41+deb13-arm64/modules.order",
            "/boot/vmlinuz-6.12.41+deb13-arm64",
        ],
        "linux-headers-6.8.12-8-pve": ["/lib/modules/6.8.12-8-pve/build"],
        "memtest86+": ["/boot/memtest86+x64.efi"],
    }  # fmt: skip
    (tmp_path / "info").mkdir()
    (tmp_path / "info/format").write_text("1\n")
    status = ""
    for package, owned in files.items():
        (tmp_path / f"info/{package}.list").write_text("/.\n" + "".join(f"{f}\n" for f in owned))
        status += (
            f"Package: {package}\nStatus: install ok installed\nArchitecture: amd64\n"
            "Version: 1\nMaintainer: a <a@example.org>\nDescription: a kernel\n\n"
        )
    (tmp_path / "status").write_text(status)
    found = run(shell, tmp_path, "apt-get", {}, "6.8.12-8-pve")
    assert found is not None
    assert [(k.release, k.package) for k in found.kernels] == [
        ("6.12.41+deb13-arm64", "linux-image-6.12.41+deb13-arm64"),
        ("6.8.12-8-pve", "proxmox-kernel-6.8.12-8-pve-signed"),
    ]


@pytest.mark.parametrize("shell", SHELLS)
def test_owners__as_rpm_tells_them(shell: tuple[str, ...], tmp_path: Path) -> None:
    releases = {
        "6.12.20-23.97.amzn2023.x86_64": "kernel6.12",
        "5.14.0-427.el9.x86_64+rt": "kernel-rt-core",
        "6.9.1-mine": "",
    }
    for release in releases:
        (tmp_path / "lib/modules" / release).mkdir(parents=True)
        (tmp_path / "lib/modules" / release / "vmlinuz").touch()
    answers = "".join(
        f"*/{release}/vmlinuz) echo {package} ;;\n"
        for release, package in releases.items()
        if package
    )
    nobody = 'echo "file $file is not owned by any package"; exit 1'
    rpm = f"for file; do :; done\ncase $file in\n{answers}*) {nobody} ;;\nesac"
    found = run(shell, tmp_path, "dnf", {"rpm": rpm}, "6.9.1-mine")
    assert found is not None
    assert found.running_has_modules
    assert [(k.release, k.package) for k in found.kernels] == [
        ("5.14.0-427.el9.x86_64+rt", "kernel-rt-core"),
        ("6.12.20-23.97.amzn2023.x86_64", "kernel6.12"),
    ]
