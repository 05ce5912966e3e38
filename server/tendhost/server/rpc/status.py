"""The gRPC status of every error: one table of codes, and the details of a status.

The details follow AIP-193: always one ErrorInfo of the domain "tendhost", BadRequest with every
invalid field, PreconditionFailure for a state that does not allow what was asked, RetryInfo where
trying again helps. A status is bounded as a whole, for one that is too large never arrives.
"""

from collections.abc import Callable, Mapping, Sequence

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from tendhost.server.domain import host_errors, request_errors
from tendhost.server.domain.errors import TendhostError
from tendhost.server.store.records import Conflict, DocumentUnreadable, LeaseLost

DOMAIN = "tendhost"

CODES: Mapping[type[TendhostError], grpc.StatusCode] = {
    request_errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    request_errors.ConfigurationError: grpc.StatusCode.INVALID_ARGUMENT,
    request_errors.RequestIdReused: grpc.StatusCode.INVALID_ARGUMENT,
    request_errors.PageTokenInvalid: grpc.StatusCode.INVALID_ARGUMENT,
    request_errors.HostNotFound: grpc.StatusCode.NOT_FOUND,
    request_errors.OperationNotFound: grpc.StatusCode.NOT_FOUND,
    request_errors.RolloutNotFound: grpc.StatusCode.NOT_FOUND,
    request_errors.InventoryNotFound: grpc.StatusCode.NOT_FOUND,
    request_errors.HostAlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    request_errors.HostBusy: grpc.StatusCode.ABORTED,
    request_errors.HostDuplicate: grpc.StatusCode.ALREADY_EXISTS,
    request_errors.HostKeyMismatch: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.EtagMismatch: grpc.StatusCode.ABORTED,
    request_errors.HostFailed: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.InvalidTransition: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.OperationEnded: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.InvalidRolloutStatus: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.RolloutBudgetSpent: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.WaveNotWaiting: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.HostNotInRollout: grpc.StatusCode.NOT_FOUND,
    request_errors.HostNotSkippable: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.NothingToRetry: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.PlanNotFound: grpc.StatusCode.NOT_FOUND,
    request_errors.FleetChanged: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.RolloutEmpty: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.CredentialMissing: grpc.StatusCode.UNAUTHENTICATED,
    request_errors.CredentialInvalid: grpc.StatusCode.UNAUTHENTICATED,
    request_errors.PermissionMissing: grpc.StatusCode.PERMISSION_DENIED,
    request_errors.CallNotScoped: grpc.StatusCode.PERMISSION_DENIED,
    request_errors.TokenNotFound: grpc.StatusCode.NOT_FOUND,
    request_errors.NotAnApprover: grpc.StatusCode.PERMISSION_DENIED,
    request_errors.SelectionNotFound: grpc.StatusCode.NOT_FOUND,
    request_errors.SelectionInUse: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.ScheduleNotFound: grpc.StatusCode.NOT_FOUND,
    request_errors.PolicyNotFound: grpc.StatusCode.NOT_FOUND,
    request_errors.ScheduleAlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    request_errors.SelectionAlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    request_errors.InvalidScheduleStatus: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.OnlyJump: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.JumpInUse: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.RebootNotAllowed: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.PlanUnusable: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.OsqueryRefused: grpc.StatusCode.FAILED_PRECONDITION,
    request_errors.CursorCompacted: grpc.StatusCode.OUT_OF_RANGE,
    request_errors.CursorUnknown: grpc.StatusCode.OUT_OF_RANGE,
    request_errors.WatcherTooSlow: grpc.StatusCode.RESOURCE_EXHAUSTED,
    request_errors.MessageOverdue: grpc.StatusCode.DEADLINE_EXCEEDED,
    request_errors.TooManyCalls: grpc.StatusCode.RESOURCE_EXHAUSTED,
    request_errors.TooManyStreams: grpc.StatusCode.RESOURCE_EXHAUSTED,
    request_errors.TooManyOperations: grpc.StatusCode.RESOURCE_EXHAUSTED,
    request_errors.TooManyQueued: grpc.StatusCode.RESOURCE_EXHAUSTED,
    request_errors.TooManyRollouts: grpc.StatusCode.RESOURCE_EXHAUSTED,
    request_errors.ServerStopping: grpc.StatusCode.UNAVAILABLE,
    request_errors.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    Conflict: grpc.StatusCode.ABORTED,
    LeaseLost: grpc.StatusCode.ABORTED,
    DocumentUnreadable: grpc.StatusCode.DATA_LOSS,
    # What goes wrong on a host reaches a caller only while it enrols one.
    host_errors.SshError: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.HostUnreachable: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.LinkLost: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.ChannelRefused: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.AuthenticationRefused: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.SecondFactorWanted: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.KeyUnusable: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.HostCertificateRefused: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.HostKeyChanged: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.JumpFailed: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.PrivilegeMissing: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.ShellUnusable: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.Timeout: grpc.StatusCode.DEADLINE_EXCEEDED,
    host_errors.OutputTooLarge: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.PackageFailed: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.PackageDatabaseBroken: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.PackageManagerMissing: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.SystemImmutable: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.PackageManagerLocked: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.RefreshFailed: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.ArchiveUntrusted: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.DiskFull: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.InventoryFailed: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.WindowClosed: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.PlanChanged: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.UpdateIncomplete: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.PlanConflict: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.SnapshotFailed: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.ComposeFailed: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.ComposeRolledBack: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.HookFailed: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.PreHookFailed: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.PostHookFailed: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.RestartFailed: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.RollbackFailed: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.HostOutOfScope: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.Cancelled: grpc.StatusCode.CANCELLED,
    host_errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    host_errors.HostGone: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.JobRefused: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.Superseded: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.Interrupted: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.RebootFailed: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.RebootRefused: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.RebootNeverReturned: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.RebootNeverBegan: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.RebootSameBootId: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.Unhealthy: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.DatabaseRestored: grpc.StatusCode.FAILED_PRECONDITION,
    host_errors.Unexpected: grpc.StatusCode.INTERNAL,
    host_errors.BookkeepingFailed: grpc.StatusCode.INTERNAL,
}

