"""dnf 4, dnf 5 and yum 3 as package managers of tendhost."""

import math
import re
import shlex
from collections.abc import Mapping
from datetime import datetime, timedelta

from tendhost.server.domain.inventory.inventory import Advisory, PackageChange, Pending
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.dnf.failures import LOCKED, diagnose
from tendhost.server.packages.dnf.listing import (
    DnfListing,
    parse_advised,
    parse_advisories,
    parse_check_update,
    parse_needs_restarting,
    parse_published,
    parse_sizes,
    parse_table,
    parse_upgrades,
    parse_versionlock,
    pending_packages,
    planned_changes,
)
from tendhost.server.packages.dnf.progress import DnfLogParser
from tendhost.server.packages.errors import (
    ArchiveUntrusted,
    DiskFull,
    LockHeld,
    NotPrivileged,
    PackageCommandFailed,
    PackageDatabaseBroken,
    PackageError,
    RefreshFailed,
)
from tendhost.server.packages.facts import FACTS, HostFacts, Privilege
from tendhost.server.packages.failures import FailureKind, PackageFailure
from tendhost.server.packages.package_manager import PackageReport, Plan, Transaction
from tendhost.server.packages.rpm import RPM, InstalledRpms, parse_lock, parse_rpms
from tendhost.server.packages.script import Part, framed_script, parse_parts, require

# Without root dnf has a cache and keys of its own, so it is asked as root where that is possible.
# yum and dnf 4 write to no terminal here; dnf 5 is told how wide its table may be.
Advisories = Mapping[tuple[str, str], tuple[Advisory, ...]]

_FUNCTIONS = r"""
as_dnf() {
  if [ "$privileged" = 0 ]; then as_root env FORCE_COLUMNS=200 "$@" </dev/null
  else env FORCE_COLUMNS=200 "$@" </dev/null; fi
}
dnf_lock() {
  for file in /var/lib/dnf/rpmdb_lock.pid /var/cache/dnf/metadata_lock.pid /run/yum.pid; do
    pid=$(cat $file 2>/dev/null) || continue
    [ ! -e "/proc/$pid/comm" ] || { echo "$file $pid $(cat "/proc/$pid/comm")"; return; }
  done
  rpm_lock
}
patiently_dnf() {
  left=$1; shift
  while words=$(as_dnf "$@" 2>&1); rc=$?; [ $rc = 200 ] && [ "$left" -gt 0 ]; do
    sleep 1; left=$((left - 1))
  done
  printf '%s\n' "$words" >&2
  return $rc
}
free_dnf() {
  left=$1
  while holder=$(dnf_lock); [ -n "$holder" ] && [ "$left" -gt 0 ]; do
    sleep 1; left=$((left - 1))
  done
  printf %s "$holder"
}
""".strip()
_FORMAT = "%{name}\t%{epoch}\t%{version}-%{release}\t%{arch}\t%{repoid}"


