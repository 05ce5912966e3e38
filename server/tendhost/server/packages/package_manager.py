"""The protocol of package managers: one class for each, behind the same interface.

The questions are lines for the one script that a query is (see script.py): `query_lines` and
`preflight_lines` run only on hosts where their package manager was chosen, after the functions and
variables of facts.FACTS, and call `part NAME COMMAND…` for each answer. The changes are commands for
a detached job, whose standard error is the operation's log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from tendhost.server.domain.inventory.inventory import (
    PackageChange,
    Pending,
    PendingPackage,
    Reboot,
)
from tendhost.server.packages.errors import PackageError
from tendhost.server.packages.facts import HostFacts
from tendhost.server.packages.failures import PackageFailure
from tendhost.server.packages.progress import ProgressSource, TransactionProgress
from tendhost.server.packages.script import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """What is to be changed."""

    packages: tuple[PendingPackage, ...] | None = None
    """Upgrade only these and what they need; None: everything that is pending."""
    exact: bool = False
    """With `packages`: to exactly these versions, and fail where they are not to be had."""
    allow_removals: bool = False
    """Whether a package may be removed so that others can be upgraded."""
    autoremove: bool = False
    """Whether a plan is to tell what was installed for others only, and is not needed any more then."""
    unneeded: tuple[str, ...] = ()
    """What is removed of that afterwards: these, as they were planned, and nothing else."""
    exclude: tuple[str, ...] = ()
    """Globs of names that are not to be changed, whatever needs them."""
    download_only: bool = False
    """Fetch everything, change nothing."""
    lock_timeout: timedelta = timedelta(minutes=5)
    """How long another user of the package manager is waited for."""

    @property
    def named(self) -> tuple[PendingPackage, ...]:
        """Of `packages` those to be named: what is newly installed follows from what needs it."""
        return tuple(package for package in self.packages or () if not package.is_new)

    @property
    def upgrades(self) -> bool:
        """Whether there is anything to upgrade at all."""
        return self.packages is None or bool(self.named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a transaction would do; with a `failure`, why it could not be planned, and nothing else."""

    changes: tuple[PendingPackage, ...] = ()
    """What it would upgrade or newly install."""
    removed: tuple[tuple[str, str], ...] = ()
    """Name and version of what it would remove."""
    unneeded: tuple[tuple[str, str], ...] = ()
    """Name and version of what would not be needed any more then; empty where it was not asked for."""
    download_bytes: int | None = None
    """What is still to be downloaded; None where that is not said."""
    disk_bytes: int | None = None
    """What it takes of the disk afterwards, negative where it frees; None where that is not said."""
    failure: PackageFailure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageReport:
    """What a package manager says of its host.

    `problems` say what could not be learnt or must be mended; what they do not touch is filled.
    """

    installed: tuple[tuple[str, str], ...] = ()
    """Name and version, in order; a name may be there more than once (kernels)."""
    pending: Pending = Pending()
    """`queried_at` is None where the pending packages could not be listed."""
    kernels: tuple[tuple[str, str], ...] | None = None
    """Release (as `uname -r` prints it) and package version of every installed kernel; None: it could
    not be read."""
    reboot: Reboot | None = None
    """What the family's own tool says of a reboot; None: there is no such tool, or it was not asked."""
    problems: tuple[PackageError, ...] = ()


class PackageManager(ProgressSource, Protocol):
    """One package manager. Whatever takes output of a host raises ParseFailed, and never guesses."""

    @property
    def name(self) -> str:
        """How it is called in inventories: "apt", "dnf"."""
        ...

    @property
    def command(self) -> str:
        """The command by whose presence it is known."""
        ...

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems whose own package manager it is, by ID or ID_LIKE of os-release(5)."""
        ...

    @property
    def cache(self) -> str:
        """The folder into which packages are downloaded."""
        ...

    def query_lines(self, *, refresh: bool, lock_timeout: timedelta) -> str:
        """Lines of sh that ask for everything in a PackageReport.

        Where `refresh` is asked for, `$privileged` is 0 and `$image` is empty, the lists are fetched first; another
        user of them is waited for up to `lock_timeout`.
        """
        ...

    def parse_query(
        self, parts: Mapping[str, Part], facts: HostFacts, at: datetime
    ) -> PackageReport:
        """Understand the parts of `query_lines`."""
        ...

    def preflight_lines(self, *, lock_timeout: timedelta) -> str:
        """Lines of sh that ask whether packages can be changed: privilege, lock, sound database."""
        ...

    def parse_preflight(
        self, parts: Mapping[str, Part], facts: HostFacts
    ) -> tuple[PackageError, ...]:
        """What stands against a change of packages, by the parts of `preflight_lines`."""
        ...

    def plan_script(self, transaction: Transaction) -> str:
        """A framed script that plans the transaction and changes nothing."""
        ...

    def parse_plan(self, output: bytes) -> Plan:
        """Understand the output of `plan_script`."""
        ...

    def upgrade_command(self, transaction: Transaction) -> str:
        """The command line for sh that performs the transaction, run as root by the job."""
        ...

    def repair_command(self) -> str:
        """The command line for sh that finishes or undoes what an interrupted transaction left."""
        ...

    def restore_command(
        self, changes: tuple[PackageChange, ...], *, lock_timeout: timedelta
    ) -> str:
        """The command line for sh that takes these changes back, as one transaction where it can.

        It changes nothing where a former version is not to be had any more, or where another package
        would have to go.
        """
        ...

    def failure(
        self, exit_status: int, output: str, errors: Sequence[TransactionProgress] = ()
    ) -> PackageFailure | None:
        """Why a command failed, from its exit status and the end of its log; None: it did not.

        `errors`: those in its progress, as far as it was read. What maintainer scripts print in the log
        counts for no failure of the package manager's. A transaction can fail in part and end with 0, as
        dnf's with a failed scriptlet.
        """
        ...

    def kept_conffiles(self, output: str) -> tuple[str, ...]:
        """Configuration files whose local version was kept over the package's, by the log."""
        ...

    def saved_conffiles(self, output: str) -> tuple[str, ...]:
        """Where the local versions of replaced and removed configuration files lie now, by the log."""
        ...
