"""Explanations and reports, from domain values to messages."""

from tendhost.server.domain.bounds import text
from tendhost.server.domain.explain import Explanation, ReasonKind
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.rollouts.report import CauseLine, OverdueHost, RolloutReport
from tendhost.server.rpc.convert.common import duration, numbers, timestamp
from tendhost.server.rpc.convert.rollouts import rollout_message, wave_message
from tendhost.server.rpc.convert.selections import HOST_STATE
from tendhost.server.rpc.convert.whole import ITEM_BYTES, whole
from tendhost.v1 import host_service_pb2, rollout_service_pb2

SHOWN_PACKAGES = 10_000
_REASON_KIND = numbers(ReasonKind, host_service_pb2.ReasonKind)


def _unread_explanation(_: Explanation | str, why: str) -> host_service_pb2.ExplainHostResponse:
    return host_service_pb2.ExplainHostResponse(incomplete=why)


@whole(_unread_explanation)
def explanation_message(found: Explanation) -> host_service_pb2.ExplainHostResponse:
    """An explanation as clients see it."""
    return host_service_pb2.ExplainHostResponse(
        update=found.update,
        reboot=found.reboot,
        reasons=[
            host_service_pb2.Reason(
                at=timestamp(reason.at),
                kind=_REASON_KIND[reason.kind],
                message=reason.message,
                operation_id=reason.operation,
                rollout_id=reason.rollout,
                revision=reason.revision,
            )
            for reason in found.reasons
        ],
    )


def _unread_overdue(overdue: OverdueHost | str, _: str) -> host_service_pb2.OverdueHost:
    return host_service_pb2.OverdueHost(
        host=text(overdue if isinstance(overdue, str) else overdue.host)
    )


@whole(_unread_overdue)
def overdue_host_message(overdue: OverdueHost) -> host_service_pb2.OverdueHost:
    """An overdue host as clients see it."""
    return host_service_pb2.OverdueHost(
        host=overdue.host,
        last_updated=timestamp(overdue.last_updated),
        pending_security_updates=overdue.security,
        state=HOST_STATE[HostState(overdue.state)],
    )


def _unread_report(
    _: RolloutReport | str, why: str
) -> rollout_service_pb2.GetRolloutReportResponse:
    return rollout_service_pb2.GetRolloutReportResponse(incomplete=why)


@whole(_unread_report, most=3 * ITEM_BYTES)
def report_message(found: RolloutReport) -> rollout_service_pb2.GetRolloutReportResponse:
    """A report on a rollout as clients see it."""
    return rollout_service_pb2.GetRolloutReportResponse(
        rollout=rollout_message(found.rollout),
        waves=[wave_message(wave) for wave in found.waves],
        packages=[
            rollout_service_pb2.ReportPackage(
                name=line.name, to_version=line.to_version, host_count=line.hosts
            )
            for line in found.packages[:SHOWN_PACKAGES]
        ],
        reboots=found.reboots,
        rebooted_hosts=found.rebooted,
        failures=[_cause(line) for line in found.failures],
        skipped=[_cause(line) for line in found.skipped],
        reboots_left=[_cause(line) for line in found.reboots_left],
        longest=duration(found.longest),
        duration=None if found.duration is None else duration(found.duration),
        longest_host=found.longest_host,
    )


def _cause(line: CauseLine) -> rollout_service_pb2.ReportCause:
    return rollout_service_pb2.ReportCause(
        reason=line.reason, example=line.example, host_count=line.count, hosts=line.hosts
    )
