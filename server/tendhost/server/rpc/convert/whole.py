"""Total conversion of stored values: it never fails, and no message is ever too large.

What is stored may be older than the bounds of today, newer than this program, or damaged. One such value
must not end a list or a stream for everybody: what cannot be sent as it is, is sent within the bounds, or as
the name of what it is, and its `incomplete` says so.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tendhost.server.domain.bounds import bounded, text
from tendhost.server.store.records import Unreadable

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Message)

ITEM_BYTES = 1 << 20
"""Of one message that stands in a list, a stream or a response: a quarter of what every gRPC client takes
by default (4 MiB), so that a page with one of them, and a response with two, arrives."""
_NOTE = "incomplete"
_LONGEST_NOTE = 1000


def whole(
    placeholder: Callable[[Any, str], M], *, most: int = ITEM_BYTES
) -> Callable[[Callable[Concatenate[T, P], M]], Callable[Concatenate[T | Unreadable, P], M]]:
    """Makes a conversion total. `placeholder` makes the message that only names what cannot be sent; it is
    given the value, or the key of a stored document that cannot be read, and why."""

    def decorate(
        convert: Callable[Concatenate[T, P], M],
    ) -> Callable[Concatenate[T | Unreadable, P], M]:
        @wraps(convert)
        def converted(value: T | Unreadable, /, *beside: P.args, **named: P.kwargs) -> M:
            if isinstance(value, Unreadable):
                return placeholder(value.key, value.problem)
            try:
                message = convert(value, *beside, **named)
            except Exception as error:
                message = _converted_in_part(
                    lambda kept: convert(kept, *beside, **named), value, placeholder, error
                )
            return fitted(message, most)

        return converted

    return decorate


def _converted_in_part(
    convert: Callable[[T], M], value: T, placeholder: Callable[[Any, str], M], error: Exception
) -> M:
    kind = type(value).__name__
    problem = f"{type(error).__name__}: {error}"
    logger.warning(
        "a stored value cannot be sent as it is", extra={"kind": kind, "problem": problem[:500]}
    )
    try:
        message = convert(bounded(value))
        note(message, f"some values are out of range and are shown cut ({problem})")
    except Exception:
        logger.exception("a stored value cannot be sent at all", extra={"kind": kind})
        message = placeholder(value, f"this server cannot show it ({problem})")
    return message


def note(message: Message, words: str) -> None:
    """Add to a message why it does not show everything, where it has a field for that."""
    if _NOTE in message.DESCRIPTOR.fields_by_name:
        said = getattr(message, _NOTE)
        setattr(message, _NOTE, text("; ".join(filter(None, (said, words))), most=_LONGEST_NOTE))


def fitted(message: M, most: int = ITEM_BYTES) -> M:
    """The message itself, with its longest lists and texts cut until it takes at most `most` bytes."""
    size = message.ByteSize()
    if size <= most:
        return message
    logger.warning(
        "a message is too large and is cut",
        extra={"kind": message.DESCRIPTOR.name, "bytes": size},
    )
    room = most - 4 * _LONGEST_NOTE
    cut: dict[str, tuple[int, int]] = {}
    while message.ByteSize() > room:
        path, owner, field = _largest(message)
        had = len(getattr(owner, field.name))
        _halve(owner, field)
        kept = len(getattr(owner, field.name))
        cut[path] = (kept, cut.get(path, (0, had))[1])
    words = ", ".join(f"{path} ({kept} of {had})" for path, (kept, had) in cut.items())
    note(message, f"too large for one message, these are cut: {words}")
    return message


def _largest(message: Message) -> tuple[str, Message, FieldDescriptor]:
    """The list or text that takes the most room: its path, the message that holds it, and its field."""
    owner, names = message, []
    while True:
        field = max((field for field, _ in owner.ListFields()), key=lambda f: _size_of(owner, f))
        names.append(field.name)
        value = getattr(owner, field.name)
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            break
        if _is_list(field):
            if len(value) > 1 or _is_map(field):
                break
            owner = value[0]
        else:
            owner = value
    return ".".join(names), owner, field


def _size_of(owner: Message, field: FieldDescriptor) -> int:
    value = getattr(owner, field.name)
    if _is_map(field):
        return sum(len(str(key)) + len(str(value[key])) for key in value)
    if _is_list(field):
        return sum(_size_of_one(one) for one in value)
    return _size_of_one(value)


def _size_of_one(value: Any) -> int:
    if isinstance(value, Message):
        return value.ByteSize()
    return len(value) if isinstance(value, str | bytes) else 8


def _is_list(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _halve(owner: Message, field: FieldDescriptor) -> None:
    value = getattr(owner, field.name)
    if _is_map(field):
        for key in sorted(value)[len(value) // 2 :]:
            del value[key]
    elif _is_list(field) and len(value) > 1:
        del value[len(value) // 2 :]
    elif _is_list(field):
        value[0] = value[0][: len(value[0]) // 2]
    else:
        setattr(owner, field.name, value[: len(value) // 2])
