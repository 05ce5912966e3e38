"""The package database of rpm(8): installed packages, versions, and the holder of its lock."""

import re
from dataclasses import dataclass

from tendhost.server.packages.errors import DatabaseBroken, LockHeld, ParseFailed
from tendhost.server.packages.rpm.versions import package_order
from tendhost.server.packages.script import Part

# An epoch of "(none)" is none. /proc/locks names who holds a POSIX lock, by the inode of its file.
RPM = r"""
rpms() {
  rpm --eval '%_arch' && rpm -qa --qf '%{NAME}\t%{EPOCH}\t%{VERSION}-%{RELEASE}\t%{ARCH}\n'
}
rpm_lock() {
  file=$(rpm --eval '%_dbpath')/.rpm.lock
  inode=$(ls -i "$file" 2>/dev/null) || return 0
  pid=$(sed -n "s/^[0-9]*: POSIX  *ADVISORY  *WRITE \([0-9]*\) [0-9a-f:]*:${inode%% *} .*/\1/p" \
    /proc/locks | head -n 1)
  [ -z "$pid" ] || echo "$file $pid $(cat "/proc/$pid/comm" 2>/dev/null)"
}
""".strip()
"""Shell functions: `rpms` lists the native architecture and the packages, `rpm_lock` the holder of the
database's lock ("PATH PID COMMAND"), if there is one. See also `parse_rpms` and `parse_lock`."""

KERNELS = ("kernel-core", "kernel-rt-core", "kernel-uek-core", "kernel-uek", "kernel-default")
"""Packages that hold a kernel; older ones have it in `kernel` itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledRpms:
    """What rpm's database holds."""

    native_architecture: str
    """As `rpm --eval %_arch` prints it; packages of another one are foreign."""
    packages: tuple[tuple[str, str], ...]
    """Name and version, in order of both; "name.arch" for a foreign architecture. A name may be there more
    than once."""
    kernels: tuple[tuple[str, str], ...]
    """Release as `uname -r` prints it, and version."""


def evr(epoch: str, version: str) -> str:
    """A version with its epoch, which is left out where it is 0 or none."""
    return version if epoch in ("", "0", "(none)") else f"{epoch}:{version}"


def parse_version(version: str) -> str:
    """A version as rpm's tools print it, "[EPOCH:]VERSION-RELEASE", without an epoch of 0."""
    epoch, colon, rest = version.partition(":")
    return evr(epoch, rest) if colon else version


def parse_rpms(part: Part) -> InstalledRpms:
    """Understand the output of `rpms`. Raises ParseFailed, DatabaseBroken."""
    if part.status != 0:
        text = f"rpm cannot read the package database: {part.message}"
        raise DatabaseBroken(text=text, repairable=False)
    native, _, table = part.stdout.partition("\n")
    packages: list[tuple[str, str]] = []
    kernels: list[tuple[str, str]] = []
    for line in filter(None, table.split("\n")):
        fields = line.split("\t")
        if len(fields) != 4 or not all(fields):
            raise ParseFailed(part="installed", line=line)
        name, epoch, version, architecture = fields
        if name == "gpg-pubkey":
            continue  # a key that rpm keeps among its packages
        if name in KERNELS or name == "kernel":
            kernels.append((f"{version}.{architecture}", evr(epoch, version)))
        packages.append((name_of(name, architecture, native), evr(epoch, version)))
    return InstalledRpms(
        native_architecture=native,
        packages=tuple(sorted(packages, key=package_order)),
        kernels=tuple(sorted(set(kernels))),
    )


def name_of(name: str, architecture: str, native: str) -> str:
    """The name of a package, with its architecture where that is a foreign one."""
    same = architecture in (native, "noarch", "(none)") or _SAME.get(architecture) == native
    return name if same else f"{name}.{architecture}"


_SAME = {"i686": "i386", "i586": "i386", "i486": "i386", "armv7hl": "arm", "armv6hl": "arm"}
"""`rpm --eval %_arch` has one word for each of these."""

_HOLDER = re.compile(r"(/\S+) ([0-9]{1,10}) ?(.*)\Z")


def parse_lock(part: Part) -> LockHeld | None:
    """Understand a line "PATH PID COMMAND". Raises ParseFailed."""
    line = part.stdout.strip()
    if not line:
        return None
    match = _HOLDER.match(line)
    if match is None:
        raise ParseFailed(part="lock", line=line)
    return LockHeld(path=match[1], pid=int(match[2]), command=match[3] or "unknown")