class Dnf:
    """dnf(8), version 4."""

    name = "dnf"
    command = "dnf"
    systems: tuple[str, ...] = (*("fedora", "rhel", "centos", "rocky", "almalinux", "ol", "amzn"),)
    cache = "/var/cache/dnf"
    progress_in_log = True

    _exit_on_lock = "--setopt=exit_on_lock=True"
    _locks = "/etc/dnf/plugins/versionlock.list"
    _cached = "-C"
    _format = _FORMAT
    _everything = "--disableexcludes=all"

    # --- asking -----------------------------------------------------------------------------------

    def _dnf(self, *words: str) -> str:
        return shlex.join(("as_dnf", self.command, "-q", self._cached, *words))

    def query_lines(self, *, refresh: bool, lock_timeout: timedelta) -> str:
        """See PackageManager.

        A repository that cannot be had is an error even where its configuration would skip it.
        """
        seconds = _seconds(lock_timeout)
        strict = ("--setopt=skip_if_unavailable=False", "--setopt=*.skip_if_unavailable=False")
        makecache = shlex.join(
            (self.command, "-y", "-q", self._exit_on_lock, *strict, "makecache", "--refresh")
        )
        return "\n".join(
            (
                RPM,
                _FUNCTIONS,
                f'[ "$privileged" != 0 ] || part refresh patiently_dnf {seconds} {makecache}'
                if refresh
                else ":",
                "part installed rpms",
                f"part updates {self._dnf('check-update')}",
                f"part advised as_dnf find {self.cache} -maxdepth 5 -name '*updateinfo*'",
                *self._asked_apart(),
            )
        )

    def _asked_apart(self) -> tuple[str, ...]:
        """The lines for what each of the family has a command of its own for."""
        return (
            *self._asked_in_common(),
            f"part advisories {self._dnf('updateinfo', 'list', '--updates')}",
            f"part advisory_info {self._dnf('updateinfo', 'info', '--updates')}",
        )

    def _asked_in_common(self) -> tuple[str, ...]:
        everything = (self._everything, "repoquery", "--upgrades", "--qf", self._format)
        return (
            f"part upgrades {self._dnf(*everything)}",
            f"part locks cat {self._locks}",
            f"part needs_restarting {self._dnf('needs-restarting', '-r')}",
        )

    def parse_query(
        self, parts: Mapping[str, Part], facts: HostFacts, at: datetime
    ) -> PackageReport:
        """See PackageManager."""
        require(parts, "installed", "updates", "locks", "advisories")
        problems: list[PackageError] = []
        if "refresh" in parts:
            problems += _refresh_problems(parts["refresh"])
        elif facts.privilege is Privilege.NONE:
            problems.append(NotPrivileged(user=facts.user, words=facts.privilege_words))
        try:
            installed = parse_rpms(parts["installed"])
        except PackageDatabaseBroken as error:
            return PackageReport(problems=(*problems, error))
        pending, refused = _pending(self, parts, installed, at)
        return PackageReport(
            installed=installed.packages,
            pending=pending,
            kernels=installed.kernels,
            reboot=parse_needs_restarting(parts["needs_restarting"])
            if "needs_restarting" in parts
            else None,
            problems=(*problems, *((refused,) if refused else ())),
        )

    def parse_advisories(self, listed: str, told: str) -> Advisories:
        """What was published, by name and architecture of the package. Raises ParseFailed."""
        return parse_advisories(listed, told)

    def preflight_lines(self, *, lock_timeout: timedelta) -> str:
        """See PackageManager: `check --duplicates` finds what an interrupted transaction left."""
        return "\n".join(
            (
                RPM,
                _FUNCTIONS,
                f"part lock free_dnf {_seconds(lock_timeout)}",
                "part installed rpms",
                f"part duplicates {self._duplicates()}",
            )
        )

    def _duplicates(self) -> str:
        return self._dnf("check", "--duplicates")

    def parse_preflight(
        self, parts: Mapping[str, Part], facts: HostFacts
    ) -> tuple[PackageError, ...]:
        """See PackageManager."""
        require(parts, "lock", "installed", "duplicates")
        problems: list[PackageError] = []
        if facts.privilege is Privilege.NONE:
            problems.append(NotPrivileged(user=facts.user, words=facts.privilege_words))
        holder = parse_lock(parts["lock"])
        if holder is not None:
            problems.append(holder)
        try:
            parse_rpms(parts["installed"])
        except PackageDatabaseBroken as error:
            return (*problems, error)
        names = tuple(dict.fromkeys(_DUPLICATE.findall(parts["duplicates"].stdout)))
        if names:
            words = "a transaction was interrupted, and packages are there twice"
            problems.append(PackageDatabaseBroken(words=words, packages=names, repairable=True))
        return tuple(problems)

    # --- changing ---------------------------------------------------------------------------------

    def plan_script(self, transaction: Transaction) -> str:
        """See PackageManager.

        --assumeno declines; should a host's configuration keep dnf from asking, rpm only tests.
        """
        dnf = ("as_dnf", self.command, self._cached, "--assumeno", "--setopt=tsflags=test")
        plan = shlex.join((*dnf, *self._upgrade(transaction)))
        unneeded = shlex.join((*dnf, "autoremove"))
        return framed_script(
            FACTS,
            RPM,
            _FUNCTIONS,
            "part installed rpms",
            f"part plan {plan if _upgrades(transaction) else 'echo Nothing to do.'}",
            *((f"part unneeded {unneeded}",) if transaction.autoremove else ()),
        )

    @parser
    def parse_plan(self, output: bytes) -> Plan:
        """See PackageManager."""
        parts = parse_parts(output, expected=("installed", "plan"))
        try:
            installed = parse_rpms(parts["installed"])
        except PackageDatabaseBroken as error:
            kind = FailureKind.DATABASE_UNREADABLE
            return Plan(failure=PackageFailure(kind=kind, reason=str(error)))
        native = parts["installed"].stdout.partition("\n")[0]
        part = parts["plan"]
        said = f"{part.stdout}\n{part.stderr}"
        rows = parse_table(part.stdout)
        if not rows and "Nothing to do" not in said:
            failure = diagnose(part.status or 1, said)
            return Plan(failure=failure)
        changes, removed = planned_changes(rows, installed.packages, native)
        if "unneeded" in parts:
            _, unneeded = planned_changes(
                parse_table(parts["unneeded"].stdout), installed.packages, native
            )
        else:
            unneeded = ()
        download, disk = parse_sizes(said)
        return Plan(
            changes=changes,
            removed=removed,
            unneeded=unneeded,
            download_bytes=download,
            disk_bytes=disk,
        )

    def upgrade_command(self, transaction: Transaction) -> str:
        """See PackageManager. Everything goes to the log; what was done is in dnf's history."""
        dnf = shlex.join(("env", "LC_ALL=C", "FORCE_COLUMNS=200", self.command, "-y"))
        upgrade = f"{dnf} {shlex.join((self._exit_on_lock, *self._upgrade(transaction)))}"
        unneeded = transaction.unneeded and not transaction.download_only
        remove = (self._exit_on_lock, _ONLY_THESE, "remove", "--", *transaction.unneeded)
        return _PATIENT.format(
            seconds=_seconds(transaction.lock_timeout),
            locked=LOCKED,
            upgrade=upgrade if _upgrades(transaction) else ":",
            then=f"{dnf} {shlex.join(remove)}" if unneeded else ":",
            history=f"{dnf} -q {self._cached} history list",
        )

    def _upgrade(self, transaction: Transaction) -> tuple[str, ...]:
        """The options and the command that perform the transaction, but for what is not needed."""
        options = []
        if transaction.download_only:
            options.append("--downloadonly")
        if transaction.allow_removals:
            options.append("--allowerasing")
        options += [f"--exclude={glob}" for glob in transaction.exclude]
        # What would be newly installed follows from those that need it.
        named = [p for p in transaction.packages or () if p.from_version]
        words = [_spec(p.name, p.to_version) if transaction.exact else p.name for p in named]
        return ("upgrade", *options, *(("--", *words) if words else ()))

    def repair_command(self) -> str:
        """See PackageManager: reinstalls the newer one of what is there twice, and drops the older."""
        dnf = shlex.join(("env", "LC_ALL=C", self.command, "-y", self._exit_on_lock))
        return f"{{ {dnf} remove --duplicates; }} 1>&2 </dev/null"

    def restore_command(
        self, changes: tuple[PackageChange, ...], *, lock_timeout: timedelta
    ) -> str:
        """See PackageManager.

        By the versions, and not by dnf's history, which knows nothing of what was repaired in between.
        A kernel that was installed beside the others stays, for it may be the one that runs, and one
        that was removed for it is not missed.
        """
        dnf = shlex.join(("env", "LC_ALL=C", self.command, "-y", self._exit_on_lock))
        ours = [change for change in changes if not _KERNEL.match(change.name)]
        former = [_spec(c.name, c.from_version) for c in ours if c.from_version and c.to_version]
        gone = [_spec(c.name, c.from_version) for c in ours if not c.to_version]
        unwanted = [change.name for change in ours if not change.from_version]
        lines = []
        if former:
            lines.append(f"{dnf} downgrade -- {shlex.join(former)} || exit")
        if gone:
            lines.append(f"{dnf} install -- {shlex.join(gone)} || exit")
        if unwanted:
            lines.append(f"{dnf} {_ONLY_THESE} remove -- {shlex.join(unwanted)} || exit")
        wanted = shlex.join((*former, *gone))
        return _RESTORE.format(
            wanted=wanted,
            known=self._available(wanted) if wanted else ":",
            seconds=_seconds(lock_timeout),
            locked=LOCKED,
            lines="\n".join(lines) or ":",
        )

    def _available(self, specs: str) -> str:
        """The command that prints which of these versions are to be had, with and without architecture."""
        known = shlex.join(("repoquery", "--available", "--qf", _EVERY_SPEC))
        return f"env LC_ALL=C {self.command} -y -q {self._everything} {known} -- {specs}"

    # --- understanding ----------------------------------------------------------------------------

    def progress_parser(self) -> DnfLogParser:
        """See PackageManager."""
        return DnfLogParser()

    @parser
    def failure(self, exit_status: int, output: str) -> PackageFailure | None:
        """See PackageManager."""
        return diagnose(exit_status, output)

    @parser
    def kept_conffiles(self, output: str) -> tuple[str, ...]:
        """See PackageManager: rpm put the package's file beside the local one."""
        return tuple(dict.fromkeys(_RPMNEW.findall(output)))


