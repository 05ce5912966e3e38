"""The package managers dnf 4, dnf 5 and yum 3."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tendhost.server.domain.inventory.inventory import Advisory, PackageChange, Pending, Reboot
from tendhost.server.domain.shell_words import quoted_words
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
    with_replacements,
)
from tendhost.server.packages.dnf.progress import DnfLogParser
from tendhost.server.packages.errors import (
    LockHeld,
    NoSpaceLeft,
    NotRefreshed,
    PackageCommandFailed,
    PackageError,
    SourceUntrusted,
)
from tendhost.server.packages.failures import FailureKind, PackageFailure
from tendhost.server.packages.kernels import belongs_to_kernel
from tendhost.server.packages.package_manager import Plan, Transaction
from tendhost.server.packages.progress import TransactionProgress
from tendhost.server.packages.rpm.causes import refused_for_long
from tendhost.server.packages.rpm.database import InstalledRpms
from tendhost.server.packages.rpm.locks import retry_while_locked
from tendhost.server.packages.rpm.manager import RpmPackageManager
from tendhost.server.packages.script import Part, whole_seconds

Advisories = Mapping[tuple[str, str], tuple[Advisory, ...]]

# Without root dnf has a cache and keys of its own, so it is asked as root where that is possible.
# yum and dnf 4 write to no terminal here; dnf 5 is told how wide its table may be.
_FUNCTIONS = r"""
as_dnf() { as_root_or_user env FORCE_COLUMNS=200 "$@" </dev/null; }
dnf_lock() {
  for file in /var/lib/dnf/rpmdb_lock.pid /var/cache/dnf/metadata_lock.pid /run/yum.pid; do
    pid=$(cat $file 2>/dev/null) || continue
    [ ! -e "/proc/$pid/comm" ] || { echo "$file $pid $(cat "/proc/$pid/comm")"; return; }
  done
  rpm_lock
}
""".strip()
_FORMAT = "%{name}\t%{epoch}\t%{version}-%{release}\t%{arch}\t%{repoid}"


class Dnf(RpmPackageManager):
    """dnf(8), version 4."""

    name = "dnf"
    command = "dnf"
    systems: tuple[str, ...] = (*("fedora", "rhel", "centos", "rocky", "almalinux", "ol", "amzn"),)
    cache = "/var/cache/dnf"

    functions = _FUNCTIONS
    lock_function = "dnf_lock"
    query_parts = ("updates", "locks", "advisories")
    duplicates_part = "duplicates"
    empty_plan = "echo Nothing to do."

    _exit_on_lock = "--setopt=exit_on_lock=True"
    # What dnf.conf(5) may set otherwise, and what would change what is printed or whether anything is done.
    _printing: tuple[str, ...] = ("--setopt=color=never",)
    _levels: tuple[str, ...] = ("--setopt=debuglevel=2", "--setopt=errorlevel=3")
    _acting: tuple[str, ...] = ("--setopt=assumeno=False",)
    _locks = "/etc/dnf/plugins/versionlock.list"
    _cached = "-C"
    _format = _FORMAT
    _everything = "--disableexcludes=all"
    _marks_scriptlets = False
    """Whether each line that a scriptlet prints begins with a mark."""

    # --- query and preflight ----------------------------------------------------------------------

    def _dnf(self, *words: str) -> str:
        return quoted_words(("as_dnf", self.command, "-q", self._cached, *self._printing, *words))

    def _refresh_command(self, seconds: int) -> str:
        # A repository that cannot be reached is an error even where its configuration would skip it.
        strict = ("--setopt=skip_if_unavailable=False", "--setopt=*.skip_if_unavailable=False")
        # Quiet, dnf would tell neither the status of HTTP nor the error of curl.
        words = ("-y", self._exit_on_lock, *strict, "makecache", "--refresh")
        return f"retry_locked {LOCKED} {seconds} as_dnf {quoted_words((self.command, *words))}"

    def _refresh_problem(self, part: Part) -> PackageError | None:
        if part.status == 0:
            return None
        if part.status == LOCKED:
            return LockHeld(path="dnf's cache", pid=0, command="")
        failure = diagnose(part.status, part.stderr)
        reason = failure.reason if failure else part.message
        sources = tuple(dict.fromkeys(_REPOSITORY.findall(part.stderr)))
        if failure and failure.kind is FailureKind.DISK_FULL:
            return NoSpaceLeft(text=reason)
        if _UNTRUSTED.search(part.stderr):
            return SourceUntrusted(sources=sources, text=reason)
        return NotRefreshed(sources=sources, text=reason, lasting=refused_for_long(part.stderr))

    def _query_lines(self, seconds: int) -> tuple[str, ...]:
        return (
            f"part updates {self._dnf('check-update')}",
            f"part advised as_dnf find {self.cache} -maxdepth 5 -name '*updateinfo*'",
            *self._asked_apart(),
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

    def _pending(
        self, parts: Mapping[str, Part], installed: InstalledRpms, at: datetime
    ) -> tuple[Pending, PackageError | None]:
        for name, fine in (("updates", (0, 100)), ("upgrades", (0,))):
            part = parts.get(name)
            if part is None or part.status in fine:
                continue
            failure = diagnose(part.status, f"{part.stdout}\n{part.stderr}")
            text = failure.reason if failure else part.message
            command = f"{self.command} {'check-update' if name == 'updates' else 'repoquery'}"
            return Pending(), PackageCommandFailed(
                command=command, exit_status=part.status, text=text
            )
        allowed = parse_check_update(parts["updates"].stdout)
        listed, told, advised = (
            parts[name].stdout if name in parts and parts[name].status == 0 else ""
            for name in ("advisories", "advisory_info", "advised")
        )
        listing = DnfListing(
            # Without repoquery there is nothing to compare with: what is held is not seen.
            upgrades=with_replacements(
                parse_upgrades(parts["upgrades"].stdout) if "upgrades" in parts else (), allowed
            ),
            allowed=frozenset((upgrade.name, upgrade.architecture) for upgrade in allowed),
            locked=parse_versionlock(parts["locks"].stdout),
            advisories=self.parse_advisories(listed, told),
            advised=parse_advised(advised) if parts["advisories"].status == 0 else (),
            native=installed.native_architecture,
        )
        packages = pending_packages(listing, installed.packages)
        known = bool(listing.advised or listing.advisories)
        return Pending(packages=packages, queried_at=at, security_known=known), None

    def _reboot(self, parts: Mapping[str, Part]) -> Reboot | None:
        part = parts.get("needs_restarting")
        return parse_needs_restarting(part) if part is not None else None

    def parse_advisories(self, listed: str, told: str) -> Advisories:
        """What was published, by name and architecture of the package. Raises ParseFailed."""
        return parse_advisories(listed, told)

    def _duplicates_command(self) -> str:
        return self._dnf("check", "--duplicates")

    def _duplicates(
        self, listed: str, installed: InstalledRpms, *, locked: bool
    ) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_DUPLICATE.findall(listed)))

    # --- plan -------------------------------------------------------------------------------------

    def _declined(self, *words: str) -> str:
        # --assumeno declines; should a host's configuration keep dnf from asking, rpm only tests.
        settings = (*self._printing, *self._levels)
        options = (self._cached, *settings, "--assumeno", "--setopt=tsflags=test")
        return quoted_words(("as_dnf", self.command, *options, *words))

    def _plan_command(self, transaction: Transaction) -> str:
        return self._declined(*self._upgrade(transaction))

    def _unneeded_command(self) -> str:
        return self._declined("autoremove")

    def _plan(self, parts: Mapping[str, Part], installed: InstalledRpms) -> Plan:
        part = parts["plan"]
        said = f"{part.stdout}\n{part.stderr}"
        rows = parse_table(part.stdout)
        if not rows and "Nothing to do" not in said:
            return Plan(failure=diagnose(part.status or 1, said))
        native = installed.native_architecture
        changes, removed = planned_changes(rows, installed.packages, native)
        unneeded_rows = parse_table(parts["unneeded"].stdout) if "unneeded" in parts else ()
        _, unneeded = planned_changes(unneeded_rows, installed.packages, native)
        download, disk = parse_sizes(said)
        return Plan(
            changes=changes,
            removed=removed,
            unneeded=unneeded,
            download_bytes=download,
            disk_bytes=disk,
        )

    # --- changes ----------------------------------------------------------------------------------

    def upgrade_command(self, transaction: Transaction) -> str:
        """See PackageManager. Everything goes to the log; what was done is in dnf's history."""
        dnf = quoted_words(("env", "LC_ALL=C", "FORCE_COLUMNS=200", *self._changing))
        upgrade = f"{dnf} {quoted_words((self._exit_on_lock, *self._upgrade(transaction)))}"
        unneeded = transaction.unneeded and not transaction.download_only
        remove = (self._exit_on_lock, _ONLY_THESE, "remove", "--", *transaction.unneeded)
        return _UPGRADE.format(
            patiently=retry_while_locked(
                upgrade if transaction.upgrades else ":",
                locked=LOCKED,
                seconds=whole_seconds(transaction.lock_timeout),
            ),
            then=f"{dnf} {quoted_words(remove)}" if unneeded else ":",
            history=f"{dnf} -q {self._cached} history list",
        )

    @property
    def _changing(self) -> tuple[str, ...]:
        """The beginning of every command that changes packages."""
        return (self.command, "-y", *self._printing, *self._levels, *self._acting)

    def _upgrade(self, transaction: Transaction) -> tuple[str, ...]:
        """The options and the command that perform the transaction, but for what is not needed."""
        options = []
        if transaction.download_only:
            options.append("--downloadonly")
        if transaction.allow_removals:
            options.append("--allowerasing")
        options += [f"--exclude={glob}" for glob in transaction.exclude]
        exact, named = transaction.exact, transaction.named
        words = [_spec(p.name, p.to_version) if exact else p.name for p in named]
        return ("upgrade", *options, *(("--", *words) if words else ()))

    def repair_command(self) -> str:
        """See PackageManager: reinstalls the newer one of what is there twice, and drops the older."""
        dnf = quoted_words(("env", "LC_ALL=C", *self._changing, self._exit_on_lock))
        return f"{{ {dnf} remove --duplicates; }} 1>&2 </dev/null"

    def restore_command(
        self, changes: tuple[PackageChange, ...], *, lock_timeout: timedelta
    ) -> str:
        """See PackageManager.

        By the versions, and not by dnf's history, which knows nothing of what was repaired in between.
        A kernel that was installed beside the others stays, for it may be the one that runs, and one
        that was removed for it is not missed.
        """
        dnf = quoted_words(("env", "LC_ALL=C", *self._changing, self._exit_on_lock))
        ours = [change for change in changes if not belongs_to_kernel(change.name)]
        former = [_spec(c.name, c.from_version) for c in ours if c.from_version and c.to_version]
        gone = [_spec(c.name, c.from_version) for c in ours if not c.to_version]
        # By version: one that is there beside others, which dnf.conf(5) may ask of any package, is not all of them.
        unwanted = [_spec(c.name, c.to_version) for c in ours if not c.from_version]
        lines = []
        if former:
            lines.append(f"{dnf} downgrade -- {quoted_words(former)} || exit")
        if gone:
            lines.append(f"{dnf} install -- {quoted_words(gone)} || exit")
        if unwanted:
            lines.append(f"{dnf} {_ONLY_THESE} remove -- {quoted_words(unwanted)} || exit")
        wanted = quoted_words((*former, *gone))
        return _RESTORE.format(
            wanted=wanted,
            known=self._available(wanted) if wanted else ":",
            lines="\n".join(lines) or ":",
            patiently=retry_while_locked(
                "restore", locked=LOCKED, seconds=whole_seconds(lock_timeout)
            ),
        )

    def _available(self, specs: str) -> str:
        """The command that prints which of these versions are to be had, with and without architecture."""
        known = quoted_words(("repoquery", "--available", "--qf", _EVERY_SPEC))
        return f"env LC_ALL=C {self.command} -y -q {self._everything} {known} -- {specs}"

    # --- output -----------------------------------------------------------------------------------

    def progress_parser(self) -> DnfLogParser:
        """See PackageManager."""
        return DnfLogParser()

    @parser
    def failure(
        self, exit_status: int, output: str, errors: Sequence[TransactionProgress] = ()
    ) -> PackageFailure | None:
        """See PackageManager. All is in the log."""
        return diagnose(exit_status, output, marked=self._marks_scriptlets)


