"""Decides from a host's output whether the host needs a reboot, and why.

The rules, the first that speaks wins:

1. `/run/reboot-required` exists: NEEDED. Packages touch it; those in `.pkgs` beside it are named.
2. The family's own tool (`dnf needs-restarting -r`, `zypper needs-rebooting`) asks for one: NEEDED.
3. Not in containers, whose kernel is not theirs: a kernel of the running one's kind is installed that
   is newer than the running one, or the running one's package was upgraded in place: NEEDED. Which
   kernels there are, and of which kind, the owners of their files tell (kernels.py); names of
   packages do where no file of a kernel has an owner.
4. The family's own tool says no, or that it cannot tell: NOT_NEEDED or UNKNOWN.
5. Not in containers: needrestart(1), where there is one, sees a newer kernel of that flavour that
   the package database does not know of: NEEDED.
6. Something above could not be read or makes no sense: UNKNOWN. So where the two disagree, and
   where the running kernel is no relative of the installed ones (the machine around the host may
   provide it, and a reboot would bring the same one back), whatever the family's own tool says; and
   where the running kernel has modules that no package owns: somebody has built it. So, too, where
   the owners could not be asked, whatever else says that no reboot is needed: tools and lists of names
   do not know every kernel.
7. Else NOT_NEEDED.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tendhost.server.domain.inventory.inventory import Reboot, RebootNeed
from tendhost.server.packages.apt.versions import DebianVersion
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.kernels import KERNEL_OWNERS, KernelOwners, flavour
from tendhost.server.packages.rpm.versions import version_key as rpm_order
from tendhost.server.packages.script import Part

_REBOOT = r"""
reboot_required() {
  [ -e /run/reboot-required ] || { echo no; return 0; }
  echo yes
  [ ! -e /run/reboot-required.pkgs ] || sort -u /run/reboot-required.pkgs
}
part reboot_required reboot_required
case $privileged,$contained in
  0,|0,none) ! command -v needrestart >/dev/null || part needrestart as_root needrestart -b -k ;;
esac
outdated() {
  # Found as root, too: hidepid of proc(5) keeps the processes of others from everybody else.
  as_root find /proc -maxdepth 2 -path '/proc/[0-9]*/maps' -exec grep -lsE \
    '^[^/]*[0-9] +/(usr/)?(local/)?(s?bin/[^ ]+|lib[^ ]*[.]so[^ ]*) [(]deleted[)]$' {} + 2>/dev/null |
    while read -r file; do as_root cat "${file%maps}cgroup" 2>/dev/null; done |
    sed -n -e "s,^[0-9]*:[^/]*:/system[.]slice/\([^/]*[.]slice/\)*\([^/]*[.]service\)$,\2,p" \
      -e "s,^[0-9]*:[^/]*:/system[.]slice/\([^/]*[.]slice/\)*\([^/]*[.]service\)/.*,\2,p" | sort -u
}
[ "$privileged" != 0 ] || [ ! -d /run/systemd/system ] || part outdated outdated
""".strip()
REBOOT = f"{_REBOOT}\n{KERNEL_OWNERS}"
"""The part `outdated` lists the services of which a process has a program or library mapped that is
deleted or replaced on the disk (proc(5), /proc/pid/maps): those of the host itself (cgroups(7)), not those
of a container on it, and by the system's own files, not what a program unpacked for itself."""


class KernelStatus(IntEnum):
    """KSTA of needrestart's batch mode (README.batch.md)."""

    UNKNOWN = 0
    CURRENT = 1
    ABI_COMPATIBLE_UPGRADE = 2
    VERSION_UPGRADE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RebootEvidence:
    """What a host shows that bears on a reboot."""

    required: bool | None
    """Whether /run/reboot-required exists; None: could not be read."""
    asking: tuple[str, ...] = ()
    """The packages that touched it."""
    container: bool = False
    running: str = ""
    """The running kernel's release, such as "6.1.0-17-amd64"."""
    build: str = ""
    """What uname(2) calls the version; Debian's kernels name their package's version in it."""
    kernels: tuple[tuple[str, str], ...] | None = None
    """Release and package version of every installed kernel by the names of packages; None: could not be read."""
    owners: KernelOwners | None = None
    """Which packages own which kernels; None: could not be asked."""
    kernel_status: KernelStatus | None = None
    """None: needrestart is not there or was not asked."""
    expected: str = ""
    """The kernel that needrestart would boot."""
    family: Reboot | None = None
    """What the package manager's own tool says; None: it has none, or was not asked."""


def decide_reboot(evidence: RebootEvidence) -> Reboot:
    """Apply the rules. `since` is left to those who know what was known before."""
    found = _by_rules(evidence)
    unasked = evidence.owners is None and not evidence.container
    if found.need is RebootNeed.NOT_NEEDED and unasked:
        return _unknown("the package database did not tell which packages own the kernels")
    return found