class Dnf5(Dnf):
    """dnf5(8), Fedora's since version 41. It waits for its lock by itself, and for ever."""

    name = "dnf5"
    command = "dnf5"
    systems = ("fedora", "rhel", "centos")
    cache = "/var/cache/libdnf5"

    _exit_on_lock = "--setopt=exit_on_lock=True"
    _locks = "/etc/dnf/versionlock.toml"
    _format = _FORMAT + r"\n"  # which dnf 5 wants to be named
    _everything = "--setopt=disable_excludes=*"

    def _asked_apart(self) -> tuple[str, ...]:
        published = self._dnf("advisory", "info", "--updates", "--json")
        return (*self._asked_in_common(), f"part advisories {published}")

    def parse_advisories(self, listed: str, told: str) -> Advisories:
        """What was published, by name and architecture of the package. Raises ParseFailed."""
        return parse_published(listed)


class Yum(Dnf):
    """yum(8), version 3, of CentOS 7; repoquery and needs-restarting are yum-utils' there."""

    name = "yum"
    command = "yum"
    cache = "/var/cache/yum"

    _locks = "/etc/yum/pluginconf.d/versionlock.list"

    def _asked_apart(self) -> tuple[str, ...]:
        restarting = "command -v needs-restarting >/dev/null"
        return (
            f"part locks cat {self._locks}",
            f"part advisories {self._dnf('updateinfo', 'list', 'updates')}",
            f"part advisory_info {self._dnf('updateinfo', 'info', 'updates')}",
            f"! {restarting} || part needs_restarting as_dnf needs-restarting -r",
        )

    def _available(self, specs: str) -> str:
        return f"printf '%s\\n' {specs}"  # yum has no such query; its downgrade fails by itself


