"""How large what a host says may be: numbers, texts and lists, and why each bound is where it is.

Hosts are trusted with what they are, and not with how much of it they say: one that prints a number of
thirty digits, a name of a megabyte or half a surrogate pair is recorded with what can be stored, sent and
shown, and with what was left out. A number that is out of range is unknown where it may be unknown,
and the nearest bound where not.
"""

import math
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from itertools import chain
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

LARGEST_SIZE = 2**63 - 1
"""Of sizes in bytes and of positions: int64 of the contract, and INTEGER of the databases."""
LARGEST_COUNT = 2_000_000_000
"""Of everything that is counted: below int32 of the contract, so that it may still be counted on from there."""
LONGEST_SPAN = timedelta(days=100 * 365)
"""Of an uptime, a pause, a time limit: no machine has been up for longer, and google.protobuf.Duration
holds a hundred times as much."""
LONGEST_NAME = 512
"""Characters of a name or a version: twice of what a file system, dpkg and rpm hold."""
LONGEST_TEXT = 4096
"""Characters of any other text: PATH_MAX, and more than anybody reads of a reason."""
MOST_ITEMS = 5_000
"""Of a list: mounts, images, services, changes. A node of a large cluster has some thousand mounts."""
MOST_PACKAGES = 50_000
"""Installed on one host, or pending: three times of what a workstation with everything on it has."""

