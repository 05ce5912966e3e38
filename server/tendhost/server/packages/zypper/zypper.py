"""The package manager zypper, for SUSE Linux Enterprise and openSUSE."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tendhost.server.domain.inventory.inventory import PackageChange, Pending, Reboot
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.errors import (
    DatabaseBroken,
    LockHeld,
    NoSpaceLeft,
    NotRefreshed,
    PackageCommandFailed,
    PackageError,
    SourceUntrusted,
)
from tendhost.server.packages.failures import FailureKind, PackageFailure
from tendhost.server.packages.package_manager import Plan, Transaction
from tendhost.server.packages.progress import TransactionProgress
from tendhost.server.packages.rpm.causes import refused_for_long
from tendhost.server.packages.rpm.database import InstalledRpms
from tendhost.server.packages.rpm.manager import RpmPackageManager
from tendhost.server.packages.script import Part, whole_seconds
from tendhost.server.packages.zypper.commands import (
    FUNCTIONS,
    UNNEEDED,
    repair_command,
    restore_command,
    upgrade_command,
    upgrade_words,
)
from tendhost.server.packages.zypper.failures import (
    LOCKED,
    NO_REPOSITORIES,
    SKIPPED,
    diagnose,
    lock_holder,
    said,
)
from tendhost.server.packages.zypper.kernels import installed_kernels
from tendhost.server.packages.zypper.listing import (
    ZypperListing,
    parse_advised,
    parse_fixes,
    parse_locks,
    parse_needs_rebooting,
    parse_obsoletes,
    parse_patches,
    parse_summary,
    parse_unneeded,
    parse_updates,
    pending_packages,
    with_replacements,
)
from tendhost.server.packages.zypper.progress import ZypperLogParser


class Zypper(RpmPackageManager):
    """zypper(8), version 1.14 (SUSE Linux Enterprise 15, openSUSE Leap and Tumbleweed)."""

    name = "zypper"
    command = "zypper"
    systems: tuple[str, ...] = (
        *("suse", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "opensuse-slowroll"),
        *("opensuse-microos", "opensuse-leap-micro", "sle-micro", "sl-micro"),
        *("sles", "sles_sap", "sled"),
    )
    cache = "/var/cache/zypp/packages"

    functions = FUNCTIONS
    lock_function = "zypp_lock"
    query_parts = ("updates", "everything", "locks", "patches")
    duplicates_part = "several"
    empty_plan = "echo '<stream></stream>'"

    # --- query and preflight ----------------------------------------------------------------------

    def _refresh_command(self, seconds: int) -> str:
        return f"retry_locked {LOCKED} {seconds} as_zypper refresh"

    def _refresh_problem(self, part: Part) -> PackageError | None:
        problem = _problem("zypper refresh", part)
        return (
            _refresh_failed(part, problem) if isinstance(problem, PackageCommandFailed) else problem
        )

    def _query_lines(self, seconds: int) -> tuple[str, ...]:
        # Root's zypper does not even list while another one runs.
        return (
            "part modules ls /lib/modules",
            f"part updates patient_list {seconds} list-updates",
            "part everything list_zypper list-updates --all",
            "part locks list_zypper locks",
            "part advised as_root_or_user find /var/cache/zypp/raw -name '*updateinfo*'",
            'part patches list_zypper list-patches; patches=$(patch_names "$out")',
            '[ -z "$patches" ] || part fixes as_zypper --no-refresh info -t patch -- $patches',
            "part needs_rebooting as_zypper needs-rebooting",
        )

    def _pending(
        self, parts: Mapping[str, Part], installed: InstalledRpms, at: datetime
    ) -> tuple[Pending, PackageError | None]:
        skipped: PackageError | None = None
        for name in ("updates", "everything"):
            problem = _problem(f"zypper list-{name}", parts[name])
            if problem is None:
                continue
            if parts[name].status != SKIPPED or not isinstance(problem, PackageCommandFailed):
                return Pending(), problem
            skipped = _refresh_failed(parts[name], problem)
        updates = parse_updates(parts["updates"].stdout, part="updates")
        everything = parse_updates(parts["everything"].stdout, part="everything")
        if not updates and (skipped or "No repositories defined" in parts["updates"].stdout):
            none = PackageCommandFailed(
                command="zypper list-updates",
                exit_status=NO_REPOSITORIES,
                text="no repositories are defined",
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
            native=installed.native_architecture,
        )
        packages = pending_packages(listing, installed.packages)
        known = bool(listing.advised or listing.patches)
        return Pending(packages=packages, queried_at=at, security_known=known), skipped

    def _kernels(
        self, parts: Mapping[str, Part], installed: InstalledRpms
    ) -> tuple[tuple[str, str], ...]:
        modules = parts["modules"].stdout.split() if "modules" in parts else ()
        return installed_kernels(installed.packages, modules)

    def _reboot(self, parts: Mapping[str, Part]) -> Reboot | None:
        part = parts.get("needs_rebooting")
        return parse_needs_rebooting(part) if part is not None else None

    def _duplicates_command(self) -> str:
        return "several"

    def _duplicates(
        self, listed: str, installed: InstalledRpms, *, locked: bool
    ) -> tuple[str, ...]:
        return () if locked else _twice(installed, listed.split())

    # --- plan -------------------------------------------------------------------------------------

    def _plan_command(self, transaction: Transaction) -> str:
        return f"list_zypper {upgrade_words(transaction, dry_run=True)}"

    def _plan_lines(self) -> tuple[str, ...]:
        # The plan does not tell which of the new packages takes the place of one that goes.
        return (
            "case $out in *'<to-install>'*'<to-remove>'*)",
            'new=$(new_names "$out")',
            '[ -z "$new" ] || part obsoletes as_zypper --no-refresh info --obsoletes -- $new ;;',
            "esac",
        )

    def _unneeded_command(self) -> str:
        return f"as_zypper {UNNEEDED}"

    def _plan(self, parts: Mapping[str, Part], installed: InstalledRpms) -> Plan:
        part = parts["plan"]
        if failure := diagnose(part.status, f"{part.stdout}\n{part.stderr}"):
            return Plan(failure=failure)
        native = installed.native_architecture
        unneeded = parts["unneeded"].stdout if "unneeded" in parts else ""
        unneeded_then = parse_unneeded(unneeded, native)
        summary = parse_summary(part.stdout, installed.packages, native)
        obsoletes = parts.get("obsoletes")
        if summary is not None and obsoletes is not None:
            summary = with_replacements(summary, parse_obsoletes(obsoletes.stdout))
        if summary is None:
            return Plan(unneeded=unneeded_then, download_bytes=0, disk_bytes=0)
        return Plan(
            changes=summary.changes,
            removed=summary.removed,
            unneeded=unneeded_then,
            download_bytes=summary.download_bytes,
            disk_bytes=summary.disk_bytes,
        )

    # --- changes ----------------------------------------------------------------------------------

    def upgrade_command(self, transaction: Transaction) -> str:
        """See PackageManager. Everything goes to the log."""
        return upgrade_command(transaction, seconds=whole_seconds(transaction.lock_timeout))

    def repair_command(self) -> str:
        """See PackageManager."""
        return repair_command()

    def restore_command(
        self, changes: tuple[PackageChange, ...], *, lock_timeout: timedelta
    ) -> str:
        """See PackageManager."""
        return restore_command(changes, seconds=whole_seconds(lock_timeout))

    # --- output -----------------------------------------------------------------------------------

    def progress_parser(self) -> ZypperLogParser:
        """See PackageManager."""
        return ZypperLogParser()

    @parser
    def failure(
        self, exit_status: int, output: str, errors: Sequence[TransactionProgress] = ()
    ) -> PackageFailure | None:
        """See PackageManager. All is in the log."""
        return diagnose(exit_status, output)


_UNTRUSTED = re.compile(r"^.*(?:[Ss]ignature verification failed|is unsigned|unknown key).*$", re.M)
_REPOSITORY = re.compile(r"(?:Skipping repository|Repository) '([^'\n]+)' (?:because|is invalid)")


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
        return NoSpaceLeft(text=failure.reason)
    if failure.kind is FailureKind.DATABASE_UNREADABLE:
        return DatabaseBroken(text=failure.reason, repairable=False)
    return PackageCommandFailed(command=command, exit_status=part.status, text=failure.reason)


def _refresh_failed(part: Part, problem: PackageCommandFailed) -> PackageError:
    if part.status == NO_REPOSITORIES:
        return problem
    text = said(f"{part.stdout}\n{part.stderr}")
    sources = tuple(dict.fromkeys(_REPOSITORY.findall(text)))
    if untrusted := _UNTRUSTED.search(text):
        return SourceUntrusted(sources=sources, text=" ".join(untrusted[0].split(" - ")).strip())
    return NotRefreshed(sources=sources, text=problem.text, lasting=refused_for_long(text))
