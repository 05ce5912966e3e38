"""Explanations and reports, to users of the SDK."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.client import convert_rollout
from tendhost.client.convert_selection import state
from tendhost.client.enums import instant, reading, span, words
from tendhost.client.rollout_values import Rollout, RolloutWave
from tendhost.client.values import HostState
from tendhost.v1 import host_service_pb2, rollout_service_pb2


class ReasonKind(StrEnum):
    """What a reason is about."""

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
    """One thing that happened, or holds, and bears on the answer; revision 0: it holds now."""

    at: datetime | None
    kind: ReasonKind
    message: str
    operation_id: str
    rollout_id: str
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a host was, or was not, updated and rebooted; the reasons are in order of time."""

    update: str
    reboot: str
    reasons: tuple[Reason, ...]
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPackage:
    """A version of a package that came to hosts; `to_version` empty: it was removed."""

    name: str
    to_version: str
    hosts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportCause:
    """Hosts that failed, or were left out, for one cause; the first hundred are named."""

    reason: str
    example: str
    count: int
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReport:
    """What came of a rollout."""

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
    incomplete: str = ""
    """Why it does not show everything that the server stores of it; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Laggard:
    """A host that is not as it should be; `security` None: not known."""

    host: str
    last_updated: datetime | None
    security: int | None
    state: HostState


@dataclass(frozen=True, slots=True, kw_only=True)
class Compliance:
    """How up to date a fleet is."""

    hosts: int
    ages: Mapping[int, int]
    """How many hosts were last updated within so many days, and not within the bound before; 0: longer
    ago than any bound, or never."""
    without_open_fixes: int
    with_open_fixes: int
    fixes_unknown: int
    laggards: tuple[Laggard, ...]


_reason_kind = reading(words(ReasonKind, host_service_pb2.ReasonKind), ReasonKind.UNRECOGNIZED)


def explanation(message: host_service_pb2.ExplainHostResponse) -> Explanation:
    """Why a host is as it is."""
    return Explanation(
        update=message.update,
        reboot=message.reboot,
        reasons=tuple(
            Reason(
                at=instant(reason, "at"),
                kind=_reason_kind(reason.kind),
                message=reason.message,
                operation_id=reason.operation_id,
                rollout_id=reason.rollout_id,
                revision=reason.revision,
            )
            for reason in message.reasons
        ),
        incomplete=message.incomplete,
    )


def report(message: rollout_service_pb2.GetRolloutReportResponse) -> RolloutReport:
    """What came of a rollout."""
    has_ended = message.HasField("duration")
    return RolloutReport(
        rollout=convert_rollout.rollout(message.rollout),
        waves=tuple(convert_rollout.wave(wave) for wave in message.waves),
        duration=span(message.duration) if has_ended else None,
        packages=tuple(
            ReportPackage(name=line.name, to_version=line.to_version, hosts=line.hosts)
            for line in message.packages
        ),
        reboots=message.reboots,
        rebooted_hosts=tuple(message.rebooted_hosts),
        failures=tuple(_cause(line) for line in message.failures),
        skipped=tuple(_cause(line) for line in message.skipped),
        longest=span(message.longest),
        longest_host=message.longest_host,
        incomplete=message.incomplete,
    )


def _cause(line: rollout_service_pb2.ReportCause) -> ReportCause:
    return ReportCause(
        reason=line.reason, example=line.example, count=line.count, hosts=tuple(line.hosts)
    )


def laggard(message: host_service_pb2.Laggard) -> Laggard:
    """A host that is not as it should be."""
    return Laggard(
        host=message.host,
        last_updated=instant(message, "last_updated"),
        security=message.security if message.HasField("security") else None,
        state=state(message.state),
    )
