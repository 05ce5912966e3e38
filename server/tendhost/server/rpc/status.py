"""One table from every error of the domain to its gRPC status, and the status with its details.

The details follow AIP-193: always one ErrorInfo of the domain "tendhost", BadRequest with every
invalid field, PreconditionFailure for a state that does not allow what was asked, RetryInfo where
trying again helps.
"""

from collections.abc import Mapping

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from tendhost.server.domain import errors
from tendhost.server.domain.errors import TendhostError
from tendhost.server.store.protocol import Conflict

DOMAIN = "tendhost"

CODES: Mapping[type[TendhostError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ConfigurationError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.RequestIdReused: grpc.StatusCode.INVALID_ARGUMENT,
    errors.PageTokenInvalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.HostNotFound: grpc.StatusCode.NOT_FOUND,
    errors.OperationNotFound: grpc.StatusCode.NOT_FOUND,
    errors.RolloutNotFound: grpc.StatusCode.NOT_FOUND,
    errors.InventoryNotFound: grpc.StatusCode.NOT_FOUND,
    errors.HostAlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.HostBusy: grpc.StatusCode.ABORTED,
    errors.HostHasFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.InvalidTransition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.OperationNotCancellable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RolloutNotSteerable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RolloutBudgetSpent: grpc.StatusCode.FAILED_PRECONDITION,
    errors.WaveNotWaiting: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotInRollout: grpc.StatusCode.NOT_FOUND,
    errors.HostNotSkippable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NothingToRetry: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PlanNotFound: grpc.StatusCode.NOT_FOUND,
    errors.FleetChanged: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RolloutEmpty: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotAnApprover: grpc.StatusCode.PERMISSION_DENIED,
    errors.SelectionNotFound: grpc.StatusCode.NOT_FOUND,
    errors.SelectionInUse: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ScheduleNotFound: grpc.StatusCode.NOT_FOUND,
    errors.DefaultsNotFound: grpc.StatusCode.NOT_FOUND,
    errors.ScheduleAlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.ScheduleNotSteerable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RebootNotAllowed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PlanUnusable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.OsqueryRefused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.CursorCompacted: grpc.StatusCode.OUT_OF_RANGE,
    errors.CursorUnknown: grpc.StatusCode.OUT_OF_RANGE,
    errors.WatcherTooSlow: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    Conflict: grpc.StatusCode.ABORTED,
    # What goes wrong on a host reaches a caller only while it enrols one.
    errors.SshError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unreachable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.LinkLost: grpc.StatusCode.FAILED_PRECONDITION,
    errors.AuthenticationRefused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.KeyUnusable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.HostKeyChanged: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PrivilegeMissing: grpc.StatusCode.FAILED_PRECONDITION,
    errors.WorkTimeout: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.OutputTooLarge: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PackageFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PackageDatabaseBroken: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PackageManagerMissing: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PackageManagerLocked: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RefreshFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ArchiveUntrusted: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DiskFull: grpc.StatusCode.FAILED_PRECONDITION,
    errors.InventoryFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.WindowClosed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PlanChanged: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PlanConflict: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SnapshotFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ComposeFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ComposePutBack: grpc.StatusCode.FAILED_PRECONDITION,
    errors.HookFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PreHookFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PostHookFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ServicesFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RollbackFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.GivenUp: grpc.StatusCode.CANCELLED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.HostGone: grpc.StatusCode.FAILED_PRECONDITION,
    errors.JobRefused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Superseded: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Interrupted: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RebootFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RebootRefused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NeverReturned: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RebootIgnored: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SameBoot: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unhealthy: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Restored: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unexpected: grpc.StatusCode.INTERNAL,
}

_RETRY_SECONDS: Mapping[type[TendhostError], int] = {
    errors.HostBusy: 5,
    errors.StoreUnavailable: 5,
    errors.WatcherTooSlow: 1,
    Conflict: 1,
}


def status_of(error: TendhostError) -> status_pb2.Status:
    """The status that tells `error` to a caller."""
    info = error_details_pb2.ErrorInfo(
        reason=error.reason, domain=DOMAIN, metadata=dict(error.facts())
    )
    details: list[Message] = [info]
    if isinstance(error, errors.InvalidArgument):
        details.append(_bad_request(error))
    if isinstance(error, errors.ConfigurationError):
        violation = errors.FieldViolation(error.field, str(error))
        details.append(_bad_request(errors.InvalidArgument(violation)))
    if isinstance(error, errors.InvalidTransition):
        details.append(_precondition("HOST_STATE", f"hosts/{error.host}", str(error)))
    if isinstance(error, errors.HostHasFailed):
        details.append(_precondition("HOST_STATE", f"hosts/{error.host}", str(error)))
    if type(error) in _RETRY_SECONDS:
        delay = Duration(seconds=_RETRY_SECONDS[type(error)])
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return _status(CODES[type(error)], str(error), details)


def internal_status() -> status_pb2.Status:
    """The status of a fault that nobody foresaw: it says nothing of its inside."""
    info = error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN)
    text = "an unexpected fault of the server; its log has the rest"
    return _status(grpc.StatusCode.INTERNAL, text, [info])


def _status(code: grpc.StatusCode, text: str, details: list[Message]) -> status_pb2.Status:
    packed = []
    for detail in details:
        wrapped = any_pb2.Any()
        wrapped.Pack(detail)
        packed.append(wrapped)
    return status_pb2.Status(code=code.value[0], message=text, details=packed)


def _bad_request(error: errors.InvalidArgument) -> error_details_pb2.BadRequest:
    violation = error_details_pb2.BadRequest.FieldViolation
    return error_details_pb2.BadRequest(
        field_violations=[
            violation(field=v.field, description=v.description) for v in error.violations
        ]
    )


def _precondition(kind: str, subject: str, text: str) -> error_details_pb2.PreconditionFailure:
    violation = error_details_pb2.PreconditionFailure.Violation
    return error_details_pb2.PreconditionFailure(
        violations=[violation(type=kind, subject=subject, description=text)]
    )