_PATIENT = r"""
{{
left={seconds}
while {upgrade}; rc=$?; [ $rc = {locked} ] && [ $left -gt 0 ]; do sleep 2; left=$((left - 2)); done
[ $rc != 0 ] || {{ {then}; rc=$?; }}
id=$({history} 2>/dev/null | sed -n 's/^ *\([0-9][0-9]*\) .*/\1/p' | head -n 1)
[ -z "$id" ] || echo "dnf history: transaction $id"
exit $rc
}} 1>&2 </dev/null
""".strip()
# Whatever is not to be had any more is named before anything is changed: dnf itself passes over it.
_RESTORE = r"""
{{
missing=; known=$({known})
for want in {wanted}; do
  printf '%s\n' "$known" | grep -Fqx -e "$want" || missing="$missing $want"
done
[ -z "$missing" ] || {{ echo "Error: no repository has these any more:$missing"; exit 1; }}
restore() {{
(
{lines}
)
}}
left={seconds}
while restore; rc=$?; [ $rc = {locked} ] && [ $left -gt 0 ]; do sleep 2; left=$((left - 2)); done
exit $rc
}} 1>&2 </dev/null
""".strip()
_EVERY_SPEC = r"%{name}-%{evr}\n%{name}-%{evr}.%{arch}\n"
_ONLY_THESE = "--setopt=clean_requirements_on_remove=False"
_ARCHITECTURE = re.compile(
    r"(?P<name>.+)\.(?P<architecture>i[3-6]86|x86_64|aarch64|noarch|ppc64le|s390x)"
)
_DUPLICATE = re.compile(r"^(\S+?)-[^-\s]+-[^-\s]+ is a duplicate with ", re.MULTILINE)
_RPMNEW = re.compile(r"^warning: (/\S.*) created as \1\.rpmnew$", re.MULTILINE)
_KERNEL = re.compile(r"kernel(?:-|\Z)")
_UNTRUSTED = re.compile(
    r"GPG signature verification error|Bad GPG signature|repomd\.xml\.asc|GPG check FAILED"
)
_REPOSITORY = re.compile(r"(?:for repo|for repository|repository) ['\"]([^'\"]+)['\"]")


