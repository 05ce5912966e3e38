"""Validation of requests: the rules of the contract, and those that no annotation can express.

Both are told together, so that a caller gets every invalid field at once. A rule of the second kind belongs to
a type of message and holds wherever one stands in a request; it is asked about what keeps the rules of the
contract.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC
from functools import cache
from typing import Any

import protovalidate
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from buf.validate import validate_pb2
from tendhost.server.domain.hosts.address import unusable_address
from tendhost.server.domain.local_time import require_zone
from tendhost.server.domain.policy.freezes import inconsistent_freezes
from tendhost.server.domain.policy.health_checks import unusable
from tendhost.server.domain.policy.windows import unsound_windows
from tendhost.server.domain.request_errors import FieldViolation, InvalidArgument
from tendhost.server.domain.rollouts.plan import require_sound_spec
from tendhost.server.domain.schedules.recurrence import unsound_recurrence
from tendhost.server.domain.secret_texts import without_secrets
from tendhost.server.rpc.convert.health import health_checks
from tendhost.server.rpc.convert.rollouts import rollout_spec
from tendhost.server.rpc.convert.windows import freezes, windows
from tendhost.v1 import health_pb2, hook_pb2, host_pb2, policy_pb2, rollout_pb2, schedule_pb2

SHOWN_VALUE = 100
"""Characters of an invalid value that are shown."""
_NOT_SHOWN = frozenset({"script", "command"})
"""Fields whose values may hold secrets wherever they are wrong."""

_PLAIN: Mapping[str, str] = {
    "enum.defined_only": "is none of the values of this enum",
    "enum.not_in": "must not be unspecified",
    "repeated.unique": "must not name anything twice",
}
"""What rules of the contract are called here, by their id; the words of the library name no value."""

Rule = Callable[[Any], Iterable[FieldViolation]]


def violations_of(request: Message) -> tuple[FieldViolation, ...]:
    """Every invalid field of `request`, named by its path."""
    broken = tuple(_violation(found) for found in protovalidate.collect_violations(request))
    if not _may_hold_rules(request.DESCRIPTOR):
        return broken
    fields = [violation.field for violation in broken]
    return (*broken, *_beyond_annotations(request, "", fields))


def _beyond_annotations(message: Message, path: str, broken: list[str]) -> Iterator[FieldViolation]:
    rule = _RULES.get(message.DESCRIPTOR.full_name)
    if rule is not None and path not in broken:
        known = {_field_below(path, field) for field in broken if _is_below(path, field)}
        for violation in rule(_without(message, known)):
            if _field_below("", violation.field) not in known:
                yield FieldViolation(_joined(path, violation.field), violation.description)
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE or not _may_hold_rules(field.message_type):
            continue
        if field.GetOptions().Extensions[validate_pb2.field].ignore == validate_pb2.IGNORE_ALWAYS:
            # No annotation has looked at it, and a rule may be unable to read it: of what a mask names
            # the service validates the whole.
            continue
        where = _joined(path, field.name)
        if field.is_repeated:
            for number, element in enumerate(value):
                yield from _beyond_annotations(element, f"{where}[{number}]", broken)
        else:
            yield from _beyond_annotations(value, where, broken)


def _is_below(path: str, field: str) -> bool:
    return field.startswith(f"{path}.") if path else True


def _field_below(path: str, field: str) -> str:
    """The name of the field of the message at `path` that holds `field`."""
    rest = field[len(path) + 1 :] if path else field
    return rest.partition(".")[0].partition("[")[0]


def _without(message: Message, fields: Iterable[str]) -> Message:
    """The message without fields that are known to be invalid, which a rule could not read."""
    if not fields:
        return message
    part = type(message)()
    part.CopyFrom(message)
    for field in fields:
        part.ClearField(field)
    return part


def _joined(path: str, field: str) -> str:
    return f"{path}.{field}" if path and field else path or field


@cache
def _may_hold_rules(kind: Descriptor) -> bool:
    """Whether a message of this kind, or one in it, has a rule of its own. No message holds itself."""
    if kind.full_name in _RULES:
        return True
    return any(
        field.message_type is not None and _may_hold_rules(field.message_type)
        for field in kind.fields
    )


def _violation(violation: protovalidate.Violation) -> FieldViolation:
    proto = violation.proto
    path = ""
    for element in proto.field.elements if proto.field else ():
        path += f".{element.field_name}" if path else str(element.field_name)
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    value = violation.field_value
    if isinstance(value, str):
        value = without_secrets(value)
    if path.rpartition(".")[2] in _NOT_SHOWN:
        value = None
    shown = f"{value!r}: " if isinstance(value, str | int | float | bool) else ""
    if isinstance(value, str) and len(value) > SHOWN_VALUE:
        shown = f"{value[:SHOWN_VALUE]!r}…: "
    elif isinstance(value, Duration):
        shown = f"{value.seconds + value.nanos / 1e9:g}s: "
    if (proto.rule_id, violation.rule_value) == ("string.min_len", 1):
        return FieldViolation(path, "must not be empty")
    words = _PLAIN.get(proto.rule_id, proto.message or "is invalid")
    return FieldViolation(path or "request", f"{shown}{words}")


# --- rules by type --------------------------------------------------------------------------------


def _host(message: host_pb2.HostConfig) -> Iterator[FieldViolation]:
    unusable = unusable_address(message.address)
    if unusable:
        yield FieldViolation("address", unusable)


def _hook(message: hook_pb2.Hook) -> Iterator[FieldViolation]:
    if not message.script and not message.secret:
        yield FieldViolation("script", "must not be empty, unless it is secret and stays as it is")


def _window(message: host_pb2.MaintenanceWindow) -> Iterator[FieldViolation]:
    if not (message.start and message.end):
        try:
            require_zone(message.time_zone or "UTC")
        except ValueError as error:
            yield FieldViolation("time_zone", str(error))
        return
    for field, words in unsound_windows(windows([message])):
        yield FieldViolation(field.removeprefix("[0]."), words)


def _defaults(message: policy_pb2.GroupPolicy) -> Iterator[FieldViolation]:
    try:
        asked = freezes(message.freezes, "freezes")
    except InvalidArgument as error:
        yield from error.violations
        return
    for field, words in inconsistent_freezes(asked):
        yield FieldViolation(f"freezes{field}", words)


def _checks(message: health_pb2.HealthChecks) -> Iterator[FieldViolation]:
    return (FieldViolation(field, words) for field, words in unusable(health_checks(message)))


def _rollout(message: rollout_pb2.RolloutSpec) -> Iterable[FieldViolation]:
    try:
        require_sound_spec(rollout_spec(message))
    except InvalidArgument as error:
        return [
            FieldViolation(violation.field.removeprefix("spec."), violation.description)
            for violation in error.violations
        ]
    return ()


def _schedule(message: schedule_pb2.ScheduleSpec) -> Iterator[FieldViolation]:
    try:
        message.starts_at.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        yield FieldViolation("starts_at", "must be a time in the years 1 to 9999")
    for field, words in unsound_recurrence(
        cron=message.cron.strip(), rrule=message.rrule.strip(), time_zone=message.time_zone or "UTC"
    ):
        yield FieldViolation(field, words)


_RULES: Mapping[str, Rule] = {
    kind.DESCRIPTOR.full_name: rule
    for kind, rule in (
        (host_pb2.HostConfig, _host),
        (hook_pb2.Hook, _hook),
        (host_pb2.MaintenanceWindow, _window),
        (policy_pb2.GroupPolicy, _defaults),
        (health_pb2.HealthChecks, _checks),
        (rollout_pb2.RolloutSpec, _rollout),
        (schedule_pb2.ScheduleSpec, _schedule),
    )
}
