"""The errors of calls: one class for each kind that a program may want to handle differently."""

from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

DOMAIN = "tendhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One invalid field of a request: its path in the message, and what was expected."""

    field: str
    description: str


class TendhostError(Exception):
    """A call that failed.

    `reason` is UPPER_SNAKE and never changes its meaning, `metadata` holds the facts in `message`,
    `violations` every invalid field of the request. docs/errors.md lists the reasons.
    """

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


class InvalidRequest(TendhostError):
    """Fields of the request are invalid; `violations` names every one of them."""


class NotFound(TendhostError):
    """The host, operation, rollout, plan, schedule, saved selection, policy or inventory does not exist."""


class AlreadyExists(TendhostError):
    """A host or schedule of that name already exists, or the machine is registered under another name."""


class HostBusy(TendhostError):
    """Another operation is running on the host; `metadata["operation"]` is its id."""


class Conflict(TendhostError):
    """Another request changed the same thing at the same time: read it again and repeat the change."""


class EtagMismatch(Conflict):
    """The resource has changed since it was read: read it again. `metadata["current"]` is its etag."""


class NotAllowedNow(TendhostError):
    """The state of the host, operation, rollout, schedule or selection does not allow the call."""


class PermissionDenied(TendhostError):
    """The caller may not do that; the message says who may."""


class Unauthenticated(TendhostError):
    """The call has no credential, or one that is not valid."""


class HostProblem(TendhostError):
    """An error on the host that a call connects to, to register it or to query its osquery."""


class HostUnreachable(HostProblem):
    """The host does not answer, or not within the time limit."""


class AuthenticationRefused(HostProblem):
    """The host does not accept the key, or the key cannot be used."""


class HostKeyChanged(HostProblem):
    """The host shows another key than the expected one."""


class CursorLost(TendhostError):
    """The events after the cursor were pruned, or never existed: take a snapshot."""


class WatcherTooSlow(TendhostError):
    """The server ended a stream because the client did not read it."""


class LimitReached(TendhostError):
    """The caller, or the server as a whole, has reached one of its limits: try again later, or ask for less."""


class NotImplementedByServer(TendhostError):
    """This server is older than the client and does not have the call."""


class ServerFailed(TendhostError):
    """The server failed; the request itself may be valid."""


class ServerUnreachable(ServerFailed):
    """No server answers at the target, which `metadata["target"]` names."""


class ServerUnavailable(ServerFailed):
    """The server is stopping, or its database is unavailable."""


class ServerFault(ServerFailed):
    """An unexpected error of the server; its log has the details."""


