"""Explanations and reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.client.models.hosts import HostState
from tendhost.client.models.rollouts import Rollout, RolloutWave


class ReasonKind(StrEnum):
    """Kind of a reason."""

    UPDATED = "updated"
    REBOOTED = "rebooted"
    NOTHING_PENDING = "nothing_pending"
    WITHHELD = "withheld"
    WINDOW = "window"
    BUDGET = "budget"
    BUSY = "busy"
    FAILURE = "failure"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    NOT_ITS_TURN = "not_its_turn"
    NOT_SELECTED = "not_selected"
    REBOOT_NOT_ALLOWED = "reboot_not_allowed"
    REBOOT_UNKNOWN = "reboot_unknown"
    DUPLICATE = "duplicate"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Stored fact that explains the host's status; revision 0: a current condition."""

    at: datetime | None
    kind: ReasonKind
    message: str
    operation_id: str
    rollout_id: str
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a host was, or was not, updated and rebooted; the reasons are sorted by time."""

    update: str
    reboot: str
    reasons: tuple[Reason, ...]
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPackage:
    """Version of a package that a rollout installed on hosts; `to_version` empty: removed."""

    name: str
    to_version: str
    host_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportCause:
    """Hosts that failed, were skipped or kept a needed reboot for the same cause; `hosts` has at most 100."""

    reason: str
    example: str
    host_count: int
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReport:
    """Report on a rollout."""

    rollout: Rollout
    waves: tuple[RolloutWave, ...]
    duration: timedelta | None
    packages: tuple[ReportPackage, ...]
    reboots: int
    rebooted_hosts: tuple[str, ...]
    failures: tuple[ReportCause, ...]
    skipped: tuple[ReportCause, ...]
    longest: timedelta
    longest_host: str
    reboots_left: tuple[ReportCause, ...] = ()
    """Completed hosts that kept a reboot which they need, by the reason."""
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverdueHost:
    """Host with pending security updates (None: unknown), or without a recent successful update."""

    host: str
    last_updated: datetime | None
    pending_security_updates: int | None
    state: HostState


@dataclass(frozen=True, slots=True, kw_only=True)
class Compliance:
    """How up to date a fleet is."""

    host_count: int
    ages: Mapping[int, int]
    """How many hosts were last updated within so many days, and not within the bound before; 0: longer
    ago than any bound, or never."""
    up_to_date_count: int
    behind_count: int
    unknown_count: int
    overdue_hosts: tuple[OverdueHost, ...]
