"""JSON web tokens and key sets: what they hold, and whether the signature of a token is right.

PyJWT and cryptography verify signatures; this module decides which key and which algorithm they are given. A token
never chooses: an algorithm is accepted only if it was configured and fits the kind of the key (RFC 8725, section 3.1).
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ALGORITHMS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", "")),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Kind and curve of the keys of each algorithm (RFC 7518, RFC 8037). Those with a shared secret are no part of it:
whoever can verify their tokens can make them."""

LONGEST_TOKEN = 16 * 1024
"""Characters: as much metadata as a server of gRPC takes."""
MOST_KEYS = 100
SHORTEST_RSA, LONGEST_RSA = 2048, 8192
"""Bits: RFC 7518, section 3.3 asks for 2048; the time for verification grows with the square."""
_CRITICAL = ("crit", "b64")
"""Header parameters that change what a signature means; none is supported (RFC 7515, section 4.1.11)."""


class JwtRefused(ValueError):
    """A text that is no acceptable token: why, without repeating it."""


class KeySetUnusable(ValueError):
    """A text that is no key set, or one without a usable key: why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedJwt:
    """A token whose signature has yet to be verified."""

    text: str
    algorithm: str
    """As it says itself, one of ALGORITHMS."""
    key_id: str | None
    """The name of the key that it says to be signed with; None: it names none."""
    issuer: str
    """As it says itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key of an issuer."""

    key_id: str | None
    algorithm: str
    """The only one that the key is for; empty: any that fits its kind."""
    kind: tuple[str, str]
    """As in ALGORITHMS."""
    key: Any
    """Of the library cryptography."""

    def fits(self, algorithm: str) -> bool:
        """Whether `algorithm` may be used with it."""
        return ALGORITHMS[algorithm] == self.kind and self.algorithm in ("", algorithm)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """The public keys of an issuer."""

    keys: tuple[PublicKey, ...]

    def key_for(self, token: UnverifiedJwt) -> PublicKey | None:
        """The key that the token names, or, of a token that names none, the only one that fits; None: there is none."""
        fitting = [key for key in self.keys if key.fits(token.algorithm)]
        if token.key_id is None:
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in fitting if key.key_id == token.key_id), None)


def is_jwt(text: str) -> bool:
    """Whether a text is meant as a JWT, whole or not: its parts have dots between, and the first begins with "{"."""
    return text.startswith("ey") or "." in text


def read(text: str) -> UnverifiedJwt:
    """What a token says of itself. Raises JwtRefused: it is malformed, or its algorithm is none of ALGORITHMS."""
    if len(text) > LONGEST_TOKEN:
        raise JwtRefused(f"it has more than {LONGEST_TOKEN} characters")
    parts = text.split(".")
    if len(parts) == 5 and "enc" in _object(parts[0], "header"):  # RFC 7516, section 9
        raise JwtRefused("it is encrypted; only signed tokens are accepted")
    if len(parts) != 3:
        raise JwtRefused(
            "it has not the form HEADER.CLAIMS.SIGNATURE, so it was cut off or altered"
        )
    header, claims = _object(parts[0], "header"), _object(parts[1], "claims")
    for parameter in _CRITICAL:
        if parameter in header:
            raise JwtRefused(f"its header has {parameter!r}, which is not supported")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise JwtRefused(
            "its algorithm is none of those that sign with a private key; unsigned tokens and those of a shared"
            " secret are never accepted"
        )
    key_id, issuer = header.get("kid"), claims.get("iss")
    if key_id is not None and not isinstance(key_id, str):
        raise JwtRefused("its header has a 'kid' that is no text")
    if not isinstance(issuer, str):
        raise JwtRefused("it names no issuer (claim 'iss')")
    return UnverifiedJwt(text=text, algorithm=algorithm, key_id=key_id, issuer=issuer)


def verified_claims(token: UnverifiedJwt, key: PublicKey) -> Mapping[str, Any]:
    """The claims of a token that was signed with `key`. Raises JwtRefused.

    Times, issuer and audience are not looked at.
    """
    import jwt

    if not key.fits(token.algorithm):
        raise JwtRefused("its algorithm does not fit the key that it names")
    try:
        jwt.PyJWS().decode(token.text, key.key, algorithms=[token.algorithm])
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise JwtRefused(
            "its signature is wrong, so it was altered or is of another issuer"
        ) from None
    return _object(token.text.split(".")[1], "claims")


def key_set(raw: bytes) -> KeySet:
    """The usable keys of a JWK set (RFC 7517). Raises KeySetUnusable.

    Keys for encryption, shared secrets, and keys of other kinds are left out. A set with a private key is refused as
    a whole: whoever has read it can sign.
    """
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise KeySetUnusable("it is no JSON") from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise KeySetUnusable("it is no JWK set, which has a list 'keys'")
    if len(keys) > MOST_KEYS:
        raise KeySetUnusable(f"it has {len(keys)} keys, more than {MOST_KEYS}")
    if any("d" in key for key in keys):
        raise KeySetUnusable("it has a private key; replace that key, and publish public keys only")
    usable = tuple(found for key in keys if (found := _public_key(key)) is not None)
    if not usable:
        raise KeySetUnusable("it has no key for signatures of a supported kind (RSA, EC, Ed25519)")
    return KeySet(keys=usable)


def _public_key(jwk: Mapping[str, Any]) -> PublicKey | None:
    """None: it is not for signatures, or of a kind that is not supported."""
    import jwt

    key_id, use, algorithm = jwk.get("kid"), jwk.get("use", "sig"), jwk.get("alg", "")
    kind = (jwk.get("kty"), "" if jwk.get("kty") == "RSA" else jwk.get("crv"))
    name = next((name for name, known in ALGORITHMS.items() if known == kind), None)
    operations = jwk.get("key_ops", ["verify"])
    for_signatures = use == "sig" and isinstance(operations, list) and "verify" in operations
    if name is None or not for_signatures or not isinstance(key_id, str | None):
        return None
    try:
        key = jwt.PyJWK(dict(jwk), algorithm=name).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if name.startswith("RS") and not SHORTEST_RSA <= key.key_size <= LONGEST_RSA:
        return None
    algorithm = algorithm if isinstance(algorithm, str) else "?"
    return PublicKey(key_id=key_id, algorithm=algorithm, kind=ALGORITHMS[name], key=key)


def _object(part: str, what: str) -> Mapping[str, Any]:
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise JwtRefused(f"its {what} cannot be decoded, so it was cut off or altered") from None
    if not isinstance(found, dict):
        raise JwtRefused(f"it holds no JSON object as its {what}")
    return found
