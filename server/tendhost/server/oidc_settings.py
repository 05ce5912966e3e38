"""The issuers of JWTs that the server trusts, made of the settings."""

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from tendhost.server.config import OidcIssuerSettings, Settings
from tendhost.server.domain.access.issuers import TrustedIssuer
from tendhost.server.domain.access.listen import is_loopback
from tendhost.server.domain.access.roles import Role
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.json_web_tokens import ALGORITHMS, KeySetUnusable, key_set
from tendhost.server.outbound.key_sets import KeySetFile, KeySetSource, KeySetUnread, KeySetUrl

_NAME = re.compile(r"[A-Za-z0-9._-]{1,32}", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9._@+-]{0,40}", re.ASCII)


def trusted_issuers(settings: Settings) -> Sequence[tuple[TrustedIssuer, KeySetSource]]:
    """The configured issuers, each with the place of its keys. Raises ConfigurationError.

    A file of keys is read, so that one that cannot be used is noticed; an address is not asked.
    """
    tables = settings.oidc_issuer
    if tables:
        _require_library()
    found = [_issuer(table) for table in tables]
    issuers = [table.issuer for table in tables]
    for table in tables:
        if issuers.count(table.issuer) > 1:
            raise _problem(
                table, "issuer", table.issuer, "another issuer than that of every other table"
            )
    return found


def _require_library() -> None:
    try:
        import jwt  # noqa: F401  # whether it is there
    except ImportError as error:
        raise ConfigurationError(
            field="oidc_issuer",
            value="…",
            expected="the library PyJWT to be installed: pip install 'tendhost[oidc]'",
        ) from error


def _issuer(table: OidcIssuerSettings) -> tuple[TrustedIssuer, KeySetSource]:
    if _NAME.fullmatch(table.name) is None:
        raise _problem(table, "name", table.name, "1 to 32 of A-Z, a-z, 0-9, '.', '_', '-'")
    prefix = table.principal_prefix.replace("{name}", table.name)
    if _PREFIX.fullmatch(prefix) is None:
        expected = "at most 40 of A-Z, a-z, 0-9, '.', '_', '@', '+', '-', and {name}"
        raise _problem(table, "principal_prefix", table.principal_prefix, expected)
    for algorithm in table.algorithms:
        if algorithm not in ALGORITHMS:
            expected = f"some of {', '.join(ALGORITHMS)}; others need no private key to sign"
            raise _problem(table, "algorithms", algorithm, expected)
    roles = {role: frozenset(getattr(table, role)) for role in Role}
    mapped = frozenset().union(*roles.values())
    if not mapped or "" in mapped:
        expected = "values of roles_claim for one of them, or nobody could do anything"
        raise _problem(table, ", ".join(Role), "", expected)
    if "" in table.audience:
        raise _problem(table, "audience", "", "names, none of them empty")
    if not table.roles_claim or not table.principal_claim:
        raise _problem(table, "roles_claim, principal_claim", "", "the name of a claim")
    issuer = TrustedIssuer(
        name=table.name,
        issuer=table.issuer,
        audiences=table.audience,
        algorithms=frozenset(table.algorithms or ALGORITHMS),
        leeway=timedelta(seconds=table.leeway),
        principal_claim=table.principal_claim,
        prefix=prefix,
        roles_claim=table.roles_claim,
        roles=roles,
        groups_claim=table.groups_claim,
        all_tags_claim=table.all_tags_claim,
        any_tags_claim=table.any_tags_claim,
        unbound=_unbound(table, mapped),
    )
    return issuer, _source(table)


def _unbound(table: OidcIssuerSettings, mapped: frozenset[str]) -> frozenset[str]:
    """The values whose callers are bound to no hosts. Raises ConfigurationError where they would mean nothing."""
    if table.unbound and not (table.groups_claim or table.all_tags_claim or table.any_tags_claim):
        expected = "none, for no claim binds callers (groups_claim, all_tags_claim, any_tags_claim)"
        raise _problem(table, "unbound", ", ".join(table.unbound), expected)
    for value in table.unbound:
        if value not in mapped:
            raise _problem(table, "unbound", value, "a value that gives a role")
    return frozenset(table.unbound)


def _source(table: OidcIssuerSettings) -> KeySetSource:
    if bool(table.jwks_url) == bool(table.jwks_file):
        raise _problem(table, "jwks_url, jwks_file", "", "one of them")
    if table.jwks_file:
        source = KeySetFile(Path(table.jwks_file).expanduser().absolute())
        try:
            key_set(source.read_now())
        except (KeySetUnread, KeySetUnusable) as error:
            expected = f"a file with a JWK set ({error})"
            raise _problem(table, "jwks_file", table.jwks_file, expected) from error
        return source
    try:
        parts = urlsplit(table.jwks_url)
        usable = bool(parts.hostname) and parts.port != 0 and table.jwks_url.isascii()
        usable = usable and parts.username is None and table.jwks_url.isprintable()
    except ValueError:
        parts, usable = SplitResult("", "", "", "", ""), False
    if usable and parts.scheme == "https":
        return KeySetUrl(table.jwks_url)
    if usable and parts.scheme == "http" and is_loopback(parts.hostname or ""):
        if table.allow_http_on_loopback:
            return KeySetUrl(table.jwks_url)
        expected = "an https address; every user of this machine can take a port of http, so that"
        expected += " allow_http_on_loopback = true has to permit it"
        raise _problem(table, "jwks_url", table.jwks_url, expected)
    # It may hold a password, so it is not repeated.
    raise _problem(table, "jwks_url", "…", "an https address without a user")


def _problem(
    table: OidcIssuerSettings, setting: str, value: str, expected: str
) -> ConfigurationError:
    return ConfigurationError(
        field=f"oidc_issuer {table.name!r}: {setting}", value=value, expected=expected
    )
