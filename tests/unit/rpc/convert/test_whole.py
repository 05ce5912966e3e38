"""Whatever is stored can be told: each conversion gives a message that is sent, received and understood."""

import typing
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tendhost.client.convert import events as client_events
from tendhost.client.convert import hosts as client_hosts
from tendhost.client.convert import inventory as convert_inventory
from tendhost.client.convert import operations as client_operations
from tendhost.client.convert import policies as convert_policies
from tendhost.client.convert import rollouts as convert_rollouts
from tendhost.client.convert import schedules as convert_schedules
from tendhost.client.convert import selections as convert_selections
from tendhost.server.domain import events
from tendhost.server.domain.events import Event, EventBody
from tendhost.server.domain.hosts.group_policy import GroupPolicy
from tendhost.server.domain.hosts.host import Host, HostConfig
from tendhost.server.domain.hosts.selection import SavedSelection
from tendhost.server.domain.inventory.hardware import Mount
from tendhost.server.domain.inventory.inventory import Inventory, PackageChange, Pending
from tendhost.server.domain.operations.operation import Operation, OperationKind, UpdateResult
from tendhost.server.domain.rollouts.plan import PlannedHost, PlanOutline
from tendhost.server.domain.rollouts.rollout import Member, Rollout, Wave
from tendhost.server.engine.schedules import ScheduleView
from tendhost.server.rpc.convert import events as convert_events
from tendhost.server.rpc.convert import hosts as convert_hosts
from tendhost.server.rpc.convert import operations as convert_operations
from tendhost.server.rpc.convert.inventory import inventory_message
from tendhost.server.rpc.convert.policies import group_policy_message
from tendhost.server.rpc.convert.rollouts import (
    member_message,
    plan_message,
    planned_host_message,
    rollout_message,
    wave_message,
)
from tendhost.server.rpc.convert.schedules import schedule_message
from tendhost.server.rpc.convert.selections import selection_message
from tendhost.server.rpc.convert.whole import ITEM_BYTES
from tendhost.server.store.records import InventoryRecord, Unreadable
from tests.contract.store.values import hostile_of

