"""What a machine needs to run a fleet, and how to get it on Debian and its derivatives."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.fleet.claim import cgroup_root

LIBRARIES = Path("/usr/lib")
ARCHIVE_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NAMESPACES = ("--mount", "--pid", "--net", "--uts", "--ipc", "--time", "--cgroup", "--fork")
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """A package, and what of it is used."""

    name: str
    commands: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    below_libraries: str = ""
    """A file in the folder of the libraries, whichever architecture that is named after."""

    @property
    def is_there(self) -> bool:
        return (
            all(shutil.which(command, path=SEARCH) for command in self.commands)
            and all(file.exists() for file in self.files)
            and (not self.below_libraries or any(LIBRARIES.glob(f"*/{self.below_libraries}")))
        )


DEBIAN_PACKAGES = (
    DebianPackage("mmdebstrap", ("mmdebstrap",)),
    DebianPackage("debian-archive-keyring", files=(ARCHIVE_KEYS,)),
    DebianPackage("apt-utils", ("apt-ftparchive",)),
    DebianPackage("dpkg", ("dpkg-deb",)),
    DebianPackage("gnupg", ("gpg", "gpgconf")),
    DebianPackage("iproute2", ("ip",)),
    DebianPackage("iptables", ("iptables",)),
    DebianPackage("openssh-client", ("ssh", "ssh-keygen")),
    DebianPackage("util-linux", ("unshare", "nsenter", "setpriv")),
    DebianPackage("mount", ("mount",)),
    DebianPackage("hostname", ("hostname",)),
    DebianPackage("btrfs-progs", ("mkfs.btrfs", "btrfs")),
)


def missing_packages() -> list[str]:
    """The names of the Debian packages to install."""
    return [package.name for package in DEBIAN_PACKAGES if not package.is_there]


def missing_requirements() -> list[str]:
    """A sentence for each thing that keeps a fleet from running here; empty when it can run."""
    if sys.platform != "linux":
        return ["it needs Linux"]
    missing = [f"the Debian package {name} is not installed" for name in missing_packages()]
    if os.geteuid() != 0:
        return [*missing, "it needs root"]
    return missing + [problem for check in _KERNEL_CHECKS if (problem := check()) is not None]


def _namespaces() -> str | None:
    if shutil.which("unshare", path=SEARCH) is None:
        return None  # already said: its package is missing
    done = subprocess.run(
        ["unshare", *NAMESPACES, "true"], capture_output=True, text=True, check=False
    )
    return (
        f"this machine does not let root make namespaces: {done.stderr.strip()}"
        if done.returncode
        else None
    )


def _overlay() -> str | None:
    if "overlay" not in Path("/proc/filesystems").read_text(encoding="ascii").split():
        subprocess.run(["modprobe", "overlay"], capture_output=True, check=False)
    if "overlay" not in Path("/proc/filesystems").read_text(encoding="ascii").split():
        return "the kernel has no overlay file system"
    return None


def _control_groups() -> str | None:
    root = cgroup_root()
    if not (root / "cgroup.procs").exists():
        return f"there is no version 2 control group tree at {root}"
    return None if os.access(root, os.W_OK) else f"the control group tree at {root} is read-only"


_KERNEL_CHECKS: tuple[Callable[[], str | None], ...] = (_namespaces, _overlay, _control_groups)


def install_packages(packages: Iterable[DebianPackage]) -> None:
    """Install those that are missing with apt-get; raises CalledProcessError when it fails."""
    names = sorted({package.name for package in packages if not package.is_there})
    if not names:
        print("nothing to install")
        return
    print("installing", *names, flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
    subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names],
        check=True,
        env=environment,
    )
