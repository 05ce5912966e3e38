"""Conversion of explanations and reports."""

from tendhost.client.convert import rollouts as convert_rollouts
from tendhost.client.convert.enums import enum_names, instant, reading, span
from tendhost.client.convert.selections import state
from tendhost.client.models.reports import (
    Explanation,
    OverdueHost,
    Reason,
    ReasonKind,
    ReportCause,
    ReportPackage,
    RolloutReport,
)
from tendhost.v1 import host_service_pb2, rollout_service_pb2

_reason_kind = reading(enum_names(ReasonKind, host_service_pb2.ReasonKind), ReasonKind.UNRECOGNIZED)


def explanation(message: host_service_pb2.ExplainHostResponse) -> Explanation:
    """An explanation as clients see it."""
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
    """A report on a rollout as clients see it."""
    has_ended = message.HasField("duration")
    return RolloutReport(
        rollout=convert_rollouts.rollout(message.rollout),
        waves=tuple(convert_rollouts.wave(wave) for wave in message.waves),
        duration=span(message.duration) if has_ended else None,
        packages=tuple(
            ReportPackage(name=line.name, to_version=line.to_version, host_count=line.host_count)
            for line in message.packages
        ),
        reboots=message.reboots,
        rebooted_hosts=tuple(message.rebooted_hosts),
        failures=tuple(_cause(line) for line in message.failures),
        skipped=tuple(_cause(line) for line in message.skipped),
        reboots_left=tuple(_cause(line) for line in message.reboots_left),
        longest=span(message.longest),
        longest_host=message.longest_host,
        incomplete=message.incomplete,
    )


def _cause(line: rollout_service_pb2.ReportCause) -> ReportCause:
    return ReportCause(
        reason=line.reason,
        example=line.example,
        host_count=line.host_count,
        hosts=tuple(line.hosts),
    )


def overdue_host(message: host_service_pb2.OverdueHost) -> OverdueHost:
    """An overdue host as clients see it."""
    return OverdueHost(
        host=message.host,
        last_updated=instant(message, "last_updated"),
        pending_security_updates=message.pending_security_updates
        if message.HasField("pending_security_updates")
        else None,
        state=state(message.state),
    )
