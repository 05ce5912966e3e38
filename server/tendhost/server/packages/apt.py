"""The commands that change a Debian or Ubuntu host's packages, and what a dry run of them says.

The options are those of apt-get(8) and apt.conf(5); dpkg's answers to conffile prompts are those of
dpkg(1): the default where there is one, else the file as the administrator left it.
"""

import math
import re
import shlex
from dataclasses import dataclass
from datetime import timedelta

from tendhost.server.domain.inventory import PendingPackage
from tendhost.server.packages.dpkg import HEALTH, parse_installed
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.failures import Failure, diagnose
from tendhost.server.packages.listing import parse_policy, parse_simulation, pending_packages
from tendhost.server.packages.script import framed_script, parse_parts

_ENVIRONMENT = ("env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l", "LC_ALL=C")
_KEEP_CONFFILES = ("--force-confdef", "--force-confold")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeOptions:
    """What an upgrade may do."""

    lock_timeout: timedelta = timedelta(minutes=5)
    """How long apt waits for dpkg's lock."""
    allow_removals: bool = False
    """dist-upgrade: may remove packages to upgrade others."""
    packages: tuple[str, ...] = ()
    """Upgrade only these; empty means all. Names as in the inventory."""


def upgrade_command(options: UpgradeOptions) -> str:
    """The upgrade: progress for StatusParser goes to stdout, everything for people to stderr."""
    words = (
        *_ENVIRONMENT,
        "apt-get",
        "-y",
        "-o",
        f"DPkg::Lock::Timeout={_seconds(options.lock_timeout)}",
        *(word for force in _KEEP_CONFFILES for word in ("-o", f"Dpkg::Options::={force}")),
        # On a terminal of its own dpkg counts the files that it reads, a line for each percent.
        "-o",
        "Dpkg::Use-Pty=0",
        "-o",
        "APT::Status-Fd=3",
        *_action(options),
    )
    return f"{shlex.join(words)} 3>&1 1>&2 </dev/null"


def repair_command() -> str:
    """Finish what an interrupted dpkg left, under the same rules for configuration files."""
    words = (*_ENVIRONMENT, "dpkg", *_KEEP_CONFFILES, "--configure", "-a")
    return f"{shlex.join(words)} 1>&2 </dev/null"


def _action(options: UpgradeOptions) -> tuple[str, ...]:
    if options.packages:
        # A package that an option could be mistaken for is none: names begin alphanumerically.
        may = ("--no-remove",) if not options.allow_removals else ()
        return (*may, "--only-upgrade", "install", "--", *options.packages)
    if options.allow_removals:
        return ("dist-upgrade",)
    return ("--with-new-pkgs", "upgrade")


def _seconds(duration: timedelta) -> int:
    return max(0, math.ceil(duration.total_seconds()))


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What an upgrade would do; with a `failure`, why apt could not plan it, and nothing else."""

    changes: tuple[PendingPackage, ...] = ()
    """What it would upgrade or newly install."""
    left: tuple[PendingPackage, ...] = ()
    """What it would leave alone, each with the reason."""
    removed: tuple[tuple[str, str], ...] = ()
    """Name and version of what it would remove."""
    download_bytes: int | None = None
    """What is still to be downloaded; None where apt did not say."""
    disk_bytes: int | None = None
    """What it takes of the disk afterwards, negative where it frees; None where apt did not say."""
    failure: Failure | None = None


# --assume-no plans, names the sizes and declines; without locking, so that nothing is disturbed.
_SIZES = ("apt-get", "-o", "Debug::NoLocking=1", "--assume-no")
POLICY = r"""
names=$(printf '%s\n' "$out" | sed -n '
  /^The following packages have been kept back:/,/^[^ ]/s/^  //p
  /^The following upgrades have been deferred due to phasing:/,/^[^ ]/s/^  //p
  /-[Ss]ecurity/d
  s/^Inst \([^ ]*\) \[.*/\1/p')
[ -z "$names" ] || part policy apt-cache policy $names
""".strip()
"""Asks for the policy of those that the simulation in `$out` leaves alone, and of those upgrades
that do not say themselves that they are security updates."""


def dry_run_command(options: UpgradeOptions) -> str:
    """A script that plans the upgrade and changes nothing. Needs no privilege."""
    action = _action(options)
    return framed_script(
        HEALTH,
        f"part simulation {shlex.join(('apt-get', '-s', '-y', *action))}",
        POLICY,
        "part installed installed",
        f"part sizes {shlex.join((*_SIZES, *action))}",
    )


def parse_dry_run(output: bytes) -> DryRun:
    """Understand the output of `dry_run_command`. Raises ParseFailed."""
    parts = parse_parts(output, expected=("simulation", "installed", "sizes"))
    planned = parts["simulation"]
    if planned.status != 0:
        return DryRun(failure=diagnose(planned.status, f"{planned.stdout}\n{planned.stderr}"))
    simulation = parse_simulation(planned.stdout, part="simulation")
    policies = parse_policy(parts["policy"].stdout) if "policy" in parts else {}
    installed = parse_installed(parts["installed"].stdout)
    pending = pending_packages(simulation, policies, installed.held)
    download, disk = parse_sizes(parts["sizes"].stdout)
    changed = {package.name for package in simulation.changes}
    return DryRun(
        changes=tuple(p for p in pending if p.name in changed),
        left=tuple(p for p in pending if p.name not in changed),
        removed=simulation.removed,
        download_bytes=download,
        disk_bytes=disk,
    )


_DOWNLOAD = re.compile(r"^Need to get (?P<size>[^/\n]+?B)(?:/[^\n]+?)? of archives", re.MULTILINE)
_DISK = re.compile(
    r"^After this operation, (?P<size>[^\n]+?B) (?P<way>of additional disk|disk)", re.MULTILINE
)
_SIZE = re.compile(r"(?P<number>\d[\d,]{0,20}(?:\.\d{1,3})?) (?P<unit>[kMGTPEZY]?)B\Z")


def parse_sizes(text: str) -> tuple[int | None, int | None]:
    """The bytes to download and the bytes of disk taken, None each where apt names none.

    Nothing to do is 0 and 0: apt says nothing then but that it changes nothing.
    """
    download = _bytes(match["size"]) if (match := _DOWNLOAD.search(text)) else None
    disk = None
    if match := _DISK.search(text):
        disk = _bytes(match["size"]) * (1 if match["way"].startswith("of") else -1)
    if "\n0 upgraded, 0 newly installed, 0 to remove" in text:
        return download or 0, disk or 0
    return download, disk


def _bytes(size: str) -> int:
    # apt counts in powers of 1000 and rounds to three digits or so.
    match = _SIZE.match(size)
    if match is None:
        raise ParseFailed(part="sizes", line=size)
    number = float(match["number"].replace(",", ""))
    scale = float("1e" + str(3 * " kMGTPEZY".index(match["unit"] or " ")))
    return round(number * scale)


# Configuration file '/etc/tb-conf.conf'
#  ==> Modified (by you or by a script) since installation.
#  ==> Package distributor has shipped an updated version.
#  ==> Keeping old config file as default.
_KEPT = re.compile(
    r"^Configuration file '(?P<path>[^'\n]+)'(?: \([^\n]*\))?\r?\n"
    r"(?: ==> [^\n]*\n){1,4}? ==> (?:Keeping old|Using current old) [^\n]*$",
    re.MULTILINE,
)


def kept_conffiles(output: str) -> tuple[str, ...]:
    """The configuration files whose local version dpkg kept over the package's, in order."""
    return tuple(dict.fromkeys(match["path"] for match in _KEPT.finditer(output)))
