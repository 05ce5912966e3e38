"""Writes what makes one host different from all others: its names, keys and settings, on a fresh disk."""

import hashlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

ACCOUNTS = {"root": ("root", 0), "home/ops": ("ops", 1000), "home/nosudo": ("nosudo", 1001)}
HOST_KEY = Path("etc/ssh/ssh_host_ed25519_key")


def make_key(path: Path, comment: str) -> None:
    for old in (path, path.with_name(path.name + ".pub")):
        old.unlink(missing_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )


def public_key(private: Path) -> str:
    """Type and key, without the comment."""
    text = private.with_name(private.name + ".pub").read_text(encoding="ascii")
    return " ".join(text.split()[:2])


def make_disk(
    disk: Path, *, name: str, address: str, host_key: Path, login_key: str, files: Mapping[str, str]
) -> None:
    """Lay out the overlay of a host below ``disk``; its upper layer is all that the host can write to.

    ``files`` are further ones, by their paths below the root.
    """
    for folder in ("upper", "work", "root"):
        (disk / folder).mkdir(parents=True)
    upper = disk / "upper"
    install_host_key(upper, host_key)
    for home, (_, uid) in ACCOUNTS.items():
        ssh = upper / home / ".ssh"
        ssh.mkdir(mode=0o700, parents=True)
        keys = ssh / "authorized_keys"
        keys.write_text(login_key + "\n", encoding="ascii")
        for path in (ssh.parent, ssh, keys):
            os.chown(path, uid, uid)
    (upper / "root").chmod(0o700)
    for name_of_file, text in files.items():
        _write(upper / name_of_file, text)
    _write(upper / "etc/hostname", f"{name}\n")
    _write(upper / "etc/hosts", f"127.0.0.1 localhost\n{address} {name}\n")
    _write(upper / "etc/machine-id", f"{secrets.token_hex(16)}\n")


def accept_dnf_repository(disk: Path, *, name: str, url: str, pubring: Path) -> None:
    """Have dnf trust the keys in ``pubring`` for a repository, as if root had once said yes to them.

    dnf keeps them with its cache of the repository, in a folder named after the repository's id and
    the start of the SHA-256 of its address.
    """
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    shutil.copytree(pubring, disk / f"upper/var/cache/dnf/{name}-{digest}/pubring")


def give_docker(disk: Path, settings: str) -> None:
    """Make room for docker's images beside the overlay: on one it cannot stack its own."""
    (disk / "docker").mkdir()
    _write(disk / "upper/etc/docker/daemon.json", settings)


def install_host_key(root: Path, host_key: Path) -> None:
    """Copy a key pair to where sshd looks for it below ``root``."""
    target = root / HOST_KEY
    target.parent.mkdir(parents=True, exist_ok=True)
    for suffix, mode in (("", 0o600), (".pub", 0o644)):
        copy = target.with_name(target.name + suffix)
        shutil.copyfile(host_key.with_name(host_key.name + suffix), copy)
        copy.chmod(mode)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
