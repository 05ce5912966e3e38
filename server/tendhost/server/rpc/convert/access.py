"""Messages of callers, tokens and audit records."""

from datetime import UTC, datetime

from google.protobuf.message import Message

from tendhost.server.domain.access.audit import AuditEntry
from tendhost.server.domain.access.principal import CredentialKind, Principal
from tendhost.server.domain.access.roles import Role
from tendhost.server.domain.access.scope import Scope, scope_of
from tendhost.server.domain.access.tokens import Token
from tendhost.server.domain.bounds import text
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.rpc.convert.common import numbers, timestamp
from tendhost.server.rpc.convert.selections import filter_message, host_filter
from tendhost.server.rpc.convert.whole import whole
from tendhost.server.rpc.permissions import PERMISSIONS
from tendhost.server.store.records import AuditFilter, Unreadable
from tendhost.v1 import access_service_pb2 as pb
from tendhost.v1 import host_pb2

ROLE = numbers(Role, pb.Role)
CREDENTIAL_KIND = numbers(CredentialKind, pb.CredentialKind)
_ROLES = {number: role for role, number in ROLE.items()}


def roles_of(request: pb.CreateTokenRequest) -> tuple[Role, ...]:
    """The roles that a request names, the least powerful first."""
    return tuple(sorted((_ROLES[number] for number in request.roles), key=list(Role).index))


def scope_in(request: pb.CreateTokenRequest) -> Scope | None:
    """The hosts that a new token is to be bound to; None: it is bound to none. Raises InvalidArgument."""
    return scope_of(host_filter(request.scope)) if request.HasField("scope") else None


def _scope_message(scope: Scope | None) -> host_pb2.HostFilter | None:
    return None if scope is None else filter_message(scope.filter)


def expiry_of(request: pb.CreateTokenRequest) -> datetime | None:
    """When a new token is to expire; None: never. Raises InvalidArgument."""
    return _time(request, "expires_at")


def _time(request: Message, field: str) -> datetime | None:
    """A time of a request; None: it has none. Raises InvalidArgument."""
    if not request.HasField(field):
        return None
    try:
        found: datetime = getattr(request, field).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        violation = FieldViolation(field, "must be a time in the years 1 to 9999")
        raise InvalidArgument(violation) from None
    return found


def audit_filter(request: pb.ListAuditRecordsRequest) -> AuditFilter:
    """Which records a request asks for. Raises InvalidArgument."""
    return AuditFilter(
        principal=request.principal,
        subject=request.subject,
        methods=_methods(request.method),
        since=_time(request, "since"),
        until=_time(request, "until"),
    )


def _methods(text: str) -> tuple[str, ...]:
    """The full names of the methods that a text names; none for an empty text."""
    if not text:
        return ()
    return tuple(method for method in PERMISSIONS if method.endswith(f"/{text}")) or (text,)


def audit_message(entry: AuditEntry | Unreadable) -> pb.AuditRecord:
    """A record as admins see it."""
    assert isinstance(entry, AuditEntry)  # no column of a record is a document
    record = entry.record
    kind = pb.CREDENTIAL_KIND_UNSPECIFIED
    if record.credential_kind is not None:
        kind = CREDENTIAL_KIND[record.credential_kind]
    return pb.AuditRecord(
        number=entry.number,
        at=timestamp(record.at),
        principal=record.principal,
        credential_kind=kind,
        credential_id=record.credential,
        address=record.address,
        method=record.method,
        subject=record.subject,
        result=record.result,
        request_id=record.request_id,
        omitted=record.omitted,
        revision=entry.revision,
        hash=entry.hash,
    )


def caller_message(principal: Principal) -> pb.GetCallerResponse:
    """A caller as it is told who it is."""
    return pb.GetCallerResponse(
        principal=principal.name,
        credential_kind=CREDENTIAL_KIND[principal.kind],
        credential_id=principal.credential,
        roles=[ROLE[role] for role in Role if role in principal.roles],
        address=principal.address,
        scope=_scope_message(principal.scope),
    )


def _unread_token(token: Token | str, why: str) -> pb.Token:
    return pb.Token(id=text(token if isinstance(token, str) else token.id), incomplete=why)


@whole(_unread_token)
def token_message(token: Token) -> pb.Token:
    """A token as admins see it."""
    return pb.Token(
        id=token.id,
        principal=token.principal,
        description=token.description,
        roles=[ROLE[role] for role in token.roles],
        created_at=timestamp(token.created_at),
        created_by=token.created_by,
        expires_at=timestamp(token.expires_at),
        last_used_at=timestamp(token.last_used_at),
        scope=_scope_message(token.scope),
    )
