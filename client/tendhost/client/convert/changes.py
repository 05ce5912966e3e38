"""Conversion of changed fields."""

from collections.abc import Iterable

from tendhost.client.models.events import FieldChange
from tendhost.v1 import event_pb2


def field_changes(messages: Iterable[event_pb2.FieldChange]) -> tuple[FieldChange, ...]:
    """Changed fields with their values, where these are recorded."""
    return tuple(
        FieldChange(
            path=message.path,
            old=message.old if message.HasField("old") else None,
            new=message.new if message.HasField("new") else None,
        )
        for message in messages
    )
