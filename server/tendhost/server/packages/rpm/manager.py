"""The half of a package manager that dnf, yum and zypper share: queries, preflights, plans."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar

from tendhost.server.domain.inventory.inventory import Pending, Reboot
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.errors import DatabaseBroken, NotPrivileged, PackageError
from tendhost.server.packages.facts import FACTS, HostFacts, Privilege
from tendhost.server.packages.failures import FailureKind, PackageFailure
from tendhost.server.packages.package_manager import PackageReport, Plan, Transaction
from tendhost.server.packages.rpm.database import RPM, InstalledRpms, parse_lock, parse_rpms
from tendhost.server.packages.rpm.failures import kept_conffiles, saved_conffiles
from tendhost.server.packages.rpm.locks import WAIT
from tendhost.server.packages.script import (
    Part,
    framed_script,
    parse_parts,
    require,
    whole_seconds,
)


class RpmPackageManager(ABC):
    """A PackageManager above rpm(8)."""

    progress_in_log = True

    functions: ClassVar[str]
    """The shell functions of this package manager, after those of facts.FACTS and `rpm`."""
    lock_function: ClassVar[str]
    """The one of them that prints the holder of a lock, as `rpm_lock` does."""
    query_parts: ClassVar[tuple[str, ...]]
    """Parts of a query, beside "installed", without which its output cannot be understood."""
    duplicates_part: ClassVar[str]
    """The part of a preflight that finds packages which an interrupted transaction left twice."""
    empty_plan: ClassVar[str]
    """A command that prints the plan of a transaction with nothing to upgrade."""

    # --- query and preflight ----------------------------------------------------------------------

    def query_lines(self, *, refresh: bool, lock_timeout: timedelta) -> str:
        """See PackageManager."""
        seconds = whole_seconds(lock_timeout)
        fetch = f'[ "$privileged$image" != 0 ] || part refresh {self._refresh_command(seconds)}'
        return "\n".join(
            (
                *self._definitions(),
                fetch if refresh else ":",
                "part installed rpms",
                *self._query_lines(seconds),
            )
        )

    def parse_query(
        self, parts: Mapping[str, Part], facts: HostFacts, at: datetime
    ) -> PackageReport:
        """See PackageManager."""
        require(parts, "installed", *self.query_parts)
        problem = (
            self._refresh_problem(parts["refresh"])
            if "refresh" in parts
            else _privilege_problem(facts)
        )
        problems = [problem] if problem is not None else []
        try:
            installed = parse_rpms(parts["installed"])
        except DatabaseBroken as error:
            others = (p for p in problems if not isinstance(p, DatabaseBroken))
            return PackageReport(problems=(*others, error))
        pending, problem = self._pending(parts, installed, at)
        if problem is not None and not any(isinstance(p, type(problem)) for p in problems):
            problems.append(problem)
        return PackageReport(
            installed=installed.packages,
            pending=pending,
            kernels=self._kernels(parts, installed),
            reboot=self._reboot(parts),
            problems=tuple(problems),
        )

    def preflight_lines(self, *, lock_timeout: timedelta) -> str:
        """See PackageManager."""
        return "\n".join(
            (
                *self._definitions(),
                f"part lock wait_for_lock {self.lock_function} {whole_seconds(lock_timeout)}",
                "part installed rpms",
                f"part {self.duplicates_part} {self._duplicates_command()}",
            )
        )

    def parse_preflight(
        self, parts: Mapping[str, Part], facts: HostFacts
    ) -> tuple[PackageError, ...]:
        """See PackageManager: an interrupted transaction leaves packages in two versions."""
        require(parts, "lock", "installed", self.duplicates_part)
        holder = parse_lock(parts["lock"])
        found = (_privilege_problem(facts), holder)
        problems: list[PackageError] = [problem for problem in found if problem is not None]
        try:
            installed = parse_rpms(parts["installed"])
        except DatabaseBroken as error:
            return (*problems, error)
        duplicates = parts[self.duplicates_part].stdout
        names = self._duplicates(duplicates, installed, locked=holder is not None)
        if names:
            text = "a transaction was interrupted, and packages are there twice"
            problems.append(DatabaseBroken(text=text, packages=names, repairable=True))
        return tuple(problems)

    # --- plan -------------------------------------------------------------------------------------

    def plan_script(self, transaction: Transaction) -> str:
        """See PackageManager."""
        plan = self._plan_command(transaction) if transaction.upgrades else self.empty_plan
        return framed_script(
            FACTS,
            *self._definitions(),
            "part installed rpms",
            f"part plan {plan}",
            *self._plan_lines(),
            *((f"part unneeded {self._unneeded_command()}",) if transaction.autoremove else ()),
        )

    @parser
    def parse_plan(self, output: bytes) -> Plan:
        """See PackageManager."""
        parts = parse_parts(output, expected=("installed", "plan"))
        try:
            installed = parse_rpms(parts["installed"])
        except DatabaseBroken as error:
            kind = FailureKind.DATABASE_UNREADABLE
            return Plan(failure=PackageFailure(kind=kind, reason=str(error)))
        return self._plan(parts, installed)

    @parser
    def kept_conffiles(self, output: str) -> tuple[str, ...]:
        """See PackageManager."""
        return kept_conffiles(output)

    @parser
    def saved_conffiles(self, output: str) -> tuple[str, ...]:
        """See PackageManager."""
        return saved_conffiles(output)

    def _definitions(self) -> tuple[str, ...]:
        return (RPM, WAIT, self.functions)

    # --- the other half ---------------------------------------------------------------------------

    @abstractmethod
    def _refresh_command(self, seconds: int) -> str:
        """The command that fetches the package lists; it waits for their lock up to `seconds`."""

    @abstractmethod
    def _refresh_problem(self, part: Part) -> PackageError | None:
        """Why the package lists could not be fetched; None where they were."""

    @abstractmethod
    def _query_lines(self, seconds: int) -> tuple[str, ...]:
        """Lines of a query after the installed packages; a lock is waited for up to `seconds`."""

    @abstractmethod
    def _pending(
        self, parts: Mapping[str, Part], installed: InstalledRpms, at: datetime
    ) -> tuple[Pending, PackageError | None]:
        """The pending packages, and why they could not be listed. Raises ParseFailed."""

    @abstractmethod
    def _reboot(self, parts: Mapping[str, Part]) -> Reboot | None:
        """See PackageReport.reboot."""

    def _kernels(
        self, parts: Mapping[str, Part], installed: InstalledRpms
    ) -> tuple[tuple[str, str], ...]:
        """See PackageReport.kernels."""
        return installed.kernels

    @abstractmethod
    def _duplicates_command(self) -> str:
        """The command of `duplicates_part`."""

    @abstractmethod
    def _duplicates(
        self, listed: str, installed: InstalledRpms, *, locked: bool
    ) -> tuple[str, ...]:
        """Names of the packages that are there twice and may not be, by the output `listed`.

        `locked`: a transaction may be under way, in which packages are there twice for a moment.
        """

    @abstractmethod
    def _plan_command(self, transaction: Transaction) -> str:
        """The command that prints what the transaction would upgrade, and changes nothing."""

    def _plan_lines(self) -> tuple[str, ...]:
        """Lines of a plan right after its part, whose output is in `$out`."""
        return ()

    @abstractmethod
    def _unneeded_command(self) -> str:
        """The command that prints what would not be needed any more afterwards."""

    @abstractmethod
    def _plan(self, parts: Mapping[str, Part], installed: InstalledRpms) -> Plan:
        """The plan in the parts of `plan_script`. Raises ParseFailed."""


def _privilege_problem(facts: HostFacts) -> PackageError | None:
    if facts.privilege is not Privilege.NONE:
        return None
    return NotPrivileged(user=facts.user, text=facts.sudo_message)
