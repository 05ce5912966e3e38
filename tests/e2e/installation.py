"""An installation of the server on a host, by the commands of docs/deploying.md, from packages that are there."""

import base64
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fleet import Host
from tests.fleet.base import cache_folder

ROOT = Path(__file__).resolve().parent.parent.parent
GUIDE = ROOT / "docs" / "deploying.md"
LOCKS = (ROOT / "deploy" / "constraints.txt", ROOT / "deploy" / "build-constraints.txt")
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "protos", "server", "client", "deploy")
PYTHON = "3.11"
"""Of Debian 12."""
SETTINGS = "/etc/tendhost/tendhostd.toml"
SOCKET = "/run/tendhost/tendhostd.sock"
CREDENTIAL = "/etc/credstore/tendhost-ssh-key"


def wheels() -> Path:
    """The packages of the lock files, for the Python of the hosts; downloaded once for each state of the files."""
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in LOCKS)).hexdigest()[:16]
    folder = cache_folder() / f"wheels-{digest}"
    if not folder.is_dir():
        partial = folder.with_suffix(f".{os.getpid()}")
        machine = platform.machine()
        # Every glibc up to that of Debian 12.
        tags = ["manylinux2014", *(f"manylinux_2_{minor}" for minor in range(17, 37))]
        options = ["--no-deps", "--only-binary=:all:", f"--python-version={PYTHON}"]
        options += [f"--platform={tag}_{machine}" for tag in tags]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", *options]
        for lock in LOCKS:
            subprocess.run([*command, f"--dest={partial}", f"--requirement={lock}"], check=True)
        try:
            partial.rename(folder)
        except OSError:
            shutil.rmtree(partial)
            if not folder.is_dir():  # else another process was faster
                raise
    return folder


def copy_to(host: Host, folder: Path, names: tuple[str, ...], into: str) -> None:
    """Copy files and folders of the runner's to a host."""
    keep_out = ["--exclude=__pycache__", "--exclude=*.egg-info"]
    packed = subprocess.run(
        ["tar", "-C", str(folder), *keep_out, "-cz", *names], capture_output=True, check=True
    ).stdout
    # `Host.run` passes on text.
    coded = base64.encodebytes(packed).decode()
    host.run(f"mkdir -p {into} && base64 -d | tar -C {into} -xz", input=coded, check=True)


def commands() -> str:
    """The commands of the guide, as they are printed there."""
    text = GUIDE.read_text(encoding="utf-8")
    found = re.search(r"<!-- the commands of the installation -->\n```\n(.*?)```", text, re.DOTALL)
    assert found, GUIDE
    return found[1]


def install(host: Host, key: Path) -> None:
    """Follow the guide on a host: the server is installed, has a key, and serves."""
    copy_to(host, ROOT, SOURCES, "/srv/tendhost")
    copy_to(host, wheels(), (".",), "/srv/wheels")
    # What the container manager of a real machine does; without it no credential reaches a service.
    host.run("mount --make-rshared /", check=True)
    host.run(f"install -Dm600 /dev/stdin {CREDENTIAL}", input=key.read_text(), check=True)
    index = "export PIP_NO_INDEX=1 PIP_FIND_LINKS=/srv/wheels PIP_QUIET=1 PIP_DISABLE_PIP_VERSION_CHECK=1"
    host.run(f"set -e; cd /srv/tendhost; {index}\n{commands()}", timeout=360, check=True)
