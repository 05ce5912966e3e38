"""Enumerations, timestamps, durations and problems, for every conversion to messages."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tendhost.server.domain.hosts.host import Problem
from tendhost.v1 import host_pb2

E = TypeVar("E", bound=StrEnum)


def numbers(kind: type[E], wire: Any) -> Mapping[E, Any]:
    """Each member of a domain enumeration with its number on the wire, by the contract's naming rule."""
    prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in wire.DESCRIPTOR.name)[1:]
    return {member: wire.Value(f"{prefix}_{member.name}") for member in kind}


def timestamp(at: datetime | None) -> Timestamp | None:
    """An aware datetime as a Timestamp; None stays None, that is absent."""
    if at is None:
        return None
    # By hand: Timestamp.FromDatetime costs five times as much, and every event carries one.
    since = at - _EPOCH
    seconds = since.days * 86400 + since.seconds
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        # The year 0 or 10000 of UTC, which another zone can reach and no Timestamp holds.
        seconds = min(max(seconds, _FIRST_SECOND), _LAST_SECOND)
    return Timestamp(seconds=seconds, nanos=since.microseconds * 1000)


def duration(span: timedelta) -> Duration:
    """A timedelta as a Duration, which holds 10,000 years either way."""
    message = Duration()
    message.FromTimedelta(min(max(span, -_LONGEST), _LONGEST))
    return message


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
_LONGEST = timedelta(seconds=315_576_000_000)


def problem_message(problem: Problem | None) -> host_pb2.Problem | None:
    if problem is None:
        return None
    return host_pb2.Problem(reason=problem.reason, message=problem.message, facts=problem.facts)
