"""zypper as tendhost's package manager for SUSE Linux Enterprise and openSUSE."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from tendhost.server.domain.inventory.inventory import PackageChange, Pending
from tendhost.server.packages.bounding import parser
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
from tendhost.server.packages.zypper.commands import (
    FUNCTIONS,
    UNNEEDED,
    repair_command,
    restore_command,
    upgrade_command,
    upgrade_words,
    upgrades,
)
from tendhost.server.packages.zypper.failures import (
    NO_REPOSITORIES,
    SKIPPED,
    diagnose,
    lock_holder,
    said,
)
from tendhost.server.packages.zypper.listing import (
    ZypperListing,
    parse_advised,
    parse_fixes,
    parse_locks,
    parse_needs_rebooting,
    parse_patches,
    parse_summary,
    parse_unneeded,
    parse_updates,
    pending_packages,
)
from tendhost.server.packages.zypper.progress import ZypperLogParser
from tendhost.server.packages.zypper.versions import installed_kernels


class Zypper:
    """zypper(8), version 1.14 (SUSE Linux Enterprise 15, openSUSE Leap and Tumbleweed)."""

    name = "zypper"
    command = "zypper"
    systems: tuple[str, ...] = (
        *("suse", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "sles"),
    )
    cache = "/var/cache/zypp/packages"
    progress_in_log = True

    # --- asking -----------------------------------------------------------------------------------

    def query_lines(self, *, refresh: bool, lock_timeout: timedelta) -> str:
        """See PackageManager. Root's zypper does not even list while another one runs."""
        seconds = _seconds(lock_timeout)
        fetch = f'[ "$privileged" != 0 ] || part refresh patiently_zypper {seconds} refresh'
        return "\n".join(
            (
                RPM,
                FUNCTIONS,
                fetch if refresh else ":",
                "part installed rpms",
                "part modules ls /lib/modules",
                f"part updates patient_list {seconds} list-updates",
                "part everything list_zypper list-updates --all",
                "part locks list_zypper locks",
                "part advised as_reader find /var/cache/zypp/raw -name '*updateinfo*'",
                'part patches list_zypper list-patches; patches=$(patch_names "$out")',
                '[ -z "$patches" ] || part fixes as_zypper --no-refresh info -t patch -- $patches',
                "part needs_rebooting as_zypper needs-rebooting",
            )
        )

    def parse_query(
        self, parts: Mapping[str, Part], facts: HostFacts, at: datetime
    ) -> PackageReport:
        """See PackageManager."""
        require(parts, "installed", "updates", "everything", "locks", "patches")
        problems: list[PackageError] = []
        if "refresh" in parts:
            problems += _refresh_problems(parts["refresh"])
        elif facts.privilege is Privilege.NONE:
            problems.append(NotPrivileged(user=facts.user, words=facts.privilege_words))
        try:
            installed = parse_rpms(parts["installed"])
        except PackageDatabaseBroken as error:
            others = (p for p in problems if not isinstance(p, PackageDatabaseBroken))
            return PackageReport(problems=(*others, error))
        pending, refused = _pending(parts, installed, at)
        if refused is not None and not any(isinstance(p, type(refused)) for p in problems):
            problems.append(refused)
        modules = parts["modules"].stdout.split() if "modules" in parts else ()
        return PackageReport(
            installed=installed.packages,
            pending=pending,
            kernels=installed_kernels(installed.packages, modules),
            reboot=parse_needs_rebooting(parts["needs_rebooting"])
            if "needs_rebooting" in parts
            else None,
            problems=tuple(problems),
        )

    def preflight_lines(self, *, lock_timeout: timedelta) -> str:
        """See PackageManager."""
        return "\n".join(
            (
                RPM,
                FUNCTIONS,
                f"part lock free_zypp {_seconds(lock_timeout)}",
                "part installed rpms",
                "part several several",
            )
        )

    def parse_preflight(
        self, parts: Mapping[str, Part], facts: HostFacts
    ) -> tuple[PackageError, ...]:
        """See PackageManager: an interrupted transaction leaves packages in two versions."""
        require(parts, "lock", "installed", "several")
        problems: list[PackageError] = []
        if facts.privilege is Privilege.NONE:
            problems.append(NotPrivileged(user=facts.user, words=facts.privilege_words))
        holder = parse_lock(parts["lock"])
        if holder is not None:
            problems.append(holder)
        try:
            installed = parse_rpms(parts["installed"])
        except PackageDatabaseBroken as error:
            return (*problems, error)
        # While a transaction is under way, packages are there twice for a moment.
        names = () if holder else _twice(installed, parts["several"].stdout.split())
        if names:
            words = "a transaction was interrupted, and packages are there twice"
            problems.append(PackageDatabaseBroken(words=words, packages=names, repairable=True))
        return tuple(problems)

    # --- changing ---------------------------------------------------------------------------------

    def plan_script(self, transaction: Transaction) -> str:
        """See PackageManager."""
        plan = f"list_zypper {upgrade_words(transaction, dry_run=True)}"
        if not upgrades(transaction):
            plan = "echo '<stream></stream>'"
        return framed_script(
            FACTS,
            RPM,
            FUNCTIONS,
            "part installed rpms",
            f"part plan {plan}",
            *((f"part unneeded as_zypper {UNNEEDED}",) if transaction.autoremove else ()),
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
        part = parts["plan"]
        if failure := diagnose(part.status, f"{part.stdout}\n{part.stderr}"):
            return Plan(failure=failure)
        native = parts["installed"].stdout.partition("\n")[0]
        unneeded = parts["unneeded"].stdout if "unneeded" in parts else ""
        unneeded_then = parse_unneeded(unneeded, native)
        summary = parse_summary(part.stdout, installed.packages, native)
        if summary is None:
            return Plan(unneeded=unneeded_then, download_bytes=0, disk_bytes=0)
        return Plan(
            changes=summary.changes,
            removed=summary.removed,
            unneeded=unneeded_then,
            download_bytes=summary.download_bytes,
            disk_bytes=summary.disk_bytes,
        )

    def upgrade_command(self, transaction: Transaction) -> str:
        """See PackageManager. Everything goes to the log."""
        return upgrade_command(transaction, seconds=_seconds(transaction.lock_timeout))

    def repair_command(self) -> str:
        """See PackageManager."""
        return repair_command()

    def restore_command(
        self, changes: tuple[PackageChange, ...], *, lock_timeout: timedelta
    ) -> str:
        """See PackageManager."""
        return restore_command(changes, seconds=_seconds(lock_timeout))

    # --- understanding ----------------------------------------------------------------------------

    def progress_parser(self) -> ZypperLogParser:
        """See PackageManager."""
        return ZypperLogParser()

    @parser
    def failure(self, exit_status: int, output: str) -> PackageFailure | None:
        """See PackageManager."""
        return diagnose(exit_status, output)

    @parser
    def kept_conffiles(self, output: str) -> tuple[str, ...]:
        """See PackageManager: rpm put the package's file beside the local one."""
        return tuple(dict.fromkeys(_RPMNEW.findall(output)))


_RPMNEW = re.compile(r"^warning: (/\S.*) created as \1\.rpmnew$", re.MULTILINE)
_UNTRUSTED = re.compile(r"^.*(?:[Ss]ignature verification failed|is unsigned|unknown key).*$", re.M)
_REPOSITORY = re.compile(r"(?:Skipping repository|Repository) '([^'\n]+)' (?:because|is invalid)")


def _seconds(duration: timedelta) -> int:
    return max(0, math.ceil(duration.total_seconds()))


def _twice(installed: InstalledRpms, several: list[str]) -> tuple[str, ...]:
    """The packages that are there in several versions, and may not be."""
    counts = Counter(name for name, _ in installed.packages)
    return tuple(
        name
        for name, count in counts.items()
        if count > 1 and name not in several and name.rpartition(".")[0] not in several
    )


def _problem(command: str, part: Part) -> PackageError | None:
    """The error for a command that should have changed nothing; None where it did not fail."""
    text = said(f"{part.stdout}\n{part.stderr}")
    failure = diagnose(part.status, text)
    if failure is None:
        return None
    if failure.kind is FailureKind.LOCK_HELD:
        holder = lock_holder(text)
        return LockHeld(
            path="/run/zypp.pid",
            pid=holder.pid if holder else 0,
            command=holder.command if holder else "",
        )
    if failure.kind is FailureKind.DISK_FULL:
        return DiskFull(words=failure.reason)
    if failure.kind is FailureKind.DATABASE_UNREADABLE:
        return PackageDatabaseBroken(words=failure.reason, repairable=False)
    return PackageCommandFailed(command=command, exit_status=part.status, words=failure.reason)


def _refresh_problems(part: Part) -> list[PackageError]:
    problem = _problem("zypper refresh", part)
    if problem is None:
        return []
    if isinstance(problem, PackageCommandFailed):
        return [_not_refreshed(part, problem)]
    return [problem]


def _not_refreshed(part: Part, problem: PackageCommandFailed) -> PackageError:
    if part.status == NO_REPOSITORIES:
        return problem
    text = said(f"{part.stdout}\n{part.stderr}")
    sources = tuple(dict.fromkeys(_REPOSITORY.findall(text)))
    if untrusted := _UNTRUSTED.search(text):
        return ArchiveUntrusted(sources=sources, words=" ".join(untrusted[0].split(" - ")).strip())
    return RefreshFailed(sources=sources, words=problem.words)


def _pending(
    parts: Mapping[str, Part], installed: InstalledRpms, at: datetime
) -> tuple[Pending, PackageError | None]:
    skipped: PackageError | None = None
    for name in ("updates", "everything"):
        problem = _problem(f"zypper list-{name}", parts[name])
        if problem is None:
            continue
        if parts[name].status != SKIPPED or not isinstance(problem, PackageCommandFailed):
            return Pending(), problem
        skipped = _not_refreshed(parts[name], problem)
    updates = parse_updates(parts["updates"].stdout, part="updates")
    everything = parse_updates(parts["everything"].stdout, part="everything")
    if not updates and (skipped or "No repositories defined" in parts["updates"].stdout):
        none = PackageCommandFailed(
            command="zypper list-updates",
            exit_status=NO_REPOSITORIES,
            words="no repositories are defined",
        )
        return Pending(), skipped or none
    advised = parts["patches"].status == 0 and "advised" in parts
    fixes = parts.get("fixes")
    told = advised and (fixes is None or fixes.status == 0)
    listing = ZypperListing(
        updates=updates,
        everything=everything,
        locks=parse_locks(parts["locks"].stdout) if parts["locks"].status == 0 else (),
        patches=parse_patches(parts["patches"].stdout) if told else None,
        fixes=parse_fixes(fixes.stdout) if fixes is not None and told else {},
        advised=parse_advised(parts["advised"].stdout) if told else (),
        native=parts["installed"].stdout.partition("\n")[0],
    )
    packages = pending_packages(listing, installed.packages)
    return Pending(packages=packages, queried_at=at), skipped
