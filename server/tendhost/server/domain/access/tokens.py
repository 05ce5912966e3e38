"""Bearer tokens: their form, and what is stored of them, which does not reveal them."""

import hashlib
import hmac
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tendhost.server.domain.access.roles import Role
from tendhost.server.domain.access.scope import Scope

PREFIX = "tend"
"""By which people and scanners for leaked secrets recognise a token."""
ID_LENGTH = 12
SECRET_LENGTH = 43
"""So many letters and digits hold 256 bits: 62 ** 43 > 2 ** 256."""
CHECKSUM_LENGTH = 6
_ID_PART = slice(len(PREFIX) + 1, len(PREFIX) + 1 + ID_LENGTH)
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM = re.compile(
    rf"{PREFIX}_([0-9a-z]{{{ID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})_([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})",
    re.ASCII,
)


class TokenMalformed(ValueError):
    """A text is no token: it was cut off, mistyped, or is something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it is stored."""

    id: str
    principal: str
    """The name of whoever uses it. Several tokens may be one principal's."""
    description: str = ""
    roles: tuple[Role, ...]
    scope: Scope | None = None
    """The hosts that it is bound to; None: it is bound to none, and is good for all."""
    digest: str
    """SHA-256 of the token, in hexadecimal digits. 256 random bits need no slower function."""
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    """None: it does not expire."""
    last_used_at: datetime | None = None
    """To the minute; None: it was never used, or not yet stored to be."""

    def expired(self, now: datetime) -> bool:
        """Whether it has expired at `now`."""
        return self.expires_at is not None and self.expires_at <= now

    def matches(self, text: str) -> bool:
        """Whether `text` is this token. Takes as long for every wrong text of the form of a token."""
        return hmac.compare_digest(self.digest, digest_of(text))


def mint(random: Callable[[int], bytes]) -> tuple[str, str]:
    """A new token's id, and its text, which is to be shown once. `random` gives so many random bytes."""
    id = _digits(int.from_bytes(random(16), "big"), ID_LENGTH).lower()
    secret = _digits(int.from_bytes(random(32), "big"), SECRET_LENGTH)
    return id, f"{PREFIX}_{id}_{secret}_{_checksum(id, secret)}"


def id_part(text: str) -> str:
    """What stands where a token has its id, in any text. Whether it is a token at all, its digest shows."""
    return text[_ID_PART]


def id_of(text: str) -> str:
    """The id in the text of a token. Raises TokenMalformed with what is wrong, without repeating the text."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise TokenMalformed(_what_is_wrong(text))
    id, secret, checksum = match.groups()
    if not hmac.compare_digest(checksum, _checksum(id, secret)):
        raise TokenMalformed("its checksum is wrong, so it was mistyped or altered")
    return id


def digest_of(text: str) -> str:
    """What is stored in place of the token `text`."""
    return hashlib.sha256(text.encode()).hexdigest()


def _what_is_wrong(text: str) -> str:
    whole = len(PREFIX) + ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH + 3
    if not text.startswith(f"{PREFIX}_"):
        return f"it does not begin with {PREFIX}_"
    if len(text) != whole:
        return f"it has {len(text)} characters, and a token has {whole}"
    return f"it has not the form {PREFIX}_ID_SECRET_CHECKSUM"


def _checksum(id: str, secret: str) -> str:
    return _digits(zlib.crc32(f"{id}_{secret}".encode()), CHECKSUM_LENGTH)


def _digits(number: int, length: int) -> str:
    """`number` in base 62, its last `length` digits."""
    found = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        found.append(_DIGITS[digit])
    return "".join(reversed(found))
