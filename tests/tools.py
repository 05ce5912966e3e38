"""The programs that tests use besides Python, the Debian packages that bring them, and how to get those.

`python -m tests.tools install` installs what is missing, the packages of the fleet of real hosts and those of the
database cluster among them unless FLEET=simulated. A test says what it uses by the marker `needs`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.programs import CLUSTER_PACKAGES, nothing_started
from tests.fleet.requirements import DEBIAN_PACKAGES, DebianPackage, install_packages

LIBFAKETIME = "faketime/libfaketimeMT.so.1"

FAKETIME = DebianPackage("libfaketime", below_libraries=LIBFAKETIME)

PACKAGES = (
    DebianPackage("dash", ("dash",)),
    DebianPackage("bash", ("bash",)),
    DebianPackage("busybox", ("busybox",)),
    DebianPackage("git", ("git",)),
    DebianPackage("openssh-client", ("ssh", "ssh-agent", "ssh-keygen")),
    DebianPackage("procps", ("ps", "pgrep")),
    DebianPackage("util-linux", ("flock", "setsid", "unshare")),
    FAKETIME,
)

needs = pytest.mark.needs
"""Marks a test that uses these commands: skipped where one is missing, and failed under CI."""

SHELLS = (
    pytest.param(("dash",), id="dash", marks=needs("dash")),
    pytest.param(("bash", "--posix"), id="bash", marks=needs("bash")),
    pytest.param(("busybox", "sh"), id="busybox", marks=needs("busybox")),
)
"""The shells that a host may have as sh, as parameters of a test or of a fixture."""


def why_missing(command: str) -> str | None:
    """Why a command cannot be run, and what brings it; None where it can."""
    if shutil.which(command):
        return None
    package = next(
        (known.name for known in (*PACKAGES, *CLUSTER_PACKAGES) if command in known.commands), ""
    )
    return f"no {command} here" + (f": `apt-get install {package}` brings it" if package else "")


def faketime_library() -> Path | None:
    """libfaketime, if it is installed."""
    return next(iter(sorted(Path("/usr/lib").glob(f"*/{LIBFAKETIME}"))), None)


def main() -> int:
    if sys.argv[1:] != ["install"]:
        print("usage: python -m tests.tools install", file=sys.stderr)
        return 2
    simulated = os.environ.get("FLEET") == "simulated"
    real = () if simulated else (*DEBIAN_PACKAGES, *CLUSTER_PACKAGES)
    try:
        with nothing_started():
            install_packages((*PACKAGES, *real))
    except subprocess.CalledProcessError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