OUTCOME_UNKNOWN = (request_errors.StoreUnavailable, host_errors.Unexpected)
"""With these, and where the call's deadline passed or its link broke, a mutation may have taken place; with
every other error it changed nothing."""

_RETRY_SECONDS: Mapping[type[TendhostError], int] = {
    request_errors.HostBusy: 5,
    request_errors.StoreUnavailable: 5,
    request_errors.WatcherTooSlow: 1,
    request_errors.TooManyCalls: 1,
    request_errors.TooManyStreams: 5,
    request_errors.TooManyOperations: 10,
    request_errors.TooManyQueued: 60,
    request_errors.TooManyRollouts: 60,
    request_errors.ServerStopping: 1,
    Conflict: 1,
    LeaseLost: 1,
}


MOST_BYTES = 6 * 1024
"""Of a status on the wire, its text and its details together. Beyond 8 KiB of trailers gRPC gives the
caller RESOURCE_EXHAUSTED in place of the status (GRPC_ARG_MAX_METADATA_SIZE, measured)."""
_TEXT_BYTES = 1024
"""Of the text as it is sent, percent-encoded. It is sent again in the details, as it is."""
_DETAILS_BYTES = 3600
"""Of the encoded status, which base64 makes a third longer."""
_INFO_BYTES = 1280
_VALUE_BYTES = 512
_FIELD_BYTES = 200
_DESCRIPTION_BYTES = 400
_PART_BYTES = 64
"""What is left free for a RetryInfo, for the line that says how much was left out, and for framing."""


