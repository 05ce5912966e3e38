"""An issuer of JWTs for tests: its keys, its tokens, and a web server on loopback that publishes its key set."""

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tendhost.server.domain.access.issuers import TrustedIssuer
from tendhost.server.domain.access.roles import Role
from tendhost.server.json_web_tokens import ALGORITHMS

ISSUER = "https://sso.example.org/realms/staff"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""When the clock of the tests starts."""


def private_key(algorithm: str, number: int = 0) -> Any:
    """A key for tokens of `algorithm`; another `number` is another key."""
    return _made(algorithm, number)


@cache
def _made(algorithm: str, _number: int) -> Any:
    kind, curve = ALGORITHMS[algorithm]
    if kind == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kind == "OKP":
        return ed25519.Ed25519PrivateKey.generate()
    curves: Mapping[str, type[ec.EllipticCurve]] = {
        "P-256": ec.SECP256R1,
        "P-384": ec.SECP384R1,
        "P-521": ec.SECP521R1,
    }
    return ec.generate_private_key(curves[curve]())


def public_jwk(algorithm: str = "ES256", number: int = 0, **more: Any) -> dict[str, Any]:
    """What an issuer publishes of a key."""
    public = private_key(algorithm, number).public_key()
    jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(public, as_dict=True)
    return {**jwk, "kid": f"{algorithm}-{number}", **more}


def published(*jwks: Mapping[str, Any]) -> bytes:
    return json.dumps({"keys": jwks or [public_jwk()]}).encode()


def claims(now: datetime = NOW, **changed: Any) -> dict[str, Any]:
    """Those of a good token; None takes one out."""
    every = {
        "iss": ISSUER,
        "aud": "tendhost",
        "sub": "kim",
        "jti": "4f1c",
        "roles": ["ops"],
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(minutes=10)).timestamp()),
        **changed,
    }
    return {name: value for name, value in every.items() if value is not None}


def token(
    algorithm: str = "ES256",
    number: int = 0,
    *,
    headers: Mapping[str, Any] | None = None,
    **changed: Any,
) -> str:
    """A token that the issuer has signed; `changed` are claims."""
    named = {"kid": f"{algorithm}-{number}", **(headers or {})}
    given = {name: value for name, value in named.items() if value is not None}
    return jwt.encode(claims(**changed), private_key(algorithm, number), algorithm, headers=given)


def part(value: object) -> str:
    """A part of a token that nobody has signed."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def pem(algorithm: str = "ES256") -> Any:
    """The public key as a file has it, which an attacker knows."""
    return (
        private_key(algorithm)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def trusted(**changed: Any) -> TrustedIssuer:
    """The issuer as a server may trust it."""
    how: dict[str, Any] = {
        "name": "company",
        "issuer": ISSUER,
        "audiences": ("tendhost",),
        "algorithms": frozenset(ALGORITHMS),
        "leeway": timedelta(seconds=30),
        "prefix": "company+",
        "roles_claim": "roles",
        "roles": {Role.OPERATOR: frozenset({"ops"}), Role.ADMIN: frozenset({"root"})},
        **changed,
    }
    return TrustedIssuer(**how)


class Publisher:
    """A web server on loopback with a key set."""

    def __init__(self) -> None:
        self.body = published()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked = 0
        self.hold = threading.Event()
        """While it is not set, no request is answered."""
        self.hold.set()
        self.url = ""


@contextmanager
def publishing() -> Iterator[Publisher]:
    """The web server, while the context lasts."""
    publisher = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            publisher.asked += 1
            publisher.hold.wait()
            self.send_response(publisher.status)
            for name, value in publisher.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(publisher.body)

        def log_message(self, format: str, *values: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    publisher.url = f"http://127.0.0.1:{server.server_port}/certs"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield publisher
    finally:
        publisher.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
