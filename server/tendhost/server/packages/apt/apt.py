"""The package manager apt, for Debian, Ubuntu and their descendants."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tendhost.server.domain.inventory.inventory import PackageChange, Pending
from tendhost.server.packages.apt import commands
from tendhost.server.packages.apt.dpkg import (
    HEALTH,
    DatabaseHealth,
    InstalledPackages,
    parse_health,
    parse_installed,
    parse_interrupted,
)
from tendhost.server.packages.apt.failures import diagnose
from tendhost.server.packages.apt.listing import parse_simulation
from tendhost.server.packages.apt.problems import apt_problem
from tendhost.server.packages.apt.progress import AptStatusParser
from tendhost.server.packages.apt.refresh import PATIENTLY, UPDATE_COMMAND, refresh_problems
from tendhost.server.packages.apt.settings import APT_GET, DEFINE
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.errors import (
    DatabaseBroken,
    NotPrivileged,
    PackageError,
)
from tendhost.server.packages.facts import HostFacts, Privilege
from tendhost.server.packages.failures import PackageFailure
from tendhost.server.packages.package_manager import PackageReport, Plan, Transaction
from tendhost.server.packages.progress import TransactionProgress
from tendhost.server.packages.reboot import installed_kernels
from tendhost.server.packages.script import Part, require, whole_seconds


class Apt:
    """apt-get(8), apt-cache(8) and dpkg(1)."""

    name = "apt"
    command = "apt-get"
    systems = ("debian", "ubuntu")
    cache = "/var/cache/apt/archives"
    progress_in_log = False

    def query_lines(self, *, refresh: bool, lock_timeout: timedelta) -> str:
        """See PackageManager; `lock_timeout` bounds the wait for apt's lists."""
        seconds = whole_seconds(lock_timeout)
        update = (
            f'[ "$privileged$image" != 0 ] || part refresh patiently {seconds} {UPDATE_COMMAND}'
        )
        return "\n".join(
            (
                HEALTH,
                PATIENTLY,
                DEFINE,
                update if refresh else ":",
                "part interrupted interrupted",
                f"part simulation {APT_GET} -s --with-new-pkgs upgrade",
                commands.LISTING,
            )
        )

    def parse_query(
        self, parts: Mapping[str, Part], facts: HostFacts, at: datetime
    ) -> PackageReport:
        """See PackageManager."""
        require(parts, "interrupted", "simulation", "installed")
        problems: list[PackageError] = []
        if "refresh" in parts:
            problems += refresh_problems(parts["refresh"], has_lists=_has_lists(parts))
        elif facts.privilege is Privilege.NONE:
            problems.append(_not_privileged(facts))
        installed, unreadable = _installed(parts["installed"])
        health = DatabaseHealth(
            interrupted=parse_interrupted(parts["interrupted"].stdout),
            unconfigured=installed.unconfigured,
            half_installed=installed.half_installed,
        )
        pending, refused = _pending(parts, installed, at)
        found = (unreadable, health.problem(), refused)
        problems += [problem for problem in found if problem is not None]
        return PackageReport(
            installed=installed.packages,
            pending=pending,
            kernels=installed_kernels(installed.packages) if installed.packages else None,
            problems=tuple(problems),
        )

    def preflight_lines(self, *, lock_timeout: timedelta) -> str:
        """See PackageManager.

        `apt-get check` takes dpkg's lock for a moment, so that it names who holds it, and looks for
        unmet dependencies and an interrupted dpkg.
        """
        seconds = whole_seconds(lock_timeout)
        return "\n".join(
            (
                HEALTH,
                PATIENTLY,
                DEFINE,
                "part interrupted interrupted",
                "part unsound unsound",
                f'[ "$privileged" != 0 ] || part check patiently {seconds} {APT_GET} check',
            )
        )

    def parse_preflight(
        self, parts: Mapping[str, Part], facts: HostFacts
    ) -> tuple[PackageError, ...]:
        """See PackageManager."""
        require(parts, "interrupted", "unsound")
        unreadable = _unreadable(parts["unsound"])
        health = parse_health(
            parts["interrupted"].stdout, "" if unreadable else parts["unsound"].stdout
        )
        problems: list[PackageError] = [p for p in (unreadable, health.problem()) if p is not None]
        if "check" not in parts:
            problems.append(_not_privileged(facts))
        elif parts["check"].status != 0:
            problem = apt_problem("apt-get check", parts["check"].status, parts["check"].stderr)
            # apt has no more to say of a broken database than is known by now.
            if not (problems and isinstance(problem, DatabaseBroken)):
                problems.append(problem)
        return tuple(problems)

    def plan_script(self, transaction: Transaction) -> str:
        """See PackageManager. Needs no privilege."""
        return commands.plan_script(transaction)

    @parser
    def parse_plan(self, output: bytes) -> Plan:
        """See PackageManager."""
        return commands.parse_plan(output)

    def upgrade_command(self, transaction: Transaction) -> str:
        """See PackageManager: progress for AptStatusParser goes to stdout, all for people to stderr."""
        return commands.upgrade_command(transaction)

    def repair_command(self) -> str:
        """See PackageManager."""
        return commands.repair_command()

    def restore_command(
        self, changes: tuple[PackageChange, ...], *, lock_timeout: timedelta
    ) -> str:
        """See PackageManager: the former versions where an archive or the cache still has them."""
        return commands.restore_command(changes, lock_timeout=lock_timeout)

    def progress_parser(self) -> AptStatusParser:
        """See PackageManager."""
        return AptStatusParser()

    @parser
    def failure(
        self, exit_status: int, output: str, errors: Sequence[TransactionProgress] = ()
    ) -> PackageFailure | None:
        """See PackageManager."""
        return diagnose(exit_status, output, errors) if exit_status else None

    @parser
    def kept_conffiles(self, output: str) -> tuple[str, ...]:
        """See PackageManager."""
        return commands.kept_conffiles(output)

    @parser
    def saved_conffiles(self, output: str) -> tuple[str, ...]:
        """See PackageManager: dpkg does not report those that it replaces (.dpkg-old)."""
        return ()


