"""Explanations and reports, as clients see them."""

from google.protobuf.duration_pb2 import Duration

from tendhost.server.domain.explain import Explanation, ReasonKind
from tendhost.server.domain.report import CauseLine, Laggard, RolloutReport
from tendhost.server.domain.states import HostState
from tendhost.server.rpc.convert_rollout import rollout_message, wave_message
from tendhost.server.rpc.convert_selection import HOST_STATE
from tendhost.server.rpc.wire import numbers, timestamp
from tendhost.v1 import host_service_pb2, rollout_service_pb2

SHOWN_PACKAGES = 10_000
_REASON_KIND = numbers(ReasonKind, host_service_pb2.ReasonKind)


def explanation_message(found: Explanation) -> host_service_pb2.ExplainHostResponse:
    """Why a host is as it is."""
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


def laggard_message(laggard: Laggard) -> host_service_pb2.Laggard:
    """A host that is not as it should be."""
    return host_service_pb2.Laggard(
        host=laggard.host,
        last_updated=timestamp(laggard.last_updated),
        security=laggard.security,
        state=HOST_STATE[HostState(laggard.state)],
    )


def report_message(found: RolloutReport) -> rollout_service_pb2.GetRolloutReportResponse:
    """What came of a rollout."""
    message = rollout_service_pb2.GetRolloutReportResponse(
        rollout=rollout_message(found.rollout),
        waves=[wave_message(wave) for wave in found.waves],
        packages=[
            rollout_service_pb2.ReportPackage(
                name=line.name, to_version=line.to_version, hosts=line.hosts
            )
            for line in found.packages[:SHOWN_PACKAGES]
        ],
        reboots=found.reboots,
        rebooted_hosts=found.rebooted,
        failures=[_cause(line) for line in found.failures],
        skipped=[_cause(line) for line in found.skipped],
        longest=Duration(),
        longest_host=found.longest_host,
    )
    message.longest.FromTimedelta(found.longest)
    if found.duration is not None:
        message.duration.FromTimedelta(found.duration)
    return message


def _cause(line: CauseLine) -> rollout_service_pb2.ReportCause:
    return rollout_service_pb2.ReportCause(
        reason=line.reason, example=line.example, count=line.count, hosts=line.hosts
    )