REASONS: Mapping[str, type[TendhostError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "CONFIGURATION_ERROR": InvalidRequest,
    "REQUEST_ID_REUSED": InvalidRequest,
    "PAGE_TOKEN_INVALID": InvalidRequest,
    "HOST_NOT_FOUND": NotFound,
    "OPERATION_NOT_FOUND": NotFound,
    "ROLLOUT_NOT_FOUND": NotFound,
    "PLAN_NOT_FOUND": NotFound,
    "HOST_NOT_IN_ROLLOUT": NotFound,
    "SCHEDULE_NOT_FOUND": NotFound,
    "SELECTION_NOT_FOUND": NotFound,
    "POLICY_NOT_FOUND": NotFound,
    "INVENTORY_NOT_FOUND": NotFound,
    "HOST_ALREADY_EXISTS": AlreadyExists,
    "HOST_DUPLICATE": AlreadyExists,
    "SCHEDULE_ALREADY_EXISTS": AlreadyExists,
    "SELECTION_ALREADY_EXISTS": AlreadyExists,
    "HOST_BUSY": HostBusy,
    "CONFLICT": Conflict,
    "LEASE_LOST": Conflict,
    "ETAG_MISMATCH": EtagMismatch,
    "HOST_FAILED": NotAllowedNow,
    "INVALID_TRANSITION": NotAllowedNow,
    "OPERATION_ENDED": NotAllowedNow,
    "INVALID_ROLLOUT_STATUS": NotAllowedNow,
    "ROLLOUT_EMPTY": NotAllowedNow,
    "ROLLOUT_BUDGET_SPENT": NotAllowedNow,
    "HOST_NOT_SKIPPABLE": NotAllowedNow,
    "WAVE_NOT_WAITING": NotAllowedNow,
    "NOTHING_TO_RETRY": NotAllowedNow,
    "FLEET_CHANGED": NotAllowedNow,
    "INVALID_SCHEDULE_STATUS": NotAllowedNow,
    "NOT_AN_APPROVER": PermissionDenied,
    "CREDENTIAL_MISSING": Unauthenticated,
    "CREDENTIAL_INVALID": Unauthenticated,
    "PERMISSION_MISSING": PermissionDenied,
    "CALL_NOT_SCOPED": PermissionDenied,
    "TOKEN_NOT_FOUND": NotFound,
    "SELECTION_IN_USE": NotAllowedNow,
    "REBOOT_NOT_ALLOWED": NotAllowedNow,
    "JUMP_IN_USE": NotAllowedNow,
    "ONLY_JUMP": NotAllowedNow,
    "PLAN_UNUSABLE": NotAllowedNow,
    "OSQUERY_REFUSED": HostProblem,
    "CURSOR_COMPACTED": CursorLost,
    "CURSOR_UNKNOWN": CursorLost,
    "WATCHER_TOO_SLOW": WatcherTooSlow,
    "MESSAGE_OVERDUE": ServerFailed,
    "TOO_MANY_CALLS": LimitReached,
    "TOO_MANY_STREAMS": LimitReached,
    "TOO_MANY_OPERATIONS": LimitReached,
    "TOO_MANY_QUEUED": LimitReached,
    "TOO_MANY_ROLLOUTS": LimitReached,
    "SERVER_STOPPING": ServerUnavailable,
    "STORE_UNAVAILABLE": ServerUnavailable,
    "INTERNAL": ServerFault,
    "UNEXPECTED": ServerFault,
    "BOOKKEEPING_FAILED": ServerFault,
    "DOCUMENT_UNREADABLE": ServerFault,
    "SSH_ERROR": HostUnreachable,
    "HOST_UNREACHABLE": HostUnreachable,
    "LINK_LOST": HostUnreachable,
    "CHANNEL_REFUSED": HostUnreachable,
    "TIMEOUT": HostUnreachable,
    "AUTHENTICATION_REFUSED": AuthenticationRefused,
    "SECOND_FACTOR_WANTED": AuthenticationRefused,
    "KEY_UNUSABLE": AuthenticationRefused,
    "HOST_KEY_CHANGED": HostKeyChanged,
    "JUMP_FAILED": HostProblem,
    "HOST_CERTIFICATE_REFUSED": HostProblem,
    "HOST_KEY_MISMATCH": HostKeyChanged,
    "PRIVILEGE_MISSING": HostProblem,
    "SHELL_UNUSABLE": HostProblem,
    "OUTPUT_TOO_LARGE": HostProblem,
    "PACKAGE_FAILED": HostProblem,
    "PACKAGE_DATABASE_BROKEN": HostProblem,
    "SYSTEM_IMMUTABLE": HostProblem,
    "PACKAGE_MANAGER_MISSING": HostProblem,
    "PACKAGE_MANAGER_LOCKED": HostProblem,
    "REFRESH_FAILED": HostProblem,
    "DISK_FULL": HostProblem,
    "INVENTORY_FAILED": HostProblem,
    "PLAN_CHANGED": HostProblem,
    "UPDATE_INCOMPLETE": HostProblem,
    "PLAN_CONFLICT": HostProblem,
    "SNAPSHOT_FAILED": HostProblem,
    "COMPOSE_FAILED": HostProblem,
    "COMPOSE_ROLLED_BACK": HostProblem,
    "RESTART_FAILED": HostProblem,
    "HOOK_FAILED": HostProblem,
    "PRE_HOOK_FAILED": HostProblem,
    "POST_HOOK_FAILED": HostProblem,
    "ROLLBACK_FAILED": HostProblem,
    "WINDOW_CLOSED": HostProblem,
    "HOST_OUT_OF_SCOPE": HostProblem,
    "INTERRUPTED": HostProblem,
    "HOST_GONE": HostProblem,
    "JOB_REFUSED": HostProblem,
    "SUPERSEDED": HostProblem,
    "DEADLINE_EXCEEDED": HostProblem,
    "DATABASE_RESTORED": HostProblem,
    "CANCELLED": HostProblem,
    "ARCHIVE_UNTRUSTED": HostProblem,
    "REBOOT_NEVER_BEGAN": HostProblem,
    "REBOOT_FAILED": HostProblem,
    "REBOOT_REFUSED": HostProblem,
    "REBOOT_NEVER_RETURNED": HostProblem,
    "REBOOT_SAME_BOOT_ID": HostProblem,
    "UNHEALTHY": HostProblem,
}
"""By the reason of the server's ErrorInfo."""

_NOT_OURS: Mapping[grpc.StatusCode, type[TendhostError]] = {
    grpc.StatusCode.UNAVAILABLE: ServerUnreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: ServerUnreachable,
    # What we cancel ourselves raises CancelledError: this is a server that ends its calls.
    grpc.StatusCode.CANCELLED: ServerUnreachable,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.RESOURCE_EXHAUSTED: InvalidRequest,
    grpc.StatusCode.UNIMPLEMENTED: NotImplementedByServer,
}
"""For statuses without our details: they come from gRPC itself, or from another kind of server."""


def error_of(failed: grpc.aio.AioRpcError, *, target: str) -> TendhostError:
    """The typed error of a failed call to `target`."""
    info, violations = _details(failed)
    message = failed.details() or failed.code().name
    if info is not None:
        kind = REASONS.get(info.reason, TendhostError)
        return kind(message, reason=info.reason, metadata=info.metadata, violations=violations)
    kind = ServerUnreachable if broken_off(failed) else _NOT_OURS.get(failed.code(), ServerFault)
    metadata = {}
    if kind is ServerUnreachable:
        metadata = {"target": target}
        message = f"no server answers at {target}: {_explained(_innermost(message))}"
    return kind(message, reason=failed.code().name, metadata=metadata)


def broken_off(failed: grpc.aio.AioRpcError) -> bool:
    """Whether a proxy ended the call because the server behind it is gone.

    It resets the stream of HTTP/2, or ends it without a status, which gRPC takes for INTERNAL or UNKNOWN
    (doc/PROTOCOL-HTTP2.md, "Errors").
    """
    signs = ("RST_STREAM", "Stream removed")
    codes = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
    return failed.code() in codes and any(sign in (failed.details() or "") for sign in signs)


def _innermost(message: str) -> str:
    """The cause at the end of what gRPC tells of a connection that could not be made."""
    cause = message.rpartition("last error: ")[2]
    return cause.removeprefix("UNKNOWN: ").replace("\n", " ")


def _explained(cause: str) -> str:
    """What failed in the words of a user, for what goes wrong while TLS begins; else `cause` as it is."""
    return next((words for sign, words in _TLS_SIGNS if sign in cause), cause)


_ANOTHER_NAME = (
    "the server's certificate is for another name; use a name that it is for, or make one for this name:"
    " tendhostd tls init NAME"
)
_TLS_SIGNS = (
    (
        "certificate has expired",
        "the server's certificate has expired; renew it on the server: tendhostd tls init NAME",
    ),
    (
        "certificate is not yet valid",
        "the server's certificate is not valid yet; compare the clocks of both machines",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the server's certificate is from a CA that is not known here; name its file with --ca or TENDHOST_CA, or"
        " another machine answers at this address",
    ),
    ("Hostname Verification", _ANOTHER_NAME),
    ("Peer name", _ANOTHER_NAME),  # grpc before 1.80
    (
        "WRONG_VERSION_NUMBER",
        "the server does not speak TLS at this address; write it without tls:// and --ca if it is on this machine",
    ),
    (
        "Socket closed",
        "the connection was closed at once; if the server speaks TLS there, write tls://HOST:PORT, and if it asks"
        " for a client certificate, log in with --certificate and --key",
    ),
)
"""Signs in the texts of gRPC and its TLS library (BoringSSL), and what they mean."""


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
            violations = tuple(
                Violation(field=v.field, description=v.description)
                for v in request.field_violations
            )
    return info, violations
