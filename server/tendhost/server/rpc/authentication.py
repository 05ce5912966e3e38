"""Who makes a call: the credential that came with it, and the principal that it stands for."""

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

from tendhost.server.certificates import ClientCertificate, client_certificate
from tendhost.server.domain.access.issuers import Identity
from tendhost.server.domain.access.principal import CredentialKind, Principal
from tendhost.server.domain.access.roles import CallPermission, Role, permitted, roles_with
from tendhost.server.domain.access.tokens import PREFIX, Token, TokenMalformed, id_of
from tendhost.server.domain.request_errors import (
    CallNotScoped,
    CredentialInvalid,
    CredentialMissing,
    PermissionMissing,
)
from tendhost.server.rpc.permissions import PERMISSIONS, REACH, UNSCOPED

AUTHORIZATION_METADATA = "authorization"
"""RFC 6750: "Bearer ", and the token."""
USER_METADATA = "tendhost-user"
"""A name that a client gives itself, for the record, where the server asks for no credential."""
UNIX = "unix:"
"""The address of whoever uses the unix socket."""
_USER = re.compile(r"[A-Za-z0-9._@+-]{1,64}")
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
_ADMIN = frozenset({Role.ADMIN})
CERTIFICATE = "client certificate"
_NAMED = 3
"""Names of a certificate that a refusal shows: it may have thousands."""


class TokenCheck(Protocol):
    """What recognises tokens."""

    def recognised(self, text: str) -> Token:
        """The token that `text` is. Raises CredentialInvalid."""
        ...

    def while_valid(self, id: str) -> AbstractAsyncContextManager[None]:
        """End what is done within once the token is not valid any more. Raises CredentialInvalid then."""
        ...

    def require_before(self, end: datetime, *, credential: str) -> None:
        """Raise CredentialInvalid from `end` on: `credential` has expired."""
        ...

    def while_before(self, end: datetime, *, credential: str) -> AbstractAsyncContextManager[None]:
        """End what is done within soon after `end`. Raises CredentialInvalid then: `credential` has expired."""
        ...


class JwtCheck(Protocol):
    """What recognises the JWTs of configured issuers."""

    def recognises(self, text: str) -> bool:
        """Whether `text` is meant as a JWT."""
        ...

    async def identity(self, text: str) -> Identity:
        """Whom the JWT `text` stands for. Raises CredentialInvalid."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticator:
    """Names the principal of each call, and refuses what it may not call."""

    tokens: TokenCheck
    issuers: JwtCheck
    socket_owner: str
    """The name of whoever runs the server, and with it owns its unix socket."""
    certificates: Mapping[str, frozenset[Role]]
    """The roles of clients with certificates, by a DNS name in the certificate."""
    open_access: bool = False
    """Whether no credential is asked for: everybody who reaches the server is an admin."""

    async def admitted(self, method: str, context: Any) -> Principal:
        """The principal of a call of `method`.

        Raises CredentialMissing, CredentialInvalid, PermissionMissing where its roles do not permit the call
        or nobody may make it, and CallNotScoped.
        """
        permission = PERMISSIONS.get(method)
        if permission is CallPermission.NOTHING:
            return _nobody(context)
        principal = await self._principal(context)
        if permission is None or not permitted(permission, principal.roles):
            raise PermissionMissing(
                principal=principal.name or principal.address,
                method=method.rpartition("/")[2],
                roles=tuple(sorted(principal.roles)),
                needed=() if permission is None else roles_with(permission),
            )
        if principal.scope is not None and method not in REACH:
            raise CallNotScoped(
                principal=principal.name,
                method=method.rpartition("/")[2],
                scope=str(principal.scope),
                why=UNSCOPED[method],
            )
        return principal

    def while_valid(self, principal: Principal) -> AbstractAsyncContextManager[None]:
        """End what is done within once the caller's credential is not valid any more. Raises CredentialInvalid then."""
        if principal.valid_until is not None:
            words = "JWT" if principal.kind is CredentialKind.JWT else CERTIFICATE
            return self.tokens.while_before(principal.valid_until, credential=words)
        if principal.kind is CredentialKind.TOKEN:
            return self.tokens.while_valid(principal.credential)
        return nullcontext()

    async def known(self, context: Any) -> Principal:
        """What is known of the caller of a refused call, for the record; its name only if its credential is valid.

        Of a token that is refused it is the id, which the caller may have made up.
        """
        try:
            return await self._principal(context)
        except (CredentialMissing, CredentialInvalid):
            nobody, id = _nobody(context), _shown_id(context)
            return replace(nobody, kind=CredentialKind.TOKEN, credential=id) if id else nobody

    async def _principal(self, context: Any) -> Principal:
        metadata = context.invocation_metadata() or ()
        address = address_of(context)
        shown = self._shown(context)
        given = _authorizations(metadata)
        if given:
            text = _bearer(given)
            if not text.startswith(f"{PREFIX}_") and self.issuers.recognises(text):
                return _of_jwt(await self.issuers.identity(text), address)
            token = self.tokens.recognised(text)
            return Principal(
                name=token.principal,
                kind=CredentialKind.TOKEN,
                credential=token.id,
                roles=frozenset(token.roles),
                scope=token.scope,
                issued_at=token.created_at,
                address=address,
            )
        if shown is not None:
            return self._of_certificate(shown, address)
        if self.open_access:
            return Principal(
                name=_claimed(metadata), kind=CredentialKind.NONE, roles=_ADMIN, address=address
            )
        if address == UNIX:
            return Principal(
                name=self.socket_owner, kind=CredentialKind.SOCKET, roles=_ADMIN, address=address
            )
        raise CredentialMissing

    def _shown(self, context: Any) -> ClientCertificate | None:
        """The certificate that the client has shown. Raises CredentialInvalid, whatever else the call comes with.

        gRPC has verified that its CA is ours and, as its connection was opened, that it was valid then.
        """
        pems = context.auth_context().get("x509_pem_cert")
        if not pems:
            return None
        try:
            shown = _read_certificate(pems[0])
        except ValueError as error:
            raise CredentialInvalid(credential=CERTIFICATE, problem=str(error)) from error
        self.tokens.require_before(shown.expires_at, credential=CERTIFICATE)
        return shown

    def _of_certificate(self, shown: ClientCertificate, address: str) -> Principal:
        for name in shown.names:
            if name in self.certificates:
                return Principal(
                    name=name,
                    kind=CredentialKind.CERTIFICATE,
                    credential=shown.serial,
                    roles=self.certificates[name],
                    valid_until=shown.expires_at,
                    address=address,
                )
        if not shown.names:
            problem = "it has no DNS name in its subject alternative name; names of other kinds name no client"
            raise CredentialInvalid(credential=CERTIFICATE, problem=problem)
        names = ", ".join(shown.names[:_NAMED])
        if len(shown.names) > _NAMED:
            names += f" and {len(shown.names) - _NAMED} more"
        problem = f"no [[client_certificate]] of the server's configuration has one of its names ({names})"
        raise CredentialInvalid(credential=CERTIFICATE, problem=problem)


