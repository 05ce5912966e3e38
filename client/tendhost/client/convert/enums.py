"""Conversion of enums, timestamps and durations."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

E = TypeVar("E", bound=StrEnum)


def enum_names(kind: type[E], wire: Any) -> Mapping[int, E]:
    """Each number on the wire with the member that it means, by the contract's naming rule."""
    prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in wire.DESCRIPTOR.name)[1:]
    names = wire.DESCRIPTOR.values_by_name
    found = ((names.get(f"{prefix}_{member.name}"), member) for member in kind)
    return {value.number: member for value, member in found if value is not None}


def reading(known: Mapping[int, E], other: E) -> Callable[[int], E]:
    """What a number means; `other` where a newer server says one that we do not know."""
    return lambda number: known.get(number, other)


class _Numbers(dict[E, Any]):
    def __missing__(self, member: E) -> NoReturn:
        raise ValueError(
            f"{member!r} cannot be sent: it is read where a newer server has a value of its own;"
            " choose another one"
        )


def numbers(known: Mapping[int, E]) -> Mapping[E, Any]:
    """The number of each member. Raises ValueError for one that the contract does not have, when asked."""
    return _Numbers({member: number for number, member in known.items()})


def instant(message: Any, field: str) -> datetime | None:
    """An aware datetime, or None where the field is absent."""
    if not message.HasField(field):
        return None
    return moment(getattr(message, field))


def timestamp(at: datetime) -> Timestamp:
    """An aware datetime as a Timestamp."""
    message = Timestamp()
    message.FromDatetime(at)
    return message


def moment(at: Timestamp) -> datetime:
    """An aware datetime; one beyond the years 1 to 9999 is the first or the last of them."""
    try:
        return at.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return _FIRST if at.seconds < 0 else _LAST


_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def span(duration: Duration) -> timedelta:
    """A timedelta; one that is longer than Python's is the longest of those."""
    try:
        return duration.ToTimedelta()
    except (ValueError, OverflowError):
        return timedelta.min if duration.seconds < 0 else timedelta.max
