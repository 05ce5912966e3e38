"""Conversion between rows and values: documents by msgspec, and the few columns that statements need."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from tendhost.server.domain import events
from tendhost.server.domain.access.certificate_expiry import ToldExpiries
from tendhost.server.domain.access.tokens import Token
from tendhost.server.domain.clock_trust import ClockTrust
from tendhost.server.domain.events import Event
from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.hosts.selection import SavedSelection
from tendhost.server.domain.inventory.inventory import Inventory, Pending
from tendhost.server.domain.leases import Replica
from tendhost.server.domain.notifications.notices import NotificationCursor
from tendhost.server.domain.operations.operation import Operation
from tendhost.server.domain.rollouts.plan import PlanOutline, PlanPart
from tendhost.server.domain.rollouts.rollout import Member, Rollout, Wave
from tendhost.server.domain.schedules.schedule import Schedule
from tendhost.server.store.documents import Form
from tendhost.server.store.records import DocumentUnreadable, InventoryRecord, Unreadable

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_encoder = msgspec.json.Encoder()
_host = Form(Host, "host")
_operation = Form(Operation, "operation")
_rollout = Form(Rollout, "rollout")
_member = Form(Member, "host of a rollout")
_wave = Form(Wave, "wave")
_schedule = Form(Schedule, "schedule")
_selection = Form(SavedSelection, "saved selection")
_group_policy = Form(GroupPolicy, "policy")
_plan = Form(PlanOutline, "plan")
_plan_part = Form(PlanPart, "part of a plan")
_cursor = Form(NotificationCursor, "notification cursor")
_token = Form(Token, "token")
_clock_trust = Form(ClockTrust, "clock")
_told_expiries = Form(ToldExpiries, "certificates")
_replica = Form(Replica, "replica")
_inventory = Form(Inventory, "inventory")
_pending = Form(Pending, "pending updates")

_KINDS: Mapping[str, type] = {
    "host_registered": events.HostRegistered,
    "host_unregistered": events.HostUnregistered,
    "host_reconfigured": events.HostReconfigured,
    "host_acknowledged": events.HostAcknowledged,
    "duplicates_changed": events.DuplicatesChanged,
    "host_connected": events.HostConnected,
    "host_disconnected": events.HostDisconnected,
    "state_changed": events.StateChanged,
    "update_progress": events.UpdateProgress,
    "update_completed": events.UpdateCompleted,
    "operation_changed": events.OperationChanged,
    "step_retried": events.StepRetried,
    "rollout_changed": events.RolloutChanged,
    "schedule_changed": events.ScheduleChanged,
    "selection_changed": events.SelectionChanged,
    "policy_changed": events.PolicyChanged,
    "certificate_expiring": events.CertificateExpiring,
}
_KIND_OF = {body: kind for kind, body in _KINDS.items()}
_bodies: Mapping[str, Form[Any]] = {
    kind: Form(body, f"event {kind}") for kind, body in _KINDS.items()
}
_FORMS: Mapping[type, Form[Any]] = {
    Host: _host,
    Operation: _operation,
    Rollout: _rollout,
    Member: _member,
    Wave: _wave,
    Schedule: _schedule,
    SavedSelection: _selection,
    GroupPolicy: _group_policy,
    PlanOutline: _plan,
    PlanPart: _plan_part,
    Token: _token,
    NotificationCursor: _cursor,
    ClockTrust: _clock_trust,
    ToldExpiries: _told_expiries,
    Replica: _replica,
    Inventory: _inventory,
    Pending: _pending,
}


Stored = (
    Host
    | Operation
    | Rollout
    | Wave
    | Member
    | PlanOutline
    | PlanPart
    | Schedule
    | GroupPolicy
    | Inventory
    | Pending
    | SavedSelection
    | Token
    | NotificationCursor
    | ClockTrust
    | ToldExpiries
    | Replica
)


def document(value: Stored) -> str:
    """The stored form of a value."""
    return _FORMS[type(value)].encode(value)


def labels(host: Host) -> str:
    """A host's tags and groups as a text that differs whenever they differ."""
    return _encoder.encode((host.config.tags, host.config.groups)).decode()


def decoded(decoder: Form[T], kind: str, text: str, key: str = "") -> T:
    """The value of a document. Raises DocumentUnreadable."""
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise DocumentUnreadable(kind=kind, key=key or _key_in(text), problem=str(error)) from error