_NAMES = frozenset(
    {"name", "version", "from_version", "to_version", "architecture", "package", "phase", "reason"}
)
"""Fields that hold a name or a version. The others hold texts or paths."""
_PACKAGES = frozenset({"installed", "packages", "changes", "planned", "kernels"})
"""Fields that hold one item a package."""
_SIZES = re.compile(r"(?:.*_)?(?:bytes|size|read|start|revision|offset|position)\Z")
"""Fields that hold a size in bytes or a position; the others hold counts."""
_SIGNED = frozenset({"disk_bytes"})
"""Fields of which less than 0 means something."""

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What is no part of a text: controls but for tab and newline, lone surrogates, and what makes a
terminal or a reader see another order of lines or letters than there is."""


def whole_number(text: str, *, most: int = LARGEST_COUNT) -> int | None:
    """The number that the digits `text` stand for; None for anything else, and above `most`."""
    # int() refuses more than 4,300 digits with a ValueError, and takes digits of every script.
    if not text.isascii() or not text.isdecimal() or len(text) > 40:
        return None
    number = int(text)
    return number if number <= most else None


def size_in_bytes(number: float) -> int | None:
    """A size that was worked out; None where it is no number, negative, or above LARGEST_SIZE."""
    if not math.isfinite(number):
        return None
    size = round(number)
    return size if 0 <= size <= LARGEST_SIZE else None


def text(words: str, *, most: int = LONGEST_TEXT) -> str:
    """`words` without what is no part of a text, and cut to `most` characters with "…" at the end."""
    if len(words) <= most and words.isprintable():
        return words
    clean = _CONTROL.sub("\ufffd", words[: most + 1])
    return clean if len(clean) <= most else f"{clean[: most - 1]}…"


def bounded(value: T, *, left_out: list[str] | None = None) -> T:
    """A record with all that it holds within the bounds; `value` itself where it is so already.

    What was cut from a list is added to `left_out`, in words.
    """
    return bounded_as(type(value), value, left_out=left_out)


def bounded_as(kind: Any, value: T, *, left_out: list[str] | None = None) -> T:
    """`bounded` for a value of any annotated type, such as a tuple of records."""
    found: T = _bounder(kind, "")(value, left_out)
    return found


_Bounder = Callable[[Any, list[str] | None], Any]


@cache
def _bounder(kind: Any, name: str) -> _Bounder:
    """What bounds a value of the type `kind` in a field called `name`."""
    if is_dataclass(kind):
        return _record_bounder(kind)
    if kind in _PLAIN:
        return _PLAIN[kind](name)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _as_it_is
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _union_bounder(arguments, name)
    if origin is tuple:
        return _tuple_bounder(arguments, name)
    if origin is frozenset:
        item = _bounder(arguments[0], name)
        return lambda value, out: frozenset(item(one, out) for one in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_bounder(arguments[1], name)
    return _as_it_is


def _record_bounder(kind: Any) -> _Bounder:
    parts: list[tuple[str, _Bounder]] = []

    def bound(value: Any, out: list[str] | None) -> Any:
        if not parts:
            # Only now, for a record may hold others of its own kind.
            hints = get_type_hints(kind)
            parts.extend((f.name, _bounder(hints[f.name], f.name)) for f in fields(kind))
        changed = {}
        for name, bounder in parts:
            former = getattr(value, name)
            kept = bounder(former, out)
            if kept is not former:
                changed[name] = kept
        if not changed:
            return value
        return kind(**{name: changed.get(name, getattr(value, name)) for name, _ in parts})

    return bound if fields(kind) else _as_it_is


def _union_bounder(arguments: tuple[Any, ...], name: str) -> _Bounder:
    kinds = [one for one in arguments if one is not type(None)]
    if len(kinds) > 1:
        return lambda value, out: _bounder(_kind_of(value), name)(value, out)
    inner = _bounder(kinds[0], name)
    if kinds[0] not in (int, float, timedelta):
        return lambda value, out: None if value is None else inner(value, out)

    def bound(value: Any, out: list[str] | None) -> Any:
        if value is None:
            return None
        # What may be unknown is unknown rather than wrong.
        return value if inner(value, out) == value else None

    return bound


def _kind_of(value: object) -> Any:
    return type(value)


def _tuple_bounder(arguments: tuple[Any, ...], name: str) -> _Bounder:
    if arguments[1:] != (...,):
        items = [_bounder(one, "name") for one in arguments]
        return lambda value, out: _same(
            value, tuple(item(one, out) for item, one in zip(items, value, strict=True))
        )
    item = _bounder(arguments[0], name)
    most = MOST_PACKAGES if name in _PACKAGES else MOST_ITEMS
    pairs = arguments[0] == tuple[str, str]

    def bound(value: Any, out: list[str] | None) -> Any:
        if pairs and len(value) <= most and _are_names(value):
            return value
        kept = _same(value, tuple([item(one, out) for one in value[:most]]))
        if len(value) > most and out is not None:
            out.append(
                f"{name}: {len(value) - most} of {len(value)}, more than {most} are not kept"
            )
        return kept

    return bound


def _mapping_bounder(kind: Any, name: str) -> _Bounder:
    item = _bounder(kind, name)

    def bound(value: Any, out: list[str] | None) -> Any:
        kept = {
            text(key, most=LONGEST_NAME): item(one, out)
            for key, one in list(value.items())[:MOST_ITEMS]
        }
        return value if kept == value else kept

    return bound


def _are_names(pairs: tuple[tuple[str, str], ...]) -> bool:
    # A host has some thousand packages; one after the other, they cost a query more than all else.
    parts = list(chain.from_iterable(pairs))
    return max(map(len, parts), default=0) <= LONGEST_NAME and "".join(parts).isprintable()


def _same(value: tuple[Any, ...], kept: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(value) == len(kept) and all(a is b for a, b in zip(value, kept, strict=True)):
        return value
    return kept


def _as_it_is(value: Any, _: list[str] | None) -> Any:
    return value


def _text_bounder(name: str) -> _Bounder:
    most = LONGEST_NAME if name in _NAMES else LONGEST_TEXT

    def bound(value: Any, _: list[str] | None) -> Any:
        # The common case first: packages come by the thousand.
        return value if len(value) <= most and value.isprintable() else text(value, most=most)

    return bound


def _number_bounder(name: str) -> _Bounder:
    most = LARGEST_SIZE if _SIZES.match(name) else LARGEST_COUNT
    least = -most if name in _SIGNED else 0
    return lambda value, _: value if least <= value <= most else min(max(value, least), most)


def _float_bounder(_: str) -> _Bounder:
    def bound(value: Any, _: list[str] | None) -> Any:
        if math.isfinite(value):
            return value if abs(value) <= LARGEST_SIZE else math.copysign(LARGEST_SIZE, value)
        return 0.0

    return bound


def _span_bounder(_: str) -> _Bounder:
    return lambda value, _: (
        value
        if timedelta() <= value <= LONGEST_SPAN
        else min(max(value, timedelta()), LONGEST_SPAN)
    )


def _instant_bounder(_: str) -> _Bounder:
    def bound(value: Any, _: list[str] | None) -> Any:
        return value if value.tzinfo is UTC else _in_utc(value)

    return bound


def _in_utc(at: datetime) -> datetime:
    """The same instant in UTC, within the years that both know."""
    try:
        return at.astimezone(UTC)
    except (OverflowError, ValueError):
        return _FIRST if at.year < _LAST.year // 2 else _LAST


_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


_PLAIN: Mapping[Any, Callable[[str], _Bounder]] = {
    str: _text_bounder,
    int: _number_bounder,
    float: _float_bounder,
    timedelta: _span_bounder,
    datetime: _instant_bounder,
    bool: lambda _: _as_it_is,
    type(None): lambda _: _as_it_is,
}