def _spec(name: str, version: str) -> str:
    """One version of a package as dnf(8) takes it: "bash-5.2-1.fc40", "glibc-2.39-4.fc40.i686"."""
    foreign = _ARCHITECTURE.fullmatch(name)
    if foreign is None:
        return f"{name}-{version}"
    return f"{foreign['name']}-{version}.{foreign['architecture']}"


def _upgrades(transaction: Transaction) -> bool:
    """Whether there is anything to upgrade at all."""
    packages = transaction.packages
    return packages is None or any(package.from_version for package in packages)


def _seconds(duration: timedelta) -> int:
    return max(0, math.ceil(duration.total_seconds()))


def _refresh_problems(part: Part) -> list[PackageError]:
    if part.status == 0:
        return []
    if part.status == LOCKED:
        return [LockHeld(path="dnf's cache", pid=0, command="")]
    failure = diagnose(part.status, part.stderr)
    reason = failure.reason if failure else part.words
    sources = tuple(dict.fromkeys(_REPOSITORY.findall(part.stderr)))
    if failure and failure.kind is FailureKind.DISK_FULL:
        return [DiskFull(words=reason)]
    if _UNTRUSTED.search(part.stderr):
        return [ArchiveUntrusted(sources=sources, words=reason)]
    return [RefreshFailed(sources=sources, words=reason)]


def _pending(
    dnf: Dnf, parts: Mapping[str, Part], installed: InstalledRpms, at: datetime
) -> tuple[Pending, PackageError | None]:
    for name, fine in (("updates", (0, 100)), ("upgrades", (0,))):
        part = parts.get(name)
        if part is None or part.status in fine:
            continue
        failure = diagnose(part.status, f"{part.stdout}\n{part.stderr}")
        words = failure.reason if failure else part.words
        command = f"{dnf.command} {'check-update' if name == 'updates' else 'repoquery'}"
        return Pending(), PackageCommandFailed(
            command=command, exit_status=part.status, words=words
        )
    allowed = parse_check_update(parts["updates"].stdout)
    listed, told, advised = (
        parts[name].stdout if name in parts and parts[name].status == 0 else ""
        for name in ("advisories", "advisory_info", "advised")
    )
    listing = DnfListing(
        # Without repoquery there is nothing to compare with: what is held is not seen.
        upgrades=parse_upgrades(parts["upgrades"].stdout) if "upgrades" in parts else allowed,
        allowed=frozenset((upgrade.name, upgrade.architecture) for upgrade in allowed),
        locked=parse_versionlock(parts["locks"].stdout),
        advisories=dnf.parse_advisories(listed, told),
        advised=parse_advised(advised) if parts["advisories"].status == 0 else (),
        native=parts["installed"].stdout.partition("\n")[0],
    )
    packages = pending_packages(listing, installed.packages)
    return Pending(packages=packages, queried_at=at), None
