"""Commands that change the packages of a Debian host, and the parser of their dry run.

The options are those of apt-get(8) and apt.conf(5); dpkg's answers to conffile prompts are those of
dpkg(1): the default where there is one, else the file as the administrator left it.
"""

import re
import shlex
from datetime import timedelta

from tendhost.server.domain.bounds import size_in_bytes
from tendhost.server.domain.inventory.inventory import PackageChange
from tendhost.server.packages.apt.dpkg import HEALTH, parse_installed
from tendhost.server.packages.apt.failures import diagnose
from tendhost.server.packages.apt.listing import parse_policy, parse_simulation, pending_packages
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.package_manager import Plan, Transaction
from tendhost.server.packages.script import framed_script, parse_parts, whole_seconds

_ENVIRONMENT = ("env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l", "LC_ALL=C")
_KEEP_CONFFILES = ("--force-confdef", "--force-confold")


def upgrade_command(transaction: Transaction) -> str:
    """The upgrade: progress for AptStatusParser goes to stdout, everything for people to stderr."""
    words = (
        *_ENVIRONMENT,
        "apt-get",
        "-y",
        "-o",
        f"DPkg::Lock::Timeout={whole_seconds(transaction.lock_timeout)}",
        *(word for force in _KEEP_CONFFILES for word in ("-o", f"Dpkg::Options::={force}")),
        # On a terminal of its own dpkg counts the files that it reads, a line for each percent.
        "-o",
        "Dpkg::Use-Pty=0",
        "-o",
        "APT::Status-Fd=3",
        *_action(transaction),
    )
    upgrade = shlex.join(words)
    if transaction.unneeded and not transaction.download_only:
        # Whatever depends on them is unneeded as well, and named; anything else is not to go.
        remove = shlex.join((*_APT_REMOVE, "remove", "--", *transaction.unneeded))
        count = len(transaction.unneeded)
        upgrade = (
            f"{{ {upgrade} && {{ {_REMOVES_NO_OTHERS.format(count=count, remove=remove)}; }}; }}"
        )
    return f"{upgrade} 3>&1 1>&2 </dev/null"