class Dnf5(Dnf):
    """dnf5(8), Fedora's since version 41. It waits for its lock by itself, and for ever."""

    name = "dnf5"
    command = "dnf5"
    systems = ("fedora", "rhel", "centos")
    cache = "/var/cache/libdnf5"

    _printing = ()  # dnf 5 has no such settings; it has no colours where it writes to no terminal
    _levels = ()
    _exit_on_lock = "--setopt=exit_on_lock=True"
    _locks = "/etc/dnf/versionlock.toml"
    _format = _FORMAT + r"\n"  # which dnf 5 wants to be named
    _everything = "--setopt=disable_excludes=*"
    _marks_scriptlets = True

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


_UPGRADE = r"""
{{
{patiently}
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
{patiently}
exit $rc
}} 1>&2 </dev/null
""".strip()
_EVERY_SPEC = r"%{name}-%{evr}\n%{name}-%{evr}.%{arch}\n"
_ONLY_THESE = "--setopt=clean_requirements_on_remove=False"
_ARCHITECTURE = re.compile(
    r"(?P<name>.+)\.(?P<architecture>i[3-6]86|x86_64|aarch64|noarch|ppc64le|s390x)"
)
_DUPLICATE = re.compile(r"^(\S+?)-[^-\s]+-[^-\s]+ is a duplicate with ", re.MULTILINE)
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
