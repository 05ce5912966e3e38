"""Conversion of callers, tokens and audit records."""

from tendhost.client.convert.enums import enum_names, instant, numbers, reading
from tendhost.client.convert.selections import host_filter
from tendhost.client.models.access import AuditRecord, Caller, CredentialKind, Role, Token
from tendhost.v1 import access_service_pb2 as pb

_ROLES = enum_names(Role, pb.Role)
ROLE_NUMBERS = numbers(_ROLES)
_role = reading(_ROLES, Role.UNRECOGNIZED)
_credential_kind = reading(
    enum_names(CredentialKind, pb.CredentialKind), CredentialKind.UNRECOGNIZED
)


def caller(message: pb.GetCallerResponse) -> Caller:
    """Who the client is to the server."""
    return Caller(
        principal=message.principal,
        credential_kind=_credential_kind(message.credential_kind),
        credential_id=message.credential_id,
        roles=tuple(map(_role, message.roles)),
        address=message.address,
        scope=host_filter(message.scope) if message.HasField("scope") else None,
    )


def token(message: pb.Token) -> Token:
    """A token."""
    return Token(
        id=message.id,
        principal=message.principal,
        description=message.description,
        roles=tuple(map(_role, message.roles)),
        created_at=instant(message, "created_at"),
        created_by=message.created_by,
        expires_at=instant(message, "expires_at"),
        last_used_at=instant(message, "last_used_at"),
        scope=host_filter(message.scope) if message.HasField("scope") else None,
        incomplete=message.incomplete,
    )


def audit_record(message: pb.AuditRecord) -> AuditRecord:
    """A record of the audit log."""
    kind = message.credential_kind
    return AuditRecord(
        number=message.number,
        at=instant(message, "at"),
        principal=message.principal,
        credential_kind=_credential_kind(kind) if kind else None,
        credential_id=message.credential_id,
        address=message.address,
        method=message.method,
        subject=message.subject,
        result=message.result,
        request_id=message.request_id,
        omitted=message.omitted,
        revision=message.revision,
        hash=message.hash,
    )