_APT_REMOVE = (*_ENVIRONMENT, "apt-get", "-y", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Status-Fd=3")
_REMOVES_NO_OTHERS = r"""
[ "$({remove} -s 3>/dev/null | grep -c '^Remv ')" -le {count} ] || {{
  echo "E: what was not needed any more is needed by others now" >&2; exit 100; }}
{remove}
""".strip()


def repair_command() -> str:
    """Finish what an interrupted dpkg left, under the same rules for configuration files."""
    words = (*_ENVIRONMENT, "dpkg", *_KEEP_CONFFILES, "--configure", "-a")
    return f"{shlex.join(words)} 1>&2 </dev/null"


def _action(transaction: Transaction) -> tuple[str, ...]:
    """The options and the command of apt-get(8) that perform the transaction."""
    options = []
    if transaction.download_only:
        options.append("--download-only")
    if transaction.packages is None:
        how = ("dist-upgrade",) if transaction.allow_removals else ("--with-new-pkgs", "upgrade")
        return (*options, *how)
    if not transaction.allow_removals:
        options.append("--no-remove")
    # What would be newly installed follows from those that need it. A package that an option could
    # be mistaken for is none: names begin alphanumerically.
    words = [f"{p.name}={p.to_version}" if transaction.exact else p.name for p in transaction.named]
    return (*options, "--only-upgrade", "install", "--", *words)


_RESTORE = r"""
missing=; set --
for want in {wanted}; do
  if apt-cache show "$want" >/dev/null 2>&1; then set -- "$@" "$want"; continue; fi
  name=${{want%%=*}}; version=$(printf %s "${{want#*=}}" | sed 's/:/%3a/g')
  case $name in *:*) architecture=${{name#*:}} ;; *) architecture=$(dpkg --print-architecture) ;; esac
  file={cache}/"${{name%%:*}}_${{version}}"
  for file in "${{file}}_$architecture.deb" "${{file}}_all.deb" none; do
    [ ! -e "$file" ] || {{ set -- "$@" "$file"; continue 2; }}
  done
  missing="$missing $want"
done
[ -z "$missing" ] || {{ echo "E: no archive and no cache has these any more:$missing" >&2; exit 100; }}
for name in $({install} -s "$@" {unwanted} 2>/dev/null </dev/null | sed -n 's/^Remv \([^ ]*\) .*/\1/p'); do
  case " "{gone}" " in *" $name "*) ;; *) echo "E: $name would have to be removed" >&2; exit 100 ;; esac
done
{install} "$@" {unwanted} 1>&2 </dev/null
""".strip()


def restore_command(changes: tuple[PackageChange, ...], *, lock_timeout: timedelta) -> str:
    """Put the former versions back, from the archives or from apt's cache, all of them or none.

    Where anything would have to be removed beyond that, nothing is changed. What the changes newly
    installed is removed ("NAME-" of apt-get(8)), what they removed comes back.
    """
    wanted = [f"{c.name}={c.from_version}" for c in changes if c.from_version]
    unwanted = [f"{c.name}-" for c in changes if not c.from_version]
    forced = (word for force in _KEEP_CONFFILES for word in ("-o", f"Dpkg::Options::={force}"))
    lock = f"DPkg::Lock::Timeout={whole_seconds(lock_timeout)}"
    options = ("-y", "--allow-downgrades", "-o", "Dpkg::Use-Pty=0", "-o", lock, *forced)
    gone = [change.name for change in changes if not change.from_version]
    return _RESTORE.format(
        wanted=shlex.join(wanted),
        cache="/var/cache/apt/archives",
        install=shlex.join((*_ENVIRONMENT, "apt-get", *options, "install")),
        unwanted=shlex.join(unwanted),
        gone=shlex.quote(" ".join(gone)),
    )


# --print-uris plans, names the sizes, and lists what it would fetch instead of going on; without
# locking, so that nothing is disturbed. (--assume-no would decline, but apt asks no question about
# packages that were all named.) Should it go on all the same, dpkg is told to change nothing.
_SIZES = (
    *("apt-get", "-y", "--print-uris"),
    *("-o", "Debug::NoLocking=1", "-o", "Dpkg::Options::=--no-act"),
)
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


def plan_script(transaction: Transaction) -> str:
    """A script that plans the upgrade and changes nothing. Needs no privilege."""
    action = _action(transaction)
    told = tuple(word for word in action if word != "--no-remove")
    unneeded = ("apt-get", "-s", "-y", "--auto-remove", *told)
    return framed_script(
        HEALTH,
        f"part simulation {shlex.join(('apt-get', '-s', '-y', *action))}",
        POLICY,
        "part installed installed",
        f"part sizes {shlex.join((*_SIZES, *action))}",
        *((f"part unneeded {shlex.join(unneeded)}",) if transaction.autoremove else ()),
    )


@parser
def parse_plan(output: bytes) -> Plan:
    """Understand the output of `plan_script`. Raises ParseFailed."""
    parts = parse_parts(output, expected=("simulation", "installed", "sizes"))
    planned = parts["simulation"]
    if planned.status != 0:
        return Plan(failure=diagnose(planned.status, f"{planned.stdout}\n{planned.stderr}"))
    simulation = parse_simulation(planned.stdout, part="simulation")
    policies = parse_policy(parts["policy"].stdout) if "policy" in parts else {}
    installed = parse_installed(parts["installed"].stdout)
    pending = pending_packages(simulation, policies, installed.held)
    download, disk = parse_sizes(parts["sizes"].stdout)
    unneeded: tuple[tuple[str, str], ...] = ()
    if "unneeded" in parts:
        more = parse_simulation(parts["unneeded"].stdout, part="unneeded").removed
        unneeded = tuple(package for package in more if package not in simulation.removed)
    changed = {package.name for package in simulation.changes}
    return Plan(
        changes=tuple(p for p in pending if p.name in changed),
        left=tuple(p for p in pending if p.name not in changed),
        removed=simulation.removed,
        unneeded=unneeded,
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
        disk = _bytes(match["size"])
        if disk is not None and not match["way"].startswith("of"):
            disk = -disk
    if "\n0 upgraded, 0 newly installed, 0 to remove" in text:
        return download or 0, disk or 0
    return download, disk


def _bytes(size: str) -> int | None:
    # apt counts in powers of 1000 and rounds to three digits or so.
    match = _SIZE.match(size)
    if match is None:
        raise ParseFailed(part="sizes", line=size)
    number = float(match["number"].replace(",", ""))
    scale = float("1e" + str(3 * " kMGTPEZY".index(match["unit"] or " ")))
    return size_in_bytes(number * scale)


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