M = TypeVar("M", bound=Message)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
Reading = Callable[[Any], Any] | None
CONVERSIONS: dict[type, tuple[Callable[[Any], Message], Reading]] = {
    Host: (convert_hosts.host_message, client_hosts.host),
    Operation: (convert_operations.operation_message, client_operations.operation),
    InventoryRecord: (inventory_message, convert_inventory.inventory),
    Rollout: (rollout_message, convert_rollouts.rollout),
    Wave: (wave_message, convert_rollouts.wave),
    Member: (member_message, convert_rollouts.rollout_host),
    PlanOutline: (plan_message, None),
    PlannedHost: (planned_host_message, convert_rollouts.planned_host),
    ScheduleView: (schedule_message, convert_schedules.schedule),
    SavedSelection: (selection_message, convert_selections.selection),
    GroupPolicy: (group_policy_message, convert_policies.group_policy),
}
SLOW = settings(
    max_examples=25,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # records this large shrink for minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def arrived(message: M) -> M:
    """The message as its receiver has it."""
    return type(message).FromString(message.SerializeToString())


@pytest.mark.parametrize("kind", CONVERSIONS, ids=lambda kind: kind.__name__)
@SLOW
@given(data=st.data())
def test_conversion__tells_whatever_is_stored(kind: type, data: st.DataObject):
    tell, read = CONVERSIONS[kind]
    message = arrived(tell(data.draw(hostile_of(kind))))
    assert message.ByteSize() <= 3 * ITEM_BYTES
    if read is not None:
        read(message)


@pytest.mark.parametrize("kind", typing.get_args(EventBody), ids=lambda kind: kind.__name__)
@SLOW
@given(data=st.data())
def test_conversion__tells_every_event(kind: type, data: st.DataObject):
    body = data.draw(hostile_of(kind))
    event = Event(at=NOW, body=body, host="web1", operation="o1", rollout="r1", revision=7)
    message = arrived(convert_events.event_message(event))
    told = client_events.event(message)
    assert (told.revision, told.host, told.operation_id, told.rollout_id) == (7, "web1", "o1", "r1")
    assert message.ByteSize() <= ITEM_BYTES


def operation(**update: Any) -> Operation:
    return Operation(
        id="o1",
        host="web1",
        kind=OperationKind.UPDATE,
        created_at=NOW,
        update=UpdateResult(**update),
        revision=3,
    )


def test_operation__with_a_number_that_fits_nowhere_is_told_with_the_rest():
    message = convert_operations.operation_message(
        operation(download_bytes=10**19, snapshot="zfs a@b")
    )
    assert (message.id, message.host, message.revision) == ("o1", "web1", 3)
    assert message.update.snapshot == "zfs a@b"
    assert not message.update.HasField("download_bytes")
    assert message.incomplete.startswith("some values are out of range and are shown cut (")


def test_operation__as_it_should_be_is_whole():
    assert convert_operations.operation_message(operation(download_bytes=10**18)).incomplete == ""


def test_operation__too_large_for_a_message_says_what_was_cut():
    change = PackageChange(name="n" * 200, from_version="1", to_version="2")
    message = convert_operations.operation_message(operation(changes=(change,) * 20_000))
    assert message.ByteSize() <= ITEM_BYTES
    assert message.update.upgraded_count == 20_000
    assert 2_000 < len(message.update.packages) < 20_000
    shown = len(message.update.packages)
    assert message.incomplete == (
        f"too large for one message, these are cut: update.packages ({shown} of 20000)"
    )


def test_host__with_a_text_too_large_for_a_message_is_told():
    config = HostConfig(name="web1", address="a", ssh_key="k" * 3_000_000)
    message = convert_hosts.host_message(Host(config=config, host_key="", registered_at=NOW))
    assert message.ByteSize() <= ITEM_BYTES
    assert message.config.name == "web1"
    assert "config.ssh_key" in message.incomplete


def test_inventory__too_large_for_a_message_keeps_its_small_parts():
    mount = Mount(path="/", device="d", type="ext4", size_bytes=1, free_bytes=1)
    inventory = Inventory(installed=(("n" * 300, "v" * 300),) * 30_000, mounts=(mount,))
    record = InventoryRecord(host="web1", inventory=inventory, pending=Pending())
    message = inventory_message(record)
    assert message.ByteSize() <= 3 * ITEM_BYTES
    assert len(message.mounts) == 1
    assert message.incomplete.startswith("too large for one message, these are cut: packages (")


def test_documents__that_cannot_be_read_are_told_by_their_names():
    unread = Unreadable(kind="host", key="web1", problem="no such state", position="web1")
    host = convert_hosts.host_message(unread)
    assert (host.config.name, host.incomplete) == ("web1", "no such state")
    number = Unreadable(kind="wave", key="2", problem="damaged", position="2")
    assert wave_message(number).number == 3


def test_event__that_cannot_be_read_has_its_number_and_no_body():
    body = events.Undecodable(kind="host_sang", problem="a newer program stored it")
    message = convert_events.event_message(Event(at=NOW, body=body, host="web1", revision=9))
    assert message.WhichOneof("body") is None
    assert (message.revision, message.host) == (9, "web1")
    assert message.incomplete == "a newer program stored it"
    told = client_events.event(message)
    assert told.incomplete == "a newer program stored it"


def test_every_message_that_can_be_cut_has_a_place_to_say_so():
    for tell, _ in CONVERSIONS.values():
        message = typing.get_type_hints(tell)["return"]
        assert {"incomplete", "detail"} & {f.name for f in message.DESCRIPTOR.fields}
    assert {f.name for f in fields(Unreadable)} == {"kind", "key", "problem", "position"}
