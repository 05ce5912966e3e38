"""OpenSSH certificates: what they say, and whether that is what a login needs. Pure.

PROTOCOL.certkeys of OpenSSH describes the form. Signatures are verified by asyncssh, before anything here is believed.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from tendhost.server.domain.hosts.host_keys import fingerprint

SUFFIX = "-cert-v01@openssh.com"
"""How the kind of a certificate ends, after that of its key."""
_KEY_FIELDS = {
    "ssh-ed25519": 1,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "ssh-rsa": 2,
}
"""Fields of the public key in a certificate, after the nonce."""
_FOREVER = 2**64 - 1


class Purpose(IntEnum):
    """SSH2_CERT_TYPE_USER and SSH2_CERT_TYPE_HOST."""

    USER = 1
    HOST = 2


class NoCertificate(ValueError):
    """What was given is no certificate that can be read; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a certificate says."""

    key: str
    """The certified public key, as type and base64."""
    purpose: int
    key_id: str
    principals: tuple[str, ...]
    valid_after: int
    """First second of its validity, since 1970."""
    valid_before: int
    """First second after its validity; 2**64 - 1: for ever."""
    authority: str
    """The public key of the authority that signed it, as type and base64."""


def certificate(text: str) -> Certificate:
    """The certificate in a line of a -cert.pub file: its kind and base64. Raises NoCertificate."""
    words = text.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error):
        raise NoCertificate("it is not an OpenSSH certificate") from None
    return _parsed(blob)


def certificate_of(blob: bytes) -> Certificate:
    """The certificate in the bytes that a host shows. Raises NoCertificate."""
    return _parsed(blob)


def _parsed(blob: bytes) -> Certificate:
    reader = _Reader(blob)
    kind = reader.text()
    plain = kind.removesuffix(SUFFIX)
    if plain == kind or plain not in _KEY_FIELDS:
        raise NoCertificate(f"it is not an OpenSSH certificate of a known kind: {kind[:60]!r}")
    reader.string()  # the nonce
    parts = [plain.encode(), *(reader.string() for _ in range(_KEY_FIELDS[plain]))]
    reader.number(8)  # the serial number
    purpose = reader.number(4)
    key_id = reader.text()
    principals = _Reader(reader.string()).texts()
    valid_after, valid_before = reader.number(8), reader.number(8)
    for _ in range(3):
        reader.string()  # critical options, extensions, reserved
    authority = reader.string()
    body = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return Certificate(
        key=f"{plain} {base64.b64encode(body).decode()}",
        purpose=purpose,
        key_id=key_id,
        principals=principals,
        valid_after=valid_after,
        valid_before=valid_before,
        authority=f"{_Reader(authority).text()} {base64.b64encode(authority).decode()}",
    )


def validity_problem(found: Certificate, now: datetime) -> str:
    """Why a certificate is not valid at `now`, without its subject; empty: it is."""
    second = now.timestamp()
    if second < found.valid_after:
        return f"is not valid before {_instant(found.valid_after)}"
    if found.valid_before != _FOREVER and second >= found.valid_before:
        return f"expired at {_instant(found.valid_before)}"
    return ""


def host_certificate_problem(
    found: Certificate, *, authorities: Sequence[str], names: Sequence[str], now: datetime
) -> str:
    """Why a certificate does not prove that a host is one of `names`; empty: it does.

    `authorities`: the public keys of the trusted ones, as type and base64. Principals may have the wildcards * and ?,
    as ssh-keygen(1) allows for host certificates. One without principals proves nothing.
    """
    if found.purpose != Purpose.HOST:
        return "its certificate is for users, not for hosts (ssh-keygen -h)"
    if found.authority not in authorities:
        known = ", ".join(map(fingerprint, authorities))
        return f"its certificate is signed by {fingerprint(found.authority)}, expected {known}"
    if problem := validity_problem(found, now):
        return f"its certificate {problem}"
    if not any(_is_one_of(principal, names) for principal in found.principals):
        shown = ", ".join(found.principals) or "no host at all"
        return f"its certificate is for {shown}, expected {' or '.join(names)}"
    return ""


def _is_one_of(principal: str, names: Sequence[str]) -> bool:
    glob = re.escape(principal.lower()).replace(r"\*", ".*").replace(r"\?", ".")
    return any(re.fullmatch(glob, name.lower(), re.DOTALL) for name in names)


def _instant(second: int) -> str:
    try:
        return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"second {second} since 1970"


class _Reader:
    """Reads the types of RFC 4251, section 5."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def string(self) -> bytes:
        return self._take(self.number(4))

    def text(self) -> str:
        return self.string().decode("utf-8", "replace")

    def texts(self) -> tuple[str, ...]:
        found = []
        while self._at < len(self._data):
            found.append(self.text())
        return tuple(found)

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise NoCertificate("it is damaged or cut off")
        self._at += size
        return taken
