"""The collector's script in every shell that a host may have as sh, for real on the machine at hand."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tendhost.server.domain.inventory.hardware import InventoryPart
from tendhost.server.packages.collector import collector_lines, parse_collected
from tendhost.server.packages.facts import FACTS
from tendhost.server.packages.script import framed_script, parse_parts
from tests.tools import SHELLS

SCRIPT = framed_script(FACTS, collector_lines(tuple(InventoryPart)))


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return list(request.param)


def test_the_script_is_well_formed(shell: list[str]) -> None:
    checked = subprocess.run([*shell, "-n", "-c", SCRIPT], check=True, capture_output=True)
    assert checked.stderr == b""


def test_a_plain_user_learns_what_this_machine_has(shell: list[str]) -> None:
    ran = subprocess.run(
        [*shell, "-c", SCRIPT],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
        user=65534 if os.getuid() == 0 else None,
        cwd="/",
    )
    assert ran.stderr == b""
    parts = parse_parts(ran.stdout, expected=())
    found = parse_collected(parts, tuple(InventoryPart))
    assert found.machine is not None
    assert found.machine.hostname == socket.gethostname()
    assert found.cpu is not None
    assert found.cpu.threads == os.cpu_count()
    assert found.memory is not None
    assert found.memory.total_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert found.mounts is not None
    root = os.statvfs("/")
    assert {mount.path: mount.size_bytes for mount in found.mounts}["/"] == (
        root.f_blocks * root.f_frsize
    )
    assert found.interfaces is not None
    assert [one.addresses[:1] for one in found.interfaces if one.name == "lo"] == [("127.0.0.1",)]


def test_options_of_mounts_stay_on_the_host(shell: list[str], tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw,relatime 0 1\n"
        "https://me:hunter2@a.example/x /srv/with\\040blank fuse rw,username=me,password=hunter2 0 0\n"
    )
    script = framed_script(
        collector_lines([InventoryPart.MOUNTS]).replace("/proc/mounts", str(mounts))
    )
    ran = subprocess.run([*shell, "-c", script], capture_output=True, check=True)
    parts = parse_parts(ran.stdout, expected=("mounted",))
    assert parts["mounted"].stdout == (
        "/dev/sda1 / ext4 - 0 1\nhttps://a.example/x /srv/with\\040blank fuse - 0 0"
    )