def status_of(error: TendhostError) -> status_pb2.Status:
    """The status of `error`. What does not fit is left out and counted."""
    text = cut(str(error), _TEXT_BYTES, size=_sent_size)
    details: list[Message] = [_error_info(error.reason, error.facts())]
    if type(error) in _RETRY_SECONDS:
        delay = Duration(seconds=_RETRY_SECONDS[type(error)])
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    room = _DETAILS_BYTES - _size(_status(CODES[type(error)], text, details)) - _PART_BYTES
    if isinstance(error, request_errors.InvalidArgument):
        details.insert(1, _bad_request(error.violations, room))
    if isinstance(error, request_errors.PageTokenInvalid):
        details.insert(1, _bad_request((_violation("page_token", error),), room))
    if isinstance(error, request_errors.ConfigurationError):
        details.insert(1, _bad_request((_violation(error.field, error),), room))
    if isinstance(error, request_errors.InvalidTransition | request_errors.HostFailed):
        details.insert(1, _precondition("HOST_STATE", f"hosts/{error.host}", str(error)))
    return _status(CODES[type(error)], text, details)


def _violation(field: str, error: TendhostError) -> request_errors.FieldViolation:
    """The field that an error is about, and its text, which names the field too, without the name."""
    return request_errors.FieldViolation(field, str(error).removeprefix(f"{field}: "))


def internal_status() -> status_pb2.Status:
    """The status of an unexpected error. It says nothing of the cause, which is in the log."""
    info = error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN)
    text = "unexpected error of the server; see its log"
    return _status(grpc.StatusCode.INTERNAL, text, [info])


def cut(
    text: str, most: int, *, size: Callable[[str], int] = lambda text: len(text.encode())
) -> str:
    """As much of the beginning of `text` as `most` bytes hold, with "…" where it was longer."""
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair is nothing to send
    if len(text) <= most and size(text) <= most:
        return text
    low, high = 0, min(len(text), most)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(f"{text[:middle]}…") <= most else (low, middle - 1)
    return f"{text[:low]}…"


def _sent_size(text: str) -> int:
    # gRPC sends what is not printable ASCII, and "%", as three bytes each.
    return sum(1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3 for byte in text.encode())


def _size(message: Message) -> int:
    return message.ByteSize()


def _status(code: grpc.StatusCode, text: str, details: Sequence[Message]) -> status_pb2.Status:
    packed = []
    for detail in details:
        wrapped = any_pb2.Any()
        wrapped.Pack(detail)
        packed.append(wrapped)
    return status_pb2.Status(code=code.value[0], message=text, details=packed)


def _error_info(reason: str, facts: Mapping[str, str]) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)
    for number, (name, value) in enumerate(facts.items()):
        info.metadata[name] = cut(value, _VALUE_BYTES)
        if _size(info) > _INFO_BYTES - _PART_BYTES:
            del info.metadata[name]
            info.metadata["left_out"] = f"{len(facts) - number} more"
            break
    return info


def _bad_request(
    violations: Sequence[request_errors.FieldViolation], room: int
) -> error_details_pb2.BadRequest:
    """The violations that `room` bytes hold, and how many more there are."""
    request = error_details_pb2.BadRequest()
    for number, violation in enumerate(violations):
        request.field_violations.add(
            field=cut(violation.field, _FIELD_BYTES),
            description=cut(violation.description, _DESCRIPTION_BYTES),
        )
        if number and _size(request) > room - _PART_BYTES:
            del request.field_violations[-1]
            more = f"and {len(violations) - number} more"
            request.field_violations.add(field="request", description=more)
            break
    return request


def _precondition(kind: str, subject: str, text: str) -> error_details_pb2.PreconditionFailure:
    violation = error_details_pb2.PreconditionFailure.Violation(
        type=kind,
        subject=cut(subject, _FIELD_BYTES),
        description=cut(text, _DESCRIPTION_BYTES),
    )
    return error_details_pb2.PreconditionFailure(violations=[violation])
