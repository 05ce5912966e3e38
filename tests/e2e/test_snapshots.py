"""Snapshots of a root file system that is a real btrfs, on a loop device, under the tools of this machine."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tendhost.server.packages.snapshots import KEPT, parse_snapshot, snapshot_command

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.needs("btrfs", "mkfs.btrfs"),
    pytest.mark.may_skip,
    pytest.mark.skipif(os.geteuid() != 0, reason="to mount a file system needs root"),
    pytest.mark.skipif(
        "btrfs" not in Path("/proc/filesystems").read_text(), reason="this kernel has no btrfs"
    ),
]

IMAGE_MIB = 256
BOUND = ("usr", "proc", "dev", "etc")
LINKS = ("bin", "sbin", "lib", "lib64")


def run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


class Root:
    """A root file system, and what a script finds out under it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def snapshot(self, operation: str) -> str:
        """The snapshot that the script of an operation makes, or finds made."""
        script = snapshot_command(operation).change_script
        command = ("chroot", str(self.path), "/bin/sh", "-c", script)
        made = parse_snapshot(subprocess.run(command, check=True, capture_output=True).stdout)
        assert made.offered, made.problem
        return made.snapshot


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """A btrfs that is a root, with the programs of this machine bound into it."""
    image, mounted = tmp_path / "disk", tmp_path / "root"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(IMAGE_MIB * 1024 * 1024)
    run("mkfs.btrfs", "--quiet", str(image))
    run("mount", "-o", "loop", str(image), str(mounted))
    try:
        for name in BOUND:
            (mounted / name).mkdir()
            run("mount", "--bind", f"/{name}", str(mounted / name))
        for name in LINKS:
            if Path("/", name).is_symlink():
                (mounted / name).symlink_to(f"usr/{name}")
        for name in ("run", "tmp", "var"):
            (mounted / name).mkdir()
        (mounted / "file").write_text("before")
        yield Root(mounted)
    finally:
        subprocess.run(["umount", "-R", str(mounted)], check=True)


def operation(number: int) -> str:
    return f"019ca945-0a00-7893-90c1-{number:012x}"


def test_a_snapshot_of_btrfs_holds_what_was_there_and_is_made_once(root: Root) -> None:
    made = root.snapshot(operation(1))
    name = f"/.tendhost-snapshots/tendhost-{operation(1)}"
    assert made == f"btrfs {name}"
    (root.path / "file").write_text("after")
    assert root.snapshot(operation(1)) == made
    kept = root.path / name.removeprefix("/")
    assert (kept / "file").read_text() == "before"
    with pytest.raises(OSError, match="Read-only"):
        (kept / "file").write_text("changed")
    assert (root.path / ".tendhost-snapshots").stat().st_mode & 0o777 == 0o700


def test_only_the_newest_of_its_own_snapshots_are_kept(root: Root) -> None:
    folder = root.path / ".tendhost-snapshots"
    root.snapshot(operation(0))
    for name in ("tendhost-by-hand", "somebody-elses"):
        run("btrfs", "subvolume", "snapshot", str(root.path), str(folder / name))
    for number in range(1, KEPT + 3):
        root.snapshot(operation(number))
    found = sorted(path.name for path in folder.iterdir())
    newest = [f"tendhost-{operation(number)}" for number in range(3, KEPT + 3)]
    assert found == ["somebody-elses", *newest, "tendhost-by-hand"]