def _nobody(context: Any) -> Principal:
    """A caller of whom only the address is known, and who may do nothing."""
    return Principal(
        name="", kind=CredentialKind.NONE, roles=frozenset(), address=address_of(context)
    )


def _of_jwt(identity: Identity, address: str) -> Principal:
    return Principal(
        name=identity.name,
        kind=CredentialKind.JWT,
        credential=identity.credential,
        roles=identity.roles,
        scope=identity.scope,
        issued_at=identity.not_before,
        valid_until=identity.valid_until,
        address=address,
    )


@lru_cache(maxsize=1024)
def _read_certificate(pem: bytes) -> ClientCertificate:
    return client_certificate(pem)


def _authorizations(metadata: Sequence[tuple[str, Any]]) -> Sequence[Any]:
    return [value for key, value in metadata if key == AUTHORIZATION_METADATA]


def _shown_id(context: Any) -> str:
    """The id of the token that came with a call, whoever's it is; empty: none came, or it is no whole one."""
    try:
        return id_of(_bearer(_authorizations(context.invocation_metadata() or ())))
    except (CredentialInvalid, TokenMalformed):
        return ""


def _bearer(given: Sequence[Any]) -> str:
    one = given[0] if len(given) == 1 else None
    match = _BEARER.fullmatch(one) if isinstance(one, str) else None
    if match is None:
        problem = "the metadata 'authorization' must be given once, in the form 'Bearer TOKEN'"
        raise CredentialInvalid(credential="token", problem=problem)
    return match[1]


def _claimed(metadata: Sequence[tuple[str, Any]]) -> str:
    """The name that the client gives itself; empty: none, or one that is no name."""
    names = (value for key, value in metadata if key == USER_METADATA)
    return next((str(name) for name in names if _USER.fullmatch(str(name))), "")


def address_of(context: Any) -> str:
    """Where a call comes from, without the port, which says nothing of whose call it is."""
    peer = context.peer().replace("%5B", "[").replace("%5D", "]")
    # A client's unix socket may have a name of its own, which the client chooses.
    return UNIX if peer.startswith("unix:") else re.sub(r":\d+$", "", peer)
