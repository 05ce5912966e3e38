"""Page sizes as clients ask for them, and page tokens that only fit the list they were given for."""

import base64
import binascii
import hashlib

from google.protobuf.message import Message

from tendhost.server.domain.errors import PageTokenInvalid

DEFAULT_PAGE = 50
LARGEST_PAGE = 1000


def page_size(asked: int) -> int:
    """How many to give: 0 means DEFAULT_PAGE, more than LARGEST_PAGE is taken as that."""
    return min(asked or DEFAULT_PAGE, LARGEST_PAGE)


def token(request: Message, last: str) -> str:
    """The token for what follows `last` in the list that `request` asks for."""
    return base64.urlsafe_b64encode(_identity(request) + last.encode()).decode()


def position(request: Message, page_token: str) -> str:
    """What the page follows; empty for the first. Raises PageTokenInvalid."""
    if not page_token:
        return ""
    try:
        raw = base64.urlsafe_b64decode(page_token.encode())
        identity, last = raw[:8], raw[8:].decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise PageTokenInvalid from None
    if identity != _identity(request) or not last:
        raise PageTokenInvalid
    return last


def number(text: str, *, default: int) -> int:
    """A position that is a number; `default` for the first page. Raises PageTokenInvalid."""
    if not text:
        return default
    if not text.isascii() or not text.removeprefix("-").isdigit():
        raise PageTokenInvalid
    return int(text)


def _identity(request: Message) -> bytes:
    # What makes another list of it, that is all but the page: a token must not change lists.
    bare = type(request)()
    bare.CopyFrom(request)
    bare.ClearField("page_token")
    bare.ClearField("page_size")
    name = type(request).DESCRIPTOR.full_name.encode()
    body = bare.SerializeToString(deterministic=True)
    return hashlib.sha256(name + b"\0" + body).digest()[:8]
