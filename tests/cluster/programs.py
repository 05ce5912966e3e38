"""The programs of a database cluster: the Debian packages that bring them, where they are, and as whom they run.

For tests/cluster and for a single throwaway PostgreSQL alike. PostgreSQL refuses to run as root, and Debian keeps its
server's programs off the PATH.
"""

import contextlib
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.fleet.requirements import SEARCH, DebianPackage

POSTGRESQL = DebianPackage("postgresql", ("psql",), below_libraries="*/bin/postgres")
PROXIES = (DebianPackage("haproxy", ("haproxy",)), DebianPackage("nginx", ("nginx",)))
CLUSTER_PACKAGES = (
    POSTGRESQL,
    DebianPackage("patroni", ("patroni",)),
    DebianPackage("etcd-server", ("etcd",)),
    DebianPackage("python3-etcd", files=(Path("/usr/lib/python3/dist-packages/etcd"),)),
    DebianPackage("pgbouncer", ("pgbouncer",)),
    *PROXIES,
)
UNITS = {"etcd-server": "etcd"}
"""The services that are not named after their package."""
POLICY = Path("/usr/sbin/policy-rc.d")
_USERS = ("postgres", "nobody")


def missing_programs() -> list[str]:
    """The names of the Debian packages that a cluster lacks here; empty where it can run."""
    return [package.name for package in CLUSTER_PACKAGES if not package.is_there]


@contextlib.contextmanager
def nothing_started(policy: Path = POLICY) -> Iterator[None]:
    """Within the block no package that is installed starts a service, and those that were missing stay disabled.

    Debian's packages start their service, and have it started with the machine. A policy that is there stays as it is.
    """
    missing = missing_programs()
    written = not policy.exists()
    if written:
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")  # "action forbidden by policy"
        policy.chmod(0o755)
    try:
        yield
    finally:
        if written:
            policy.unlink()
    if missing and shutil.which("systemctl", path=SEARCH):
        units = [UNITS.get(name, name) for name in missing if name != "python3-etcd"]
        subprocess.run(["systemctl", "--quiet", "disable", *units], check=False)


def program(name: str) -> str:
    """The path of a command, in the folders of the administrator as well. Raises FileNotFoundError."""
    if (found := shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SEARCH}")) is None:
        raise FileNotFoundError(f"no {name} here: `make packages` brings it")
    return found


def postgresql_folder() -> Path:
    """The folder with `postgres` and `initdb` of the newest PostgreSQL. Raises FileNotFoundError."""
    folders = [file.parent for file in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if not folders:
        return Path(program("postgres")).resolve().parent
    return max(folders, key=lambda folder: int(re.sub(r"\D.*", "", folder.parent.name)))


def unprivileged_user() -> str | None:
    """As whom root starts the programs; None where this process is not root and starts them as itself."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _USERS if name in known)


def give(folder: Path) -> None:
    """Make a folder and all in it the property of the user whom the programs run as."""
    if (user := unprivileged_user()) is None:
        return
    entry = pwd.getpwnam(user)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid)
