"""Changed fields, from domain values to messages."""

from collections.abc import Iterable, Iterator

from tendhost.server.domain.changes import FieldChange
from tendhost.v1 import event_pb2


def change_messages(changes: Iterable[FieldChange]) -> Iterator[event_pb2.FieldChange]:
    """Changed fields with their values, where these are recorded."""
    for change in changes:
        yield event_pb2.FieldChange(path=change.path, old=change.old, new=change.new)
