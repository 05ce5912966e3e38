"""Messages of the contract with every field set: the descriptors are gone through, so that no field is forgotten."""

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf import duration_pb2, field_mask_pb2, timestamp_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

DEEPEST = 9
"""Levels of messages within messages. No message of the contract holds one of its own kind without an end."""

Choose = Callable[[FieldDescriptor], Any]
"""What stands in a scalar field."""


def fill(
    message: Message, choose: Choose, *, variant: int = 0, seen: tuple[Descriptor, ...] = ()
) -> Message:
    """`message` with every field set, lists with two items; of each oneof the member number `variant`."""
    kind: Any = message.DESCRIPTOR
    if isinstance(message, timestamp_pb2.Timestamp | duration_pb2.Duration):
        message.seconds = 1_800_000_000 if isinstance(message, timestamp_pb2.Timestamp) else 90
        return message
    if isinstance(message, field_mask_pb2.FieldMask) or len(seen) > DEEPEST or kind in seen:
        return message
    skipped = set()
    for oneof in kind.oneofs:
        members = [field.name for field in oneof.fields]
        skipped |= set(members) - {members[variant % len(members)]}
    for field in kind.fields:
        if field.name not in skipped:
            _fill_field(message, field, choose, variant, (*seen, kind))
    return message


def variants(kind: Descriptor, seen: tuple[Descriptor, ...] = ()) -> int:
    """How many variants show each member of each oneof within `kind`."""
    if kind in seen or len(seen) > DEEPEST:
        return 1
    own = max((len(oneof.fields) for oneof in kind.oneofs), default=1)
    return max(
        [own, *(variants(f.message_type, (*seen, kind)) for f in kind.fields if f.message_type)]
    )


def _fill_field(
    message: Any,
    field: FieldDescriptor,
    choose: Choose,
    variant: int,
    seen: tuple[Descriptor, ...],
) -> None:
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        key, value = inner.fields
        entries = getattr(message, field.name)
        if value.message_type is None:
            entries[choose(key)] = choose(value)
        else:
            fill(entries[choose(key)], choose, variant=variant, seen=seen)
    elif field.is_repeated:
        items = getattr(message, field.name)
        for number in range(2):
            if inner is None:
                items.append(choose(field))
            else:
                fill(items.add(), choose, variant=variant + number, seen=seen)
    elif inner is not None:
        child = getattr(message, field.name)
        child.SetInParent()
        fill(child, choose, variant=variant, seen=seen)
    else:
        setattr(message, field.name, choose(field))


def string_fields(
    kind: Descriptor, seen: tuple[Descriptor, ...] = ()
) -> Iterator[tuple[FieldDescriptor, ...]]:
    """The path to each field of a message, and of the messages in it, that holds text."""
    if kind in seen:
        return
    for field in kind.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield (field,)
        elif field.message_type is not None and not field.message_type.full_name.startswith(
            "google.protobuf"
        ):
            for path in string_fields(field.message_type, (*seen, kind)):
                yield (field, *path)
