"""Commands that change the packages of a Debian host, and the parser of their dry run.

The options are those of apt-get(8) and apt.conf(5); dpkg's answers to conffile prompts are those of
dpkg(1): the default where there is one, else the file as the administrator left it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from tendhost.server.domain.bounds import size_in_bytes
from tendhost.server.domain.inventory.inventory import PackageChange, PendingPackage, Withheld
from tendhost.server.domain.shell_words import quoted, quoted_words
from tendhost.server.packages.apt.dpkg import InstalledPackages
from tendhost.server.packages.apt.failures import diagnose
from tendhost.server.packages.apt.listing import (
    AptPolicy,
    Simulation,
    judge_security,
    judged_changes,
    names_security_archive,
    parse_policy,
    parse_simulation,
    pending_packages,
)
from tendhost.server.packages.apt.settings import APT_CACHE, APT_GET, DEFINE
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.failures import PackageFailure
from tendhost.server.packages.package_manager import Plan, Transaction
from tendhost.server.packages.script import Part, framed_script, parse_parts, whole_seconds

_ENVIRONMENT = (
    *("env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l"),
    *("DPKG_COLORS=never", "NO_COLOR=1", "LC_ALL=C"),
)
_KEEP_CONFFILES = ("--force-confdef", "--force-confold")


def _apt_get(*words: str) -> str:
    """The command for sh, where settings.DEFINE stands before it."""
    return f"{quoted_words(_ENVIRONMENT)} {APT_GET} {quoted_words(words)}"


def upgrade_command(transaction: Transaction) -> str:
    """The upgrade: progress for AptStatusParser goes to stdout, everything for people to stderr."""
    upgrade = _apt_get(
        "-y",
        *_locks_for(transaction.lock_timeout),
        *_keep_conffiles(),
        *("-o", "APT::Status-Fd=3"),
        *_action(transaction),
    )
    if transaction.unneeded and not transaction.download_only:
        # Whatever depends on them is unneeded as well, and named; anything else is not to go.
        remove = _apt_get("-y", "-o", "APT::Status-Fd=3", "remove", "--", *transaction.unneeded)
        count = len(transaction.unneeded)
        upgrade = f"{upgrade} && {{ {_REMOVES_NO_OTHERS.format(count=count, remove=remove)}; }}"
    return f"{{\n{DEFINE}\n{upgrade}\n}} 3>&1 1>&2 </dev/null"


def _locks_for(timeout: timedelta) -> tuple[str, ...]:
    return ("-o", f"DPkg::Lock::Timeout={whole_seconds(timeout)}")


def _keep_conffiles() -> tuple[str, ...]:
    return tuple(word for force in _KEEP_CONFFILES for word in ("-o", f"Dpkg::Options::={force}"))


_REMOVES_NO_OTHERS = r"""
[ "$({remove} -s 3>/dev/null | grep -c '^Remv ')" -le {count} ] || {{
  echo "E: what was not needed any more is needed by others now" >&2; exit 100; }}
{remove}
""".strip()


def repair_command() -> str:
    """Finish what an interrupted dpkg left, under the same rules for configuration files."""
    words = (*_ENVIRONMENT, "dpkg", *_KEEP_CONFFILES, "--configure", "-a")
    return f"{quoted_words(words)} 1>&2 </dev/null"


def _action(transaction: Transaction) -> tuple[str, ...]:
    """The options and the command of apt-get(8) that perform the transaction."""
    options: list[str] = []
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
{settings}
archives=/var/cache/apt/archives/; eval "$(apt-config shell archives Dir::Cache::Archives/d)"
missing=; set --
for want in {wanted}; do
  if {cache_command} show "$want" >/dev/null 2>&1; then set -- "$@" "$want"; continue; fi
  name=${{want%%=*}}; version=$(printf %s "${{want#*=}}" | sed 's/:/%3a/g')
  case $name in *:*) architecture=${{name#*:}} ;; *) architecture=$(dpkg --print-architecture) ;; esac
  file=$archives${{name%%:*}}_$version
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
    options = ("-y", "--allow-downgrades", *_locks_for(lock_timeout), *_keep_conffiles())
    gone = [change.name for change in changes if not change.from_version]
    return _RESTORE.format(
        settings=DEFINE,
        cache_command=APT_CACHE,
        wanted=quoted_words(wanted),
        install=_apt_get(*options, "install"),
        unwanted=quoted_words(unwanted),
        gone=quoted(" ".join(gone)),
    )


# --print-uris plans, names the sizes, and lists what it would fetch instead of going on; without
# locking, so that nothing is disturbed. (--assume-no would decline, but apt asks no question about
# packages that were all named.) Should it go on all the same, dpkg is told to change nothing.
_SIZES = (
    *("-y", "--print-uris"),
    *("-o", "Debug::NoLocking=1", "-o", "Dpkg::Options::=--no-act"),
)
# What of the answer is kept are the packages of which the archives have a newer version, or a pin wants another.
LISTING = rf"""
part installed installed
updatable() {{
  {APT_CACHE} policy "$@" | awk '
    function finish() {{ if (wanted || installed != candidate) printf "%s", block; block = "" }}
    /^[^ ]/ {{ finish(); wanted = seen = 0; installed = candidate = "" }}
    {{ block = block $0 "\n" }}
    /^  Installed: / {{ installed = $2 }}
    /^  Candidate: / {{ candidate = $2 }}
    /^ (\*\*\*|   ) [^ ]/ && !seen {{ seen = 1; wanted = $1 != "***" }}
    END {{ finish() }}'
}}
names=$(printf '%s\n' "$out" | awk -F '\t' '
  NR == 1 {{ native = $1; next }}
  $1 ~ /^.[^nc]/ {{ print $3 == native || $3 == "all" ? $2 : $2 ":" $3 }}')
[ -z "$names" ] || part policy updatable $names
part sources {APT_CACHE} policy
""".strip()
"""Asks for the installed packages, the policy of those that are not what the archives have, and the archives."""


# Of what is newly installed the line of the simulation itself says all.
_CHANGED = rf"""
names=$(printf '%s\n' "$out" | sed -n 's/^Inst \([^ ]*\) \[.*/\1/p')
[ -z "$names" ] || part policy {APT_CACHE} policy $names
part sources {APT_CACHE} policy
""".strip()
"""Asks for the policy of what the simulation changes, and the archives."""


def plan_script(transaction: Transaction) -> str:
    """A script that plans the upgrade and changes nothing. Needs no privilege."""
    action = _action(transaction)
    told = tuple(word for word in action if word != "--no-remove")
    return framed_script(
        DEFINE,
        f"part simulation {APT_GET} {quoted_words(('-s', '-y', *action))}",
        _CHANGED,
        f"part sizes {APT_GET} {quoted_words((*_SIZES, *action))}",
        *(
            (f"part unneeded {APT_GET} {quoted_words(('-s', '-y', '--auto-remove', *told))}",)
            if transaction.autoremove
            else ()
        ),
    )


@parser
def parse_plan(output: bytes) -> Plan:
    """Understand the output of `plan_script`. Raises ParseFailed."""
    parts = parse_parts(output, expected=("simulation", "sizes"))
    planned = parts["simulation"]
    if planned.status != 0:
        return Plan(failure=_refused(planned))
    simulation = parse_simulation(planned.stdout, part="simulation")
    changes = judged_changes(simulation, _policies(parts))
    changes = judge_security(changes, known=_tells_security(parts, changes))
    download, disk = parse_sizes(parts["sizes"].stdout)
    unneeded: tuple[tuple[str, str], ...] = ()
    if "unneeded" in parts:
        more = parse_simulation(parts["unneeded"].stdout, part="unneeded").removed
        unneeded = tuple(package for package in more if package not in simulation.removed)
    return Plan(
        changes=tuple(change for change in changes if change.withheld is Withheld.NO),
        removed=simulation.removed,
        unneeded=unneeded,
        download_bytes=download,
        disk_bytes=disk,
    )


def _refused(part: Part) -> PackageFailure:
    """Why apt refuses to plan; it does not name what it would have to downgrade in the reason itself."""
    failure = diagnose(part.status, f"{part.stdout}\n{part.stderr}")
    names = parse_simulation(part.stdout, part="simulation").downgraded
    if not names or "downgraded" not in failure.reason:
        return failure
    reason = f"{', '.join(names)} would be downgraded: {failure.reason}"
    return replace(failure, reason=reason, packages=names)


def listed_packages(
    parts: Mapping[str, Part], simulation: Simulation, installed: InstalledPackages
) -> tuple[tuple[PendingPackage, ...], bool]:
    """What is pending by the parts of LISTING, and whether an archive tells what is a security update.

    Raises ParseFailed.
    """
    pending = pending_packages(simulation, _policies(parts), installed.held)
    known = _tells_security(parts, pending)
    return judge_security(pending, known=known), known


def _policies(parts: Mapping[str, Part]) -> Mapping[str, AptPolicy]:
    return parse_policy(parts["policy"].stdout) if "policy" in parts else {}


def _tells_security(parts: Mapping[str, Part], packages: Iterable[PendingPackage]) -> bool:
    return any(package.security for package in packages) or (
        "sources" in parts and names_security_archive(parts["sources"].stdout)
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
