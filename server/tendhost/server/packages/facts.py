"""Facts about a host that need no package manager: system, privilege, container, disks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from tendhost.server.domain.bounds import LARGEST_SIZE, whole_number
from tendhost.server.domain.inventory.inventory import SystemFacts
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.immutable import IMMUTABLE, IS_IMAGE, Immutability, parse_immutable
from tendhost.server.packages.script import Part

AS_ROOT = """\
as_root() {
  if [ "$(id -u)" = 0 ]; then LC_ALL=C "$@"; else sudo -n -- sh -c 'LC_ALL=C "$@"' sh "$@"; fi
}"""
"""Runs a command as root. Every script becomes root in this way, which is that of `remote/`, too: a user whom
sudoers(5) allows another command may not be allowed this one."""
AS_ROOT_OR_USER = (
    'as_root_or_user() { if [ "$privileged" = 0 ]; then as_root "$@"; else "$@"; fi; }'
)
"""Runs a command by `as_root` where `$privileged` is 0, else as the user: what root is told more of."""
PROCESS_1 = "process_1() { cat /proc/1/stat 2>/dev/null || as_root cat /proc/1/stat; }"
"""Prints proc(5), /proc/1/stat, by `as_root` where hidepid keeps it from the user."""
PRIVILEGE = f"{AS_ROOT}\nprivilege() {{ id -u && id -un && as_root true; }}"
"""Prints id and name of the user; it fails, with the message of sudo, if the user cannot become root."""

FACTS = (
    f"{PRIVILEGE}\n{AS_ROOT_OR_USER}\n{PROCESS_1}\n{IMMUTABLE}\n"
    + r"""
os_release() { cat /etc/os-release || cat /usr/lib/os-release; }
boot() { cat /proc/sys/kernel/random/boot_id /proc/uptime; process_1; }
container() {
  if command -v systemd-detect-virt >/dev/null; then systemd-detect-virt -c || :
  elif [ -e /run/systemd/container ]; then cat /run/systemd/container
  elif [ -e /.dockerenv ]; then echo docker
  elif [ -e /run/.containerenv ]; then echo podman
  elif [ -r /proc/1/environ ]; then tr '\0' '\n' </proc/1/environ | sed -n 's/^container=//p'
  fi
}
virtualization() {
  if command -v systemd-detect-virt >/dev/null; then systemd-detect-virt || :
  elif grep -q '^flags.* hypervisor' /proc/cpuinfo; then echo vm-other
  fi
}
disk() {
  for d in / /boot /usr /var /var/cache/apt/archives /var/cache/dnf /var/cache/libdnf5 \
    /var/cache/yum /var/cache/zypp/packages /var/cache/pacman/pkg /etc/apk/cache
  do [ -d $d ] && set -- "$@" $d; done
  echo "$@"; df -Pk "$@"
}
kernel_size() {
  set -- find /boot -maxdepth 1 -type f -name "*$(uname -r)*" -exec ls -ln {} +
  # /boot may be closed to all but root.
  as_root_or_user "$@" |
    awk '{ sum += $5 } END { print sum + 0 }'
}
part os_release os_release; release=$out
part uname uname -rvm
part boot boot
part machine_id grep -sh '' /etc/machine-id /var/lib/dbus/machine-id
part privilege privilege; privileged=$rc
part container container; contained=$out
part immutable immutable
@is_image@
part virtualization virtualization
part disk disk
case $out in *'% /boot'*) part kernel_size kernel_size ;; esac
""".strip()
).replace("@is_image@", IS_IMAGE)
"""The parts that every script begins with. They set `release` (os-release(5)), `privileged`
(0: yes), `contained` and `image` (empty: no); `as_root` runs a command as root,
`as_root_or_user` as root where possible."""

FACT_PARTS = ("os_release", "uname", "boot", "privilege", "container", "disk")


class Privilege(StrEnum):
    """How the user who logged in may become root."""

    ROOT = "root"
    SUDO = "sudo"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpace:
    """Free space where `path` lies; paths with the same `mount` share it."""

    path: str
    mount: str
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """The facts about a host."""

    system: SystemFacts
    kernel_build: str
    """What uname(2) calls the version: "#1 SMP PREEMPT_DYNAMIC Debian 6.1.69-1 (2023-12-30)"."""
    init_started: str
    """The start time of process 1 in clock ticks: in a container it tells one start from another,
    where the boot id is the outer kernel's."""
    privilege: Privilege
    user: str
    sudo_message: str
    """The message of sudo where it refuses; empty otherwise."""
    disks: tuple[DiskSpace, ...]
    immutability: Immutability | None = None
    """Why its packages cannot be updated one by one; None: they can."""
    kernel_bytes: int = 0
    """What the running kernel's files take of /boot, where that is a file system of its own."""
    ids: tuple[str, ...] = ()
    """ID of os-release(5), and then what ID_LIKE names."""
    concluded: tuple[str, ...] = ()
    """What was concluded and why, one sentence each."""


def parse_os_release(text: str) -> dict[str, str]:
    """The assignments of os-release(5): shell-like quoting, with backslashes before ``"$`\\``.

    Lines that are no assignment are left out, as os-release(5) allows.
    """
    found: dict[str, str] = {}
    for line in text.split("\n"):
        key, equals, value = line.strip().partition("=")
        if not equals or not _KEY.match(key):
            continue
        if len(value) >= 2 and value[0] == value[-1] == "'":
            found[key] = value[1:-1]
        elif len(value) >= 2 and value[0] == value[-1] == '"':
            found[key] = _ESCAPED.sub(r"\1", value[1:-1])
        else:
            found[key] = _ESCAPED.sub(r"\1", value)
    return found


