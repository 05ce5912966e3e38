"""What can go wrong with a call, as types: one for each reason that a program may want to tell apart."""

from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

DOMAIN = "tendhost"


@dataclass(frozen=True, slots=True)
class Violation:
    """One invalid field of a request."""

    field: str
    description: str


class TendhostError(Exception):
    """A call that was refused. `reason` is UPPER_SNAKE and never changes its meaning."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: tuple[Violation, ...] = (),
    ) -> None:
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = violations
        super().__init__(message)


class ServerUnreachable(TendhostError):
    """No server answers at the target."""


class InvalidRequest(TendhostError):
    """Fields of the request are invalid; `violations` names every one of them."""


class NotFound(TendhostError):
    """There is no such host, operation, rollout or inventory."""


class AlreadyExists(TendhostError):
    """A host of that name is registered already."""


class HostBusy(TendhostError):
    """Another operation is at work on the host."""


class NotAllowedNow(TendhostError):
    """The state of the host, operation or rollout does not allow it."""


class HostUnreachable(TendhostError):
    """The host does not answer, or not as it should, while it is being registered."""


class CursorLost(TendhostError):
    """The events after the cursor are gone, or were never there: take a snapshot."""


class TooSlow(TendhostError):
    """The server let go of a stream that was not read."""


class NotImplementedByServer(TendhostError):
    """The contract has it, this server does not."""


class ServerUnavailable(TendhostError):
    """The server cannot write at present; nothing was changed."""


class ServerFault(TendhostError):
    """A fault of the server."""


REASONS: Mapping[str, type[TendhostError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "CONFIGURATION_ERROR": InvalidRequest,
    "REQUEST_ID_REUSED": InvalidRequest,
    "PAGE_TOKEN_INVALID": InvalidRequest,
    "HOST_NOT_FOUND": NotFound,
    "OPERATION_NOT_FOUND": NotFound,
    "ROLLOUT_NOT_FOUND": NotFound,
    "INVENTORY_NOT_FOUND": NotFound,
    "HOST_ALREADY_EXISTS": AlreadyExists,
    "HOST_BUSY": HostBusy,
    "CONFLICT": HostBusy,
    "HOST_FAILED": NotAllowedNow,
    "INVALID_TRANSITION": NotAllowedNow,
    "OPERATION_ENDED": NotAllowedNow,
    "ROLLOUT_STATUS": NotAllowedNow,
    "ROLLOUT_EMPTY": NotAllowedNow,
    "CURSOR_COMPACTED": CursorLost,
    "CURSOR_UNKNOWN": CursorLost,
    "WATCHER_TOO_SLOW": TooSlow,
    "NOT_IMPLEMENTED": NotImplementedByServer,
    "STORE_UNAVAILABLE": ServerUnavailable,
    "SSH_ERROR": HostUnreachable,
    "HOST_UNREACHABLE": HostUnreachable,
    "TIMEOUT": HostUnreachable,
    "INTERNAL": ServerFault,
}

_CODES: Mapping[grpc.StatusCode, type[TendhostError]] = {
    grpc.StatusCode.UNAVAILABLE: ServerUnreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: ServerUnreachable,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.UNIMPLEMENTED: NotImplementedByServer,
    grpc.StatusCode.RESOURCE_EXHAUSTED: InvalidRequest,
}
"""For statuses without our details: they come from gRPC itself, or from another server."""


def error_of(failed: grpc.aio.AioRpcError, *, target: str) -> TendhostError:
    """The typed error of a failed call to `target`."""
    info, violations = _details(failed)
    message = failed.details() or failed.code().name
    if info is not None:
        kind = REASONS.get(info.reason, TendhostError)
        return kind(message, reason=info.reason, metadata=info.metadata, violations=violations)
    kind = _CODES.get(failed.code(), ServerFault)
    if kind is ServerUnreachable:
        message = f"no server answers at {target} ({message})"
    return kind(message, reason=failed.code().name)


def _details(
    failed: grpc.aio.AioRpcError,
) -> tuple[error_details_pb2.ErrorInfo | None, tuple[Violation, ...]]:
    try:
        # It only reads what both kinds of calls have.
        status = rpc_status.from_call(failed)  # type: ignore[arg-type]
    except ValueError:
        return None, ()
    info = None
    violations: tuple[Violation, ...] = ()
    for detail in status.details if status is not None else ():
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            found = error_details_pb2.ErrorInfo()
            detail.Unpack(found)
            info = found if found.domain == DOMAIN else None
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            request = error_details_pb2.BadRequest()
            detail.Unpack(request)
            violations = tuple(Violation(v.field, v.description) for v in request.field_violations)
    return info, violations
