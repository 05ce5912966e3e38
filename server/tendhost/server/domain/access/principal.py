"""Principals: who makes a call, by which credential it is known, and what it may do."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tendhost.server.domain.access.roles import Role
from tendhost.server.domain.access.scope import Scope


class CredentialKind(StrEnum):
    """How a caller has shown who it is."""

    NONE = "none"
    """Not at all: the server asks for no credential, and the name is what the client says."""
    SOCKET = "socket"
    """By access to the server's unix socket, which only its owner and root have."""
    TOKEN = "token"  # noqa: S105  # the kind, no secret
    CERTIFICATE = "certificate"
    JWT = "jwt"
    """A JSON web token of a configured issuer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who makes a call."""

    name: str
    """By which it is known in events, audit records and lists of approvers. Empty: it has no name."""
    kind: CredentialKind
    credential: str = ""
    """Id of the token, serial number of the certificate, or issuer and id of the JWT; empty for other kinds."""
    roles: frozenset[Role]
    scope: Scope | None = None
    """The hosts that it is bound to; None: it is bound to none, and sees all."""
    issued_at: datetime | None = None
    """When its credential was issued; None: not known."""
    valid_until: datetime | None = None
    """When its JWT or its certificate is no longer valid; None: it has neither."""
    address: str
    """Where the call comes from, as gRPC names it without the port: "ipv4:192.0.2.7", "unix:"."""

    @property
    def authenticated(self) -> bool:
        """Whether it has proved its name with a credential."""
        return bool(self.name) and self.kind is not CredentialKind.NONE

    def __str__(self) -> str:
        """As events and audit records name it: "ci (ipv4:192.0.2.7)"."""
        return f"{self.name} ({self.address})" if self.name else self.address
