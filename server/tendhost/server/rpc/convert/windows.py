"""Maintenance windows and freeze periods, between messages and domain values."""

from collections.abc import Iterable
from datetime import UTC, datetime, time

from google.protobuf.timestamp_pb2 import Timestamp

from tendhost.server.domain.policy.freezes import FreezePeriod
from tendhost.server.domain.policy.windows import MaintenanceWindow, Weekday
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.rpc.convert.common import duration, timestamp
from tendhost.v1 import host_pb2, policy_pb2

_WEEKDAY = {day: host_pb2.Weekday.Value(f"WEEKDAY_{day.name}") for day in Weekday}


def windows(messages: Iterable[host_pb2.MaintenanceWindow]) -> tuple[MaintenanceWindow, ...]:
    """Validated windows, their defaults filled in."""
    return tuple(
        MaintenanceWindow(
            start=time.fromisoformat(message.start),
            end=time.fromisoformat(message.end),
            days=frozenset(Weekday(day) for day in message.days),
            time_zone=message.time_zone or "UTC",
            cutoff=message.cutoff.ToTimedelta(),
        )
        for message in messages
    )


def window_message(window: MaintenanceWindow) -> host_pb2.MaintenanceWindow:
    """A window as clients see it."""
    return host_pb2.MaintenanceWindow(
        start=f"{window.start:%H:%M}",
        end=f"{window.end:%H:%M}",
        days=[_WEEKDAY[day] for day in sorted(window.days)],
        time_zone=window.time_zone,
        cutoff=duration(window.cutoff) if window.cutoff else None,
    )


def freezes(messages: Iterable[policy_pb2.FreezePeriod], field: str) -> tuple[FreezePeriod, ...]:
    """Validated freeze periods. Raises InvalidArgument, which names `field`."""
    return tuple(
        FreezePeriod(
            name=message.name,
            starts_at=_instant(message.starts_at, f"{field}[{number}].starts_at"),
            ends_at=_instant(message.ends_at, f"{field}[{number}].ends_at"),
            reason=message.reason,
            time_zone=message.time_zone or "UTC",
        )
        for number, message in enumerate(messages)
    )


def _instant(message: Timestamp, field: str) -> datetime:
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        violation = FieldViolation(field, "must be a time in the years 1 to 9999")
        raise InvalidArgument(violation) from None


def freeze_message(freeze: FreezePeriod) -> policy_pb2.FreezePeriod:
    """A freeze period as clients see it."""
    return policy_pb2.FreezePeriod(
        name=freeze.name,
        starts_at=timestamp(freeze.starts_at),
        ends_at=timestamp(freeze.ends_at),
        reason=freeze.reason,
        time_zone=freeze.time_zone,
    )