def _not_privileged(facts: HostFacts) -> NotPrivileged:
    return NotPrivileged(user=facts.user, text=facts.sudo_message)


def _installed(part: Part) -> tuple[InstalledPackages, DatabaseBroken | None]:
    unreadable = _unreadable(part)
    return (InstalledPackages() if unreadable else parse_installed(part.stdout)), unreadable


def _unreadable(part: Part) -> DatabaseBroken | None:
    if part.status == 0:
        return None
    text = f"dpkg-query cannot read the package database: {part.message}"
    return DatabaseBroken(text=text, repairable=False)


#  500 http://deb.example.org/debian bookworm/main amd64 Packages
_LIST = re.compile(r"^ *-?\d+ \S.* Packages$", re.MULTILINE)


def _has_lists(parts: Mapping[str, Part]) -> bool:
    """Whether apt has package lists."""
    return "sources" in parts and _LIST.search(parts["sources"].stdout) is not None


def _pending(
    parts: Mapping[str, Part], installed: InstalledPackages, at: datetime
) -> tuple[Pending, PackageError | None]:
    part = parts["simulation"]
    if part.status != 0:
        output = f"{part.stdout}\n{part.stderr}"
        return Pending(), apt_problem("apt-get -s upgrade", part.status, output)
    if "sources" in parts and not _has_lists(parts):
        # Without any list apt knows of no newer version, which does not say that there is none.
        return Pending(), None
    simulation = parse_simulation(part.stdout, part="simulation")
    packages, known = commands.listed_packages(parts, simulation, installed)
    return Pending(packages=packages, queried_at=at, security_known=known), None
