"""Pages of lists: their size, and page tokens, each valid only for the list that it was given for."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from tendhost.server.domain.bounds import whole_number
from tendhost.server.domain.request_errors import PageTokenInvalid
from tendhost.server.rpc.pacing import AT_A_TIME, pause
from tendhost.server.store.records import Unreadable

DEFAULT_PAGE = 50
LARGEST_PAGE = 1000
PAGE_BYTES = 1 << 20
"""A page ends before it takes more than this, unless its first item does: gRPC clients take 4 MiB, and what
stands beside the items takes room as well."""
_FRAME = 8
"""Of each message in a list: its tag and its length."""

T = TypeVar("T")
M = TypeVar("M", bound=Message)
M_contra = TypeVar("M_contra", bound=Message, contravariant=True)


class Appendable(Protocol[M_contra]):
    """A repeated field."""

    def append(self, value: M_contra, /) -> None:
        """Put a message at its end."""
        ...


def page_size(asked: int) -> int:
    """Number of items on a page: 0 means DEFAULT_PAGE, and more than LARGEST_PAGE means LARGEST_PAGE."""
    return min(asked or DEFAULT_PAGE, LARGEST_PAGE)


def token(request: Message, last: str) -> str:
    """The token for what follows `last` in the list that `request` asks for."""
    return base64.urlsafe_b64encode(_identity(request) + last.encode()).decode()


def position(request: Message, page_token: str) -> str:
    """The position that the page follows; empty for the first page. Raises PageTokenInvalid."""
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


async def fill(
    field: Appendable[M],
    request: Message,
    rows: Sequence[T | Unreadable],
    tell: Callable[[T | Unreadable], M],
    position_of: Callable[[T], str],
    *,
    more: bool,
) -> str:
    """Put the messages of as many of `rows` as PAGE_BYTES hold, at least one, into a repeated field of a response.

    The token of what follows. `position_of` is the position of a row in its list; `more` says whether anything follows
    the last of `rows`.
    """
    # One after the other: to put a whole page into its response takes as long as some calls of others.
    size = 0
    for number, row in enumerate(rows):
        message = tell(row)
        size += message.ByteSize() + _FRAME
        if number and size > PAGE_BYTES:
            return _following(request, rows[number - 1], position_of)
        field.append(message)
        if number % AT_A_TIME == AT_A_TIME - 1:
            await pause()
    return _following(request, rows[-1], position_of) if rows and more else ""


def _following(request: Message, last: T | Unreadable, position_of: Callable[[T], str]) -> str:
    return token(request, last.position if isinstance(last, Unreadable) else position_of(last))


async def told(rows: Sequence[T], tell: Callable[[T], M]) -> Sequence[M]:
    """The messages of as many of `rows` as a page may need, made a few at a time."""
    messages: list[M] = []
    size = 0
    for number, row in enumerate(rows, start=1):
        messages.append(tell(row))
        size += messages[-1].ByteSize()
        if size > PAGE_BYTES:
            break
        if number % AT_A_TIME == 0:
            await pause()
    return messages


def first_part(messages: Iterable[M], *, most: int = LARGEST_PAGE) -> list[M]:
    """As many of the messages as a page holds, at least one where there is one."""
    return next(parts(messages, most=most), [])


def parts(messages: Iterable[M], *, most: int = LARGEST_PAGE) -> Iterator[list[M]]:
    """All of the messages, in lists of at most `most` and, unless there is but one, PAGE_BYTES."""
    part: list[M] = []
    size = 0
    for message in messages:
        taken = message.ByteSize() + _FRAME
        if part and (size + taken > PAGE_BYTES or len(part) == most):
            yield part
            part, size = [], 0
        part.append(message)
        size += taken
    if part:
        yield part


def number(text: str, *, default: int) -> int:
    """A position that is a number; `default` for the first page. Raises PageTokenInvalid."""
    if not text:
        return default
    found = whole_number(text)
    if found is None:
        raise PageTokenInvalid  # tokens are no secret: somebody made this one up
    return found


def _identity(request: Message) -> bytes:
    # What makes another list of it, that is all but the page: a token must not change lists.
    bare = type(request)()
    bare.CopyFrom(request)
    bare.ClearField("page_token")
    bare.ClearField("page_size")
    name = type(request).DESCRIPTOR.full_name.encode()
    body = bare.SerializeToString(deterministic=True)
    return hashlib.sha256(name + b"\0" + body).digest()[:8]
