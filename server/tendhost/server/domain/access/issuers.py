"""Issuers of JWTs that the server trusts: which tokens it accepts, and whom their claims stand for."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from tendhost.server.domain.access.roles import Role
from tendhost.server.domain.access.scope import Scope

Claims: TypeAlias = Mapping[str, Any]
"""The JSON object in a token. Until its signature is verified, anybody may have written it."""

MOST_LABELS = 64
"""Groups or tags that one claim may bind a caller to, as in a HostFilter of the contract."""
LONGEST_CREDENTIAL = 64
_NAME = re.compile(r"[A-Za-z0-9._@+-]{1,64}", re.ASCII)
"""A principal, as the contract has it for tokens and for lists of approvers."""
_LABEL = re.compile(r"[A-Za-z0-9._:=/-]{1,63}", re.ASCII)
"""A group or a tag, as the contract has them."""
_ID = re.compile(r"[!-~]+", re.ASCII)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


class ClaimsRefused(ValueError):
    """The claims of a token do not permit the call: why. Never has a value of a claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """An issuer, and what its tokens are good for."""

    name: str
    """By which the configuration and the audit log know it."""
    issuer: str
    """The claim "iss" of its tokens, to the letter (RFC 7519, section 4.1.1)."""
    audiences: tuple[str, ...]
    """A token must be for one of them (claim "aud")."""
    algorithms: frozenset[str]
    """With which its tokens may be signed. None of them works with a shared secret."""
    leeway: timedelta
    """By how much the clocks of the issuer and of this machine may differ."""
    principal_claim: str = "sub"
    prefix: str = ""
    """Stands before the names of its principals, so that they differ from those of tokens and other issuers."""
    roles_claim: str
    roles: Mapping[Role, frozenset[str]]
    """The values of `roles_claim` that give each role."""
    groups_claim: str = ""
    """Its values are groups of hosts that callers are bound to; empty: no claim."""
    all_tags_claim: str = ""
    any_tags_claim: str = ""
    unbound: frozenset[str] = frozenset()
    """The values of `roles_claim` whose callers are bound to no hosts, whatever the other claims say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom a token stands for."""

    name: str
    credential: str
    """The name of the issuer and the id of the token, for the record."""
    roles: frozenset[Role]
    scope: Scope | None
    not_before: datetime | None
    expires_at: datetime
    valid_until: datetime
    """When it is refused: as long after it has expired as the clocks may differ."""

    def require_current(self, now: datetime, leeway: timedelta) -> None:
        """Raise ClaimsRefused before and after the time for which the token was issued."""
        if now - leeway >= self.expires_at:
            raise ClaimsRefused(f"it expired at {self.expires_at:%Y-%m-%d %H:%M:%S} UTC")
        if self.not_before is not None and now + leeway < self.not_before:
            raise ClaimsRefused(
                f"it is not valid before {self.not_before:%Y-%m-%d %H:%M:%S} UTC; compare the clocks of the issuer"
                " and of this server"
            )


def identity_of(issuer: TrustedIssuer, claims: Claims) -> Identity:
    """Whom the claims of a token, whose signature is verified, stand for.

    Raises ClaimsRefused: the token is another issuer's, or for another audience; it does not expire; its claims
    give no name, no role, or no hosts where the issuer's callers are bound to hosts.
    """
    if claims.get("iss") != issuer.issuer:
        raise ClaimsRefused("it is of another issuer than the one whose keys verify it")
    if not issuer.audiences or not set(issuer.audiences) & set(_texts(claims.get("aud"))):
        raise ClaimsRefused(
            f"it is for another audience (claim 'aud') than oidc_issuer {issuer.name!r} names"
        )
    expires_at = _time(claims, "exp")
    if expires_at is None:
        raise ClaimsRefused("it has no claim 'exp', so it would never expire")
    starts = [time for name in ("nbf", "iat") if (time := _time(claims, name)) is not None]
    given = set(_values(claims, issuer.roles_claim))
    roles = frozenset(role for role, values in issuer.roles.items() if values & given)
    if not roles:
        raise ClaimsRefused(
            f"its claim {issuer.roles_claim!r} has no value that oidc_issuer {issuer.name!r} maps to a role"
        )
    return Identity(
        name=_principal(issuer, claims),
        credential=_credential(issuer, claims),
        roles=roles,
        scope=None if given & issuer.unbound else _scope(issuer, claims),
        not_before=max(starts, default=None),
        expires_at=expires_at,
        valid_until=expires_at + issuer.leeway,
    )


def _principal(issuer: TrustedIssuer, claims: Claims) -> str:
    value = _claim(claims, issuer.principal_claim)
    name = f"{issuer.prefix}{value}"
    if not isinstance(value, str) or not value or _NAME.fullmatch(name) is None:
        raise ClaimsRefused(
            f"its claim {issuer.principal_claim!r} gives no name of 1 to 64 characters A-Z, a-z, 0-9, '.', '_', '@',"
            f" '+', '-'; name another claim with principal_claim of oidc_issuer {issuer.name!r}"
        )
    return name


def _credential(issuer: TrustedIssuer, claims: Claims) -> str:
    id = claims.get("jti")
    if not isinstance(id, str) or _ID.fullmatch(id) is None:
        return issuer.name
    return f"{issuer.name}/{id}"[:LONGEST_CREDENTIAL]


def _scope(issuer: TrustedIssuer, claims: Claims) -> Scope | None:
    """The hosts that the caller is bound to. A claim that binds and is missing gives no hosts, never all of them."""
    scope = Scope(
        groups=_labels(issuer, claims, issuer.groups_claim),
        all_tags=_labels(issuer, claims, issuer.all_tags_claim),
        any_tags=_labels(issuer, claims, issuer.any_tags_claim),
    )
    return None if scope == Scope() else scope


def _labels(issuer: TrustedIssuer, claims: Claims, name: str) -> tuple[str, ...]:
    if not name:
        return ()
    labels = tuple(dict.fromkeys(_values(claims, name)))
    if not labels:
        raise ClaimsRefused(
            f"its claim {name!r} names no hosts, and oidc_issuer {issuer.name!r} binds callers to those that it names"
        )
    if len(labels) > MOST_LABELS or not all(map(_LABEL.fullmatch, labels)):
        raise ClaimsRefused(
            f"its claim {name!r} has more than {MOST_LABELS} values, or one that is no group or tag"
        )
    return labels


def _claim(claims: Claims, name: str) -> Any:
    """The value of a claim; None: there is none. A name that begins with "/" is a JSON pointer (RFC 6901)."""
    if not name.startswith("/"):
        return claims.get(name)
    found: Any = claims
    for part in name[1:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def _values(claims: Claims, name: str) -> tuple[str, ...]:
    """The values of a claim with one text, or a list of texts; "scope" has texts with spaces between (RFC 8693)."""
    value = _claim(claims, name)
    if name == "scope" and isinstance(value, str):
        return tuple(value.split(" "))
    return tuple(_texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (part for part in value if isinstance(part, str) and part)


def _time(claims: Claims, name: str) -> datetime | None:
    """A NumericDate (RFC 7519, section 2); None: there is no such claim."""
    value = claims.get(name)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= _LATEST:  # NaN is in no range
        raise ClaimsRefused(f"its claim {name!r} is no time in seconds since 1970")
    return datetime.fromtimestamp(value, UTC)
