"""Which package manager a host uses, by what it says of itself and what is installed."""

import subprocess
from pathlib import Path

import pytest

from tendhost.server.packages.detection import detection_lines, package_manager, parse_detection
from tendhost.server.packages.facts import parse_facts
from tendhost.server.packages.script import framed_script, parse_parts
from tests.unit.packages.recordings import recorded

FACTS = parse_parts(recorded("debian12/preflight"), expected=())


def choose(tmp_path: Path, release: str, *commands: str) -> tuple[str, str]:
    """The name of the package manager chosen, and why."""
    for command in commands:
        path = tmp_path / command
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    for tool in ("sed", "tr"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    script = framed_script(
        "PATH=$TOOLS", "part os_release printenv RELEASE; release=$RELEASE", detection_lines()
    ).replace("printenv RELEASE", 'printf %s "$RELEASE"')
    output = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"TOOLS": str(tmp_path), "RELEASE": release},
        capture_output=True,
        check=True,
    ).stdout
    parts = {**FACTS, **parse_parts(output, expected=("manager",))}
    choice = parse_detection(parts, parse_facts(parts))
    return choice.manager.name if choice.manager else "", choice.why


def test_a_debian_host_uses_apt(tmp_path: Path) -> None:
    name, why = choose(tmp_path, "ID=debian", "apt-get")
    assert name == "apt"
    assert why == "package manager apt: os-release names debian, and apt-get is there"


def test_a_descendant_uses_what_its_ancestor_uses(tmp_path: Path) -> None:
    name, why = choose(tmp_path, 'NAME=Mint\nID_LIKE="ubuntu debian"\nID=linuxmint', "apt-get")
    assert name == "apt"
    assert "os-release names ubuntu" in why


@pytest.mark.parametrize(
    ("release", "commands", "name"),
    [
        ('ID="opensuse-slowroll"\nID_LIKE="opensuse suse"', ("zypper", "apt-get"), "zypper"),
        ("ID=opensuse-slowroll", ("zypper", "dnf"), "zypper"),
        (
            'ID="opensuse-microos"\nID_LIKE="suse opensuse opensuse-tumbleweed"',
            ("zypper", "dnf"),
            "zypper",
        ),
        ('ID="gecko"\nID_LIKE="opensuse-tumbleweed suse"', ("zypper", "dnf"), "zypper"),
        ('ID="sles_sap"\nID_LIKE="suse"', ("zypper", "apt-get"), "zypper"),
        ('ID="nobara"\nID_LIKE="rhel centos fedora"', ("dnf", "apt-get"), "dnf"),
        ('ID="xenenterprise"\nID_LIKE="centos rhel fedora"', ("yum", "apt-get"), "yum"),
        ('ID="raspbian"\nID_LIKE="debian"', ("apt-get", "dnf"), "apt"),
    ],
)
def test_derivatives_use_the_package_manager_of_what_they_are_like(
    tmp_path: Path, release: str, commands: tuple[str, ...], name: str
) -> None:
    assert choose(tmp_path, release, *commands)[0] == name


def test_an_unknown_system_uses_what_is_there(tmp_path: Path) -> None:
    name, why = choose(tmp_path, "ID=own", "apt-get")
    assert name == "apt"
    assert why == "package manager apt: os-release names own, and apt-get is there"


@pytest.mark.parametrize("release", ["", "ID=nixos", "ID='; exit 3'", "ID=$(exit 3)"])
def test_a_host_without_a_known_package_manager_says_so(tmp_path: Path, release: str) -> None:
    name, why = choose(tmp_path, release)
    assert name == ""
    assert why == "no package manager that tendhost knows is there"


def test_package_managers_are_found_by_their_name() -> None:
    apt = package_manager("apt")
    assert apt is not None
    assert apt.command == "apt-get"
    assert package_manager("nix") is None