def _by_rules(evidence: RebootEvidence) -> Reboot:
    if evidence.required:
        names = ", ".join(evidence.asking)
        asks = "ask" if len(evidence.asking) > 1 else "asks"
        return _needed(f"{names} {asks} for it" if names else "/run/reboot-required exists")
    if evidence.required is None:
        return _unknown("/run/reboot-required could not be read")
    family = evidence.family
    if family is not None and (family.need is RebootNeed.NEEDED or evidence.container):
        return family
    if evidence.container:
        return Reboot(need=RebootNeed.NOT_NEEDED)
    if evidence.kernels is None or not evidence.running:
        return family or _unknown("the installed kernels could not be read")
    by_kernels = _by_kernels(evidence, evidence.kernels)
    if family is not None:
        certain = by_kernels.need is RebootNeed.NEEDED or evidence.owners is not None
        by_kernels_first = certain and by_kernels.need is not RebootNeed.NOT_NEEDED
        return by_kernels if by_kernels_first else family
    if by_kernels.need is RebootNeed.UNKNOWN or evidence.kernel_status is None:
        return by_kernels
    if by_kernels.need is RebootNeed.NEEDED:
        if evidence.kernel_status is KernelStatus.CURRENT:
            return _unknown(f"{by_kernels.reason}, but needrestart sees no newer kernel")
        return by_kernels
    return _by_needrestart(evidence.running, evidence.kernel_status, evidence.expected)


def _by_needrestart(running: str, status: KernelStatus, expected: str) -> Reboot:
    if status is KernelStatus.CURRENT:
        return Reboot(need=RebootNeed.NOT_NEEDED)
    if expected == running:
        return _needed(f"running {running}, rebuilt since")
    if flavour(expected) != flavour(running):
        return _unknown(f"running {running}, while needrestart expects {expected or 'another'}")
    return _needed(f"running {running}, installed {expected}")


def _by_kernels(evidence: RebootEvidence, by_name: tuple[tuple[str, str], ...]) -> Reboot:
    running, owners, versions = evidence.running, evidence.owners, dict(by_name)
    if owners is not None and owners.kernels:
        kin: tuple[str, ...] = owners.kin(running)
        order: Callable[[str], Any] = rpm_order if owners.in_order_of_rpm else DebianVersion
    else:
        order = DebianVersion
        kin = tuple(release for release in versions if flavour(release) == flavour(running))
    if not kin:
        if by_name or (owners is not None and owners.kernels):
            return _unknown(f"running {running}, which is of no installed kernel's kind")
        if owners is not None and owners.running_has_modules:
            return _unknown(f"running {running}, which no package owns")
        # The kernel comes from outside the package manager (a virtual machine's host, say).
        return Reboot(need=RebootNeed.NOT_NEEDED)
    newest = max(kin, key=order)
    if order(newest) > order(running):
        return _needed(f"running {running}, installed {newest}")
    if running not in kin:
        return _unknown(f"running {running}, which is newer than any installed kernel")
    packaged, installed = _DEBIAN_BUILD.search(evidence.build), versions.get(running)
    if packaged and installed and packaged[1] != installed:
        return _needed(f"running {running} {packaged[1]}, installed {installed}")
    return Reboot(need=RebootNeed.NOT_NEEDED)


_DEBIAN_BUILD = re.compile(r"\bDebian (\d\S*) \(")
_IMAGE = re.compile(r"linux-image-(?:unsigned-)?(\d\S*?)(?:-unsigned)?\Z")


def installed_kernels(packages: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Release and package version of every kernel among the installed packages."""
    return tuple(
        (match[1], version)
        for name, version in packages
        if name.startswith("linux-image-")
        and (match := _IMAGE.match(name))
        and not name.endswith("-dbg")
    )


def _needed(reason: str) -> Reboot:
    return Reboot(need=RebootNeed.NEEDED, reason=reason)


def _unknown(reason: str) -> Reboot:
    return Reboot(need=RebootNeed.UNKNOWN, reason=reason)


def parse_reboot_required(part: Part) -> tuple[bool | None, tuple[str, ...]]:
    """Understand the part `reboot_required`. Raises ParseFailed."""
    answer, *names = part.stdout.split("\n")
    if answer == "no":
        return False, ()
    if answer == "yes":
        return True, tuple(name for name in names if name)
    if part.status != 0:
        return None, ()
    raise ParseFailed(part="reboot_required", line=answer)


def parse_outdated(part: Part | None) -> tuple[str, ...] | None:
    """Understand the part `outdated`; None where it was not asked. Raises ParseFailed."""
    if part is None:
        return None
    names = tuple(name for name in part.stdout.split("\n") if name)
    for name in names:
        if not _SERVICE.match(name):
            raise ParseFailed(part="outdated", line=name)
    return names


_SERVICE = re.compile(r"[\w@.:\\-]+\.service\Z")
_KSTA = re.compile(r"^NEEDRESTART-KSTA: ([0-3])$", re.MULTILINE)
_KEXP = re.compile(r"^NEEDRESTART-KEXP: (\S+)$", re.MULTILINE)


def parse_needrestart(text: str) -> tuple[KernelStatus | None, str]:
    """The kernel's status and the kernel expected after a reboot; a failure is no answer."""
    status, expected = _KSTA.search(text), _KEXP.search(text)
    if status is None or (kernel := KernelStatus(int(status[1]))) is KernelStatus.UNKNOWN:
        return None, ""
    return kernel, expected[1] if expected else ""