def _key_in(text: str) -> str:
    """The name or id that stands in a document which cannot be read."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError):
        return ""
    for part in (found, found.get("config")) if isinstance(found, dict) else ():
        for name in ("id", "name", "host", "group", "number"):
            if isinstance(part, dict) and isinstance(part.get(name), str | int):
                return str(part[name])
    return ""


def row_of(decode: Callable[[str], T], text: str, key: str, position: str = "") -> T | Unreadable:
    """The value of a document, or that it cannot be read, for a list."""
    try:
        return decode(text)
    except DocumentUnreadable as error:
        return Unreadable(
            kind=error.kind, key=error.key or key, problem=error.problem, position=position or key
        )


def host_of(text: str) -> Host:
    """A stored host."""
    return decoded(_host, "host", text)


def operation_of(text: str) -> Operation:
    """A stored operation."""
    return decoded(_operation, "operation", text)


def rollout_of(text: str) -> Rollout:
    """A stored rollout."""
    return decoded(_rollout, "rollout", text)


def member_of(text: str) -> Member:
    """A stored member of a rollout."""
    return decoded(_member, "rollout host", text)


def wave_of(text: str) -> Wave:
    """A stored wave of a rollout."""
    return decoded(_wave, "wave", text)


def plan_outline_of(text: str) -> PlanOutline:
    """A stored plan without its hosts."""
    return decoded(_plan, "plan", text)


def plan_part_of(text: str) -> PlanPart:
    """A stored part of the hosts of a plan."""
    return decoded(_plan_part, "plan", text)


def schedule_of(text: str) -> Schedule:
    """A stored schedule."""
    return decoded(_schedule, "schedule", text)


def schedule_row(schedule: Schedule, revision: int) -> tuple[str, int | None, int, str]:
    """The columns of a schedule."""
    text = document(replace(schedule, revision=revision))
    return schedule.name, moment(schedule.next_at), revision, text


def token_of(text: str, last_used_at: int | None) -> Token:
    """A stored token."""
    token = decoded(_token, "token", text)
    return replace(token, last_used_at=None if last_used_at is None else at_instant(last_used_at))


def token_row(token: Token) -> tuple[str, int | None, str]:
    """The columns of a token."""
    return token.id, moment(token.last_used_at), document(replace(token, last_used_at=None))


def selection_of(text: str) -> SavedSelection:
    """A stored selection."""
    return decoded(_selection, "selection", text)


def selection_row(selection: SavedSelection, revision: int) -> tuple[str, int, str]:
    """The columns of a saved selection."""
    return selection.name, revision, document(replace(selection, revision=revision))


def clock_trust_of(text: str) -> ClockTrust:
    """What is stored of the date."""
    return decoded(_clock_trust, "clock record", text)


def told_expiries_of(text: str) -> ToldExpiries:
    """What is stored of the certificates that expire."""
    return decoded(_told_expiries, "record of certificates", text)


def notification_cursor_of(text: str) -> NotificationCursor:
    """How far a target of notifications has read the event log."""
    return decoded(_cursor, "notification cursor", text)


def replica_of(text: str) -> Replica:
    """A replica, as it entered."""
    return decoded(_replica, "replica", text)


def group_policy_of(text: str) -> GroupPolicy:
    """A stored group policy."""
    return decoded(_group_policy, "group policy", text)


def group_policy_row(policy: GroupPolicy, revision: int) -> tuple[str, int, str]:
    """The columns of a group policy."""
    return policy.group, revision, document(replace(policy, revision=revision))


def wave_row(wave: Wave, revision: int) -> tuple[str, int, int, str]:
    """The columns of a wave."""
    return wave.rollout, wave.number, revision, document(wave)


def member_row(member: Member, revision: int) -> tuple[str, str, int, int, str, int, str, int, str]:
    """The columns of a member."""
    return (
        member.rollout,
        member.host,
        member.wave,
        member.position,
        str(member.status),
        0 if member.not_before is None else instant(member.not_before),
        member.blocked_by,
        revision,
        document(member),
    )


def inventory_row(record: InventoryRecord) -> tuple[str, str, str]:
    """The columns of an inventory: what is pending is by itself, for it is read for whole fleets."""
    return record.host, document(record.pending), document(record.inventory)


def inventory_of(host: str, row: tuple[str, str]) -> InventoryRecord:
    """A stored inventory from its documents."""
    pending, inventory = row
    return InventoryRecord(
        host=host,
        inventory=decoded(_inventory, "inventory", inventory, key=host),
        pending=decoded(_pending, "pending updates", pending, key=host),
    )


def pending_of(text: str | None) -> Pending | None:
    """What is stored as pending; None where nothing is."""
    return None if text is None else decoded(_pending, "pending updates", text)


def kind_of(event: Event) -> str:
    """The kind by which an event is stored."""
    return _KIND_OF[type(event.body)]


def event_row(event: Event) -> tuple[int, int, str, str, str, str, str]:
    """The columns of an event."""
    kind = kind_of(event)
    body = _bodies[kind].encode(event.body)
    at = instant(event.at)
    return event.revision, at, kind, event.host, event.operation, event.rollout, body


def event_of(row: tuple[Any, ...]) -> Event:
    """An event from its columns."""
    revision, at, kind, host, operation, rollout, text = row
    body: events.EventBody | events.Undecodable
    try:
        body = _bodies[kind].decode(text)
    except (msgspec.MsgspecError, ValueError, KeyError, OverflowError) as error:
        problem = "a newer program stored it" if kind not in _bodies else str(error)
        body = events.Undecodable(kind=kind, problem=f"{kind} cannot be read: {problem}")
    return Event(
        revision=revision,
        at=at_instant(at),
        host=host,
        operation=operation,
        rollout=rollout,
        body=body,
    )


def instant(at: datetime) -> int:
    """Microseconds since 1970, so that instants order as numbers in every database."""
    return (at - _EPOCH) // _MICROSECOND


def at_instant(microseconds: int) -> datetime:
    """The datetime of an `instant`."""
    return _EPOCH + microseconds * _MICROSECOND


def moment(at: datetime | None) -> int | None:
    """The `instant` of a datetime; None stays None."""
    return None if at is None else instant(at)