_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_ESCAPED = re.compile(r'\\(["$`\\\'])')
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_UPTIME = re.compile(r"(\d{1,12}\.\d{1,9}) \d+\.\d+\Z")


def parse_facts(parts: Mapping[str, Part]) -> HostFacts:
    """Understand the parts of FACTS. Raises ParseFailed."""
    release = parse_os_release(parts["os_release"].stdout)
    kernel, build, machine = _parse_uname(parts["uname"].stdout)
    boot_id, uptime, init_started = _parse_boot(parts["boot"].stdout)
    privilege, user = parse_privilege(parts["privilege"])
    container = parts["container"].stdout.partition("\n")[0].strip()
    virtual = parts["virtualization"].stdout.strip() if "virtualization" in parts else ""
    system = SystemFacts(
        os_id=release.get("ID", ""),
        os_version=release.get("VERSION_ID", ""),
        os_name=release.get("PRETTY_NAME", ""),
        kernel=kernel,
        architecture=machine,
        boot_id=boot_id,
        machine_id=_parse_machine_id(parts.get("machine_id")),
        uptime=uptime,
        init=_init_name(parts["boot"].stdout),
        virtualization=container if container not in ("", "none") else virtual,
        container=container not in ("", "none"),
    )
    immutability = parse_immutable(parts.get("immutable"), release, container=system.container)
    return HostFacts(
        system=system,
        kernel_build=build,
        init_started=init_started,
        privilege=privilege,
        user=user,
        sudo_message=parts["privilege"].message,
        kernel_bytes=_parse_kernel_size(parts.get("kernel_size")),
        immutability=immutability,
        concluded=_concluded(system, immutability),
        ids=(release.get("ID", ""), *release.get("ID_LIKE", "").split()),
        disks=_parse_disk(parts["disk"].stdout),
    )


def _parse_uname(text: str) -> tuple[str, str, str]:
    # `uname -rvm` prints release, version and machine in this order; only the version has spaces.
    words = text.strip().split(" ")
    if len(words) < 3:
        raise ParseFailed(part="uname", line=text)
    return words[0], " ".join(words[1:-1]), words[-1]


def _parse_boot(text: str) -> tuple[str, timedelta | None, str]:
    # A file that cannot be read leaves its line out, so each line is known by its shape.
    boot_id, uptime, init_started = "", None, ""
    for line in text.split("\n"):
        if _UUID.match(line):
            boot_id = line
        elif match := _UPTIME.match(line):
            uptime = timedelta(seconds=float(match[1]))
        elif line.startswith("1 ("):
            # proc(5): the command may hold anything, so count from the last parenthesis; the
            # start time is field 22.
            fields = line.rpartition(")")[2].split()
            init_started = fields[19] if len(fields) > 19 else ""
    return boot_id, uptime, init_started


def _parse_machine_id(part: Part | None) -> str:
    # machine-id(5): 32 hexadecimal digits. An image that was never booted holds nothing or "uninitialized".
    lines = part.stdout.split("\n") if part is not None else []
    return next((line for line in lines if _MACHINE_ID.match(line) and line.strip("0")), "")


_MACHINE_ID = re.compile(r"[0-9a-f]{32}\Z")


def _concluded(system: SystemFacts, immutability: Immutability | None) -> tuple[str, ...]:
    found, virtual = [], system.virtualization
    if immutability is not None:
        found.append(f"packages cannot be updated: {immutability}")
    if system.container:
        found.append(f"container ({system.virtualization}): its kernel is not its own")
    elif virtual and virtual != "none":
        found.append(f"virtual machine ({virtual}): it has a kernel of its own")
    elif virtual == "none":
        found.append("bare metal: no virtualization is seen")
    if system.init:
        found.append(f"init {system.init}: the name of process 1")
    return tuple(found)


def _parse_kernel_size(part: Part | None) -> int:
    size = whole_number(part.stdout, most=LARGEST_SIZE) if part is not None else None
    return size or 0


def _init_name(text: str) -> str:
    match = _INIT.search(text)
    return match[1] if match else ""


_INIT = re.compile(r"^1 \((.*)\) \S ", re.MULTILINE)


def parse_privilege(part: Part) -> tuple[Privilege, str]:
    """How the user becomes root, and the name of the user. Raises ParseFailed."""
    uid, _, user = part.stdout.partition("\n")
    if not uid.isdigit():
        raise ParseFailed(part="privilege", line=part.stdout)
    if uid == "0":
        return Privilege.ROOT, user
    return (Privilege.NONE if part.status else Privilege.SUDO), user


def _parse_disk(text: str) -> tuple[DiskSpace, ...]:
    # POSIX df -P: file system, blocks, used, available, capacity, mount point; one line a path.
    paths, _, table = text.partition("\n")
    rows = table.split("\n")[1:]
    found = []
    for path, row in zip(paths.split(), rows, strict=False):
        match = _DF.search(row)
        if match is None:
            raise ParseFailed(part="disk", line=row)
        found.append(DiskSpace(path=path, mount=match[2], free_bytes=max(0, int(match[1])) * 1024))
    return tuple(found)


_DF = re.compile(r" \d+ +-?\d+ +(-?\d{1,18}) +(?:\d+%|-) (/.*)\Z")
