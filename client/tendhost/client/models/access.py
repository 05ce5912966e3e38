"""Callers, their roles, tokens, and audit records."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from tendhost.client.models.selections import HostFilter


class Role(StrEnum):
    """What a credential permits."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"
    UNRECOGNIZED = "unrecognized"
    """One that this client does not know."""


class CredentialKind(StrEnum):
    """How a caller has shown who it is."""

    NONE = "none"
    """Not at all; the server asks for no credential."""
    SOCKET = "socket"
    TOKEN = "token"  # noqa: S105  # the kind, no secret
    CERTIFICATE = "certificate"
    JWT = "jwt"
    """A JSON web token of an issuer that the server trusts."""
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who the client is to the server."""

    principal: str
    """Name in events and in lists of approvers; empty: the caller has none."""
    credential_kind: CredentialKind
    credential_id: str
    """Id of the token, serial number of the certificate, or issuer and id of the JWT."""
    roles: tuple[Role, ...]
    address: str
    scope: HostFilter | None = None
    """Hosts that the client sees and touches, and no others; None: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Token that the server has issued."""

    id: str
    principal: str
    description: str
    roles: tuple[Role, ...]
    created_at: datetime | None
    created_by: str
    expires_at: datetime | None
    """None: it does not expire."""
    last_used_at: datetime | None
    """None: it was never used."""
    scope: HostFilter | None = None
    """Hosts that the token is bound to; None: all."""
    incomplete: str = ""
    """Why this value does not show everything that the server stores; empty: it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """Token that was just created, with its text, which is shown this once."""

    token: Token
    text: str = field(repr=False)
    """Empty: the answer to the creation was lost; delete the token and create another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """Who asked the server for what, on what, and with which result."""

    number: int
    """Records are numbered without gaps."""
    at: datetime | None
    principal: str
    """Name of the caller; without one, its address. Empty: several callers."""
    credential_kind: CredentialKind | None
    """None: the server itself acted, or the record stands for several refusals."""
    credential_id: str
    address: str
    method: str
    """Full name; empty: the record stands for several refusals."""
    subject: str
    """Host, operation, rollout or other object; empty: none."""
    result: str
    """OK, STARTED, OMITTED, or the reason of the refusal."""
    request_id: str
    omitted: int
    """Number of refusals without a record, which this record stands for."""
    revision: int
    hash: str
    """SHA-256 of this record and of the hash of the record before."""
